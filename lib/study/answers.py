"""Answers of task runs, and paired comparisons of two runs on the same examples.

Answers and gold labels stay in data/runs, which is not committed. Only the paired interval leaves
it with the record: from numbers per example, the gold labels could be read off.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from lib import files
from lib.facts import fact
from lib.study import plan, steps, studies
from lib.study.run import Run


def keep(run: Run, gold: Sequence, predictions: Sequence) -> None:
    """Keep the answers of `run` on the test split, as `metrics.score` takes them."""
    files.write_json(_file(run), {"gold": gold, "predictions": predictions})


def paired(run: Run) -> dict:
    """The score of a task run minus that of each reference: `to` (id), `difference`, `interval`.

    References are, trained on the task in the same way: the teacher of the study's main chain (see
    `studies.reference`); for a variant the main chain's model of the same step; the model before
    the last cut; and the study's baselines. References without answers, or with answers to other
    examples, are left out.
    """
    ours = _read(run)
    if run.step != "finetune" or ours is None:
        return {}
    from lib.measure import metrics  # here: it takes a second to import

    metric, gold, result = fact("tasks", run.task)["metric"], ours["gold"], {}
    for name, reference in _references(run).items():
        theirs = _read(reference)
        if theirs and theirs["gold"] == gold:
            both = [answers["predictions"] for answers in (ours, theirs)]
            left, right = (metrics.score(metric, gold, answers)[metric] for answers in both)
            interval = metrics.interval(metric, gold, *both)
            between = {"difference": left - right, "interval": list(interval)}
            result[name] = {"to": reference.id} | between
    return result


def _references(run: Run) -> dict[str, Run]:
    """Name -> the run that a task run is compared with; each run once."""
    study, cuts = run.study, steps.names("cut")
    name = run.group or study.name_of(run.language, run.teacher)
    own = {model.step: model for model in plan.chain(study, name, run.teacher)}
    models = {
        "teacher": own[studies.reference(own)],
        "study's own": own.get(run.parent.step),
        "before the cut": run.parent.parent if run.parent.step in cuts else None,
    }
    overrides = run.parameters.get("overrides", {})
    tuning = {key: value for key, value in overrides.items() if key == "finetune"}
    result: dict[str, Run] = {}
    for name, model in models.items():
        other = model and plan.scoring(model, run.language, run.task, run.seed, tuning)
        if other and other not in result.values():
            result[name] = other
    limit = {"finetune": {"train_limit": run.settings["train_limit"]}}
    for kind in study.baselines:
        result[kind] = plan.baseline(study, run.language, run.task, kind, run.teacher, limit)
    return {name: other for name, other in result.items() if other != run}


def _file(run: Run) -> Path:
    return files.runs() / "answers" / f"{run.id}.json"


def _read(run: Run) -> dict | None:
    file = _file(run)
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
