"""What is measured on a clip without annotation and without any trained network: moments, motion, evidence per unit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit, logit

from deft.clips import keyframes
from deft.clips.facs import NAMES, SIDES, UNITS
from deft.clips.footage import Footage, Frames
from deft.faces import landmarks
from deft.faces.mesh import Mesh
from deft.faces.regions import region_rows
from deft.motion import courses, evidence, stillness
from deft.motion.locate import ClipError, Located, check_inside, check_order, locate
from deft.motion.moments import RULE, Moments
from deft.unimer.check import UNIT_THRESHOLD, Evidence

FPS = (1, 10_000)  # frame rates that are believed, 1/s
SIDE = {"L": "left", "R": "right", "": "middle"}


@dataclass(frozen=True)
class Measurement:
    """One clip as the later stages take it. keys: its nine frames (`deft.clips.keyframes`); described:
    `courses.measure_clip` of them; probability: (17, 2) of the evidence; calibrated: in words, how it came about;
    notes: what the reader must know."""

    face: Located
    when: Moments
    keys: tuple[int, ...]
    described: dict[str, np.ndarray]
    probability: np.ndarray
    calibrated: str
    notes: tuple[str, ...]

    @property
    def shown(self) -> list[int]:
        """The numbers of onset, apex and hold."""
        return [self.keys[position] for position in keyframes.shown(len(self.keys))]

    @property
    def motion(self) -> np.ndarray:
        """(36, 2) px per region, mean of apex and hold."""
        return keyframes.peak_mean(self.described["courses"])[..., :2]

    @property
    def noise(self) -> float:
        """The clip's noise floor, px."""
        return float(self.described["noise"])

    @property
    def moving(self) -> bool:
        """Does anything move on the face (`deft.motion.stillness`)?"""
        whole = self.when.apex < self.when.offset
        return bool(stillness.moves(self.described["courses"], self.noise, whole))

    @property
    def evidence(self) -> Evidence:
        """The measurements that statements of a text are compared with."""
        return Evidence(self.motion, self.noise, self.probability)

    def regions(self) -> list[dict]:
        """One row per region from forehead to jaw: its vector on each side, and whether it is enough for a
        statement.
        """
        needed, motion = self.evidence.threshold_px, self.motion
        return [
            {
                "region": name,
                **{
                    side: {
                        "u_px": float(motion[i, 0]),
                        "v_px": float(motion[i, 1]),
                        "moves": bool(np.linalg.norm(motion[i]) >= needed),
                    }
                    for side, i in ((("right", right), ("left", left)) if right != left else (("middle", left),))
                },
            }
            for name, right, left in region_rows()
        ]

    def because(self, row: dict) -> list[dict]:
        """What was measured for the unit and side of a row of `unit_rows`, most telling region first."""
        found = evidence.unit_rows(self.described["courses"], self.noise, row["unit"], row["side"][0].upper())
        return [
            {"region": r.region.replace("_", " "), "side": SIDE[r.side], "direction": r.direction, "px": r.px, "z": r.z}
            for r in found
        ]

    def report(self) -> dict:
        """Everything in plain rows: moments, noise_px, moving, regions, evidence (per unit and side, with what speaks
        for those that moved).
        """
        return {
            "moments": {
                "onset": self.when.onset,
                "apex": self.when.apex,
                "offset": self.when.offset,
                "found": list(self.when.found),
                "rule": RULE,
                "energy_px": self.when.energy.round(4).tolist(),
                "key_frames": list(self.keys),
            },
            "noise_px": self.noise,
            "moving": self.moving,
            "regions": self.regions(),
            "evidence": {
                "note": self.calibrated,
                "threshold": UNIT_THRESHOLD,
                "all": unit_rows(self.probability),
                "moved": [{**row, "rows": self.because(row)} for row in unit_rows(self.probability, UNIT_THRESHOLD)],
            },
        }


def measure(
    frames: Footage | Frames,
    fps: float,
    onset: int | None = None,
    apex: int | None = None,
    offset: int | None = None,
    csv: Path | None = None,
    cascade: landmarks.Cascade | Mesh | None = None,
    calibration: evidence.Calibration | None = None,
) -> Measurement:
    """Find the face and the moments that are not given, and measure the motion. Frame numbers count from 0; fps: 1/s.

    csv: landmarks of another detector; cascade: landmark regressor of stage 02, or the optional `deft.faces.mesh`;
    calibration: of the evidence, stage 04 (without it
    the probabilities are an order only). Raises ClipError, FaceError or FootageError with a remedy."""
    if not FPS[0] <= fps <= FPS[1]:
        raise ClipError(f"FPS {fps:g} is no frame rate: give frames per second, from {FPS[0]} to {FPS[1]}")
    check_order(onset, apex, offset)
    check_inside(len(frames), onset=onset, apex=apex, offset=offset)
    face, when, notes = locate(frames, fps, onset, apex, offset, csv, cascade)
    keys = keyframes.key_frames(when.onset, when.apex, when.offset, cut_off=True)
    described = courses.measure_clip(face.gray[list(keys)], face.landmarks)
    raw = evidence.score(described["courses"], float(described["noise"]))
    if calibration is None:
        probability, calibrated = (
            expit(np.clip(raw + logit(evidence.PRESENT), -30, 30)),
            "NOT calibrated (04_evidence was not run): read the bars as an order, not as probabilities.",
        )
    else:
        probability, calibrated = (
            calibration.apply(raw),
            f"Calibrated on simulated subjects ({calibration.source}; {calibration.clips} clips).",
        )
    return Measurement(
        face,
        when,
        keys,
        described,
        probability,
        f"Agreement of the regions with each unit's expected direction. {calibrated}",
        tuple(notes),
    )


def unit_rows(probability: np.ndarray, threshold: float = 0.0) -> list[dict]:
    """(17, 2) -> [{unit, side, name, probability}] at or above the threshold, most probable first."""
    rows = [
        {"unit": unit, "side": SIDE[side], "name": NAMES[unit], "probability": float(probability[u, s])}
        for u, unit in enumerate(UNITS)
        for s, side in enumerate(SIDES)
        if probability[u, s] >= threshold
    ]
    return sorted(rows, key=lambda row: -row["probability"])
