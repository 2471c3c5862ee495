"""Stage 02 for a whole set: clips as the store has them -> aligned frames, landmarks and matrices under
`faces/<set>/`.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from deft import runtime
from deft.clips.keyframes import shown
from deft.clips.store import ClipStore
from deft.faces import align


def align_set(clips: Path, out: Path) -> dict[str, tuple[int, ...]]:
    """Align every clip of the store in folder `clips` and write gray, rgb, landmarks and matrix (.npy) to folder `out`.

    One matrix (2, 3) per clip, from its onset landmarks. gray (N, T, 128, 128) and rgb (N, 3, 128, 128, 3; onset, apex,
    hold) are uint8, landmarks (N, 68, 2) aligned px. Arrays are written clip by clip into memory-mapped files: memory
    holds one subject. Returns {name: shape}. Raises ValueError, naming the clip, where no alignment can be fitted."""
    cv2.setNumThreads(1)
    store = ClipStore(clips)
    landmarks = store.array("landmarks")
    count = len(landmarks)
    with ExitStack() as files:

        def create(name, shape, dtype):
            path = files.enter_context(runtime.atomic(out / f"{name}.npy"))
            return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

        gray = rgb = None
        moved, matrices = create("landmarks", (count, 68, 2), np.float32), create("matrix", (count, 2, 3), np.float32)
        clips = (
            pair for rows, (frames,) in store.stream("frames") for pair in zip(range(rows.start, rows.stop), frames)
        )
        for row, clip in runtime.bar(clips, count, f"{out.name} faces", "clip"):
            if gray is None:
                gray = create("gray", (count, len(clip), align.SIZE, align.SIZE), np.uint8)
                rgb = create("rgb", (count, 3, align.SIZE, align.SIZE, 3), np.uint8)
            try:
                face = align.align_clip(clip, landmarks[row])
            except ValueError as error:
                raise ValueError(f"clip {store.index['clip'][row]}: {error}") from error
            gray[row], rgb[row] = face.gray, face.rgb[shown(len(clip))]  # onset, apex, hold
            moved[row], matrices[row] = face.landmarks, face.matrix
        arrays = {"gray": gray, "rgb": rgb, "landmarks": moved, "matrix": matrices}
        for array in arrays.values():
            array.flush()
        return {name: array.shape for name, array in arrays.items()}
