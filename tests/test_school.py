"""Bases from elsewhere as our own: adapters that learned to read soft words from text alone, unit names as tokens."""

import functools
import shutil
import signal
from dataclasses import replace

import fake_bench
import kills
import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_bases import close, features, one_step, one_thread, tokenizers, write  # noqa: F401

from deft.mllm import (
    DeftLLMConfig,
    DeftLLMForConditionalGeneration,
    base,
    detectors,
    hub,
    language,
    prompt,
    school,
    tune,
)
from deft.mllm.detectors import Detectors

SETTINGS = tune.TuneSettings(school=40, batch=8, lr=1e-2, rank=8, epochs=1)
SHORT = replace(SETTINGS, school=4, batch=2, rank=2, unit_tokens=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory, tokenizers):  # noqa: F811
    made = fake_bench.write(tmp_path_factory.mktemp("school") / "work")
    write(made.parent / "base", "qwen2", tokenizers)
    hub.name(tune.base_of(made, "base", 0), str(made.parent / "base"), log=lambda line: None)
    return made


def reader(base, settings):
    """(tokenizer, model that schooling trains) before schooling."""
    tokenizer, text = school.equip(base, settings)
    config = DeftLLMConfig.of(text, tokenizer, school.STREAMS, rank=settings.rank, alpha=2 * settings.rank, tokens=0)
    return tokenizer, DeftLLMForConditionalGeneration(config, text)


@torch.no_grad()
def held_out(tokenizer, model, work, loss=school.loss, shift=0, count=4, batch=24):
    """Mean loss of texts that schooling never drew; shift: by how many examples the soft words are put off."""
    drawn = language.LanguageSettings(text_steps=0, soft_steps=count, batch=batch, seed=99)
    heard, losses = Detectors.load(detectors.path_of(work)), []
    for examples in language.text_batches(tokenizer, drawn, language.soft_example, count, heard):
        batch = language.text_inputs(tokenizer, examples)
        units = {name: value.roll(shift, 0) for name, value in batch.items() if name.endswith("_units")}
        losses.append(float(loss(model, batch | units)))
    return sum(losses) / count


@pytest.mark.parametrize("shift", [0, 5])
def test_before_it_learns_its_loss_is_that_of_text_pretraining(work, shift):
    """Adapters start as nothing: what is asked, where the soft words stand and what is scored must be the same."""
    tokenizer, model = reader(work.parent / "base", replace(SETTINGS, unit_tokens=False))
    text, words = language.load_base(work.parent / "base")[1], prompt.unit_words(tokenizer)
    plain = functools.partial(language.next_word_loss, tokenizer=tokenizer, words=words)
    few = {"count": 2, "batch": 8, "shift": shift}
    theirs = held_out(tokenizer, text, work, lambda m, b: plain(m, batch=b), **few)
    assert held_out(tokenizer, model, work, **few) == pytest.approx(theirs, abs=1e-5)
    assert theirs != pytest.approx(held_out(tokenizer, model, work, **few | {"shift": 3}), abs=1e-6)  # they are read


def test_adapters_alone_learn_and_folds_start_from_them(work, tmp_path):
    """That they learn to read soft words takes minutes: `python -m tests.schooling`."""
    plain = language.LanguageSettings(
        hidden=32, layers=1, heads=2, intermediate=64, text_steps=40, soft_steps=0, batch=8
    )
    there = tmp_path / "plain"
    language.pretrain(plain, there, detectors.path_of(work), log=lambda line: None)
    history = school.school(work, 0, SETTINGS, there)
    tokenizer, model = reader(there, SETTINGS)
    before, start = held_out(tokenizer, model, work), {n: v.clone() for n, v in model.state_dict().items()}
    school.begin(model, school.folder_of(work, 0, there))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, start[name])}
    assert moved == {name for name in start if "lora_" in name} and len(history["loss"]) == SETTINGS.school
    assert held_out(tokenizer, model, work) < before - 0.1
    learned = load_file(school.folder_of(work, 0, there) / school.FILE)
    _, fold = tune.build(work, "deft", SETTINGS, 3, base=there)
    assert learned.keys() == school.adapters(fold).keys()
    assert all(torch.equal(value, learned[name]) for name, value in school.adapters(fold).items())
    _, fresh = tune.build(work, "deft", replace(SETTINGS, school=0), 3, base=there)
    own = {n: v for n, v in fresh.state_dict().items() if base.own(n) and not base.adapts(n)}
    assert own and all(torch.equal(fold.state_dict()[name], value) for name, value in own.items())


def test_a_changed_base_detectors_or_settings_make_it_stale(work, tmp_path):
    state = school.state_of(work, 0, SHORT)
    school.school(work, 0, SHORT)
    assert not state and school.state_of(work, 0, SHORT)
    assert school.state_of(work, 0, replace(SHORT, epochs=9, swap=0.0))  # what only folds read
    for change in ({"school": 5}, {"rank": 3}, {"unit_tokens": False}, {"seed": 8}, {"draw": 1}):
        assert not school.state_of(work, 0, replace(SHORT, **change)), change
    job, other = tune.Job("deft-m", 0, 0), shutil.copytree(work, tmp_path / "work")
    key = tune.state_of(job, other, SHORT).key
    kept = load_file(detectors.path_of(other))
    with safe_open(detectors.path_of(other), "pt") as file:
        about = file.metadata()
    save_file(kept | {"offset": kept["offset"] + 0.01}, detectors.path_of(other), about)
    assert "detectors.safetensors changed" in school.state_of(other, 0, SHORT).why
    assert tune.state_of(job, other, SHORT).key != key
    elsewhere = shutil.copytree(work.parent / "base", tmp_path / "base")
    assert school.folder_of(work, 0, elsewhere) == school.folder_of(work, 0)  # by content, wherever it lies
    (elsewhere / "generation_config.json").write_text("{}")
    assert "never finished" in school.state_of(work, 0, SHORT, elsewhere).why
    with pytest.raises(FileNotFoundError, match="adapter.safetensors is missing: run 07"):
        tune.build(work, "deft-m", SHORT, 1, base=elsewhere)
    with pytest.raises(ValueError, match="of another base or rank"):
        tune.build(work, "deft-m", replace(SHORT, rank=3), 1)


def test_killed_and_resumed_it_ends_in_the_same_bytes(work, tmp_path):
    whole, other = school.folder_of(work, 0), shutil.copytree(work, tmp_path / "work")
    school.school(work, 0, SHORT)
    out = school.folder_of(other, 0)
    shutil.rmtree(out, ignore_errors=True)  # schooled by another test, or not
    process = kills.start(school.school, other, 0, SHORT, before=kills.dying(school, "save_file", 1))
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    (newest, _) = sorted((out / ".checkpoints").glob("checkpoint-*"), reverse=True)
    assert not (out / school.FILE).exists()
    shutil.rmtree(newest)
    school.school(other, 0, SHORT)
    assert kills.content(out).keys() == kills.content(whole).keys()
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in (school.FILE, "history.json"))


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "gemma"])
def test_unit_names_become_tokens_whose_rows_alone_learn(family, tokenizers, tmp_path):  # noqa: F811
    write(tmp_path / "base", family, tokenizers)
    tokenizer, text = hub.load(tmp_path / "base")
    pieces, table = prompt.unit_words(tokenizer), text.get_input_embeddings().weight.clone()
    new = hub.single_tokens(tokenizer, text)
    words = prompt.unit_words(tokenizer)
    split = [name for name, ids in zip(prompt.UNIT_NAMES, pieces) if len(ids) > 1]
    assert split and set(split) <= set(new) and all(len(ids) == 1 for ids in words)
    at = prompt.UNIT_NAMES.index(split[0])
    row = text.get_input_embeddings().weight[words[at][0]]
    assert torch.allclose(row, table[pieces[at]].mean(0), atol=1e-6)
    model = DeftLLMForConditionalGeneration(DeftLLMConfig.of(text, tokenizer, "stm", rank=2, alpha=4, seed=1), text)
    answers = ["class : anger . evidence : au4 both au12 left", "class : disgust .", "au1 left"]
    asked = [prompt.encode(tokenizer, model.streams, "which emotion ?", answer) for answer in answers]
    assert [words[prompt.UNIT_NAMES.index(name)][0] in asked[0]["input_ids"] for name in ("au4", "au12")] == [True] * 2
    assert tokenizer.decode(asked[0]["input_ids"], skip_special_tokens=True).endswith(answers[0])
    # one step moves the new rows, in an untied head too, and no other row of the tables
    tables = [m.weight.detach().clone() for m in (model.get_input_embeddings(), model.language.get_output_embeddings())]
    moved = one_step(model, prompt.pad(asked, tokenizer.pad_token_id) | features(3))
    own = {name for name, _ in model.named_parameters() if base.own(name)}
    assert own <= moved and all(base.own(name) for name in moved)
    assert len([name for name in own if "trainable_tokens" in name]) == (2 if family == "qwen2" else 1)
    for part, was in zip((model.get_input_embeddings(), model.language.get_output_embeddings()), tables):
        changed = (part.weight != was).any(1).nonzero()[:, 0].tolist()
        assert changed == sorted(prompt.unit_tokens(tokenizer)) and len(changed) == len(new)
    # padding, disk
    with torch.no_grad():
        model.eval()
        right, left = (
            model(**prompt.pad(asked, tokenizer.pad_token_id, side), **features(3)) for side in (False, True)
        )
    assert close(left.logits, right.logits)
    model.save_pretrained(tmp_path / "run")
    tokenizer.save_pretrained(tmp_path / "run")
    assert all(base.own(name) for name in hub.tensors(tmp_path / "run"))
    model.save_pretrained(tmp_path / "whole", with_base=True)
    for again in (
        DeftLLMForConditionalGeneration.from_pretrained(tmp_path / "run", base=tmp_path / "base"),
        DeftLLMForConditionalGeneration.from_pretrained(tmp_path / "whole"),
    ):
        with torch.no_grad():
            assert torch.equal(again(**prompt.pad(asked, tokenizer.pad_token_id), **features(3)).logits, right.logits)
    assert prompt.unit_words(transformers.AutoTokenizer.from_pretrained(tmp_path / "run")) == words


def test_a_head_with_a_bias_and_a_tokenizer_that_refuses_are_named(tokenizers, tmp_path, monkeypatch):  # noqa: F811
    write(tmp_path / "base", "qwen2", tokenizers)
    tokenizer, text = hub.load(tmp_path / "base")
    text.lm_head.bias = torch.nn.Parameter(torch.zeros(text.lm_head.out_features))
    with pytest.raises(base.BaseError, match="family 'qwen2' has a word head with a bias"):
        base.tables(text, [1])
    tokenizer, text = hub.load(tmp_path / "base")
    monkeypatch.setattr(tokenizer, "add_tokens", lambda new: 0)
    with pytest.raises(base.BaseError, match="does not take 'au"):
        hub.single_tokens(tokenizer, text)


def test_the_command_schools_a_base_and_starts_from_it(work, tmp_path):
    asked = kills.command.Request(
        tune.Job("deft-m", 0, 0), work, replace(SHORT, batch=8), tmp_path / "out", str(work.parent / "base")
    )
    assert "steps of 1 x 8" in kills.command.run(asked)
    assert school.state_of(work, 0, asked.settings) and "finished before" in kills.command.run(asked)
    kept = hub.tensors(tmp_path / "out")
    assert any("trainable_tokens" in name for name in kept) and all(base.own(name) for name in kept)
    with pytest.raises(kills.command.TuneError, match="schooled on one process .*without `accelerate launch`"):
        kills.command._schooled(replace(asked, settings=SHORT), work.parent / "base", 2)
