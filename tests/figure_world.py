"""A made-up work folder in the formats of every stage, small enough to draw figures from in a second. Not a result."""

import cv2
import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips import facs, store
from deft.evaluation import tables, versions
from deft.experts import probes
from deft.faces import regions
from deft.unimer import build, schema
from deft.unimer.facts import facts_from_units
from deft.unimer.kinds import KINDS

SYSTEMS = ("deft", "rgb-only", "lr-flow", "lr-pixels", "majority")


def mean_face():
    """(68, 2) px in the canonical 128 px frame: a plain face with its eyes where the alignment puts them."""
    half = np.linspace(0, np.pi, 17)
    jaw = np.stack([64 - 40 * np.cos(half), 52 + 56 * np.sin(half) ** 0.8], 1)
    brow = np.stack([np.linspace(37, 58, 5), 42 - 4 * np.sin(np.linspace(0, np.pi, 5))], 1)
    nose = np.concatenate(
        [
            np.stack([np.full(4, 64.0), np.linspace(52, 70, 4)], 1),
            np.stack([np.linspace(56, 72, 5), [75, 76, 77, 76, 75]], 1),
        ]
    )
    turn = np.linspace(np.pi, -np.pi, 7)[:6]
    eye = np.stack([6 * np.cos(turn), -2.5 * np.sin(turn)], 1)
    outer, inner = np.linspace(np.pi, -np.pi, 13)[:12], np.linspace(np.pi, -np.pi, 9)[:8]
    mouth = np.concatenate(
        [
            np.stack([64 + 13 * np.cos(outer), 90 - 5 * np.sin(outer)], 1),
            np.stack([64 + 10 * np.cos(inner), 90 - 2 * np.sin(inner)], 1),
        ]
    )
    return np.concatenate(
        [jaw, brow, np.stack([128 - brow[::-1, 0], brow[::-1, 1]], 1), nose, eye + [49, 50], eye + [79, 50], mouth]
    )


def picture(subject, generator):
    """(128, 128, 3) uint8: a drawn face."""
    image = np.full((128, 128, 3), 90 + 15 * (subject % 5), np.uint8)
    points = mean_face().astype(np.int32)
    cv2.fillPoly(
        image,
        [np.concatenate([points[:17], [[104, 20], [64, 8], [24, 20]]])],
        (200 - 12 * subject, 165 - 10 * subject, 140 - 8 * subject),
    )
    for part in (points[36:42], points[42:48], points[48:60]):
        cv2.fillPoly(image, [part], (120, 60, 60) if part[0, 1] > 80 else (240, 240, 240))
    for part in (points[17:22], points[22:27]):
        cv2.polylines(image, [part], False, (50, 40, 30), 2)
    return np.clip(image + generator.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def flow_of(units, generator):
    """(128, 128, 2) px: each region moves where its units say."""
    weights = regions.masks(mean_face())
    field = generator.normal(0, 0.05, (128, 128, 2)).astype(np.float32)
    for u, s in zip(*np.nonzero(units)):
        for region, x, y, weight in facs.expected_vectors(facs.UNITS[u], facs.SIDES[s]):
            field += 1.2 * weight * (weights[region] / weights[region].max())[..., None] * np.float32([x, y])
    return cv2.GaussianBlur(field, (0, 0), 2)


def make(profile, subjects=4, emotions=facs.EMOTIONS):
    """Write the folder of `profile`: two conditions x all emotions per subject. Returns the table of clips."""
    work, generator, rows = paths.work(profile), np.random.default_rng(3), []
    arrays = {k: [] for k in ("rgb", "gray", "peak", "courses", "noise", "region_true", "probability", "units_true")}
    for subject in range(subjects):
        mine = []
        for condition in ("kept", "broken"):
            for emotion in emotions:
                chosen = max(facs.PROTOTYPES[emotion])[1]
                truth = np.zeros((17, 2), np.float32)
                truth[[facs.UNIT_INDEX[u] for u in chosen]] = 0.3
                field, onset = flow_of(truth, generator), picture(subject, generator)
                y, x = np.indices((128, 128), np.float32)
                apex = cv2.remap(onset, x - field[..., 0], y - field[..., 1], cv2.INTER_LINEAR)
                small = cv2.resize(field, (64, 64))
                motion = np.tensordot(regions.masks(mean_face()), field, axes=([1, 2], [0, 1]))
                course = np.concatenate(
                    [motion, np.linalg.norm(motion, axis=1, keepdims=True), np.full((36, 2), 0.5)], 1
                )
                for name, value in dict(
                    rgb=[onset, apex, apex],
                    gray=np.stack([onset] * 2 + [apex] * 4 + [onset] * 3).mean(-1).astype(np.uint8),
                    peak=np.dstack([small, small * 0]).astype(np.float16),
                    noise=0.09,
                    courses=np.linspace(0.3, 1, 8)[:, None, None] * course,
                    region_true=motion * 0.9,
                    probability=np.clip(0.9 * (truth > 0) + generator.uniform(0, 0.3, (17, 2)), 0, 1),
                    units_true=truth,
                ).items():
                    arrays[name].append(value)
                mine.append(
                    dict(
                        clip=f"s{subject:02d}-{condition}-{emotion}",
                        dataset="sim-a",
                        subject=f"s{subject:02d}",
                        condition=condition,
                        look=subject % 2,
                        emotion=emotion,
                        coarse=facs.COARSE[emotion],
                        fps=200.0,
                        onset=0,
                        apex=3,
                        offset=8,
                        units="+".join(map(str, sorted(chosen))),
                        distractor="",
                        split="",
                    )
                )
        units = np.array(arrays["units_true"][-len(mine) :], np.float32)
        store.write_shard(
            work / "clips" / "bench" / f"s{subject:02d}.npz",
            mine,
            "made-up",
            units_true=units,
            furrows_true=units[:, :10, 0],
        )
        rows += mine
    arrays["residual"] = generator.normal(0, 0.01, (len(rows), 2, 64, 64)).astype(np.float16)
    for stage, names in (
        ("faces", ["rgb", "gray"]),
        ("motion", ["peak", "courses", "noise", "region_true", "residual"]),
        ("evidence", ["probability"]),
    ):
        for name in names:
            value = np.array(arrays[name])
            runtime.save_array(
                work / stage / "bench",
                name,
                value if value.dtype in (np.uint8, np.float16) else value.astype(np.float32),
            )
    runtime.save_array(
        work / "faces" / "bench", "landmarks", np.repeat(mean_face()[None].astype(np.float32), len(rows), 0)
    )
    table = pd.DataFrame(rows)
    measured = [np.array(arrays[k], np.float32) for k in ("probability", "courses", "noise")]
    schema.write_records(work / "unimer" / "bench.jsonl", build.build_records(table, *measured))
    _answers(work, rows, generator)
    _versions(work, rows, generator)
    _histories(work, generator)
    _tables(profile, generator)
    return table


def _answers(work, rows, generator):
    lines = []
    for system in SYSTEMS:
        for seed in (0, 1):
            for row in rows:
                right = generator.random() < {"deft": 0.85, "lr-flow": 0.7}.get(system, 0.3)
                said = row["emotion"] if right else str(generator.choice(facs.EMOTIONS))
                units = facts_from_units({unit: "B" for unit in max(facs.PROTOTYPES[said])[1]}, generator, said)
                lines.append(
                    dict(
                        benchmark="sim-v1",
                        clip=row["clip"],
                        dataset=row["dataset"],
                        subject=row["subject"],
                        fold=0,
                        system=system,
                        condition=row["condition"],
                        truth=row["emotion"],
                        prediction=said,
                        scores={e: 0.2 for e in facs.EMOTIONS},
                        text_class=str(generator.choice((said, ""))),
                        text=KINDS["reasoning"].answer(units, generator) if system in ("deft", "rgb-only") else "",
                        seed=seed,
                    )
                )
    runtime.write_jsonl(work / "predictions.jsonl", lines)


def _versions(work, rows, generator):
    """Answers to versions of the clips, as 08 writes them: the stronger the nuisance, the more are wrong."""
    lines = []
    for system in ("deft", "rgb-only", "lr-flow"):
        for row in [row for row in rows if row["condition"] == "broken"]:
            common = {key: row[key] for key in ("clip", "dataset", "subject", "look", "condition")}
            common |= {"truth": row["emotion"], "other": "anger", "system": system, "seed": 0, "fold": 0}
            asked = [(versions.AS_FILMED, 0.0, "", 0.9)]
            asked += [
                (name, level, "", 0.9 - 0.2 * place)
                for name, levels in versions.LEVELS.items()
                for place, level in enumerate(levels)
                if level is not None
            ]
            streams = {"deft": ("structure", "texture", "motion", "structure + texture + motion"), "rgb-only": ("rgb",)}
            asked += [
                (name, 0.0, one, skill)
                for name, skill in ((versions.FACE, 0.9), (versions.MOTION, 0.2), (versions.CLIP, 0.1))
                for one in ("", *streams.get(system, ()))
            ]
            for nuisance, level, one, skill in asked:
                said = row["emotion"] if generator.random() < skill else str(generator.choice(facs.EMOTIONS))
                about = {"nuisance": nuisance, "level": level, "streams": one, "prediction": said, "scores": {}}
                lines.append(common | about)
    runtime.write_jsonl(work / "robustness.jsonl", lines)


def _probes(generator):
    """T5 as 09 writes it."""
    rows = [
        {
            "what": "probe",
            "expert": expert,
            "factor": factor,
            "metric": "R²",
            "value": v,
            "low": v - 0.1,
            "high": v + 0.1,
        }
        | {"chance": -0.2, "kind": "simulated"}
        for expert in ("structure", "texture", "motion", "rgb")
        for factor, v in zip(probes.FACTORS, generator.uniform(-0.3, 0.9, len(probes.FACTORS)))
    ]
    rows += [
        {"what": "dependence", "expert": pair, "factor": "dependence", "metric": metric, "value": 0.3, "low": 0.2}
        | {"high": 0.4, "chance": 0.05, "p": 0.01, "kind": "simulated"}
        for pair in ("structure + texture", "structure + motion", "texture + motion")
        for metric in ("CKA", "HSIC")
    ]
    return pd.DataFrame(rows)


def _histories(work, generator):
    def curve(n, start):
        return start * np.exp(-np.arange(n) / n * 2) + generator.uniform(0, 0.05, n)

    for name, measure in (("structure", "landmark_px"), ("texture", "auroc"), ("motion", "auroc"), ("rgb", "auroc")):
        runtime.write_json(
            work / "experts" / name / "history.json",
            [
                {"epoch": i + 1, "seconds": 1.0, "units": a, "regions": b, "score": a, measure: 1 - a}
                for i, (a, b) in enumerate(zip(curve(12, 1.0), curve(12, 1.2)))
            ],
        )
    runtime.write_json(
        work / "mllm" / "base" / "history.json", {"settings": {}, "soft_from": 60, "loss": curve(90, 4.0)}
    )
    for system in ("deft", "rgb-only"):
        for fold in range(3):
            runtime.write_json(
                work / "mllm" / "runs" / system / "seed0" / f"fold{fold}" / "history.json",
                {"curve": [{"loss": a, "text": a / 2, "emotion": b} for a, b in zip(curve(80, 2.0), curve(80, 1.0))]},
            )


def _tables(profile, generator):
    rows = [
        dict(
            kind="simulated",
            set="bench",
            system=s,
            condition=c,
            uf1=v,
            uf1_low=v - 0.05,
            uf1_high=v + 0.05,
            **({} if s == "deft" else dict(deft_minus=0.8 - v, deft_minus_low=0.75 - v, deft_minus_high=0.85 - v)),
        )
        for s, pair in dict(
            deft=(0.78, 0.8),
            **{"rgb-only": (0.5, 0.2), "lr-flow": (0.76, 0.7), "lr-pixels": (0.6, 0.2), "majority": (0.1, 0.09)},
        ).items()
        for c, v in zip(("kept", "broken"), pair)
    ]
    path = paths.figures(profile) / "tables" / "T2.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)
    _probes(generator).to_csv(path.with_name("T5.csv"), index=False)
    tables.t5b(profile).to_csv(path.with_name("T5b.csv"), index=False)
