"""The files of params/studies, checked as a whole before any run."""

import functools
import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from lib import facts, files
from lib.checks import Checked, Count, Name, Seed, Text, check_choice, checked, entry_of, one_of
from lib.errors import StudyError
from lib.facts import Source
from lib.study import steps
from lib.study.pairs import Pair, once


def _ordered(order: list[str]) -> list[str]:
    if not order or order[0] != "pretrain" or len(set(order)) != len(order):
        names = ", ".join(order) or "nothing"
        raise ValueError(f"starts with pretrain and names each step once, got {names}")
    return order


_Task = one_of(lambda: facts.facts("tasks"))
_Measure = one_of(lambda: steps.names("measure"))
Order = Annotated[list[one_of(lambda: steps.names("teacher", "cut"))], AfterValidator(_ordered)]


class _Corpus(Checked):
    train: Count
    dev: Count
    test: Count


class _Seeds(Checked):
    chain: Seed
    tasks: once(Seed, 1)


class Variant(Checked):
    """Runs that a study makes beside its own, with other settings; what it leaves out is the
    study's.
    """

    set: dict
    order: Order | None = None
    score: once(str) | None = None
    tasks: once(_Task) | None = None
    seeds: once(Seed, 1) | None = None
    languages: once(str) | None = None
    measure: once(_Measure) | None = None


class _File(Checked):
    title: Text
    source: Literal[facts.SOURCES]
    corpus: _Corpus
    pairs: once(Pair, 1)
    steps: dict
    finetune: dict
    score: once(str)
    tasks: once(_Task)
    seeds: _Seeds
    order: Order | None = None
    variants: list[Variant] | None = None
    measure: dict | None = None
    baselines: once(one_of(lambda: steps.choices("baseline", "kind"))) | None = None
    data_root: Text | None = None
    models_root: Text | None = None


class Study(_File):
    """A checked study: what its file says, all settings of each step, and where its data lie."""

    name: str
    source: Source
    corpus: dict
    models_root: Path | None
    settings: dict

    @property
    def chain_steps(self) -> tuple:
        """The steps that a chain of the study may have: those with settings."""
        return tuple(step for step in steps.names("teacher", "cut") if step in self.settings)

    @property
    def students(self) -> list[tuple[Pair, str, list[str]]]:
        """Of each student the pair, the name of its language or group, and its languages."""
        return [(pair, *group) for pair in self.pairs for group in pair.groups.items()]

    def pair(self, language: str | None, teacher: str = "") -> Pair:
        """The first pair with this language or group (None: any) and teacher (empty: any), or
        StudyError.
        """
        file, what = f"params/studies/{self.name}.yaml", "teacher"
        if language is not None:
            names = dict.fromkeys(name for _, name, _ in self.students)
            entry_of(names, language, "language", file, "add it to `pairs`")
            what = f"teacher for {language!r}"
        teachers: dict[str, Pair] = {}
        for pair, name, _ in self.students:
            if language in (None, name):
                teachers.setdefault(pair.teacher, pair)
        return entry_of(teachers, teacher or next(iter(teachers)), what, file, "add the pair")

    def name_of(self, language: str, teacher: str = "") -> str:
        """`language` where a pair names it alone, else the first group that holds it, if any."""
        students = [one for one in self.students if teacher in ("", one[0].teacher)]
        holding = [name for _, name, languages in students if language in languages]
        return language if language in holding else next(iter(holding), language)


def load(name: str) -> Study:
    """The study params/studies/<name>.yaml, checked; StudyError names the key and the file."""
    known = {file.stem: file for file in sorted((files.PARAMS / "studies").glob("*.yaml"))}
    file = entry_of(known, name, "study", "params/studies", "add a file")
    checked(Name, name, "params/studies")
    stamps = tuple(path.stat().st_mtime_ns for path in (file, *sorted(files.PARAMS.glob("*.yaml"))))
    variables = ("STUDY_SOURCE", "STUDY_DATA_ROOT", "STUDY_MODELS_ROOT")
    return _load(name, file, (tuple(map(os.environ.get, variables)), stamps))


@functools.lru_cache(maxsize=64)
def _load(name: str, file: Path, _state: tuple) -> Study:
    where = f"params/studies/{name}.yaml"
    raw = checked(_File, facts.read_yaml(file), where)
    source = os.environ.get("STUDY_SOURCE") or raw.source
    check_choice(source, facts.SOURCES, "STUDY_SOURCE")
    chain, measures = steps.names("teacher", "cut"), steps.names("measure")
    order = tuple(raw.order or chain)
    settings = {"finetune": steps.merged("finetune", {}, raw.finetune, f"{where}: finetune")}
    given = dict.fromkeys([*raw.steps, *order]) | raw.steps
    settings |= _merged({}, given, chain, f"{where}: steps")
    measured = dict.fromkeys(measures) | (raw.measure or {})
    settings |= _merged({}, measured, measures, f"{where}: measure")
    study = Study.model_construct(
        **dict(raw)
        | {
            "name": name,
            "source": Source(source, _root(raw.data_root, "STUDY_DATA_ROOT")),
            "models_root": _root(raw.models_root, "STUDY_MODELS_ROOT"),
            "corpus": raw.corpus.model_dump(),
            "order": order,
            "settings": settings,
            "measure": [*(raw.measure or ())],
            "baselines": raw.baselines or [],
            "variants": raw.variants or [],
        }
    )
    _check(study, where)
    return study


def reference(chain: Iterable[str]) -> str | None:
    """The step whose model the students of a chain are compared with: the last before the first
    cut that changes what the model computes. The vocabulary's cut does not.
    """
    before = itertools.takewhile(
        lambda name: name == "vocabulary" or steps.step(name).kind == "teacher", chain
    )
    return [None, *before][-1]


def override(study: Study, settings: dict, given: dict, where: str) -> dict:
    """`settings` of all steps with those of `given` in their place, all checked.

    The key `recipe` of `given` stands for the settings of that entry of params/recipes.yaml.
    """
    known = (*study.chain_steps, "finetune", *steps.names("measure"))
    return _merged(settings, given, known, where)


def _merged(base: dict, given: dict, known: tuple, where: str) -> dict:
    """Step -> its settings, checked: those of `given` over those of `base`. Given ones win over the
    recipe's, which is for the steps that have settings here.
    """
    given = dict(given)
    recipe = facts.fact("recipes", given.pop("recipe")) if "recipe" in given else {}
    for step in [step for step in recipe if step in base or step in given]:
        own = {} if given.get(step) is None else given[step]
        given[step] = recipe[step] | checked(dict, own, f"{where}: {step}")
    result = dict(base)
    for step, changes in given.items():
        check_choice(step, known, where)
        result[step] = steps.merged(step, base.get(step, {}), changes, f"{where}: {step}")
    return result


def _root(given: str | None, variable: str) -> Path | None:
    """The folder that a variable names, or else a study file, as seen from the repository."""
    if not given or os.environ.get(variable):
        return files.named(variable)
    return (files.ROOT / os.path.expanduser(given)).resolve()


def _check(study: Study, where: str) -> None:
    """StudyError where parts of the file do not fit each other."""
    couples = [(pair.teacher, name) for pair, name, _ in study.students]
    if twice := [couple for couple in couples if couples.count(couple) > 1]:
        teacher, language = twice[0]
        raise StudyError(
            f"{where}: pairs: {teacher} stands twice with {language!r}; keep one, and write other "
            "settings as a variant"
        )
    for pair in study.pairs:
        override(study, study.settings, pair.set, f"{where}: pairs: set")
    orders = [variant.order or study.order for variant in study.variants]
    for step in study.score:
        check_choice(step, dict.fromkeys(sum(map(list, orders), [*study.order])), f"{where}: score")
    for variant, order in zip(study.variants, orders, strict=True):
        place = f"{where}: variants"
        for step in variant.score or ():
            check_choice(step, order, f"{place}: score")
        for language in variant.languages or ():
            check_choice(language, [name for _, name in couples], f"{place}: languages")
        override(study, study.settings, variant.set, f"{place}: set")
