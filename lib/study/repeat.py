"""One finished run made once more, in a folder of its own, and both records compared.

Nothing of the study is touched. Times, versions and machine are not compared. The run takes as many
threads as the first time, so on the same machine nothing differs; elsewhere sums are rounded in
another order.
"""

import json
import shutil
from pathlib import Path

from lib import files
from lib.errors import StudyError
from lib.study import make, records
from lib.study.run import Run


def repeat(run: Run, published: Path | None = None) -> list[str]:
    """Make a run again and return the differences, one line each: name, value then, value now.

    The comparison is with the run's own record, or where there is none with that in the file
    `published`. The models and records before it are linked, not made again. A repeat that was
    killed goes on from its last checkpoint. StudyError if there is no record to compare with, or
    no model to start from.
    """
    before, command = run.lineage()[:-1], f"`python -m lib.study make {run.study.name}"
    former = {record["id"]: record for record in records.read_lines(published)} if published else {}
    if not run.record.exists() and run.id not in former:
        raise StudyError(
            f"there is no record of {run.id} to compare with: {command} {run.id}` makes it"
        )
    for needed in before:
        if not (needed.record.exists() and (needed is not run.parent or needed.folder.exists())):
            raise StudyError(
                f"{run.id} starts from {needed.id}, which is not here: {command} {needed.id}` "
                "makes it"
            )
    old = records.read(run) if run.record.exists() else former[run.id]
    elsewhere = files.data() / "repeat" / run.id
    for path in [files.raw(), *(place for one in before for place in (one.record, one.folder))]:
        _link(path, elsewhere / path.relative_to(files.data()))
    record = elsewhere / run.record.relative_to(files.data())
    if not record.exists():
        threads = old.get("made", {}).get("environment", {}).get("threads")
        variables = files.environment() | {"STUDY_DATA": str(elsewhere)}
        variables.pop("OMP_NUM_THREADS", None)  # without a number each library takes its default
        variables |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
        with make.warm_kernel(variables) as execute:
            execute(run.notebook, record.with_suffix(".ipynb"), run.parameters)
    new = json.loads(record.read_text(encoding="utf-8"))
    shutil.rmtree(elsewhere)
    return differences(old, new)


def differences(old: dict, new: dict) -> list[str]:
    """The lasting values that two records of one run hold differently, one line each."""
    then, now = (dict(_flat(records.lasting(record))) for record in (old, new))
    return [
        f"{name}: {then.get(name, 'absent')} then, {now.get(name, 'absent')} now"
        for name in dict.fromkeys([*then, *now])
        if then.get(name, "absent") != now.get(name, "absent")
    ]


def made_again(old: dict, new: dict) -> bool:
    """Whether a new record of a run says all that the old one says, of the same model before it."""
    then, now = (dict(_flat(records.lasting(record))) for record in (old, new))
    kept = all(now.get(name, "absent") == value for name, value in then.items())
    return kept and old["made"].get("parent") == new["made"]["parent"]


def _link(source: Path, target: Path) -> None:
    """Links at `target` to the files of `source`. To replace one there leaves `source` as it is."""
    for file in [source] if source.is_file() else source.rglob("*"):
        place = target / file.relative_to(source)
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
