"""Do the committed numbers come out again? One finished run made once more, in a folder of its own, and both records compared.

    python -m lib.repeat mini ID        ID as `python -m lib.plan status mini` lists it; its model must be there, or the one before it

Nothing of the study is touched. Compared is all that `records.lasting` keeps: not times, versions and machine. On the machine and with
the number of threads of the first making, nothing differs; elsewhere sums are rounded in another order.
"""

import argparse
import json
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

from lib import files
from lib.errors import StudyError
from lib.study import kernel, plan, records
from lib.study.plan import Job


def repeat(job: Job, published: Path | None = None) -> list[str]:
    """Make the run of `job` again and return what differs, one line each: name, value then, value now.

    Compared is with the run's own record, or where there is none with its copy in `published`. The model and the records before it are
    linked, not made again. Killed, it goes on from its last checkpoint. StudyError if there is no such record, or no model to start from.
    """
    run, before = job.run, job.run.lineage()[:-1]
    first = next(
        (
            file
            for file in (run.record, *([published / run.record.name] if published else []))
            if file.exists()
        ),
        None,
    )
    if first is None:
        raise StudyError(
            f"there is no record of {run.id} to compare with: `python -m lib.plan make {run.study} {run.id}` makes it"
        )
    missing = [
        each.id
        for each in before
        if not (each.record.exists() and (each is not run.parent or each.folder.exists()))
    ]
    if missing:
        raise StudyError(
            f"{run.id} starts from {missing[-1]}, which is not here: "
            f"`python -m lib.plan make {run.study} {missing[-1]}` makes it"
        )
    old = json.loads(first.read_text(encoding="utf-8"))
    needed = [each.record for each in before] + ([run.parent.folder] if run.parent else [])
    root = files.data()
    with _elsewhere(root / "repeat" / run.id):
        for each in needed:
            _link(each, files.data() / each.relative_to(root))
        if not run.record.exists():
            with kernel.warm() as execute:
                execute(job.notebook, run.record.with_suffix(".ipynb"), job.parameters)
        new = records.read(run)
    return differing(old, new)


def differing(old: dict, new: dict) -> list[str]:
    """What two records of one run hold differently, one line each; what was added when the record was published is left out."""
    then, now = (
        dict(
            _flat({key: value for key, value in records.lasting(record).items() if key != "paired"})
        )
        for record in (old, new)
    )
    return [
        f"{name}: {then.get(name, 'absent')} then, {now.get(name, 'absent')} now"
        for name in dict.fromkeys([*then, *now])
        if then.get(name, "absent") != now.get(name, "absent")
    ]


@contextmanager
def _elsewhere(folder: Path):
    """What a study makes goes to `folder` meanwhile, which vanishes when all went well."""
    before = os.environ.get("STUDY_DATA")
    folder.mkdir(parents=True, exist_ok=True)
    if (files.raw()).exists() and not (folder / "raw").exists():
        (folder / "raw").symlink_to(files.raw())
    os.environ["STUDY_DATA"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("STUDY_DATA")
        if before is not None:
            os.environ["STUDY_DATA"] = before
    shutil.rmtree(folder)


def _link(source: Path, target: Path) -> None:
    """The files of `source` under another name, of which each can be replaced without the first being changed."""
    for file in [source] if source.is_file() else source.rglob("*"):
        place = target if source.is_file() else target / file.relative_to(source)
        if file.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                place.hardlink_to(file)
            except OSError:  # another disk
                shutil.copy2(file, place)


def _flat(value, name: str = ""):
    """(dotted name, value) of everything nested in dictionaries and lists."""
    if isinstance(value, dict | list) and value:
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(each, f"{name}.{key}".removeprefix("."))
    else:
        yield name, value


def main() -> None:
    """Command line; see the head of this module."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.repeat", description="One finished run made again, and compared."
    )
    parser.add_argument("study")
    parser.add_argument("id")
    given = parser.parse_args()
    try:
        found = [each for each in plan.jobs(given.study) if each.run.id == given.id]
        if not found:
            raise StudyError(
                f"the study {given.study!r} has no run {given.id}; `python -m lib.plan status {given.study}` lists them"
            )
        differences = repeat(found[0], files.RESULTS / given.study)
    except StudyError as error:
        sys.exit(str(error))
    if differences:
        sys.exit("\n".join([f"{len(differences)} numbers of {given.id} differ:", *differences]))
    print(f"{given.id}: the same record again")


if __name__ == "__main__":
    main()
