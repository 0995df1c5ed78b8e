"""What a study notebook leaves behind: a model folder with its card, then a record. Where the record is, the run is finished."""

import json
from pathlib import Path

from lib import cards, models, paths, records, studies, training
from lib.studies import Run


def checkpoints(run: Run) -> Path:
    """Folder of a run's checkpoints; it lives until the run is finished."""
    return paths.models() / f".{run.id}.checkpoints"


def finish(run: Run, model, tokenizer, scores: dict, data: dict, **parts) -> dict:
    """Save the model a run made, with its card, then its record; drop its checkpoints. Returns the record."""
    first = run.lineage()[0]
    teacher = model.num_parameters() if run is first else records.read(first)["model"]["parameters"]
    about = {"id": run.id, "step": run.step} | models.describe(model, teacher)
    models.save(model, tokenizer, run.folder, cards.text(run, about, data, scores))
    record = records.write(run, about, scores=scores, data=data, **parts)
    training.forget(checkpoints(run))
    return record


def finish_scoring(run: Run, scores: dict, data: dict, **parts) -> dict:
    """Write the record of a run that scored or measured a model, and the scores into that model's card. Returns the record."""
    scored = records.read(run.parent)
    record = records.write(run, scored["model"], scores=scores, data=data, **parts)
    files = [file for step in ("finetune", *studies.MEASURES) for file in sorted((paths.runs() / step).glob("*.json"))]
    others = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    own = [each for each in others if each["model"]["id"] == run.parent.id]
    measured = {f"{name} ({each['language']})": value for each in own if each["step"] in studies.MEASURES
                for name, value in each["scores"].items()}
    paths.write_whole(run.parent.folder / "README.md",
                      cards.text(run.parent, scored["model"], scored["data"], scored["scores"] | measured,
                                 [each for each in own if each["step"] == "finetune"]))
    return record
