"""The language model: what may learn, what must not change anything, and that it learns at all (tiny
configurations).
"""

import copy
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import fake_bench
import numpy as np
import pytest
import torch
from conftest import ANSWERED
from sklearn.metrics import roc_auc_score

from deft import parallel, runtime, systems
from deft.clips.facs import EMOTIONS, UNITS
from deft.clips.splits import roles
from deft.mllm import classes, data, detectors, language, prompt, score, tune
from deft.mllm import examples as drawn
from deft.mllm.model import DeftLLMConfig, DeftLLMForConditionalGeneration
from deft.unimer.check import parse
from deft.unimer.facts import text_facts

TINY = language.LanguageSettings(hidden=32, layers=2, heads=2, intermediate=48, text_steps=120, soft_steps=20, batch=4)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    tune.quiet_worker()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer():
    return language.build_tokenizer()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A made-up bench with a tiny pretrained base."""
    folder = fake_bench.write(tmp_path_factory.mktemp("mllm"))
    language.pretrain(TINY, folder / "mllm" / "base", detectors.path_of(folder), log=lambda line: None)
    return folder


def fresh(tokenizer, streams="stm", trained=False, **settings):
    """A tiny model; `trained` moves LoRA off its identity start."""
    base = language.build_base(tokenizer, TINY)
    model = DeftLLMForConditionalGeneration(DeftLLMConfig.of(base, tokenizer, streams, rank=4, **settings), base).eval()
    if trained:
        torch.manual_seed(0)
        for name, parameter in model.named_parameters():
            if "lora_B" in name or name.startswith("unit_head"):
                parameter.data.normal_(0, 0.2)
    return model


def made_up(count, names=("structure", "texture", "motion"), seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(count, 4, 64, generator=generator) for name in names}
    return features | {
        f"{n}_units": torch.rand(count, 17, 2, generator=generator) for n in names if n in prompt.UNIT_STREAMS
    }


def examples(tokenizer, model, count, dropped=()):
    answers = ("class : disgust .", "class : anger . evidence : au4 both .")
    return prompt.pad(
        [prompt.encode(tokenizer, model.streams, "which emotion ?", answers[i % 2], dropped) for i in range(count)],
        tokenizer.pad_token_id,
    )


# ---------------------------------------------------------------- words
def test_tokenizer_knows_every_word_of_the_grammar(tokenizer):
    rng = np.random.default_rng(0)
    for _ in range(100):
        kind, question, answer = language.ask(text_facts(rng), rng)
        ids = prompt.ids_of(tokenizer, f"{question} {answer}")
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == f"{question} {answer}"


def test_soft_words_at_the_end_points():
    words = torch.randn(21, 8)
    unit, none, left, both = words[:17], words[17], words[18], words[20]
    absent = prompt.soft_words(words, torch.zeros(1, 17, 2))[0]
    assert torch.allclose(absent, none + 0.3 * unit)
    assert torch.allclose(prompt.soft_words(words, torch.ones(1, 17, 2))[0], unit + 0.5 * both)
    one_sided = torch.zeros(1, 17, 2)
    one_sided[..., 0] = 1
    assert torch.allclose(prompt.soft_words(words, one_sided)[0], unit + 0.5 * left)


def correlated(clips=600, share=0.6, seed=0):
    """Two experts' probabilities of made-up clips, and the truth: `share` of the variance of their errors is common
    to both.
    """
    rng = np.random.default_rng(seed)
    strength = (rng.random((clips, 17, 2)) < 0.15) * rng.uniform(0.2, 1, (clips, 17, 2))
    common = rng.standard_normal(strength.shape)
    said = {
        name: detectors.expit(
            gain * strength - 2 + np.sqrt(share) * common + np.sqrt(1 - share) * rng.standard_normal(strength.shape)
        )
        for name, gain in (("texture", 1.5), ("motion", 6.0))
    }
    return said, strength, np.arange(clips) // 20


def together(said, there):
    """Correlation of the two experts' log odds among unit sides that moved, and among those that did not."""
    odds = [detectors.logit(said[name]) for name in ("texture", "motion")]
    return [np.corrcoef(odds[0][mask], odds[1][mask])[0, 1] for mask in (there, ~there)]


def test_simulated_detectors_err_as_the_real_ones_do():
    """As good, as sure, and wrong together: else text pretraining teaches the model to count one piece of evidence
    twice.
    """
    real, strength, people = correlated()
    model, rng, there = detectors.Detectors.fit(real, strength, people), np.random.default_rng(1), strength > 0
    drawn = [model.simulate(clip, rng) for clip in there]
    made = {name: np.stack([clip[name] for clip in drawn]) for name in real}
    for name in real:
        assert roc_auc_score(there.ravel(), made[name].ravel()) == pytest.approx(
            roc_auc_score(there.ravel(), real[name].ravel()), abs=0.02
        )
        odds, true = (detectors.logit(p[name]) for p in (made, real))
        for mask in (there, ~there):
            assert abs(odds[mask].mean() - true[mask].mean()) < 0.25 and odds[mask].std() == pytest.approx(
                true[mask].std(), rel=0.15
            )
    assert together(made, there) == pytest.approx(together(real, there), abs=0.1) and min(together(made, there)) > 0.4
    apart = {name: correlated(share=0.0, seed=3)[0][name] for name in real}
    alone = detectors.Detectors.fit(apart, correlated(share=0.0, seed=3)[1], people)
    drawn = [alone.simulate(clip, rng) for clip in there]
    assert abs(together({name: np.stack([clip[name] for clip in drawn]) for name in real}, there)[1]) < 0.1, (
        "no correlation is made up"
    )


def test_detectors_know_sides_and_come_back_from_disk(tmp_path):
    real, strength, people = correlated()
    model = detectors.Detectors.fit(real, strength, people)
    left = np.zeros((17, 2), bool)
    left[3, 0] = True
    drawn = np.mean([model.simulate(left, np.random.default_rng(i))["motion"] for i in range(200)], axis=0)
    assert drawn[3, 0] > 0.5 and np.delete(drawn.ravel(), 6).max() < 0.35
    model.save(tmp_path / "d.safetensors")
    again = detectors.Detectors.load(tmp_path / "d.safetensors")
    one, two = (m.simulate(left, np.random.default_rng(5)) for m in (model, again))
    assert again.names == model.names and all(np.array_equal(one[name], two[name]) for name in one)
    (tmp_path / "d.safetensors").write_bytes((tmp_path / "d.safetensors").read_bytes()[:-50])
    with pytest.raises(ValueError, match="damaged"):
        detectors.Detectors.load(tmp_path / "d.safetensors")
    with pytest.raises(ValueError, match="at least two"):
        detectors.Detectors.fit(real, strength, np.zeros(len(strength)))


# ---------------------------------------------------------------- model
def test_only_adapters_projectors_and_heads_receive_gradients(tokenizer):
    model = fresh(tokenizer, trained=True)
    model(
        **examples(tokenizer, model, 4), **made_up(4), emotion=torch.arange(4), units=torch.zeros(4, 17, 2)
    ).loss.backward()
    for name, parameter in model.named_parameters():
        may_learn = "lora_" in name or name.split(".")[0] in ("projectors", "emotion_head", "unit_head")
        assert (parameter.grad is not None and bool(parameter.grad.any())) == may_learn, name


def test_fresh_adapters_leave_the_base_as_it_was(tokenizer):
    base = language.build_base(tokenizer, TINY)
    model = DeftLLMForConditionalGeneration(DeftLLMConfig.of(base, tokenizer, "m"), copy.deepcopy(base)).eval()
    ids = torch.randint(20, len(tokenizer), (2, 9))
    mine = model.word_logits(model.hidden(model.get_input_embeddings()(ids), torch.ones_like(ids)).last_hidden_state)
    assert torch.allclose(mine, base.eval()(input_ids=ids).logits, atol=1e-5)


def test_merged_equals_unmerged(tokenizer):
    model = fresh(tokenizer, trained=True)
    inputs = {**examples(tokenizer, model, 3), **made_up(3)}
    apart = model(**inputs).logits
    with model.merged():
        assert torch.allclose(model(**inputs).logits, apart, atol=1e-5)
    assert torch.allclose(model(**inputs).logits, apart, atol=1e-5)


def test_one_product_is_what_peft_computes(tokenizer):
    """Loss and every gradient, against peft's own forward on a copy."""
    mine = fresh(tokenizer, trained=True)
    theirs = copy.deepcopy(mine)
    replaced = [type(layer).__name__ for layer in theirs.language.modules() if layer.__dict__.pop("forward", None)]
    assert (
        replaced.count("Linear") == (1 + 2 + 1) * 7 * TINY.layers + 1
    )  # with LoRA: the layer, its base, A and B; and the word head
    inputs = {**examples(tokenizer, mine, 4), **made_up(4), "emotion": torch.arange(4), "units": torch.zeros(4, 17, 2)}
    losses = [model(**inputs).loss for model in (mine, theirs)]
    for loss in losses:
        loss.backward()
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
    for (name, one), other in zip(mine.named_parameters(), theirs.parameters()):
        assert (one.grad is None) == (other.grad is None) and (
            one.grad is None or torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-5)
        ), name


def test_saved_and_loaded_give_the_same_logits(tokenizer, tmp_path):
    model = fresh(tokenizer, trained=True)
    model.save_pretrained(tmp_path)
    again = DeftLLMForConditionalGeneration.from_pretrained(tmp_path).eval()
    inputs = {**examples(tokenizer, model, 3), **made_up(3)}
    first, second = model(**inputs), again(**inputs)
    assert torch.equal(first.logits, second.logits) and torch.equal(first.unit_logits, second.unit_logits)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == ["model.safetensors"] and not list(
        tmp_path.glob("*.bin")
    )
    assert {n for n, p in again.named_parameters() if p.requires_grad} == {
        n for n, p in model.named_parameters() if p.requires_grad
    }


@pytest.mark.parametrize("name", ["structure", "texture", "motion"])
def test_a_dropped_stream_does_not_reach_the_logits(tokenizer, name):
    model = fresh(tokenizer, trained=True)
    batch = examples(tokenizer, model, 2, dropped=(name,))
    present = torch.tensor([[n != name for n in model.streams]] * 2)
    features, other = made_up(2), made_up(2, seed=1)
    changed = features | {key: other[key] for key in features if key.split("_")[0] == name}
    first, second = model(**batch, **features, present=present), model(**batch, **changed, present=present)
    assert torch.allclose(first.logits, second.logits, atol=1e-6)
    assert torch.allclose(first.unit_logits, second.unit_logits, atol=1e-6)


def test_dropping_a_stream_is_the_same_as_a_prompt_without_it(tokenizer):
    model = fresh(tokenizer, trained=True)
    features = made_up(2)
    dropped = model(**examples(tokenizer, model, 2, dropped=("structure",)), **features).logits
    model.config.streams = "tm"
    assert torch.allclose(model(**examples(tokenizer, model, 2), **features).logits, dropped, atol=1e-5)


@pytest.mark.parametrize("system, blind", [("deft-words", "tokens"), ("deft-tokens", "words")])
def test_a_system_that_is_shown_words_or_tokens_alone_sees_nothing_else(work, system, blind):
    words, model = tune.build(work, system, tune.TuneSettings(rank=4), seed=1)
    features, other = made_up(2), made_up(2, seed=1)
    swapped = {key: other[key] for key in features if key.endswith("_units") == (blind == "words")}
    batch = score.prompts(model, words, 2, score.PREFIX)
    outs = [model(**batch, **given) for given in (features, features | swapped, other)]
    said = [torch.cat([out.last_hidden_state[:, -1], out.unit_logits.flatten(1)], 1) for out in outs]
    assert torch.allclose(said[0], said[1], atol=1e-6) and not torch.allclose(said[0], said[2], atol=1e-3)
    bench, rows = data.read_bench(work), np.arange(8)
    slots = {"tokens": model.config.tokens, "words": model.config.words_shown}
    course = drawn.plan(words, bench, rows, model.streams, tune.TuneSettings(epochs=1, batch=4), 1, **slots)
    shown = {i for example in course for i in example["input_ids"]}
    assert (words.convert_tokens_to_ids("<motion>") in shown) == (blind == "words")
    assert (words.convert_tokens_to_ids("<motion-unit>") in shown) == (blind == "tokens")
    assert len(score.answers(model, words, bench, rows, limit=3)) == len(rows)  # it is asked for text as well


def test_an_example_may_be_closed_up_without_changing_what_is_said(tokenizer):
    """Rows with and without a stream in one batch: each gets its own vectors, and the masked positions were worth
    nothing.
    """
    model, features = fresh(tokenizer, trained=True), made_up(3)
    one = [
        prompt.encode(tokenizer, model.streams, "which emotion ?", "class : anger .", dropped)
        for dropped in ((), ("structure",), ("motion", "texture"))
    ]
    masked = model(**prompt.pad(one, tokenizer.pad_token_id), **features)
    closed = model(**prompt.pad([prompt.closed_up(e) for e in one], tokenizer.pad_token_id), **features)
    assert torch.allclose(masked.logits, closed.logits, atol=1e-5) and torch.allclose(
        masked.emotion_logits, closed.emotion_logits, atol=1e-5
    )
    half = prompt.encode(tokenizer, model.streams, "which emotion ?", "class : anger .")
    half["input_ids"][half["input_ids"].index(tokenizer.convert_tokens_to_ids("<motion>"))] = tokenizer.pad_token_id
    with pytest.raises(ValueError, match="slots per row"):
        model(**prompt.pad([half], tokenizer.pad_token_id), **made_up(1))


def test_unit_head_starts_as_the_experts_own(tokenizer):
    model = fresh(tokenizer, "m")
    features = made_up(2, ("motion",))
    out = model(**examples(tokenizer, model, 2), **features)
    assert torch.allclose(out.unit_logits.sigmoid(), features["motion_units"].clamp(1e-4, 1 - 1e-4), atol=1e-5)


# ---------------------------------------------------------------- the two extra losses
def test_alignment_is_lower_for_tokens_beside_the_words_of_their_own_units(tokenizer):
    model = fresh(tokenizer)
    words = model.words()[: len(UNITS)].detach()
    units = torch.eye(len(UNITS))[..., None].expand(-1, -1, 2)  # clip i shows unit i on both sides
    tokens = words[:, None].expand(-1, 4, -1)  # and its tokens lie on that unit's word
    assert model.alignment(tokens, units) < model.alignment(tokens, units.roll(1, 0)) - 0.1
    assert model.alignment(tokens, units) < model.alignment(-tokens, units)


def test_disentangling_is_nothing_for_independent_streams_and_large_for_copied_ones(tokenizer):
    penalty = DeftLLMForConditionalGeneration.disentangling
    one, two = (torch.randn(4000, 4, 8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    copied = penalty({"structure": one, "motion": 3 * one + 1})  # 8 unit correlations among 64
    assert float(copied) == pytest.approx(1 / 8, rel=0.05) and float(penalty({"structure": one, "motion": two})) < 1e-3
    assert penalty({"structure": one, "motion": -one}) > 0.1  # turned around is no less dependent


def test_the_training_loss_holds_every_part_with_its_weight(tokenizer):
    weights = {"emotion": 0.7, "unit": 0.6, "align": 0.5, "disentangle": 0.4}
    model = fresh(tokenizer, trained=True, **{f"{name}_weight": value for name, value in weights.items()})
    shown = (torch.rand(4, 17, 2, generator=torch.Generator().manual_seed(2)) < 0.3).float()
    inputs = {**examples(tokenizer, model, 4), **made_up(4), "emotion": torch.arange(4), "units": shown}
    with torch.no_grad():
        out, projected = model(**inputs), model.project({k: v for k, v in inputs.items() if k in model.streams})
        weigh = {"text": 1.0, "emotion": 0.7, "units": 0.6, "align": 0.5, "disentangle": 0.4}
        assert set(out.parts) == set(weigh) and all(value > 0 for value in out.parts.values())
        alone = {
            "align": model.alignment(projected["motion"], shown),
            "disentangle": model.disentangling(projected),
            "units": torch.nn.functional.binary_cross_entropy_with_logits(out.unit_logits, shown),
        }
        assert all(torch.allclose(out.parts[name], value) for name, value in alone.items())
        assert float(out.loss) == pytest.approx(
            sum(weigh[name] * float(value) for name, value in out.parts.items()), rel=1e-5
        )
    plain = DeftLLMConfig()  # and none is off by default
    assert min(plain.emotion_weight, plain.unit_weight, plain.align_weight, plain.disentangle_weight) > 0


# ---------------------------------------------------------------- answers
def test_shared_prefix_gives_the_likelihood_of_a_full_forward(tokenizer):
    model = fresh(tokenizer, trained=True)
    features = made_up(3)
    options = [
        prompt.ids_of(tokenizer, text)
        for text in ("disgust", "anger . evidence", "happiness . evidence : au12", "anger")
    ]
    batch = score.prompts(model, tokenizer, 3, score.PREFIX)
    shared = score.option_scores(model, batch, features, options)
    for column, option in enumerate(options):
        ids = torch.cat([batch["input_ids"], torch.tensor(option).expand(3, -1)], 1)
        hidden = model.hidden(
            model.embed(ids, features, model.project(features)), torch.ones_like(ids)
        ).last_hidden_state
        said = (
            model.word_logits(hidden[:, -len(option) - 1 : -1]).log_softmax(-1).gather(-1, ids[:, -len(option) :, None])
        )
        assert torch.allclose(shared[:, column], said.sum((1, 2)), atol=1e-4)


def test_the_head_reads_the_same_state_beside_the_likelihood(work):
    bench = tune.read_bench(work, facts=False)
    words, model = tune.build(work, "deft", tune.TuneSettings(), 1)
    rows = np.arange(5)
    _, head = score.emotion_scores(model.eval(), words, bench, rows, batch=3, head=True)
    plain = score.prompts(model, words, len(rows))
    with torch.no_grad():
        alone = model(
            plain["input_ids"],
            plain["attention_mask"],
            plain["prompt_end"],
            **data.features_of(bench, model.streams, rows),
        ).emotion_logits
    assert np.allclose(head, alone.softmax(-1), atol=1e-5)


def test_the_temperature_sharpens_the_classes_and_moves_no_answer(work):
    bench = tune.read_bench(work, facts=False)
    words, model = tune.build(work, "deft", tune.TuneSettings(class_temperature=0.5), 1)
    sharp, head = score.emotion_scores(model.eval(), words, bench, np.arange(5), head=True)
    model.config.class_temperature = 1.0
    plain, same = score.emotion_scores(model, words, bench, np.arange(5), head=True)
    assert np.allclose(sharp, plain**2 / (plain**2).sum(1, keepdims=True), atol=1e-6) and np.array_equal(head, same)


def test_cached_generation_equals_uncached(tokenizer):
    model = fresh(tokenizer, trained=True)
    features = made_up(3)
    with model.merged(), torch.no_grad():
        said = score.generate(model, tokenizer, features, 3, limit=12)
        batch = score.prompts(model, tokenizer, 3)
        embedded, mask = model.embed(batch["input_ids"], features, model.project(features)), batch["attention_mask"]
        words = []
        for _ in range(12):  # every step from the start
            words.append(model.word_logits(model.hidden(embedded, mask).last_hidden_state[:, -1]).argmax(-1))
            embedded = torch.cat([embedded, model.get_input_embeddings()(words[-1])[:, None]], 1)
            mask = torch.cat([mask, torch.ones(3, 1, dtype=mask.dtype)], 1)
    whole = [row.tolist() for row in torch.stack(words, 1)]
    ends = [row[: row.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in row else row for row in whole]
    assert said == [tokenizer.decode(row, skip_special_tokens=True).strip() for row in ends] and any(said)


# ---------------------------------------------------------------- tuning
def test_draws_depend_on_seed_epoch_and_index_only(work, tokenizer):
    bench = tune.read_bench(work)
    rows, settings = bench.rows(0, "train", "kept"), tune.TuneSettings(epochs=2, batch=8)
    first = tune.plan(tokenizer, bench, rows, ("structure", "motion"), settings, 3)
    assert repr(first) == repr(tune.plan(tokenizer, bench, rows, ("structure", "motion"), settings, 3))
    assert repr(first) != repr(tune.plan(tokenizer, bench, rows, ("structure", "motion"), settings, 4))
    alone = drawn.draw_example(tokenizer, bench, rows, ("structure", "motion"), settings, 3, 1, 5)
    assert repr(alone) in map(repr, first[len(first) // 2 :])
    swapped = np.mean([e["structure_row"] != e["row"] for e in first])
    assert 0.5 < swapped < 0.95 and all(any(e["present"]) for e in first)
    assert {e["structure_row"] for e in first} <= set(rows.tolist())  # looks come from training clips only


def test_rehearsed_examples_show_nobodys_tokens(work, tokenizer):
    bench = tune.read_bench(work)
    rows, streams = bench.rows(0, "train", "kept"), ("structure", "motion")
    settings = tune.TuneSettings(epochs=1, batch=8, rehearse=1.0, drop=0.0)
    examples = tune.plan(tokenizer, bench, rows, streams, settings, 3)[:8]
    batch = tune.collate(examples, tokenizer, bench, streams)
    assert not batch["lived"].any() and not np.allclose(
        batch["motion_units"], bench.features["motion_units"][[e["row"] for e in examples]]
    )
    slots = torch.isin(batch["input_ids"], torch.tensor([tokenizer.convert_tokens_to_ids(f"<{n}>") for n in streams]))
    assert not slots.any()
    words = batch["input_ids"] == tokenizer.convert_tokens_to_ids("<motion-unit>")
    assert batch["attention_mask"][words].all()
    assert not any(
        e["simulated"] for e in tune.plan(tokenizer, bench, rows, ("structure",), settings, 3)
    )  # nothing to read there


def test_an_unconfirmed_annotation_is_not_taught_as_absence(work, tokenizer):
    assert data.unconfirmed(
        [{"clip": "a", "verdicts": [{"verdict": "unsupported"}]}, {"clip": "b", "verdicts": [{"verdict": "confirmed"}]}]
    ) == {"a"}
    bench = tune.read_bench(work)
    rows, settings = bench.rows(0, "train", "kept"), tune.TuneSettings(epochs=4, batch=8, rehearse=0.0)
    silent = replace(bench, complete=[False] * len(bench.complete))
    for example in tune.plan(tokenizer, silent, rows, ("motion",), settings, 3):
        said = tokenizer.decode([i for i in example["labels"] if i != prompt.IGNORE])
        assert example["kind"] not in ("units", "motion") and "evidence" not in said
        if example["kind"] == "reasoning":
            assert said.startswith("class :") and "<eos>" not in said


def test_training_rows_are_disjoint_from_test_subjects(work):
    bench = tune.read_bench(work)
    for fold in range(3):
        parts = [set(bench.index.subject.iloc[bench.rows(fold, role)]) for role in ("train", "validation", "test")]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2]) and all(parts)


class Seen(Exception):
    """Raised in place of a step, with what the step was given."""


def test_a_run_meets_kept_clips_of_training_subjects_only(work, monkeypatch):
    def train(tokenizer, model, bench, rows, *rest, **more):
        raise Seen(bench, rows)

    monkeypatch.setattr(tune, "train", train)
    for fold in range(3):
        with pytest.raises(Seen) as seen:
            tune.tune(tune.Job("deft-m", 0, fold), work, tune.TuneSettings(epochs=1, batch=8, lr=9e-4))
        bench, rows = seen.value.args
        role, met = roles(bench.folds, fold), bench.index.iloc[rows]
        assert {role[subject] for subject in met.subject} == {"train"} and set(met.condition) == {"kept"}


def test_another_draw_begins_from_a_base_of_its_own(work, monkeypatch):
    def build(work, system, settings, seed, draw, base):
        raise Seen(seed, tune.base_of(work, "base", draw))

    monkeypatch.setattr(tune, "build", build)
    seeds, bases = set(), []
    shutil.copytree(work / "mllm" / "base", tune.base_of(work, "base", 1))
    try:
        for draw in (0, 1):
            with pytest.raises(Seen) as seen:
                tune.tune(tune.Job("deft-m", draw, 0), work, tune.TuneSettings(epochs=1, batch=8, lr=9e-4))
            seeds.add(seen.value.args[0])
            bases.append(seen.value.args[1])
    finally:
        shutil.rmtree(tune.base_of(work, "base", 1).parent)
    assert len(seeds) == 2 and bases == [work / "mllm" / "base", tune.base_of(work, "base", 1)] and bases[0] != bases[1]


def test_eight_examples_can_be_learned_by_heart(work):
    bench = tune.read_bench(work)
    settings = tune.TuneSettings(epochs=1, batch=8, swap=0.0, drop=0.0, rehearse=0.0)
    tokenizer, model = tune.build(work, "deft", settings, 1)
    batch = tune.collate(
        tune.plan(tokenizer, bench, bench.rows(0, "train", "kept")[:8], model.streams, settings, 1),
        tokenizer,
        bench,
        model.streams,
    )
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    parts = []
    for _ in range(60):
        out = model(**batch)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        parts.append(out.parts)
    assert parts[-1]["emotion"] < 0.1 < parts[0]["emotion"] and parts[-1]["text"] < 0.5 * parts[0]["text"]


def test_classes_that_no_text_names_are_learned_by_their_words(work):
    """Under another list a coarse word and `others`, which the base has never seen, are said where they belong."""
    four = ("negative", "positive", "surprise", "others")
    bench = tune.read_bench(work)
    others = {"anger": "others", "sadness": "others", "disgust": "negative", "happiness": "positive"}
    bench = replace(bench, index=bench.index.assign(emotion=bench.index["emotion"].replace(others)))
    bench = classes.named(bench, four)
    rows = bench.rows(0, "train", "kept")
    kinds = bench.index["emotion"].to_numpy()[rows]
    rows = np.concatenate([rows[kinds == name][:3] for name in four])
    settings = tune.TuneSettings(epochs=1, batch=12, swap=0.0, drop=0.0, rehearse=0.0, classes=four)
    tokenizer, model = tune.build(work, "deft", settings, 1)
    assert model.emotion_head.out_features == 4 and "others" in tokenizer.get_vocab()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    asked = [one for s in range(12) for one in tune.plan(tokenizer, bench, rows, model.streams, settings, s)]
    asked = [one for one in asked if one["kind"] == "reasoning"][:36]
    batch = tune.collate(asked, tokenizer, bench, model.streams)
    for _ in range(80):
        out = model(**batch)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
    truth = [four.index(name) for name in bench.index["emotion"].to_numpy()[rows]]
    said, head = score.emotion_scores(model.eval(), tokenizer, bench, rows, head=True)
    assert said.shape == (len(rows), 4) and np.mean(head.argmax(1) == truth) > 0.7 < np.mean(said.argmax(1) == truth)
    assert (said[9:].argmax(1) == 3).any()


def test_finished_runs_are_skipped_and_damaged_ones_redone(work):
    settings, job = tune.TuneSettings(epochs=1, batch=8), tune.Job("deft-m", 0, 1)
    bench = tune.read_bench(work)
    history = tune.tune(job, work, settings, bench)
    weights = job.folder(work) / "model.safetensors"
    whole, stamp = weights.read_bytes(), weights.stat().st_mtime_ns
    assert tune.tune(job, work, settings, bench) == history and weights.stat().st_mtime_ns == stamp
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.warns(RuntimeWarning, match="model.safetensors was altered"):
        tune.tune(job, work, settings, bench)
    assert weights.read_bytes() == whole  # done again, and the same bytes
    assert tune.state_of(job, work, settings) and not tune.state_of(job, work, replace(settings, lr=1e-4))
    assert str(work) not in "".join(path.read_text() for path in job.folder(work).glob("*.json"))


def test_a_system_is_taught_the_facts_of_its_construction(work):
    bench = tune.read_bench(work)
    sheet = tune.taught(bench, work, "au")
    assert [f.emotion for f in sheet.facts] == [f.emotion for f in bench.facts] and all(
        len(f.units) <= 1 for f in sheet.facts
    )
    assert sheet.features is bench.features and sum(sheet.complete) == len(sheet.complete) / 2
    settings = tune.TuneSettings(epochs=1, batch=8)
    assert (
        systems.model("deft-au").streams == systems.model("deft").streams
        and systems.model("deft-au").construction == "au"
    )
    history = tune.tune(tune.Job("deft-au", 0, 0), work, settings)
    assert history["streams"] == "stm" and [
        r["system"] for r in score.predict(tune.Job("deft-au", 0, 0), work, limit=4)
    ][:1] == ["deft-au"]
    keys = {tune.state_of(tune.Job("deft-au", 0, 0), work, settings).key}
    rows = runtime.read_jsonl(work / "unimer" / "facts-au.jsonl")
    runtime.write_jsonl(work / "unimer" / "facts-au.jsonl", rows[::-1])
    keys |= {tune.state_of(tune.Job("deft-au", 0, 0), work, settings).key}
    runtime.write_jsonl(work / "unimer" / "facts-au.jsonl", rows)
    assert len(keys) == 2  # other lessons, another run
    with pytest.raises(FileNotFoundError, match="facts-none.jsonl does not exist: run the stage"):
        tune.tune(tune.Job("deft-none", 0, 0), work, settings)


def test_predictions_have_the_promised_fields(work):
    settings = tune.TuneSettings(epochs=1, batch=8)
    jobs = [tune.Job("rgb-only", 0, fold) for fold in range(3)]
    tune.tune_all(jobs, work, settings, workers=1, log=lambda line: None)
    rows = score.predict_all(jobs, work, workers=1, log=lambda line: None, limit=8)
    bench = tune.read_bench(work)
    assert sorted(r["clip"] for r in rows) == sorted(bench.index["clip"])  # every clip is tested once
    for row in rows:
        assert ANSWERED | {"seed", "text_class", "head_class"} <= set(row)
        assert row["prediction"] == max(row["scores"], key=row["scores"].get) and set(row["scores"]) == set(EMOTIONS)
    held = score.predict_heldback("rgb-only", 0, range(3), work)
    assert len(held) == len(tune.read_bench(work, "heldback", "r", facts=False).index)


def test_unknown_systems_and_streams_are_refused(work):
    with pytest.raises(ValueError, match="rgb-only"):
        tune.tune(tune.Job("rgb", 0, 0), work, tune.TuneSettings())
    with pytest.raises(ValueError, match="structure, texture, motion"):
        prompt.streams_of("x")


# ---------------------------------------------------------------- the base
def test_a_local_folder_of_any_causal_model_serves_as_base(tokenizer, tmp_path):
    """Paper profile: another architecture, a tokenizer without our markers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate([w for w in tokenizer.get_vocab() if w not in prompt.MARKERS])}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", unk_token="<unk>").save_pretrained(
        tmp_path / "other"
    )
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
    ).save_pretrained(tmp_path / "other")
    theirs, base = language.load_base(tmp_path / "other")
    model = DeftLLMForConditionalGeneration(DeftLLMConfig.of(base, theirs, "stm", rank=2), base)
    out = model(**examples(theirs, model, 2), **made_up(2), emotion=torch.arange(2))
    assert torch.isfinite(out.loss)
    model.save_pretrained(tmp_path / "deft")
    again = DeftLLMForConditionalGeneration.from_pretrained(tmp_path / "deft", base=tmp_path / "other")
    assert torch.equal(again(**examples(theirs, model, 2), **made_up(2)).logits, out.logits)
    with pytest.raises(FileNotFoundError, match="07_joint_tuning"):
        language.load_base(Path(tmp_path) / "nowhere")


def test_pretraining_is_repeatable_and_kept(work, tmp_path):
    heard = detectors.path_of(work)
    short = replace(TINY, text_steps=4, soft_steps=4)
    first, second = (language.pretrain(short, tmp_path / name, heard, log=lambda line: None) for name in "ab")
    assert first["loss"] == second["loss"]
    stamp = (tmp_path / "a" / "model.safetensors").stat().st_mtime_ns
    language.pretrain(short, tmp_path / "a", heard, log=lambda line: None)
    assert (tmp_path / "a" / "model.safetensors").stat().st_mtime_ns == stamp
    shutil.copytree(tmp_path / "a", tmp_path / "linked", copy_function=os.link)  # as runs of several draws share a base
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    language.pretrain(
        replace(short, hidden=2 * TINY.hidden, text_steps=1, soft_steps=1),
        tmp_path / "linked",
        heard,
        log=lambda line: None,
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    assert (tmp_path / "linked" / "config.json").read_bytes() != before["config.json"]


def test_flat_text_tells_nothing_about_emotion():
    """The control: units of flat text are drawn without regard to the emotion."""

    def active(flat):
        rng = np.random.default_rng(0)
        found = [text_facts(rng, flat=flat) for _ in range(600)]
        return np.array(
            [
                [np.mean([any(u.code == code for u in f.units) for f in found if f.emotion == e]) for code in UNITS]
                for e in EMOTIONS
            ]
        )

    assert np.ptp(active(False), axis=0).max() > 0.4 and np.ptp(active(True), axis=0).max() < 0.2
    assert parse("class : anger .").emotion == "anger"


def test_a_worker_leaves_when_its_parent_was_killed_before_it_had_started(monkeypatch):
    monkeypatch.setattr(parallel, "quiet_worker", lambda: None)
    orphan = multiprocessing.get_context("fork").Process(
        target=lambda: (parallel._start_worker(parent=0), time.sleep(20))
    )
    orphan.start()
    orphan.join(10)
    assert orphan.exitcode == -signal.SIGTERM


def test_a_worker_stays_with_a_parent_that_lives(monkeypatch):
    monkeypatch.setattr(parallel, "quiet_worker", lambda: None)
    child = multiprocessing.get_context("fork").Process(
        target=lambda: (parallel._start_worker(parent=os.getppid()), time.sleep(1.5))
    )
    child.start()
    child.join(10)
    assert child.exitcode == 0


def test_workers_are_kept_between_calls_and_made_anew_in_other_surroundings_or_after_a_failure(monkeypatch):
    def workers():
        return set(parallel.in_parallel(os.getpid, [()] * 2, workers=2))

    kept = workers() | workers() | workers()
    assert len(kept) <= 2 and os.getpid() not in kept
    monkeypatch.setenv("DEFT_WORK", "elsewhere")  # what a child reads when it starts
    other = workers()
    assert not other & kept
    with pytest.raises(ValueError, match="x failed: invalid literal"):  # a mistake in the input stays one
        parallel.in_parallel(int, [("x",), ("1",)], workers=2)
    last = workers()
    assert not last & other
    for worker in last:  # as a machine short of memory kills what waits
        os.kill(worker, signal.SIGKILL)
    executor, limit = parallel._pool.executor, time.monotonic() + 10
    while not executor._broken and time.monotonic() < limit:
        time.sleep(0.01)
    assert workers() and not workers() & last
    parallel._pool.close()


def test_a_bench_that_is_kept_in_memory_is_read_again_when_a_file_of_it_changed(tmp_path):
    work = fake_bench.write(tmp_path, subjects=5, clips=2)
    before = data.cached_bench(work)
    assert data.cached_bench(work) is before
    place = work / "features" / "bench" / "motion.npy"
    np.save(place, np.load(place) + 1)
    after = data.cached_bench(work)
    assert np.allclose(after.features["motion"], before.features["motion"] + 1)
