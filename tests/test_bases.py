"""Bases of other families: random weights of two layers, tokenizers made here. What must not change anything does not,
and a family that is computed otherwise is refused by its name.
"""

import functools
import json
import shutil

import fake_bench
import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from deft import config, paths, weights
from deft.clips.facs import EMOTIONS
from deft.mllm import (
    DeftLLMConfig,
    DeftLLMForConditionalGeneration,
    DeftLLMProcessor,
    base,
    detectors,
    hub,
    language,
    prompt,
    score,
    tune,
)
from deft.run import book
from deft.unimer.facts import text_facts

LIKE_LLAMA = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=512,
    initializer_range=0.1,
)
SHORT = language.LanguageSettings(hidden=32, layers=1, heads=1, intermediate=32, text_steps=1, soft_steps=1, batch=2)
WITH_HEADS = LIKE_LLAMA | {"head_dim": 16}
FAMILIES = {  # name: (config class, settings, tokenizer)
    "qwen2": ("Qwen2Config", LIKE_LLAMA, "bytes"),
    "qwen3": ("Qwen3Config", WITH_HEADS | {"tie_word_embeddings": True}, "bytes"),
    "llama2": ("LlamaConfig", LIKE_LLAMA, "pieces"),
    "llama3": ("LlamaConfig", LIKE_LLAMA | {"tie_word_embeddings": True}, "bytes"),
    "smollm3": ("SmolLM3Config", LIKE_LLAMA, "bytes"),
    "mistral": ("MistralConfig", WITH_HEADS, "pieces"),
    "phi3": ("Phi3Config", LIKE_LLAMA, "pieces"),
    "olmo2": ("Olmo2Config", LIKE_LLAMA, "bytes"),
    "opt": (
        "OPTConfig",
        dict(
            hidden_size=32,
            word_embed_proj_dim=32,
            ffn_dim=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=512,
            init_std=0.1,
        ),
        "bytes",
    ),
    "gpt_neox": ("GPTNeoXConfig", LIKE_LLAMA | {"hidden_dropout": 0.1}, "bytes"),
    "gemma": ("GemmaConfig", WITH_HEADS, "pieces"),
    "gemma2": ("Gemma2Config", WITH_HEADS | {"final_logit_softcapping": 2.0}, "pieces"),
    "granite": (
        "GraniteConfig",
        LIKE_LLAMA | {"logits_scaling": 4.0, "embedding_multiplier": 3.0, "attention_multiplier": 0.3},
        "bytes",
    ),
    "cohere": ("CohereConfig", LIKE_LLAMA, "bytes"),
    "gpt2": ("GPT2Config", dict(n_embd=32, n_layer=2, n_head=2, n_positions=512, initializer_range=0.1), "bytes"),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        WITH_HEADS | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
        "bytes",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    tune.quiet_worker()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizers():
    """Byte-level BPE, as Qwen, Llama 3 and GPT-2 have it, and pieces with a mark for spaces, as Llama 2 and Gemma."""
    rng = np.random.default_rng(0)
    said = [" ".join(language.ask(text_facts(rng), rng)[1:]) for _ in range(150)]
    said += [
        " ".join(f"au{n}" for n in range(28)),
        "user question answer structure texture motion rgb units : none both",
    ]
    found = {}
    for name in ("bytes", "pieces"):
        inner = Tokenizer(models.BPE(unk_token=None if name == "bytes" else "<unk>"))
        inner.pre_tokenizer = (
            pre_tokenizers.ByteLevel(add_prefix_space=False)
            if name == "bytes"
            else pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.Metaspace()])
        )
        inner.decoder = decoders.ByteLevel() if name == "bytes" else decoders.Metaspace()
        special = ["<end>"] if name == "bytes" else ["<unk>", "<s>", "</s>"]
        alphabet = (
            pre_tokenizers.ByteLevel.alphabet() if name == "bytes" else list("abcdefghijklmnopqrstuvwxyz0123456789")
        )
        inner.train_from_iterator(
            said, trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
        )
        words = (
            dict(eos_token="<end>") if name == "bytes" else dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")
        )
        found[name] = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **words)
    return found


def write(folder, family, tokenizers, dtype=torch.float32, shards="5GB"):
    """A random base of a family in `folder`; returns the model that was written."""
    kind, settings, words = FAMILIES[family]
    tokenizer = tokenizers[words]
    torch.manual_seed(3)
    config = getattr(transformers, kind)(
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=None,
        **settings,
    )
    model = transformers.AutoModelForCausalLM.from_config(config).to(dtype).eval()
    model.save_pretrained(folder, max_shard_size=shards)
    tokenizer.save_pretrained(folder)
    return model


def joined(folder, streams="stm", **how):
    """(tokenizer, model) on a base, its adapters moved off their start."""
    tokenizer, found = hub.load(folder, **how)
    config = DeftLLMConfig.of(found, tokenizer, streams, rank=2, alpha=4, seed=1)
    model = DeftLLMForConditionalGeneration(config, found).eval()
    stream = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=stream) * 0.1
    return tokenizer, model


def features(count, seed=0):
    stream = torch.Generator().manual_seed(seed)
    found = {name: torch.randn(count, 4, 64, generator=stream) for name in ("structure", "texture", "motion")}
    return found | {f"{name}_units": torch.rand(count, 17, 2, generator=stream) for name in ("texture", "motion")}


def rows_of(batch, *rows):
    return {name: value[list(rows)] for name, value in batch.items()}


def close(one, other):
    return float((one - other).norm() / other.norm()) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_of_this_family_is_computed_as_its_own_class_does(family, tokenizers, tmp_path):
    theirs = write(tmp_path / "base", family, tokenizers, shards="20KB" if family == "qwen2" else "5GB")
    tokenizer, model = joined(tmp_path / "base")
    # loading: the base's own logits, embeddings as it embeds
    words = model.config.unit_words
    ids = torch.tensor([[i for word in words[:3] for i in word]])
    _, again = hub.load(tmp_path / "base")
    known = theirs.config.vocab_size
    assert torch.equal(again(input_ids=ids).logits[..., :known], theirs(input_ids=ids).logits)
    seen = theirs(input_ids=torch.tensor([words[4]]), output_hidden_states=True).hidden_states[0][0]
    if family not in ("gpt2", "opt", "granite"):  # these add positions or scale after their table
        assert torch.allclose(model.words()[4], seen.mean(0), atol=1e-6)
    length = model.words().norm(dim=-1).mean() * np.sqrt(np.mean([len(word) for word in words]))
    assert 0.5 < float(model.projectors["motion"].norm.weight.detach().mean()) * 32**0.5 / float(length) < 2
    # padding, batches
    answers = ("class : disgust .", "class : anger . evidence : au4 both .", "yes")
    asked = [
        prompt.closed_up(prompt.encode(tokenizer, model.streams, "which emotion ?", answer, dropped))
        for answer, dropped in zip(answers, ((), ("structure",), ("motion", "texture")))
    ]
    given = features(3)
    with torch.no_grad():
        right, left = (model(**prompt.pad(asked, tokenizer.pad_token_id, side), **given) for side in (False, True))
        alone = [
            model(**prompt.pad([one], tokenizer.pad_token_id), **rows_of(given, row)) for row, one in enumerate(asked)
        ]
    for what in ("logits", "emotion_logits", "unit_logits"):
        assert close(getattr(right, what), torch.cat([getattr(one, what) for one in alone])), what
        assert close(getattr(left, what), getattr(right, what)), what
    # on disk: own tensors alone, the base by reference, the same bits
    model.save_pretrained(tmp_path / "run")
    kept = weights.tensors(tmp_path / "run")
    assert kept and all(base.own(name) for name in kept)
    assert str(tmp_path) not in (tmp_path / "run" / "config.json").read_text()
    loaded = DeftLLMForConditionalGeneration.from_pretrained(tmp_path / "run", base=tmp_path / "base")
    with torch.no_grad():
        said = loaded(**prompt.pad(asked, tokenizer.pad_token_id), **given)
    assert torch.equal(said.logits, right.logits) and torch.equal(said.unit_logits, right.unit_logits)
    # a cache, and adapters that are folded in
    asks = [prompt.encode(tokenizer, model.streams, question) for question in ("why ?", "which emotion ?")]
    batch, given, steps = prompt.pad(asks, tokenizer.pad_token_id, left=True), features(2, 1), 4
    ends = {"eos_token_id": -1, "pad_token_id": tokenizer.pad_token_id}
    cached = model.generate(**batch, **given, max_new_tokens=steps, **ends)
    options = torch.randint(0, known, (3, 3), generator=torch.Generator().manual_seed(5)).tolist()
    options.append(options[0][:1])
    scores, plain = score.score_labels(model, batch | given, options), []
    with torch.no_grad():
        embedded = model.embed(batch["input_ids"], given, model.project(given))
        grown, mask = embedded, batch["attention_mask"]
        for _ in range(steps):
            logits = model.word_logits(model.hidden(grown, mask).last_hidden_state[:, -1])
            plain.append(logits.argmax(-1))
            grown = torch.cat([grown, model.get_input_embeddings()(plain[-1])[:, None].to(grown.dtype)], 1)
            mask = torch.cat([mask, torch.ones(2, 1, dtype=mask.dtype)], 1)
        for column, option in enumerate(options):
            word = torch.tensor(option).expand(2, -1)
            longer = torch.cat([embedded, model.get_input_embeddings()(word)], 1)
            mask = torch.cat([batch["attention_mask"], torch.ones_like(word)], 1)
            chance = model.word_logits(model.hidden(longer, mask).last_hidden_state[:, -len(option) - 1 : -1])
            likely = chance.log_softmax(-1).gather(-1, word[..., None]).sum((1, 2))
            assert torch.allclose(scores[:, column], likely, atol=1e-3)
        assert torch.equal(cached, torch.stack(plain, 1))
        apart = model(**prompt.pad(asked, tokenizer.pad_token_id), **features(3)).logits
        with model.merged():
            assert close(model(**prompt.pad(asked, tokenizer.pad_token_id), **features(3)).logits, apart)
    # one step
    moved = one_step(loaded, prompt.pad(asked, tokenizer.pad_token_id) | features(3))
    assert moved == {name for name in loaded.state_dict() if base.own(name)}


def one_step(model, batch):
    """Names of the tensors that a step of training moves; the loss of the same batch is the same twice."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    batch |= {"emotion": torch.arange(3), "units": torch.zeros(3, 17, 2)}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    assert torch.equal(model(**batch).loss, loss := model(**batch).loss)  # no dropout
    loss.backward()
    optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("family", ["qwen3", "gemma", "gpt2"])
def test_a_coarse_base_learns_with_fine_adapters(family, tokenizers, tmp_path):
    """bfloat16 in the base, float32 in what learns; the base is as it was after answers and a step."""
    write(tmp_path / "base", family, tokenizers, torch.bfloat16)
    tokenizer, model = joined(tmp_path / "base")
    kinds = {(base.own(name), value.dtype) for name, value in model.named_parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    before = {name: value.clone() for name, value in model.state_dict().items() if not base.own(name)}
    one = prompt.encode(tokenizer, model.streams, "which emotion ?", "class : disgust .")
    batch = prompt.pad([one] * 3, tokenizer.pad_token_id) | features(3)
    fine = torch.Generator().manual_seed(0)
    for name, value in model.named_parameters():
        if "lora_B" in name:  # adapters too fine for the base's numbers: folded into it, they would be rounded away
            value.data.normal_(0.0, 1e-4, generator=fine)
    with torch.no_grad(), model.merged():
        out = model(**batch)
    with torch.no_grad():
        assert torch.equal(out.logits, model(**batch).logits)
    assert out.logits.dtype == out.unit_logits.dtype == torch.float32 and bool(torch.isfinite(out.logits).all())
    assert one_step(model, batch) == {name for name in model.state_dict() if base.own(name)}
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    exact = joined(tmp_path / "base", dtype="float32")[1]
    assert {p.dtype for p in exact.parameters()} == {torch.float32}


@pytest.mark.parametrize("family", ["qwen2", "gemma2"])
def test_labels_are_scored_after_texts_with_any_base(family, tokenizers, tmp_path, monkeypatch):
    """Prompts of different lengths, labels of one token and of several, against one forward for each; in parts, where
    memory has no room for all labels at once, they are the same.
    """
    write(tmp_path / "base", family, tokenizers)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    tokenizer = tokenizers[FAMILIES[family][2]]
    texts, labels = (
        ["which emotion ?", "which unit moves on the left side of the face ?"],
        ["a", "disgust", "anger . au4"],
    )
    scores = score.score_labels(model, texts, labels, tokenizer)
    for row, text in enumerate(texts):
        asked = tokenizer(text)["input_ids"]
        for column, label in enumerate(labels):
            said = prompt.ids_of(tokenizer, label)
            with torch.no_grad():
                chance = model(torch.tensor([asked + said])).logits[0, len(asked) - 1 : -1].log_softmax(-1)
            likely = chance.gather(-1, torch.tensor(said)[:, None]).sum()
            assert float(scores[row, column]) == pytest.approx(float(likely), abs=1e-3)
    assert torch.allclose(score.score_labels(model, texts, labels), scores)  # the tokenizer of the model's folder
    with monkeypatch.context() as patched:
        patched.setattr(score, "continued", functools.partial(score.continued, room=1))
        many = [*labels, "anger . au4", "sadness . au1"]
        assert torch.allclose(score.score_labels(model, texts, many)[:, :3], scores, atol=1e-4)
    with pytest.raises(ValueError, match="has no token"):
        score.score_labels(model, texts, [[1], []], tokenizer)


def test_auto_classes_take_the_place_of_the_base(tokenizers, tmp_path):
    write(tmp_path / "base", "qwen2", tokenizers)
    _, model = joined(tmp_path / "base")
    model.save_pretrained(tmp_path / "run")
    again = transformers.AutoModel.from_pretrained(tmp_path / "run", base=tmp_path / "base")
    own = {name: value for name, value in model.state_dict().items() if base.own(name)}
    assert all(torch.equal(again.state_dict()[name], value) for name, value in own.items())
    with pytest.raises(TypeError, match="holds its base itself"):
        model.save_pretrained(tmp_path / "whole", with_base=True)
        transformers.AutoModel.from_pretrained(tmp_path / "whole", base=tmp_path / "base")


# ---------------------------------------------------------------- refusals
def test_families_that_are_computed_otherwise_are_refused_by_name(tokenizers, tmp_path, monkeypatch):
    words = tokenizers["bytes"]
    mamba = transformers.MambaConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=2, state_size=4)
    transformers.MambaForCausalLM(mamba).save_pretrained(tmp_path / "mamba")
    words.save_pretrained(tmp_path / "mamba")
    with pytest.raises(base.BaseError, match="family 'mamba' cannot be a base"):
        joined(tmp_path / "mamba")
    t5 = transformers.T5Config(vocab_size=len(words), d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2)
    transformers.T5ForConditionalGeneration(t5).save_pretrained(tmp_path / "t5")
    words.save_pretrained(tmp_path / "t5")
    with pytest.raises(base.BaseError, match="family 't5'.*no causal language model"):
        joined(tmp_path / "t5")
    write(tmp_path / "granite", "granite", tokenizers)
    own = transformers.GraniteForCausalLM.forward

    def forward(self, *args, **kwargs):
        out = own(self, *args, **kwargs)
        out.logits = 1.1 * out.logits
        return out

    monkeypatch.setattr(transformers.GraniteForCausalLM, "forward", forward)
    with pytest.raises(base.BaseError, match="family 'granite' cannot be a base.*off its own"):
        joined(tmp_path / "granite")


def test_a_saved_model_wants_the_very_base_that_it_was_tuned_on(tokenizers, tmp_path):
    write(tmp_path / "one", "qwen2", tokenizers)
    _, model = joined(tmp_path / "one")
    model.save_pretrained(tmp_path / "run")
    known = json.loads((tmp_path / "run" / "config.json").read_text())["named_base"]
    assert known == {"id": "one", "revision": "", "sha256": weights.content(tmp_path / "one")}
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    altered = tmp_path / "other" / "model.safetensors"
    raw = bytearray(altered.read_bytes())
    raw[-3] ^= 1
    altered.write_bytes(raw)
    with pytest.raises(base.BaseError, match="is not the one that was tuned on"):
        DeftLLMForConditionalGeneration.from_pretrained(tmp_path / "run", base=tmp_path / "other")
    write(tmp_path / "wide", "gemma", tokenizers)
    state = tmp_path / "run" / "config.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"streams": "m"}))
    with pytest.raises(ValueError, match="another architecture"):
        DeftLLMForConditionalGeneration.from_pretrained(tmp_path / "run", base=tmp_path / "one")
    model.save_pretrained(tmp_path / "whole", with_base=True)
    assert torch.equal(
        DeftLLMForConditionalGeneration.from_pretrained(tmp_path / "whole").words(), model.words()
    )  # needs nothing else


def test_damaged_and_absent_bases_are_named(tokenizers, tmp_path, monkeypatch):
    write(tmp_path / "base", "qwen2", tokenizers, shards="20KB")
    shards = sorted((tmp_path / "base").glob("*.safetensors"))
    assert len(shards) > 2 and hub.load(tmp_path / "base")[1].reference.id == "base"
    whole = shards[1].read_bytes()
    shards[1].write_bytes(whole[:-7])
    with pytest.raises(base.BaseError, match=f"{shards[1].name} is damaged or cut short"):
        hub.load(tmp_path / "base")
    shards[1].unlink()
    with pytest.raises(base.BaseError, match=f"{shards[1].name} is missing"):
        hub.load(tmp_path / "base")
    shards[1].write_bytes(whole)
    monkeypatch.setattr(hub, "free", lambda device: 1e5)
    with pytest.raises(
        base.BaseError, match=r"does not fit: .* billion numbers x 4 bytes = .* GiB, adapters .* free on cpu"
    ):
        hub.load(tmp_path / "base")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(base.BaseError, match="`hf download Qwen/Nothing-0B --revision v1 --local-dir FOLDER`"):
        hub.load("Qwen/Nothing-0B", "v1")
    with pytest.raises(base.BaseError, match="no folder .* and this is no hub id"):
        hub.load("/nowhere/at/all")
    with pytest.raises(base.BaseError, match="dtype 'int3': choose among"):
        hub.load(tmp_path / "base", dtype="int3")


def test_what_the_tokenizer_must_know(tokenizers, tmp_path):
    write(tmp_path / "base", "llama2", tokenizers)
    tokenizer, found = hub.load(tmp_path / "base")
    assert set(prompt.MARKERS) <= set(tokenizer.get_vocab()) and tokenizer.pad_token_id is not None
    assert found.get_input_embeddings().num_embeddings == len(tokenizer)
    rows = found.get_input_embeddings().weight
    assert torch.allclose(rows[-1], rows[: -len(prompt.MARKERS)].mean(0))  # nothing is drawn
    silent = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    with pytest.raises(ValueError, match="does not know"):
        prompt.unit_words(transformers.PreTrainedTokenizerFast(tokenizer_object=silent, unk_token="<unk>"))


# ---------------------------------------------------------------- a base that a profile names
@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return fake_bench.write(tmp_path_factory.mktemp("bases") / "work")


@pytest.mark.parametrize("profile, family", [("gpu", "qwen2"), ("paper", "llama2")])
def test_a_profile_runs_with_a_base_of_its_family(profile, family, work, tokenizers, tmp_path, monkeypatch):
    """Random weights in place of the billions: named, tuned, answered by the code of every profile."""
    defaults = {stage.name: stage.defaults for stage in book.load(paths.NOTEBOOKS)}
    given = config.overrides(profile, defaults, paths.NOTEBOOKS)["07_joint_tuning"]
    assert weights.HUB_ID.fullmatch(given["base"]) and "flat" not in given["systems"]
    there = tmp_path / "bases" / given["base"].split("/")[1]
    write(there, family, tokenizers, torch.bfloat16, shards="20KB")
    if chat := profile == "gpu":
        words = transformers.AutoTokenizer.from_pretrained(there)
        words.chat_template = CHAT
        words.save_pretrained(there)
    place, said = tune.base_of(work, "base", 0), []
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(there, place)  # put there by hand
    for overwrite in (
        lambda: language.pretrain(SHORT, place, detectors.path_of(work)),
        lambda: hub.name(place, str(there)),
    ):
        with pytest.raises(base.BaseError, match="put there by hand; it is not overwritten"):
            overwrite()
    shutil.rmtree(place)
    monkeypatch.setenv(weights.PLACES, str(there.parent))
    reference = hub.name(place, given["base"], given["base_revision"], said.append)
    assert reference.id == given["base"] and "GiB, adapters" in said[0] and "free on" in said[0]
    assert [p.name for p in place.iterdir()] == [hub.NAMED] and hub.room(place) >= 1
    settings, job = tune.TuneSettings(epochs=1, batch=8, rank=2, chat=chat), tune.Job("deft-m", 0, 0)
    (history,) = tune.tune_all([job], work, settings, workers=1, log=said.append)
    assert np.isfinite([step["loss"] for step in history["curve"]]).all()
    folder = job.folder(work)
    assert all(base.own(name) for name in weights.tensors(folder))
    assert not any(str(tmp_path) in p.read_text() for p in folder.glob("[!.]*.json"))
    rows = score.predict_all([job], work, workers=1, log=said.append, limit=3)
    assert rows and {row["prediction"] for row in rows} <= set(EMOTIONS)
    assert tune.state_of(job, work, settings)
    assert (prompt.FRAME in score.load(folder)[0].init_kwargs) == chat
    shutil.move(there, tmp_path / "gone")
    with pytest.raises(base.BaseError, match="hf download"):
        score.load(folder)
    assert score.load(folder, tmp_path / "gone")[1].config.named_base["id"] == given["base"]


def test_answers_that_are_not_finite_stop(work):
    shutil.rmtree(tune.base_of(work, "base", 0), ignore_errors=True)
    language.pretrain(SHORT, tune.base_of(work, "base", 0), detectors.path_of(work), log=lambda line: None)
    bench = tune.read_bench(work)
    tokenizer, model = tune.build(work, "deft-m", tune.TuneSettings(rank=2), 1)
    with torch.no_grad():
        model.projectors["motion"].norm.weight.fill_(torch.inf)
    with pytest.raises(ValueError, match="likelihoods of rows .* are not finite"):
        score.emotion_scores(model, tokenizer, bench, np.arange(3))


# ---------------------------------------------------------------- chat templates
CHAT = (  # of spaced words, since ours are split at spaces
    "{% for m in messages %}<bos> user {{ m['content'] }} <eos>{% endfor %}"
    "{% if add_generation_prompt %} answer{% endif %}"
)


def test_a_chat_template_stands_around_the_prompt_and_is_kept_with_the_tokenizer(tmp_path):
    plain, chatty = language.build_tokenizer(), language.build_tokenizer()
    asked = {"streams": ("motion",), "question": "which emotion is it ?", "answer": "class : anger .", "tokens": 1}
    before = prompt.encode(plain, **asked)
    chatty.chat_template = CHAT
    assert prompt.encode(chatty, **asked) == before  # a template that nobody asked for changes nothing
    prompt.chat_frame(chatty)
    framed = prompt.encode(chatty, **asked)
    said = chatty.decode(framed["input_ids"]).split()
    assert said[:4] == ["<bos>", "user", "user", ":"] and said.count("<bos>") == 1
    opened = said.index("?")
    assert said[opened:] == ["?", "<eos>", "answer", "answer", ":", "class", ":", "anger", ".", "<eos>"]
    assert chatty.decode(framed["input_ids"][framed["prompt_length"] :]) == "class : anger . <eos>"
    scored = [i for i, label in enumerate(framed["labels"]) if label != prompt.IGNORE]
    assert scored == list(range(framed["prompt_length"], len(said)))
    chatty.chat_template = CHAT.replace("<bos> user", "<bos> question")  # as one that names another day
    chatty.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert prompt.encode(again, **asked) == framed
    other = language.build_tokenizer()
    other.chat_template = CHAT
    DeftLLMProcessor(other, "m", tokens=1, chat=True)
    assert prompt.encode(other, **asked) == framed


def test_a_template_that_is_missing_or_alters_the_words_is_refused():
    tokenizer = language.build_tokenizer()
    with pytest.raises(ValueError, match="no chat template"):
        prompt.chat_frame(tokenizer)
    tokenizer.chat_template = CHAT.replace("m['content']", "m['content'] | upper")
    with pytest.raises(ValueError, match="does not keep the user's words"):
        prompt.chat_frame(tokenizer)
    assert prompt.FRAME not in tokenizer.init_kwargs
