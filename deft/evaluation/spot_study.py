"""Spot, then recognise, on long simulated videos: what a spotter costs the recogniser behind it.

`python -m deft.evaluation.spot_study --profile demo` prints it after a complete run of the profile. People of no set
are filmed for some seconds each, with micro-expressions among blinks, talk and a wandering head
(`deft.clips.simulator.long_video`). Two spotters find intervals: the motion course, which learns nothing, and a small
MEAN, which learns on videos of other people. The profile's DEFT names each interval. Where it sees nothing move it
names none: the interval is kept, and what is in it counts as not recognised, or it is taken back. The true intervals
stand beside them as a spotter without errors. Counts are pooled over the videos (`deft.evaluation.spotting`); intervals
resample people.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips.facs import EMOTIONS
from deft.clips.simulator import long_video, sample_identity
from deft.evaluation import spotting
from deft.evaluation.peers.course import CourseSpotter
from deft.evaluation.peers.mean import MeanSpotter
from deft.evaluation.protocols.members import SETS
from deft.evaluation.tables import present
from deft.evaluation.tables.present import Column, Page, Part
from deft.mllm.pipeline import DeftPipeline

FIRST = 700_000  # number of the first person: no set draws there
SHOWN = 3  # micro-expressions of a video
REPLICATES = 500
TRUTH, COURSE, MEAN = "true intervals", "motion course", "MEAN, small"
KEPT, TAKEN_BACK = "keeps every interval", "takes back where nothing moves"
Said = list[tuple[int, int, str]]  # (first, last, class) of a video


def videos(first: int, count: int, seed: int, seconds: float, fps: float) -> Iterator[long_video.LongVideo]:
    """One video each of `count` people from number `first` on. Emotions and data sets whose habits are shown go round,
    so that all occur.
    """
    for number in range(count):
        shown = [EMOTIONS[(SHOWN * number + k) % len(EMOTIONS)] for k in range(SHOWN)]
        who, habit = sample_identity(first + number), SETS[number % len(SETS)]
        yield long_video.film(who, seed, seconds, fps, shown, habit=habit)


def named(pipeline: DeftPipeline, video: long_video.LongVideo, spotted: Sequence[spotting.Interval]) -> Said:
    """Each interval with the emotion that the pipeline reads in it, "" where it sees nothing move."""
    return [
        (first, last, pipeline(video.frames[first : last + 1], video.fps, onset=0, offset=last - first)["emotion"])
        for first, last in spotted
    ]


def study(profile: str, people: int, taught: int, seed: int = 7, seconds: float = 15.0, fps: float = 60.0) -> dict:
    """{(spotter, how DEFT answers): (truth of every video, what was said of it)}; people: who are asked about; taught:
    other people, on whose videos MEAN learns.
    """
    pipeline = DeftPipeline.of_work(paths.work(profile))
    learned = [(v.frames, v.fps, v.landmarks, v.truth) for v in videos(FIRST + people, taught, seed, seconds, fps)]
    mean, course = MeanSpotter(seed).fit(learned), CourseSpotter()
    found: dict[tuple[str, str], tuple[list[Said], list[Said]]] = {}
    for video in videos(FIRST, people, seed, seconds, fps):
        spotted = {
            TRUTH: [(first, last) for first, last, _ in video.truth],
            COURSE: course.spot(video.frames, fps, video.landmarks),
            MEAN: mean.spot(video.frames, fps, video.landmarks),
        }
        for name, intervals in spotted.items():
            said = named(pipeline, video, [(int(a), int(b)) for a, b in intervals if b > a])
            for how, told in ((KEPT, said), (TAKEN_BACK, [one for one in said if one[2]])):
                truth, answers = found.setdefault((name, how), ([], []))
                truth.append(video.truth), answers.append(told)
    return found


def table(found: dict, seed: int = 7) -> pd.DataFrame:
    """What `study` found -> a row per spotter and way of answering: counts, F1 of spotting and of recognition, and
    STRS, with intervals over people.
    """
    rows = []
    for (spotter, how), (truth, said) in found.items():
        row = {"kind": "simulated", "spotter": spotter, "answers": how, "videos": len(truth)}
        row |= spotting.strs(truth, said, EMOTIONS)
        drawn = runtime.rng(seed, "spot-study").integers(len(truth), size=(REPLICATES, len(truth)))
        again = [spotting.strs([truth[i] for i in one], [said[i] for i in one], EMOTIONS) for one in drawn]
        for name in ("f1_spot", "f1_recognise", "strs"):
            row[f"{name}_low"], row[f"{name}_high"] = np.quantile([one[name] for one in again], (0.025, 0.975))
        rows.append(row)
    return pd.DataFrame(rows).round(4)


def _told(part: pd.DataFrame) -> list[str]:
    real = part[part["spotter"] != TRUTH]
    best = real.loc[real["strs"].idxmax()]
    words = [f"Highest STRS of a spotter: {best['spotter']}, DEFT {best['answers']}, {present.quote(best, 'strs')}."]
    whole = part[(part["spotter"] == TRUTH) & (part["answers"] == KEPT)].iloc[0]
    return [*words, f"With the true intervals recognition alone gives {present.quote(whole, 'f1_recognise')}."]


PAGE = Page(
    (
        Part(
            "long videos, people of no other set",
            (Column("Spotter", "spotter"), Column("DEFT", "answers")),
            (
                Column("Hits", "tp", digits=0),
                Column("False", "fp", digits=0),
                Column("F1, spotting", "f1_spot"),
                Column("F1, recognition of hits", "f1_recognise"),
                Column("STRS", "strs", best=max),
            ),
            _told,
        ),
    ),
    "Hit: intersection over union of at least .5 with a true interval. F1, recognition: harmonic mean of macro"
    " precision and macro recall over the hits (not UF1). STRS: product of the two F1s."
    " Brackets: 95 % intervals over people.",
)


def main() -> None:
    """Command line: write work/<profile>/spotting.csv and print its page."""
    parser = argparse.ArgumentParser(prog="deft.evaluation.spot_study", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--people", type=int, default=20, help="who are asked about, a video each")
    parser.add_argument("--taught", type=int, default=10, help="other people, on whose videos MEAN learns")
    parser.add_argument("--seconds", type=float, default=15.0, help="of a video")
    given = parser.parse_args()
    told = table(study(given.profile, given.people, given.taught, seconds=given.seconds))
    out = paths.work(given.profile) / "spotting.csv"
    with runtime.atomic(out) as fresh:
        told.to_csv(fresh, index=False)
    words = f"{PAGE.note} All columns: {out.name}."
    print(present.bound("Spot, then recognise", present.parts(PAGE, told), words, "tab:spotting")["md"])


if __name__ == "__main__":
    main()
