"""One result, one JSON record, written last: where a record exists, its run is finished."""

import contextlib
import datetime
import functools
import hashlib
import itertools
import json
import os
import platform
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from lib import files
from lib.errors import StudyError
from lib.study import steps
from lib.study.run import Run

_PACKAGES = (
    *("torch", "transformers", "tokenizers", "safetensors", "accelerate"),
    *("datasets", "huggingface_hub", "numpy", "scikit-learn", "seqeval"),
)
_NOT_LASTING = ("made", "paired")


def compose(run: Run, model: dict, seconds: dict, **parts) -> dict:
    """The record of `run`. What may differ when the run is made again is in its section `made`.

    `model` says which model the numbers are about. `seconds` goes to `made`, and so do the reasons
    why an earlier source of data did not serve. `parts` are further sections: scores, history,
    data, ... Only a record about a model of several languages names them in `languages`.
    """
    passed_over: list[str] = []

    def without(section: dict) -> dict:
        passed_over.extend(section.pop("passed_over", ()))
        return section

    parts = json.loads(json.dumps(parts), object_hook=without)
    made = {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "parent": digest(read(run.parent)) if run.parent else None,
        "environment": environment(),
    }
    made |= {"passed_over": passed_over} if passed_over else {}
    on_text = run.parent if run.group else run
    several = on_text.language is not None and len(on_text.languages) > 1
    return {
        "id": run.id,
        "step": run.step,
        "study": run.study.name,
        "language": run.language,
        "teacher": run.teacher,
        "task": run.task,
        "seed": run.seed,
        "model": model,
        "settings": {each.step: each.stated for each in run.lineage()},
        "changed": run.changed,
        "source": run.study.source.kind,
        "chain": [each.id for each in run.lineage() if steps.step(each.step).makes_model],
        **({"languages": on_text.languages} if several else {}),
        **parts,
        "made": made,
    }


def read(run: Run) -> dict:
    """The record of a finished run; StudyError if it was not run."""
    if not run.record.exists():
        raise StudyError(f"{run.id} has not been run; run the notebook {run.notebook.name} first")
    return json.loads(run.record.read_text(encoding="utf-8"))


def lasting(record: dict) -> dict:
    """The parts of a record that are equal whenever its run is made again."""
    return {key: value for key, value in record.items() if key not in _NOT_LASTING}


def digest(record: dict) -> str:
    """Checksum of the lasting parts of a record."""
    text = json.dumps(lasting(record), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_lines(file: Path, records: list[dict]) -> None:
    """Write records as JSON Lines: shared sections on the first line, then one record a line.

    A section that several records have is written once; in the records stands {"same": its key}.
    """
    counts: Counter = Counter()
    shared: dict[str, dict] = {}
    for value in itertools.chain(*(record.values() for record in records)):
        _count(value, counts)
    lines = [
        {key: _packed(value, counts, shared) for key, value in record.items()} for record in records
    ]
    dump = functools.partial(json.dumps, ensure_ascii=False, allow_nan=False)
    files.write_whole(file, "\n".join(map(dump, ({"shared": shared}, *lines))) + "\n")


def read_lines(file: Path) -> list[dict]:
    """The records of a file that `write_lines` wrote; StudyError if it is not there or is none."""
    try:
        first, *texts = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        shared = json.loads(first)["shared"]

        def whole(section: dict) -> dict:
            return shared[section["same"]] if set(section) == {"same"} else section

        return [json.loads(text, object_hook=whole) for text in texts]
    except FileNotFoundError:
        raise StudyError(
            f"{file}: there are no records; run `make study` or `make publish` first"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"{file}: not a file of records ({error}); publish the study again"
        ) from None


def environment() -> dict:
    """Versions, commit and machine that a number was made with."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "commit": _commit(),
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": _threads(),
    }


def _text(value) -> str | None:
    """The JSON text of a section that is long enough to be worth sharing."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, dict) else ""
    return text if len(text) > 60 else None


def _count(value, counts: Counter) -> None:
    if text := _text(value):
        counts[text] += 1
    if isinstance(value, dict) and counts[text] <= 1:  # what a shared one holds is not looked at
        for part in value.values():
            _count(part, counts)


def _packed(value, counts: Counter, shared: dict):
    if not isinstance(value, dict):
        return value
    if counts[text := _text(value)] > 1:
        key = hashlib.sha256(text.encode()).hexdigest()[:8]
        shared.setdefault(key, value)
        return {"same": key}
    return {key: _packed(part, counts, shared) for key, part in value.items()}


def _commit() -> str:
    """The commit of the checkout, with `-dirty` if a tracked file was changed since."""
    command = ["git", "-C", str(files.ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        git = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "git is not installed"
    return git.stdout.strip() or "not a checkout"


def _threads() -> int:
    """The number of threads computed with; 0 if it is not known."""
    if "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    return int(os.environ.get("OMP_NUM_THREADS") or 0)


def _processor() -> str:
    """The GPU computed on, or the processor's name as the system gives it."""
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        return sys.modules["torch"].cuda.get_device_name()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "not stated"
