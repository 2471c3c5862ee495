"""Motion-semantics expert: which units moved, on which side, and which phrase describes it.

Its inputs are the flow at the peak, estimated from all flows (`envelope.at_peak`: u, v, strain, magnitude), and the
same by region; it sees no grey level. Learns the 17 units of both sides, the true motion of the regions, and to lie
close to the Uni-MER phrase of its own clip (contrastive alignment in the manner of CLIP, Radford et al. 2021, with a
bag of words as text side, since the phrases are short and written by a grammar). Clips with the same phrase are all
positives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft import runtime
from deft.clips.facs import REGIONS
from deft.experts.data import INPUTS, Jitter, Pairs
from deft.experts.disentangle import Adversary
from deft.experts.encoder import TOKENS, WIDTH, Expert, Standardise, Trunk, UnitHead

REGION_COUNT = len(REGIONS)
REGION_INPUTS = REGION_COUNT * 5 + 1  # u, v, magnitude, coherence, strain of 36 regions, and the clip's noise floor


def phrase_words(units: np.ndarray, seed: int) -> list[list[str]]:
    """units (N, 17, 2) true intensity -> the words of one motion phrase per clip, as the Uni-MER grammar writes it."""
    from deft.unimer import facts
    from deft.unimer.kinds import KINDS

    said = (
        facts.facts_from_units(facts.merge_sides(row > 0), runtime.rng(seed, "phrase", i))
        for i, row in enumerate(units)
    )
    return [
        KINDS["motion"].answer(fact).split() for fact in said
    ]  # the plain wording: same motion, same words, a positive pair


def phrase_ids(phrases: list[list[str]], words: list[str]) -> np.ndarray:
    """(N, L) int64, 0 = padding, i + 1 = words[i]; sorted within a row, since the text side is a bag of words."""
    place = {word: i + 1 for i, word in enumerate(words)}
    unknown = {word for phrase in phrases for word in phrase} - set(place)
    if unknown:
        raise ValueError(f"the phrases use words that kinds.vocabulary() lacks: {sorted(unknown)[:5]}")
    ids = np.zeros((len(phrases), max(map(len, phrases), default=1)), np.int64)
    for row, phrase in zip(ids, phrases):
        row[: len(phrase)] = sorted(place[word] for word in phrase)
    return ids


def mirror_words(ids: Tensor, words: list[str]) -> Tensor:
    """Word ids of the mirrored phrase: 'left' and 'right' change places."""
    place = {word: i + 1 for i, word in enumerate(words)}
    left, right = place.get("left", -1), place.get("right", -1)
    return torch.where(ids == left, right, torch.where(ids == right, left, ids)).sort(dim=1, stable=True).values


class Phrases(nn.Module):
    """Token ids (B, L), 0 = padding -> unit vectors (B, 64): a bag of words, then one layer."""

    def __init__(self, words: int):
        super().__init__()
        self.embed = nn.Embedding(words + 1, WIDTH, padding_idx=0)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids (B, L) -> unit vectors (B, 64)."""
        count = (ids > 0).sum(1, keepdim=True).clamp_min(1)
        return F.normalize(self.out(torch.relu(self.embed(ids).sum(1) / count.sqrt())), dim=-1)


class Motion(Expert):
    """inputs: peak (B, 4, 64, 64) float32 [u, v, strain, magnitude], px; regions (B, 181) float32: 36 x [u, v,
    magnitude, coherence, strain], noise floor. px of the aligned 128 px face, +x right, +y down, onset -> peak
    (`deft.experts.data.region_inputs`)."""

    name, keys, jitter, has_units = "motion", INPUTS["motion"], Jitter(noise=0.2, drop=0.1), True

    def __init__(self, subjects: int = 2, looks: int = 5, words: int = 1, strength: float = 0.1, dropout: float = 0.1):
        super().__init__()
        self.strength = strength
        self.standardise, self.standardise_regions = Standardise(4), Standardise(REGION_INPUTS)
        self.trunk = Trunk(4)
        self.region_layers = nn.Sequential(
            nn.Linear(REGION_INPUTS, 128),
            nn.LayerNorm(128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, TOKENS * WIDTH),
        )
        self.tokens = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.trunk.features, TOKENS * WIDTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.unit_head = UnitHead()
        self.region_head = nn.Linear(TOKENS * WIDTH, REGION_COUNT * 2)
        self.speak = nn.Linear(TOKENS * WIDTH, WIDTH)
        self.phrases = Phrases(words)
        self.sharpness = nn.Parameter(torch.tensor(2.0))  # log of the inverse temperature
        self.adversary = nn.ModuleDict(
            {"identity": Adversary(TOKENS, WIDTH, subjects), "look": Adversary(TOKENS, WIDTH, looks)}
        )

    @classmethod
    def words(cls) -> list[str]:
        from deft.unimer.kinds import vocabulary

        return vocabulary()

    @classmethod
    def sizes(cls, data: Pairs, rows: np.ndarray, words: list[str], strength: float | None = None) -> dict:
        return {"words": len(words), **super().sizes(data, rows, words, strength)}

    @classmethod
    def targets(
        cls, data: Pairs, rows: np.ndarray, seed: int, words: list[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        arrays, constants = super().targets(data, rows, seed, words)
        return {
            **arrays,
            "phrase": torch.from_numpy(phrase_ids(phrase_words(data.arrays["units"], seed), words)),
        }, constants

    @classmethod
    def mirrored(cls, batch: dict[str, Tensor], flip: Tensor, words: list[str]) -> dict[str, Tensor]:
        return {**batch, "phrase": torch.where(flip[:, None], mirror_words(batch["phrase"], words), batch["phrase"])}

    def prepare(self, inputs: dict[str, Tensor], targets: dict[str, Tensor] | None = None) -> None:
        self.standardise.fit(inputs["peak"])
        self.standardise_regions.fit(inputs["regions"])

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        field = self.trunk(self.standardise(inputs["peak"]).clamp(-8, 8))  # (B, F)
        regions = self.region_layers(self.standardise_regions(inputs["regions"]).clamp(-8, 8))
        return self.norm((self.tokens(field) + regions).view(-1, TOKENS, WIDTH))  # (B, 4, 64)

    def speech(self, tokens: Tensor) -> Tensor:
        """Tokens (B, 4, 64) -> text embedding (B, 64), unit vectors in the space of `Phrases`."""
        return F.normalize(self.speak(tokens.flatten(1)), dim=-1)  # (B, 64), in the space of the phrases

    def alignment(self, tokens: Tensor, ids: Tensor) -> Tensor:
        """Symmetric contrastive loss (scalar) of tokens (B, 4, 64) and phrases (B, L); rows with the same words
        share the target equally.
        """
        scores = self.speech(tokens) @ self.phrases(ids).T * self.sharpness.exp().clamp_max(50)  # (B, B)
        same = (ids[:, None] == ids[None]).all(-1).float()
        target = same / same.sum(1, keepdim=True)
        return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2

    def loss(
        self, inputs: dict[str, Tensor], targets: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Units, motion of the regions, contrastive alignment with the phrase, and two adversaries (identity, look).

        targets: units (B, 17, 2) true intensity, region_true (B, 36, 2) px, phrase (B, L) ids, subject and look (B,)
        int64."""
        tokens = self(inputs)
        unit = F.binary_cross_entropy_with_logits(self.units(tokens), (targets["units"] > 0).float())
        region = F.mse_loss(self.regions(tokens), targets["region_true"])
        phrase = self.alignment(tokens, targets["phrase"])
        identity = F.cross_entropy(self.adversary["identity"](tokens, self.strength), targets["subject"])
        look = F.cross_entropy(self.adversary["look"](tokens, self.strength), targets["look"])
        total = 3 * unit + 2 * region + 0.1 * phrase + 0.1 * identity + 0.1 * look
        return total, {
            "units": unit.item(),
            "regions": region.item(),
            "phrases": phrase.item(),
            "identity": identity.item(),
            "look": look.item(),
        }
