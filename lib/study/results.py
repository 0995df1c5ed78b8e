"""What a study notebook leaves behind: a model folder with its card, then a record. Where the record is, the run is finished."""

import contextlib
import json
from pathlib import Path

from lib import facts, files
from lib.data import hub
from lib.export import card
from lib.model import encoder
from lib.study import records, studies
from lib.study.studies import Run
from lib.train import trainer

_mine: dict[
    Path, contextlib.ExitStack
] = {}  # the locks this process holds, one for each run it is making


def checkpoints(run: Run) -> Path:
    """Folder of a run's checkpoints, this process's alone until the run is finished; a second process waits here."""
    if _lock(run) not in _mine:
        with contextlib.ExitStack() as stack:
            stack.enter_context(files.alone(_lock(run), f"making {run.id}"))
            _mine[_lock(run)] = stack.pop_all()
    return _checkpoints(run)


def finish(run: Run, model, tokenizer, scores: dict, data: dict, **parts) -> dict:
    """Save the model a run made, with its card, then its record; drop its checkpoints. Returns the record.

    Where the scores hold both, the record's section `model` says whether the model is `worse_than_unigram` on held-out text.
    """
    checkpoints(run)
    first = run.lineage()[0]
    teacher = model.num_parameters() if run is first else records.read(first)["model"]["parameters"]
    about = {"id": run.id, "step": run.step} | encoder.describe(model, teacher)
    if "unigram_loss" in scores:
        about["worse_than_unigram"] = scores["mlm_loss"] > scores["unigram_loss"]
    encoder.save(model, tokenizer, run.folder, card.text(run, about, data, scores))
    record = records.write(run, about, scores=scores, data=data, **parts, **_weights(run))
    _release(run)
    return record


def finish_scoring(run: Run, scores: dict, data: dict, **parts) -> dict:
    """Write the scores of a run that scored or measured a model into that model's card, then the run's record. Returns the record."""
    checkpoints(run)
    scored = records.read(run.parent)
    record = records.compose(run, scored["model"], scores=scores, data=data, **parts)
    with files.alone(
        files.models() / f".{run.parent.id}.card.lock", f"writing the card of {run.parent.id}"
    ):
        records_there = [
            file
            for step in ("finetune", *studies.MEASURES)
            for file in sorted((files.runs() / step).glob("*.json"))
            if file != run.record
        ]
        others = [json.loads(file.read_text(encoding="utf-8")) for file in records_there] + [record]
        own = [each for each in others if each["model"]["id"] == run.parent.id]
        measured = {
            f"{name} ({each['language']})": value
            for each in own
            if each["step"] in studies.MEASURES
            for name, value in each["scores"].items()
        }
        files.write_whole(
            run.parent.folder / "README.md",
            card.text(
                run.parent,
                scored["model"],
                scored["data"],
                scored["scores"] | measured,
                [each for each in own if each["step"] == "finetune"],
            ),
        )
        files.write_json(run.record, record)
    _release(run)
    return record


def tidy(run: Run) -> None:
    """Remove what a kill may have left of a finished run that nobody is making again: its checkpoints, a former model, parts."""
    with contextlib.suppress(BlockingIOError), files.alone(_lock(run), "", wait=False):
        trainer.forget(_checkpoints(run))
        for each in (run.folder, run.record):
            files.sweep(each)


def _weights(run: Run) -> dict:
    """{"weights": where the weights that a run began with or took over were read from}; nothing for a run that reads none."""
    entry = facts.fact("models", run.teacher)
    published, first = run.step == "adapt" and run.settings["published"], run.step == "pretrain"
    pieces = entry.get("vocabulary") if first else None
    own = (
        {"vocabulary": {"file": pieces, "sha256": files.sha256(run.source.root / pieces)}}
        if pieces
        else {}
    )
    if entry["make"] == "local" and first:
        return {
            "weights": {
                "folder": entry["folder"],
                "sha256": files.sha256(run.models_root / entry["folder"]),
            }
            | own
        }
    if published or (entry["make"] == "hub" and first):
        named = entry["adapted"][run.language] if published else entry
        served = hub.model_commit(named["repository"], named["revision"]) or named["revision"]
        return {
            "weights": {
                "repository": named["repository"],
                "revision": served,
                "licence": named["licence"],
            }
            | own
        }
    return {}


def _checkpoints(run: Run) -> Path:
    return files.models() / f".{run.id}.checkpoints"


def _lock(run: Run) -> Path:
    return files.models() / f".{run.id}.maker.lock"


def _release(run: Run) -> None:
    trainer.forget(_checkpoints(run))
    _mine.pop(_lock(run)).close()
