"""A base language model from elsewhere: any Hugging Face causal language model, from a folder or by its hub id.

It is loaded by its own class, so that everything which that class computes for itself (scales of embeddings, rotary
tables) is there, in the number format of its files; adapters and heads are float32 whatever the base is. It is never
copied: what is saved names it by `Reference` (id, revision, hash of its files)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import psutil
import torch
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from deft import runtime
from deft import weights as elsewhere
from deft.mllm import prompt
from deft.mllm.base import BaseError, grow
from deft.weights import HUB_ID, Reference, tensors, where

NAMED = "named.json"  # in place of a base of our own: which base from elsewhere a work folder uses
DTYPES = {"auto": "auto", "float32": torch.float32, "bfloat16": torch.bfloat16, "4bit": "4bit"}
GIB = 2**30


def find(base: str | Path, revision: str = "") -> tuple[Path, Reference]:
    """(folder, reference) of a base, as `weights.find` has them."""
    return elsewhere.find(base, revision, "language model", "run 07_joint_tuning, or ")


def found(base: str | Path) -> tuple[Path, Reference]:
    """As `find`, of a folder or of owner/name@revision in one text."""
    name, _, revision = str(base).partition("@")
    return find(base) if Path(base).is_dir() else find(name, revision)


def arithmetic(
    folder: Path, dtype: str = "auto", rank: int = 16, rows: int = 32, length: int = 128
) -> tuple[dict[str, float], str]:
    """({part: bytes}, the sum in words) of tuning a base: weights, adapters with their moments, activations.

    Adapters count 16 bytes a number (value, gradient, two moments in float32); activations are an estimate, 16 numbers
    per position, layer and unit of width.
    """
    shapes = tensors(folder)
    stored = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8}
    size = {"float32": 4, "bfloat16": 2, "4bit": 0.5}
    numbers = sum(math.prod(shape) for _, shape in shapes.values())
    weights = sum(size.get(dtype, stored.get(kind, 1)) * math.prod(shape) for kind, shape in shapes.values())
    config = runtime.read_json(folder / "config.json")
    config = config.get("text_config", config)
    width = config.get("hidden_size") or config.get("n_embd") or 0
    layers = config.get("num_hidden_layers") or config.get("n_layer") or 0
    thin = sum(
        rank * sum(shape)
        for name, (_, shape) in shapes.items()
        if len(shape) == 2 and not re.search(r"embed|wte|wpe|lm_head", name)
    )
    each = weights / max(1, numbers)
    parts = {"weights": weights, "adapters": 16.0 * thin, "activations": 16.0 * width * layers * rows * length * each}
    words = (
        f"{numbers / 1e9:.3g} billion numbers x {each:.3g} bytes = {weights / GIB:.1f} GiB, adapters"
        f" {thin / 1e6:.1f} M x 16 = {parts['adapters'] / GIB:.1f} GiB, activations of {rows} x {length} positions"
        f" about {parts['activations'] / GIB:.1f} GiB"
    )
    return parts, words


def free(device: str | torch.device) -> float:
    """Bytes of memory that are free on a device."""
    device = torch.device(device)
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


# ---------------------------------------------------------------- loading
def load(
    base: str | Path,
    revision: str = "",
    dtype: str = "auto",
    device: str | torch.device | None = None,
    log: Callable[[str], None] | None = None,
    **settings: object,
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """(tokenizer, model) of a base by its own class, with our markers as tokens; `model.reference` says which it is.

    dtype: auto (as its files are), float32, bfloat16, 4bit (where bitsandbytes is installed). log: is told the memory
    that it needs before anything is loaded; what does not fit is refused with the arithmetic. settings: more arguments
    of its class (attn_implementation, device_map).

    Marker tokens are added where they are missing. Their rows are never read as embeddings, because a slot is always
    overwritten, so growing the table changes no other logit.
    """
    folder, reference = find(base, revision)
    if dtype not in DTYPES:
        raise BaseError(f"dtype '{dtype}': choose among {', '.join(DTYPES)}")
    device = where() if device is None else device
    need, words = arithmetic(folder, dtype)
    space = free(device)
    if log:
        log(f"base {reference}: {words}; free on {device}: {space / GIB:.1f} GiB")
    if need["weights"] + need["adapters"] > space:
        raise BaseError(
            f"the base {reference} does not fit: {words}, and {space / GIB:.1f} GiB are free on {device}; take a"
            " smaller base, dtype bfloat16 or 4bit, or another machine"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = _by_its_class(folder, dtype, device, settings)
    missing = [marker for marker in prompt.MARKERS if marker not in tokenizer.get_vocab()]
    if missing:
        tokenizer.add_special_tokens({"extra_special_tokens": missing}, replace_extra_special_tokens=False)
    grow(model, len(tokenizer))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.reference = reference
    return tokenizer, model


def _by_its_class(folder: Path, dtype: str, device: str | torch.device, settings: dict) -> PreTrainedModel:
    if dtype == "4bit":
        from transformers import BitsAndBytesConfig

        settings = settings | {
            "quantization_config": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16),
            "device_map": {"": device},
        }
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.bfloat16 if dtype == "4bit" else DTYPES[dtype],
            **settings,
        )
    except ImportError as error:
        raise BaseError(f"dtype '{dtype}' needs a package that is not installed: {error}") from error
    except ValueError as error:
        family = runtime.read_json(folder / "config.json").get("model_type", "?")
        raise BaseError(f"the family '{family}' of {folder.name} is no causal language model: {error}") from error
    model.config._name_or_path = ""  # else every model made from it would carry this machine's path
    return (model if "device_map" in settings else model.to(device)).eval()


@torch.no_grad()
def single_tokens(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> list[str]:
    """Let the unit names that the tokenizer splits be tokens of their own, in place; -> these names.

    A new row, in the word head too, is the mean of its pieces'. Which rows learn: `DeftLLMConfig.unit_tokens`. The
    space before a name belongs to its token, so that text is written as it was. BaseError for a tokenizer that does
    not take them."""
    pieces = dict(zip(prompt.UNIT_NAMES, prompt.unit_words(tokenizer)))
    split = [name for name, ids in pieces.items() if len(ids) > 1]
    new = [name for name in pieces if any(name.startswith(one) for one in split)]  # the longest wins: au1 is in au12
    tokenizer.add_tokens([AddedToken(f" {name}", normalized=False) for name in new])
    grow(model, len(tokenizer))
    heads = {id(part.weight): part.weight for part in (model.get_input_embeddings(), model.get_output_embeddings())}
    for name in new:
        ids, text = prompt.ids_of(tokenizer, name), f"evidence : {name} both . class : anger"
        said = prompt.ids_of(tokenizer, text)
        if len(ids) != 1 or said.count(ids[0]) != 1 or tokenizer.decode(said).strip() != text:
            raise BaseError(
                f"the tokenizer {type(tokenizer).__name__} does not take '{name}' as a token of its own; tune without"
                " `unit_tokens`"
            )
        for weight in heads.values():
            weight[ids[0]] = weight[pieces[name]].float().mean(0).to(weight.dtype)
    return new


def name(place: Path, base: str, revision: str = "", log: Callable[[str], None] = print) -> Reference:
    """Let the work folder's base `place` stand for a base from elsewhere; returns its reference. log: is told the
    memory that tuning it needs.

    Never in place of a language model that was put there by hand: BaseError.
    """
    place = Path(place)
    refuse_foreign(place)
    folder, reference = find(base, revision)
    log(f"base {reference}: {arithmetic(folder)[1]}; free on {where()}: {free(where()) / GIB:.1f} GiB")
    known = place / NAMED
    row = asdict(reference) | {"folder": str(folder.resolve())}
    if not (known.is_file() and runtime.read_json(known) == row):
        with runtime.atomic(place) as fresh:
            fresh.mkdir(exist_ok=True)
            runtime.write_json(fresh / NAMED, row)
    return reference


def room(place: Path) -> int | None:
    """How many processes can tune or answer side by side with a named base: each holds one. None for a base of our
    own, which is small.
    """
    if not (Path(place) / NAMED).is_file():
        return None
    need = sum(arithmetic(Path(runtime.read_json(Path(place) / NAMED)["folder"]))[0].values())
    return max(1, min(int(free(where()) / need), runtime.jobs()))


def refuse_foreign(place: Path) -> None:
    """Raise BaseError when a base lies in `place` that this project did not write: it is not overwritten."""
    if (place / "config.json").is_file() and not (place / "history.json").is_file():
        raise BaseError(
            f"{place} holds a language model that was put there by hand; it is not overwritten. Name it instead:"
            f" `base: PATH` for 07_joint_tuning in notebooks/params/<profile>.yaml, and move it out of {place.parent}"
        )


def load_base(place: str | Path, dtype: str = "auto") -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """(tokenizer, model) of a work folder's base: one of our own, or the one that `name` wrote down. place: that
    folder, the folder of any other base, or a hub id (owner/name@revision). FileNotFoundError where there is none.
    """
    base, _, revision = str(place).partition("@")
    place = Path(place)
    if not place.is_dir() and HUB_ID.fullmatch(base):
        return load(base, revision, dtype)
    if (place / NAMED).is_file():
        row = runtime.read_json(place / NAMED)
        return recall(Reference(row["id"], row["revision"], row["sha256"]), row["folder"], dtype)
    if not (place / "config.json").exists():
        raise FileNotFoundError(
            f"no language model in '{place}': run 07_joint_tuning, or name a local folder that "
            "holds config.json, tokenizer.json and *.safetensors"
        )
    tokenizer, model = load(place, dtype=dtype)
    if (place / "history.json").is_file():
        model.reference = None  # of our own: small, and saved whole with what is tuned on it
    return tokenizer, model


def recall(
    reference: Reference, place: str | Path = "", dtype: str = "auto", **settings: object
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """(tokenizer, model) of the base that a saved model names. place: where it lies; by default the folder of that
    name in $DEFT_BASES, else the hub's copy on this machine or on the net.

    BaseError when its files are not those that were tuned on.
    """
    place = place if place and Path(place).is_dir() else elsewhere.laid(reference.id) or ""
    tokenizer, model = load(place or reference.id, "" if place else reference.revision, dtype, **settings)
    if model.reference.sha256 != reference.sha256:
        raise BaseError(
            f"the base in '{place or reference.id}' is not the one that was tuned on: {model.reference} instead of"
            f" {reference}; bring that one, or run 07_joint_tuning again"
        )
    model.reference = reference
    return tokenizer, model


def beside(folder: Path, reference: Reference) -> str:
    """Folder of a base, written down by `name` in the work folder that the run `folder` belongs to; "" without one."""
    for parent in Path(folder).resolve().parents[:4] if Path(folder).is_dir() else ():
        for known in sorted([*parent.glob(f"*/{NAMED}"), *parent.glob(f"draw*/*/{NAMED}")]):
            row = runtime.read_json(known)
            if row["sha256"] == reference.sha256:
                return row["folder"]
    return ""
