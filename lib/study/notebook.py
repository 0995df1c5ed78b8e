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
from lib.study import check, make, records, state, steps
from lib.study.parameters import parameters
from lib.study.resolve import resolve
from lib.study.run import Run

_began: dict[str, float] = {}  # run id -> when its notebook began
_locks: dict[str, contextlib.ExitStack] = {}  # run id -> the lock that this process holds
_ORIGIN = "origin.json"  # beside the checkpoints: what they were made from


def begin(step: str) -> Run:
    """The run that the notebook's parameters ask for, once the model that it starts from is there.

    Parameters are what the cell tagged `parameters` and Papermill's injected cell say, nothing
    else; so any cell can be run again. Runs whose models are missing are made first. Raises
    StudyError for a parameter that the notebook does not declare, or of another type.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise StudyError(
            "notebook.begin works in a notebook; elsewhere use lib.study.resolve.resolve"
        )
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


def checkpoints(run: Run) -> Path:
    """Folder of a run's checkpoints. Until the run is finished, a second process waits here.

    Checkpoints that were made from other text or after another model are removed.
    """
    _lock(run)
    if steps.step(run.step).makes_model and not _same_origin(run):
        if run.checkpoints.exists():
            print(f"the checkpoints of {run.id} were made from other data; it begins again")
            shutil.rmtree(run.checkpoints)
        files.write_json(run.checkpoints / _ORIGIN, _origin(run))
    return run.checkpoints


def finish(run: Run, model, tokenizer, scores: dict, data: dict, **parts) -> dict:
    """Save a run's model with its card, then its record, which is returned.

    The record's section `model` says whether the model is `worse_than_unigram` on held-out text,
    where the scores hold both losses.
    """
    from lib.export import card
    from lib.model import encoder

    _lock(run)
    if run.checkpoints.exists() and not _same_origin(run):
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
    files.write_json(run.record, record)
    _release(run)
    return record


def finish_scoring(run: Run, scores: dict, data: dict, **parts) -> dict:
    """Write the record of a scoring or measuring run, and its scores into the model's card."""
    from lib.export import card

    _lock(run)
    parts |= {"scores": scores, "data": data}
    if run.step == "baseline":
        about = {"id": run.id, "step": run.step, "parameters": parts.pop("parameters")}
        record = records.compose(run, about, _seconds(run, parts), **parts)
    else:
        of_model = records.read(run.parent)
        record = records.compose(run, of_model["model"], _seconds(run, parts), **parts)
        with files.alone(run.parent.folder / "README.md", f"writing the card of {run.parent.id}"):
            others = [*_scores_of(run.parent, run), record]
            measured = {
                f"{name} ({other['language']})": value
                for other in others
                if other["task"] is None
                for name, value in other["scores"].items()
            }
            of_model["scores"] |= measured
            tasks = [other for other in others if other["task"]]
            text = card.text(of_model, _lineage(run.parent), tasks)
            files.write_whole(run.parent.folder / "README.md", text)
    files.write_json(run.record, record)
    _release(run)
    return record


def _lineage(run: Run) -> list[dict]:
    return [
        {"label": steps.step(each.step).label, "id": each.id, "settings": each.stated}
        for each in run.lineage()
    ]


def _seconds(run: Run, parts: dict) -> dict:
    """Seconds since the notebook began, and those that a training measured."""
    began = _began.get(run.id, time.monotonic())
    return {"total": round(time.monotonic() - began, 2)} | parts.pop("seconds", {})


def _scores_of(model: Run, besides: Run) -> list[dict]:
    """Records of the runs that scored or measured a model, without one of them."""
    found = []
    for step in steps.names("task", "measure"):
        for file in sorted((files.runs() / step).glob("*.json")):
            record = json.loads(file.read_text(encoding="utf-8"))
            if record["model"]["id"] == model.id and record["id"] != besides.id:
                found.append(record)
    return found


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
    """Take the lock of a run, which `_release` frees."""
    if run.id not in _locks:
        with contextlib.ExitStack() as stack:
            stack.enter_context(files.alone(run.checkpoints, f"making {run.id}"))
            _locks[run.id] = stack.pop_all()


def _origin(run: Run) -> dict:
    """What the result of a run depends on beside its settings: text, weights, earlier records."""
    text = {language: corpora.describe(language, run.study.source) for language in run.languages}
    before = [records.read(each) for each in run.lineage()[:-1] if each.record.exists()]
    return {"text": text, "before": [records.digest(record) for record in before]} | _weights(run)


def _same_origin(run: Run) -> bool:
    """Whether a run's checkpoints were made from what is there now."""
    note = run.checkpoints / _ORIGIN
    return note.exists() and json.loads(note.read_text(encoding="utf-8")) == _origin(run)


def _release(run: Run) -> None:
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    _locks.pop(run.id).close()
