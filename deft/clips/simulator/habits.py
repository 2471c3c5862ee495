"""How the simulated subjects move and how the simulated raters code: the habits of `sim-v1`.

These numbers are the simulator's own. They deliberately differ from the prototypes that the text of the language model
uses (`deft.clips.facs.PROTOTYPES`, from the literature): if both read one table, the text would teach the answer.
Nothing outside the simulator and the benchmark may import this module (tests/test_arrows.py).

Shares follow the look of the real sets: disgust leads where the elicitation was disgust, sadness is rare, 4 and 4+7
occur under disgust and under anger, 1 under surprise and sadness. Each dataset leans its own way.
"""

from __future__ import annotations

# emotion -> ((weight, units that move), ...); a unit is bilateral unless written with L/R, "12?" picks a side at random.
_COMMON = {
    "happiness": ((.34, "12"), (.26, "6 12"), (.16, "12?"), (.10, "6 12 25"), (.08, "6"), (.06, "12 14?")),
    "disgust": ((.20, "4 7"), (.18, "9"), (.17, "10"), (.14, "4 9"), (.12, "10?"), (.10, "9 10"), (.09, "4 7 17")),
    "surprise": ((.32, "1 2"), (.18, "1 2 5"), (.16, "2"), (.14, "1 2 25"), (.12, "5"), (.08, "2? 26")),
    "sadness": ((.30, "1"), (.24, "15"), (.20, "1 4"), (.16, "1 15"), (.10, "15 17")),
    "anger": ((.30, "4"), (.22, "4 7"), (.18, "4 5 7"), (.14, "4 23"), (.10, "7 23"), (.06, "24")),
}

HABITS = {
    # Elicited by disgusting films in the laboratory, coded closely; the high-speed colour camera.
    "sim-a": {**_COMMON, "disgust": ((.30, "4 7"), (.18, "9"), (.16, "10"), (.14, "4 9"), (.10, "10?"), (.07, "4"), (.05, "4 7 17"))},
    # An anger-heavy set with more one-sided lip movement; gray camera.
    "sim-b": {**_COMMON, "happiness": ((.36, "12"), (.20, "12?"), (.20, "6 12"), (.14, "12 25"), (.10, "12 14?")),
              "anger": ((.26, "4"), (.26, "4 7"), (.16, "4 5"), (.16, "23"), (.10, "4 7 23"), (.06, "7 17"))},
    # Brows move more than mouths; slower and noisier camera.
    "sim-c": {**_COMMON, "surprise": ((.42, "1 2"), (.20, "1 2 5"), (.14, "2"), (.10, "1 2 26"), (.08, "5"), (.06, "2?")),
              "sadness": ((.36, "1"), (.28, "1 4"), (.20, "15"), (.16, "1 4 15"))},
}

# Share of each emotion when looks say nothing; also the share of subjects wearing the look tied to that emotion.
CLASS_SHARES = {"happiness": .25, "disgust": .33, "surprise": .17, "sadness": .09, "anger": .16}

# A unit that shows up uninvited: chewing, talking, habit.
STRAY_UNITS = (1, 2, 4, 7, 12, 14, 15, 17, 20, 24, 25)
