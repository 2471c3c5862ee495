"""Profiles, read strictly: notebooks/params/<profile>.yaml overrides literals of each notebook's own `parameters` cell.

The file maps a notebook's name to {parameter: value}; the section `all` applies to every notebook that has the
parameter. Anything unknown or of another type is an error with the nearest valid name, before anything runs (papermill
alone only warns)."""

import ast
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

SHARED = "all"


class ConfigError(ValueError):
    """A profile or a parameters cell that cannot be used; the message names the place and the remedy."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Words that point to the nearest valid name, or list the valid ones."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"valid: {', '.join(known)}" if known else "there are none"


def profiles(notebooks: Path) -> list[str]:
    """Names of the profiles that exist beside the notebooks."""
    return sorted(p.stem for p in (Path(notebooks) / "params").glob("*.yaml"))


def check_profile(profile: str, notebooks: Path) -> None:
    """Raise ConfigError for a profile that does not exist: its name becomes part of paths, so `../x` must not pass."""
    known = profiles(notebooks)
    if profile not in known:
        raise ConfigError(f"unknown profile {profile!r}; {nearest(profile, known)}")


def literals(source: str, where: str) -> dict:
    """Parameters of a `parameters` cell: `name = literal` or `name: type = literal`, one per line, nothing else."""
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise ConfigError(f"{where}: the parameters cell does not parse ({error.msg}, line {error.lineno})") from error
    found = {}
    for node in body:
        target = (
            node.targets[0]
            if isinstance(node, ast.Assign) and len(node.targets) == 1
            else getattr(node, "target", None)
        )
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not isinstance(target, ast.Name) or node.value is None:
            raise ConfigError(f"{where}: line {node.lineno} of the parameters cell is not `name = literal`")
        try:
            value = ast.literal_eval(node.value)
        except ValueError as error:
            raise ConfigError(
                f"{where}: parameter {target.id!r} is not a plain literal; papermill could not override what is derived"
                " from it"
            ) from error
        if target.id in found:
            raise ConfigError(f"{where}: parameter {target.id!r} is set twice")
        found[target.id] = value
    return found


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice (plain YAML keeps the last one silently)."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if key in seen:
                raise ConfigError(f"{self.name}: line {key_node.start_mark.line + 1}: {key!r} is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict:
    loader = None
    try:
        loader = _UniqueKeys(path.read_text(encoding="utf-8"))
        loader.name = str(path)
        content = loader.get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of notebook names, found {type(content).__name__}")
    for section, values in content.items():
        if values is not None and not isinstance(values, dict):
            raise ConfigError(
                f"{path}: section {section!r} must be a mapping of parameters, found {type(values).__name__} {values!r}"
            )
    return {section: values or {} for section, values in content.items()}


def checked(value: Any, default: Any, where: str) -> Any:
    """`value` if it has the type of `default` (a whole number may stand for a float); otherwise an error with both
    types.
    """
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if default is None or type(value) is type(default):
        if isinstance(value, list) and default:
            return [checked(item, default[0], f"{where}[{i}]") for i, item in enumerate(value)]
        return value
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    hint = (
        "; YAML reads 1e-4 as text, write 1.0e-4"
        if isinstance(default, (int, float)) and isinstance(value, str)
        else ""
    )
    raise ConfigError(
        f"{where} must be {type(default).__name__} (like {default!r}), found {type(value).__name__} {value!r}{hint}"
    )


def overrides(profile: str, defaults: dict[str, dict], notebooks: Path) -> dict[str, dict]:
    """What a profile changes in each notebook: {notebook: {parameter: value}}, checked against `defaults` (the
    parameters cells).

    Raises ConfigError for an unknown profile, notebook or parameter, a wrong type, or a file that cannot be read.
    """
    path = Path(notebooks) / "params" / f"{profile}.yaml"
    if profile not in profiles(notebooks):
        raise ConfigError(f"unknown profile {profile!r} (no {path}); {nearest(profile, profiles(notebooks))}")
    content = _read(path)
    result = {name: {"profile": profile} if "profile" in known else {} for name, known in defaults.items()}
    for section, values in content.items():
        if section != SHARED and section not in defaults:
            raise ConfigError(f"{path}: no notebook {section!r}; {nearest(section, [*defaults, SHARED])}")
        targets = list(defaults) if section == SHARED else [section]
        known = {name for target in targets for name in defaults[target]}
        for name, value in values.items():
            if name == "profile":
                raise ConfigError(f"{path}: {section}.profile is set by the driver; remove it")
            if name not in known:
                raise ConfigError(f"{path}: {section} has no parameter {name!r}; {nearest(name, known)}")
            for target in targets:
                if name in defaults[target] and not (section == SHARED and name in content.get(target, {})):
                    result[target][name] = checked(value, defaults[target][name], f"{path}: {target}.{name}")
    return result
