"""What is computed with a base language model of any family: hidden states, logits of the next word, embeddings.

`check` holds eight tokens against the base's own logits: a family whose positions, masks or logits are other than what
`hidden` and `word_logits` compute is refused by name. Where a base comes from: `deft.mllm.hub`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from deft.weights import WeightsError

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedConfig
    from transformers.modeling_outputs import BaseModelOutputWithPast

BaseError = WeightsError  # of a base that cannot be used
STILL = ("dropout", "attention_dropout", "activation_dropout", "hidden_dropout", "layerdrop")


def bare(config: PreTrainedConfig) -> PreTrainedModel:
    """A model of its own class from its config alone, to be filled by the caller."""
    with torch.random.fork_rng():
        return AutoModelForCausalLM.from_config(config).eval()


def grow(model: PreTrainedModel, rows: int) -> None:
    """Let the tables of words hold at least `rows` rows; new ones are the mean of the old, so that nothing is drawn."""
    before = model.get_input_embeddings().num_embeddings
    if rows <= before:
        return
    model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            if table is not None:
                for values in (table.weight, getattr(table, "bias", None)):
                    if values is not None:
                        values[before:] = values[:before].float().mean(0).to(values.dtype)


def adapts(name: str) -> bool:
    """Whether a parameter of the joint model is an adapter of its base: LoRA, or the rows of added tokens."""
    return "lora_" in name or "trainable_tokens_" in name


def own(name: str) -> bool:
    """Whether a parameter of the joint model is its own (adapter, projector, head) and not the base's."""
    return adapts(name) or not name.startswith("language.")


def tables(language: PreTrainedModel, rows: Sequence[int]) -> dict[str, list[int]] | None:
    """Which rows of which layers learn, for peft's `trainable_token_indices`: of the word embeddings and, where it has
    a table of its own, of the word head. None without rows; BaseError for a head with a bias, which peft leaves out.
    """
    if not rows:
        return None
    table, head = language.get_input_embeddings(), language.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        raise BaseError(
            f"the family '{language.config.model_type}' has a word head with a bias: tune it without `unit_tokens`"
        )
    learning = (table,) if head.weight is table.weight else (table, head)
    return {name: list(rows) for name, layer in language.named_modules() if layer in learning}


def linear(language: PreTrainedModel) -> list[str]:
    """Names of the layers that get an adapter: every linear one but the word head (of experts in a fused block, none:
    attention learns there).
    """
    head = language.get_output_embeddings()
    kinds = (nn.Linear, Conv1D)
    return [name for name, layer in language.named_modules() if isinstance(layer, kinds) and layer is not head]


def still(language: nn.Module) -> None:
    """Take dropout out of a base: it is frozen, and every draw of a run comes from (seed, epoch, index)."""
    for layer in language.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
        for given in STILL:
            if isinstance(getattr(layer, given, None), float):
                setattr(layer, given, 0.0)


def hidden(
    language: PreTrainedModel,
    embedded: Tensor,
    attention_mask: Tensor,
    past: Cache | None = None,
    use_cache: bool = False,
) -> BaseModelOutputWithPast:
    """Run the decoder without its word head: embedded (B, L, H), mask (B, P + L) -> last_hidden_state (B, L, H) and
    the cache. Positions count attended tokens only.
    """
    positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -embedded.shape[1] :]
    return language.base_model(
        inputs_embeds=embedded,
        attention_mask=attention_mask,
        position_ids=positions,
        past_key_values=past,
        use_cache=use_cache,
    )


def word_logits(language: PreTrainedModel, states: Tensor) -> Tensor:
    """Hidden states (..., H) -> float32 logits of the next word (..., V), with what some families do after their head
    (Granite divides, Cohere multiplies, Gemma 2 caps).
    """
    logits = language.get_output_embeddings()(states).float()
    config = language.config.get_text_config()
    if divisor := getattr(config, "logits_scaling", None):
        logits = logits / divisor
    if factor := getattr(config, "logit_scale", None):
        logits = logits * factor
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = cap * torch.tanh(logits / cap)
    return logits


def word_vectors(table: nn.Module, words: Sequence[Sequence[int]]) -> Tensor:
    """(W, H) float32: embedding of each word as the base embeds it, the mean over its tokens."""
    device = next(table.parameters()).device
    if isinstance(table, AuxiliaryTrainingWrapper):  # its rows learn: every call copies the whole table
        parts = table(torch.tensor([i for ids in words for i in ids], device=device)).float().split([*map(len, words)])
        return torch.stack([part.mean(0) for part in parts])
    return torch.stack([table(torch.tensor(ids, device=device)).float().mean(0) for ids in words])


def length(language: PreTrainedModel, words: Sequence[Sequence[int]]) -> float:
    """Root mean square of the numbers of a word's embedding, as the base embeds it (some families scale what stands in
    their table).
    """
    table = language.get_input_embeddings()
    ids = torch.tensor([i for word in words for i in word] or [0], device=table.weight.device)
    with torch.no_grad():
        scaled = table(ids).float().norm() / table.weight[ids].float().norm()
        return float(table.weight.std()) * float(scaled)


@torch.no_grad()
def check(language: PreTrainedModel, words: Sequence[Sequence[int]]) -> None:
    """Hold eight tokens against the base's own logits; BaseError names the family that computes something else.

    They are embedded as soft words are, come with padding on the left and a hole of masked positions, and must give
    what the base gives for the eight tokens alone.
    """
    family = language.config.model_type
    table, head = language.get_input_embeddings(), language.get_output_embeddings()
    if head is None or language.base_model is language or getattr(language.config, "is_encoder_decoder", False):
        raise BaseError(f"the family '{family}' cannot be a base: it is no decoder with a word head of its own")
    flat = list(dict.fromkeys(i for word in words for i in word))[:8] or list(range(8))
    ids = torch.tensor([flat], device=table.weight.device)
    count, training = len(flat), language.training
    seen = torch.tensor([[0] + [1] * 2 + [0] * 2 + [1] * (count - 2)], device=ids.device)
    spread = torch.full_like(seen, flat[0])
    spread[seen.bool()] = ids[0]
    language.eval()
    try:
        theirs = language(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].float()
        embedded = word_vectors(table, [[i] for i in spread[0].tolist()])[None].to(table.weight.dtype)
        ours = word_logits(language, hidden(language, embedded, seen).last_hidden_state)[0][seen[0].bool()]
    except (TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise BaseError(f"the family '{family}' cannot be a base: {type(error).__name__}: {error}") from error
    finally:
        language.train(training)
    if not bool(torch.isfinite(theirs).all()):
        raise BaseError(f"the base of family '{family}' gives logits that are not finite; its files are damaged")
    exact = all(p.dtype == torch.float32 for p in language.parameters())
    far = float((theirs - ours).norm() / theirs.norm())
    if not far <= (1e-3 if exact else 0.1):
        raise BaseError(
            f"the family '{family}' cannot be a base: on eight tokens our logits are {far:.1%} off its own; it scales,"
            " masks or counts positions in a way that is not known here"
        )
