"""Which clips of a licensed data set there are, what their labels are to the model, and who is tested when.

Under a protocol its class list decides (`deft.licensed.agreed`). Without one, the five emotions of a simulated profile
do. A label that means one of them (`deft.clips.labels`) is trained and scored; any other
(others, repression, ...) and every macro movement keeps its Uni-MER record and gets an answer, but has no part in
either. Where a data set has only coarse classes (SMIC, 4DME) nothing is trained, since nobody wrote down which of three
emotions a `negative` is: models tuned on the simulator answer, and their coarse class is scored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips import readers, splits
from deft.clips.facs import COARSE, COARSE_CLASSES, EMOTIONS, format_units
from deft.clips.readers.library import Library
from deft.clips.readers.report import reason, tally
from deft.faces import landmarks, mesh
from deft.licensed import agreed
from deft.licensed.points import Folder
from deft.licensed.recipe import LOSO, LicensedError, Recipe
from deft.motion import prepare

REPORT = "data_report.csv"  # the oddities of the sheet and its frames, one row each; it names clips and stays in work/
ESTIMATED = r"\1; estimated as the frame that moves most"  # of an apex that lies on onset or offset
NO_FRAMES = "no frames were found; `make data-check` says where they were looked for"


def odd(recipe: Recipe) -> str:
    """ "63 oddities, 8 repaired": the saved data report in short."""
    return tally(pd.read_csv(recipe.work / REPORT, keep_default_na=False))


def keep(path: Path, text: str) -> None:
    """Write `text`, unless the file holds it already."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with runtime.atomic(path) as fresh:
            fresh.write_text(text, encoding="utf-8")


def take(recipe: Recipe) -> tuple[list[readers.RecordedClip], pd.DataFrame]:
    """(clips, table) of `look_at`; keeps the data report as work/<set>/`REPORT`, and beside it what is run
    (set.json).
    """
    clips, table, report = look_at(recipe)
    note = {
        "dataset": recipe.dataset,
        "root": str(Path(recipe.root).expanduser().absolute()),
        "profile": recipe.profile,
        "folds": recipe.folds,
        "protocol": recipe.protocol,
        "landmarks": _named(recipe.landmarks),
        "errata": recipe.errata,
        "simulated": recipe.simulated,
        "words": recipe.words,
        **runtime.provenance(),
    }
    keep(recipe.work / "set.json", json.dumps(note, indent=1, ensure_ascii=False) + "\n")
    keep(recipe.work / REPORT, report.to_csv(index=False, lineterminator="\n"))
    return clips, table


def look_at(recipe: Recipe) -> tuple[list[readers.RecordedClip], pd.DataFrame, pd.DataFrame]:
    """(clips, table, data report); clips and table sorted by subject and clip; columns clip, subject, dataset, label,
    own (the emotion that its text names), emotion, coarse, truth, kind, units, scored.

    truth: what is scored, the emotion or, in a set of coarse classes, that class; `emotion` is then empty throughout.
    Under a protocol: its members, its classes (`deft.licensed.agreed`). Raises LicensedError for a missing folder, no
    frames, or labels among which there is nothing to choose; ProtocolError for what the protocol cannot use.
    """
    for dataset in recipe.datasets:
        if dataset not in readers.READERS:
            raise readers.unknown(dataset)
    found = [_read(recipe.of(dataset)) for dataset in recipe.datasets]
    clips = [clip for part, _ in found for clip in part]
    report = pd.concat([part for _, part in found], ignore_index=True)
    if recipe.protocol:
        return *agreed.members(recipe, clips), report
    clips.sort(key=lambda clip: (clip.subject, clip.id))
    table = pd.DataFrame(
        [
            {
                "clip": clip.id,
                "subject": clip.subject,
                "dataset": clip.dataset,
                "label": clip.emotion,
                "own": "",
                "emotion": agreed.class_of(clip.dataset, clip.emotion),
                "coarse": clip.coarse,
                "kind": clip.kind,
                "units": format_units(clip.action_units),
            }
            for clip in clips
        ]
    )
    fine, coarse = table["emotion"], table["coarse"].where(table["coarse"].isin(COARSE_CLASSES), "")
    if fine[fine != ""].nunique() < 2:
        table["emotion"] = ""
    table["truth"] = fine if (table["emotion"] != "").any() else coarse
    table["own"] = table["emotion"].where(table["kind"] == "micro", "")
    table["scored"] = (table["truth"] != "") & (table["kind"] == "micro")
    if table[table["scored"]]["truth"].nunique() < 2:
        raise LicensedError(
            f"the labels of {recipe.dataset} are {', '.join(sorted(set(table['label']) - {''})) or '(none)'}; the model"
            f" answers {', '.join(EMOTIONS)}, and nothing is left to tell apart. Use a set with emotions (casme2, samm,"
            " mmew, dfme, ...), or a protocol with its classes (PROTOCOL=)"
        )
    if recipe.subjects or recipe.clips_each:
        table = _some(table, recipe.subjects, recipe.clips_each)
        clips = [clips[row] for row in table.index]
    table = table.reset_index(drop=True)
    return clips, table, report


def _read(recipe: Recipe) -> tuple[list[readers.RecordedClip], pd.DataFrame]:
    """(clips, data report) of one data set."""
    root = Path(recipe.root)
    if not root.exists():
        raise LicensedError(
            f"{root} does not exist: say where your copy of {recipe.dataset} is (DATA=folder, or DEFT_DATA with"
            f" {recipe.dataset}/ in it), or which sets you have (DATASET=casme2+samm)"
        )
    clips, report = readers.read(recipe.dataset, root, errata=recipe.errata)
    if not any(clip.numbers for clip in clips):
        raise LicensedError(
            f"none of the {len(clips)} clips of {recipe.dataset} has frames below {root}: `make data-check"
            f" DATASET={recipe.dataset} DATA={root}` says where they were looked for{Library(root).packed()}"
        )
    looked_for = report["clip"].isin([clip.id for clip in clips if clip.apex_on_edge])
    report["what"] = report["what"].mask(
        looked_for, report["what"].str.replace(r"^(apex = \w+); kept as written$", ESTIMATED, regex=True)
    )
    return clips, report


def _some(table: pd.DataFrame, subjects: int, each: int) -> pd.DataFrame:
    """The subjects with the most classes, and of each so many clips: one of every label, then a second of every
    label, ...
    """
    classes = table[table["scored"]].groupby("subject")["truth"].nunique()
    wanted = classes.sort_values(ascending=False, kind="stable").index[: subjects or None]
    part = table[table["subject"].isin(wanted)]
    turn = part.groupby(["subject", "label"]).cumcount()
    order = part.assign(turn=turn).sort_values(
        ["subject", "turn", "scored"], ascending=[True, True, False], kind="stable"
    )
    return table.loc[sorted(order.groupby("subject").head(each or len(part)).index)]


def waiting(recipe: Recipe, clips: Sequence[readers.RecordedClip]) -> tuple[int, int, list[str]]:
    """(clips prepared or known to fail, clips with frames, what is wrong with damaged files): how far `prepared` is,
    without doing anything.
    """
    if recipe.protocol:
        parts = [waiting(one, mine) for one, mine in _by_set(recipe, clips)]
        return sum(p[0] for p in parts), sum(p[1] for p in parts), [wrong for p in parts for wrong in p[2]]
    cascade, points = _landmarks(recipe, clips)
    filmed = [clip for clip in clips if clip.numbers]
    files, sheet = prepare.targets(filmed, cascade, points=points), recipe.prepared / "failed.json"
    failed = runtime.read_json(sheet) if sheet.exists() else {}
    there = {name: recipe.prepared / file for name, file in files.items() if (recipe.prepared / file).exists()}
    damaged = [wrong for name, path in there.items() if (wrong := prepare.damage(path, name))]
    return len(there) - len(damaged) + sum(file in failed for file in files.values()), len(files), damaged


def prepared(recipe: Recipe, clips: Sequence[readers.RecordedClip], log: Callable[[str], None] = print) -> pd.DataFrame:
    """Every clip with frames through faces and flow, one file each (`deft.motion.prepare`); -> clip, file, error ("" or
    what is wrong).

    A prepared file that is damaged is named and made again. Of several data sets, `file` is below work/.
    """
    if recipe.protocol:
        base, order = paths.work(""), {clip.id: row for row, clip in enumerate(clips)}
        parts = [(one, prepared(one, mine, log)) for one, mine in _by_set(recipe, clips)]
        moved = [
            part.assign(
                file=[(one.prepared / file).relative_to(base).as_posix() if file else "" for file in part["file"]]
            )
            for one, part in parts
        ]
        return pd.concat(moved).sort_values("clip", key=lambda names: names.map(order)).reset_index(drop=True)
    cascade, points = _landmarks(recipe, clips)
    filmed, sheet = [clip for clip in clips if clip.numbers], recipe.prepared / "failed.json"
    files = prepare.targets(filmed, cascade, points=points)
    failed = (
        runtime.read_json(sheet) if sheet.exists() else {}
    )  # what failed fails again until its frames or this code, and so its name, change
    for name, file in files.items():
        if (recipe.prepared / file).exists() and (wrong := prepare.damage(recipe.prepared / file, name)):
            log(f"made again  {wrong}")
            (recipe.prepared / file).unlink()
    if any(file not in failed and not (recipe.prepared / file).exists() for file in files.values()):
        found = prepare.prepare(filmed, recipe.prepared, cascade, points=points)
        failed |= {files[row.clip]: row.error for row in found.itertuples() if row.error}
        runtime.write_json(sheet, failed)
    errors = {clip.id: failed.get(files[clip.id], "") if clip.id in files else NO_FRAMES for clip in clips}
    return pd.DataFrame(
        [{"clip": name, "file": "" if error else files[name], "error": error} for name, error in errors.items()]
    )


def trial(recipe: Recipe, clips: Sequence[readers.RecordedClip], count: int) -> tuple[int, float]:
    """(clips that are still to be prepared, seconds that they will take): of each data set the first `count` clips are
    prepared now, to measure them, where more than twice as many are missing.
    """
    if recipe.protocol:
        parts = [trial(one, mine, count) for one, mine in _by_set(recipe, clips)]
        return sum(left for left, _ in parts), sum(seconds for _, seconds in parts)
    cascade, points = _landmarks(recipe, clips)
    filmed, sheet = [clip for clip in clips if clip.numbers], recipe.prepared / "failed.json"
    files = prepare.targets(filmed, cascade, points=points)
    failed = runtime.read_json(sheet) if sheet.exists() else {}
    missing = [
        clip for clip in filmed if files[clip.id] not in failed and not (recipe.prepared / files[clip.id]).exists()
    ]
    if len(missing) <= 2 * count:
        return len(missing), 0.0
    start = time.perf_counter()
    prepare.prepare(missing[:count], recipe.prepared, cascade, points=points)
    left = len(missing) - count
    return left, left * (time.perf_counter() - start) / count


def _named(landmarks: Path | None) -> str:
    """What LANDMARKS= says, for another working folder too."""
    if landmarks is None or mesh.asked(landmarks):
        return str(landmarks or "")
    return str(landmarks.expanduser().absolute())


def _landmarks(
    recipe: Recipe, clips: Sequence[readers.RecordedClip]
) -> tuple[landmarks.Cascade | mesh.Mesh, Folder | None]:
    """(the profile's cascade or the optional detector, points from files, or None)."""
    if mesh.asked(recipe.landmarks):
        return mesh.load(), None
    cascade = landmarks.load(paths.work(recipe.profile) / "faces" / "landmarks")
    if recipe.landmarks is None:
        return cascade, None
    several = len(recipe.datasets) > 1 or (recipe.landmarks / recipe.dataset).is_dir()
    return cascade, Folder.of(recipe.landmarks / recipe.dataset if several else recipe.landmarks, clips)


def _by_set(recipe: Recipe, clips: Sequence[readers.RecordedClip]) -> list[tuple[Recipe, list]]:
    """(recipe of a data set, its clips), set by set."""
    return [
        (recipe.of(dataset), mine)
        for dataset in recipe.datasets
        if (mine := [clip for clip in clips if clip.dataset == dataset])
    ]


def left_out(ready: pd.DataFrame, shown: int = 3) -> list[str]:
    """Lines about the clips that could not be prepared, grouped by reason: how many, the first few by name, what is
    wrong with the first.
    """
    bad = ready[ready["error"] != ""]
    lines = []
    for _, part in bad.groupby(bad["error"].map(reason), sort=False):
        more = f" and {len(part) - shown} more" if len(part) > shown else ""
        lines.append(
            f"left out  {len(part)} clip{'s' * (len(part) > 1)}, {', '.join(part['clip'][:shown])}{more}:"
            f" {part['error'].iloc[0]}"
        )
    return lines


def uses(table: pd.DataFrame, ready: pd.DataFrame) -> pd.DataFrame:
    """What becomes of every label: columns label, answered as, kind, clips, prepared, scored, Uni-MER only
    (prepared, but not scored).
    """
    joined = table.assign(ready=(ready["error"] == "").to_numpy())
    joined["used"] = joined["scored"] & joined["ready"]
    out = (
        joined.groupby(["label", "truth", "kind"], sort=True)
        .agg(clips=("clip", "size"), prepared=("ready", "sum"), scored=("used", "sum"))
        .reset_index()
    )
    return out.rename(columns={"truth": "answered as"}).assign(**{"Uni-MER only": out["prepared"] - out["scored"]})


def folds_of(table: pd.DataFrame, dataset: str, folds: str, seed: int) -> pd.DataFrame:
    """Subject-disjoint folds, every subject tested once -> subject, dataset, look, fold, validation_of (-1: of none).

    table: columns subject, emotion, scored. `look`, by which folds are stratified, is here the number of the subject's
    commonest emotion: a recording has no look table. Under "loso" everybody but the subject tested trains: validation
    chooses nothing in DEFT's tuning nor in the peers (their settings come from simulated clips), and the field leaves
    out one. Who has no clip with an emotion is answered in some fold and trains none; in a set without emotions that is
    everybody. Raises LicensedError when there are too few subjects, or a fold would train on fewer than two emotions.
    """
    scored = table[table["scored"] & (table["emotion"] != "")]
    if scored.empty:
        return pd.DataFrame(
            {"subject": sorted(set(table["subject"])), "dataset": dataset, "look": -1, "fold": 0, "validation_of": -1}
        )
    commonest = scored.groupby("subject")["emotion"].agg(lambda found: EMOTIONS.index(found.mode()[0]))
    people = pd.DataFrame({"subject": commonest.index, "dataset": dataset, "look": commonest.to_numpy()})
    number = len(people) if folds == LOSO else int(folds)
    if len(people) < max(number, 3):
        raise LicensedError(
            f"{len(people)} subjects have a clip with frames and an emotion the model answers; FOLDS={folds} needs at"
            f" least {max(number, 3)}"
        )
    if folds == LOSO:
        people["fold"], people["validation_of"] = np.arange(number), -1
    else:
        people = splits.make_folds(people, number, seed)
    others = sorted(set(table["subject"]) - set(people["subject"]))
    idle = pd.DataFrame(
        {
            "subject": others,
            "dataset": dataset,
            "look": -1,
            "fold": np.arange(len(others)) % number,
            "validation_of": -1,
        }
    )
    out = (
        pd.concat([people, idle] if others else [people], ignore_index=True)
        .sort_values("subject")
        .reset_index(drop=True)
    )
    for fold in range(number):
        if scored["emotion"][scored["subject"].map(splits.roles(out, fold)) == "train"].nunique() < 2:
            raise LicensedError(
                f"fold {fold} would train on fewer than two emotions: take more subjects, or FOLDS={LOSO}"
            )
    return out


def index_of(table: pd.DataFrame, fps: Sequence[float | None]) -> list[dict]:
    """Rows of clips/<set> (`deft.clips.store.INDEX_COLUMNS`) at the key frames of `prepare`: onset 0, apex 3, offset 8.

    condition: "kept" (scored) or "unscored". A licensed set knows no look and has no broken condition.
    """
    return [
        {
            "clip": row.clip,
            "dataset": row.dataset,
            "subject": row.subject,
            "condition": "kept" if row.scored else "unscored",
            "look": -1,
            "emotion": row.emotion if row.scored else "",
            "coarse": COARSE.get(row.own, row.coarse),
            "fps": rate,
            "onset": 0,
            "apex": 3,
            "offset": 8,
            "units": row.units,
            "distractor": "" if row.kind == "micro" else row.kind,
            "split": "",
        }
        for row, rate in zip(table.itertuples(), fps)
    ]
