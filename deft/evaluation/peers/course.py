"""The motion course as a spotter of micro-expressions: nothing is trained, and every step is one that the pipeline
uses.

It is the rule by which `deft.motion.moments` finds the apex of a clip that nobody annotated (after Moilanen et al.,
ICPR 2014), applied to a long video, with three additions that a clip does not need: a threshold, an echo that is
suppressed, and talk that is told from a micro-expression.

Checked on simulated videos (`deft.clips.simulator.long_video`); the numbers were set on two of them, and tried on
others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import find_peaks

from deft.clips.facs import REGIONS
from deft.evaluation.spotting import Interval, aligned
from deft.faces import regions
from deft.motion import moments

ECHO = 0.6  # of the highest peak: seen from the rest beside it, a movement lies off the line by half its height
LIDS = [row for row, (name, _) in enumerate(REGIONS) if name in ("upper_lid", "lower_lid")]


@dataclass(frozen=True)
class CourseSpotter:
    """The motion course of `deft.motion.moments`: frames at which the face has gone out and comes back, nothing
    trained.

    clear: how many times the course's usual spread (median absolute deviation, scaled to that of a normal) a peak
    must stand above the median, so that a video in which nothing moves gives next to nothing. pause: peaks that
    follow each other within so many s belong to one movement, whose apex is the highest. longest: a movement whose
    peaks span more s is no micro-expression (talk). Lids are left out: a blink moves them more than a
    micro-expression moves anything, at the price of expressions in the lids alone. Onset and offset are found as in
    `moments.find`. The numbers are ours.
    """

    clear: float = 3.5
    pause: float = 0.4
    longest: float = 0.5

    def spot(self, frames: np.ndarray, fps: float, landmarks: np.ndarray | None = None) -> list[Interval]:
        """See `Spotter`."""
        face = aligned(frames, landmarks)
        weights = regions.masks(face.landmarks)
        weights[LIDS] = 0
        finder = moments.Finder(face.gray, face.landmarks, weights, fps)
        reach = [round(seconds * fps) for seconds in (moments.RISE, moments.FALL)]
        found = []
        for apex in self.apexes(finder.out_and_back(), fps):
            first = finder.edge(apex, range(apex - 1, max(-1, apex - 1 - reach[0]), -1))
            last = finder.edge(apex, range(apex + 1, min(len(frames), apex + 1 + reach[1])))
            found.append((int(first), int(last)))
        return found

    def apexes(self, course: np.ndarray, fps: float) -> list[int]:
        """Course (T,) px -> frames of its movements that are neither noise nor talk."""
        median = float(np.median(course))
        spread = 1.4826 * float(np.median(np.abs(course - median)))
        high = find_peaks(course, height=median + self.clear * spread)[0]
        if not len(high):
            return []
        movements = np.split(high, np.flatnonzero(np.diff(high) > self.pause * fps) + 1)
        clear = [m[course[m] > ECHO * course[m].max()] for m in movements]
        return [int(m[course[m].argmax()]) for m in clear if m[-1] - m[0] <= self.longest * fps]
