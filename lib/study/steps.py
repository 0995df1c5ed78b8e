"""The registry of steps: one entry says everything that a study must know of a step.

To add a step, write its entry here, its settings in settings.py, and its notebook below
notebooks/study.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from lib import facts
from lib.checks import Checked, checked
from lib.errors import StudyError
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
# Settings that came later than published records. At these values they are left out of records and
# run ids.
_DISTILLATION = {"distillation_target": "logits", "taught_by": "before", "sentences": 0}
LATER = {
    "layers": _DISTILLATION | {"refit": False},
    "ffn": {"refit": False},
    "hidden": _DISTILLATION,
    "finetune": {"pooling": "first", "base_width": 0, "head_rate": 1.0},
}


def step(name: str) -> Step:
    """The registry's entry of this name; StudyError if there is none."""
    for entry in REGISTRY:
        if entry.name == name:
            return entry
    raise StudyError(f"no step called {name!r}; there are {', '.join(names())}")


def names(*kinds: str) -> tuple[str, ...]:
    """Names of the steps of these kinds, or of all, in the order of the registry."""
    return tuple(entry.name for entry in REGISTRY if not kinds or entry.kind in kinds)


def choices(step_name: str, setting: str) -> tuple:
    """The words that a setting can be, in their order; () where it is no choice of words."""
    fields = step(step_name).settings.model_fields if step_name in names() else {}
    words = get_args(fields[setting].annotation) if setting in fields else ()
    return words if all(isinstance(word, str) for word in words) else ()


def merged(name: str, base: dict, given: dict, where: str) -> dict:
    """All settings of a step, checked: those of `given`, else those of `base`, else the defaults.

    In `finetune` a section is named like a kind of task or like a task, and a task's section wins
    over its kind's. But what `given` says of a kind wins over what `base` says of a task.
    """
    if name != "finetune" or not isinstance(given, dict):
        extra = given if isinstance(given, dict) else checked(dict, given, where)
        return checked(step(name).settings, base | extra, where).model_dump()
    kinds = {task: entry["kind"] for task, entry in facts.facts("tasks").items()}
    sections = {*kinds, *kinds.values()}
    general = {key: value for key, value in {**base, **given}.items() if key not in sections}
    result = checked(settings_of.Finetuning, general, where).model_dump()
    for kind in dict.fromkeys(kinds.values()):
        section = base.get(kind, {}) | checked(dict, given.get(kind, {}), f"{where}: {kind}")
        result[kind] = checked(settings_of.Tuning, section, f"{where}: {kind}").model_dump()
    for task, kind in kinds.items():
        former = {k: v for k, v in base.get(task, {}).items() if k not in given.get(kind, {})}
        section = former | checked(dict, given.get(task, {}), f"{where}: {task}")
        whole = checked(settings_of.Tuning, result[kind] | section, f"{where}: {task}").model_dump()
        result |= {task: {key: whole[key] for key in section}} if section else {}
    return result


def of_task(settings: dict, task: str) -> dict:
    """The settings of one task's training, from all settings of `finetune`."""
    kind = facts.fact("tasks", task)["kind"]
    general = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    if kind == "token":
        general["pooling"] = "first"  # the head of a token task reads every token
    return general | settings[kind] | settings.get(task, {})


def stated(name: str, settings: dict) -> dict:
    """The settings as records and run ids hold them, without later ones at their former value."""
    later = LATER.get(name, {})
    return {key: value for key, value in settings.items() if later.get(key, ...) != value}
