"""F4: answers with their evidence. What DEFT wrote about six test clips, every statement compared with motion
(claim C6).
"""

from __future__ import annotations

import hashlib
import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from deft import drawing as draw
from deft.clips import facs
from deft.evaluation.figures import data
from deft.faces import regions
from deft.systems import DEFT, RGB, spoken
from deft.unimer.check import MIN_PX, UNIT_THRESHOLD, Evidence, parse, say
from deft.unimer.facts import UnitFact, supports, supports_unit

RIGHT, WRONG = 4, 2  # clips shown that DEFT's label got right and got wrong
SIDE, ROW, LINE = 0.79, 1.03, 0.125  # inches: a picture, a clip's row, a line of words
BARS, SAID = 6, 6  # units with bars and statements per answer at most; further statements are counted


def f4(profile: str) -> tuple[Figure, str]:
    """Faces, flow, unit probabilities, DEFT's statements and those of the RGB-only model, each marked; and what is
    found.
    """
    table, answers = data.index(profile), data.predictions(profile)
    answers = answers[
        (answers.condition == "broken") & (answers.text.fillna("") != "") & (answers.seed == answers.seed.min())
    ]
    both = {s: answers[answers.system == s].drop_duplicates("clip").set_index("clip") for s in (DEFT, RGB)}
    chosen = choose(both[DEFT])
    rows = [int(table.index[table["clip"] == clip][0]) for clip in chosen]
    clips = [data.pictures(profile, table, row) for row in rows]
    probability = np.asarray(data.array(profile, "evidence", "probability", "04_evidence"))[rows]
    region_true = np.asarray(data.array(profile, "motion", "region_true", "03_motion"))[rows]
    units_true = data.truth(profile, rows, "units_true")
    limit = draw.flow_limit(*(c.flow for c in clips))
    counted = {s: [] for s in both}
    with draw.style():
        height = 0.75 + ROW * len(rows)
        fig = draw.canvas(height)
        for i, clip in enumerate(clips):
            top = height - 0.22 - ROW * i
            places = [
                fig.add_axes(
                    [(0.05 + (SIDE + 0.03) * c) / draw.WIDTH, (top - SIDE) / height, SIDE / draw.WIDTH, SIDE / height]
                )
                for c in range(3)
            ]
            titles = ("onset", f"motion ×{draw.MAGNIFY}", "flow") if i == 0 else ("", "", "")
            _ring(places[2], clip, np.linalg.norm(region_true[i], axis=-1))
            draw.show_face(places[0], clip.rgb[0], titles[0])
            draw.show_face(places[1], draw.magnify(clip.rgb[0], clip.flow), titles[1])
            draw.show_flow(places[2], clip.flow, limit, titles[2])
            fig.text(
                0.05 / draw.WIDTH,
                (top - SIDE - 0.03) / height,
                f"{clip.row['clip']}: {clip.row.emotion}",
                fontsize=draw.SMALLEST,
                va="top",
            )
            evidence = Evidence(clip.motion, clip.noise, probability[i])
            stated = {
                fact.code
                for said in both.values()
                if chosen[i] in said.index
                for fact in parse(said.text[chosen[i]]).units
            }
            ax = fig.add_axes([3.72 / draw.WIDTH, (top - SIDE) / height, 0.52 / draw.WIDTH, SIDE / height])
            _units(ax, probability[i], units_true[i], stated, last=i == len(clips) - 1)
            if i == 0:
                ax.set_title("evidence", pad=3)
            for x, (name, said) in zip((4.35, 5.77), both.items()):
                if i == 0:
                    fig.text(x / draw.WIDTH, (top + 0.05) / height, spoken(name), fontsize=8)
                if chosen[i] in said.index:
                    counted[name] += _answer(fig, x, top, said.loc[chosen[i]], evidence, units_true[i], region_true[i])
                else:
                    fig.text(x / draw.WIDTH, top / height, "no text", fontsize=draw.SMALLEST, color=draw.GREY, va="top")
        draw.show_wheel(fig.add_axes([1.9 / draw.WIDTH, 0.14 / height, 0.4 / draw.WIDTH, 0.4 / height]), limit)
    right = sum(both[DEFT].prediction[c] == both[DEFT].truth[c] for c in chosen)
    held = " and ".join(f"{sum(marks)} of {len(marks)} statements of {spoken(s)}" for s, marks in counted.items())
    return (
        fig,
        (
            f"DEFT names the emotion of {right} of these {len(chosen)} clips; the truth or the measured motion bears"
            f" out {held}, whatever the class."
        ),
    )


def choose(deft: pd.DataFrame) -> list[str]:
    """Clips by the order of their names' hashes: RIGHT correct ones, then WRONG others. deft: answers indexed by
    clip.
    """
    order = sorted(deft.index, key=lambda clip: hashlib.sha256(clip.encode()).hexdigest())
    right = [c for c in order if deft.prediction[c] == deft.truth[c]]
    wrong = [c for c in order if deft.prediction[c] != deft.truth[c]]
    if not order:
        raise data.FigureError(
            "predictions.jsonl holds no text of DEFT with the tie broken; run notebook 08_answers first"
        )
    return right[:RIGHT] + wrong[:WRONG]


def _ring(ax, clip, true):
    """A ring around the region that truly stood still and in which most motion was measured, if it is enough for a
    statement. true: (36,) px.
    """
    speed = np.where(true < MIN_PX, np.linalg.norm(clip.motion, axis=-1), 0)
    if speed.max() >= Evidence(noise=clip.noise).threshold_px:
        middle, radius = regions.centres(clip.landmarks)
        ax.add_patch(
            Ellipse(
                middle[speed.argmax()],
                *2 * radius[speed.argmax()],
                fc="none",
                ec=draw.RED,
                lw=1,
                ls=(0, (2, 1.5)),
                zorder=5,
            )
        )


def _units(ax, probability, truth, stated, last):
    """The units that moved, are stated or reach one half, the most of them by name, as pairs of bars, left and
    right.
    """
    told = [
        u
        for u, unit in enumerate(facs.UNITS)
        if truth[u].any() or unit in stated or probability[u].max() >= UNIT_THRESHOLD
    ]
    told = sorted(sorted(told, key=lambda u: -probability[u].max() - truth[u].any())[:BARS])
    y = np.arange(len(told))
    for s, (colour, shift) in enumerate(((draw.LEFT, 0.2), (draw.RIGHT, -0.2))):
        ax.barh(y + shift, probability[told, s], height=0.36, color=colour)
        moved = truth[told, s] > 0
        ax.plot(
            np.full(moved.sum(), 1.1),
            (y + shift)[moved],
            marker="D",
            color=draw.TRUTH,
            ms=2.6,
            mec="none",
            ls="",
            clip_on=False,
        )
    ax.axvline(UNIT_THRESHOLD, color=draw.INK, lw=0.6, ls=(0, (3, 3)))
    ax.set(xlim=(0, 1.15), ylim=(max(len(told), 4) - 0.5, -0.5), xticks=(0, 0.5, 1), yticks=y)
    ax.set_yticklabels([f"{facs.NAMES[facs.UNITS[u]]} {facs.UNITS[u]}" for u in told])
    ax.set_xticklabels(("0", "½", "1") if last else ())
    ax.tick_params(length=1.5, pad=2)


def statements(
    text: str, evidence: Evidence, units_true: np.ndarray, region_true: np.ndarray
) -> list[tuple[str, bool]]:
    """[(words, supported)] of one answer, as table T7 counts them: by the truth (units (17, 2), regions (36, 2) px)
    or by what was measured.
    """
    facts, found = parse(text), []
    for fact in dict.fromkeys((*facts.units, *facts.motions)):
        true = (
            supports_unit(fact, units_true, 1e-6) if isinstance(fact, UnitFact) else supports(fact, region_true, MIN_PX)
        )
        found.append((say(fact), bool(true or evidence.bears_out(fact))))
    return found


def _answer(fig, x, top, said, evidence, units_true, region_true):
    """Write the class and the statements of one answer at x, top (inches); -> [supported] of all statements."""
    height, right = fig.get_figheight(), said.prediction == said.truth
    fig.text(
        x / draw.WIDTH,
        top / height,
        f"{said.prediction} {'✓' if right else '✗'}",
        weight="bold",
        va="top",
        fontsize=draw.SMALLEST,
        color=draw.BLUE if right else draw.RED,
    )
    found = statements(said.text, evidence, units_true, region_true)
    lines = (
        [(f"(its text says {said.text_class or 'no class'})", None)]
        if said.get("text_class", said.prediction) != said.prediction
        else []
    )
    lines += [
        (words.removeprefix("the ").removesuffix(" both").replace(" moves ", " ").replace(" move ", " "), held)
        for words, held in found[:SAID]
    ]
    if len(found) > SAID:
        lines.append((f"and {len(found) - SAID} more", None))
    for i, (words, held) in enumerate(lines or [("no statement to check", None)]):
        y = (top - 0.15 - LINE * i) / height
        if held is not None:
            fig.text(
                x / draw.WIDTH,
                y,
                "✓" if held else "✗",
                fontsize=draw.SMALLEST,
                color=draw.BLUE if held else draw.RED,
                weight="bold",
                va="top",
            )
        fig.text(
            (x + 0.11) / draw.WIDTH,
            y,
            textwrap.shorten(words, 25, placeholder="…"),
            fontsize=draw.SMALLEST,
            va="top",
            color=draw.GREY if held is None else draw.INK if held else draw.RED,
        )
    return [held for _, held in found]
