"""Answers, scored two ways: the likelihood of each emotion under a shared prefix, and free text parsed into (C, E, R).

The prefix (stream slots, question, 'answer : class :') is computed once per clip. C options of L tokens after a prefix
of P tokens then cost P + C L token positions instead of C (P + L)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, Cache, PreTrainedModel, PreTrainedTokenizerBase

from deft import cache, runtime
from deft.clips.facs import EMOTIONS, UNITS
from deft.mllm import base as bases
from deft.mllm import classes, hub, prompt
from deft.mllm.checked import Checked, checked
from deft.mllm.data import TuningData, features_of, heard, read_bench
from deft.mllm.model import DeftLLMForConditionalGeneration
from deft.mllm.runs import Job, base_of
from deft.motion import stillness
from deft.parallel import in_parallel
from deft.systems import CHECKED, DEFT
from deft.unimer.build import measured
from deft.unimer.facts import Facts
from deft.unimer.kinds import KINDS

PREFIX = "class :"  # how the grammar opens a reasoning answer
STILL = "still"  # name of the set of clips without any unit


def question(kind: str = "reasoning") -> str:
    """The one question that every clip is asked, in its canonical wording."""
    return KINDS[kind].question(Facts())


def load(
    folder: Path, base: str | Path | None = None
) -> tuple[PreTrainedTokenizerBase, DeftLLMForConditionalGeneration]:
    """(tokenizer, model) of a finished run, ready to answer, on a visible GPU or the CPU. base: where its base lies, if
    it is elsewhere. ValueError names a file that was altered.
    """
    if words := cache.damage(folder):
        raise ValueError(f"{words}; run 07_joint_tuning again")
    model = DeftLLMForConditionalGeneration.from_pretrained(
        folder, local_files_only=True, base=base, device=hub.where()
    )
    return AutoTokenizer.from_pretrained(folder, local_files_only=True), model


def prompts(
    model: DeftLLMForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, count: int, opening: str = ""
) -> dict[str, torch.Tensor]:
    """`count` copies of the reasoning prompt, optionally with the opening of its answer."""
    encoded = prompt.encode(
        tokenizer, model.streams, question(), tokens=model.config.tokens, words=model.config.words_shown
    )
    if opening:
        ids = prompt.ids_of(tokenizer, opening)
        encoded = {
            **encoded,
            "input_ids": encoded["input_ids"] + ids,
            "attention_mask": encoded["attention_mask"] + [1] * len(ids),
            "labels": encoded["labels"] + [prompt.IGNORE] * len(ids),
        }
    return prompt.pad([encoded] * count, tokenizer.pad_token_id)


def continued(
    language: PreTrainedModel, past: Cache, mask: torch.Tensor, options: Sequence[Sequence[int]], room: int = 4096
) -> torch.Tensor:
    """Log likelihood (B, C) of each option's tokens after its first, given the cache of the prefixes; 0 for an option
    of one token.

    mask: (B, P) of the prefixes. Every longer option gets a copy of the cache, at most `room` rows at a time: a cache
    that forgets (sliding windows) cannot be cut back to the prefix. `past` is used up.
    """
    width, longer = len(mask), [column for column, option in enumerate(options) if len(option) > 1]
    found, each = torch.zeros(width, len(options), device=mask.device), max(1, room // width)
    for start in range(0, len(longer), each):
        columns = longer[start : start + each]
        part = [options[column] for column in columns]
        ids = torch.full((len(part), max(map(len, part))), 0)
        held = torch.zeros_like(ids)
        for row, option in enumerate(part):
            ids[row, : len(option)], held[row, : len(option)] = torch.tensor(option), 1
        ids, held = (x.to(mask.device).repeat(width, 1) for x in (ids, held))  # row b C + c: prefix b, option c
        copy_of = copy.deepcopy(past) if start + each < len(longer) else past
        copy_of.batch_repeat_interleave(len(part))
        grown = torch.cat([mask.repeat_interleave(len(part), 0), held[:, :-1]], 1)
        out = bases.hidden(language, language.get_input_embeddings()(ids[:, :-1]), grown, copy_of, use_cache=True)
        asked = held[:, 1:].bool()  # the word head meets no padding: with many words it is most of the work
        logits = bases.word_logits(language, out.last_hidden_state[asked])
        said = torch.zeros(asked.shape, device=mask.device)
        said[asked] = -torch.nn.functional.cross_entropy(logits, ids[:, 1:][asked], reduction="none")
        found[:, columns] = said.sum(1).view(width, len(part))
    return found


@torch.inference_mode()
def option_scores(
    model: DeftLLMForConditionalGeneration,
    batch: dict[str, torch.Tensor],
    features: dict[str, torch.Tensor],
    options: Sequence[Sequence[int]],
    pooled: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Log likelihood (B, C) of each option's tokens after the shared prefix in `batch` (no right padding).

    pooled: give also the hidden state (B, H) at the end of the question, where the heads read; what follows it changes
    nothing there. The prefix runs once. First tokens are read off its last logits; longer options continue on copies of
    its cache."""
    batch, features = model.placed(batch), model.placed(features)
    several = max(map(len, options)) > 1
    embedded = model.embed(batch["input_ids"], features, model.project(features))
    mask = batch["attention_mask"]
    out = model.hidden(embedded, mask, use_cache=several)
    first = model.word_logits(out.last_hidden_state[:, -1]).log_softmax(-1)  # (B, V)
    total = torch.stack([first[:, o[0]] for o in options], 1)  # (B, C)
    if several:
        total += continued(model.language, out.past_key_values, mask, options)
    if not pooled:
        return total
    return total, out.last_hidden_state[torch.arange(len(mask), device=mask.device), batch["prompt_end"]].float()


def class_probability(model: DeftLLMForConditionalGeneration, likelihood: torch.Tensor) -> np.ndarray:
    """Log likelihoods (B, C) of the classes -> their probabilities at the model's temperature."""
    return (likelihood / model.config.class_temperature).softmax(-1).cpu().numpy()


def emotion_scores(
    model: DeftLLMForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    bench: TuningData,
    rows: np.ndarray,
    batch: int = 64,
    head: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Probability (N, C) of each class of the model among the options, in its order; with `head`, also the head's."""
    options = [prompt.ids_of(tokenizer, classes.word(name)) for name in model.config.classes]
    said, read = [], []
    with model.merged():
        for start in range(0, len(rows), batch):
            part = np.asarray(rows[start : start + batch])
            features = features_of(bench, model.streams, part)
            asked = prompts(model, tokenizer, len(part), PREFIX)
            likelihood, pooled = option_scores(model, asked, features, options, pooled=True)
            if not bool(torch.isfinite(likelihood).all()):
                raise ValueError(
                    f"the likelihoods of rows {part.tolist()[:8]} ... are not finite: weights or features are"
                    " damaged; rerun 06_experts and 07_joint_tuning"
                )
            said.append(class_probability(model, likelihood))
            if head:
                with torch.inference_mode():
                    read.append(model.emotion_head(pooled).softmax(-1).cpu().numpy())
    said = np.concatenate(said) if said else np.zeros((0, len(options)), np.float32)
    return (said, np.concatenate(read)) if head else said


@torch.inference_mode()
def unit_probability(
    model: DeftLLMForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    bench: TuningData,
    rows: np.ndarray,
    batch: int = 64,
) -> np.ndarray:
    """Probability (N, 17, 2) of each unit and side by the unit head, at the end of the question."""
    found = [np.zeros((0, len(UNITS), 2), np.float32)]
    with model.merged():
        for start in range(0, len(rows), batch):
            part = np.asarray(rows[start : start + batch])
            asked = prompts(model, tokenizer, len(part))
            del asked["labels"]
            out = model(**model.placed(asked | features_of(bench, model.streams, part)))
            found.append(out.unit_logits.sigmoid().cpu().numpy())
    return np.concatenate(found)


@torch.inference_mode()
def generate(
    model: DeftLLMForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    features: dict[str, torch.Tensor],
    count: int,
    limit: int = 64,
) -> list[str]:
    """Greedy answers to the reasoning question for `count` clips, by the base's own `generate`."""
    if not count or limit < 1:
        return [""] * count
    said = model.generate(
        **prompts(model, tokenizer, count),
        **features,
        max_new_tokens=limit,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return [text.strip() for text in tokenizer.batch_decode(said, skip_special_tokens=True)]


def answers(
    model: DeftLLMForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    bench: TuningData,
    rows: np.ndarray,
    batch: int = 128,
    limit: int = 64,
) -> list[str]:
    """Free text of clips `rows`; limit: tokens at most."""
    texts = []
    with model.merged():
        for start in range(0, len(rows), batch):
            part = np.asarray(rows[start : start + batch])
            texts += generate(model, tokenizer, features_of(bench, model.streams, part), len(part), limit)
    return texts


@torch.inference_mode()
def score_labels(
    model: PreTrainedModel,
    prompts: Sequence[str] | Mapping[str, torch.Tensor],
    labels: Sequence[str] | Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> torch.Tensor:
    """Log likelihood (N, L) of each label after each prompt; a prompt is computed once, whatever the number of labels.

    model: a `DeftLLMForConditionalGeneration`, or any causal language model that can be a base. prompts: texts, or what
    a processor returns (input_ids, attention_mask, features), without padding on the right. labels: texts, or token
    ids. tokenizer: by default the one in the model's folder.
    """
    if not len(labels):
        raise ValueError("no labels: at least one is needed")
    if tokenizer is None and any(isinstance(x, str) for x in (*labels, *(() if hasattr(prompts, "keys") else prompts))):
        tokenizer = AutoTokenizer.from_pretrained(model.name_or_path)
    options = [prompt.ids_of(tokenizer, x) if isinstance(x, str) else list(map(int, x)) for x in labels]
    if empty := [str(label) for label, option in zip(labels, options) if not option]:
        raise ValueError(f"label {empty[0]!r} has no token")
    if not hasattr(prompts, "keys"):
        rows = [tokenizer(text)["input_ids"] for text in prompts]
        rows = [{"input_ids": i, "attention_mask": [1] * len(i), "labels": i, "prompt_length": len(i)} for i in rows]
        prompts = prompt.pad(rows, 0, left=True)  # any word: masked, and a tokenizer's own may be outside the table
    if not bool(prompts["attention_mask"][:, -1].all()):
        raise ValueError("prompts must be padded on the left: a label follows the last position")
    if isinstance(model, DeftLLMForConditionalGeneration):
        names = [*model.streams, *(f"{name}_units" for name in model.unit_streams)]
        features = {name: prompts[name] for name in names if name in prompts}
        return option_scores(model, prompts, features, options)
    ids, mask = (prompts[name].to(model.device) for name in ("input_ids", "attention_mask"))
    out = bases.hidden(model, model.get_input_embeddings()(ids), mask, use_cache=True)
    first = bases.word_logits(model, out.last_hidden_state[:, -1]).log_softmax(-1)
    rest = continued(model, out.past_key_values, mask, options) if max(map(len, options)) > 1 else 0
    return torch.stack([first[:, option[0]] for option in options], 1) + rest


# ---------------------------------------------------------------- predictions.jsonl
def lines(
    bench: TuningData,
    rows: np.ndarray,
    likelihood: np.ndarray,
    head: np.ndarray,
    texts: Sequence[str],
    names: Sequence[str] = EMOTIONS,
    **about: object,
) -> list[dict]:
    """One line per clip: prediction by label likelihood, class of the free text, class of the emotion head. names: of
    the classes, in the order of likelihood (N, C) and head (N, C).
    """
    out = []
    for i, row in enumerate(rows):
        clip = bench.index.iloc[int(row)]
        out.append(
            {
                "clip": clip["clip"],
                "dataset": clip.dataset,
                "subject": clip.subject,
                "condition": clip.condition,
                "truth": clip.emotion,
                "prediction": names[int(likelihood[i].argmax())],
                "scores": {e: round(float(s), 5) for e, s in zip(names, likelihood[i])},
                "text": texts[i],
                "text_class": classes.read(texts[i], names),
                "head_class": names[int(head[i].argmax())],
                **about,
            }
        )
    return out


def predict(job: Job, work: Path, text: bool = True, limit: int = 64, check: bool = False) -> list[dict]:
    """The test clips of one run's fold, both conditions; check: of DEFT once more, with its texts checked."""
    tokenizer, model = load(job.folder(work))
    bench = read_bench(work, "bench", model.config.streams, facts=False, draw=job.seed)
    rows = bench.rows(job.fold, "test")
    return _answered(job, work, "bench", (tokenizer, model), bench, rows, text, limit, check)


def predict_still(job: Job, work: Path, folds: int, limit: int = 64) -> list[dict]:
    """The clips without any unit (`deft.clips.still`) that fall to the model of this fold: nobody met their people, so
    they are dealt out, person by person; of DEFT once more, with its texts checked."""
    tokenizer, model = load(job.folder(work))
    clips = read_bench(work, STILL, model.config.streams, facts=False, draw=job.seed)
    people = np.unique(clips.index["subject"].to_numpy(str), return_inverse=True)[1]
    rows = np.flatnonzero(people % folds == job.fold)
    return _answered(job, work, STILL, (tokenizer, model), clips, rows, True, limit, True)


def _answered(
    job: Job,
    work: Path,
    which: str,
    reader: tuple[PreTrainedTokenizerBase, DeftLLMForConditionalGeneration],
    clips: TuningData,
    rows: np.ndarray,
    text: bool,
    limit: int,
    check: bool,
) -> list[dict]:
    tokenizer, model = reader
    likelihood, head = emotion_scores(model, tokenizer, clips, rows, head=True)
    texts = answers(model, tokenizer, clips, rows, limit=limit) if text else [""] * len(rows)
    names, about = model.config.classes, {"seed": job.seed, "fold": job.fold, "set": which}
    found = lines(clips, rows, likelihood, head, texts, names, system=job.system, **about)
    if check and text and job.system == DEFT:
        said = check_texts(texts, heard(clips, model.unit_streams)[rows], work, which, rows, names)
        added = lines(clips, rows, likelihood, head, [one.text for one in said], names, system=CHECKED, **about)
        found += [{**line, "dropped": len(one.dropped)} for line, one in zip(added, said)]
    return found


def check_texts(
    texts: Sequence[str],
    experts: np.ndarray,
    work: Path,
    which: str,
    rows: np.ndarray,
    names: Sequence[str] = EMOTIONS,
) -> list[Checked]:
    """Texts about clips `rows` of set `which`, checked. experts: (N, 17, 2) unit probabilities of these clips; names:
    the classes that a text may state.
    """
    probability, courses, noise = (
        np.asarray(runtime.load_array(Path(work) / stage / which, name)[rows])
        for stage, name in (("evidence", "probability"), ("motion", "courses"), ("motion", "noise"))
    )
    moving = stillness.moves(courses, noise)
    clips = measured(probability, courses, noise)
    return [
        checked(text, units, clip.evidence, bool(moves), classes.word(classes.read(text, names)))
        for text, units, clip, moves in zip(texts, experts, clips, moving, strict=True)
    ]


def predict_together(system: str, seed: int, folders: Sequence[Path], work: Path, which: str) -> list[dict]:
    """Set `which`, whose people no model met: mean label likelihood over the models in `folders` (`fold` is -1: all of
    them); without any, no lines.

    No text: the texts of several models cannot be averaged, and no table needs them.
    """
    found, bench = [], None
    for folder in folders:
        tokenizer, model = load(folder)
        bench = bench or read_bench(work, which, model.config.streams, facts=False, draw=seed)
        found.append(emotion_scores(model, tokenizer, bench, np.arange(len(bench.index)), head=True))
    if not found:
        return []
    likelihood, head = (np.mean(part, axis=0) for part in zip(*found))
    return lines(
        bench, np.arange(len(head)), likelihood, head, [""] * len(head), system=system, seed=seed, fold=-1, set=which
    )


def predict_heldback(system: str, seed: int, folds: Sequence[int], work: Path) -> list[dict]:
    """The held-back set, by the models of all folds of one draw."""
    return predict_together(system, seed, [Job(system, seed, fold).folder(work) for fold in folds], work, "heldback")


def predict_all(
    jobs: Sequence[Job],
    work: Path,
    workers: int | None = None,
    log: Callable[[str], None] | None = None,
    limit: int = 64,
    check: bool = False,
) -> list[dict]:
    """Lines of every run, in the order of `jobs`; check: DEFT's also with their texts checked, as system CHECKED."""
    workers = workers or hub.room(base_of(work, "base", 0))
    parts = in_parallel(predict, [(job, Path(work), True, limit, check) for job in jobs], workers, log, "answers")
    return [line for part in parts for line in part]
