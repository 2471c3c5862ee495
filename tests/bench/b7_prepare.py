"""B7: preparing recorded clips of 100 frames at 224 px from pictures on disk, as a large licensed set would be: time
and memory.

A slice is prepared in a process of its own, once with 4 and once with 12 clips: memory must not grow with the number of
clips. The hours of 8,000 clips are the slice's time extended; nothing of that size was run."""

import json
import tempfile
from pathlib import Path

import cv2

from deft.clips import simulator
from tests.bench import child, rows

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
print(json.dumps({"seconds": seconds / len(clips), "gib": runtime.peak_memory_gib()}))
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
        slices = {f"{count} clips": ("-c", CHILD, folder, str(count)) for count in SLICES}
        rounds = [
            {arm: json.loads(child(*words).splitlines()[-1]) for arm, words in slices.items()} for _ in range(ROUNDS)
        ]
    small, large = slices
    times, memory = ({arm: [one[arm][of] for one in rounds] for arm in slices} for of in ("seconds", "gib"))
    hours = {f"{WHOLE} clips": [WHOLE * seconds / 3600 for seconds in times[large]]}
    return [
        *rows("B7", f"time of a clip of {FRAMES} frames at {SIDE} px (s)", times),
        *rows("B7", f"time at the rate of {large} (h)", hours),
        *rows("B7", "peak memory of a worker (GiB)", memory, {large: "median <= 2"}),
    ]
