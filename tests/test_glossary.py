"""The glossary: one row a word, no word twice, and each row leads to a notebook that uses the word."""

import json
import re

from deft import paths

GLOSSARY = paths.ROOT / "docs/glossary.md"
ROWS = [line for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("| **")]


def text_of(notebook):
    return " ".join(
        "".join(cell["source"]) for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    ).lower()


def test_every_row_has_a_word_a_meaning_and_a_notebook():
    for row in ROWS:
        assert re.fullmatch(r"\| \*\*[^*|]+\*\* \| [^|]+[^|.] \| \[\d\d\]\(\.\./notebooks/\w+\.ipynb\) \|", row), row


def test_no_word_is_defined_twice():
    words = [word.strip().lower() for row in ROWS for word in re.sub(r"\(.*?\)", "", row.split("**")[1]).split(",")]
    assert len(words) >= 30 and sorted(words) == sorted(set(words))


def test_the_notebook_named_exists_and_uses_the_word():
    for row in ROWS:
        notebook = (GLOSSARY.parent / re.search(r"\]\((.+?)\)", row)[1]).resolve()
        words = re.split(r"[,() ]+", row.split("**")[1].strip("() ").lower())
        assert any(word in text_of(notebook) for word in words), f"{notebook.name} never says {' or '.join(words)}"
