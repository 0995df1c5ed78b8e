"""The answers of task runs, kept beside their records, and what two runs' answers to the same examples say about their difference.

Answers and gold labels stay in data/runs, which is not committed. What leaves it, with the record, is the paired interval alone:
from numbers per example, as macro F1 would need them, the gold labels could be read off.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lib import facts, files
from lib.measure.metrics import paired_interval, score
from lib.study import studies
from lib.study.studies import Run


def keep(run: Run, gold: Sequence, predictions: Sequence) -> None:
    """Keep what `run` answered on the test split, as `metrics.score` takes it."""
    files.write_json(_file(run), {"gold": gold, "predictions": predictions})


def paired(run: Run) -> dict:
    """The score of a task run minus that of what it is judged against: name -> `to` (an id), `difference`, `interval`; from -1 to 1.

    Judged against are, trained on the task in the same way, the adapted teacher of the study's main chain (`adapted teacher`), of a
    variant the main chain's model of the same step (`study's own`), the model before the last cut (`before the cut`); and the study's
    baselines. What one id would say twice is said once. Left out is what has kept no answers or answered other examples; of runs
    that train no task everything is.
    """
    ours = _read(run)
    if run.step != "finetune" or ours is None:
        return {}
    metric, result = facts.fact("tasks", run.task)["metric"], {}
    for name, other in _references(run).items():
        theirs = _read(other)
        if theirs and theirs["gold"] == ours["gold"]:
            mine, its = (
                score(metric, ours["gold"], each["predictions"])[metric] for each in (ours, theirs)
            )
            ends = paired_interval(metric, ours["gold"], ours["predictions"], theirs["predictions"])
            result[name] = {"to": other.id, "difference": mine - its, "interval": list(ends)}
    return result


def _references(run: Run) -> dict[str, Run]:
    """Name -> run of what the task run is judged against."""
    steps = {each.step: each for each in studies.chain(run.study, run.language, run.teacher)}
    models = {
        "adapted teacher": steps.get("adapt"),
        "study's own": steps.get(run.parent.step),
        "before the cut": run.parent.parent if run.parent.step in studies.CUTS else None,
    }
    found: dict[str, Run] = {}
    for name, model in models.items():
        other = replace(run, parent=model) if model else None
        if other and other.id not in {each.id for each in found.values()}:
            found[name] = other
    limit = {"finetune": {"train_limit": run.settings["train_limit"]}}
    found |= {
        kind: studies.baseline(run.study, run.language, run.task, kind, run.teacher, limit)
        for kind in studies.study(run.study).baselines
    }
    return {name: other for name, other in found.items() if other.id != run.id}


def _file(run: Run) -> Path:
    return files.runs() / "answers" / f"{run.id}.json"


def _read(run: Run) -> dict | None:
    return json.loads(_file(run).read_text(encoding="utf-8")) if _file(run).exists() else None
