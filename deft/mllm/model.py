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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import ModelOutput

from deft import linear as products
from deft import runtime
from deft.clips.facs import EMOTIONS, UNITS
from deft.mllm import prompt

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedTokenizerBase
    from transformers.modeling_outputs import BaseModelOutputWithPast

IGNORE = prompt.IGNORE


class DeftLLMConfig(PreTrainedConfig):
    """Everything that rebuilds the model: the base's own config, which streams are on, adapter rank, loss weights.

    streams: letters among s, t, m, r. markers: stream or stream-unit name -> token id of its slot.
    unit_words: token ids of the 21 words of `prompt.unit_words`. tokens: projected tokens of each stream, 0 for a model
    that is shown soft words alone; words_shown: False for one that is shown none.
    """

    model_type = "deft-llm"
    sub_configs = {"text_config": AutoConfig}

    def __init__(
        self,
        text_config: dict | PreTrainedConfig | None = None,
        streams: str = "stm",
        tokens: int = prompt.TOKENS,
        width: int = 64,
        rank: int = 16,
        alpha: int = 32,
        markers: Mapping[str, int] | None = None,
        unit_words: Sequence[Sequence[int]] | None = None,
        emotion_weight: float = 0.5,
        unit_weight: float = 0.3,
        align_weight: float = 0.1,
        disentangle_weight: float = 0.1,
        seed: int = 7,
        words_shown: bool = True,
        **kwargs: Any,
    ):
        if isinstance(text_config, dict):
            text_config = CONFIG_MAPPING[text_config["model_type"]](**text_config)
        self.text_config = text_config
        self.streams, self.tokens, self.width, self.rank, self.alpha, self.seed = (
            streams,
            tokens,
            width,
            rank,
            alpha,
            seed,
        )
        self.markers, self.unit_words = dict(markers or {}), [list(w) for w in unit_words or []]
        self.emotion_weight, self.unit_weight = emotion_weight, unit_weight
        self.align_weight, self.disentangle_weight = align_weight, disentangle_weight
        self.words_shown = words_shown
        super().__init__(**kwargs)

    @classmethod
    def of(
        cls, base: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, streams: str, **settings: Any
    ) -> DeftLLMConfig:
        """The config that joins a base language model and its tokenizer to the streams named by letters."""
        prompt.streams_of(streams)
        markers = {name.strip("<>"): tokenizer.convert_tokens_to_ids(name) for name in prompt.MARKERS}
        return cls(
            text_config=base.config.to_dict(),
            streams=streams,
            markers=markers,
            unit_words=prompt.unit_words(tokenizer),
            **settings,
        )


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
    """loss and its parts (scalars), label logits (positions, V), emotion (B, 5) and unit (B, 17, 2) logits."""

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
    main_input_name = "input_ids"

    def __init__(self, config: DeftLLMConfig, base: PreTrainedModel | None = None):
        super().__init__(config)
        hidden = config.text_config.hidden_size
        with torch.random.fork_rng():  # new parts depend on config.seed alone
            torch.manual_seed(runtime.seed_of(config.seed, "mllm/parts"))
            language = base if base is not None else AutoModelForCausalLM.from_config(config.text_config)
            scale = float(language.get_input_embeddings().weight.detach().std()) if base is not None else 0.02
            head = language.get_output_embeddings()
            linear = [name for name, m in language.named_modules() if isinstance(m, nn.Linear) and m is not head]
            adapter = LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=linear, lora_dropout=0.0)
            self.language = inject_adapter_in_model(adapter, language)
            products.install(self.language)
            self.projectors = nn.ModuleDict({name: Projector(config.width, hidden, scale) for name in self.streams})
            self.emotion_head = nn.Linear(hidden, len(EMOTIONS))
            self.unit_head = nn.Linear(hidden, 2 * len(UNITS))  # a correction to the experts' log odds
            nn.init.zeros_(self.unit_head.weight)
            nn.init.constant_(self.unit_head.bias, 0.0)
        self.freeze_base()
        for module in self.language.modules():
            if "RotaryEmbedding" not in type(module).__name__:  # loading rebuilds rotary tables
                module._is_hf_initialized = True  # else the base's class draws LoRA's B anew
        self.post_init()

    def freeze_base(self) -> None:
        """Only adapters, projectors and heads may learn."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_("lora_" in name or not name.startswith("language."))

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in Hugging Face's base class; afterwards the base language model is frozen."""
        loaded = super().from_pretrained(*args, **kwargs)  # with output_loading_info a pair comes back
        (loaded[0] if isinstance(loaded, tuple) else loaded).freeze_base()  # loading makes every parameter trainable
        return loaded

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: every part starts as its own constructor says."""

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
        table = self.get_input_embeddings().weight
        return torch.stack([table[ids].mean(0) for ids in self.config.unit_words])

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
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -embedded.shape[1] :]
        return self.language.base_model(
            inputs_embeds=embedded,
            attention_mask=attention_mask,
            position_ids=positions,
            past_key_values=past,
            use_cache=use_cache,
        )

    def word_logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., H) -> logits of the next word (..., V)."""
        return self.language.get_output_embeddings()(hidden)

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
        emotion (B,) index into EMOTIONS, IGNORE where none is told; units (B, 17, 2) in {0, 1}; present (B, S) bool,
        streams not dropped. lived (B,) bool: False for a rehearsal example, whose units are simulated and belong to no
        clip: no alignment loss there."""
        projected = self.project(features)
        out = self.hidden(self.embed(input_ids, features, projected), attention_mask, use_cache=use_cache)
        hidden = out.last_hidden_state  # (B, L, H)
        pooled = hidden[torch.arange(len(hidden), device=hidden.device), prompt_end]  # (B, H)
        emotion_logits = self.emotion_head(pooled)  # (B, 5)
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
        for layer in layers:
            layer.merge()
        try:
            yield self
        finally:
            for layer in layers:
                layer.unmerge()


AutoConfig.register(DeftLLMConfig.model_type, DeftLLMConfig)
