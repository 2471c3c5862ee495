"""Does anything move on this face? The question that comes before "what moves": a system that is always asked which
emotion it is never says "none".

Two conditions, both of region flow against the noise floor. Strength: the strongest unit's evidence
(`deft.motion.evidence.score`) is beyond what faces without any unit reach. A count of regions above the statement
threshold cannot decide it: of 36 regions of a noisy clip some always are. Course: along that unit's expected motion the
face rises, holds and falls once. A head that drifts keeps on moving and a mouth that talks opens and closes by the
syllable. Numbers: docs/decisions.md."""

from __future__ import annotations

import numpy as np

from deft.motion import evidence
from deft.motion.envelope import ENVELOPE

# Chosen on the corpus' validation people, filmed with a unit and without one (still, drifting, blinking, talking), so
# that of each kind of still clip one in twenty passes at most (docs/decisions.md).
MOVES = 7.2  # log Bayes factor of the strongest unit
STRAY = 0.2  # share of the course's power that rise, hold and fall may leave unexplained beyond noise
CHANCE = 21.0  # chi-square of 7 degrees of freedom that noise exceeds in one clip of 270
FRAME = 4 / 3  # noise variance of one flow, relative to that of the mean of apex and hold (covariance I + J)
NOTHING = "no movement found ."  # what is said of a face on which nothing moves


def moves(courses: np.ndarray, noise: float | np.ndarray, whole: bool = True) -> np.ndarray:
    """Whether anything moves on the face: bool of one clip, (N,) of many; arguments as in `evidence.parts`.

    whole: False where the clip ends at its apex, so that its course says nothing: the place alone decides. So it is
    where only onset, apex and hold are known."""
    courses = np.asarray(courses, np.float64)
    many, noise = courses if courses.ndim == 4 else courses[None], np.atleast_1d(np.asarray(noise, np.float64))
    parts = evidence.parts(many, noise)
    scores = (parts.combined if whole else parts.spatial).reshape(len(many), -1)
    found = scores.max(axis=1) >= MOVES
    if whole and many.shape[1] == len(ENVELOPE):
        found &= stray(many, noise, scores.argmax(axis=1)) <= STRAY
    return found if courses.ndim == 4 else found[0]


def stray(courses: np.ndarray, noise: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """(N,) share of the course along the expected motion of `unit` (N,), a row of `evidence.TEMPLATES`, that its rise,
    hold and fall leave unexplained beyond CHANCE; 1 where it moves the other way. courses: (N, 8, 36, 2 or more) px.

    Generalised least squares: flow onset -> t carries the onset's noise in every t."""
    template = (evidence.TEMPLATES / evidence.RELATIVE[:, None])[unit].reshape(len(courses), -1)
    template /= np.linalg.norm(template, axis=1, keepdims=True)
    vectors = (courses[..., :2] / evidence.RELATIVE[:, None]).reshape(*courses.shape[:2], -1)
    course = np.einsum("ntk,nk->nt", vectors, template) / noise[:, None]
    shape, weight = ENVELOPE, np.linalg.inv(FRAME / 2 * (np.eye(courses.shape[1]) + 1.0))
    amplitude = course @ weight @ shape / (shape @ weight @ shape)
    rest = course - amplitude[:, None] * shape
    left, power = (np.einsum("nt,ts,ns->n", part, weight, part) for part in (rest, course))
    return np.where(amplitude > 0, np.maximum(left - CHANCE, 0.0) / np.maximum(power, 1e-12), 1.0)
