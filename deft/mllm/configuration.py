"""The config of the joint model: everything that rebuilds it around its base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from deft.clips.facs import EMOTIONS
from deft.mllm import prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


HUB = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")  # what a hub is asked with


class DeftLLMConfig(PreTrainedConfig):
    """Everything that rebuilds the model: the base's own config, which streams are on, adapter rank, loss weights.

    streams: letters among s, t, m, r. classes: of the head, in its order. markers: stream or stream-unit name -> token
    id of its slot. unit_words: token ids of the 21 words of `prompt.unit_words`. named_base: {id, revision, sha256} of
    a base from elsewhere, which is saved by this reference; none for a base of our own, which is saved whole. rows: of
    its table of words. experts: {stream: sha256} of the experts whose features it was tuned on. tokens: projected
    tokens of each stream, 0 for a model that is shown soft words alone; words_shown: False for one that is shown none.
    unit_tokens: ids of the tokens added for unit names, whose rows of the base's table learn.
    class_temperature: divides the log likelihoods of the classes before they become probabilities; it moves no answer.
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
        classes: Sequence[str] = EMOTIONS,
        named_base: Mapping[str, str] | None = None,
        rows: int = 0,
        experts: Mapping[str, str] | None = None,
        words_shown: bool = True,
        unit_tokens: Sequence[int] = (),
        class_temperature: float = 1.0,
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
        self.classes = list(classes)
        self.markers, self.unit_words = dict(markers or {}), [list(w) for w in unit_words or []]
        self.emotion_weight, self.unit_weight = emotion_weight, unit_weight
        self.align_weight, self.disentangle_weight = align_weight, disentangle_weight
        self.named_base, self.rows, self.experts = dict(named_base or {}), rows, dict(experts or {})
        self.words_shown, self.unit_tokens, self.class_temperature = words_shown, list(unit_tokens), class_temperature
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
            unit_tokens=prompt.unit_tokens(tokenizer),
            named_base=asdict(reference) if (reference := getattr(base, "reference", None)) else None,
            rows=base.get_input_embeddings().num_embeddings if reference else 0,
            **settings,
        )

    def to_dict(self) -> dict[str, Any]:
        """As in the base class, without the folder that it was read from and without what a base of our own leaves
        empty.
        """
        known = ("named_base", "rows", "experts", "unit_tokens")
        empty = {"_name_or_path"} | {name for name in known if not getattr(self, name)}
        return {name: value for name, value in super().to_dict().items() if name not in empty}


AutoConfig.register(DeftLLMConfig.model_type, DeftLLMConfig)
