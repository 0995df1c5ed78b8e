"""A study as a list of jobs: which notebook makes which record, from which others. Snakemake runs it; so can this module.

python -m lib.plan status demo        what a study runs, and what is done
python -m lib.plan make demo          run what is not done, one notebook after another (snakemake runs them side by side)
python -m lib.plan make demo ID ...   run these
python -m lib.plan collect demo       copy the records of a study to data/runs/studies/demo
python -m lib.plan publish mini       copy those that are there to data/results/mini, to be committed
"""

import argparse
import json
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from lib import facts, files
from lib.errors import StudyError
from lib.study import freshness, kernel, records, results, studies
from lib.study.studies import Run

NOTEBOOKS = {
    "pretrain": "00_pretrain_teacher",
    "adapt": "10_adapt_teacher",
    "layers": "20_distil_layers",
    "ffn": "30_prune_ffn",
    "hidden": "40_reduce_hidden",
    "vocabulary": "50_trim_vocabulary",
    "finetune": "60_finetune_task",
    "baseline": "65_baselines",
    "perplexity": "70_pseudo_perplexity",
    "lens": "80_logit_lens",
}


@dataclass(frozen=True)
class Job:
    """One notebook execution: the run it makes, its notebook and parameters, and the runs that must be finished before."""

    run: Run
    notebook: Path
    parameters: dict
    needs: tuple


def job(run: Run) -> Job:
    """The job that makes `run`; its parameters name only what differs from the study's settings."""
    if run.step == "baseline":
        usual = studies.baseline(run.study, run.language, run.task, run.settings["kind"])
        changed = _difference(run.settings, usual.settings)
        given = {
            "study": run.study,
            "language": run.language,
            "task": run.task,
            "kind": run.settings["kind"],
        }
        given |= {"overrides": {"finetune": changed}} if changed else {}
        return Job(run, files.NOTEBOOKS / f"{NOTEBOOKS[run.step]}.ipynb", given, ())
    scored = run if run.step in studies.STEPS else run.parent
    steps = scored.lineage()
    own = studies.study(run.study)
    language = run.language or next(
        pair["languages"][0] for pair in own.pairs if pair["teacher"] == run.teacher
    )
    usual_steps = {
        each.step: each
        for each in studies.chain(
            run.study, language, run.teacher, order=_complete(steps, own.order)
        )
    }
    overrides = {
        each.step: changed
        for each in steps
        if (changed := _difference(each.settings, usual_steps[each.step].settings))
    }
    given = {"study": run.study, "teacher": run.teacher}
    if run.step == "finetune":
        usual = studies.scoring(usual_steps[scored.step], language, run.task, run.seed).settings
        kind, changed = facts.fact("tasks", run.task)["kind"], _difference(run.settings, usual)
        general = {key: value for key, value in changed.items() if key in studies.FINETUNE}
        special = {key: value for key, value in changed.items() if key not in studies.FINETUNE}
        if changed:
            overrides["finetune"] = general | ({kind: special} if special else {})
        given |= {
            "language": run.language,
            "task": run.task,
            "model_step": scored.step,
            "seed": run.seed,
        }
    elif run.step in studies.MEASURES:
        pair = next(
            each
            for each in own.pairs
            if each["teacher"] == run.teacher and language in each["languages"]
        )
        if changed := _difference(
            run.settings, own.measure.get(run.step, {}) | pair["set"].get(run.step, {})
        ):
            overrides[run.step] = changed
        given |= {"language": run.language, "model_step": scored.step}
    elif run.step != "pretrain":
        given |= {"language": run.language, "seed": run.seed}
    order = tuple(each.step for each in steps)
    if order != own.order[: len(order)]:
        given["order"] = list(order)
    if overrides:
        given["overrides"] = overrides
    return Job(
        run,
        files.NOTEBOOKS / f"{NOTEBOOKS[run.step]}.ipynb",
        given,
        (run.parent,) if run.parent else (),
    )


def jobs(study: str) -> list[Job]:
    """All jobs of a study, each once, an earlier one never needing a later.

    What a study's `baselines` name is run for every language and task that it scores a model on, from as many examples.
    """
    own, found = studies.study(study), {}
    for variant in ({"set": {}}, *own.variants):
        for pair in own.pairs:
            for language in pair["languages"]:
                if language not in variant.get("languages", pair["languages"]):
                    continue
                steps = studies.chain(
                    study, language, pair["teacher"], variant["set"], order=variant.get("order")
                )
                by_step = {run.step: run for run in steps}
                score = [step for step in variant.get("score", own.score) if step in by_step]
                last = (
                    max([steps.index(by_step[step]) for step in score], default=-1)
                    if variant["set"]
                    else len(steps) - 1
                )
                for run in steps[: last + 1]:
                    found[run.id] = run
                for task in variant.get("tasks", own.tasks) if score else ():
                    for kind in own.baselines:
                        run = studies.baseline(
                            study, language, task, kind, pair["teacher"], variant["set"]
                        )
                        found[run.id] = run
                for step in score:
                    for task in variant.get("tasks", own.tasks):
                        for seed in variant.get("seeds", own.task_seeds):
                            run = studies.scoring(
                                by_step[step], language, task, seed, variant["set"]
                            )
                            found[run.id] = run
                    for kind in own.measure:
                        run = studies.measuring(by_step[step], language, kind, variant["set"])
                        found[run.id] = run
    return [job(run) for run in found.values()]


def batches(study: str) -> list[list[Job]]:
    """The jobs of a study in groups that are best run in one kernel: each step of a chain alone, all scorings of one model together,
    all baselines together."""
    groups: dict[str, list[Job]] = {}
    for each in jobs(study):
        own = (
            each.run.id
            if each.run.step in studies.STEPS
            else f"on {each.run.parent.id}"
            if each.run.parent
            else each.run.step
        )
        groups.setdefault(own, []).append(each)
    return list(groups.values())


def make(wanted: list[Job]) -> None:
    """Run the jobs that are not done, one after another, in one kernel, and tidy up after kills."""
    with kernel.warm() as run:
        for each in wanted:
            with _alone(each.run):
                if state(each.run) == "done":
                    results.tidy(each.run)
                    continue
                print(f"{NOTEBOOKS[each.run.step]}: {each.run.id}", flush=True)
                run(each.notebook, each.run.record.with_suffix(".ipynb"), each.parameters)


def ready(run: Run) -> Run:
    """`run`, its clock set to now, when the model that it starts from is there; where that is missing, its notebooks are run first."""
    missing = (
        [each for each in run.parent.lineage() if not _finished(each)]
        if run.parent and not _finished(run.parent)
        else []
    )
    if missing:
        print(
            f"{missing[0].id} is missing; running {', '.join(NOTEBOOKS[each.step] for each in missing)} first",
            flush=True,
        )
        with kernel.warm() as execute:
            for each in missing:
                with _alone(each):
                    if not _finished(each):
                        work = job(each)
                        execute(work.notebook, each.record.with_suffix(".ipynb"), work.parameters)
    return replace(run, began=time.monotonic())


def collect(study: str, folder: Path, partial: bool = False) -> list[Path]:
    """Copy the records of a study to `folder`, in place of what was there, and return the copies.

    A copy of a task run's record also says, as `paired`, how its score differs from its references' on the same examples.
    A stale record counts as missing; one whose model is gone does not. StudyError names what is still to run, unless `partial` takes
    what is there; it always does if there is nothing.
    """
    from lib import answers  # here, since the other commands would wait for scikit-learn

    work, known = jobs(study), {}
    done = [
        each.run for each in work if each.run.record.exists() and not _outlived(each.run, known)
    ]
    missing = sorted({each.run.id for each in work} - {run.id for run in done})
    if missing and not (partial and done):
        raise StudyError(
            f"the study {study!r} is not finished, {len(missing)} of {len(work)} runs are missing, such as {missing[0]}; "
            f"run `make study STUDY={study}`"
        )
    with files.whole_folder(folder) as part:
        for run in done:
            shutil.copy(run.record, part)
            if gaps := answers.paired(run):
                files.write_json(
                    part / run.record.name,
                    json.loads(run.record.read_text(encoding="utf-8")) | {"paired": gaps},
                )
    return sorted(folder.glob("*.json"))


def state(run: Run, known: dict | None = None) -> str:
    """`done`, `to do` (there is no record, or no model), or `stale`: made from data that has changed since, or from a model that was
    made again later or is not done. `known` keeps the states of runs already asked for."""
    known = {} if known is None else known
    if run.id not in known:
        known[run.id] = _state(run, known)
    return known[run.id]


def outdated(batch: list[Job], known: dict | None = None) -> list[Path]:
    """For Snakemake, which goes by times alone: a file newer than the records of the batch, if one of them is there and not `done`."""
    if not any(each.run.record.exists() and state(each.run, known) != "done" for each in batch):
        return []
    marker = files.runs() / ".outdated"
    marker.touch()
    return [marker]


def _state(run: Run, known: dict) -> str:
    if not _finished(run):
        return "to do"
    return (
        "stale"
        if (run.parent and state(run.parent, known) != "done") or _outlived(run, known)
        else "done"
    )


def _outlived(run: Run, known: dict) -> bool:
    """Whether what the run's record was made from, on all its way, has another record or other data now."""
    key = f"outlived {run.id}"
    if key not in known:
        parent = run.parent if run.parent and run.parent.record.exists() else None
        known[key] = bool(
            (
                parent
                and (
                    run.record.stat().st_mtime < parent.record.stat().st_mtime
                    or _outlived(parent, known)
                )
            )
            or freshness.changed(run, records.read(run))
        )
    return known[key]


def _finished(run: Run) -> bool:
    return run.record.exists() and (
        run.step not in studies.STEPS or (run.folder / "config.json").exists()
    )


def _alone(run: Run):
    """Nobody else makes the same run meanwhile; who comes second waits."""
    return files.alone(files.models() / f".{run.id}.lock", f"making {run.id}")


def _difference(settings, usual) -> dict:
    """What must be given to make `settings` of the usual ones; a setting that is left out is given as what that means."""
    left_out = {
        key: value for of_step in studies.OPTIONAL.values() for key, value in of_step.items()
    }
    changed = {key: value for key, value in settings.items() if usual.get(key) != value}
    return changed | {key: left_out[key] for key in sorted(usual.keys() - settings.keys())}


def _complete(steps: list, order: tuple) -> tuple:
    taken = tuple(each.step for each in steps)
    return taken + tuple(step for step in order if step not in taken)


def main() -> None:
    """Command line; see the head of this module."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.plan", description="What a study runs, and what is done."
    )
    parser.add_argument("action", choices=("status", "make", "collect", "publish"))
    parser.add_argument("study")
    parser.add_argument("ids", nargs="*", help="with make: these runs only")
    given = parser.parse_args()
    try:
        work = {each.run.id: each for each in jobs(given.study)}
        unknown = set(given.ids) - set(work)
        if unknown:
            raise StudyError(
                f"the study {given.study!r} has no run {sorted(unknown)[0]}; "
                f"`python -m lib.plan status {given.study}` lists them"
            )
        if given.action == "status":
            known: dict[str, str] = {}
            for each in work.values():
                print(f"{state(each.run, known):5} {NOTEBOOKS[each.run.step]} {each.run.id}")
            print(
                f"{sum(state(each.run, known) == 'done' for each in work.values())} of {len(work)} runs done"
            )
        elif given.action == "make":
            make([work[each] for each in given.ids] or list(work.values()))
        else:
            publish = given.action == "publish"
            folder = (
                files.RESULTS / given.study if publish else files.runs() / "studies" / given.study
            )
            print(
                f"{len(collect(given.study, folder, partial=publish))} of {len(work)} records in {folder}"
            )
    except StudyError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
