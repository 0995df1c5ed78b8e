"""One result, one JSON record, written last: where a record exists, its run is finished."""

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pandas

from lib import paths
from lib.errors import StudyError


def write(run, model: dict, **parts) -> dict:
    """Write the record of `run` (a `params.Run`) whole and return it.

    `model` says which model the numbers are about: id, step, parameters, teacher_parameters, compression_rate, config.
    `parts` are the record's further sections: scores, history, data, seconds, ...
    """
    chain = [each for each in run.lineage() if each.step not in ("finetune", "baseline", "perplexity", "lens")]
    settings = {each.step: dict(each.settings) for each in run.lineage()}
    record = {"id": run.id, "step": run.step, "study": run.study, "language": run.language, "teacher": run.teacher,
              "task": run.task, "seed": run.seed, "model": model, "settings": settings, "source": run.source.kind,
              "chain": [each.id for each in chain], **parts, "environment": environment(),
              "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    paths.write_json(run.record, record)
    return record


def read(run) -> dict:
    """The record of a finished run; StudyError if it was not run."""
    if not run.record.exists():
        raise StudyError(f"{run.id} has not been run; run the notebook of step {run.step!r} first")
    return json.loads(run.record.read_text(encoding="utf-8"))


def load(folder: Path) -> pandas.DataFrame:
    """All records of a folder as a data frame, one row a record, nested names joined by dots; lists stay lists."""
    files = sorted(Path(folder).glob("*.json"))
    return pandas.json_normalize([json.loads(file.read_text(encoding="utf-8")) for file in files])


def environment() -> dict:
    """Versions, commit and machine a number was made with."""
    names = ("torch", "transformers", "tokenizers", "datasets", "numpy", "scikit-learn", "seqeval")
    git = subprocess.run(["git", "-C", str(paths.ROOT), "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True,
                         text=True, check=False)
    return {"python": platform.python_version(), **{name: version(name) for name in names},
            "commit": git.stdout.strip() or "not a checkout", "machine": platform.machine(), "system": platform.system(),
            "cores": os.cpu_count(), "threads": int(os.environ.get("OMP_NUM_THREADS") or 0)}
