"""Uni-MER in the forms other tools read: LLaVA/ShareGPT conversations, and the JSONL of the MEGC visual question
answering task.

MEGC training rows carry id, dataset, image_id, subject, filename, question, answer; test rows video_id, video, question
and an empty answer. Joint answers follow the task's sentence. The other question wordings are ours: the task's page
gives the six kinds (`kinds.MEGC`: coarse class, fine class, units, is a unit shown, left or right, joint), not every
sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from deft.clips.facs import COARSE, COARSE_CLASSES, EMOTIONS, NAMES
from deft.unimer.facts import Facts, UnitFact
from deft.unimer.kinds import KINDS
from deft.unimer.wording import SIDE_WORD

TRAIN_FIELDS = ("id", "dataset", "image_id", "subject", "filename", "question", "answer")
TEST_FIELDS = ("video_id", "video", "question", "answer")
_CODE = {name: code for code, name in NAMES.items()}
_NAME = re.compile("|".join(sorted(map(re.escape, _CODE), key=len, reverse=True)))


def to_llava(records: Iterable[Mapping], video: str = "{clip}.mp4") -> list[dict]:
    """One conversation per clip, its questions as turns. `video`: where the pixels are, {clip} and {dataset} are
    filled in.
    """
    clips: dict[str, list[Mapping]] = {}
    for record in records:
        clips.setdefault(record["clip"], []).append(record)
    conversations = []
    for clip, rows in clips.items():
        turns = []
        for row in rows:
            start = "<video>\n" if not turns else ""  # LLaVA puts the visual token into the first question only
            turns += [{"from": "human", "value": start + row["question"]}, {"from": "gpt", "value": row["answer"]}]
        conversations.append(
            {"id": clip, "video": video.format(clip=clip, dataset=rows[0]["dataset"]), "conversations": turns}
        )
    return conversations


def to_megc(records: Iterable[Mapping]) -> list[dict]:
    """Uni-MER records -> MEGC rows. The task has no place for motion, reasoning about motion, times, or units denied on
    one side only: records of these kinds are left out. Records that `from_megc` read come back as they were."""
    rows = []
    for record in records:
        if "megc" in record:
            rows.append(dict(record["megc"]))
            continue
        if text := KINDS[record["kind"]].task(Facts.from_json(record["stated"])):
            clip = record["clip"]
            values = (record["id"], record["dataset"], clip, record["subject"], clip, *text)
            rows.append(dict(zip(TRAIN_FIELDS, values)))
    return rows


def from_megc(path: Path) -> list[dict]:
    """MEGC rows (training or test) -> [{"id", "clip", "dataset", "subject", "kind", "question", "answer", "stated",
    "megc"}].

    kind: one of `kinds.MEGC`, or "" when the question is of no known kind; stated: the facts of the answer, units of
    side "A" (not said) but in "side" rows; megc: the row itself. Errors name file and line."""
    records = []
    with open(path, encoding="utf-8") as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{line}: not JSON ({error.msg}, column {error.colno})") from error
            fields = TRAIN_FIELDS if isinstance(row, dict) and "video_id" not in row else TEST_FIELDS
            missing = [f for f in fields if not isinstance(row, dict) or f not in row]
            if missing:
                raise ValueError(
                    f"{path}:{line}: fields {missing} missing; a MEGC row has {list(TRAIN_FIELDS)} or"
                    f" {list(TEST_FIELDS)}"
                )
            kind, stated = _read(str(row["question"]), str(row["answer"]))
            clip = row.get("image_id", row.get("video_id"))
            records.append(
                {
                    "id": row.get("id", clip),
                    "clip": clip,
                    "dataset": row.get("dataset", ""),
                    "subject": row.get("subject", ""),
                    "kind": kind,
                    "question": row["question"],
                    "answer": row["answer"],
                    "stated": stated.to_json(),
                    "megc": row,
                }
            )
    return records


def _read(question: str, answer: str) -> tuple[str, Facts]:
    """A MEGC question and answer -> (our kind, facts). An empty answer states nothing."""
    asked, said = question.lower(), answer.lower().strip()
    units = tuple(UnitFact(code, "A") for code in _codes(said))
    fine = next((w for w in re.findall(r"[a-z]+", said.split("coarse")[0]) if w in EMOTIONS), "")
    coarse = next((w for w in re.findall(r"[a-z]+", said.split("coarse")[-1]) if w in COARSE_CLASSES), "")
    if "based on" in asked or ("coarse" in asked and "unit" in asked):
        return "joint", Facts(fine, coarse or COARSE.get(fine, ""), units)
    if "side" in asked or re.search(r"\bleft\b.*\bright\b", asked):
        side = {word: key for key, word in SIDE_WORD.items()}.get(said.rstrip("."))
        return "side", Facts(units=tuple(UnitFact(code, side) for code in _codes(asked)) if side else ())
    if re.match(r"\s*(is|are|does|do)\b", asked) and "unit" in asked:
        facts = tuple(UnitFact(code, "A") for code in _codes(asked))
        return "present", (
            Facts(units=facts) if said.startswith("yes") else Facts(denied=facts) if said.startswith("no") else Facts()
        )
    if "unit" in asked:
        return "units", Facts(units=units)
    if "coarse" in asked:
        return "coarse", Facts(coarse=coarse)
    if "fine" in asked or "emotion" in asked or "expression" in asked:
        return "fine", Facts(fine, COARSE.get(fine, ""))
    return "", Facts()


def _codes(text: str) -> list[int]:
    """Units by name or by number ("brow lowerer", "AU4", "au 4"), in order, each once."""
    found = [(match.start(), _CODE[match[0]]) for match in _NAME.finditer(text)]
    found += [
        (match.start(), int(match[1])) for match in re.finditer(r"\bau ?([0-9]{1,2})\b", text) if int(match[1]) in NAMES
    ]
    return list(dict.fromkeys(code for _, code in sorted(found)))
