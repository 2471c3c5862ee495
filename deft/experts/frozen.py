"""A frozen vision encoder from elsewhere in place of an expert's own convolutions: any `AutoModel` that takes
pixel_values (ViT, CLIP, SigLIP, DINOv2, ConvNeXt, ...), named by a folder or a hub id.

The structure stream shows it the aligned onset frame; the texture stream shows it the residual, whose two channels
become three (`pictures`). It learns nothing. Its last hidden states, laid out on the grid of their patches and averaged
to 7 x 7 cells, of a face and of its mirror image, are what the expert reads (`encoder.Reading`), and what is kept under
`experts/encoded/<set>`, with the hash of the encoder's files. The paper does not say which encoders it uses.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deft import cache, runtime, weights
from deft.weights import Reference, WeightsError

SEEN = {"structure": "onset_seen", "texture": "residual_seen"}  # by expert: what the encoder makes of its input
SOURCES = {"onset_seen": "rgb", "residual_seen": "residual"}  # from which array of stages 02 and 03
CELLS = 7  # of a side of the face: one patch of 32 px, two of 16 px, of a picture of 224 px
SPAN = (0.05, 0.025)  # grey levels / 255: residual and change of contrast that become black or white; 5 deviations
PLAIN = ((0.5,) * 3, (0.5,) * 3, 224)  # mean, deviation, px of a side, where the encoder's folder does not say
RECORD = ".named.json"  # beside an expert: where its encoder lies on this machine; never saved with it
BLOCK = 32  # clips at a time
_ONE = threading.Lock()  # several draws ask for the same features at once: the first one computes them


def pictures(key: str, array: np.ndarray) -> Tensor:
    """What the encoder is shown, (B, 3, H, W) in [0, 1]. array: of `SOURCES[key]`, rgb (B, T, 128, 128, 3) uint8, of
    which only the onset is read, or residual (B, 2, 64, 64), which becomes [brightness, contrast, mean of both].
    """
    if key == "onset_seen":
        return torch.from_numpy(np.ascontiguousarray(array[:, 0])).permute(0, 3, 1, 2).float() / 255
    both = torch.from_numpy(np.asarray(array, np.float32)) / torch.tensor(SPAN).view(1, 2, 1, 1)
    both = (0.5 + 0.5 * both).clamp(0, 1)
    return torch.cat([both, both.mean(1, keepdim=True)], dim=1)


# ---------------------------------------------------------------- the encoder
@dataclass(frozen=True)
class Frozen:
    """An encoder by reference. place: its folder; "": that of its name in $DEFT_BASES, else the hub's copy."""

    reference: Reference
    place: str = ""

    def load(self) -> Encoder:
        """The encoder itself, once per process. WeightsError: not to be had, no usable vision encoder, or other files
        than those that the reference names.
        """
        there = self.place if self.place and Path(self.place).is_dir() else weights.laid(self.reference.id) or ""
        folder, found = weights.find(there or self.reference.id, "" if there else self.reference.revision, WHAT)
        if found.sha256 != self.reference.sha256:
            raise WeightsError(
                f"the encoder in '{folder}' is not the one that the expert was trained on: {found} instead of"
                f" {self.reference}; bring that one, or run 06_experts again"
            )
        return _loaded(str(folder), found.sha256)

    def see(self, key: str, array: np.ndarray) -> np.ndarray:
        """Features (N, 2, W, 7, 7) float16 of clips: of the face, and of its mirror image. key, array: as `pictures`
        takes them. WeightsError where one is not finite.
        """
        encoder, found, blocks = self.load(), [], range(0, len(array), BLOCK)
        bar = runtime.bar(blocks, len(blocks), f"{self.reference.id}, {key}", "block") if len(blocks) > 1 else blocks
        for start in bar:
            x = pictures(key, array[start : start + BLOCK])
            both = torch.stack([encoder(x), encoder(x.flip(-1))], dim=1)
            if not torch.isfinite(both).all():
                row = start + int((~torch.isfinite(both).flatten(1).all(1)).nonzero()[0])
                raise WeightsError(
                    f"the encoder {self.reference} gives features that are not finite ({key}, clip {row})"
                )
            found.append(both.clamp(-6e4, 6e4).half().numpy())  # what float16 holds; readers clamp at 6 deviations
        return np.concatenate(found)


WHAT = "vision encoder"


def find(name: str) -> Frozen:
    """The encoder of a folder or of a hub id (owner/name or owner/name@revision); it is looked at, so that what is no
    vision encoder is refused here. WeightsError names it and the remedy.
    """
    given, _, revision = (name, "", "") if Path(name).expanduser().is_dir() else name.partition("@")
    folder, reference = weights.find(given, revision, WHAT)
    found = Frozen(reference, str(folder.resolve()))
    found.load()
    return found


def named(**encoders: str) -> dict[str, Frozen]:
    """{expert: its encoder} of those that name one. ValueError for an expert that reads none."""
    if strange := encoders.keys() - SEEN.keys():
        raise ValueError(f"{min(strange)}: only {' and '.join(SEEN)} can read an encoder from elsewhere")
    return {expert: find(name) for expert, name in encoders.items() if name}


class Encoder:
    """A loaded encoder: pictures (B, 3, H, W) in [0, 1] -> features (B, W, 7, 7) float32, without gradients."""

    def __init__(self, folder: Path):
        self.name, self.device = folder.name, weights.where()
        self.model = _model(folder).to(self.device)
        self.mean, self.deviation, self.side = _look(folder, self.model.config)
        self.width = self(torch.full((1, 3, 8, 8), 0.5)).shape[1]

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False, antialias=True)
        x = ((x - self.mean) / self.deviation).to(self.device)
        try:
            hidden = self.model(pixel_values=x).last_hidden_state
        except (ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
            raise WeightsError(
                f"the encoder {self.name} ({type(self.model).__name__}) does not read pictures of {self.side} px:"
                f" {type(error).__name__}: {error}"
            ) from error
        return F.adaptive_avg_pool2d(self._grid(hidden), CELLS).cpu()

    def _grid(self, hidden: Tensor) -> Tensor:
        """Hidden states as a map (B, W, h, w): tokens before the patches (class, registers) are left out."""
        if hidden.ndim == 4:
            return hidden
        patch = getattr(self.model.config, "patch_size", 0)
        patch = patch if isinstance(patch, int) else patch[0]
        rows, count = self.side // patch if patch else 0, hidden.shape[1]
        rows = rows if 0 < rows**2 <= count else math.isqrt(count)  # stages that merge patches have no other tokens
        if hidden.ndim != 3 or (rows != self.side // max(patch, 1) and rows**2 != count):
            raise WeightsError(
                f"the encoder {self.name} ({type(self.model).__name__}) gives hidden states of shape"
                f" {tuple(hidden.shape)}, which lie on no square grid of patches"
            )
        return hidden[:, count - rows**2 :].transpose(1, 2).unflatten(2, (rows, rows))


@functools.lru_cache(maxsize=2)
def _loaded(folder: str, _sha256: str) -> Encoder:
    return Encoder(Path(folder))


def _model(folder: Path) -> torch.nn.Module:
    """The vision part of the folder's model, by its own class, in float32, frozen. WeightsError: see `find`."""
    from transformers import MODEL_MAPPING, AutoConfig, AutoModel
    from transformers.utils import logging

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise WeightsError(f"{folder / 'config.json'} names no model that transformers knows: {error}") from error
    config = getattr(config, "vision_config", config)  # of a pair of text and vision, the vision tower
    kind = MODEL_MAPPING.get(type(config), None)
    kind = kind[0] if isinstance(kind, (list, tuple)) else kind
    if getattr(kind, "main_input_name", "") != "pixel_values":
        raise WeightsError(
            f"{folder.name} (family '{config.model_type}') is no vision encoder: name a model whose AutoModel takes"
            " pixel_values, for instance ViT, CLIP, SigLIP or DINOv2"
        )
    if (channels := getattr(config, "num_channels", 3)) != 3:
        raise WeightsError(f"the encoder {folder.name} reads {channels} channels, and its pictures here have 3 (RGB)")
    weights.tensors(folder)
    said = logging.get_verbosity()
    logging.set_verbosity_error()  # the text tower of a pair is not read, which it would report line by line
    try:
        model, report = AutoModel.from_pretrained(
            folder, config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True,
        )  # fmt: skip
    except (RuntimeError, ValueError, OSError) as error:
        raise WeightsError(f"the encoder {folder.name} cannot be loaded: {error}") from error
    finally:
        logging.set_verbosity(said)
    lost = sorted(name for name in report["missing_keys"] if "pooler" not in name.split("."))  # no pooler is read
    if lost:
        raise WeightsError(
            f"the files of the encoder {folder.name} lack {len(lost)} of its weights ({', '.join(lost[:3])} ...): they"
            " would be random; fetch the model again, or name the folder that holds them"
        )
    return model.eval().requires_grad_(False)


def _look(folder: Path, config: object) -> tuple[Tensor, Tensor, int]:
    """(mean (3, 1, 1), deviation (3, 1, 1), px of a side) as the folder's image processor has them, else `PLAIN`.

    The file is read, not the processor's class: that one may need torchvision."""
    path = folder / "preprocessor_config.json"
    said = runtime.read_json(path) if path.is_file() else {}
    mean, deviation = said.get("image_mean", PLAIN[0]), said.get("image_std", PLAIN[1])
    if said.get("do_normalize") is False:
        mean, deviation = (0.0,) * 3, (1.0,) * 3
    cropped = said.get("crop_size") if said.get("do_center_crop", True) else None
    size = cropped or said.get("size") or getattr(config, "image_size", None) or PLAIN[2]
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    size = size[0] if isinstance(size, (list, tuple)) else size
    shape = [len(x) if isinstance(x, (list, tuple)) else 0 for x in (mean, deviation)]
    if shape != [3, 3] or min(deviation) <= 0 or not isinstance(size, int) or size < 8:
        raise WeightsError(
            f"{path}: image_mean, image_std and size must be three numbers, three above 0 and px; found {mean},"
            f" {deviation}, {said.get('size', size)}"
        )
    return torch.tensor(mean).view(3, 1, 1), torch.tensor(deviation).view(3, 1, 1), size


# ---------------------------------------------------------------- kept features
def cached(
    work: Path, which: str, key: str, frozen: Frozen, path: Path, stored: Callable[[str], np.ndarray]
) -> np.ndarray:
    """Features (N, 2, W, 7, 7) of set `which`, memory-mapped from experts/encoded/<which>/<key>.npy; computed unless
    those of the same encoder, pictures and code are there. path: the file that `stored(SOURCES[key])` reads.
    """
    folder = Path(work) / "experts" / "encoded" / which
    with _ONE:
        state = cache.fresh(
            folder, [path], {"encoder": frozen.reference.sha256}, "deft.experts.frozen", name=key, files=[f"{key}.npy"]
        )
        if not state:
            runtime.save_array(folder, key, frozen.see(key, stored(SOURCES[key])))
            state.seal()
    return runtime.load_array(folder, key)
