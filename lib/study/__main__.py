"""The commands of a study.

python -m lib.study check demo        what the study needs: what is there, what is wrong
python -m lib.study status demo       the runs of a study, and which of them are done
python -m lib.study make demo         make the runs that are not done, one after another
python -m lib.study make demo ID ...  make these
python -m lib.study collect demo      write the finished study's records to data/runs/studies
python -m lib.study publish e5        write the records that are there to data/results
python -m lib.study restore e5        take over the published records, to go on from them
python -m lib.study repeat e5 ID      make one finished run again elsewhere; name each difference
python -m lib.study leaks e5          count the test examples that the training text holds
"""

import argparse
import functools
import itertools
import sys

from lib import files
from lib.errors import StudyError
from lib.study import check, make, plan, publish, repeat, state
from lib.study.run import Run


def _status(runs: list[Run]) -> None:
    known: dict[str, str] = {}
    for run in runs:
        print(f"{state.state(run, known):5} {run.notebook.stem} {run.id}")
    done = sum(state.state(run, known) == state.DONE for run in runs)
    print(f"{done} of {len(runs)} runs done")


def _check(runs: list[Run]) -> None:
    rows = check.table(runs)
    width = max(len(row.what) for row in rows)
    for row in rows:
        print(f"{'WRONG' if row.wrong else 'ok':5} {row.what:{width}} {row.wrong or row.found}")
    if wrong := sum(bool(row.wrong) for row in rows):
        sys.exit(f"{wrong} of {len(rows)} are wrong; nothing was made")


def _make(runs: list[Run]) -> None:
    check.before(runs)
    make.make(runs)
    places = f"Models: {files.models()}. Records: {files.runs()}"
    print(f"{len(runs)} runs of {runs[0].study.name} are done. {places}")


def _collect(runs: list[Run], publishing: bool = False) -> None:
    make.clear(runs)
    study = runs[0].study.name
    folder = files.RESULTS if publishing else files.runs() / "studies"
    found = publish.collect(study, partial=publishing)
    publish.write(study, folder, found)
    print(f"{len(found)} records of {study} in {folder}")


def _restore(runs: list[Run]) -> None:
    study = runs[0].study.name
    print(f"{publish.restore(study)} records of {study} were taken from {files.RESULTS}")


def _repeat(runs: list[Run]) -> None:
    for run in runs:
        published = files.RESULTS / f"{run.study.name}.jsonl"
        found = repeat.repeat(run, published if published.exists() else None)
        if found:
            sys.exit("\n".join([f"{len(found)} numbers of {run.id} differ:", *found]))
        print(f"{run.id}: the same record again")


def _leaks(runs: list[Run]) -> None:
    from lib.data.leaks import table

    study = runs[0].study
    languages = dict.fromkeys(itertools.chain(*(held for _, _, held in study.students)))
    sentences = study.corpus["train"]
    for language, task, count, known in table(languages, study.tasks, study.source, sentences):
        print(f"{language} {task:3} {count:6,} test examples, {known:,} in the text")


_COMMANDS = {"status": _status, "check": _check, "make": _make, "collect": _collect}
_COMMANDS |= {
    "publish": functools.partial(_collect, publishing=True),
    "restore": _restore,
    "repeat": _repeat,
    "leaks": _leaks,
}


def main() -> None:
    """Run one command; a StudyError becomes one sentence and exit status 1."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=_COMMANDS)
    parser.add_argument("study")
    parser.add_argument("ids", nargs="*", help="with make and repeat: these runs only")
    asked = parser.parse_args()
    try:
        runs = {run.id: run for run in plan.runs(asked.study)}
        for name in asked.ids:
            if name not in runs:
                raise StudyError(
                    f"the study {asked.study!r} has no run {name}; "
                    f"`python -m lib.study status {asked.study}` lists them"
                )
        chosen = [runs[name] for name in asked.ids] or list(runs.values())
        _COMMANDS[asked.action](chosen)
    except StudyError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
