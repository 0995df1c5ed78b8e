"""Whether a run is done, to do or stale: the one place that decides, and it decides by content.

A record names its text, labels and weights by checksum or revision, and its parent's record by a
checksum. A run is stale when one of these is another now, or when another file serves in its place.
Data that are not there cannot be compared and count as unchanged, so finished records can be read
and published without them. A change of the code makes nothing stale; the record names the commit.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lib import facts, files
from lib.data import hub, local, tasks
from lib.errors import StudyError
from lib.study import records, steps
from lib.study.run import Run

DONE, TO_DO, STALE = "done", "to do", "stale"


def state(run: Run, known: dict | None = None) -> str:
    """DONE, TO_DO (no record, or no model) or STALE. `known` keeps earlier answers."""
    known = {} if known is None else known
    if run.id not in known:
        if not _there(run):
            known[run.id] = TO_DO
        elif (run.parent and state(run.parent, known) != DONE) or outdated(run, known):
            known[run.id] = STALE
        else:
            known[run.id] = DONE
    return known[run.id]


def usable(run: Run) -> bool:
    """Whether a run's result is there and up to date; models of earlier runs may be gone."""
    return _there(run) and not outdated(run)


def outdated(run: Run, known: dict | None = None) -> bool:
    """Whether a record's data or its parent's record have changed; models do not matter."""
    known = {} if known is None else known
    key = f"outdated {run.id}"
    if key not in known:
        record = records.read(run)
        known[key] = bool(changed(run, record))
        if run.parent and run.parent.record.exists() and not known[key]:
            made_from = records.digest(records.read(run.parent))
            known[key] = made_from != record["made"].get("parent") or outdated(run.parent, known)
    return known[key]


def _there(run: Run) -> bool:
    model_there = (run.folder / "config.json").exists() or not steps.step(run.step).makes_model
    return run.record.exists() and model_there


def changed(run: Run, record: dict) -> str | None:
    """The first source of a record that has changed, for a message; None if there is none."""
    for entry in _entries([record.get("data"), record.get("weights")]):
        if source := _file(run, entry) if "sha256" in entry else _pin(run, entry):
            return source
    return None


def _entries(part) -> Iterator[dict]:
    """Every mapping at any depth of a section that holds a checksum or a revision."""
    if isinstance(part, dict):
        if "sha256" in part or part.get("revision"):
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for value in part:
            yield from _entries(value)


def _file(run: Run, entry: dict) -> str | None:
    """The file or folder that an entry names, if it is there with another checksum."""
    if "folder" in entry:
        place = run.study.models_root and run.study.models_root / entry["folder"]
    elif "file" in entry:
        source, serving = run.study.source, _serving(run)
        place = source.folder / entry["file"] if source.kind == "sample" or source.root else None
        if serving and place not in serving:
            return str(serving[0])
    else:
        pinned = facts.fact("corpora", "flores")
        if entry["origin"] == pinned["url"] and entry["sha256"] != pinned["sha256"]:
            return f"the checksum of {entry['origin']} in params/corpora.yaml"
        place = hub.place(entry["origin"])
    if place and place.exists() and files.sha256(place) != entry["sha256"]:
        return str(place)
    return None


def _serving(run: Run) -> list[Path]:
    """The files that hold the text or the labels of a run now; empty where they are not there."""
    source = run.study.source
    with suppress(StudyError):  # what is not there cannot be compared
        if run.task:
            return [
                *local.task(facts.fact("tasks", run.task), run.language, source.folder).values()
            ]
        found = [local.corpus(language, source.folder) for language in run.languages]
        return [file for parts in found for file in parts.values()]
    return []


def _pin(run: Run, entry: dict) -> str | None:
    """The data set that params/ pins to another commit than the one an entry names.

    The pin of a teacher is part of the ids of its runs.
    """
    pins = {
        corpus["data_set"]: corpus["revision"]
        for corpus in facts.facts("corpora").values()
        if "data_set" in corpus
    }
    for task in facts.facts("tasks") if run.language else ():
        with suppress(StudyError):  # a task without published data has no pin
            for origin, names in tasks.published(task, run.language):
                if "data_set" in origin:
                    pins[origin["data_set"].format(**names)] = names["revision"]
    pin = pins.get(entry.get("data_set"))
    is_commit = pin and re.fullmatch("[0-9a-f]{40}", pin)
    other = is_commit and pin != entry["revision"]
    return f"the revision of {entry['data_set']} in params/" if other else None
