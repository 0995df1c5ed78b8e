"""Whether a record is still true of the data that is there now: what it names with a checksum or a revision is looked up again.

What is no longer there cannot be compared and counts as unchanged, so finished records can be read and published without the data.
A change of the code is no change of data; the record names the commit it was made with.
"""

import re
from collections.abc import Iterator

from lib import facts, files
from lib.data import hub, tasks
from lib.study.studies import Run


def changed(run: Run, record: dict) -> str | None:
    """What the record names and what is something else now, in words for a message; None if nothing is known to have changed."""
    for entry in _entries([record.get("data"), record.get("weights")]):
        if found := _file(run, entry) if "sha256" in entry else _pin(run, entry):
            return found
    return None


def _entries(part) -> Iterator[dict]:
    """Every mapping anywhere in a section that has a checksum or a revision of its own."""
    if isinstance(part, dict):
        if "sha256" in part or part.get("revision"):
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _entries(each)


def _file(run: Run, entry: dict) -> str | None:
    """The file or folder, if it is there with another checksum."""
    origin = str(entry.get("origin", ""))
    if "folder" in entry:
        place = run.models_root and run.models_root / entry["folder"]
    elif "file" in entry:
        place = run.source.root and run.source.root / entry["file"]
    elif origin.startswith("data/sample"):
        place = files.SAMPLE
    else:
        stated = facts.fact("corpora", "flores")
        if origin == stated["url"] and entry["sha256"] != stated["sha256"]:
            return f"the checksum of {origin} in params/corpora.yaml"
        place = hub.place(origin)
    return (
        str(place) if place and place.exists() and files.sha256(place) != entry["sha256"] else None
    )


def _pin(run: Run, entry: dict) -> str | None:
    """The data set or model whose revision, a commit, is pinned to another one in params/ now."""
    pins = {
        stated_facts["data_set"]: stated_facts["revision"]
        for stated_facts in facts.facts("corpora").values()
        if "data_set" in stated_facts
    }
    if run.language:
        for stated_facts in facts.facts("tasks").values():
            for origin, names in tasks.published(stated_facts, run.language):
                if "data_set" in origin:
                    pins[origin["data_set"].format(**names)] = names["revision"]
    models = facts.fact("models", run.teacher)
    pins |= {
        each["repository"]: each["revision"]
        for each in (models, *models.get("adapted", {}).values())
        if "repository" in each
    }
    name = entry.get("data_set") or entry.get("repository")
    now = pins.get(name)
    return (
        f"the revision of {name} in params/"
        if now and re.fullmatch("[0-9a-f]{40}", now) and now != entry["revision"]
        else None
    )
