"""F2: how one Uni-MER record is made, for the clip that is followed through all notebooks (claims C2 and C3).

Frames, then motion per region against the noise floor, then a probability per unit beside what was annotated and what truly
moved, then a verdict per unit and side, then sentences that state no more than the verdicts allow.
"""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.figure import Figure

from deft import paths, runtime
from deft.clips import facs
from deft.clips.story import story
from deft import drawing as draw
from deft.evaluation.figures import data

VERDICTS = {"confirmed": ("✓", draw.BLUE, "annotated, and measured"), "unsupported": ("✗", draw.RED, "annotated, not measured"),
            "contradicted": ("⇄", draw.PINK, "annotated, measured the other way"), "unannotated": ("+", draw.ORANGE, "measured, not annotated")}
KINDS = ("motion", "units", "reasoning")   # of the record's questions, those the figure prints
MOST = 8       # verdicts printed; more are counted
SIDES = {"L": "left", "R": "right"}


def f2(profile: str) -> Figure:
    """The five steps from frames to sentences, on one clip."""
    table = data.index(profile)
    row = story(data.clips(profile))
    clip = data.pictures(profile, table, row)
    probability = np.asarray(data.array(profile, "evidence", "probability", "04_evidence")[row])
    moved = data.truth(profile, [row], "units_true")[0]
    region_true = np.asarray(data.array(profile, "motion", "region_true", "03_motion")[row])
    records = [r for r in runtime.read_jsonl(data.need(paths.work(profile) / "unimer" / "bench.jsonl", "05_uni_mer")) if r["clip"] == clip.row["clip"]]
    if not records:
        raise data.FigureError(f"unimer/bench.jsonl has no record of clip {clip.row['clip']}; run notebook 05_uni_mer again")
    limit = draw.flow_limit(clip.flow)
    with draw.style():
        fig = draw.canvas(12.6, 8.0)
        draw.heading(fig, "F2", f"Clip {clip.row['clip']} · annotated {clip.row.units or 'nothing'} · emotion {clip.row.emotion} · the clip that all notebooks follow.")
        for i, (picture, title) in enumerate(((clip.rgb[0], "onset"), (clip.rgb[1], "apex"), (draw.magnify(clip.rgb[0], clip.flow), f"motion ×{draw.MAGNIFY}"),
                                              (draw.flows.colour(clip.flow, limit), "flow"))):
            draw.show(fig.add_axes([0.012 + 0.132 * i, 0.655, 0.128, 0.2016]), picture, title)
        draw.show_wheel(fig.add_axes([0.545, 0.72, 0.055, 0.087]), limit)
        _step(fig, 0.012, 0.888, 1, "onset and apex; flow without the head's own motion")
        _step(fig, 0.66, 0.888, 2, "36 regions against the noise floor")
        ax = fig.add_axes([0.735, 0.485, 0.255, 0.375])
        draw.region_chart(ax, clip.motion, clip.noise, region_true)
        fig.text(0.735, 0.42, "grey band: noise floor · dashed: what a statement needs", fontsize=7, color=draw.GREY)
        fig.text(0.735, 0.402, "arrow: direction ·", fontsize=7, color=draw.GREY)
        fig.text(0.808, 0.402, "| true motion", fontsize=7, color=draw.ORANGE, weight="bold")
        _step(fig, 0.012, 0.585, 3, "evidence per unit and side")
        ax = fig.add_axes([0.052, 0.115, 0.215, 0.45])
        draw.unit_chart(ax, probability, data.annotated(clip.row), moved)
        draw.unit_legend(ax, loc="upper left", bbox_to_anchor=(-0.2, -0.1), ncols=3, columnspacing=1, handlelength=1.2, fontsize=7)
        _step(fig, 0.325, 0.585, 4, "verdicts")
        _verdicts(fig, 0.33, 0.55, records[0]["verdicts"], moved)
        _step(fig, 0.66, 0.37, 5, "sentences that state no more")
        _sentences(fig, 0.665, 0.338, records)
    return fig


def _step(fig, x, y, number, words):
    fig.text(x, y, f" {number} ", fontsize=9, weight="bold", color="white", bbox=dict(boxstyle="circle,pad=0.15", fc=draw.INK, ec="none"), va="center")
    fig.text(x + 0.022, y, words, fontsize=9.5, weight="bold", va="center")


def _verdicts(fig, x, y, rows, moved):
    """One line per unit and side that was annotated or moved; the truth beside it, since the clip is simulated."""
    if not rows:
        fig.text(x, y, "nothing annotated, nothing measured", fontsize=8.5)
    for v in rows[:MOST]:
        mark, colour, _ = VERDICTS[v["verdict"]]
        true = moved[facs.UNIT_INDEX[v["unit"]], facs.SIDES.index(v["side"])] > 0
        fig.text(x, y, mark, color=colour, fontsize=11, weight="bold", va="top", ha="center")
        fig.text(x + 0.016, y, f"AU{v['unit']} {SIDES[v['side']]}, {facs.NAMES[v['unit']]}", fontsize=8.5, va="top")
        fig.text(x + 0.016, y - 0.0195, f"{v['verdict']}, p = {v['probability']:.2f}; truth: {'moved' if true else 'still'}", fontsize=7, color=draw.GREY, va="top")
        y -= 0.041
    if len(rows) > MOST:
        fig.text(x + 0.016, y, f"and {len(rows) - MOST} more", fontsize=7.5, color=draw.GREY, va="top")
    for i, (name, (mark, colour, words)) in enumerate(VERDICTS.items()):   # the key, whether or not this clip has all four
        fig.text(x, 0.165 - 0.026 * i, mark, color=colour, fontsize=9, weight="bold", va="center", ha="center")
        fig.text(x + 0.016, 0.165 - 0.026 * i, f"{name}: {words}", fontsize=7.5, color=draw.GREY, va="center")


def _sentences(fig, x, y, records):
    for kind in KINDS:
        record = next((r for r in records if r["kind"] == kind), None)
        if record is None:
            continue
        answer = textwrap.wrap(record["answer"], 62)[:4]
        fig.text(x, y, f"{record['question']}", fontsize=8, color=draw.GREY, va="top", style="italic")
        fig.text(x, y - 0.021, "\n".join(answer), fontsize=8.3, va="top", linespacing=1.3)
        y -= 0.021 + 0.0205 * len(answer) + 0.016
    rows = [e for r in records if r["kind"] == "motion" for e in r["evidence"]][:2]
    for e in rows:
        side = f"{SIDES[e['side']]} " if e["side"] in SIDES else ""
        fig.text(x, y, f"because: {side}{e['region'].replace('_', ' ')} {e['direction']} {e['px']:.2f} px, {e['z']:.1f} × the noise floor", fontsize=7.3,
                 color=draw.BLUE, va="top")
        y -= 0.021
