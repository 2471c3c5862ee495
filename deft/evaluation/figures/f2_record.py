"""F2: how one Uni-MER record is made, for the clip that is followed through all notebooks (claims C2 and C3).

A strip of its frames with the courses of the regions that the record speaks of, then motion of all regions on the face,
then a probability per unit beside what was annotated and what truly moved, then a verdict per unit and side, then
sentences that state no more than the verdicts allow."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.figure import Figure

from deft import drawing as draw
from deft import paths, runtime
from deft.clips import facs, keyframes
from deft.clips.story import story
from deft.evaluation.figures import data
from deft.faces import regions
from deft.unimer.check import Evidence

VERDICTS = {
    "confirmed": ("✓", draw.BLUE, "annotated, measured"),
    "unsupported": ("✗", draw.RED, "annotated, not measured"),
    "contradicted": ("⇄", draw.PINK, "annotated, reversed"),
    "unannotated": ("+", draw.ORANGE, "measured, not annotated"),
}
KINDS = ("motion", "units", "reasoning")  # of the record's questions, those the figure prints
MOST = 8  # verdicts printed; more are counted
SIDES = {"L": "left", "R": "right"}
HEIGHT = 7.1  # inches
MOMENTS = {0: "onset", keyframes.APEX: "apex", keyframes.HOLD: "hold", keyframes.COUNT - 1: "offset"}


def f2(profile: str) -> tuple[Figure, str]:
    """The five steps from frames to sentences, on one clip; and what is found."""
    table = data.index(profile)
    row = story(data.clips(profile))
    clip = data.pictures(profile, table, row)
    probability = np.asarray(data.array(profile, "evidence", "probability", "04_evidence")[row])
    moved = data.truth(profile, [row], "units_true")[0]
    records = [
        r
        for r in runtime.read_jsonl(data.need(paths.work(profile) / "unimer" / "bench.jsonl", "05_uni_mer"))
        if r["clip"] == clip.row["clip"]
    ]
    if not records:
        raise data.FigureError(
            f"unimer/bench.jsonl has no record of clip {clip.row['clip']}; run notebook 05_uni_mer again"
        )
    verdicts, stated = records[0]["verdicts"], next((r["evidence"] for r in records if r["kind"] == "motion"), [])
    with draw.style():
        fig = draw.canvas(HEIGHT)
        _step(
            fig, 0.02, 6.98, 1, "frames from onset to offset, and the motion of the regions that the record speaks of"
        )
        frames = data.array(profile, "faces", "gray", "02_faces")[row]
        each = 6.56 / len(frames)
        for t, frame in enumerate(frames):
            draw.show_face(
                _axes(fig, 0.5 + each * t, 6.7 - each, each - 0.03, each - 0.03),
                np.asarray(frame),
                MOMENTS.get(t, "") if len(frames) == keyframes.COUNT else "",
            )
        ax = _axes(fig, 0.5, 4.8, 6.56, 1.06)
        _courses(
            ax,
            np.asarray(data.array(profile, "motion", "courses", "03_motion")[row], np.float32)[..., :2],
            clip,
            stated,
        )
        _step(fig, 0.02, 4.38, 2, "all regions at the peak")
        ax = _axes(fig, 0.02, 1.72, 1.88, 2.5)
        speed = np.linalg.norm(clip.motion, axis=-1)
        told = np.where(speed >= Evidence(noise=clip.noise).threshold_px, speed, 0)
        regions.chart(
            told,
            clip.landmarks,
            ax,
            cmap="PuOr",
            image=clip.rgb[0],
            vectors=clip.motion * (told > 0)[:, None],
            scale=24,
        )
        ax.set_xlabel(f"tinted: moved enough to be\nstated, up to {speed.max():.2f} px", fontsize=draw.SMALLEST)
        _step(fig, 2.0, 4.38, 3, "probability per unit and side")
        ax = _axes(fig, 3.32, 1.75, 1.15, 2.48)
        draw.unit_chart(ax, probability, data.annotated(clip.row), moved)
        ax.set_xlabel("")
        draw.unit_legend(
            fig,
            loc="lower left",
            bbox_to_anchor=(1.95 / draw.WIDTH, 1.13 / HEIGHT),
            ncols=3,
            columnspacing=1,
            handlelength=1.2,
            handletextpad=0.5,
        )
        _step(fig, 4.72, 4.38, 4, "verdicts")
        _verdicts(fig, 4.82, 4.22, verdicts, moved)
        _step(fig, 0.02, 1.04, 5, "sentences that state no more")
        _sentences(fig, 0.22, 0.89, records)
    right = sum(
        (v["verdict"] in ("confirmed", "unannotated"))
        == bool(moved[facs.UNIT_INDEX[v["unit"]], facs.SIDES.index(v["side"])] > 0)
        for v in verdicts
    )
    kinds = ", ".join(
        f"{sum(v['verdict'] == kind for v in verdicts)} {kind}"
        for kind in VERDICTS
        if any(v["verdict"] == kind for v in verdicts)
    )
    return (
        fig,
        (
            f"Clip {clip.row['clip']}, {clip.row.emotion}, annotated {clip.row.units or 'nothing'}:"
            f" {kinds or 'no verdict'}, counted per unit and side; {right} of {len(verdicts)} verdicts agree with what"
            " truly moved."
        ),
    )


def _axes(fig, x, y, width, height):
    """Axes in inches from the lower left corner."""
    return fig.add_axes([x / draw.WIDTH, y / HEIGHT, width / draw.WIDTH, height / HEIGHT])


def _text(fig, x, y, words, **look):
    """Words whose top left corner is at x, y in inches."""
    fig.text(x / draw.WIDTH, y / HEIGHT, words, **{"fontsize": draw.SMALLEST, "va": "top", **look})


def _step(fig, x, y, number, words):
    _text(
        fig,
        x + 0.04,
        y,
        f"{number}",
        color="white",
        weight="bold",
        bbox=dict(boxstyle="circle,pad=0.2", fc=draw.INK, ec="none"),
        va="center",
    )
    _text(fig, x + 0.2, y, words, fontsize=8, weight="bold", va="center")


def _courses(ax, courses, clip, stated):
    """Motion of the stated regions along their own direction at the peak, under the frames at which it was measured.
    courses: (T-1, 36, 2) px.
    """
    ax.axhspan(-clip.noise, clip.noise, color="#DDDDDD", lw=0, zorder=0)
    ax.axhline(Evidence(noise=clip.noise).threshold_px, color=draw.GREY, lw=0.7, ls=(0, (2, 2)))
    looks = dict(zip(dict.fromkeys(e["region"] for e in stated), ("-", "--", ":", "-.")))
    for region, side in dict.fromkeys((e["region"], e["side"]) for e in stated if e["region"] in looks):
        i = facs.REGION_INDEX[region, side if side in facs.SIDES else ""]
        along = courses[:, i] @ (clip.motion[i] / max(np.linalg.norm(clip.motion[i]), 1e-6))
        ax.plot(
            np.arange(len(courses) + 1),
            [0, *along],
            ls=looks[region],
            color=draw.RIGHT if side == "R" else draw.LEFT,
            lw=1.2,
            marker=".",
            ms=4,
            label=f"{SIDES.get(side, '')} {region.replace('_', ' ')}".strip(),
        )
    ax.set(xlim=(-0.5, len(courses) + 0.5), xticks=(), ylabel="motion, px")
    if looks:
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=6, columnspacing=1, handlelength=2, handletextpad=0.4
        )


def _verdicts(fig, x, y, rows, moved):
    """One line per unit and side that was annotated or moved; the truth beside it, since the clip is simulated."""
    if not rows:
        _text(fig, x, y, "nothing annotated, nothing measured")
    for v in rows[:MOST]:
        mark, colour, _ = VERDICTS[v["verdict"]]
        true = moved[facs.UNIT_INDEX[v["unit"]], facs.SIDES.index(v["side"])] > 0
        _text(fig, x, y, mark, color=colour, fontsize=9, weight="bold", ha="center")
        _text(fig, x + 0.12, y, f"{v['unit']} {facs.NAMES[v['unit']]}, {SIDES[v['side']]}")
        _text(
            fig,
            x + 0.12,
            y - 0.115,
            f"{v['verdict']}, p = {v['probability']:.2f}; truth: {'moved' if true else 'still'}",
            color=draw.GREY,
        )
        y -= 0.27
    if len(rows) > MOST:
        _text(fig, x + 0.12, y, f"and {len(rows) - MOST} more", color=draw.GREY)
    for i, (name, (mark, colour, words)) in enumerate(
        VERDICTS.items()
    ):  # the key, whether or not this clip has all four
        _text(fig, x, 1.68 - 0.125 * i, mark, color=colour, weight="bold", va="center", ha="center")
        _text(fig, x + 0.12, 1.68 - 0.125 * i, f"{name}: {words}", color=draw.GREY, va="center")


def _sentences(fig, x, y, records):
    for kind in KINDS:
        record = next((r for r in records if r["kind"] == kind), None)
        if record is not None:
            _text(fig, x, y, record["question"], color=draw.GREY, style="italic")
            answer = textwrap.wrap(record["answer"], 88)[:3]
            _text(fig, x + 1.77, y, "\n".join(answer), linespacing=1.15)
            y -= 0.125 * len(answer) + 0.03
