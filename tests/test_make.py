"""What a user writes after `make` is data: it reaches the program to the letter and never a shell."""

import os
import shutil
import subprocess

import pytest

from deft import config, paths

HOSTILE = [
    '"; touch {hit}; "',
    "$(shell touch {hit})",
    "`touch {hit}`",
    "$(touch {hit})",
    "$$(touch {hit})",
    "'; touch {hit}; '",
    'a"b.mp4',
    "a`b.mp4",
    "a$b.mp4",
    "$$HOME",
    "a#b %c",
    "-x",
    "back\\slash",
    "\udcff.avi",
    "one\ttwo  three",
    "${{HOME}}",
    "*?[a]",
]
# target -> variable -> how it arrives
READ = {
    "reproduce": {"PROFILE": "--profile="},
    "see": {"PROFILE": "--profile="},
    "verify": {"PROFILE": "--profile="},
    "check": {"PROFILE": "--profile="},
    "reference": {"PROFILE": "--profile=", "RUNS": "--runs="},
    "status": {"PROFILE": "--profile="},
    "bench": {"PROFILE": "--profile=", "ONLY": "--only="},
    "analyse": {
        "PROFILE": "--profile=",
        "ONSET": "--onset=",
        "APEX": "--apex=",
        "OFFSET": "--offset=",
        "FPS": "--fps=",
        "LANDMARKS": "--landmarks=",
        "OUT": "--out=",
        "CLIP": "",
    },
    "data-check": {"DATA": "--root=", "DATASET": ""},
    "licensed": {
        "PROFILE": "--profile=",
        "DATA": "--root=",
        "FOLDS": "--folds=",
        "PROTOCOL": "--protocol=",
        "LANDMARKS": "--landmarks=",
        "DATASET": "",
    },
    "forget": {"DATASET": ""},
    "clean": {"PROFILE": ""},
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A folder with the Makefile and an "active environment" whose interpreter writes down its arguments."""
    folder = tmp_path_factory.mktemp("make")
    shutil.copy(paths.ROOT / "Makefile", folder)
    stub = folder / "a b$c" / "bin" / "python"
    stub.parent.mkdir(parents=True)
    stub.write_text('#!/bin/sh\n[ "$2" = deft.run.environment ] || printf "%s\\0" "$@" > "$SAID"\n')
    stub.chmod(0o755)
    return folder


def make(folder, *words, **more):
    """(return code, what was printed, the arguments that the interpreter was given)."""
    (folder / "said").unlink(missing_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "CONDA", "VIRTUAL_ENV"))}
    done = subprocess.run(
        ["make", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env={**kept, "VIRTUAL_ENV": str(folder / "a b$c"), "SAID": str(folder / "said"), **more},
    )
    said = os.fsdecode((folder / "said").read_bytes()).split("\0")[:-1] if (folder / "said").exists() else []
    return done.returncode, done.stdout + done.stderr, said


@pytest.mark.parametrize("target", READ)
def test_every_value_arrives_to_the_letter_and_nothing_is_executed(copy, target):
    hit = copy / "hit"
    for at, pattern in enumerate(HOSTILE):
        value = pattern.format(hit=hit)
        given = {name: f"{value}{name}" for name in READ[target]}
        words = [f"PYTHON={copy}/a b$c/bin/python", *(f"{k}={v}" for k, v in given.items())]
        # On the command line or from the environment: both are a user's.
        code, printed, said = (
            make(copy, target, *words) if at % 2 == 0 or target == "clean" else make(copy, target, **given)
        )
        assert code == 0, printed
        assert not hit.exists(), f"{pattern} was executed by make {target}"
        assert all(f"{READ[target][name]}{value}" in said for name, value in given.items()), (pattern, said)


def test_the_interpreter_that_is_named_is_only_a_name(tmp_path):
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(paths.ROOT / name, tmp_path)
    for pattern in HOSTILE[:6]:
        code, printed, _ = make(tmp_path, "env", f"PYTHON={pattern.format(hit=tmp_path / 'hit')}", VIRTUAL_ENV="")
        assert code and "not found" in printed and not (tmp_path / "hit").exists(), pattern
        make(tmp_path, "clean", f"PYTHON={pattern.format(hit=tmp_path / 'hit')}", VIRTUAL_ENV="")
        assert not (tmp_path / "hit").exists(), pattern


def test_a_variable_that_nothing_reads_is_refused(copy):
    for word in ("apex=5", "Onset=3", "PROFIL=smoke", f"x=$(shell touch {copy / 'hit'})"):
        code, printed, said = make(copy, "analyse", "CLIP=a.avi", word)
        assert (
            code == 2
            and f"unknown variable {word.split('=')[0]}" in printed
            and not said
            and not (copy / "hit").exists()
        )
    assert make(copy, "analyse", "CLIP=a.avi", "DEFT_WORK=/x")[0] == 0


def test_what_is_not_given_is_not_passed(copy):
    assert make(copy, "analyse", "CLIP=a.avi")[2] == ["-m", "deft", "analyse", "--profile=demo", "--", "a.avi"]
    assert make(copy, "data-check", "DATASET=casme2", "STRICT=1")[2] == [
        "-m",
        "deft",
        "data-check",
        "--strict",
        "--",
        "casme2",
    ]
    code, printed, said = make(copy, "analyse")
    assert (
        code == 2 and not said and all(f"{name}=" in printed for name in ("CLIP", "ONSET", "FPS", "LANDMARKS", "OUT"))
    )


def test_the_lab_opens_on_the_first_notebook_with_the_results_in_reach(copy):
    code, printed, said = make(copy, "lab")
    given = dict(word.removeprefix("--").split("=", 1) for word in said if word.startswith("--"))
    assert code == 0 and said[:3] == ["-m", "jupyter", "lab"] and not printed
    assert given.pop("ServerApp.ip") == "127.0.0.1" and not any("token" in name or "password" in name for name in given)
    assert (
        given["ServerApp.root_dir"] == str(copy)
        and given["LabApp.default_url"] == "/lab/tree/notebooks/00_start_here.ipynb"
    )
    assert (paths.NOTEBOOKS / "00_start_here.ipynb").is_file()
    assert "note: what lies at /elsewhere" in make(copy, "lab", DEFT_WORK="/elsewhere")[1]


def test_help_names_the_profiles_and_what_analyse_reads(copy):
    printed = make(copy, "help")[1]
    assert f"[PROFILE={'|'.join(config.profiles(paths.NOTEBOOKS))}]" in printed
    assert all(f"{name}=" in printed for name in READ["analyse"])
