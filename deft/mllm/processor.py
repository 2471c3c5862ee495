"""What the experts saw of a clip, and a question about it -> the joint model's inputs; its tokens -> an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, AutoTokenizer, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from deft import runtime
from deft.clips.facs import UNITS
from deft.mllm import prompt
from deft.mllm.configuration import HUB, DeftLLMConfig
from deft.unimer.check import parse
from deft.unimer.facts import Facts
from deft.unimer.kinds import KINDS

FILE = "processor_config.json"


class DeftLLMProcessor(ProcessorMixin):
    """The structured prompt around a tokenizer. streams: letters among s, t, m, r; tokens: slots of a stream; words:
    whether unit probabilities have slots of their own; width: of an expert's token; experts: {stream: sha256} of the
    experts whose features the model was tuned on; chat: put the prompt into the tokenizer's chat template (a tokenizer
    that was saved with one in use has it without being asked).
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        streams: str = "stm",
        tokens: int = prompt.TOKENS,
        width: int = 64,
        experts: Mapping[str, str] | None = None,
        chat: bool = False,
        words: bool = True,
    ):
        super().__init__(tokenizer)
        if chat:
            prompt.chat_frame(tokenizer)
        self.streams, self.tokens, self.width, self.experts = streams, tokens, width, dict(experts or {})
        self.words = words

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> DeftLLMProcessor:
        """From the folder or hub id of a saved model or processor."""
        where, hub = pretrained_model_name_or_path, {name: kwargs[name] for name in HUB if name in kwargs}
        tokenizer = AutoTokenizer.from_pretrained(where, **hub)
        if (Path(where) / FILE).is_file():
            return cls(tokenizer, **runtime.read_json(Path(where) / FILE)["settings"])
        config = DeftLLMConfig.from_pretrained(where, **hub)
        return cls(tokenizer, config.streams, config.tokens, config.width, config.experts, words=config.words_shown)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write the tokenizer's files and processor_config.json."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(folder)
        settings = {name: getattr(self, name) for name in ("streams", "tokens", "width", "experts", "words")}
        runtime.write_json(folder / FILE, {"processor_class": type(self).__name__, "settings": settings})

    def __call__(
        self,
        features: Mapping[str, Any],
        question: str | Sequence[str] = "reasoning",
        answer: str | Sequence[str] | None = None,
        padding_side: str = "left",
    ) -> BatchFeature:
        """input_ids, attention_mask (N, L), prompt_end (N,), with `answer` also labels (N, L), and the features.

        features: <stream> (N, 4, 64) and <stream>_units (N, 17, 2) in [0, 1] for every stream that is on, and under
        `experts`, where it is known, {stream: sha256} of the experts that gave them. question, answer: one for all or
        one for each; a question is a kind of `deft.unimer.kinds` in its canonical wording, or a text. padding_side:
        left to write after it, right to train. ValueError names what is missing, of another shape or expert.
        """
        given = self._features(features)
        count = len(next(iter(given.values())))
        asked, said = ([x] * count if isinstance(x, str) or x is None else list(x) for x in (question, answer))
        if {len(asked), len(said)} != {count}:
            raise ValueError(f"{len(asked)} questions and {len(said)} answers for the features of {count} clips")
        asked = [KINDS[text].question(Facts()) if text in KINDS else text for text in asked]
        names = prompt.streams_of(self.streams)
        shown = {"tokens": self.tokens, "words": self.words}
        rows = [prompt.encode(self.tokenizer, names, q, a, **shown) for q, a in zip(asked, said)]
        batch = prompt.pad(rows, self.tokenizer.pad_token_id, left=padding_side == "left")
        if answer is None:
            del batch["labels"]
        return BatchFeature({**batch, **given})

    def _features(self, features: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        strange = [
            name
            for name, digest in dict(features.get("experts", {})).items()
            if name in self.experts and self.experts[name] != digest
        ]
        if strange:
            raise ValueError(f"the features come from another {strange[0]} expert than the model was tuned on")
        found = {}
        for stream in prompt.streams_of(self.streams):
            wanted = {stream: (prompt.TOKENS, self.width)}
            if stream in prompt.UNIT_STREAMS:
                wanted[f"{stream}_units"] = (len(UNITS), 2)
            for name, shape in wanted.items():
                if name not in features:
                    raise ValueError(f"the features hold no {name}; streams of this model: {self.streams}")
                value = torch.as_tensor(np.asarray(features[name]), dtype=torch.float32)
                if tuple(value.shape[1:]) != shape or not bool(torch.isfinite(value).all()):
                    raise ValueError(
                        f"{name} must be finite and of shape (N, {shape[0]}, {shape[1]}), found {tuple(value.shape)}"
                    )
                found[name] = value
        if len(counts := {name: len(value) for name, value in found.items()}) and len(set(counts.values())) > 1:
            raise ValueError(f"features of different numbers of clips: {counts}")
        return found

    def decode_answer(self, ids: Sequence[int] | torch.Tensor) -> dict[str, Any]:
        """{text, class, evidence, reasoning, unknown, parsed} of the tokens of one answer. An answer without a class is
        not `parsed`, its class is ""; unknown: how many of its words are none of the grammar's.
        """
        text = self.tokenizer.decode(ids, skip_special_tokens=True).strip()
        facts = parse(text)
        parts = {m[1]: m[2].strip(" .") for m in re.finditer(r"(evidence|reasoning)\s*:(.*?)(?=reasoning\s*:|$)", text)}
        return {
            "text": text,
            "class": facts.emotion,
            "evidence": parts.get("evidence", ""),
            "reasoning": parts.get("reasoning", ""),
            "unknown": facts.unknown,
            "parsed": bool(facts.emotion),
        }


AutoProcessor.register(DeftLLMConfig, DeftLLMProcessor)
