"""One finished run made once more, in a folder of its own, and both records compared.

Nothing of the study is touched. Times, versions and machine are not compared. The run takes as many
threads as the first time, so on the same machine nothing differs; elsewhere sums are rounded in
another order.
"""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from lib import files
from lib.errors import StudyError
from lib.study import make, records, steps
from lib.study.run import Run


def repeat(run: Run, published: Path | None = None) -> list[str]:
    """Make a run again and return the differences, one line each: name, value then, value now.

    The comparison is with the run's own record, or where there is none with that in the file
    `published`. Models that it reads and the records before it are linked, not made again. A repeat
    that was killed goes on from its last checkpoint. StudyError if there is no record to compare
    with, or no model to start from.
    """
    before, command = run.lineage()[:-1], f"`python -m lib.study make {run.study.name}"
    former = {record["id"]: record for record in records.read_lines(published)} if published else {}
    if not run.record.exists() and run.id not in former:
        raise StudyError(
            f"there is no record of {run.id} to compare with: {command} {run.id}` makes it"
        )
    models = _models(run)
    for needed in before:
        if not (needed.record.exists() and (needed not in models or needed.folder.exists())):
            raise StudyError(
                f"{run.id} starts from {needed.id}, which is not here: {command} {needed.id}` "
                "makes it"
            )
    old = records.read(run) if run.record.exists() else former[run.id]
    links = [needed.record for needed in before] + [model.folder for model in models]
    root = files.data()
    threads = old.get("made", {}).get("environment", {}).get("threads")
    with _elsewhere(root / "repeat" / run.id, threads):
        for path in links:
            _link(path, files.data() / path.relative_to(root))
        if not run.record.exists():
            with make.warm_kernel() as execute:
                execute(run.notebook, run.record.with_suffix(".ipynb"), run.parameters)
        new = records.read(run)
    return differences(old, new)


def differences(old: dict, new: dict) -> list[str]:
    """The lasting values that two records of one run hold differently, one line each."""
    then, now = (dict(_flat(records.lasting(record))) for record in (old, new))
    return [
        f"{name}: {then.get(name, 'absent')} then, {now.get(name, 'absent')} now"
        for name in dict.fromkeys([*then, *now])
        if then.get(name, "absent") != now.get(name, "absent")
    ]


@contextmanager
def _elsewhere(folder: Path, threads: int | None):
    """STUDY_DATA is `folder`, with so many threads, while the block runs.

    Without a number each library takes its default. The folder is removed when the block ends well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if files.raw().exists() and not (folder / "raw").exists():
        (folder / "raw").symlink_to(files.raw())
    within = {"STUDY_DATA": str(folder), "OMP_NUM_THREADS": str(threads) if threads else None}
    before = {name: os.environ.get(name) for name in within}
    _set(within)
    try:
        yield
    finally:
        _set(before)
    shutil.rmtree(folder)


def _set(variables: dict[str, str | None]) -> None:
    """Give the variables of the environment these values; None takes one out."""
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def _models(run: Run) -> list[Run]:
    """The runs whose models a run reads: the one before and, of a cut, its teachers."""
    if run.parent is None or not steps.step(run.step).makes_model:
        return [run.parent] if run.parent else []
    return [run.lineage()[0], run.parent, *([run.taught_by] if "taught_by" in run.settings else [])]


def _link(source: Path, target: Path) -> None:
    """Links at `target` to the files of `source`. To replace one there leaves `source` as it is."""
    for file in [source] if source.is_file() else source.rglob("*"):
        place = target if source.is_file() else target / file.relative_to(source)
        if file.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(file)


def _flat(value, name: str = ""):
    """(dotted name, value) of everything nested in dictionaries and lists."""
    if isinstance(value, dict | list) and value:
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(part, f"{name}.{key}".removeprefix("."))
    else:
        yield name, value
