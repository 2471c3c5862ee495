"""The same answers under every protocol of the field: how much of a score is the protocol's.

`python -m deft.evaluation.protocol_study --profile demo` prints it after a complete run of the profile. Every protocol
of `deft.evaluation.protocols` is run on its counterpart on the simulator. Readers that take seconds are fitted in each
protocol's own folds; DEFT, which takes longer, is not: its answers, given in the benchmark's three folds, are counted
by each protocol that leaves subjects out and has classes of emotions, over the protocol's clips and classes. Then the
protocols of action units and of visual questions, for every system that wrote a text; and what choosing the epoch on
the test clips gains, with labels and with labels that mean nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler

from deft import paths, runtime
from deft.clips.store import ClipStore
from deft.evaluation import peers, protocols
from deft.evaluation.protocols import mistake, vqa
from deft.evaluation.protocols.members import simulated_class
from deft.evaluation.protocols.plan import Plan
from deft.evaluation.protocols.scoring import FULL
from deft.evaluation.source import Answers
from deft.evaluation.tables import present
from deft.evaluation.tables.common import CONDITIONS
from deft.evaluation.tables.present import Column, Page, Part
from deft.systems import CHECKED, DEFT
from deft.unimer.reading import parse

READERS = ("lr-flow", "lr-experts")  # what they read and how strongly they are held back: `peers.SETTINGS`
MAJORITY, EVERY, TEMPLATE = "majority", "says every unit", "template"
WRITERS = (DEFT, CHECKED, "rgb-only", TEMPLATE)
EPOCHS = 60
CLASSES, UNITS, QUESTIONS, MISTAKE = "classes", "units", "questions", "mistake"  # column `about` of the table


def plans(index: pd.DataFrame) -> dict[str, Plan]:
    """{names: plan} of every protocol over classes, on the clips `index`. Protocols that are the same on the simulator
    share a plan, and their names are joined."""
    found: dict[tuple, tuple[list[str], Plan]] = {}
    for name in protocols.names():
        if name.startswith((UNITS, vqa.NAME)):
            continue
        plan = protocols.get(name).plan(index)
        key = (plan.protocol.classes, tuple((tuple(train), tuple(test)) for train, _, test in plan.splits))
        found.setdefault(key, ([], plan))[0].append(name)
    return {", ".join(names): plan for names, plan in found.values()}


def folds_of(plan: Plan, place: dict[str, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows to learn from, rows that are asked about) of each fold; place: clip id -> row. Nothing is left to choose,
    so validation people teach too."""
    for train, validation, test in plan.splits:
        yield np.array([place[clip] for clip in (*train, *validation)]), np.array([place[clip] for clip in test])


def recognised(profile: str, index: pd.DataFrame, answers: pd.DataFrame, seed: int = 7) -> pd.DataFrame:
    """Rows of `Plan.score`, whole protocols only, of the majority, two linear readers and DEFT; column `names`.

    answers: of predictions.jsonl, the benchmark's."""
    place = {clip: row for row, clip in enumerate(index["clip"])}
    shown = {name: np.asarray(peers.views(name, paths.work(profile), "bench")[_view(name)]) for name in READERS}
    out = []
    for names, plan in plans(index).items():
        truth = plan.members.set_index("clip")["truth"].reindex(index["clip"]).to_numpy(object)
        said: list[dict] = []
        for learn, test in folds_of(plan, place):
            known, count = np.unique(truth[learn].astype(str), return_counts=True)
            told = {MAJORITY: np.full(len(test), known[count.argmax()])}
            for name, x in shown.items():
                told[name] = _reader(name).fit(x[learn], truth[learn].astype(str)).predict(x[test])
            said += _rows(index, test, told)
        said += _merged(plan, answers)
        table = plan.score(said, seed)
        out.append(table[table["part"] == FULL].assign(names=names, how=plan.protocol.how()))
    return pd.concat(out, ignore_index=True).assign(about=CLASSES)


def _view(name: str) -> str:
    return peers.SETTINGS[name].view


def _reader(name: str) -> object:
    setting = peers.SETTINGS[name]
    model = LogisticRegression(C=setting.C, class_weight=setting.class_weight, max_iter=5000)
    return make_pipeline(StandardScaler(), model)


def _rows(index: pd.DataFrame, rows: np.ndarray, told: dict[str, Sequence], column: str = "prediction") -> list[dict]:
    """Answers {system: one per row} as rows of a protocol."""
    asked = index.iloc[rows][["clip", "condition"]].to_dict("records")
    return [
        {**clip, "system": name, "seed": 0, column: one} for name, of in told.items() for clip, one in zip(asked, of)
    ]


def _merged(plan: Plan, answers: pd.DataFrame) -> list[dict]:
    """DEFT's answers about the plan's clips in the plan's classes; none where a protocol says who trains, or where
    classes follow from units."""
    if plan.protocol.split != "subjects" or plan.protocol.by_units:
        return []
    mine = answers[(answers["system"] == DEFT) & answers["clip"].isin(plan.members["clip"])]
    rows = mine[["clip", "condition", "system", "seed"]]
    merged = [simulated_class(one, plan.protocol.classes) for one in mine["prediction"]]
    return rows.assign(prediction=merged).to_dict("records")


def texts(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers of WRITERS with `facts`, what their texts state."""
    mine = answers[answers["system"].isin(WRITERS)]
    known = {text: parse(text) for text in mine["text"].unique()}
    return mine.assign(facts=mine["text"].map(known))[["clip", "condition", "system", "seed", "facts"]]


def units_said(profile: str, index: pd.DataFrame, written: pd.DataFrame, seed: int = 7) -> pd.DataFrame:
    """Action units of CD6ME, one data set left out: a reader that says every unit, a linear one of the flow, and texts.

    written: of `texts`. Rows of the protocol, whole only."""
    plan = protocols.get(UNITS).plan(index)
    place, name = {clip: row for row, clip in enumerate(index["clip"])}, READERS[0]
    x = np.asarray(peers.views(name, paths.work(profile), "bench")[_view(name)])
    truth = plan.members.set_index("clip")["truth"].reindex(index["clip"])
    said = []
    for learn, test in folds_of(plan, place):
        coder = MultiLabelBinarizer(classes=plan.protocol.classes)
        taught = coder.fit_transform([[u for u in of if u in plan.protocol.classes] for of in truth.iloc[learn]])
        often = taught.any(axis=0)  # a unit that nobody taught is never said
        model = make_pipeline(StandardScaler(), OneVsRestClassifier(_reader(name)[-1])).fit(x[learn], taught[:, often])
        found = np.zeros((len(test), len(often)), int)
        found[:, often] = model.predict(x[test])
        told = {EVERY: [plan.protocol.classes] * len(test), name: coder.inverse_transform(found)}
        said += _rows(index, test, told, "units_said")
    asked = written[written["clip"].isin(plan.members["clip"])]
    said += asked.assign(units_said=[tuple(u.code for u in one.units) for one in asked["facts"]]).to_dict("records")
    table = plan.score(said, seed)
    return table[table["part"] == FULL].assign(names=UNITS, how=plan.protocol.how(), about=UNITS)


def questions(records: Iterable[dict], written: pd.DataFrame, seed: int = 7) -> pd.DataFrame:
    """The visual questions of MEGC 2025 about what plays their test set, answered from texts. records: of Uni-MER;
    written: of `texts`."""
    rows = vqa.simulated_rows(records)
    rows = rows[rows["part"] == "test"].drop(columns="condition")
    asked = rows.merge(written.rename(columns={"clip": "shown"}), on="shown")
    said = [vqa.answered(*one) for one in zip(asked["kind"], asked["asked"], asked["facts"])]
    table = protocols.get(vqa.NAME).score(asked.assign(prediction=said), seed)
    return table[table["part"] == FULL].assign(names=vqa.NAME, about=QUESTIONS)


def chosen_on_test(profile: str, index: pd.DataFrame) -> pd.DataFrame:
    """`mistake.demonstration` on the flow of the kept clips, in the benchmark's folds: with the labels, and with labels
    dealt anew among the clips that teach."""
    work = paths.work(profile)
    kept = (index["condition"] == "kept").to_numpy()
    x, folds = peers.views(READERS[0], work, "bench")[_view(READERS[0])], protocols.read_folds(_folds(work))
    given = (np.asarray(x)[kept], index[kept].reset_index(drop=True), folds, EPOCHS)
    parts = [
        mistake.demonstration(mistake.epochs_of(*given, shuffled=shuffled)).assign(labels=labels)
        for labels, shuffled in (("as they are", False), ("dealt anew", True))
    ]
    return pd.concat(parts, ignore_index=True).assign(about=MISTAKE)


def _folds(work: Path) -> Path:
    return work / "clips" / "folds.csv"


def study(profile: str, seed: int = 7) -> pd.DataFrame:
    """All parts in one table; column `about` says which."""
    work = paths.work(profile)
    index, answers = ClipStore(work / "clips" / "bench").index, Answers.of_work(profile).predictions
    answers = answers[(answers["set"] == "bench") & answers["condition"].isin(CONDITIONS)]
    written = texts(answers)
    parts = (
        recognised(profile, index, answers, seed),
        units_said(profile, index, written, seed),
        questions(runtime.read_jsonl(work / "unimer" / "bench.jsonl"), written, seed),
        chosen_on_test(profile, index),
    )
    return pd.concat(parts, ignore_index=True).round(4)


# ---------------------------------------------------------------- the page
def _spread(part: pd.DataFrame) -> list[str]:
    out = []
    for name in (*READERS, DEFT):
        mine = part[part["system"] == name]
        if len(mine) > 1:
            low, high = (mine.loc[getattr(mine["uf1"], of)()] for of in ("idxmin", "idxmax"))
            told = (name, present.quote(low, "uf1"), low["names"], present.quote(high, "uf1"), high["names"])
            out.append("{}: from {} ({}) to {} ({}).".format(*told))
    return out


def _units(part: pd.DataFrame) -> list[str]:
    words = [f"Highest mean over units, tie {c}: {_best(part, c, 'f1_over_units')}." for c in CONDITIONS]
    every = part[part["system"] == EVERY]["f1_over_units"].max()
    return [*words, f"Saying every unit is worth {present.figure(every)}."]


def _likeness(part: pd.DataFrame) -> list[str]:
    mine = part[part["system"] == DEFT].iloc[0]
    words = ("bleu_sentence", "bleu_corpus", "rouge1_recall", "rouge1_f1")
    sentence, corpus, recall, f1 = (present.quote(mine, name) for name in words)
    return [f"The same texts of {DEFT} have BLEU {sentence} and {corpus}, ROUGE-1 {recall} and {f1}, by definition."]


def _best(part: pd.DataFrame, condition: str, name: str) -> str:
    return present.highest(part[part["condition"] == condition], name, "system")


def _gain(part: pd.DataFrame) -> list[str]:
    each = part.groupby("labels", sort=False)["over_last"].max()
    told = present.listed(f"{present.figure(gain)} with labels {name}" for name, gain in each.items())
    return [f"Choosing the epoch of each subject on its own test clips gains {told}."]


def _by_system(condition: str) -> tuple[Column, ...]:
    return tuple(Column(name, "uf1", {"system": name, "condition": condition}) for name in (MAJORITY, *READERS, DEFT))


PAGE = Page(
    (
        *(
            Part(
                f"UF1 under each protocol, tie {condition}",
                (Column("Protocol", "names"), Column("Tested", "how"), Column("Clips", "clips", digits=0)),
                _by_system(condition),
                _spread,
                {"about": CLASSES, "condition": condition},
            )
            for condition in CONDITIONS
        ),
        Part(
            "action units, F1 of the positive class, one data set left out",
            (Column("Reader", "system"),),
            (
                *present.both("Mean over units", "f1_over_units", best=max),
                *present.both("Mean over sets", "f1_over_sets", best=max),
            ),
            _units,
            {"about": UNITS},
        ),
        Part(
            "visual questions answered from texts, classes and BLEU, tie broken",
            (Column("Text", "system"),),
            (
                Column("UF1, coarse", "uf1_coarse", best=max),
                Column("UF1, fine", "uf1_fine", best=max),
                Column("BLEU, mean of sentences", "bleu_sentence", best=max),
                Column("BLEU, pooled", "bleu_corpus", best=max),
                Column("ROUGE-1, recall", "rouge1_recall", best=max),
                Column("ROUGE-1, F1", "rouge1_f1", best=max),
            ),
            _likeness,
            {"about": QUESTIONS, "condition": "broken"},
        ),
        Part(
            "a mistake, shown as one: the epoch chosen on the test clips, tie kept",
            (Column("Labels of training clips", "labels"), Column("Answers of", "selection")),
            (Column("UF1", "uf1"), Column("Accuracy", "accuracy"), Column("UF1, over last epoch", "over_last")),
            _gain,
            {"about": MISTAKE},
        ),
    ),
    "Brackets: 95 % intervals over subjects, and over draws where there are several. Empty: the protocol says who"
    " trains, or its classes follow from units.",
)


def main() -> None:
    """Command line: write work/<profile>/protocols.csv and print its page."""
    parser = argparse.ArgumentParser(prog="deft.evaluation.protocol_study", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="demo")
    given = parser.parse_args()
    told, out = study(given.profile), paths.work(given.profile) / "protocols.csv"
    with runtime.atomic(out) as fresh:
        told.to_csv(fresh, index=False)
    words = f"{PAGE.note} All columns: {out.name}."
    print(present.bound("Every protocol on the simulator", present.parts(PAGE, told), words, "tab:protocols")["md"])


if __name__ == "__main__":
    main()
