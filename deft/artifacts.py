"""The register of every table and figure: what it shows, which claim it bears on, who makes it from what.

The README table, the tests and the notebooks all read this one list. Saving goes through `evaluation.tables.save` and
`save_figure`, so that every product carries its profile, seed and commit, and says that it was SIMULATED.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from deft import paths, runtime
from deft.systems import UNTRAINED

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

CLAIMS = {
    "C1": "static appearance and subtle motion are entangled, and that hurts",
    "C2": "dataset text does not fully match the muscle movement",
    "C3": "Uni-MER, built under two constraints (optical flow and action units), corresponds to the movement",
    "C4": "three experts give independent, interpretable representations",
    "C5": "hybrid discriminative + generative training with structured prompts recognises best",
    "C6": "the answers (class, evidence, reasoning) are interpretable, local motion above all",
}

UNTRAINED_CLAIMS = ("C2",)  # what their checks read (T1) has no trained part

EXACT = "exact"  # the same on every machine, up to EXACT_TOLERANCE
STATISTICAL = "statistical"  # trained, or turned over by the last digits of measured flow: another draw or another
# processor gives another value
MACHINE = "machine"  # not compared: time and memory, p values (`P_VALUES`), and `UNTAUGHT`
CELL_KINDS = (EXACT, STATISTICAL, MACHINE)
MADE_AT = ", made at "  # between file and commit of such a row's source
COMMITTED = "committed"  # kind of a row: simulated, and taken from the committed reference of another benchmark
NOT_PRODUCTS = ("manifest.json", *paths.COMMITTED)  # what lies beside the products and is not in their manifest


@dataclass(frozen=True)
class Rule:
    """Cells of one kind: columns by name or pattern (`model_*`), and rows by the words in a column."""

    kind: str
    columns: tuple[str, ...] = ("*",)
    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def covers(self, row: Mapping[str, str], column: str) -> bool:
        """Whether the cell `column` of a row ({column: text}) is meant."""
        return any(fnmatchcase(column, pattern) for pattern in self.columns) and all(
            row.get(name) in words for name, words in self.rows.items()
        )


@dataclass(frozen=True)
class Cells:
    """What the cells of a table are: `keys` name a row, the first rule that covers a cell gives its kind, else
    `otherwise`.
    """

    keys: tuple[str, ...]
    otherwise: str
    rules: tuple[Rule, ...] = ()

    def name(self, row: Mapping[str, str]) -> str:
        """The name of a row, of its filled key columns: `deft · bench · broken`."""
        return " · ".join(row[key] for key in self.keys if row.get(key))

    def kind(self, row: Mapping[str, str], column: str) -> str:
        """`exact`, `statistical` or `machine`."""
        if column in self.keys:
            return EXACT
        return next((rule.kind for rule in self.rules if rule.covers(row, column)), self.otherwise)


@dataclass(frozen=True)
class Artifact:
    """One table or figure of the paper. `function` is the dotted name that makes it; `inputs` are relative to
    work/<profile>.
    """

    id: str
    title: str
    claim: tuple[str, ...]
    notebook: str
    function: str
    inputs: tuple[str, ...]
    cells: Cells | None = None  # tables only
    alt: str = ""  # figures only: what is seen, for those who cannot see it
    key: str = ""  # figures only: how to read it

    @property
    def kind(self) -> str:
        """ "table" or "figure"."""
        return "table" if self.id.startswith("T") else "figure"

    @property
    def files(self) -> tuple[str, ...]:
        """File names relative to figures/<profile>."""
        if self.kind == "table":
            return tuple(f"tables/{self.id}.{suffix}" for suffix in ("csv", "md", "tex", "html"))
        return tuple(f"{self.id}.{suffix}" for suffix in ("png", "pdf", "txt"))


def _table(id, title, claim, inputs, cells, module="tables"):
    return Artifact(id, title, claim, "09_tables", f"deft.evaluation.{module}.{id.lower()}", inputs, cells)


def _figure(id, title, claim, inputs, alt, key):
    return Artifact(id, title, claim, "10_figures", f"deft.evaluation.figures.{id.lower()}", inputs, alt=alt, key=key)


# Words and counts are the same in every run, in whatever table they stand.
COUNTED = Rule(
    EXACT,
    (
        *(
            "kind",
            "benchmark",
            "protocol",
            "family",
            "note",
            "source",
            "experts",
            "interval",
            "clips",
            "draws",
            "texts",
        ),
        *("model", "model_draws", "parameters"),
    ),
)
# How sure the flat control is of words that it was never taught: in one run of twelve more than half sure of one clip
# in seven, in the others of none (docs/verify.md).
UNTAUGHT = Rule(MACHINE, ("coverage*", "accuracy_answered*"), {"system": ("deft-flat",)})
P_VALUES = Rule(MACHINE, ("p", "p_holm"))  # a draw moves them over orders of magnitude; what they are of is judged
COMPARED = ("deft_minus*", "all_minus*", "rgb_minus*", "*_over_blind*", "*_over_deft*")
MEASURED = ("unsupported_flow*", "unannotated_flow*", "flow_auroc*")  # of T1: shares that measured flow decides
# T8 films people of its own on the spot. Matrix products that differ in their last digit between processors change a
# grey level here and there,
# and an iterative estimator amplifies it: TV-L1's error moved by up to 6 % between two OpenBLAS kernels on one machine.
FILMED_ANEW = ("simulator", "simulator: unit regions", "simulator: lips and lids")

REGISTRY: tuple[Artifact, ...] = (
    _table(
        "T1",
        "Data and Uni-MER: what the annotations say against what moved",
        ("C2",),
        ("clips/bench", "evidence/bench", "unimer"),
        Cells(("dataset",), EXACT, (Rule(STATISTICAL, MEASURED),)),
    ),
    _table(
        "T2",
        "Main results: every system, tie kept and tie broken",
        ("C1", "C5"),
        ("predictions.jsonl",),
        Cells(
            ("protocol", "system", "set", "condition"),
            STATISTICAL,
            (
                Rule(EXACT, rows={"kind": ("reported", "not built")}),
                P_VALUES,
                COUNTED,
                Rule(STATISTICAL, COMPARED),
                Rule(EXACT, rows={"system": UNTRAINED}),
            ),
        ),
    ),
    _table(
        "T2b",
        "An abstention beside the five classes",
        ("C5",),
        ("predictions.jsonl",),
        Cells(("system", "condition"), STATISTICAL, (COUNTED, Rule(EXACT, rows={"system": UNTRAINED}), UNTAUGHT)),
    ),
    _table(
        "T3",
        "Experts: each alone, all pairs, all three",
        ("C4",),
        ("predictions.jsonl",),
        Cells(("system", "condition"), STATISTICAL, (COUNTED,)),
    ),
    _table(
        "T4",
        "Uni-MER: four constructions against the truth, at three levels of annotation noise",
        ("C3",),
        ("predictions.jsonl", "clips/bench", "motion/bench", "evidence/bench"),
        Cells(
            ("construction", "annotation_noise"), EXACT, (COUNTED, Rule(STATISTICAL, ("model_*", "both_minus_model_*")))
        ),
        "constructions",
    ),
    _table(
        "T5",
        "Disentanglement: what linear probes read from each expert, and how dependent the experts are",
        ("C1", "C4"),
        ("clips", "faces/corpus", "motion/corpus", "features", "experts/draws.json"),
        Cells(("expert", "factor", "metric"), STATISTICAL, (P_VALUES, COUNTED, Rule(EXACT, ("what", "subjects")))),
    ),
    _table(
        "T5b",
        "Counterfactuals: which stream carries the answer",
        ("C1", "C4"),
        ("robustness.jsonl",),
        Cells(("system", "counterfactual", "exchanged"), STATISTICAL, (COUNTED,)),
    ),
    _table(
        "T6",
        "Transfer: trained on one data set, tested on another",
        ("C5",),
        ("cross.jsonl",),
        Cells(
            ("system", "train", "test", "condition"),
            STATISTICAL,
            (P_VALUES, COUNTED, Rule(STATISTICAL, COMPARED), Rule(EXACT, rows={"system": UNTRAINED})),
        ),
    ),
    _table(
        "T7",
        "Interpretability: statements against measured and true motion",
        ("C6",),
        ("predictions.jsonl", "clips/bench", "evidence/bench"),
        Cells(("system", "condition"), STATISTICAL, (COUNTED,)),
    ),
    _table(
        "T7b",
        "What is said of faces that show nothing",
        ("C6",),
        ("predictions_still.jsonl",),
        Cells(("system",), STATISTICAL, (COUNTED,)),
    ),
    Artifact(
        "T8",
        "Flow estimators: error by size of the motion, clean and through a camera, on faces and on pictures no"
        " simulator made",
        ("C2", "C3"),
        "13_meflow",
        "deft.evaluation.flow_study.t8",
        ("meflow",),
        Cells(
            ("estimator", "set", "nuisance", "magnitude_bin"),
            EXACT,
            (
                Rule(MACHINE, ("pairs_per_second",)),
                Rule(STATISTICAL, rows={"estimator": ("meflow",)}),
                Rule(STATISTICAL, ("epe", "angular_error"), {"set": FILMED_ANEW}),
            ),
        ),
    ),
    Artifact(
        "T8b",
        "What the estimator does to evidence and recognition",
        ("C2", "C3"),
        "13_meflow",
        "deft.evaluation.flow_effect.t8b",
        ("clips/corpus", "faces/corpus", "meflow"),
        Cells(("method",), EXACT, (Rule(STATISTICAL, ("uf1*",)), Rule(STATISTICAL, rows={"method": ("meflow",)}))),
    ),
    _table(
        "T9",
        "Cost: time and memory of every stage, parameters of every model",
        (),
        ("status", "experts", "mllm", "peers"),
        Cells(("what", "name"), MACHINE, (Rule(EXACT, ("kind", "parameters")),)),
    ),
    _figure(
        "F1",
        "The problem: looks that happen to go with emotions, and motion too small to see",
        ("C1",),
        ("clips/bench", "predictions.jsonl"),
        "Four rows of onset, apex, their difference, the magnified motion and the flow: two people, two emotions each."
        " Beside them UF1 of four systems.",
        "Rows: the same two emotions, with the same moving units, in two people who differ in look. Onset and apex look"
        " alike, the difference shows edges, only the flow shows the emotion (colour and arrows: direction; strength:"
        " speed). Points: UF1 with 95 % intervals over subjects and draws of training, on clips in which looks go with"
        " emotions as in training (tie kept) and in which they do not (tie broken).",
    ),
    _figure(
        "F2",
        "How one Uni-MER record is made",
        ("C2", "C3"),
        ("clips/bench", "motion/bench", "evidence/bench", "unimer"),
        "Nine frames of a face; below them the motion of its regions over time, a chart of all regions on the face,"
        " bars of evidence per action unit, the verdict on each annotated unit, and the sentences of the record.",
        "One clip from frames to sentences. Grey band: the noise floor of the clip; dashed: what a statement needs."
        " Blue: the person's left; green: the person's right; orange: what truly moved, which only a simulated clip can"
        " tell.",
    ),
    _figure(
        "F3",
        "The architecture, drawn from the live model",
        (),
        ("mllm", "experts"),
        "Three experts, each with its input, lead through projectors and soft words into one language model with"
        " adapters; three heads come out of it.",
        "Names, numbers of weights and shapes (without the batch axis) are read off the saved experts and one tuned"
        " model. Grey: fixed during joint tuning; blue: tuned; yellow: no weights of its own. Inputs: those of the clip"
        " that is followed; the residual is that of the clip with the deepest furrows.",
    ),
    _figure(
        "F4",
        "Answers with their evidence",
        ("C6",),
        ("predictions.jsonl", "faces/bench", "motion/bench", "evidence/bench"),
        "Six clips as rows: the onset, its magnified motion, its flow, the evidence per action unit, and the"
        " statements of DEFT and of the RGB-only model.",
        "Clips with the tie broken, taken in the order of a hash of their names. ✓: the truth or the measured motion"
        " bears the statement out; ✗: neither does. Bars: probability from motion of the units that moved, are stated"
        " or reach one half; blue: left; green: right; orange: truly moved. Red ring: the region with most measured"
        " motion among those that truly stood still; the flow is wrong there.",
    ),
    _figure(
        "F5",
        "Who knows what, and who is listened to",
        ("C1", "C4"),
        ("figures:tables/T5.csv", "figures:tables/T5b.csv"),
        "A heat map of seven factors by four experts; beside it points with intervals: how dependent three pairs of"
        " experts are, and which share of answers changes when a stream is exchanged.",
        "Left: linear probes on people whom they were not fitted on; large: score, small: the same with reshuffled"
        " labels; colour: how far from that chance to a perfect score. Right, above: dependence of two experts' tokens;"
        " grey stroke: with shuffled clips. Below: answers that change when streams are taken from the same motion on"
        " another face, from another motion on the same face, or from another clip.",
    ),
    _figure(
        "F6",
        "Confusion matrices, tie kept and tie broken",
        ("C5",),
        ("predictions.jsonl",),
        "Confusion matrices of four systems over five emotions, above with the tie kept, below with the tie broken.",
        "Rows: true emotion; columns: answer. Colour: share of the row; number: clips, mean over the draws of training."
        " Above each: UF1 with its 95 % interval. Last column: the best system of another paper, tie broken.",
    ),
    _figure(
        "F7",
        "Robustness, calibration and abstention, without retraining",
        ("C1", "C5"),
        ("robustness.jsonl", "predictions.jsonl"),
        "Nine panels. Seven show UF1 of four systems against the strength of one nuisance each; one shows how often an"
        " answer is right against the probability it was given, one the accuracy of the surest answers.",
        "UF1 with 95 % intervals over subjects and draws, on clips with the tie broken that show every emotion about"
        " equally often; nothing is fitted anew. Dotted: as filmed. Amplitude, head motion, frame rate and apex jitter:"
        " filmed again; noise, blur and compression: added to the frames. The last two panels: all benchmark clips with"
        " the tie broken; diagonal: as said, so seen; coverage: share of clips that are answered, surest first.",
    ),
    _figure(
        "F8",
        "Training curves",
        (),
        ("experts", "mllm"),
        "Six panels of curves over epochs or steps: four experts, text pretraining, joint tuning of DEFT.",
        "Experts: parts of the training loss relative to the first epoch; black: what validation subjects gave, its"
        " range drawn from 0 to 1. Adversaries (dotted) should stay flat: what they look for is not there. Language"
        " model: running means, one line per run.",
    ),
    _figure(
        "F9",
        "Main results: every system with the tie kept and broken, and DEFT held against each",
        ("C1", "C5"),
        ("predictions.jsonl",),
        "A forest plot: systems as rows; UF1 with intervals with the tie kept, with the tie broken, and the difference"
        " between DEFT and the system.",
        "Points: UF1 as in table T2, with 95 % intervals over subjects and, for what is tuned, draws of training. Best"
        " on top (tie broken).",
    ),
)


def get(id: str) -> Artifact:
    """The entry with this id; an unknown id names the known ones."""
    for artifact in REGISTRY:
        if artifact.id == id:
            return artifact
    raise KeyError(f"no artifact {id!r}; the register has {', '.join(a.id for a in REGISTRY)}")


def readme_table() -> str:
    """The artifact table of the README, as Markdown."""
    lines = ["| | what it shows | claim | made by | file |", "|---|---|---|---|---|"]
    for a in REGISTRY:
        notebook = f"[{a.notebook}](notebooks/{a.notebook}.ipynb)"
        lines.append(
            f"| {a.id} | {a.title} | {', '.join(a.claim) or '-'} | {notebook} | `figures/<profile>/{a.files[0]}` |"
        )
    return "\n".join(lines)


def stamp(profile: str, seed: int, commit: str = "") -> str:
    """The words every product carries on its face. commit: of the code that made it, if that is not the present one."""
    return f"SIMULATED · {profile} · seed {seed} · {commit or runtime.commit()}"


def read_table(id: str, profile: str) -> DataFrame:
    """The CSV of a table as a data frame, without rows of other runs (`own`). FileNotFoundError names the notebook
    that makes it.
    """
    import pandas as pd

    path = paths.figures(profile) / "tables" / f"{id}.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: run {get(id).notebook} first")
    return own(pd.read_csv(path))


def own(table: DataFrame) -> DataFrame:
    """A table without the rows that were taken from a committed reference."""
    return table[table["kind"] != COMMITTED] if "kind" in table else table


def benchmarks(profile: str = "") -> dict[str, Path]:
    """{benchmark: folder with T2.csv}: of this run (without a profile of none), and of every benchmark with a committed
    reference that it did not answer.
    """
    import pandas as pd

    found: dict[str, Path] = {}
    mine = [paths.figures(profile) / "tables"] if profile else []
    for folder in (*mine, *sorted((paths.ROOT / "figures").glob("*/reference"))):
        if (folder / "T2.csv").is_file():
            version = own(pd.read_csv(folder / "T2.csv", usecols=["kind", "benchmark"]))["benchmark"].dropna().iloc[0]
            found.setdefault(version, folder)
    return found


def elsewhere(benchmark: str) -> dict[str, Path]:
    """{source: folder}: the committed references of all benchmarks but this one, by the words that a row taken from
    one carries as its source (file and commit).
    """
    others = [folder for version, folder in benchmarks().items() if version != benchmark]
    made = {folder: runtime.read_json(folder / "claims.json").get("commit") for folder in others}
    return {f"{(f / 'T2.csv').relative_to(paths.ROOT).as_posix()}{MADE_AT}{made[f]}": f for f in others}


def save_figure(fig: Figure, found: str, id: str, profile: str, seed: int = 7) -> None:
    """Stamp the matplotlib figure and write it, at the size at which it is drawn, as PNG and PDF under
    figures/<profile>; beside them its caption.

    found: what the figure shows, in words. No dates inside: same data, same bytes.
    """
    artifact = get(id)
    fig.text(0.995, 0.002, stamp(profile, seed), ha="right", va="bottom", fontsize=7, color="0.35")
    for suffix, metadata in (
        ("png", {"Software": "deft", "Description": artifact.alt}),
        ("pdf", {"CreationDate": None, "Creator": "deft", "Subject": artifact.alt}),
    ):
        with runtime.atomic(paths.figures(profile) / f"{id}.{suffix}") as temporary:
            fig.savefig(temporary, dpi=200, metadata=metadata)
    with runtime.atomic(paths.figures(profile) / f"{id}.txt") as temporary:
        temporary.write_text(
            f"**{id}. {artifact.title}.** {found} *{artifact.key}* {stamp(profile, seed)}.\n", encoding="utf-8"
        )


def products(folder: Path) -> list[Path]:
    """Every file of figures/<profile> that its manifest must list, sorted: all but NOT_PRODUCTS and what is hidden
    or half-written.
    """
    return [
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file()
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
        and p.relative_to(folder).parts[0] not in NOT_PRODUCTS
    ]


def manifest(profile: str, seed: int = 7) -> dict:
    """What lies under figures/<profile>: profile, seed, provenance, the hash of every product there, and what the
    register has and is missing.
    """
    folder = paths.figures(profile)
    files = {
        str(p.relative_to(folder)): {"sha256": runtime.sha256(p), "bytes": p.stat().st_size} for p in products(folder)
    }
    missing = [f for a in REGISTRY for f in a.files if f not in files]
    return {
        "profile": profile,
        "seed": seed,
        "kind": "simulated",
        **runtime.provenance(),
        "files": files,
        "missing": missing,
    }


def write_manifest(profile: str, seed: int = 7) -> None:
    """Write `manifest` as figures/<profile>/manifest.json; the driver does so after every stage."""
    runtime.write_json(paths.figures(profile) / "manifest.json", manifest(profile, seed))
