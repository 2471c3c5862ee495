"""What notebooks call to be read: which parameters they show, sentences that are checked, functions shown beside their
formula.

`lab` shows; it computes no product, so the driver does not count it among the code that a stage's result depends on.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from types import SimpleNamespace

from deft import paths, runtime
from deft.run import execute, hand
from deft.run.see import EXPECTED, MIME, NOT_HERE, TOO_SMALL, told

SMALL = "smoke"  # the profile that is too small to learn anything

_shown = SimpleNamespace(profile=SMALL, opened=None)  # what the notebook in this kernel shows; `parameters` sets it


def parameters(names: dict, notebook: str, again: bool = False) -> SimpleNamespace:
    """The parameters that notebook `notebook` (01_clips, ...) shows, as an object and in `names` (pass `globals()`);
    one line says what that is.

    Under the driver they are what it injected. Opened by hand: the profile that is typed into the parameters cell, else
    `$DEFT_PROFILE`, else the newest complete one, else smoke; the other parameters from that profile's file; a value
    that somebody typed stands above both. By hand no product that is there is replaced, and a call that would replace
    it by one of other parameters raises `runtime.MadeOtherwise`. again: the products of this notebook may be replaced.
    """
    if hand.driven():
        print(f"profile {names['profile']}, run by the driver")
        _shown.profile = names["profile"]
        return SimpleNamespace(**_literals(names))
    if _shown.opened is None and (shell := _shell()):
        shell.events.register(
            "pre_run_cell", lambda info: None if "lab.parameters(" in info.raw_cell else _look_again(shell.user_ns)
        )
        shell.events.register("post_run_cell", lambda result: _say(_shown.opened.after(result.success)))
    _compute_alike()
    return _open(hand.Opened(notebook, _literals(names), again), names)


def _compute_alike() -> None:
    """As many threads as under the driver and no GPU: both change the last digits of what is computed."""
    from threadpoolctl import threadpool_limits

    for name, value in execute.FIXED.items():
        os.environ.setdefault(name, value)  # for worker processes, and for libraries that are not loaded yet
    threadpool_limits(int(os.environ["OMP_NUM_THREADS"].split(",")[0]))


def _open(opened, names: dict, why: str = "") -> SimpleNamespace:
    before = _shown.opened.rules(why) if why else {}
    rules = json.dumps({**before, **opened.rules(why)})
    if "joblib" in sys.modules and os.environ.get(runtime.BY_HAND, rules) != rules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)  # workers that wait for work still have the rules of before
    os.environ[runtime.BY_HAND] = rules
    names.update(opened.values)
    _shown.opened, _shown.profile = opened, opened.chain.profile
    print(why or opened.line())
    return SimpleNamespace(**opened.values)


def _literals(names: dict) -> dict:
    return {name: value for name, value in names.items() if isinstance(value, (str, int, float, bool))}


def _look_again(names: dict) -> None:
    """Somebody ran the parameters cell again, and not the setup cell: an edit counts from here on, the committed
    literals do not.
    """
    before = _shown.opened
    if any(names.get(name) != value for name, value in before.values.items()):
        now = hand.Opened(before.name, _literals(names), before.again, before.notebooks)
        moved = now.chain.profile != before.chain.profile
        _open(
            now,
            names,
            (
                f"profile {now.chain.profile} is typed: run the setup cell again; no product is replaced before"
                if moved
                else ""
            ),
        )


def made(*names: str) -> bool:
    """Whether these paths, as the notebook's metadata promises them, are there and need not be made; one line says so.

    Always False under the driver, which decides that itself. Raises `runtime.MadeOtherwise` when they were made with
    other parameters."""
    if _shown.opened is None or not _shown.opened.made(names):
        return False
    print(f"{', '.join(names)}: made {hand.when(_shown.opened.record)}, not computed again")
    return True


def typed() -> dict:
    """{parameter: value} that somebody typed and the profile has otherwise; empty under the driver."""
    return _shown.opened.typed if _shown.opened else {}


def _say(words: str) -> None:
    if words:
        print(words)


def _shell():
    from IPython import get_ipython

    return get_ipython()


def see(words: str, holds: object, numbers: str = "", *, small: bool = False, unanswered: str = "") -> None:
    """Print the sentence `words` with the outcome of its check: *as expected*, or *not here* with the numbers.

    holds: truth value of the sentence, computed in this cell. numbers: what it was computed from, in words; required
    reading when it does not hold. small: the sentence can be judged in profile `smoke` too; by default smoke says that
    it is too small. unanswered: why an expectation that fails is left standing as an open question; without it `python
    -m deft see` exits 1 on the failure."""
    if not isinstance(words, str) or isinstance(holds, str):
        raise TypeError("see(words, holds): the sentence first, then what was computed")
    outcome = TOO_SMALL if _shown.profile == SMALL and not small else EXPECTED if bool(holds) else NOT_HERE
    check = {"words": words, "outcome": outcome, "numbers": numbers, "unanswered": unanswered}
    _display({"text/plain": told(check), "text/html": f'<p class="deft-see">{escape(told(check))}</p>', MIME: check})


def source(function: Callable | type) -> None:
    """Show the source of a function or class of `deft`, with file and line: what stands under a formula cannot go
    stale.
    """
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    code, first = inspect.getsourcelines(inspect.unwrap(function))
    text = inspect.cleandoc("\n" + "".join(code))
    where = f"{Path(inspect.getsourcefile(inspect.unwrap(function))).relative_to(paths.ROOT).as_posix()}, line {first}"
    page = highlight(text, PythonLexer(), HtmlFormatter(noclasses=True, nobackground=True))
    _display({"text/plain": f"# {where}\n{text}", "text/html": f"<p><code>{where}</code></p>{page}"})


def _display(bundle: dict) -> None:
    from IPython.display import display

    display(bundle, raw=True)
