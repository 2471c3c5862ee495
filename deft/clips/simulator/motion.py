"""What moves: action units as smooth displacement fields, and when: the time course of a micro-movement.

The anchor table is authored from general FACS knowledge, not fitted to data, and it is independent of
`deft.clips.facs.EXPECTED`, which later stages test against (docs/method.md#action-units-and-regions). A face is two
sheets of skin that are cut along the lip line: at the cut a unit may move one lip and not the other (parting lips are a
true discontinuity); beyond the mouth corners both sheets have the same field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deft.clips.facs import FURROWS, SIDES, UNIT_INDEX, UNITS
from deft.clips.simulator import idle, pull
from deft.clips.simulator.identity import Geometry

UPPER, LOWER = 0, 1  # the two sheets
BLINK = "blink"  # moves skin as a unit does


@dataclass(frozen=True)
class Anchor:
    """One Gaussian blob: (outward, down) at `place`, thousandths of a face unit at intensity 1; widths in face
    units.
    """

    place: str
    outward: float
    down: float
    wide: float
    above: float  # width towards smaller y
    below: float
    sheet: str = "B"  # B both, U the upper lip's side of the cut, L the lower lip's


def _a(place, outward, down, wide, above, below=None, sheet="B"):
    return Anchor(place, outward, down, wide, above, above if below is None else below, sheet)


# Amplitudes and widths are chosen by eye, and so that every unit keeps a positive Jacobian at intensity 1.
ANCHORS: Mapping[int | str, tuple[Anchor, ...]] = {
    BLINK: (
        _a("upper_lid", 0, 22, 0.090, 0.055),
        _a("lower_lid", 0, -7, 0.090, 0.050),
    ),  # skin that a closing lid takes along
    1: (_a("brow_inner", 0, -105, 0.105, 0.200, 0.095),),
    2: (_a("brow_outer", 10, -100, 0.115, 0.180, 0.095),),
    4: (_a("brow_inner", -50, 65, 0.095, 0.120, 0.090), _a("brow_mid", -25, 35, 0.110, 0.120, 0.085)),
    5: (_a("upper_lid", 0, -50, 0.085, 0.060, 0.050),),
    6: (
        _a("cheek", -12, -65, 0.140, 0.110, 0.130),
        _a("outer_canthus", -45, 0, 0.085, 0.090),
        _a("lower_lid", 0, -20, 0.100, 0.050, 0.060),
    ),
    7: (_a("lower_lid", -6, -36, 0.100, 0.050, 0.065), _a("upper_lid", 0, 18, 0.090, 0.050)),
    9: (
        _a("nose_side", -8, -70, 0.075, 0.120),
        _a("upper_lip", 0, -40, 0.085, 0.085, sheet="U"),
        _a("brow_inner", -12, 35, 0.090, 0.100, 0.090),
    ),
    10: (_a("upper_lip", 0, -70, 0.100, 0.110, sheet="U"), _a("nasolabial", 10, -45, 0.085, 0.110)),
    12: (_a("corner", 85, -75, 0.125, 0.120), _a("cheek_low", 15, -45, 0.130, 0.120)),
    14: (_a("corner", 50, -4, 0.090, 0.090), _a("corner_lateral", -35, 0, 0.080, 0.085)),
    15: (_a("corner", 12, 75, 0.105, 0.115), _a("chin_side", 0, 25, 0.100, 0.100, sheet="L")),
    17: (
        _a("chin", 0, -75, 0.150, 0.110, 0.120, sheet="L"),
        _a("lower_lip_mid", 0, -55, 0.130, 0.080, sheet="L"),
        _a("upper_lip_mid", 0, -15, 0.120, 0.060, sheet="U"),
    ),
    20: (_a("corner", 95, 15, 0.130, 0.110), _a("chin_side", 30, 0, 0.120, 0.110, sheet="L")),
    23: (
        _a("corner", -35, 0, 0.090, 0.080),
        _a("upper_lip_mid", 0, 22, 0.140, 0.055, sheet="U"),
        _a("lower_lip_mid", 0, -25, 0.140, 0.065, sheet="L"),
    ),
    24: (
        _a("upper_lip_mid", 0, 32, 0.150, 0.065, sheet="U"),
        _a("lower_lip_mid", 0, -35, 0.150, 0.075, sheet="L"),
        _a("corner", -12, 0, 0.080, 0.080),
    ),
    25: (
        _a("lower_lip_mid", 0, 60, 0.140, 0.110, 0.120, sheet="L"),
        _a("upper_lip_mid", 0, -12, 0.130, 0.070, sheet="U"),
    ),
    26: (_a("jaw", 0, 130, 0.360, 0.380, sheet="L"), _a("upper_lip_mid", 0, 30, 0.220, 0.130, 0.150, sheet="U")),
}

IDLE = {name: tuple(Anchor(*row) for row in rows) for name, rows in idle.ANCHORS.items()}
DRAG = tuple(Anchor(*row) for row in idle.DRAG)  # what a blink moves besides, with the device "idle"

# unit -> (furrow, amount at intensity 1); "_" stands for the side that moves. Own numbers, like the anchors.
UNIT_FURROWS = {
    1: (("forehead", 0.50),),
    2: (("forehead", 0.45),),
    4: (("glabella", 0.95), ("nose_root", 0.15)),
    6: (("crowsfeet_", 0.90),),
    7: (("crowsfeet_", 0.20),),
    9: (("nose_root", 1.0), ("nasolabial_", 0.25)),
    10: (("nasolabial_", 0.90),),
    12: (("nasolabial_", 0.75), ("corner_", 0.15)),
    14: (("corner_", 0.95),),
    15: (("corner_", 0.65),),
    17: (("chin", 1.0),),
    20: (("corner_", 0.55),),
}


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 up to `low`, 1 from `high` on, a cubic with flat ends between; falling where low > high."""
    x = np.clip((x - low) / (high - low), 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


# --- actions ----------------------------------------------------------------------------------------------------------
def parse_actions(actions: Mapping[str, float]) -> np.ndarray:
    """{"12L": 0.3, "4": 0.2} -> peak intensities (17, 2) float32; a key without a side moves both sides."""
    peak = np.zeros((len(UNITS), len(SIDES)), np.float32)
    seen = {}
    for key, value in actions.items():
        text = str(key).strip().upper()
        number, side = (text[:-1], text[-1]) if text[-1:] in SIDES else (text, "")
        if not number.isdigit() or int(number) not in UNIT_INDEX:
            raise ValueError(
                f"action {key!r}: not a unit of the simulator; units: {', '.join(map(str, UNITS))}, each alone (both"
                " sides) or with L or R, e.g. '12L'"
            )
        if not 0.0 <= float(value) <= 1.0:
            raise ValueError(f"action {key!r}: intensity {value!r} is outside 0..1")
        for s in (side,) if side else SIDES:
            if (number, s) in seen:
                raise ValueError(f"actions {seen[number, s]!r} and {key!r} both set unit {number}{s}; give it once")
            seen[number, s] = key
            peak[UNIT_INDEX[int(number)], SIDES.index(s)] = float(value)
    return peak


def furrow_amounts(intensities: np.ndarray) -> np.ndarray:
    """(T, 17, 2) intensities -> (T, 10) depth of the furrows, 0..1. A midline furrow takes the mean of both sides."""
    amounts = np.zeros((len(intensities), len(FURROWS)), np.float32)
    for unit, rows in UNIT_FURROWS.items():
        moved = intensities[:, UNIT_INDEX[unit]]  # (T, 2)
        for name, weight in rows:
            if name.endswith("_"):
                for s, side in enumerate(SIDES):
                    amounts[:, FURROWS.index(name + side)] += weight * moved[:, s]
            else:
                amounts[:, FURROWS.index(name)] += weight * moved.mean(axis=1)
    return np.clip(amounts, 0.0, 1.0)


# --- time -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Timing:
    """Onset, hold at the apex, offset in ms; `delays`: lag of each of the 17 units behind the onset, ms."""

    onset_ms: float = 130.0
    hold_ms: float = 40.0
    offset_ms: float = 170.0
    delays: tuple[float, ...] = ()

    def __post_init__(self):
        if min(self.onset_ms, self.offset_ms) <= 0 or self.hold_ms < 0:
            raise ValueError(
                f"onset {self.onset_ms} ms and offset {self.offset_ms} ms must be > 0, hold {self.hold_ms} ms >= 0"
            )
        if self.delays and (len(self.delays) != len(UNITS) or min(self.delays) < 0):
            raise ValueError(f"delays: one lag >= 0 ms for each of the {len(UNITS)} units, got {len(self.delays)}")

    @classmethod
    def sample(cls, generator: np.random.Generator, lag_ms: float = 10.0) -> Timing:
        """A natural time course: onset N(130, 40), hold Gamma(2, 20), offset N(170, 60) ms, clipped; <= 500 ms in all.

        The bounds are those of docs/method.md#simulated-faces, point 7. The lag between units is |N(0, lag_ms)|, at
        most 25 ms: we assume that muscles of one movement start together to within a few frames at 200 frames a second.
        """
        onset = float(np.clip(generator.normal(130, 40), 60, 250))
        hold = float(np.clip(generator.gamma(2, 20), 10, 120))
        offset = float(np.clip(generator.normal(170, 60), 60, 300))
        delays = np.clip(np.abs(generator.normal(0, 1, len(UNITS))) * lag_ms, 0, 25)
        offset = min(offset, 500.0 - onset - hold)
        return cls(onset, hold, max(offset, 60.0), tuple(float(d) for d in delays))

    @property
    def total_ms(self) -> float:
        """Duration of the whole movement, ms."""
        return self.onset_ms + self.hold_ms + self.offset_ms

    def envelope(self, times_ms: np.ndarray, delay: float = 0.0) -> np.ndarray:
        """(T,) in 0..1: smoothstep up from `delay` to onset_ms, hold, smoothstep down. A late unit rises faster, so
        that all share the apex.
        """
        t = np.asarray(times_ms, np.float64)
        delay = min(delay, 0.4 * self.onset_ms)
        start = self.onset_ms + self.hold_ms
        return (smoothstep(delay, self.onset_ms, t) * (1.0 - smoothstep(start, start + self.offset_ms, t))).astype(
            np.float32
        )

    def intensities(self, peak: np.ndarray, times_ms: np.ndarray) -> np.ndarray:
        """Peak (17, 2) -> (T, 17, 2) float32."""
        # Without delays one course, (T, 1), serves all units.
        courses = np.stack([self.envelope(times_ms, delay) for delay in (self.delays or (0.0,))], axis=1)
        return courses[:, :, None] * peak[None]


# --- space ------------------------------------------------------------------------------------------------------------
class Fields:
    """Displacement fields of an identity at 1x resolution, in px of its image, computed when first asked for."""

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        self._cache: dict[tuple, np.ndarray] = {}

    @cached_property
    def places(self) -> dict[str, tuple[float, float]]:
        """Places on the person's left, (x, y) in face units."""
        g = self.geometry
        bx, by, _ = g.brow(np.array([0.10, 0.48, 0.82]))
        return {
            "brow_inner": (bx[0], by[0]),
            "brow_mid": (bx[1], by[1]),
            "brow_outer": (bx[2], by[2]),
            "upper_lid": (g.eye_x, -g.eye_up - 0.005),
            "lower_lid": (g.eye_x - 0.01, g.eye_down + 0.015),
            "outer_canthus": (g.eye_x + g.eye_half + 0.05, 0.01),
            "cheek": (g.eye_x + 0.08, 0.24),
            "cheek_low": (g.eye_x + 0.09, 0.32),
            "nose_side": (0.72 * g.nose_half, g.nose_y - 0.17),
            "nasolabial": (g.nose_half + 0.06, g.nose_y + 0.01),
            "upper_lip": (0.085, g.mouth_y - 0.055),
            "upper_lip_mid": (0.0, g.mouth_y - 0.035),
            "lower_lip_mid": (0.0, g.mouth_y + 0.045),
            "corner": (g.mouth_half, g.mouth_y),
            "corner_lateral": (g.mouth_half + 0.18, g.mouth_y - 0.01),
            "chin_side": (0.20, g.mouth_y + 0.20),
            "chin": (0.0, g.chin_y - 0.14),
            "jaw": (0.0, g.chin_y - 0.08),
        }

    def anchors(self, unit: int | str) -> tuple[Anchor, ...]:
        """What a unit, BLINK or a movement of `idle` pulls at on this face."""
        who = self.geometry.identity
        if unit in IDLE:
            return IDLE[unit]
        if unit == BLINK:
            return ANCHORS[unit] + (DRAG if "idle" in who.devices else ())
        return pull.anchors(who, unit, ANCHORS[unit])

    def cut(self, x: np.ndarray) -> np.ndarray:
        """How far the sheets are independent at x: 1 in the middle of the mouth, 0 at the corners and beyond."""
        return np.clip(1.0 - (x / self.geometry.mouth_half) ** 2, 0.0, 1.0) ** 1.5

    def _sheet_weights(self, x: np.ndarray, y: np.ndarray) -> dict[str, tuple]:
        """Weight of an anchor's layer on the (upper, lower) sheet. Both agree where `cut` is 0."""
        below = smoothstep(-0.20, 0.20, y - self.geometry.lip_line(x))
        cut = self.cut(x)
        upper, lower = below * (1 - cut), 1 - (1 - below) * (1 - cut)
        return {"B": (1.0, 1.0), "L": (upper, lower), "U": (1 - upper, 1 - lower)}

    @cached_property
    def _grid_weights(self) -> dict[str, tuple]:
        """`_sheet_weights` of the picture's pixels."""
        return self._sheet_weights(*self.geometry.grid())

    def at(
        self,
        x: np.ndarray,
        y: np.ndarray,
        anchors: tuple[Anchor, ...],
        side: str,
        weights: dict[str, tuple] | None = None,
    ) -> np.ndarray:
        """Displacement of the points (x, y) by `anchors` of one side at intensity 1 -> (2 sheets, ..., 2) px.

        weights: the points' `_sheet_weights`, if they are known.
        """
        sign = 1.0 if side == "L" else -1.0
        # A partition of unity over the sides: what both sides move at the midline must not move twice.
        half = smoothstep(-0.09, 0.09, sign * x)
        weights = self._sheet_weights(x, y) if weights is None else weights
        out = np.zeros((2, *np.shape(x), 2), np.float32)
        for anchor in anchors:
            cx, cy = self.places[anchor.place]
            dy = y - cy
            tall = np.where(dy < 0, anchor.above, anchor.below)
            blob = (
                half
                * np.exp(-0.5 * (((sign * x - cx) / anchor.wide) ** 2 + (dy / tall) ** 2))
                * (1e-3 * self.geometry.scale)
            )
            for sheet in (UPPER, LOWER):
                moved = blob * weights[anchor.sheet][sheet]
                out[sheet, ..., 0] += sign * anchor.outward * moved
                out[sheet, ..., 1] += anchor.down * moved
        return out

    def unit(self, unit: int | str, side: str) -> np.ndarray:
        """Field of one unit or BLINK on one side at intensity 1: (2 sheets, H, W, 2) float32 px, canonical pose."""
        if ("grid", unit, side) not in self._cache:
            self._cache["grid", unit, side] = self.at(
                *self.geometry.grid(), self.anchors(unit), side, self._grid_weights
            )
        return self._cache["grid", unit, side]

    @cached_property
    def landmarks(self) -> np.ndarray:
        """The 68 points at rest, (68, 2) in face units."""
        return self.geometry.landmarks()

    def of_landmarks(self, unit: int | str, side: str) -> np.ndarray:
        """The same displacement of the 68 points alone: (2 sheets, 68, 2) float32 px."""
        if ("landmarks", unit, side) not in self._cache:
            self._cache["landmarks", unit, side] = self.at(*self.landmarks.T, self.anchors(unit), side)
        return self._cache["landmarks", unit, side]

    def total(
        self, intensities: np.ndarray, blink: float = 0.0, idly: Mapping[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """Sum over units: intensities (17, 2), idly: name -> amounts (2,) -> (2 sheets, H, W, 2) px."""
        n = self.geometry.identity.size
        out = np.zeros((2, n, n, 2), np.float32)
        for u, s in zip(*np.nonzero(intensities)):
            out += float(intensities[u, s]) * self.unit(UNITS[u], SIDES[s])
        if blink:
            for side in SIDES:
                out += blink * self.unit(BLINK, side)
        for name, amounts in (idly or {}).items():
            for side, amount in zip(SIDES, amounts):
                if amount:
                    out += float(amount) * self.unit(name, side)
        return out
