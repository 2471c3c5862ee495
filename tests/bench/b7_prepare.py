"""B7: preparing recorded clips of 100 frames at 224 px from pictures on disk, as a large licensed set would be: rate
and memory.

A slice is prepared in a process of its own, once with 4 and once with 12 clips: memory must not grow with the number of
clips. The hours of 8,000 clips are the slice's rate extended; nothing of that size was run."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2

from deft import paths
from deft.clips import simulator
from tests.bench import row

FRAMES, SIDE, ROUNDS, SLICES, WHOLE = 100, 224, 3, (4, 12), 8000
CHILD = """
import json, sys, tempfile, time
from pathlib import Path
from deft import runtime
from deft.clips import read
from deft.motion import prepare
clips, report = read("csv", sys.argv[1])
clips = clips[:int(sys.argv[2])]
with tempfile.TemporaryDirectory() as out:
    began = time.perf_counter()
    table = prepare.prepare(clips, Path(out))
    seconds = time.perf_counter() - began
if (table["error"] != "").any():
    raise RuntimeError(table["error"].max())
print(json.dumps({"rate": len(clips) / seconds, "gib": runtime.peak_memory_gib()}))
"""


def _write(folder: Path, count: int) -> None:
    """`count` clips of two simulated people as folders of JPEG pictures, and the sheet that names them."""
    takes = [
        simulator.render(person, {"12": 0.3, "6": 0.2}, size=SIDE, frames=FRAMES, fps=200.0, seed=person)
        for person in (3, 8)
    ]
    rows = ["subject,filename,onset,apex,offset,emotion,action_units,fps"]
    for number in range(count):
        take, name = takes[number % 2], f"s{number:02d}/c{number:02d}"
        (folder / name).mkdir(parents=True)
        for t, frame in enumerate(take.frames):
            cv2.imwrite(str(folder / name / f"{t:04d}.jpg"), frame[..., ::-1])
        rows.append(
            f"s{number:02d},c{number:02d},{take.onset},{take.apex},{min(take.offset, FRAMES - 1)},happiness,6+12,200"
        )
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")


def measure() -> list[dict]:
    with tempfile.TemporaryDirectory(prefix="deft-bench-") as folder:
        _write(Path(folder), max(SLICES))
        found = {count: [] for count in SLICES}
        for _ in range(ROUNDS):
            for count in SLICES:
                done = subprocess.run(
                    [sys.executable, "-c", CHILD, folder, str(count)], cwd=paths.ROOT, capture_output=True, text=True
                )
                if done.returncode:
                    raise RuntimeError(f"preparing {count} clips failed:\n{done.stderr[-2000:]}")
                found[count].append(json.loads(done.stdout.splitlines()[-1]))
    small, large = (found[count] for count in SLICES)
    return [
        row("B7", f"prepare, {FRAMES} frames at {SIDE} px", [r["rate"] for r in large], "clips/s"),
        row("B7", f"{WHOLE} such clips at this rate", [WHOLE / r["rate"] / 3600 for r in large], "h"),
        row("B7", f"peak memory, {SLICES[1]} clips", [r["gib"] for r in large], "GiB", "2 GiB a worker"),
        row(
            "B7",
            f"peak memory, {SLICES[1]} clips / {SLICES[0]} clips",
            [a["gib"] / b["gib"] for a, b in zip(large, small)],
            "ratio",
        ),
    ]
