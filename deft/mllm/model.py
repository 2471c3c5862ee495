"""DEFT-LLM: expert tokens and soft words in one language model, with heads on the same hidden states (C4, C5).

    expert tokens (B, 4, 64) -> projector ---\\
    unit probabilities (B, 17, 2) -> soft words -> slots of the prompt -> language model (frozen) + LoRA -> answer
                                                                                    \\-> emotion head, unit head

Loss = language modelling on the answer + emotion + units (the hybrid objective) + alignment + disentangling. The paper
does not give its weights; ours stand in `DeftLLMConfig` and favour the answer, because the answer is what is scored.
Splicing follows LLaVA, the file's shape nanoVLM; LoRA is peft's. (peft's own `DeftConfig` is unrelated.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils import ModelOutput, cached_file

from deft import linear as products
from deft import runtime
from deft.clips.facs import UNITS
from deft.mllm import base as bases
from deft.mllm import hub as hubs
from deft.mllm import prompt
from deft.mllm.configuration import HUB, DeftLLMConfig

if TYPE_CHECKING:
    from transformers import Cache, GenerationConfig
    from transformers.modeling_outputs import BaseModelOutputWithPast

IGNORE = prompt.IGNORE
IGNORED = ("_from_auto", "_from_pipeline", "_commit_hash", "adapter_kwargs", "code_revision", "trust_remote_code")
IGNORED += ("use_safetensors", "proxies")  # what the Auto classes and pipelines pass along


class Projector(nn.Module):
    """Two layers from an expert's token to a vector of the language model, scaled to the length its embeddings have."""

    def __init__(self, width: int, hidden: int, scale: float):
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.norm = nn.LayerNorm(hidden)
        nn.init.constant_(self.norm.weight, scale)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, 4, 64) -> (B, 4, H)."""
        return self.norm(self.body(tokens))  # (B, 4, 64) -> (B, 4, H)


@dataclass
class DeftOutput(ModelOutput):
    """loss and its parts (scalars), label logits (positions, V), emotion (B, C) and unit (B, 17, 2) logits."""

    loss: Tensor | None = None
    parts: dict[str, Tensor] | None = None
    logits: Tensor | None = None
    emotion_logits: Tensor | None = None
    unit_logits: Tensor | None = None
    last_hidden_state: Tensor | None = None
    past_key_values: object | None = None


class DeftLLMForConditionalGeneration(PreTrainedModel):
    """Base language model with LoRA on every linear layer, one projector per stream, soft words, two heads."""

    config_class = DeftLLMConfig
    base_model_prefix = "language"
    _supports_sdpa = True
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the loss is a mean over the batch: who accumulates gradients divides it
    main_input_name = "input_ids"

    def __init__(self, config: DeftLLMConfig, base: PreTrainedModel | None = None):
        super().__init__(config)
        hidden = config.text_config.hidden_size
        language = bases.bare(config.text_config) if base is None else base
        bases.still(language)
        bases.check(language, config.unit_words)
        with torch.random.fork_rng():  # new parts depend on config.seed alone
            torch.manual_seed(runtime.seed_of(config.seed, "mllm/parts"))
            scale = bases.length(language, config.unit_words)
            linear = bases.linear(language)
            turned = any(isinstance(language.get_submodule(name), Conv1D) for name in linear)
            adapter = LoraConfig(
                r=config.rank,
                lora_alpha=config.alpha,
                target_modules=linear,
                lora_dropout=0.0,
                fan_in_fan_out=turned,
                trainable_token_indices=bases.tables(language, config.unit_tokens),
            )
            self.language = inject_adapter_in_model(adapter, language)
            products.install(self.language)
            self.projectors = nn.ModuleDict({name: Projector(config.width, hidden, scale) for name in self.streams})
            self.emotion_head = nn.Linear(hidden, len(config.classes))
            self.unit_head = nn.Linear(hidden, 2 * len(UNITS))  # a correction to the experts' log odds
            nn.init.zeros_(self.unit_head.weight)
            nn.init.constant_(self.unit_head.bias, 0.0)
        for name, parameter in self.named_parameters():  # peft makes an adapter in the base's number format
            if bases.own(name):
                parameter.data = parameter.data.to(language.device, torch.float32)
        self.freeze_base()
        self.post_init()

    def init_weights(self) -> None:
        """Nothing is drawn: the base has its weights, and every other part starts as its own constructor says."""

    def freeze_base(self) -> None:
        """Only adapters, projectors and heads may learn."""
        for name, parameter in self.named_parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(bases.own(name))

    # ------------------------------------------------------------ on disk
    def save_pretrained(self, save_directory: str | Path, with_base: bool | None = None, **kwargs: Any) -> None:
        """Write config.json and model.safetensors: everything where the base is our own (or `with_base`), else
        adapters, projectors and heads, the base by reference.
        """
        if with_base is None:
            with_base = not self.config.named_base
        if not with_base and not self.config.named_base:
            raise ValueError("a base of our own has no place elsewhere to be fetched from: save it with_base=True")
        kept, self.config.named_base = self.config.named_base, {} if with_base else self.config.named_base
        names = self._names()
        state = {n: v for n, v in self.state_dict().items() if n in names and (with_base or bases.own(n))}
        how = {"max_shard_size": 2**62, "save_original_format": False}  # under the names that `take` knows
        try:
            super().save_pretrained(save_directory, state_dict=state, **how, **kwargs)
        finally:
            self.config.named_base = kept

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        config: DeftLLMConfig | None = None,
        base: str | Path | PreTrainedModel | None = None,
        dtype: str | torch.dtype = "auto",
        device: str | torch.device = "cpu",
        **kwargs: Any,
    ) -> Any:
        """A saved model, ready to answer, its base frozen. The base is loaded by its own class.

        base: folder or hub id of the base from elsewhere, or the loaded model itself, where several share it; by
        default the one that the work folder names, that lies in $DEFT_BASES, or that the hub gives. dtype: of the base.
        Other arguments: those of the hub (revision, token, local_files_only), and for the base's class.
        """
        where = pretrained_model_name_or_path
        hub = {name: kwargs.pop(name) for name in HUB if name in kwargs}
        for name in IGNORED:
            kwargs.pop(name, None)
        config = config or DeftLLMConfig.from_pretrained(where, **hub)
        state = load_file(cached_file(where, "model.safetensors", **hub))
        if not config.named_base:
            if base is not None or kwargs or dtype not in ("auto", None, "float32", torch.float32):
                raise TypeError(f"{where} holds its base itself, in float32: no {', '.join(kwargs) or 'base or dtype'}")
            model = cls(config)
        else:
            if not isinstance(base, PreTrainedModel):
                reference = hubs.Reference(**config.named_base)
                dtype = str(dtype or "auto").removeprefix("torch.")
                base = base or hubs.beside(where, reference)
                _, base = hubs.recall(reference, base, dtype, device=device, **kwargs)
            bases.grow(base, config.rows)
            model = cls(config, base)
        model.take(state, str(where))
        model.config._name_or_path = str(where)
        return model.to(device).eval() if not kwargs.get("device_map") else model.eval()

    def _names(self) -> set[str]:
        """Names of all tensors, of those that are tied the first one's."""
        return {name for name, _ in (*self.named_parameters(), *self.named_buffers())}

    def take(self, state: Mapping[str, Tensor], where: str) -> None:
        """Load the tensors of a saved model; ValueError when any is missing, left over or of another shape."""
        try:
            missing, extra = self.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise ValueError(f"{where} is a model of another architecture: {error}") from error
        names = self._names()
        missing = [n for n in missing if n in names and (not self.config.named_base or bases.own(n))]
        if missing or extra:
            what = f"no {missing[0]}" if missing else f"{extra[0]}, which is no part of it"
            raise ValueError(f"{where} is a model of another architecture: it holds {what}")
        bases.check(self.language, self.config.unit_words)

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams that are on, in prompt order."""
        return prompt.streams_of(self.config.streams)

    @property
    def unit_streams(self) -> tuple[str, ...]:
        """Those of them whose unit probabilities are shown as soft words."""
        return tuple(name for name in self.streams if self.config.words_shown and name in prompt.UNIT_STREAMS)

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings of the base (vocabulary, H)."""
        return self.language.get_input_embeddings()

    def words(self) -> Tensor:
        """(21, H): the embedding of each word that soft words are made of, the mean over its tokens."""
        return bases.word_vectors(self.get_input_embeddings(), self.config.unit_words)

    # ------------------------------------------------------------ inputs
    def project(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Expert tokens (B, 4, 64) of each stream that is on -> (B, 4, H); none where words alone are shown."""
        return {name: self.projectors[name](features[name]) for name in self.streams if self.config.tokens}

    def embed(self, input_ids: Tensor, features: dict[str, Tensor], projected: dict[str, Tensor]) -> Tensor:
        """Token ids with slots (B, L) -> (B, L, H): word embeddings, projected tokens and soft words, each in its
        place.
        """
        embedded = self.get_input_embeddings()(input_ids)
        words = self.words() if self.unit_streams else None
        for name in self.streams:
            if name in projected:
                embedded = prompt.splice(embedded, input_ids, self.config.markers[name], projected[name])
            if name in self.unit_streams:
                said = prompt.soft_words(words, features[f"{name}_units"])
                embedded = prompt.splice(embedded, input_ids, self.config.markers[f"{name}-unit"], said)
        return embedded

    def hidden(
        self, embedded: Tensor, attention_mask: Tensor, past: Cache | None = None, use_cache: bool = False
    ) -> BaseModelOutputWithPast:
        """Run the decoder without its word head: embedded (B, L, H), mask (B, P + L) -> last_hidden_state (B, L, H) and
        the cache.

        Positions count attended tokens only, so a dropped stream (mask 0) gives exactly the result of a prompt without
        it."""
        return bases.hidden(self.language, embedded, attention_mask, past, use_cache)

    def word_logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., H) -> float32 logits of the next word (..., V), as the base gives them."""
        return bases.word_logits(self.language, hidden)

    def placed(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same tensors on the model's device."""
        return {name: value.to(self.device) for name, value in inputs.items()}

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Token ids (B, N) that the base's own `generate` writes after the prompts (B, L), padded on the left.

        kwargs: the features of every stream that is on, and the arguments of `generate`. Greedy by default, whatever
        the base's own generation config says.
        """
        names = [*self.streams, *(f"{name}_units" for name in self.unit_streams)]
        features = self.placed({name: kwargs.pop(name) for name in names})
        # what is not read here: of the prompts, and the unit probabilities of a model whose prompt has no soft words
        for name in ("labels", "prompt_end", *(f"{name}_units" for name in self.streams)):
            kwargs.pop(name, None)
        if not bool(attention_mask[:, -1].all()):
            raise ValueError("prompts must be padded on the left: the next word follows the last position")
        embedded = self.embed(input_ids.to(self.device), features, self.project(features))
        if generation_config is None:
            kwargs = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0} | kwargs
        return self.language.generate(
            inputs_embeds=embedded,
            attention_mask=attention_mask.to(self.device),
            generation_config=generation_config,
            **kwargs,
        )

    # ------------------------------------------------------------ objective
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        prompt_end: Tensor,
        labels: Tensor | None = None,
        emotion: Tensor | None = None,
        units: Tensor | None = None,
        present: Tensor | None = None,
        lived: Tensor | None = None,
        use_cache: bool = False,
        **features: Tensor,
    ) -> DeftOutput:
        """input_ids, attention_mask, labels (B, L); prompt_end (B,) position of the prompt's last token.

        features: <stream> (B, 4, 64) and <stream>_units (B, 17, 2) in [0, 1] for each stream that is on.
        emotion (B,) index into the classes, IGNORE where none is told; units (B, 17, 2) in {0, 1}; present (B, S) bool,
        streams not dropped. lived (B,) bool: False for a rehearsal example, whose units are simulated and belong to no
        clip: no alignment loss there."""
        projected = self.project(features)
        out = self.hidden(self.embed(input_ids, features, projected), attention_mask, use_cache=use_cache)
        hidden = out.last_hidden_state  # (B, L, H)
        pooled = hidden[torch.arange(len(hidden), device=hidden.device), prompt_end].float()  # (B, H)
        emotion_logits = self.emotion_head(pooled)  # (B, C)
        unit_logits = self.unit_logits(pooled, features, present)  # (B, 17, 2)
        result = DeftOutput(
            emotion_logits=emotion_logits,
            unit_logits=unit_logits,
            last_hidden_state=hidden,
            past_key_values=out.past_key_values if use_cache else None,
        )
        if labels is None:
            return result
        scored = labels[:, 1:] != IGNORE
        result.logits = self.word_logits(hidden[:, :-1][scored])  # the word head meets label positions only
        parts = {"text": F.cross_entropy(result.logits, labels[:, 1:][scored])}
        if emotion is not None and bool((emotion != IGNORE).any()):
            parts["emotion"] = F.cross_entropy(emotion_logits, emotion)
        if units is not None:
            parts["units"] = F.binary_cross_entropy_with_logits(unit_logits, units)
            own = slice(None) if lived is None else lived
            told = [name for name in projected if name in prompt.UNIT_STREAMS]
            if told and (lived is None or bool(lived.any())):
                parts["align"] = self.alignment(projected[told[-1]][own], units[own])
        if len(projected) > 1:
            parts["disentangle"] = self.disentangling(projected)
        weights = {
            "text": 1.0,
            "emotion": self.config.emotion_weight,
            "units": self.config.unit_weight,
            "align": self.config.align_weight,
            "disentangle": self.config.disentangle_weight,
        }
        result.loss = sum(weights[name] * value for name, value in parts.items())
        result.parts = {name: value.detach() for name, value in parts.items()}
        return result

    def unit_logits(self, pooled: Tensor, features: dict[str, Tensor], present: Tensor | None) -> Tensor:
        """Mean log odds of the experts that are on and not dropped, plus a learned correction that starts at zero.

        pooled: (B, H) hidden state at the end of the prompt. A unit head trained from scratch was poor
        (docs/method.md#what-learns-at-this-size), so the experts' own heads are kept.
        """
        correction = self.unit_head(pooled).view(-1, len(UNITS), 2)
        if not self.unit_streams:
            return correction
        odds = torch.stack(
            [torch.logit(features[f"{name}_units"], eps=1e-4) for name in self.unit_streams], 1
        )  # (B, E, 17, 2)
        weight = torch.ones(odds.shape[:2], device=odds.device)
        if present is not None:
            weight = present[:, [self.streams.index(name) for name in self.unit_streams]].to(odds.dtype)
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
        return (weight[..., None, None] * odds).sum(1) + correction

    def alignment(self, projected: Tensor, units: Tensor) -> Tensor:
        """Projected motion tokens (B, 4, H) should lie near the words of the units that are active.

        The paper does not say how it aligns; we take the best cosine of the 4 tokens to each unit word (17) at
        temperature .1 and score it as a multi-label problem: several units may be active at once.
        """
        words = F.normalize(self.words()[: len(UNITS)], dim=-1)  # (17, H)
        near = (F.normalize(projected, dim=-1) @ words.T).amax(1) / 0.1  # (B, 17)
        return F.binary_cross_entropy_with_logits(near - 2.0, units.amax(-1))

    @staticmethod
    def disentangling(projected: dict[str, Tensor]) -> Tensor:
        """Mean squared cross-correlation over the batch between the streams' mean projected tokens (Barlow-style)."""
        pooled = [p.mean(1) for p in projected.values()]
        scaled = [(p - p.mean(0)) / (p.std(0, correction=0) + 1e-5) for p in pooled]
        pairs = [(a.T @ b / len(a)).square().mean() for i, a in enumerate(scaled) for b in scaled[i + 1 :]]
        return torch.stack(pairs).mean()

    # ------------------------------------------------------------ adapters
    @contextlib.contextmanager
    def merged(self) -> Iterator[DeftLLMForConditionalGeneration]:
        """Fold LoRA into the base's weights while answering (one product fewer per layer), then take it out again."""
        layers = [m for m in self.language.modules() if isinstance(m, BaseTunerLayer)]
        if any(p.dtype != torch.float32 for n, p in self.named_parameters() if not bases.own(n)):
            layers = []  # a coarser base would round the adapters away
        weights = [layer.get_base_layer().weight for layer in layers]
        kept = [weight.detach().clone() for weight in weights]  # added and taken off again, the last bit would move
        for layer in layers:
            layer.merge()
        try:
            yield self
        finally:
            for layer, weight, before in zip(layers, weights, kept):
                layer.unmerge()
                weight.data.copy_(before)


AutoModel.register(DeftLLMConfig, DeftLLMForConditionalGeneration)
