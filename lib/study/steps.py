"""What the registry of steps in settings.py says, and settings merged and checked."""

from typing import get_args

from pydantic import create_model

from lib import facts
from lib.checks import checked, entry_of
from lib.study import settings as settings_of
from lib.study.settings import REGISTRY, Finetuning, Step

_SomeFinetuning = create_model(  # of which any may be left out
    "_SomeFinetuning",
    __base__=Finetuning,
    **{name: (field.rebuild_annotation(), None) for name, field in Finetuning.model_fields.items()},
)
LATER = {  # step -> its settings that came after published records, with their defaults
    entry.name: {
        name: field.default
        for name, field in entry.settings.model_fields.items()
        if settings_of.LATER in field.metadata
    }
    for entry in REGISTRY
}


def step(name: str) -> Step:
    """The registry's entry of this name; StudyError if there is none."""
    return entry_of(
        {entry.name: entry for entry in REGISTRY}, name, "step", "lib/study/settings.py"
    )


def names(*kinds: str) -> tuple[str, ...]:
    """Names of the steps of these kinds, or of all, in the order of the registry."""
    return tuple(entry.name for entry in REGISTRY if not kinds or entry.kind in kinds)


def choices(step_name: str, setting: str) -> tuple:
    """The words that a setting can be, in their order; () where it is no choice of words."""
    fields = step(step_name).settings.model_fields if step_name in names() else {}
    words = get_args(fields[setting].annotation) if setting in fields else ()
    return words if all(isinstance(word, str) for word in words) else ()


def merged(name: str, base: dict, given: dict | None, where: str) -> dict:
    """All settings of a step, checked: those of `given`, else those of `base`, else the defaults.

    Those of `finetune` are a mapping from each task to its settings. There `given` may have a
    section for a kind of task, which wins over the rest, and one for a task, which wins over both.
    """
    known, given = step(name).settings, checked(dict, {} if given is None else given, where)
    if name != "finetune":
        return checked(known, base | given, where).model_dump()
    tasks = facts.facts("tasks")
    sections = {*tasks, *(entry["kind"] for entry in tasks.values())}
    general = {key: value for key, value in given.items() if key not in sections}
    checked(_SomeFinetuning, general, where)
    result = {}
    for task, entry in tasks.items():
        result[task] = base.get(task, {}) | general
        for section in (entry["kind"], task):
            checked(_SomeFinetuning, given.get(section, {}), f"{where}: {section}")
            result[task] |= given.get(section, {})
        if entry["kind"] == "token":
            result[task]["pooling"] = "first"  # the head of a token task reads every token
        result[task] = checked(known, result[task], f"{where}: {entry['kind']}").model_dump()
    return result


def stated(name: str, settings: dict) -> dict:
    """The settings as records and run ids hold them, without LATER ones at their default."""
    later = LATER.get(name, {})
    return {key: value for key, value in settings.items() if later.get(key, ...) != value}
