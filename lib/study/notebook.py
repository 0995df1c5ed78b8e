"""What a study notebook needs: its run, the model to start from, and a place for its result.

run = notebook.begin("adapt")                         the run that the parameters ask for
model, tokenizer = notebook.load(run.parent)          the model that an earlier run made
notebook.teacher(run)                                 the teacher before any step
notebook.checkpoints(run)                             a folder that survives a kill
notebook.finish(run, model, tokenizer, scores, data)  its model, card and record
notebook.finish_scoring(run, scores, data)            the record of scores, and a model's card
"""

import contextlib
import json
import shutil
import time
from pathlib import Path

from lib import facts, files
from lib.data import corpora
from lib.errors import StudyError
from lib.model import sizes
from lib.study import check, make, records, repeat, state, steps
from lib.study.parameters import parameters
from lib.study.plan import resolve
from lib.study.run import Run

_began: dict[str, float] = {}  # run id -> when its notebook began
_locks: dict[str, contextlib.ExitStack] = {}  # run id -> the lock that this process holds


def begin(step: str) -> Run:
    """The run that the notebook's parameters ask for, once the model that it starts from is there.

    Parameters are what the cell tagged `parameters` and Papermill's injected cell say, nothing
    else; so any cell can be run again. Runs whose models are missing are made first. Raises
    StudyError for a parameter that the notebook does not declare, or of another type.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise StudyError("notebook.begin works in a notebook; elsewhere use lib.study.plan.resolve")
    run = resolve(step, parameters(shell.user_ns["In"]))
    if run.parent and not state.usable(run.parent):
        before = [each for each in run.parent.lineage() if state.state(each) != state.DONE]
        print(f"{run.id} starts from {run.parent.id}; {len(before)} runs are made first")
        check.before([run])
        make.make(before)
    _began[run.id] = time.monotonic()
    return run


def load(run: Run):
    """(model, tokenizer) that an earlier run made; StudyError if the model is not there."""
    if not (run.folder / "config.json").exists():
        raise StudyError(
            f"the model {run.id} is not there; run the notebook {run.notebook.name}, or "
            "`make study`"
        )
    from lib.model import encoder  # here: torch takes seconds to import

    return encoder.load(run.folder)


def teacher(run: Run):
    """(model, tokenizer) of the teacher before any step; None for the run that makes it."""
    return load(run.lineage()[0]) if run.parent else None


def fitted_to(run: Run) -> tuple | None:
    """What the start `fitted` follows in place of the model before: (teacher, numbers of its layers
    that are left), if the whole teacher gives the distillation.
    """
    if run.settings["taught_by"] != "teacher":
        return None
    cut = next((each for each in run.lineage() if each.step == "layers"), None)
    return load(run.taught_by)[0], records.read(cut)["kept_layers"] if cut else None


def checkpoints(run: Run, labels: dict | None = None) -> Path:
    """Folder of a run's checkpoints. Until the run is finished, a second process waits here.

    Other text, other labels, or another model before this run, has a folder of its own.
    labels: the `origin` of the task that the run trains on, if any.
    """
    _lock(run)
    folder = run.checkpoints / _origin(run, labels)
    if run.checkpoints.exists() and not folder.exists():
        print(f"the checkpoints of {run.id} were made from other data; it begins again")
    with files.room(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def finish(run: Run, model, tokenizer, scores: dict, data: dict, **parts) -> dict:
    """Save a run's model with its card, then its record, which is returned.

    The record's section `model` says whether the model is `worse_than_unigram` on held-out text,
    where the scores hold both losses.
    """
    from lib.export import card
    from lib.model import encoder

    _lock(run)
    if run.checkpoints.exists() and not (run.checkpoints / _origin(run)).exists():
        raise StudyError(
            f"{run.id}: its text or the model before it changed meanwhile; run it again"
        )
    first = run.lineage()[0]
    whole = sizes.parameters(model) if run is first else records.read(first)["model"]["parameters"]
    about = {"id": run.id, "step": run.step} | sizes.describe(model, whole)
    if "unigram_loss" in scores:
        about["worse_than_unigram"] = scores["mlm_loss"] > scores["unigram_loss"]
    parts |= {"scores": scores, "data": data} | _weights(run)
    record = records.compose(run, about, _seconds(run, parts), **parts)
    encoder.save(model, tokenizer, run.folder, card.text(record, _lineage(run)))
    return _finished(run, record)


def finish_scoring(run: Run, scores: dict, data: dict, **parts) -> dict:
    """Write the record of a scoring or measuring run, and its scores into the model's card."""
    _lock(run)
    parts |= {"scores": scores, "data": data}
    if run.step == "baseline":
        about = {"id": run.id, "step": run.step, "parameters": parts.pop("parameters")}
    else:
        about = records.read(run.parent)["model"]
    record = records.compose(run, about, _seconds(run, parts), **parts)
    if run.step != "baseline":
        place = run.parent.folder / "README.md"
        with files.alone(place, f"writing the card of {run.parent.id}"):
            files.write_whole(place, _card(run.parent, record))
    return _finished(run, record)


def _lineage(run: Run) -> list[dict]:
    return [
        {"label": steps.step(each.step).label, "id": each.id, "settings": each.stated}
        for each in run.lineage()
    ]


def _seconds(run: Run, parts: dict) -> dict:
    """Seconds since the notebook began, and those that a training measured."""
    began = _began.get(run.id, time.monotonic())
    return {"total": round(time.monotonic() - began, 2)} | parts.pop("seconds", {})


def _card(model: Run, scored: dict) -> str:
    """The card of a model, with the record `scored` and those of other runs that scored it."""
    from lib.export import card

    places = [files.runs() / step for step in steps.names("task", "measure")]
    found = [file for place in places for file in sorted(place.glob("*.json"))]
    others = [json.loads(file.read_text(encoding="utf-8")) for file in found]
    others = [other for other in others if other["id"] != scored["id"]] + [scored]
    others = [other for other in others if other["model"]["id"] == model.id]
    record = records.read(model)
    for other in (other for other in others if other["task"] is None):
        scores = other["scores"].items()
        record["scores"] |= {f"{name} ({other['language']})": score for name, score in scores}
    return card.text(record, _lineage(model), [other for other in others if other["task"]])


def _weights(run: Run) -> dict:
    """{"weights": the origin of the weights that a run began with}; empty where it read none."""
    from lib.data import hub

    entry = facts.fact("models", run.teacher)
    if run.step == "adapt" and run.settings["published"]:
        return {"weights": hub.weights(entry["adapted"][run.language] | {"make": "hub"})}
    if run.step == "pretrain" and entry["make"] != "new":
        return {"weights": hub.weights(entry, run.study.models_root)}
    return {}


def _lock(run: Run) -> None:
    """Take the lock of a run, which `_finished` frees."""
    if run.id not in _locks:
        stack = contextlib.ExitStack()
        stack.enter_context(files.alone(run.checkpoints, f"making {run.id}"))
        _locks[run.id] = stack


def _origin(run: Run, labels: dict | None = None) -> str:
    """A name for what a result depends on beside its settings: data, weights, earlier records."""
    text = {language: corpora.describe(language, run.study.source) for language in run.languages}
    before = [records.read(each) for each in run.lineage()[:-1] if each.record.exists()]
    origin = {"text": text, "before": [*map(records.digest, before)]} | _weights(run)
    if labels:  # without the reasons why another source did not serve
        origin["labels"] = {name: part for name, part in labels.items() if name != "passed_over"}
    return records.digest(origin)


def _finished(run: Run, record: dict) -> dict:
    """Write a run's record; then its checkpoints go, and its lock is free.

    A record that is there stays if its model was made again and nothing that it says is otherwise
    now. So runs that came after it do not become stale.
    """
    former = records.read(run) if run.record.exists() else None
    if former and repeat.made_again(former, record):
        record = former
    else:
        files.write_json(run.record, record)
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    _locks.pop(run.id).close()
    return record
