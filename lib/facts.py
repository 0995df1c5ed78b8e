"""Facts and checks: the YAML files of params/, and the rules every value given from outside must pass."""

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from lib import files
from lib.errors import StudyError

SOURCES = ("sample", "local", "hub")
_NAME = (
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"  # what stands in ids, and so in names of files and folders
)
_LOOKED_AT = 100  # characters of a wrong value that a message shows


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key given twice is an error, and so is an alias: a few lines of them can stand for gigabytes."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()
            raise StudyError(
                f"{alias.start_mark.name}:{alias.start_mark.line + 1}: the alias *{alias.anchor} is not taken; write out what "
                "it stands for"
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            plain = isinstance(key_node, yaml.ScalarNode)
            if not plain or key in seen:
                wrong = "stands twice; keep one" if plain else "is no plain word; write it as one"
                raise StudyError(
                    f"{node.start_mark.name}:{key_node.start_mark.line + 1}: the key {shown(key)} {wrong}"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node, deep=False):
        try:
            return super().construct_object(node, deep)
        except StudyError:
            raise
        except (
            ValueError
        ) as error:  # 2024-13-45 looks like a date, and thousands of digits like a number
            raise StudyError(
                f"{node.start_mark.name}:{node.start_mark.line + 1}: {shown(getattr(node, 'value', ''))} cannot be read "
                f"({error}); put quotes around a text"
            ) from None


def read_yaml(file: Path) -> dict:
    """The mapping in a YAML file, parsed once and shared: not to be changed.

    StudyError with file and line if it cannot be read, is malformed, or holds a key twice or an alias.
    """
    return _parsed(file, _changed(file))


@functools.lru_cache(maxsize=256)
def _parsed(file: Path, changed: int) -> dict:
    try:
        with open(file, encoding="utf-8") as handle:
            content = yaml.load(handle, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or getattr(error, "reason", error)
        raise StudyError(
            f"{file}:{mark.line + 1 if mark else '?'}: not valid YAML: {said}"
        ) from None
    except UnicodeDecodeError as error:
        raise StudyError(
            f"{file}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except RecursionError:
        raise StudyError(
            f"{file}: not valid YAML: too many brackets inside each other; write it with fewer"
        ) from None
    if not isinstance(content, dict):
        holds = {"NoneType": "nothing", "list": "a list", "str": "plain text"}.get(
            type(content).__name__, "a single value"
        )
        raise StudyError(f"{file}: holds {holds}, expected `key: value` lines")
    return content


def _changed(file: Path) -> int:
    """When the file was last changed; StudyError if it is not there or no file."""
    try:
        if not file.is_file():
            raise StudyError(f"{file}: there is no such file")
        return file.stat().st_mtime_ns
    except OSError as error:
        raise StudyError(f"{file}: cannot be read ({error.strerror}); correct its rights") from None


def facts(name: str) -> dict:
    """All entries of params/<name>.yaml; StudyError unless each has the keys and types of its kind."""
    file = files.PARAMS / f"{name}.yaml"
    return _checked_facts(name, file, _changed(file))


@functools.lru_cache(maxsize=256)
def _checked_facts(name: str, file: Path, changed: int) -> dict:
    entries, say = read_yaml(file), f"params/{name}.yaml"
    for key, entry in entries.items():
        check_name(key, say)
        if name in _FACTS:
            check = _FACTS[name]
            check(entry, f"{say}: {key}")
    if name == "training":
        check_keys(entries, set(_TRAINING), set(), say)
        for key, value in entries.items():
            check_value(
                value,
                _TRAINING[key],
                f"{say}: {key}",
                zero=key not in ("evaluations", "max_grad_norm", "mlm_probability"),
            )
            if (
                key in ("mlm_probability", "mask_replace_prob", "random_replace_prob", "warmup")
                and value > 1
            ):
                raise StudyError(f"{say}: {key}: {value!r} is out of range; it is a share, 0 to 1")
    return entries


_TRAINING = {
    "mlm_probability": float,
    "mask_replace_prob": float,
    "random_replace_prob": float,
    "weight_decay": float,
    "max_grad_norm": float,
    "warmup": float,
    "evaluations": int,
}


def _check_language(entry, say: str) -> None:
    check_kinds(entry, {"name": str, "script": str}, say)
    for key, value in entry.items():
        if isinstance(value, str):
            check_value(value, str, f"{say}: {key}")
            if {"..", ""} & set(value.split("/")):
                raise StudyError(
                    f"{say}: {key}: {shown(value)} is no name of a data set's configuration; correct it"
                )


def _check_model(entry, say: str) -> None:
    check_kinds(entry, {"make": str}, say)
    check_choice(entry["make"], tuple(_MODELS), f"{say}: make")
    shape = set() if entry["make"] == "new" else {*_SHAPE}
    check_keys(
        entry,
        {"make", "text", "adapted", *shape, *_MODELS[entry["make"]]},
        {"text", "adapted", *shape},
        say,
    )
    check_kinds(entry, _MODELS[entry["make"]], say)
    _check_below(entry, "folder", "models_root", "STUDY_MODELS_ROOT", say)
    for key in set(_SHAPE) & set(entry):
        check_value(entry[key], int, f"{say}: {key}", zero=False)
    for key in ("text", "adapted"):
        check_value(entry.get(key, {}), dict, f"{say}: {key}")
    for language, amount in entry.get("text", {}).items():
        check_name(language, f"{say}: text")
        check_value(amount, int, f"{say}: text: {language}")
    for key in SIZES & set(entry.get("configuration", {})):
        check_value(entry["configuration"][key], int, f"{say}: configuration: {key}", zero=False)
    if entry["make"] == "hub":
        _check_repository({key: entry[key] for key in ("repository", "revision", "licence")}, say)
    for language, each in entry.get("adapted", {}).items():
        _check_repository(each, f"{say}: adapted: {language}")


def _check_below(entry, key: str, base: str, variable: str, say: str) -> None:
    if not re.fullmatch(rf"{_NAME}(/{_NAME})*", str(entry.get(key, "x"))):
        kind = "folder" if key == "folder" else "file"
        raise StudyError(
            f"{say}: {key}: {shown(entry[key])} is no {kind} below the study's {base}; name one, or point {base} (or "
            f"{variable}) elsewhere"
        )


def _check_repository(given, say: str) -> None:
    check_keys(given, {"repository", "revision", "licence"}, set(), say)
    if not re.fullmatch(rf"{_NAME}(/{_NAME})?", str(given["repository"])):
        raise StudyError(
            f"{say}: repository: {shown(given['repository'])} is no id of the hub; write owner/name"
        )
    if not isinstance(given["revision"], str | None):
        raise StudyError(
            f"{say}: revision: {shown(given['revision'])} is not text; put the commit in quotes"
        )


SIZES = {
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
}  # of a teacher's configuration
_SHAPE = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
)  # what a teacher that is read can be cut to
_MODELS = {
    "new": {"configuration": dict},
    "local": {"folder": str},
    "hub": {"repository": str, "revision": object, "licence": str},
}


def _check_task(entry, say: str) -> None:
    check_kinds(
        entry,
        {"kind": ("sequence", "token"), "metric": str, "folder": str, "extensions": list},
        say,
    )
    for name in (entry["folder"], *entry["extensions"]):
        check_name(name, f"{say}: folder and extensions")


_FACTS = {"languages": _check_language, "models": _check_model, "tasks": _check_task}


def fact(name: str, key: str) -> dict:
    """The entry `key` of params/<name>.yaml; StudyError says which exist."""
    entries = facts(name)
    if key not in list(entries):
        raise StudyError(
            f"no {name.rstrip('s')} called {shown(key)}; params/{name}.yaml has {', '.join(map(str, entries))}: "
            "take one of these or add an entry"
        )
    return entries[key]


@dataclass(frozen=True)
class Source:
    """Where text and labels come from: `sample` (embedded), `local` (the folder `root`) or `hub`."""

    kind: str
    root: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder that `sample` and `local` data are read from; StudyError where none was given."""
        if self.kind == "sample":
            return files.SAMPLE
        if self.root is None:
            raise StudyError(
                "the local source needs a folder; give it as data_root in the study file or as STUDY_DATA_ROOT"
            )
        return self.root


def shown(value) -> str:
    """The value as a message shows it: its beginning, if it is long."""
    text = (
        repr(value)
        if not isinstance(value, int) or abs(value) < 10**_LOOKED_AT
        else "a number of very many digits"
    )
    return text if len(text) <= _LOOKED_AT else f"{text[:_LOOKED_AT]}..."


def check_name(name, say: str) -> None:
    """StudyError unless the name is fit to stand in an id, and so in names of files: no slash, no leading dot, plain letters."""
    if not isinstance(name, str):
        hint = (
            " (YAML reads a bare no, yes, on and off as a truth value)"
            if isinstance(name, bool)
            else ""
        )
        raise StudyError(f"{say}: the name {shown(name)} is not text{hint}; put it in quotes")
    if not re.fullmatch(_NAME, name):
        raise StudyError(
            f"{say}: {shown(name)} cannot be a name, since it becomes part of file names; take letters a to z and "
            "digits, after the first also . _ -, 100 at most"
        )


def check_kinds(given, kinds: dict, say: str) -> None:
    """StudyError unless `given` is a mapping that has these keys, each of its kind; it may have others."""
    more = set(given) if isinstance(given, dict) else set()
    check_keys(given, {*kinds, *more}, more - set(kinds), say)
    for key, kind in kinds.items():
        if kind is not object:
            check_value(given[key], kind, f"{say}: {key}")


def check_keys(given, allowed: set, optional: set, say: str) -> None:
    if not isinstance(given, dict):
        raise StudyError(f"{say}: expected `key: value` pairs, got {shown(given)}")
    for key in given:
        if key not in allowed:
            raise StudyError(
                f"{say}: unknown key {shown(key)}; it takes {', '.join(sorted(allowed))}"
            )
    missing = allowed - optional - set(given)
    if missing:
        raise StudyError(f"{say}: {', '.join(sorted(missing))} is missing; add it")


def check_choice(value, choices, say: str) -> None:
    if value not in list(choices):
        raise StudyError(
            f"{say}: {shown(value)} is none of {', '.join(map(str, choices))}; take one of these"
        )


def check_value(value, kind, say: str, zero: bool = True) -> None:
    """StudyError unless `value` is of `kind` (a type, or a tuple of choices); numbers are never negative."""
    if isinstance(kind, tuple):
        return check_choice(value, kind, say)
    words = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "true or false",
        dict: "a mapping",
        list: "a list",
    }
    good = isinstance(value, (int, float) if kind is float else kind) and (
        kind is bool or not isinstance(value, bool)
    )
    if not good:
        hint = (
            " (YAML reads 5e-5 as text: write 5.0e-5)"
            if kind is float and isinstance(value, str)
            else ""
        )
        raise StudyError(f"{say}: {shown(value)} is not {words[kind]}{hint}")
    if kind is str and not value.isprintable():
        raise StudyError(
            f"{say}: {shown(value)} holds a character that cannot be printed; take it out"
        )
    if kind in (int, float) and not (0 <= value < 1e12 and (zero or value)):
        raise StudyError(
            f"{say}: {shown(value)} is out of range; give a number {'of 0 or more' if zero else 'above 0'}, below 1e12"
        )


def check_seed(value, say: str) -> None:
    check_value(value, int, say)
    if value >= 2**32:
        raise StudyError(
            f"{say}: {shown(value)} is out of range; give a whole number below {2**32}"
        )


def root(given: str | None, variable: str) -> Path | None:
    given = os.environ.get(variable) or given
    if given:
        check_value(given, str, variable)
    return (files.ROOT / given).resolve() if given else None
