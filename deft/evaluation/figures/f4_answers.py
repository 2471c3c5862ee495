"""F4: answers with their evidence. What DEFT wrote about five test clips, every statement compared with motion (claim C6)."""

from __future__ import annotations

import hashlib
import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deft.clips import facs
from deft import drawing as draw
from deft.evaluation.figures import data
from deft.systems import DEFT, RGB, spoken
from deft.unimer.check import MIN_PX, Evidence, parse, say
from deft.unimer.facts import UnitFact, supports, supports_unit

RIGHT, WRONG = 3, 2    # clips shown that DEFT's label got right and got wrong
WIDE = 12.7          # inches
SAID = 9               # statements printed per answer; more are counted


def f4(profile: str) -> Figure:
    """Faces, flow, unit probabilities, DEFT's statements and those of the RGB-only model, each marked."""
    table, answers = data.index(profile), data.predictions(profile)
    answers = answers[(answers.condition == "broken") & (answers.text.fillna("") != "") & (answers.seed == answers.seed.min())]
    deft, rgb = (answers[answers.system == s].drop_duplicates("clip").set_index("clip") for s in (DEFT, RGB))
    chosen = choose(deft)
    rows = [int(table.index[table["clip"] == clip][0]) for clip in chosen]
    clips = [data.pictures(profile, table, row) for row in rows]
    probability = np.asarray(data.array(profile, "evidence", "probability", "04_evidence"))[rows]
    region_true = np.asarray(data.array(profile, "motion", "region_true", "03_motion"))[rows]
    units_true = data.truth(profile, rows, "units_true")
    limit = draw.flow_limit(*(c.flow for c in clips))
    with draw.style():
        height = 1.75 + 1.62 * len(rows)
        fig = draw.canvas(WIDE, height)
        right = int((deft.prediction[chosen] == deft.truth[chosen]).sum())
        draw.heading(fig, "F4", f"Test clips with the tie broken, chosen by a hash of their names: {right} whose emotion DEFT gets right, {len(chosen) - right} it gets wrong.",
                     "A statement is marked ✓ when the truth or the measured motion bears it out, ✗ when neither does.")
        for i, clip in enumerate(clips):
            top = height - 1.05 - 1.62 * i
            for c, (picture, title) in enumerate(((clip.rgb[0], "onset"), (draw.magnify(clip.rgb[0], clip.flow), f"motion ×{draw.MAGNIFY}"),
                                                  (draw.flows.colour(clip.flow, limit), "flow"))):
                draw.show(fig.add_axes([(0.15 + 1.38 * c) / WIDE, (top - 1.34) / height, 1.34 / WIDE, 1.34 / height]), picture, title if i == 0 else "")
            _units(fig.add_axes([4.62 / WIDE, (top - 1.2) / height, 2.75 / WIDE, 1.12 / height]), probability[i], units_true[i], title=i == 0, key=i == 0)
            fig.text(0.15 / WIDE, (top - 1.36) / height, f"{clip.row['clip']} · truth: {clip.row.emotion}", fontsize=7.5, va="top")
            evidence = Evidence(clip.motion, clip.noise, probability[i])
            for x, name, said in ((7.62, DEFT, deft), (10.2, RGB, rgb)):
                if chosen[i] in said.index:
                    _answer(fig, x, top + 0.06, height, name, said.loc[chosen[i]], evidence, units_true[i], region_true[i])
                else:
                    fig.text(x / WIDE, top / height, f"{spoken(name)}: no text for this clip", fontsize=7.5, color=draw.GREY, va="top")
        draw.show_wheel(fig.add_axes([3.35 / WIDE, 0.2 / height, 0.42 / WIDE, 0.42 / height]), limit)
    return fig


def choose(deft: pd.DataFrame) -> list[str]:
    """Clips by the order of their names' hashes: RIGHT correct ones, then WRONG others. deft: answers indexed by clip."""
    order = sorted(deft.index, key=lambda clip: hashlib.sha256(clip.encode()).hexdigest())
    right = [c for c in order if deft.prediction[c] == deft.truth[c]]
    wrong = [c for c in order if deft.prediction[c] != deft.truth[c]]
    if not order:
        raise data.FigureError("predictions.jsonl holds no text of DEFT with the tie broken; run notebook 08_answers first")
    return right[:RIGHT] + wrong[:WRONG]


def _units(ax, probability, truth, title, key):
    """The 17 units as pairs of bars, left and right, with a diamond over those that truly moved."""
    x = np.arange(len(facs.UNITS))
    for s, (colour, side) in enumerate(((draw.BLUE, "left"), (draw.GREEN, "right"))):
        ax.bar(x + (0.2, -0.2)[s], probability[:, s], width=0.36, color=colour, label=f"person's {side}")
        for u in np.flatnonzero(truth[:, s] > 0):
            ax.plot(u + (0.2, -0.2)[s], 1.09, marker="D", color=draw.ORANGE, ms=3, mec="none", ls="", clip_on=False, label="truly moved" if s == 0 and u == np.flatnonzero(truth[:, s] > 0)[0] else None)
    ax.axhline(0.5, color=draw.INK, lw=0.6, ls=(0, (3, 3)))
    ax.set(ylim=(0, 1.15), xlim=(-0.6, len(x) - 0.4), xticks=x, yticks=(0, 0.5, 1))
    ax.set_xticklabels([str(u) for u in facs.UNITS], fontsize=6)
    ax.tick_params(length=1.5, labelsize=6, pad=1)
    ax.text(-0.01, -0.055, "AU", transform=ax.transAxes, fontsize=6, ha="right", va="top")
    if title:
        ax.set_title("unit probability from motion", pad=16 if key else 3)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=6.3, handlelength=1, columnspacing=0.9, borderaxespad=0.1)


def statements(text: str, evidence: Evidence, units_true: np.ndarray, region_true: np.ndarray) -> list[tuple[str, bool]]:
    """[(words, supported)] of one answer, as table T7 counts them: by the truth (units (17, 2), regions (36, 2) px) or by what was measured."""
    facts, found = parse(text), []
    for fact in dict.fromkeys((*facts.units, *facts.motions)):
        true = supports_unit(fact, units_true, 1e-6) if isinstance(fact, UnitFact) else supports(fact, region_true, MIN_PX)
        found.append((say(fact), bool(true or evidence.bears_out(fact))))
    return found


def _answer(fig, x, top, height, system, said, evidence, units_true, region_true):
    right = said.prediction == said.truth
    fig.text(x / WIDE, top / height, f"{spoken(system)}: {said.prediction} {'✓' if right else '✗'}", fontsize=8.6, weight="bold", va="top",
             color=draw.BLUE if right else draw.RED)
    found = statements(said.text, evidence, units_true, region_true)
    y = top - 0.19
    if said.get("text_class", said.prediction) != said.prediction:   # the label is read off likelihoods, the text is another reading
        fig.text((x + 0.16) / WIDE, y / height, f"(its text says {said.text_class or 'no class'})", fontsize=7, va="top", color=draw.GREY)
        y -= 0.138
    for words, held in found[:SAID]:
        fig.text(x / WIDE, y / height, "✓" if held else "✗", fontsize=7.5, color=draw.BLUE if held else draw.RED, weight="bold", va="top")
        fig.text((x + 0.16) / WIDE, y / height, textwrap.shorten(words, 46, placeholder="…"), fontsize=7.2, va="top", color=draw.INK if held else draw.RED)
        y -= 0.138
    rest = found[SAID:]
    if rest or not found:
        words = f"and {len(rest)} more, {sum(h for _, h in rest)} borne out" if rest else f"no statement to check: “{textwrap.shorten(said.text, 24, placeholder='…')}”"
        fig.text((x + 0.16) / WIDE, y / height, words, fontsize=7, color=draw.GREY, va="top")
