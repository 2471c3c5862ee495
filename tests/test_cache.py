"""The one rule for "is it unchanged": content of inputs, settings, code without comments and docstrings, and whole
files.
"""

import ast
import shutil

import pytest

from deft import cache, closure, paths, runtime
from deft.run import syntax


def make(folder, **parts):
    """A sealed product of two files."""
    state = cache.fresh(folder, **parts)
    assert not state
    folder.mkdir(exist_ok=True)
    (folder / "weights.bin").write_bytes(bytes(range(200)))
    (folder / "inner").mkdir(exist_ok=True)
    (folder / "inner" / "curve.json").write_text("[1, 2]")
    state.seal(seconds=3.5)
    return cache.fresh(folder, **parts)


def test_a_sealed_product_is_fresh_and_says_what_was_told_beside(tmp_path):
    state = make(tmp_path / "a", settings={"rate": 0.1})
    assert state and state.why == "" and state.about == {"seconds": 3.5}
    assert state.key == cache.key(settings={"rate": 0.1}) == make(tmp_path / "b", settings={"rate": 0.1}).key


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda f: (f / "weights.bin").write_bytes(bytes(range(199))), "weights.bin was altered"),  # truncated
        (lambda f: (f / "weights.bin").write_bytes(bytes(199) + b"x"), "weights.bin was altered"),  # same size
        (lambda f: shutil.copy(f / "weights.bin", f / "inner" / "curve.json"), "curve.json was altered"),  # swapped
        (lambda f: (f / "inner" / "curve.json").unlink(), "curve.json is missing"),
    ],
)
def test_a_damaged_file_is_named_and_the_product_made_again(tmp_path, change, words):
    make(tmp_path / "a")
    change(tmp_path / "a")
    with pytest.warns(RuntimeWarning, match="it is made again"):
        state = cache.fresh(tmp_path / "a")
    assert not state and words in state.why and words in cache.damage(tmp_path / "a")


def test_nothing_is_finished_before_the_seal_and_nothing_with_a_broken_record(tmp_path):
    state = cache.fresh(tmp_path / "a")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("x")
    assert "never finished" in cache.fresh(tmp_path / "a").why
    state.seal()
    assert cache.fresh(tmp_path / "a")
    for text in ("", "[]", "{}", (tmp_path / "a" / ".made.json").read_text()[:-9]):
        (tmp_path / "a" / ".made.json").write_text(text)
        assert "cannot be read" in cache.fresh(tmp_path / "a").why


def test_a_promised_file_that_was_not_written_cannot_be_sealed(tmp_path):
    with pytest.raises(FileNotFoundError, match="b.npy was not written"):
        cache.fresh(tmp_path, files=["b.npy"], name="b").seal()
    with pytest.raises(FileNotFoundError, match="nothing was written"):
        cache.fresh(tmp_path).seal()


def test_products_that_share_a_folder_do_not_answer_for_each_other(tmp_path):
    for name in ("one.npz", "two.npz"):
        (tmp_path / name).write_text(name)
        cache.fresh_file(tmp_path / name, settings={"name": name}).seal()
    (tmp_path / "two.npz").write_text("one.npz")
    assert cache.fresh_file(tmp_path / "one.npz", settings={"name": "one.npz"})
    with pytest.warns(RuntimeWarning):
        assert not cache.fresh_file(tmp_path / "two.npz", settings={"name": "two.npz"})


def test_settings_and_inputs_count_by_content_and_are_named(tmp_path):
    inputs = tmp_path / "set" / "rows"
    inputs.mkdir(parents=True)
    (inputs / "a.npy").write_text("1")
    (inputs / ".hidden").write_text("1")
    assert make(tmp_path / "p", inputs=[inputs], settings={"rate": 1})
    assert cache.fresh(tmp_path / "p", [inputs], {"rate": 2}).why == "setting rate changed 1 -> 2"
    moved = tmp_path / "elsewhere" / "set" / "rows"
    shutil.copytree(inputs, moved)
    (moved / ".hidden").write_text("2")
    assert cache.fresh(tmp_path / "p", [moved], {"rate": 1})  # the same content in another work folder
    (inputs / "a.npy").write_text("2")
    assert cache.fresh(tmp_path / "p", [inputs], {"rate": 1}).why == "input set/rows/a.npy changed"
    (inputs / "a.npy").unlink()
    with pytest.raises(FileNotFoundError, match="run the stage that writes it"):
        cache.key([inputs])


def test_the_lock_file_counts_where_code_does(tmp_path, monkeypatch):
    before = cache.key(code="deft.paths")
    monkeypatch.setattr(cache, "lock", lambda: "other")
    assert cache.key(code="deft.paths") != before


# ---------------------------------------------------------------- code


def test_what_was_told_of_a_module_is_kept_and_never_of_another_text(tmp_path, monkeypatch):
    honest = True

    def digest(text):
        (tmp_path / "deft").mkdir(exist_ok=True)
        (tmp_path / "deft" / "a.py").write_text(text)
        told = syntax.KeptClosure(tmp_path)
        found = told.files(["import deft.a"])["deft/a.py"]
        told.keep()
        if honest:
            assert found == closure.Closure(tmp_path).files(["import deft.a"])["deft/a.py"]
        return found

    one, kept = digest("x = 1"), tmp_path / "deft" / "__pycache__" / "syntax.json"
    assert digest("x = 2") != one and len(runtime.read_json(kept)) == 2
    kept.write_text("{")  # cut short
    assert digest("x = 1") == one and len(runtime.read_json(kept)) == 1
    honest = False
    monkeypatch.setattr(closure, "syntax_hash", lambda tree: pytest.fail("read again"))
    assert digest("x = 1") == one


@pytest.mark.parametrize(
    "first, second, same",
    [
        ("x = 1  # one", "x = 1", True),
        ("x = 1\n\n\ny = (2)", "x = 1\ny = 2", True),
        ('"""Said."""\nx = 1', '"""Said otherwise."""\nx = 1', True),
        ('def f():\n    """Said."""\n    return 1', "def f():\n    return 1", True),
        (
            'class A:\n    """Said."""\n    async def f(self):\n        """Said."""\n        return 1',
            "class A:\n    async def f(self):\n        return 1",
            True,
        ),
        ("x = 'a'", "x = 'b'", False),
        ('def f():\n    """Said."""\n    return "a"', 'def f():\n    """Said."""\n    return "b"', False),
        ('x = """text"""', 'x = """other"""', False),
        ("x = 1", "x = 1.0", False),
        ("x = 1", "x = True", False),
        ("x = (1)", "x = (1,)", False),
        ("x = a - (b - c)", "x = a - b - c", False),
    ],
)
def test_code_counts_and_words_about_it_do_not(tmp_path, first, second, same):
    def digest(text):
        (tmp_path / "deft").mkdir(exist_ok=True)
        (tmp_path / "deft" / "a.py").write_text(text)
        return closure.Closure(tmp_path).files(["import deft.a"])["deft/a.py"]

    assert (digest(first) == digest(second)) is same


@pytest.mark.parametrize(
    "first, second, same",
    [
        ("x = 1\nx", "# why\nx = 1  # one\n\nx", True),
        ("x;", "x", False),
        ("'shown'", "'otherwise'", False),
        ("%matplotlib inline\nx", "%matplotlib widget\nx", False),
        ("%pip list\nx", "%pip list\nx  # said", True),
        ("broken(", "broken(  # said", False),
    ],
)
def test_cells_count_by_what_they_do(first, second, same):
    assert (closure.cell_hash(first) == closure.cell_hash(second)) is same


def test_a_misspelt_name_is_an_error_and_not_an_empty_closure():
    for name in ("deft.experts.pretrian", "deft.mllm.tune.tnue", "deft.nothing"):
        with pytest.raises(ValueError, match="no module"):
            closure.Closure(paths.ROOT).files([], [name])
    whole = closure.Closure(paths.ROOT).files([], ["deft.mllm.tune"])
    assert closure.Closure(paths.ROOT).files([], ["deft.mllm.tune.tune"]) == whole and "deft/unimer/facts.py" in whole


# ---------------------------------------------------------------- products


def test_a_shard_that_is_cut_altered_or_of_another_code_is_rendered_again(tmp_path, monkeypatch):
    from deft.clips import benchmark

    plans, path, calls = benchmark.plan_corpus(benchmark.BenchmarkSpec(), 1, 1), tmp_path / "c000.npz", []
    real = benchmark.render_plan
    monkeypatch.setattr(benchmark, "render_plan", lambda plan: calls.append(plan.clip) or real(plan))
    benchmark.render_subject(plans, path)
    whole = path.read_bytes()
    benchmark.render_subject(plans, path)
    assert len(calls) == 1
    for damaged in (whole[: len(whole) // 2], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]):
        path.write_bytes(damaged)
        with pytest.warns(RuntimeWarning, match="c000.npz was altered"):
            benchmark.render_subject(plans, path)
        assert path.read_bytes() == whole
    (tmp_path / ".made.c000.npz.json").unlink()  # killed between the shard and its record
    benchmark.render_subject(plans, path)
    code = dict(cache.code_of("deft.clips.benchmark"))
    monkeypatch.setattr(cache, "code_of", lambda *_: {**code, "deft/clips/simulator/appearance.py": "changed"})
    benchmark.render_subject(plans, path)
    assert len(calls) == 5


def test_a_damaged_checkpoint_is_named_and_training_starts_over(tmp_path):
    import torch

    from deft.checkpoint import Checkpoint

    def run():
        model = torch.nn.Linear(3, 2)
        return model, torch.optim.AdamW(model.parameters())

    model, optimiser = run()
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    kept = Checkpoint(tmp_path, "key")
    kept.save(model, optimiser, [{"epoch": 1}], {"weight": torch.ones(2, 3)})
    other, second = run()
    history, best = kept.load(other, second)
    assert (
        history == [{"epoch": 1}]
        and torch.equal(best["weight"], torch.ones(2, 3))
        and torch.equal(other.weight, model.weight)
    )
    assert torch.equal(second.state_dict()["state"][0]["exp_avg"], optimiser.state_dict()["state"][0]["exp_avg"])
    assert Checkpoint(tmp_path, "another").load(*run()) == ([], {})
    whole = kept.path.read_bytes()
    for damaged in (whole[:-40], whole[:-1] + bytes([whole[-1] ^ 1]), whole.replace(b"epoch", b"epocx")):
        kept.path.write_bytes(damaged)
        with pytest.warns(RuntimeWarning, match="training starts over"):
            assert kept.load(*run()) == ([], {})


# ---------------------------------------------------------------- code of every stage


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package that may be edited."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(paths.ROOT / "deft", root / "deft", ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def known(package):
    """A closure that has read every module of the copy; a test that edits one forgets that one alone."""
    return closure.Closure(package)


def asked():
    """Every `code` that the package gives to the cache, from the calls themselves."""
    found = set()
    for path in (paths.ROOT / "deft").rglob("*.py"):
        for call in (
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        ):
            if ast.unparse(call.func) in ("cache.fresh", "cache.fresh_file", "cache.key"):
                code = [k.value for k in call.keywords if k.arg == "code"]  # perhaps one of two: "a" if ... else "b"
                given = [
                    a for a in [*call.args, *(n for c in code for n in ast.walk(c))] if isinstance(a, ast.Constant)
                ]
                found |= {a.value for a in given if isinstance(a.value, str) and a.value.startswith("deft.")}
    return sorted(found)


# (module, a constant in it) that a stage reaches over one other module at least, and that its own rule once forgot
FAR = {
    "deft.clips.benchmark": ("clips/simulator/appearance.py", "LENS_SIGMA"),
    "deft.experts.pretrain": ("unimer/wording.py", None),
    "deft.experts.frozen": ("paths.py", None),
    "deft.motion.prepare": ("motion/rigid.py", "CUT"),
    "deft.motion.meflow.train": ("clips/simulator/appearance.py", "LENS_SIGMA"),
    "deft.mllm.language": ("clips/facs.py", None),
    "deft.mllm.tune": ("unimer/facts.py", None),
    "deft.mllm.detectors": ("clips/facs.py", None),
    "deft.mllm.instruct": ("unimer/wording.py", None),
    "deft.mllm.school": ("unimer/wording.py", None),
    "deft.evaluation.peers.prepare.phases": ("clips/keyframes.py", None),
    "deft.licensed.stages": ("faces/detect.py", "AGREE"),
    "deft.licensed.contact": ("motion/rigid.py", "CUT"),
    "deft.evaluation.printed": ("paths.py", None),
    "deft.evaluation.reproduced": ("paths.py", None),
    "deft.clips.readers.fixtures": ("clips/simulator/appearance.py", "LENS_SIGMA"),
}


def test_every_stage_that_keeps_its_work_is_tried_here():
    assert set(asked()) == set(FAR)


@pytest.mark.parametrize("code", asked())
def test_a_constant_far_away_changes_the_key_and_words_do_not(code, package, known):
    module, constant = FAR[code]
    path, name = package / "deft" / module, "deft." + module.removesuffix(".py").replace("/", ".")
    before, text = known.files([], [code]), path.read_text(encoding="utf-8")
    own = package / next(
        file
        for one in (code, code.rpartition(".")[0])  # the last part may be a function
        for file in (one.replace(".", "/") + ".py", one.replace(".", "/") + "/__init__.py")
        if (package / file).is_file()
    )
    assert path != own and f"deft/{module}" in before

    def after(changed):
        assert changed != text
        path.write_text(changed, encoding="utf-8")
        known._known.pop(name, None)
        try:
            return known.files([], [code])
        finally:
            path.write_text(text, encoding="utf-8")
            known._known.pop(name, None)

    tree = ast.parse(text)
    number = next(
        node
        for one in tree.body
        if isinstance(one, (ast.Assign, ast.AnnAssign, ast.FunctionDef))
        and (constant is None or constant in ast.unparse(one).split("=")[0])
        for node in ast.walk(one)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float)
    )
    lines = text.splitlines(keepends=True)
    line = lines[number.lineno - 1].encode()
    lines[number.lineno - 1] = (
        line[: number.col_offset] + repr(number.value + 1).encode() + line[number.end_col_offset :]
    ).decode()
    assert {file for file, digest in after("".join(lines)).items() if digest != before[file]} == {f"deft/{module}"}
    assert (
        after(
            "\n\n# said\n" + text.replace('"""', '"""Said. ', 1).replace("\ndef ", "\n\n\n# said\ndef ") + "\n# said\n"
        )
        == before
    )
