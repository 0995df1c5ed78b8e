"""Runs: one execution of one study notebook, made from a dictionary of parameters and checked once.

A run's id is a readable name and a digest of everything that its result depends on: its settings,
those of the steps before it, the seed, the source of its data. Equal settings are one run,
whichever study asks for it.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lib import files
from lib.facts import fact, facts
from lib.study import settings as settings_of
from lib.study import steps
from lib.study.studies import Study, reference


@dataclass(frozen=True, eq=False)
class Run:
    """One execution of a study notebook, after the run `parent`."""

    step: str
    study: Study = field(repr=False)
    settings: dict
    changed: dict
    language: str | None = None
    teacher: str | None = None
    task: str | None = None
    seed: int | None = None
    parent: "Run | None" = None

    @cached_property
    def id(self) -> str:
        """A readable name and 8 hexadecimal digits over everything that the result depends on."""
        text = json.dumps(self.identity(), sort_keys=True, ensure_ascii=False)
        return f"{self._name()}.{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def _name(self) -> str:
        if self.step == "baseline":
            return f"{self.language}.baseline.{self.task}.{self.settings['kind']}"
        label = {
            "pretrain": "pretrained",
            "adapt": "adapted",
            "layers": f"L{self.settings.get('num_hidden_layers')}",
            "ffn": f"F{self.settings.get('intermediate_size')}",
            "hidden": f"H{self.settings.get('hidden_size')}",
            "vocabulary": f"V{self.settings.get('kept_tokens')}",
            "finetune": f"{self.task}.{self.parent and self.parent.step}.seed{self.seed}",
        }.get(self.step, f"{self.step}.{self.parent and self.parent.step}")
        parts = (self.language or "multilingual", self.teacher, self.group, label)
        return ".".join(part for part in parts if part != "")

    def identity(self) -> dict:
        """Everything that the result depends on, as plain values."""
        result = {
            "step": self.step,
            "language": self.language,
            "task": self.task,
            "settings": self.stated,
            "source": self.study.source.kind,
        }
        if self.step == "baseline":
            return result | ({"parent": self.parent.id} if self.parent else {})
        on_text = issubclass(steps.step(self.step).settings, settings_of.Training)
        return result | {
            "teacher": self.teacher,
            "facts": fact("models", self.teacher),
            "seed": self.seed,
            "corpus": self.study.corpus,
            "constants": facts("training") if on_text else {},
            "parent": self.parent.id if self.parent else None,
        }

    @property
    def stated(self) -> dict:
        """The settings as the record and the id hold them."""
        return steps.stated(self.step, self.settings)

    @property
    def folder(self) -> Path:
        """Folder of the model that this run makes."""
        return files.models() / self.id

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints of this run's training."""
        return files.models() / f".{self.id}.checkpoints"

    @property
    def record(self) -> Path:
        """File of the run's record. It is written last: where it exists, the run is finished."""
        return files.runs() / self.step / f"{self.id}.json"

    @property
    def notebook(self) -> Path:
        """The study notebook that makes this run."""
        return files.ROOT / "notebooks" / "study" / f"{steps.step(self.step).notebook}.ipynb"

    @property
    def order(self) -> tuple:
        """The steps that made the model of this run, or the model that it scores."""
        return tuple(run.step for run in self.lineage() if steps.step(run.step).makes_model)

    @property
    def languages(self) -> list[str]:
        """The languages whose text this run reads; none for a run that reads labels."""
        if self.task:
            return []
        if not self.language:
            return [*fact("models", self.teacher).get("text", {})]
        return self.study.pair(self.language, self.teacher).groups[self.language]

    @property
    def group(self) -> str:
        """The group, such as slk+swh, whose model a task run scores; empty for one language."""
        of_model = self.parent.language if self.task and self.parent else None
        return of_model if of_model and of_model != self.language else ""

    @property
    def taught_by(self) -> "Run":
        """The run whose model teaches this distillation: a function of its lineage alone."""
        before = {run.step: run for run in self.parent.lineage()}
        teacher = self.settings["taught_by"] == "teacher"
        return before[reference(before)] if teacher else self.parent

    @property
    def parameters(self) -> dict:
        """The notebook's parameters that make this run; what the study says is left out."""
        kind = steps.step(self.step).kind
        result = {
            "study": self.study.name,
            "language": self.language,
            "teacher": self.teacher,
            "task": self.task,
            "group": self.group or None,
            "kind": self.settings.get("kind"),
            "model_step": self.parent.step if kind in ("task", "measure") else None,
            "seed": self.seed if self.parent and kind != "measure" else None,
        }
        result = {key: value for key, value in result.items() if value is not None}
        if self.order != self.study.order[: len(self.order)]:
            result["order"] = list(self.order)
        overrides: dict = {}
        for name, value in self.changed.items():
            step, dot, setting = name.partition(".")
            if dot:
                step = "finetune" if step == "baseline" else step
                overrides.setdefault(step, {})[setting] = value
        return result | ({"overrides": overrides} if overrides else {})

    def lineage(self) -> list["Run"]:
        """The runs from the teacher's pre-training to this one."""
        return [*(self.parent.lineage() if self.parent else ()), self]

    def __eq__(self, other) -> bool:
        return isinstance(other, Run) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        lines = [f"{self.id}  (study {self.study.name}, step {self.step}, seed {self.seed})"]
        lines += [f"  {name}: {value}" for name, value in self.stated.items()]
        return "\n".join([*lines, f"  after: {self.parent.id if self.parent else 'nothing'}"])
