"""What a study notebook leaves behind: a model folder with its card, then a record. Where the record is, the run is finished."""

import contextlib
import json
from pathlib import Path

from lib import cards, hub, models, params, paths, records, studies, training
from lib.studies import Run

_mine: dict[Path, contextlib.ExitStack] = {}  # the locks this process holds, one for each run it is making


def checkpoints(run: Run) -> Path:
    """Folder of a run's checkpoints, this process's alone until the run is finished; a second process waits here."""
    if _lock(run) not in _mine:
        with contextlib.ExitStack() as stack:
            stack.enter_context(paths.alone(_lock(run), f"making {run.id}"))
            _mine[_lock(run)] = stack.pop_all()
    return _checkpoints(run)


def finish(run: Run, model, tokenizer, scores: dict, data: dict, **parts) -> dict:
    """Save the model a run made, with its card, then its record; drop its checkpoints. Returns the record.

    Where the scores hold both, the record's section `model` says whether the model is `worse_than_unigram` on held-out text.
    """
    checkpoints(run)
    first = run.lineage()[0]
    teacher = model.num_parameters() if run is first else records.read(first)["model"]["parameters"]
    about = {"id": run.id, "step": run.step} | models.describe(model, teacher)
    if "unigram_loss" in scores:
        about["worse_than_unigram"] = scores["mlm_loss"] > scores["unigram_loss"]
    models.save(model, tokenizer, run.folder, cards.text(run, about, data, scores))
    record = records.write(run, about, scores=scores, data=data, **parts, **_weights(run))
    _release(run)
    return record


def finish_scoring(run: Run, scores: dict, data: dict, **parts) -> dict:
    """Write the scores of a run that scored or measured a model into that model's card, then the run's record. Returns the record."""
    checkpoints(run)
    scored = records.read(run.parent)
    record = records.compose(run, scored["model"], scores=scores, data=data, **parts)
    with paths.alone(paths.models() / f".{run.parent.id}.card.lock", f"writing the card of {run.parent.id}"):
        files = [file for step in ("finetune", *studies.MEASURES) for file in sorted((paths.runs() / step).glob("*.json"))
                 if file != run.record]
        others = [json.loads(file.read_text(encoding="utf-8")) for file in files] + [record]
        own = [each for each in others if each["model"]["id"] == run.parent.id]
        measured = {f"{name} ({each['language']})": value for each in own if each["step"] in studies.MEASURES
                    for name, value in each["scores"].items()}
        paths.write_whole(run.parent.folder / "README.md",
                          cards.text(run.parent, scored["model"], scored["data"], scored["scores"] | measured,
                                     [each for each in own if each["step"] == "finetune"]))
        paths.write_json(run.record, record)
    _release(run)
    return record


def tidy(run: Run) -> None:
    """Remove what a kill may have left of a finished run that nobody is making again: its checkpoints, a former model, parts."""
    with contextlib.suppress(BlockingIOError), paths.alone(_lock(run), "", wait=False):
        training.forget(_checkpoints(run))
        for each in (run.folder, run.record):
            paths.sweep(each)


def _weights(run: Run) -> dict:
    """{"weights": where the weights that a run began with or took over were read from}; nothing for a run that reads none."""
    facts = params.fact("models", run.teacher)
    published, first = run.step == "adapt" and run.settings["published"], run.step == "pretrain"
    pieces = facts.get("vocabulary") if first else None
    own = {"vocabulary": {"file": pieces, "sha256": paths.sha256(run.source.root / pieces)}} if pieces else {}
    if facts["make"] == "local" and first:
        return {"weights": {"folder": facts["folder"], "sha256": paths.sha256(run.models_root / facts["folder"])} | own}
    if published or (facts["make"] == "hub" and first):
        named = facts["adapted"][run.language] if published else facts
        served = hub.model_commit(named["repository"], named["revision"]) or named["revision"]
        return {"weights": {"repository": named["repository"], "revision": served, "licence": named["licence"]} | own}
    return {}


def _checkpoints(run: Run) -> Path:
    return paths.models() / f".{run.id}.checkpoints"


def _lock(run: Run) -> Path:
    return paths.models() / f".{run.id}.maker.lock"


def _release(run: Run) -> None:
    training.forget(_checkpoints(run))
    _mine.pop(_lock(run)).close()
