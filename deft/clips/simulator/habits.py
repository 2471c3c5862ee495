"""How the simulated subjects move and how the simulated raters code: the habits of `sim-v1`.

These numbers are the simulator's own. They deliberately differ from the prototypes that the text of the language model
uses (`deft.clips.facs.PROTOTYPES`, from the literature): if both read one table, the text would teach the answer.
Nothing outside the simulator and the benchmark may import this module (tests/test_arrows.py).

Shares follow the look of the real sets: disgust leads where the elicitation was disgust, sadness is rare, 4 and 4+7
occur under disgust and under anger, 1 under surprise and sadness. Each dataset leans its own way.
"""

from __future__ import annotations

# emotion -> ((weight, units that move), ...); a unit is bilateral unless written with L/R, "12?" picks a side at
# random.
_COMMON = {
    "happiness": ((0.34, "12"), (0.26, "6 12"), (0.16, "12?"), (0.10, "6 12 25"), (0.08, "6"), (0.06, "12 14?")),
    "disgust": (
        (0.20, "4 7"),
        (0.18, "9"),
        (0.17, "10"),
        (0.14, "4 9"),
        (0.12, "10?"),
        (0.10, "9 10"),
        (0.09, "4 7 17"),
    ),
    "surprise": ((0.32, "1 2"), (0.18, "1 2 5"), (0.16, "2"), (0.14, "1 2 25"), (0.12, "5"), (0.08, "2? 26")),
    "sadness": ((0.30, "1"), (0.24, "15"), (0.20, "1 4"), (0.16, "1 15"), (0.10, "15 17")),
    "anger": ((0.30, "4"), (0.22, "4 7"), (0.18, "4 5 7"), (0.14, "4 23"), (0.10, "7 23"), (0.06, "24")),
}

HABITS = {
    # Elicited by disgusting films in the laboratory, coded closely; the high-speed colour camera.
    "sim-a": {
        **_COMMON,
        "disgust": (
            (0.30, "4 7"),
            (0.18, "9"),
            (0.16, "10"),
            (0.14, "4 9"),
            (0.10, "10?"),
            (0.07, "4"),
            (0.05, "4 7 17"),
        ),
    },
    # An anger-heavy set with more one-sided lip movement; gray camera.
    "sim-b": {
        **_COMMON,
        "happiness": ((0.36, "12"), (0.20, "12?"), (0.20, "6 12"), (0.14, "12 25"), (0.10, "12 14?")),
        "anger": ((0.26, "4"), (0.26, "4 7"), (0.16, "4 5"), (0.16, "23"), (0.10, "4 7 23"), (0.06, "7 17")),
    },
    # Brows move more than mouths; slower and noisier camera.
    "sim-c": {
        **_COMMON,
        "surprise": ((0.42, "1 2"), (0.20, "1 2 5"), (0.14, "2"), (0.10, "1 2 26"), (0.08, "5"), (0.06, "2?")),
        "sadness": ((0.36, "1"), (0.28, "1 4"), (0.20, "15"), (0.16, "1 4 15")),
    },
}

# Share of each emotion when looks say nothing; also the share of subjects wearing the look tied to that emotion.
CLASS_SHARES = {"happiness": 0.25, "disgust": 0.33, "surprise": 0.17, "sadness": 0.09, "anger": 0.16}

# A unit that shows up uninvited: chewing, talking, habit.
STRAY_UNITS = (1, 2, 4, 7, 12, 14, 15, 17, 20, 24, 25)
