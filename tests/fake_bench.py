"""A made-up bench for the language model's tests: units from the literature's prototypes, noisy probabilities, tied
looks.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from deft import runtime
from deft.clips import splits, store
from deft.clips.facs import COARSE, EMOTIONS, UNITS
from deft.mllm import detectors, prompt
from deft.unimer.facts import Facts, text_facts, unit_array

TIE = 0.85


def heard(units, rng, quality, rate=0.09, leak=0.35):
    """What a calibrated, noisy detector reports of (17, 2) bool: Bayes' rule on d * x + noise, d' from the range
    `quality`.
    """
    d, x = rng.uniform(*quality), np.maximum(units, leak * units[..., ::-1])
    noise = np.sqrt(0.5) * (rng.standard_normal((len(units), 1)) + rng.standard_normal(units.shape))
    return detectors.expit(d * (d * x + noise - d / 2) + np.log(rate / (1 - rate)))


def write(work: Path, subjects: int = 12, clips: int = 6, folds: int = 3, seed: int = 0) -> Path:
    """Write clips/bench, clips/heldback, folds.csv, unimer/bench.jsonl and features/ under `work`.

    Structure tokens show the look and the person, nothing of the units. Motion units are a detector of AUROC about .91,
    texture units about .80, rgb units about .60. Condition kept: with chance .85 the look decides the emotion.
    """
    work, rng = Path(work), np.random.default_rng(seed)
    shown = rng.standard_normal((3, 34, 256)).astype(np.float32)  # how units appear in motion, texture, rgb tokens
    look_tokens = rng.standard_normal((5, 256)).astype(np.float32)
    people = pd.DataFrame(
        {
            "subject": [f"s{i:02d}" for i in range(subjects)],
            "dataset": [f"sim-{'abc'[i % 3]}" for i in range(subjects)],
            "look": [i % 5 for i in range(subjects)],
        }
    )
    for which in ("bench", "heldback"):
        records, columns = [], {}
        for person in people.itertuples():
            rows, who = [], rng.standard_normal(256).astype(np.float32)
            for number in range(clips * 2):
                condition = ("kept", "broken")[number % 2]
                tied = condition == "kept" and rng.random() < TIE
                emotion = EMOTIONS[person.look] if tied else EMOTIONS[rng.integers(5)]
                facts = text_facts(rng, weights={e: float(e == emotion) for e in EMOTIONS})
                units = unit_array(facts.units) > 0
                clip = f"{person.subject}-{number:02d}"
                rows.append(
                    {
                        "clip": clip,
                        "dataset": person.dataset,
                        "subject": person.subject,
                        "condition": condition,
                        "look": person.look,
                        "emotion": emotion,
                        "coarse": COARSE[emotion],
                        "fps": 200.0,
                        "onset": 0,
                        "apex": 3,
                        "offset": 8,
                        "units": "",
                        "distractor": "",
                        "split": "",
                    }
                )
                records.append({"clip": clip, "facts": facts.to_json()})
                seen = [units.reshape(-1) + 0.7 * rng.standard_normal(34) for _ in range(3)]
                tokens = {
                    "structure": look_tokens[person.look] + 0.5 * who,
                    "motion": seen[0] @ shown[0] / 3,
                    "texture": seen[1] @ shown[1] / 3 + 0.3 * who,
                    "rgb": look_tokens[person.look] + 0.5 * who + 0.1 * (seen[2] @ shown[2]),
                }
                for name, value in tokens.items():
                    noisy = value + 0.5 * rng.standard_normal(256)
                    columns.setdefault(name, []).append(noisy.reshape(4, 64).astype(np.float32))
                for name, quality in (("motion", (1.6, 2.2)), ("texture", (0.9, 1.5)), ("rgb", (0.1, 0.6))):
                    columns.setdefault(f"{name}_units", []).append(heard(units, rng, quality))
            store.write_shard(
                work / "clips" / which / f"{person.subject}.npz", rows, "fake", look=np.array([r["look"] for r in rows])
            )
        for name, values in columns.items():
            runtime.save_array(work / "features" / which, name, np.stack(values))
        if which == "bench":
            there = np.stack([unit_array(Facts.from_json(r["facts"]).units) for r in records])
            said = {name: np.stack(columns[f"{name}_units"]) for name in prompt.UNIT_STREAMS}
            detectors.Detectors.fit(said, there, people["subject"].to_numpy().repeat(2 * clips)).save(
                detectors.path_of(work)
            )
        runtime.write_jsonl(work / "unimer" / f"{which}.jsonl", records)
        if which == "bench":  # a sheet that says less: the first unit only
            runtime.write_jsonl(
                work / "unimer" / "facts-au.jsonl",
                [
                    {
                        **r,
                        "constraint": "au",
                        "complete": i % 2 == 0,
                        "facts": {**r["facts"], "units": r["facts"]["units"][:1]},
                    }
                    for i, r in enumerate(records)
                ],
            )
    table = splits.make_folds(people, folds, seed, validation=3)
    (work / "clips").mkdir(exist_ok=True)
    table.to_csv(work / "clips" / "folds.csv", index=False)
    assert len(UNITS) == 17
    return work
