"""The files of params/studies, checked as a whole before any run."""

import functools
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lib import facts, files
from lib.checks import Checked, Count, Name, Seed, Text, check_choice, checked, shown
from lib.errors import StudyError
from lib.facts import Source, fact
from lib.study import steps


class _Corpus(Checked):
    train: Count
    dev: Count
    test: Count


class _Seeds(Checked):
    chain: Seed
    tasks: list[Seed]


class _Pair(Checked):
    teacher: Text
    languages: list[Text]
    set: dict = {}  # noqa: RUF012 (pydantic copies it)


class _Variant(Checked):
    set: dict
    order: list[str] | None = None
    score: list[str] | None = None
    tasks: list[str] | None = None
    seeds: list[Seed] | None = None
    languages: list[str] | None = None
    measure: list[str] | None = None


class _File(Checked):
    title: Text
    source: Literal[facts.SOURCES]
    corpus: _Corpus
    pairs: list[_Pair]
    steps: dict
    finetune: dict
    score: list[str]
    tasks: list[str]
    seeds: _Seeds
    order: list[str] | None = None
    variants: list[_Variant] | None = None
    measure: dict | None = None
    baselines: list[str] | None = None
    data_root: Text | None = None
    models_root: Text | None = None


@dataclass(frozen=True, eq=False)
class Study:
    """A checked study: all settings of each step, and pairs of a teacher and its languages."""

    name: str
    title: str
    source: Source
    models_root: Path | None
    corpus: dict
    pairs: tuple
    order: tuple
    settings: dict
    score: tuple
    tasks: tuple
    baselines: tuple
    measure: tuple
    chain_seed: int
    task_seeds: tuple
    variants: tuple

    @property
    def chain_steps(self) -> tuple:
        """The steps that a chain of the study may have: those with settings."""
        return tuple(step for step in steps.names("teacher", "cut") if step in self.settings)

    @property
    def reference(self) -> str:
        """The step whose model the students of the study are compared with."""
        return reference(self.order)

    def pair(self, language: str | None, teacher: str = "") -> _Pair:
        """The first pair with this language (None: any) and teacher (empty: any), or StudyError."""
        for pair in self.pairs:
            if teacher in ("", pair.teacher) and (language is None or language in pair.languages):
                return pair
        file = f"params/studies/{self.name}.yaml"
        languages = sorted({name for pair in self.pairs for name in pair.languages})
        teachers = ", ".join(sorted({pair.teacher for pair in self.pairs}))
        if language is not None and language not in languages:
            raise StudyError(
                f"the study {self.name!r} has no language {language!r}; it has "
                f"{', '.join(languages)}: take one of these, or add {language!r} to {file} and "
                "params/languages.yaml"
            )
        with_language = "" if language is None else f" for {language!r}"
        raise StudyError(
            f"the study {self.name!r} has no teacher {teacher!r}{with_language}; it has "
            f"{teachers}: take one of these, or add the pair to {file}"
        )


def load(name: str) -> Study:
    """The study params/studies/<name>.yaml, checked; StudyError names the key and the file."""
    folder = files.PARAMS / "studies"
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise StudyError(
            f"no study called {shown(name)}; params/studies has {', '.join(known)}: take one of "
            "these or add a file"
        )
    checked(Name, name, "params/studies")
    file = folder / f"{name}.yaml"
    stamps = tuple(path.stat().st_mtime_ns for path in (file, *sorted(files.PARAMS.glob("*.yaml"))))
    variables = ("STUDY_SOURCE", "STUDY_DATA_ROOT", "STUDY_MODELS_ROOT")
    return _load(name, file, (tuple(map(os.environ.get, variables)), stamps))


@functools.lru_cache(maxsize=64)
def _load(name: str, file: Path, _state: tuple) -> Study:
    where = f"params/studies/{name}.yaml"
    raw = checked(_File, facts.read_yaml(file), where)
    order = steps.names("teacher", "cut") if raw.order is None else raw.order
    order = check_order(order, f"{where}: order")
    checked(dict, raw.steps, f"{where}: steps")
    for step in raw.steps:
        check_choice(step, steps.names("teacher", "cut"), f"{where}: steps")
    settings = {
        step: _settings(step, raw.steps.get(step), f"{where}: steps: {step}")
        for step in dict.fromkeys([*order, *raw.steps])
    }
    settings["finetune"] = steps.merged("finetune", {}, raw.finetune, f"{where}: finetune")
    for kind in raw.measure or ():
        check_choice(kind, steps.names("measure"), f"{where}: measure")
    for kind in steps.names("measure"):
        settings[kind] = _settings(kind, (raw.measure or {}).get(kind), f"{where}: measure: {kind}")
    study = Study(
        name=name,
        title=raw.title,
        source=Source(_source(raw.source), _root(raw.data_root, "STUDY_DATA_ROOT")),
        models_root=_root(raw.models_root, "STUDY_MODELS_ROOT"),
        corpus=raw.corpus.model_dump(),
        pairs=tuple(raw.pairs),
        order=order,
        settings=settings,
        score=tuple(raw.score),
        tasks=tuple(raw.tasks),
        baselines=tuple(raw.baselines or ()),
        measure=tuple(raw.measure or ()),
        chain_seed=raw.seeds.chain,
        task_seeds=tuple(raw.seeds.tasks),
        variants=tuple(raw.variants or ()),
    )
    _check(study, where)
    return study


def check_order(order, where: str) -> tuple:
    """The order as a tuple; StudyError unless it starts with pretrain and names a step once."""
    for step in order:
        check_choice(step, steps.names("teacher", "cut"), where)
    if not order or order[0] != "pretrain" or len(set(order)) != len(order):
        names = ", ".join(order) or "nothing"
        raise StudyError(f"{where}: starts with pretrain and names each step once, got {names}")
    return tuple(order)


def reference(chain: Iterable[str]) -> str | None:
    """The step whose model the students of a chain are compared with: the last before the first
    cut that changes what the model computes. The vocabulary's cut does not.
    """
    before = itertools.takewhile(
        lambda name: name == "vocabulary" or steps.step(name).kind == "teacher", chain
    )
    return [None, *before][-1]


def override(study: Study, settings: dict, given: dict, where: str) -> dict:
    """`settings` of all steps with those of `given` in their place, all checked."""
    result = dict(settings)
    for step, changes in given.items():
        known = (*study.chain_steps, "finetune", *steps.names("measure"))
        if step not in known:
            takes = ", ".join(sorted(known))
            raise StudyError(f"{where}: unknown key {shown(step)}; it takes {takes}")
        result[step] = steps.merged(step, settings.get(step, {}), changes, f"{where}: {step}")
    return result


def _source(given: str) -> str:
    """The kind of source that STUDY_SOURCE or a study file names."""
    kind = os.environ.get("STUDY_SOURCE") or given
    check_choice(kind, facts.SOURCES, "STUDY_SOURCE")
    return kind


def _root(given: str | None, variable: str) -> Path | None:
    """The folder that a variable names, or else a study file, as seen from the repository."""
    if not given or os.environ.get(variable):
        return files.named(variable)
    return (files.ROOT / os.path.expanduser(checked(Text, given, variable))).resolve()


def _settings(step: str, given, where: str) -> dict:
    return steps.merged(step, {}, {} if given is None else given, where)


def _check(study: Study, where: str) -> None:
    """StudyError where a list names what does not exist, or settings cannot be."""
    if not study.pairs:
        raise StudyError(
            f"{where}: pairs: there are none; write `- {{teacher: ..., languages: [...]}}` lines"
        )
    for pair in study.pairs:
        fact("models", pair.teacher)
        for language in pair.languages:
            fact("languages", language)
        if not pair.languages:
            raise StudyError(
                f"{where}: pairs: {pair.teacher} has no languages; name one or take the pair out"
            )
        override(study, study.settings, pair.set, f"{where}: pairs: set")
    known = {
        "order": steps.names("teacher", "cut"),
        "score": study.chain_steps,
        "tasks": tuple(facts.facts("tasks")),
        "languages": tuple(name for pair in study.pairs for name in pair.languages),
        "baselines": steps.choices("baseline", "kind"),
        "measure": steps.names("measure"),
    }
    parts = [(study, where), *((variant, f"{where}: variants") for variant in study.variants)]
    for part, place in parts:
        for key, choices in known.items():
            for value in getattr(part, key, None) or ():
                check_choice(value, choices, f"{place}: {key}")
    for variant in study.variants:
        override(study, study.settings, variant.set, f"{where}: variants: set")
