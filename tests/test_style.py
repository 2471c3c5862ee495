"""Form and lint: `ruff format` changes nothing, `ruff check` finds nothing (its rules stand in pyproject.toml)."""

import subprocess
import sys

import pytest

from deft import paths


@pytest.mark.parametrize("command", [("format", "--check"), ("check", "--no-cache")], ids=["format", "lint"])
def test_ruff_has_nothing_to_say(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "deft", "tests"], cwd=paths.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
