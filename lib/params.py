"""Facts and checks: the YAML files of params/, and the rules every value given from outside must pass."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from lib import paths
from lib.errors import StudyError

SOURCES = ("sample", "local", "hub")


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key given twice is an error."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict) or key in seen:
                wrong = "is no plain word; write it as one" if isinstance(key, list | dict) else "stands twice; keep one"
                raise StudyError(f"{node.start_mark.name}:{key_node.start_mark.line + 1}: the key {key!r} {wrong}")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(file: Path) -> dict:
    """The mapping in a YAML file, parsed once and shared: not to be changed.

    StudyError with file and line if it is malformed or holds a key twice.
    """
    return _parsed(file, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _parsed(file: Path, changed: int) -> dict:
    try:
        with open(file, encoding="utf-8") as handle:
            content = yaml.load(handle, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or getattr(error, "reason", error)
        raise StudyError(f"{file}:{mark.line + 1 if mark else '?'}: not valid YAML: {said}") from None
    except UnicodeDecodeError as error:
        raise StudyError(f"{file}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    if not isinstance(content, dict):
        raise StudyError(f"{file}: holds {type(content).__name__}, expected `key: value` lines")
    return content


def facts(name: str) -> dict:
    """All entries of params/<name>.yaml."""
    return read_yaml(paths.PARAMS / f"{name}.yaml")


def fact(name: str, key: str) -> dict:
    """The entry `key` of params/<name>.yaml; StudyError says which exist."""
    entries = facts(name)
    if key not in list(entries):
        raise StudyError(f"no {name.rstrip('s')} called {key!r}; params/{name}.yaml has {', '.join(map(str, entries))}: "
                         "take one of these or add an entry")
    return entries[key]


@dataclass(frozen=True)
class Source:
    """Where text and labels come from: `sample` (embedded), `local` (the folder `root`) or `hub`."""

    kind: str
    root: Path | None = None


def check_keys(given, allowed: set, optional: set, say: str) -> None:
    if not isinstance(given, dict):
        raise StudyError(f"{say}: expected `key: value` pairs, got {given!r}")
    for key in given:
        if key not in allowed:
            raise StudyError(f"{say}: unknown key {key!r}; it takes {', '.join(sorted(allowed))}")
    missing = allowed - optional - set(given)
    if missing:
        raise StudyError(f"{say}: {', '.join(sorted(missing))} is missing; add it")


def check_choice(value, choices, say: str) -> None:
    if value not in choices:
        raise StudyError(f"{say}: {value!r} is none of {', '.join(map(str, choices))}; take one of these")


def check_value(value, kind, say: str, zero: bool = True) -> None:
    """StudyError unless `value` is of `kind` (a type, or a tuple of choices); numbers are never negative."""
    if isinstance(kind, tuple):
        return check_choice(value, kind, say)
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", dict: "a mapping", list: "a list"}
    good = isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not good:
        hint = " (YAML reads 5e-5 as text: write 5.0e-5)" if kind is float and isinstance(value, str) else ""
        raise StudyError(f"{say}: {value!r} is not {words[kind]}{hint}")
    if kind in (int, float) and not (0 <= value < 1e12 and (zero or value)):
        raise StudyError(f"{say}: {value!r} is out of range; give a number {'of 0 or more' if zero else 'above 0'}, below 1e12")


def check_seed(value, say: str) -> None:
    check_value(value, int, say)
    if value >= 2**32:
        raise StudyError(f"{say}: {value} is out of range; give a whole number below {2**32}")


def root(given: str | None, variable: str) -> Path | None:
    given = os.environ.get(variable) or given
    return (paths.ROOT / given).resolve() if given else None
