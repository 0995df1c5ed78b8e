"""The registry of steps: one entry says everything that a study must know of a step.

To add a step, write its entry here, its settings in settings.py, and its notebook below
notebooks/study.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import create_model

from lib import facts
from lib.checks import Checked, checked, entry_of
from lib.study import settings as settings_of


@dataclass(frozen=True)
class Step:
    """One kind of run; `label` names its model in the card, `row` in tables, `short` in figures."""

    name: str
    kind: Literal["teacher", "cut", "task", "baseline", "measure"]
    notebook: str
    settings: type[Checked]
    label: str
    row: str = ""
    short: str = ""

    @property
    def makes_model(self) -> bool:
        """Whether the step makes a model."""
        return self.kind in ("teacher", "cut")


REGISTRY = (  # the order of the models is the paper's; a study may change it
    Step(
        "pretrain",
        "teacher",
        "00_pretrain_teacher",
        settings_of.Training,
        label="teacher",
        row="teacher",
        short="plain",
    ),
    Step(
        "adapt",
        "teacher",
        "10_adapt_teacher",
        settings_of.Adaptation,
        label="teacher adapted to the language",
        row="adapted teacher",
        short="teacher",
    ),
    Step(
        "layers",
        "cut",
        "20_distil_layers",
        settings_of.Layers,
        label="fewer layers, distilled",
        row="layers {num_hidden_layers:.0f}",
    ),
    Step(
        "ffn",
        "cut",
        "30_prune_ffn",
        settings_of.Ffn,
        label="narrower FFN",
        row="ffn {intermediate_size:,.0f}",
        short="FFN",
    ),
    Step(
        "hidden",
        "cut",
        "40_reduce_hidden",
        settings_of.Hidden,
        label="smaller hidden size, distilled",
        row="hidden {hidden_size:.0f}",
    ),
    Step(
        "vocabulary",
        "cut",
        "50_trim_vocabulary",
        settings_of.Vocabulary,
        label="smaller vocabulary",
        row="vocabulary {vocab_size:,.0f}, hidden {hidden_size:.0f}",
    ),
    Step("finetune", "task", "60_finetune_task", settings_of.Finetuning, label="task scores"),
    Step("baseline", "baseline", "65_baselines", settings_of.Baseline, label="baseline"),
    Step(
        "perplexity",
        "measure",
        "70_pseudo_perplexity",
        settings_of.Perplexity,
        label="pseudo-perplexity",
    ),
    Step("lens", "measure", "80_logit_lens", settings_of.Lens, label="logit lens"),
    Step("export", "measure", "90_export", settings_of.Export, label="export"),
)
_SomeFinetuning = create_model(  # of which any may be left out
    "_SomeFinetuning",
    __base__=settings_of.Finetuning,
    **{
        name: (field.rebuild_annotation(), None)
        for name, field in settings_of.Finetuning.model_fields.items()
    },
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
    return entry_of({entry.name: entry for entry in REGISTRY}, name, "step", "lib/study/steps.py")


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
