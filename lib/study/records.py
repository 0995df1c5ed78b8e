"""One result, one JSON record, written last: where a record exists, its run is finished."""

import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pandas

from lib import files
from lib.errors import StudyError


def write(run, model: dict, **parts) -> dict:
    """Write the record of `run` (a `params.Run`) whole and return it; arguments as of `compose`."""
    record = compose(run, model, **parts)
    files.write_json(run.record, record)
    return record


def compose(run, model: dict, **parts) -> dict:
    """The record of `run`. Everything that may differ when the run is made again stands in its section `made`.

    `model` says which model the numbers are about: id, step, parameters, teacher_parameters, compression_rate, config.
    `parts` are the record's further sections: scores, history, data, ... and `seconds`, which goes to `made`.
    """
    chain = [
        each
        for each in run.lineage()
        if each.step not in ("finetune", "baseline", "perplexity", "lens")
    ]
    settings = {each.step: dict(each.settings) for each in run.lineage()}
    seconds = {"total": round(time.monotonic() - run.began, 2)} | parts.pop("seconds", {})
    parts, passed_over = _without(parts, "passed_over")
    made = {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "environment": environment(),
    }
    made |= (
        {"passed_over": passed_over} if passed_over else {}
    )  # why an earlier source did not serve: gated today, offline tomorrow
    return {
        "id": run.id,
        "step": run.step,
        "study": run.study,
        "language": run.language,
        "teacher": run.teacher,
        "task": run.task,
        "seed": run.seed,
        "model": model,
        "settings": settings,
        "source": run.source.kind,
        "chain": [each.id for each in chain],
        **parts,
        "made": made,
    }


def _without(part, name: str) -> tuple:
    """A section without the entries of one name at any depth, and what stood in these lists."""
    if not isinstance(part, dict):
        return part, []
    kept, found = {}, list(part.get(name, []))
    for key, value in part.items():
        if key != name:
            kept[key], more = _without(value, name)
            found += more
    return kept, found


def lasting(record: dict) -> dict:
    """A record without its section `made` (in older records, three sections): two makings of a run are equal in all of this."""
    return {
        key: value for key, value in record.items() if key not in ("made", "seconds", "environment")
    }


def read(run) -> dict:
    """The record of a finished run; StudyError if it was not run."""
    if not run.record.exists():
        raise StudyError(f"{run.id} has not been run; run the notebook of step {run.step!r} first")
    return json.loads(run.record.read_text(encoding="utf-8"))


def load(folder: Path) -> pandas.DataFrame:
    """All records of a folder as a data frame, one row a record, nested names joined by dots; lists stay lists.

    What stands in the section `made` (in older records, beside it) has its bare name: `seconds.total`, `environment.commit`.
    """
    found = [
        json.loads(file.read_text(encoding="utf-8")) for file in sorted(Path(folder).glob("*.json"))
    ]
    return pandas.json_normalize(
        [
            record | (record["made"] if isinstance(record.get("made"), dict) else {})
            for record in found
        ]
    )


def environment() -> dict:
    """Versions, commit and machine a number was made with."""
    names = (
        "torch",
        "transformers",
        "tokenizers",
        "safetensors",
        "accelerate",
        "datasets",
        "huggingface_hub",
        "numpy",
        "scikit-learn",
        "seqeval",
    )
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "commit": _commit(),
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or 0),
    }


def _commit() -> str:
    """The commit of the checkout, with `-dirty` if a tracked file was changed since."""
    try:
        git = subprocess.run(
            ["git", "-C", str(files.ROOT), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return "git is not installed"
    return git.stdout.strip() or "not a checkout"


def _processor() -> str:
    """The GPU computed on, or the processor's name as the system gives it."""
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        return sys.modules["torch"].cuda.get_device_name()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "not stated"
