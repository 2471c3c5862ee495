"""When a region moves: start, peak and fade from its measured course, stated only where they stand out from the noise.

A course is the region's mean flow onset -> t along the direction it takes at the peak. A movement has *started* when it
first stays at half its peak, and *faded* when it first falls below that again. Half height is also what the evidence
rows of `deft.motion.evidence` use; the course is steepest there, so noise shifts the time least. A crossing between two
frames is stated only if both lie clear of the level; a course that stays near the level for several frames gets no
time. (The paper asks for consistency in time and does not say how a time is measured; the rules and their margins are
ours.)"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from deft.clips.facs import MIDLINE
from deft.clips.keyframes import peak_mean, peak_positions
from deft.motion.evidence import RELATIVE
from deft.unimer.facts import EVENTS, GROUPS, Facts, MotionFact, TimeFact, group_regions

CLEAR = 5.0  # the peak must reach so many standard deviations of the region's noise, or nothing is said about its time
# A frame lies clear of a level when it is so many standard deviations above or below it. On a benchmark of another
# seed, 0, .7 and 2
# leave .83, .89 and .94 of the starts right to the frame, of 1830, 1500 and 936 that are stated.
MARGIN = 0.7
LEVEL = 0.5  # share of the peak at which a movement has started, and below which it has faded
GONE = 0.25  # share of the peak that may be left in a region that "came back"
# standard deviations above half its peak that a region must still be at the offset to be said to stay: a strong claim
STAYS = 2.0
LONGEST = 3  # a hold of more frames says little about when the peak was
# frames by which the first region must be ahead of the second; where nothing lags, it is said of 7 clips in 1008 (0.25:
# 19)
LEAD = 0.75


def region_course(courses: np.ndarray, region: str, side: str) -> np.ndarray:
    """(T,) px of a spoken region from the onset on (first entry 0), along its own direction at the peak, mean of the
    claimed sides.

    courses: (T-1, 36, 2 or more) px, the frames after the onset.
    """
    found = []
    for index in group_regions(region, side):
        vectors = np.asarray(courses, np.float64)[:, index, :2]
        towards = peak_mean(vectors)
        found.append(vectors @ (towards / max(float(np.hypot(*towards)), 1e-9)))
    return np.concatenate([[0.0], np.mean(found, 0)])


def spread(noise: float, region: str, side: str) -> float:
    """Standard deviation (px) of one frame of `region_course`, from the clip's noise floor and the region's own
    share of it.
    """
    rows = list(group_regions(region, side))
    return float(noise * RELATIVE[rows].mean() / np.sqrt(len(rows)))


def events(courses: np.ndarray, noise: float, region: str, side: str) -> dict[str, tuple[int, int]]:
    """{event: (first, last) frame} of one region, only what is clear; {} for a region that does not move clearly.

    Clips without a fall (onset, apex, hold only) have no events.
    """
    if len(courses) < 5:
        return {}
    line, sd = region_course(courses, region, side), spread(noise, region, side)
    at = peak_positions(len(line))
    peak = float(line[list(at)].mean())
    if not peak > CLEAR * sd:  # NaN, too, is no peak
        return {}
    level, room = LEVEL * peak, MARGIN * sd
    found: dict[str, tuple[int, int]] = {}
    start = at[0]
    while line[start - 1] >= level:  # line[0] is 0
        start -= 1
    if line[start] >= level + room and (start == 1 or line[start - 1] <= level - room):
        found["start"] = (start, start)
    below = [t for t in range(at[1], len(line)) if line[t] < level]
    if below and line[below[0]] <= level - room and line[below[0] - 1] >= level + room:
        found["fade"] = (below[0], below[0])
    top = int(line[start : below[0] if below else len(line)].argmax()) + start
    first = last = top
    while first - 1 >= start and line[first - 1] >= line[top] - 2 * sd:
        first -= 1
    while last + 1 < len(line) and line[last + 1] >= line[top] - 2 * sd:
        last += 1
    if last - first < LONGEST:
        found["peak"] = (first, last)
    if below and abs(line[-1]) <= GONE * peak + room:
        found["back"] = (0, 0)
    elif not below and line[-1] >= level + STAYS * sd:
        found["stay"] = (0, 0)
    return found


def crossing(courses: np.ndarray, region: str, side: str) -> float:
    """Time of the rise through half the peak, frames, between two frames by straight line."""
    line = region_course(courses, region, side)
    at = peak_positions(len(line))
    level, start = LEVEL * float(line[list(at)].mean()), at[0]
    while start > 1 and line[start - 1] >= level:
        start -= 1
    step = line[start] - line[start - 1]
    return start - 1 + float(np.clip((level - line[start - 1]) / step if step > 0 else 1.0, 0, 1))


def leader(courses: np.ndarray, noise: float, places: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """The (region, side) among `places` that rises before all others by LEAD frames and beyond what noise makes of
    both; None if none does.
    """
    rising = [place for place in dict.fromkeys(places) if "start" in events(courses, noise, *place)]
    if len(rising) < 2:
        return None
    order = sorted(rising, key=lambda place: crossing(courses, *place))
    first, second = (crossing(courses, *place) for place in order[:2])
    return (
        order[0]
        if second - first >= max(LEAD, _blur(courses, noise, order[0]) + _blur(courses, noise, order[1]))
        else None
    )


def _blur(courses: np.ndarray, noise: float, place: tuple[str, str]) -> float:
    """Frames by which noise moves a region's crossing: one standard deviation over the slope of its rise (half the
    peak's height in the time of the rise).
    """
    line = region_course(courses, *place)
    peak = float(line[list(peak_positions(len(line)))].mean())
    return spread(noise, *place) / max(peak, 1e-9) * peak_positions(len(line))[0]


def time_facts(courses: np.ndarray, noise: float, motions: Iterable[MotionFact]) -> tuple[TimeFact, ...]:
    """What can be said about the time of the stated motions: all clear events of each place, in the order of EVENTS."""
    places = list(dict.fromkeys((fact.region, fact.side) for fact in motions))
    found = [
        TimeFact(event, *place, *frames) for place in places for event, frames in events(courses, noise, *place).items()
    ]
    place = leader(courses, noise, places)
    if place and bears_out(TimeFact("first", *place), courses, noise):
        found.append(TimeFact("first", *place))
    return tuple(sorted(found, key=lambda fact: EVENTS.index(fact.event)))


def bears_out(fact: TimeFact, courses: np.ndarray, noise: float) -> bool:
    """Do the courses show it? Starts and fades to the frame; a stated peak must lie within the measured hold.

    "first" is compared with every region that moves clearly on its own side, not only with those that a text names.
    """
    found = events(courses, noise, fact.region, fact.side)
    if fact.event == "first":
        return "start" in found and not _earlier(fact, courses, noise)
    if fact.event not in found:
        return False
    first, last = found[fact.event]
    return fact.event in ("back", "stay") or (first <= fact.first <= fact.last <= last)


def _earlier(fact: TimeFact, courses: np.ndarray, noise: float) -> bool:
    """Does any clearly moving region rise before this one by more than LEAD frames?"""
    mine, rows = crossing(courses, fact.region, fact.side), set(group_regions(fact.region, fact.side))
    for group, side in moving_places():
        if (
            rows.isdisjoint(group_regions(group, side))
            and "start" in events(courses, noise, group, side)
            and crossing(courses, group, side) <= mine - LEAD
        ):
            return True
    return False


def moving_places() -> list[tuple[str, str]]:
    """Every spoken place, one side at a time ("B" at the midline)."""
    return [(group, side) for group, region in GROUPS.items() for side in (("B",) if region in MIDLINE else ("L", "R"))]


def against(facts: Mapping[str, Facts], clips: Sequence[str], envelope: np.ndarray) -> pd.DataFrame:
    """Stated times compared with the simulator's common course: one row per event, `stated`, `exact`, `within_one`
    (shares).

    envelope: (N, T) 0..1 in the order of `clips`, every stored frame. A peak is exact when it meets a frame in which
    the envelope is at its top. Units of `sim-v1` do not lag behind each other, so whoever is said to move "first" is a
    false alarm there."""
    rows = []
    for line, told in ((envelope[i], facts[clip].times) for i, clip in enumerate(clips) if clip in facts):
        at = peak_positions(len(line))
        level = LEVEL * line[list(at)].mean()
        fell = [t for t in range(at[1], len(line)) if line[t] < level]
        top, start, fade = (
            np.flatnonzero(line >= 0.98 * line.max()),
            int((line >= level).argmax()),
            fell[0] if fell else len(line),
        )
        true = {"start": (start, start), "fade": (fade, fade), "peak": (top[0], top[-1])}
        for fact in told:
            if fact.event in true:
                first, last = true[fact.event]
                rows.append((fact.event, max(fact.first - last, first - fact.last, 0)))
            else:
                right = fact.event != "first" and (line[-1] < level) == (fact.event == "back")
                rows.append((fact.event, 0 if right else len(line)))
    off = pd.DataFrame(rows, columns=["event", "off"])
    return (
        off.groupby("event", sort=False)["off"]
        .agg(stated="size", exact=lambda x: (x == 0).mean(), within_one=lambda x: (x <= 1).mean())
        .round(3)
    )
