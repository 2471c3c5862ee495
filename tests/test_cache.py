"""The one rule for "is it unchanged": content of inputs, settings, code without comments and docstrings, and whole files."""

import json
import shutil

import pytest

from deft import cache, closure, paths


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


@pytest.mark.parametrize("change, words", [
    (lambda f: (f / "weights.bin").write_bytes(bytes(range(199))), "weights.bin was altered"),                    # truncated
    (lambda f: (f / "weights.bin").write_bytes(bytes(199) + b"x"), "weights.bin was altered"),                    # same size
    (lambda f: shutil.copy(f / "weights.bin", f / "inner" / "curve.json"), "curve.json was altered"),             # swapped
    (lambda f: (f / "inner" / "curve.json").unlink(), "curve.json is missing")])
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

@pytest.mark.parametrize("first, second, same", [
    ("x = 1  # one", "x = 1", True),
    ("x = 1\n\n\ny = (2)", "x = 1\ny = 2", True),
    ('"""Said."""\nx = 1', '"""Said otherwise."""\nx = 1', True),
    ('def f():\n    """Said."""\n    return 1', "def f():\n    return 1", True),
    ('class A:\n    """Said."""\n    async def f(self):\n        """Said."""\n        return 1', "class A:\n    async def f(self):\n        return 1", True),
    ("x = 'a'", "x = 'b'", False),
    ('def f():\n    """Said."""\n    return "a"', 'def f():\n    """Said."""\n    return "b"', False),
    ('x = """text"""', 'x = """other"""', False),
    ("x = 1", "x = 1.0", False), ("x = 1", "x = True", False), ("x = (1)", "x = (1,)", False), ("x = a - (b - c)", "x = a - b - c", False)])
def test_code_counts_and_words_about_it_do_not(tmp_path, first, second, same):
    def digest(text):
        (tmp_path / "deft").mkdir(exist_ok=True)
        (tmp_path / "deft" / "a.py").write_text(text)
        return closure.Closure(tmp_path).files(["import deft.a"])["deft/a.py"]
    assert (digest(first) == digest(second)) is same


@pytest.mark.parametrize("first, second, same", [
    ("x = 1\nx", "# why\nx = 1  # one\n\nx", True),
    ("x;", "x", False),
    ("'shown'", "'otherwise'", False),
    ("%matplotlib inline\nx", "%matplotlib widget\nx", False),
    ("%pip list\nx", "%pip list\nx  # said", True),
    ("broken(", "broken(  # said", False)])
def test_cells_count_by_what_they_do(first, second, same):
    assert (closure.cell_hash(first) == closure.cell_hash(second)) is same


def test_a_misspelt_name_is_an_error_and_not_an_empty_closure():
    for name in ("deft.experts.pretrian", "deft.mllm.tune.tnue", "deft.nothing"):
        with pytest.raises(ValueError, match="no module"):
            closure.Closure(paths.ROOT).files([], [name])
    whole = closure.Closure(paths.ROOT).files([], ["deft.mllm.tune"])
    assert closure.Closure(paths.ROOT).files([], ["deft.mllm.tune.tune"]) == whole and "deft/unimer/facts.py" in whole
