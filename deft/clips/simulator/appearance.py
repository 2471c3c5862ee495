"""What a face looks like at rest: the layers of one identity, drawn once, 2x supersampled, and filmed from then on.

Its parts are painted by `form`, `skin`, `furrows`, `eyes`, `hair` and `behind`, on one `canvas`
(docs/method.md#simulated-faces, point 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

from deft.clips.simulator import cues, pose
from deft.clips.simulator.behind import Behind
from deft.clips.simulator.canvas import SUPER, rgba
from deft.clips.simulator.identity import Geometry
from deft.clips.simulator.motion import Fields, smoothstep
from deft.clips.simulator.person import Identity
from deft.clips.simulator.shapes import box_of, pair
from deft.clips.simulator.skin import Skin

LENS_SIGMA = 0.42  # px of the image
# Whose surface is seen at a pixel. SKIN is split into sheets only where the mouth can open.
BACKGROUND, UNDER, EYES, SKIN_UPPER, SKIN_LOWER, FRONT = range(6)


@dataclass(frozen=True)
class Layers:
    """Drawn layers of one identity. n = SUPER * size; all RGBA are premultiplied float32 0..255 with alpha 0..1."""

    background: np.ndarray  # (n, n, 4), opaque, does not move with the head
    under: np.ndarray  # (n, n, 4): hair behind, neck, ears, mouth interior; opened eyes are painted on top of it
    eyes: np.ndarray  # (n, n, 4): sclera and corners
    iris: np.ndarray  # (n, n, 4): iris, pupil
    gloss: np.ndarray  # (n, n, 4): catchlight and the lids' shadow, over the iris
    lid: np.ndarray  # (n, n, 3): skin of a closing lid, over the eyes alone
    lid_height: np.ndarray  # (n, n): 0 at the upper lid margin, 1 at the lower, < 0 or > 1 outside the eye
    sheets: np.ndarray  # (2, n, n, 4): skin above and below the lip line, with holes for the eyes
    front: np.ndarray  # (n, n, 4): hair in front, glasses
    furrows: np.ndarray  # (10, n, n): relative change of skin brightness at depth 1
    cut: np.ndarray  # (size, size): 1 near the lip line inside the mouth, at 1x
    cues: tuple[cues.Cue, ...] = ()
    relief: np.ndarray | None = None  # (size, size): height over the eyes in px, where the head may turn

    @cached_property
    def skin_cover(self) -> np.ndarray:
        """Coverage by skin of either sheet, (n, n)."""
        return np.maximum(self.sheets[0, ..., 3], self.sheets[1, ..., 3])

    @cached_property
    def boxes(self) -> dict[int, np.ndarray]:
        """By surface, farthest first: the box ((left, top), (right, bottom)) in px outside which its layer is empty.

        The end is excluded, a px of margin included. UNDER has the eyes painted on it. A layer that is empty everywhere
        has no box.
        """
        upper, lower = self.sheets
        shown = {UNDER: np.maximum(self.under, self.eyes), SKIN_LOWER: lower, SKIN_UPPER: upper, FRONT: self.front}
        found = {}
        for surface, layer in shown.items():
            rows, columns = box_of((layer != 0).any(-1))
            if rows.stop:
                found[surface] = np.clip(
                    [(columns.start - 1, rows.start - 1), (columns.stop + 1, rows.stop + 1)], 0, len(layer)
                )
        return found


class Painter(Skin, Behind):
    """Draws `Layers` for one identity; the parts share the grid and the fields that several of them need."""

    def paint(self) -> Layers:
        """All layers of the identity."""
        g = self.g
        lit, furrows = self.skin()
        painted = cues.paint(self, lit)
        front, shadow = self.front()
        cast, head = box_of(shadow), self.head
        lit[cast] = lit[cast] * (1 - shadow[cast])[..., None] + lit[cast] * shadow[cast][..., None] * np.array(
            [0.40, 0.34, 0.34]
        )
        below = self.y - g.lip_line(self.x)
        reach = smoothstep(
            0.75, 1.0, self.ax / g.mouth_half
        )  # beyond the corners both sheets overlap, so that no seam shows
        alpha_upper = head * self.cover(below) * (1 - self.eye_hole)
        # The lower sheet starts a little above the line, dark: the inner side of the lower lip.
        alpha_lower = head * self.cover(-(below + 0.010 + 0.10 * reach))
        # A closing lid shows smooth skin like that between eye and brow, rounded by the eyeball.
        above = self.blur(lit.astype(np.float32), 0.03)[
            np.clip((np.arange(self.n) - 0.095 / self.pixel).astype(int), 0, None)
        ]
        sclera, iris, gloss = (lens(layer) for layer in self.eyes())
        lid = rgba(
            above * (0.80 + 0.22 * pair(self.x, self.y, g.eye_x, -0.01, 0.09, 0.045))[..., None], sclera[..., 3] != 0
        )[..., :3]
        fields = Fields(g)
        x1, y1 = g.grid()
        cut = (fields.cut(x1) > 0) & (np.abs(y1 - g.lip_line(x1)) < 0.10)
        skin = rgba(lit, head != 0)
        sheets = np.stack(
            [lens(np.dstack([skin[..., :3] * a[..., None], a]).astype(np.float32)) for a in (alpha_upper, alpha_lower)]
        )
        return Layers(
            background=self.background(),
            under=lens(self.under()),
            eyes=sclera,
            iris=iris,
            gloss=gloss,
            lid=lid,
            lid_height=self.eye_height,
            sheets=sheets,
            front=lens(front),
            furrows=furrows,
            cut=cut,
            cues=painted,
            relief=self.relief() if "pose" in self.who.devices else None,
        )

    def relief(self) -> np.ndarray:
        """Height over the eyes in px, (size, size): what a turn of the head shifts."""
        height = pose.relief(self.blur(self.height, 0.03), self.y, self.eye_hole > 0.5)
        size = self.who.size
        return self.g.scale * cv2.resize(height, (size, size), interpolation=cv2.INTER_AREA)


def lens(layer: np.ndarray) -> np.ndarray:
    """The blur of a good lens on a premultiplied layer. Texture finer than a pixel would alias, and no flow explains
    aliasing.
    """
    return cv2.GaussianBlur(layer, (0, 0), LENS_SIGMA * SUPER)


@dataclass(frozen=True)
class Face:
    """An identity ready to be filmed."""

    identity: Identity
    geometry: Geometry
    layers: Layers
    fields: Fields


@lru_cache(maxsize=3)  # about 20 MB each at 128 px; clips of one subject come in a row
def face_of(identity: Identity) -> Face:
    """The layers, geometry and displacement fields of an identity; the last three asked for are kept."""
    cv2.setNumThreads(1)
    geometry = Geometry(identity)
    return Face(identity, geometry, Painter(identity, geometry).paint(), Fields(geometry))
