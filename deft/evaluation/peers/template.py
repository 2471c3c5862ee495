"""Template: the motion expert's unit probabilities read out by rule, without any language model.

What the texts of a language model must be held against (claim C6): units whose calibrated probability is at least one
half, then the motions that those units explain and the flow shows, filled into the grammar of Uni-MER; the class is that
of prototype Bayes on the same probabilities.  Nothing is fitted here.  One half is the natural cut of a calibrated
probability (`deft.unimer.check.UNIT_THRESHOLD`), and its calibration comes from corpus validation people alone: no clip
of the benchmark chose it.  Its motions are read off the same flow that later judges them, so only its units are a rival.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from deft.clips.facs import COARSE
from deft.unimer import build, grammar
from deft.unimer.check import UNIT_THRESHOLD
from deft.unimer.facts import Facts, merge_sides


def texts(emotions: Sequence[str], probability: np.ndarray, courses: np.ndarray, noise: np.ndarray) -> list[str]:
    """Emotions (N,), unit probabilities (N, 17, 2), region courses (N, T-1, 36, 5) px and noise (N,) px -> N reasonings."""
    clips = build.measured(probability, courses, noise)
    if len(emotions) != len(clips):
        raise ValueError(f"{len(emotions)} emotions for {len(clips)} clips")
    out = []
    for emotion, clip in zip(emotions, clips):
        units = merge_sides(clip.probability >= UNIT_THRESHOLD)
        out.append(grammar.answer("reasoning", Facts(emotion, COARSE[emotion], units, build.told_motions(units, clip, dual=True))))
    return out


def answer(answers: pd.DataFrame, probability: np.ndarray, courses: np.ndarray, noise: np.ndarray) -> pd.DataFrame:
    """Answers of prototype Bayes with the template's text: `text`, and `text_class`, which is their prediction."""
    written = texts(answers["prediction"].tolist(), probability, courses, noise)
    return answers.assign(text=written, text_class=answers["prediction"])
