"""Dynamic texture expert: what flow does not explain, furrows, bulges and shading, from `I_peak - warp(I_onset, flow)`.

The residual of an imperfect flow still carries displacement (docs/method.md#traps). Against it an adversary predicts
the part of the region motion that furrows do not explain, behind a gradient reversal (a furrow and its motion come from
one muscle, so the part that furrows explain is allowed); others do so for identity and looks. All units train the
tokens, those without a furrow too: FACS scores eyes, lips and mouth by what they show as well (sclera, red of the lips,
dark of the mouth), and the residual of the *true* flow holds them. The paper does not say how texture is kept from
motion; these are ours. T5 reports what leaks all the same.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.experts.data import INPUTS, STILL, Jitter, Pairs, mirror
from deft.experts.disentangle import Adversary
from deft.experts.encoder import TOKENS, WIDTH, Components, Expert, Reading, Standardise, Trunk, UnitHead
from deft.experts.frozen import SEEN


def unexplained_direction(region_true: np.ndarray, furrows: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What of the regions' motion a linear map of the furrows does not explain, (N, 72) in units of its spread over
    `rows`.

    Fitted on `rows` and their mirror images, so that the target mirrors like the motion itself.
    """
    y, x = torch.from_numpy(np.array(region_true)), torch.from_numpy(np.array(furrows))
    both_y = torch.cat([y[rows], mirror("region_true", y[rows])]).flatten(1).numpy()
    both_x = torch.cat([x[rows], mirror("furrows", x[rows])]).numpy()
    weight = np.linalg.solve(both_x.T @ both_x + 1e-2 * np.eye(both_x.shape[1]), both_x.T @ both_y)
    left = region_true.reshape(len(region_true), -1) - furrows @ weight
    return (left / ((both_y - both_x @ weight).std(0) + 1e-3)).astype(np.float32)


class Texture(Expert):
    """inputs: residual (B, 2, 64, 64) float32, grey levels / 255: [brightness left over by flow, change of local
    contrast]. width: of the features of a frozen encoder, residual_seen (B, 2, width, 7, 7), which it then reads in
    place of the residual; 0: none.
    """

    name, keys, jitter, has_units = "texture", INPUTS["texture"], Jitter(noise=0.2), True

    def __init__(self, subjects: int = 2, looks: int = 5, strength: float = 0.3, width: int = 0):
        super().__init__()
        self.strength = strength
        if width:
            self.keys, self.jitter = (SEEN["texture"],), STILL
        self.standardise = Standardise(width or 2)
        self.trunk = Reading(width) if width else Trunk(2)
        self.tokens = nn.Linear(self.trunk.features, TOKENS * WIDTH)
        self.components = None if width else Components(2)
        self.norm = nn.LayerNorm(WIDTH)
        self.furrow_head = nn.Linear(TOKENS * WIDTH, 10)
        self.unit_head = UnitHead()
        self.adversary = nn.ModuleDict(
            {
                "identity": Adversary(TOKENS, WIDTH, subjects),
                "look": Adversary(TOKENS, WIDTH, looks),
                "direction": Adversary(TOKENS, WIDTH, 72),
            }
        )

    @classmethod
    def targets(
        cls, data: Pairs, rows: np.ndarray, seed: int, words: list[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        arrays, constants = super().targets(data, rows, seed, words)
        arrays["direction"] = torch.from_numpy(
            unexplained_direction(data.arrays["region_true"], data.arrays["furrows"], rows)
        )
        return arrays, {
            **constants,
            "furrow_scale": arrays["furrows"][rows].std() + 1e-4,
        }  # one for all ten: mirroring mixes sides

    def prepare(self, inputs: dict[str, Tensor], targets: dict[str, Tensor] | None = None) -> None:
        self.standardise.fit(self._picture(inputs))
        if self.components:
            self.components.fit(self._seen(inputs))

    def _picture(self, inputs: dict[str, Tensor]) -> Tensor:
        return inputs["residual"] if self.components else inputs[SEEN["texture"]][:, 0]

    def _seen(self, inputs: dict[str, Tensor]) -> Tensor:
        # a blink changes far more pixels' grey levels than a furrow
        return self.standardise(self._picture(inputs)).clamp(-6, 6)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        seen = self._seen(inputs)
        tokens = self.tokens(self.trunk(seen))
        tokens = tokens + self.components(seen) if self.components else tokens
        return self.norm(tokens.view(-1, TOKENS, WIDTH))  # (B, 4, 64)

    def furrows(self, tokens: Tensor) -> Tensor:
        """Tokens (B, 4, 64) -> strength of the ten furrows (B, 10), in units of their common spread on the training
        clips.
        """
        return self.furrow_head(tokens.flatten(1))  # (B, 10) strength

    def loss(
        self, inputs: dict[str, Tensor], targets: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Units, furrows, and three adversaries (identity, look, direction).

        targets: units (B, 17, 2) true intensity, furrows (B, 10), furrow_scale (their common spread), subject and look
        (B,) int64, direction (B, 72): the motion of 36 regions that furrows do not explain, standardised."""
        tokens = self(inputs)
        furrow = F.mse_loss(self.furrows(tokens), targets["furrows"] / targets["furrow_scale"])
        unit = F.binary_cross_entropy_with_logits(self.units(tokens), (targets["units"] > 0).float())

        identity = F.cross_entropy(self.adversary["identity"](tokens, self.strength), targets["subject"])
        look = F.cross_entropy(self.adversary["look"](tokens, self.strength), targets["look"])
        direction = F.mse_loss(self.adversary["direction"](tokens, self.strength), targets["direction"])
        total = 3 * unit + furrow + 0.1 * identity + 0.1 * look + direction
        return total, {
            "units": unit.item(),
            "furrows": furrow.item(),
            "identity": identity.item(),
            "look": look.item(),
            "direction": direction.item(),
        }
