"""Figures on made-up data: nothing empty, nothing clipped, nothing typed in; the pictures' helpers on worked
examples.
"""

import dataclasses

import cv2
import figure_world
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from deft import artifacts, paths, runtime, systems
from deft import drawing as draw
from deft.evaluation import figures
from deft.evaluation.figures import data, f1_problem, f3_architecture, f4_answers, f8_curves

PROFILE = "made-up"
IDS = tuple(a.id.lower() for a in artifacts.REGISTRY if a.kind == "figure")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFT_WORK", str(folder / "work"))
        patch.setenv("DEFT_FIGURES", str(folder / "figures"))
        figure_world.make(PROFILE)
        yield folder


@pytest.fixture(scope="module")
def drawn(world):
    """id -> (figure, what is found), drawn and saved once."""
    made = {id: figures.f3(PROFILE, model()) if id == "f3" else getattr(figures, id)(PROFILE) for id in IDS}
    for id, (figure, found) in made.items():
        artifacts.save_figure(figure, found, id.upper(), PROFILE)
    return made


def model():
    """A model nobody trained, to draw."""
    part = f3_architecture.Part
    streams = ("structure", "texture", "motion")
    return f3_architecture.Model(
        {s: part(s, s.title(), 199_000, 199_000, (4, 64), ("trunk", "tokens", "norm", "decoder")) for s in streams},
        {
            "structure": {"onset": (3, 64, 64)},
            "texture": {"residual": (2, 64, 64)},
            "motion": {"peak": (4, 64, 64), "regions": (181,)},
        },
        {s: part(f"projectors.{s}", "Projector", 50_000, 50_000, (4, 192)) for s in streams},
        ("texture", "motion"),
        part("language", "Qwen3ForCausalLM", 2_000_000, 300_000, (70, 192)),
        (part("emotion_head", "Linear", 965, 965, (5,)), part("unit_head", "Linear", 6_562, 6_562, (34,))),
        {
            "layers": 4,
            "hidden": 192,
            "heads": 4,
            "words": 471,
            "rank": 16,
            "length": 70,
            "streams": "stm",
            "weights": {"emotion_head": 0.5, "unit_head": 0.3},
            "folder": "deft/seed0/fold0",
        },
    )


def words_of(fig):
    """Every text that is drawn. Matplotlib also keeps labels of ticks outside the limits, and those of hidden axes."""
    found = [*fig.texts, *(text for key in fig.legends for text in key.get_texts())]
    for ax in fig.axes:
        found += [*ax.texts, ax.title, ax._left_title, *(ax.get_legend().get_texts() if ax.get_legend() else [])]
        if ax.axison:
            for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
                if axis.get_visible():
                    found += [axis.label] + [
                        t.label1
                        for t in axis.get_major_ticks()
                        if t.label1.get_visible() and min(limits) <= t.get_loc() <= max(limits)
                    ]
    return [t for t in found if t.get_visible() and t.get_text().strip()]


@pytest.mark.parametrize("id", IDS)
def test_nothing_is_clipped_covered_or_empty(drawn, id):
    """Text lies inside the canvas, no words lie over other words, no axes is empty, and the picture is not blank."""
    fig, _ = drawn[id]
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    boxes = [(t, t.get_window_extent(canvas.get_renderer())) for t in words_of(fig)]
    for text, box in boxes:
        assert box.x0 >= -2 and box.y0 >= -2 and box.x1 <= fig.bbox.width + 2 and box.y1 <= fig.bbox.height + 2, (
            f"{text.get_text()!r} at {box}"
        )
    level = [
        (t.get_text(), box.padded(-2)) for t, box in boxes if t.get_rotation() % 90 == 0
    ]  # the box of slanted text is larger than its letters
    over = [
        (a, b)
        for i, (a, x) in enumerate(level)
        for b, y in level[i + 1 :]
        if x.x0 < y.x1 and y.x0 < x.x1 and x.y0 < y.y1 and y.y0 < x.y1
    ]
    assert not over, over[:5]
    assert all(ax.images or ax.lines or ax.patches or ax.collections or ax.texts for ax in fig.axes), "an empty axes"
    picture = np.asarray(canvas.buffer_rgba())[..., :3]
    assert (picture < 250).any(axis=(1, 2)).mean() > 0.5 and picture.std() > 10


@pytest.mark.parametrize("id", IDS)
def test_a_figure_is_printed_at_the_width_of_a_journal_with_words_that_can_be_read(drawn, world, id):
    """7.1 inches wide as drawn and as saved, no taller than a page, no words below 7 pt; nothing of it is scaled
    afterwards.
    """
    fig, _ = drawn[id]
    width, height = fig.get_size_inches()
    assert width == pytest.approx(7.1) and height < 8
    small = [(t.get_text(), t.get_fontsize()) for t in words_of(fig) if t.get_fontsize() < 7]
    assert not small, small[:5]
    from PIL import Image

    with Image.open(paths.figures(PROFILE) / f"{id.upper()}.png") as picture:
        assert picture.width / picture.info["dpi"][0] == pytest.approx(7.1, abs=0.01)
        assert picture.text["Description"] == artifacts.get(id.upper()).alt


@pytest.mark.parametrize("id", IDS)
def test_what_is_saved_says_that_it_is_simulated_and_what_it_shows(drawn, world, id):
    artifact, (fig, found) = artifacts.get(id.upper()), drawn[id]
    assert (
        artifact.function == f"deft.evaluation.figures.{id}" and len(artifact.alt) > 60 and artifact.key.endswith(".")
    )
    assert any("SIMULATED" in t.get_text() for t in words_of(fig))
    assert (paths.figures(PROFILE) / f"{artifact.id}.pdf").read_bytes().startswith(b"%PDF")
    assert any(c.isdigit() for c in found) and found in (paths.figures(PROFILE) / f"{artifact.id}.txt").read_text()


@pytest.mark.parametrize(
    "id, chosen", [("f1", systems.LISTED["F1"]), ("f9", ("deft", "rgb-only", "lr-flow", "lr-pixels"))]
)
def test_points_and_captions_say_what_the_table_says(drawn, world, id, chosen):
    scores = data.recognition(PROFILE)
    axes = [ax for ax in drawn[id][0].axes if ax.get_xlabel().startswith("UF1")]
    points = {
        round(float(line.get_xdata()[0]), 6)
        for ax in axes
        for line in ax.lines
        if line.get_marker() == "o" and len(line.get_xdata()) == 1
    }
    assert points == {round(s.value, 6) for (system, _), s in scores.items() if system in chosen}
    assert f"{scores['lr-pixels', 'kept'].value:.2f} to {scores['lr-pixels', 'broken'].value:.2f}" in drawn[id][1]


def test_guessing_is_worth_one_fifth_where_emotions_are_equally_common(world):
    assert data.guessing(PROFILE) == {"kept": pytest.approx(0.2), "broken": pytest.approx(0.2)}


def test_f1_takes_one_person_per_look_and_the_same_two_emotions(world):
    table = data.index(PROFILE).assign(motion=lambda t: t.units)
    picked = table.loc[f1_problem.choose(table, np.ones(len(table)))]
    assert picked.motion.tolist()[:2] == picked.motion.tolist()[2:]
    assert picked.groupby("look").subject.nunique().tolist() == [1, 1]
    assert picked.emotion.tolist()[:2] == picked.emotion.tolist()[2:] and picked.emotion.nunique() == 2


def test_f4_chooses_by_rule_right_ones_first(world):
    answers = data.predictions(PROFILE)
    deft = answers[(answers.system == "deft") & (answers.seed == 0) & (answers.condition == "broken")].set_index("clip")
    chosen = f4_answers.choose(deft)
    held = (deft.prediction[chosen] == deft.truth[chosen]).tolist()
    assert held == sorted(held, reverse=True) and len(chosen) <= f4_answers.RIGHT + f4_answers.WRONG
    assert chosen == f4_answers.choose(deft.sample(frac=1, random_state=1))


def test_a_missing_input_names_its_notebook(world):
    with pytest.raises(data.FigureError, match="01_clips"):
        figures.f1("nobody")
    with pytest.raises(data.FigureError, match="09_tables"):
        data.table(PROFILE, "T99")
    with pytest.raises(data.FigureError, match="07_joint_tuning"):
        f3_architecture.run_folder("nobody")


def test_f3_reads_a_saved_model(world):
    """A tiny expert and a tiny language model are saved, loaded and run; the shapes on the arrows are those of the
    pass.
    """
    from safetensors.torch import save_file

    from deft.experts import pretrain
    from deft.mllm import language
    from deft.mllm.model import DeftLLMConfig, DeftLLMForConditionalGeneration

    work = paths.work(PROFILE)
    for name, sizes in (("texture", {}), ("motion", {"words": 5})):
        expert = pretrain.build(name, sizes, seed=7)
        runtime.write_json(work / "experts" / name / "config.json", {"name": name, "sizes": sizes})
        save_file(
            {k: v.contiguous() for k, v in expert.state_dict().items()}, work / "experts" / name / "model.safetensors"
        )
        runtime.save_array(work / "features" / "bench", name, np.zeros((2, 4, 64), np.float32))
        runtime.save_array(work / "features" / "bench", f"{name}_units", np.full((2, 17, 2), 0.5, np.float32))
    tokenizer = language.build_tokenizer()
    base = language.build_base(tokenizer, language.LanguageSettings(hidden=32, layers=1, heads=2, intermediate=48))
    folder = work / "mllm" / "runs" / "deft" / "seed0" / "fold0"
    llm = DeftLLMForConditionalGeneration(DeftLLMConfig.of(base, tokenizer, "tm", rank=2, alpha=4), base)
    llm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    found = f3_architecture.read_model(PROFILE)
    assert list(found.experts) == ["texture", "motion"] and found.inputs["motion"] == {
        "peak": (4, 64, 64),
        "regions": (181,),
    }
    assert found.projectors["motion"].out == (4, 32) and found.language.out[-1] == 32 and found.heads[0].out == (5,)
    assert found.language.tuned == sum(p.numel() for n, p in llm.named_parameters() if "lora_" in n)
    assert f3_architecture.f3(PROFILE, found)[0].axes


# ------------------------------------------------------------------------------------------------------ helpers


def test_magnify_leaves_stillness_alone_and_moves_along_the_flow():
    image = np.zeros((64, 64), np.uint8)
    cv2.circle(image, (30, 30), 5, 255, -1)
    assert np.abs(draw.magnify(image, np.zeros((64, 64, 2))).astype(int) - image).max() <= 1
    moved = draw.magnify(image, np.full((64, 64, 2), (1.0, -0.5), np.float32), times=8)
    y, x = np.average(np.indices((64, 64)), axis=(1, 2), weights=moved)
    assert x == pytest.approx(38, abs=0.2) and y == pytest.approx(26, abs=0.2)


def test_difference_is_mid_grey_where_nothing_changed():
    a = np.full((8, 8, 3), 100, np.uint8)
    assert (draw.difference(a, a) == 128).all() and (draw.difference(a, a + 4) == 160).all()


def test_region_rows_name_all_36_regions_once():
    rows = draw.region_rows()
    assert len(rows) == 20 and {i for _, right, left in rows for i in (right, left)} == set(range(36))


def test_an_annotation_without_a_side_counts_for_both(world):
    row = data.index(PROFILE).iloc[0].copy()
    row["units"] = "4+L12"
    assert data.annotated(row) == {(4, "L"), (4, "R"), (12, "L")}


def test_a_running_mean_moves_no_curve():
    steps, values = f8_curves.running(np.arange(200.0))
    assert np.allclose(steps - 1, values)


def test_models_are_drawn_from_what_they_are(world):
    changed = dataclasses.replace(model(), facts={**model().facts, "layers": 9})
    words = " ".join(t.get_text() for t in words_of(figures.f3(PROFILE, changed)[0]))
    assert "9 layers" in words and "Qwen3ForCausalLM" in words


def test_a_forest_plot_of_any_table_has_a_point_for_every_number_and_a_panel_for_every_column():
    table = pd.DataFrame(
        {
            "kind": "simulated",
            "system": ["deft", "majority", "deft"],
            "test": ["sim-a", "sim-a", "sim-b"],
            "uf1": [0.8, 0.1, 0.7],
            "less": [np.nan, 0.7, -0.1],
            "never": [np.nan] * 3,
        }
    )
    for name in ("uf1", "less", "never"):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 0.05, table[name] + 0.1
    heads = {"uf1": "UF1", "less": "DEFT less it", "never": "never measured", "absent": "absent"}
    fig = figures.panels(table, heads, ["system", "test"])
    assert [ax.get_title() for ax in fig.axes] == ["UF1", "DEFT less it"]
    drawn = [
        [(x, y) for line in ax.get_lines() for x, y in zip(*line.get_data()) if x not in (0, 0.0)] for ax in fig.axes
    ]
    for name, points in zip(("uf1", "less"), drawn):
        for y, value in enumerate(table[name]):
            assert ((value, y) in points) == (value == value), (name, y)
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()][0] == "DEFT, sim-a"
    assert any(text.get_text() == "SIMULATED" for text in fig.texts)
    with pytest.raises(ValueError, match="3 rows have 2 names"):
        figures.panels(table, heads, ["system"])
    with pytest.raises(ValueError, match="none of these columns"):
        figures.panels(table, {"absent": "absent"}, ["system", "test"])
