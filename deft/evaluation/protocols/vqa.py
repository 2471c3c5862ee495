"""The visual question answering task of MEGC 2025: its classes, and likeness to the reference in both definitions in
use.

    rows = vqa.read("me_vqa_samm_casme2_smic.jsonl", "me_vqa_samm_test_to_answer.jsonl", ...)
    get("vqa").splits(rows)  # training rows, a validation part of their subjects, the test files' rows
    get("vqa").score(rows)   # rows with `prediction`

The training file holds SAMM (every kind of question) and SMIC (the coarse class alone), the tests SAMM and CAS(ME)^3.
Both layouts of test rows are read: `video_id, video`, and the training file's keys, where `dataset` says samm_test in
both files, so that the file's name decides. Without a test file one subject after the other is left out, since the
test answers are not public. UF1 and UAR count the questions for one class; a class inside a joint answer is not
counted, as entrants do. Answers are lower-cased and stripped. Two definitions of likeness circulate, and differ by
tens of points on answers of one word; both are printed by name:

    bleu_sentence, rouge1_recall  mean over answers: sentence BLEU-4, words split at blanks, an n-gram order without a
                                  match counts 0.1 (smoothing 1 of Chen and Cherry 2014); recall of stemmed words.
                                  Entrants leave out empty answers; here they count 0.
    bleu_corpus, rouge1_f1        BLEU-4 of pooled counts as sacrebleu has it; F measure of words as they are (T7)

Whether `others` is asked for in CAS(ME)^3 is not known; its fine classes here are those that have a coarse class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from deft.clips import labels
from deft.clips.facs import COARSE, EMOTIONS
from deft.evaluation import grounding, metrics
from deft.evaluation.protocols import scoring, splitting
from deft.evaluation.protocols.members import ProtocolError, is_simulated
from deft.unimer.export import from_megc, to_megc
from deft.unimer.facts import Facts, UnitFact
from deft.unimer.kinds import KINDS

NAME = "vqa"
SHEETS = MappingProxyType(
    {"samm": "samm", "smic": "smic-hs", "casme2": "casme2", "casme3": "casme-cube-a"}
)  # name in the task -> our reader's
NEEDED = ("clip", "video", "dataset", "subject", "kind", "question", "answer", "prediction", "place")
STANDS = MappingProxyType({"samm": ("sim-a",), "smic": ("sim-b",), "casme3": ("sim-c",)})


def read(*paths: str | Path) -> pd.DataFrame:
    """Files of the task -> a row per question: clip (its own id), video, dataset, subject, part (training or test),
    kind, question, answer, place. ProtocolError for a row of no known data set; `deft.unimer.export.from_megc` names
    file and line of a row that cannot be read.
    """
    rows = []
    for path in map(Path, paths):
        test = "test" in path.stem
        named = next((name for name in SHEETS if name in path.stem), "") if test else ""
        for line, record in enumerate(from_megc(path), 1):
            dataset, where = named or str(record["dataset"]), f"{path.name}, row {line}"
            if dataset not in SHEETS:
                raise ProtocolError(
                    f"{where}: data set {record['dataset']!r} is none of {', '.join(SHEETS)}; a test file says its "
                    "own in its name (me_vqa_samm_test...)"
                )
            rows.append(_row(record, f"{path.stem}:{line}", dataset, where) | {"part": "test" if test else "training"})
    return pd.DataFrame(rows)


def _row(record: Mapping, name: str, dataset: str, where: str) -> dict:
    told = {key: record[key] for key in ("kind", "question", "answer")}
    about = {"subject": str(record["subject"]), "condition": record.get("condition", ""), "place": where}
    return {"clip": name, "video": record["clip"], "dataset": dataset} | about | told


def simulated_rows(records: Iterable[Mapping]) -> pd.DataFrame:
    """Uni-MER records of simulated clips as rows of `read`, question and answer in the task's words (`to_megc`).

    What plays SMIC keeps its coarse questions alone, what plays CAS(ME)^3 is tested (`STANDS`). Columns besides those
    of `read`: shown (the clip, by its own name), asked (the record's facts, which `answered` reads).
    """
    rows = []
    for record in records:
        for worded in to_megc([record]):
            worded = {**record, "question": worded["question"], "answer": worded["answer"]}
            about = {"shown": record["clip"], "asked": record["stated"]}
            rows.append(_row(worded, record["id"], record["dataset"], record["id"]) | about)
    frame = pd.DataFrame(rows)
    spared = frame["dataset"].isin(STANDS["smic"]) & (frame["kind"] != "coarse")
    part = np.where(frame["dataset"].isin(STANDS["casme3"]), "test", "training")
    return frame.assign(part=part)[~spared].reset_index(drop=True)


def answered(kind: str, asked: Mapping, said: Facts) -> str:
    """The answer in the task's words to a question of `simulated_rows`, by somebody who said this of the clip; "" when
    nothing that was said answers it.

    kind, asked: of the question. A unit that was not named is one that is not shown."""
    about = [fact.code for fact in Facts.from_json(asked).units + Facts.from_json(asked).denied]
    mine = tuple(fact for fact in said.units if fact.code in about)
    if kind == "side":
        stated = Facts(units=mine[:1])
    elif kind == "present":
        stated = Facts(units=mine[:1]) if mine else Facts(denied=(UnitFact(about[0], "A"),))
    else:
        stated = replace(said, coarse=COARSE.get(said.emotion, ""))
    needed = {
        "side": [fact for fact in stated.units if fact.side != "A"],
        "coarse": stated.coarse,
        "fine": stated.emotion,
        "joint": stated.emotion,
    }
    return KINDS[kind].task(stated)[1] if needed.get(kind, True) else ""


@cache
def fine_classes(dataset: str) -> tuple[str, ...]:
    """Fine classes that the task asks for in one data set: those of its labels that have a coarse class; none for
    SMIC.
    """
    if is_simulated(dataset):
        return EMOTIONS
    rows = labels.table()
    return tuple(sorted(set(rows[(rows["dataset"] == SHEETS[dataset]) & (rows["three"] != "")]["seven"]) - {""}))


@lru_cache(maxsize=65536)
def sentence_bleu(said: str, reference: str) -> float:
    """Sentence BLEU-4 in [0, 1], smoothing 1; an order of which a short answer has no n-gram counts 0.1 of 1."""
    found = _plain().corpus_score([said.strip().lower()], [[reference.strip().lower()]])
    if not found.counts[0]:
        return 0.0
    precision = [(match or 0.1) / max(total, 1) for match, total in zip(found.counts, found.totals)]
    return float(np.exp(np.log(precision).mean() + min(0.0, 1 - found.ref_len / found.sys_len)))


@lru_cache(maxsize=1)
def _plain():
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="none", smooth_method="none")


@lru_cache(maxsize=65536)
def rouge1_recall(said: str, reference: str) -> float:
    """Share of the reference's words, stemmed, that are said."""
    return _stemmed().score(reference.strip().lower(), said.strip().lower())["rouge1"].recall


@lru_cache(maxsize=1)
def _stemmed():
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1"], use_stemmer=True)


class VqaProtocol:
    """What the other protocols have (`deft.evaluation.protocols.base.Protocol`), over questions instead of clips."""

    name = NAME
    classes = labels.COARSE_CLASSES
    datasets = tuple(SHEETS)
    source = "MEGC 2025 (arXiv 2506.15298); likeness as in entrants' code"
    stands = STANDS
    # Questions per part and data set, counted in the published files (2025).
    expected = MappingProxyType({"training": {"samm": 828, "smic": 164}, "test": {"samm": 182, "casme3": 914}})

    def counts(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Questions found and published: columns part, class (the data set), found, published, agrees."""
        found = rows.groupby(["part", "dataset"]).size()
        told = [(part, name, number) for part, of in self.expected.items() for name, number in of.items()]
        return scoring.compared((part, name, int(found.get((part, name), 0)), number) for part, name, number in told)

    def splits(self, rows: pd.DataFrame, seed: int = 7) -> list[splitting.Fold]:
        """Rows of `read` -> [(training, validation, test) ids of questions]: all questions about a subject in one part.

        Subjects of the task's test files are not told: there a video stands for one.
        """
        known = rows["subject"].where(rows["subject"] != "", rows["video"])
        members = rows.assign(person=rows["dataset"] + "/" + known, truth=rows["kind"], look=-1)
        test = members["part"] == "test"
        folds = [splitting.fold(members, test, ~test, 0)] if test.any() else splitting.leave_out(members, "person")
        splitting.check(folds, members, (test | ~test.any()).to_numpy())
        return folds

    def score(self, rows: Iterable[Mapping] | pd.DataFrame, seed: int = 7) -> pd.DataFrame:
        """Answered rows of `read` (column prediction; system, seed) -> a row per system and data set, "full" first.

        uf1_coarse, uar_coarse, uf1_fine, uar_fine and the four scores of likeness, each with its interval over
        subjects. ProtocolError, naming file and row, for a question without a reference answer or a reference outside
        the classes.
        """
        frame = scoring.checked(rows, (), self.name, NEEDED)
        if (empty := frame["answer"].str.strip() == "").any():
            raise ProtocolError(
                f"{frame['place'][int(empty.idxmax())]} has no reference answer (those of the tests are not public); "
                "score rows of the training file that were left out"
            )
        said = frame["prediction"].fillna("").astype(str)
        frame = frame.assign(
            said=said, prediction=said.str.strip().str.lower(), truth=frame["answer"].str.strip().str.lower()
        )
        frame["subject"] = frame["subject"].where(frame["subject"] != "", frame["video"])
        out = []
        for (system, condition), mine in frame.groupby(["system", "condition"], sort=False):
            sets = list(mine["dataset"].unique())
            for part in [scoring.FULL, *sets] if len(sets) > 1 else [scoring.FULL]:
                here = mine if part == scoring.FULL else mine[mine["dataset"] == part]
                row = {
                    "system": system,
                    "condition": condition,
                    "protocol": self.name,
                    "part": part,
                    **self._standing(here, part),
                }
                out.append({**row, **self._classes(here, seed), **self._likeness(here, seed), "source": self.source})
        return pd.DataFrame(out)

    def _standing(self, rows: pd.DataFrame, part: str) -> dict:
        """Kind of the row, and "n of N published questions": only the test files have a published number to answer."""
        asked = rows["clip"].nunique()
        if rows["dataset"].map(is_simulated).all():
            return {"kind": "simulated", "questions": asked, "of": f"{asked} simulated questions"}
        tested = "part" in rows and (rows["part"] == "test").all()
        total = sum(n for name, n in self.expected["test"].items() if part in (scoring.FULL, name)) if tested else 0
        kind = "measured" if not total else "reproduced" if asked >= scoring.REPRODUCED * total else "partial"
        return {"kind": kind, "questions": asked, "of": scoring.words(asked, total).replace("clip", "question")}

    def _classes(self, rows: pd.DataFrame, seed: int) -> dict:
        row: dict = {}
        fine = tuple(sorted({name for dataset in rows["dataset"].unique() for name in fine_classes(dataset)}))
        for kind, classes in (("coarse", self.classes), ("fine", fine)):
            asked = rows[rows["kind"] == kind]
            if asked.empty:
                continue
            if not (known := asked["truth"].isin(classes)).all():
                wrong = asked[~known].iloc[0]
                raise ProtocolError(
                    f"{wrong['place']}: class {wrong['truth']!r} is none of {', '.join(classes)}; mend the row"
                )
            one = metrics.sample(asked, metrics.confusions(asked["truth"], asked["prediction"], classes))
            for name in ("uf1", "uar"):
                row |= metrics.interval(one, getattr(metrics, name), seed=seed).columns(f"{name}_{kind}")
        return row

    def _likeness(self, rows: pd.DataFrame, seed: int) -> dict:
        row, pairs = {}, list(zip(rows["said"], rows["answer"]))
        scores = {"bleu_sentence": sentence_bleu, "rouge1_recall": rouge1_recall, "rouge1_f1": grounding.rouge1}
        for name, score in scores.items():
            one = metrics.sample(rows, np.array([(score(*pair), 1.0) for pair in pairs]))
            row |= metrics.interval(one, metrics.share, seed=seed).columns(name)
        corpus = metrics.sample(rows, np.array([grounding.bleu_counts(*pair) for pair in pairs], float))
        return row | metrics.interval(corpus, grounding.bleu, seed=seed).columns("bleu_corpus")


PROTOCOL = VqaProtocol()
