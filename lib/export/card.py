"""The model card beside every model: its use, sizes, teacher, steps, text and scores.

Its sentences and its code are the texts of params/card.yaml.
"""

from pathlib import Path
from string import Template

from lib import checks, facts
from lib.model.families import FAMILIES


def text(record: dict, steps: list[dict], task_records: list[dict] = ()) -> str:
    """The card as Markdown with the header that the hub reads.

    `record` is the record of the run that made the model. `steps` has the label, id and settings of
    each step from the teacher to this model. `task_records` are records of runs that scored it.
    """
    model, given = record["model"], record.get("languages", [record["language"]])
    languages = [language for language in given if language]
    names = [facts.fact("languages", language)["name"] for language in languages]
    code = f"[{', '.join(languages)}]" if len(languages) > 1 else "".join(languages)
    places = {"name": " and ".join(names) or "multilingual", "code": code or "multilingual"}
    places |= {"id": record["id"], "label": steps[-1]["label"]}
    places |= {"pipeline": "fill-mask" if model.get("mlm_head", True) else "feature-extraction"}
    chain = [
        {"step": step["label"], "model": f"`{step['id']}`", "settings": _pairs(step["settings"])}
        for step in steps
    ]
    longest = max(step["settings"].get("max_length", 0) for step in steps)
    rows = sorted(map(_task_row, task_records), key=lambda row: tuple(row.values()))
    scores = [record["scores"], rows] if rows else [record["scores"]]
    places |= {
        "head": _head(places, model),
        "sizes": _listed(model["config"] | {"tokens of the longest training text": longest}),
        "teacher": _listed(_teacher(record)),
        "steps": _listed(chain),
        "text": _listed(record["data"]),
        "scores": "\n\n".join(map(_listed, scores)),
    }
    return _filled("study", places)


def product(about: dict, folder: Path) -> str:
    """The card of a model of the notebooks `compress` and `label`, whose files are in `folder`.

    `about` has `name`, `label`, `languages` (codes or other names), `pipeline` (of the hub),
    `model` (of `sizes.describe`), `sections` (title -> pairs, or a list of rows) and `limits`. An
    interval is a pair of numbers.
    """
    files = [
        {"file": file.relative_to(folder).as_posix(), "bytes": f"{file.stat().st_size:,}"}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "README.md"
    ]
    sections = [f"## {name}\n\n{_listed(part)}" for name, part in about["sections"].items()]
    places = {name: about[name] for name in ("name", "label", "pipeline", "limits")}
    places |= {"id": about["name"], "code": f"[{', '.join(about['languages']) or 'und'}]"}
    uses = "labels" if about["pipeline"].endswith("classification") else "vectors"
    places |= {
        "head": _head(places, about["model"]),
        "uses": _filled(uses, places),
        "sizes": _listed(about["model"]["config"]),
        "sections": "\n\n".join(sections),
        "files": _listed(files),
    }
    return _filled("product", places)


def _head(places: dict, model: dict) -> str:
    """The header, the size and the code that loads the model."""
    percent, code = 100 * model["compression_rate"], places["pipeline"]
    if code == "feature-extraction" and FAMILIES[model["config"]["model_type"]].pooler:
        code = "without-pooler"
    places = places | {name: f"{model[name]:,}" for name in ("parameters", "teacher_parameters")}
    places |= {"percent": f"{percent:.1f}", "use": _filled(code, places)}
    said = ["smaller" if percent else "whole"]
    said += ["worse"] if model.get("worse_than_unigram") else []
    about = "\n\n".join(_filled(name, places) for name in said)
    return _filled("head", places | {"about": about})


def _filled(name: str, places: dict) -> str:
    """The text `name` of params/card.yaml; StudyError if it has a place that has no value here."""
    template = Template(facts.fact("card", name))
    for place in template.get_identifiers():
        checks.check_choice(place, places, f"params/card.yaml: {name}")
    return template.substitute(places)


def _teacher(record: dict) -> dict:
    """Where the weights of the teacher came from, in which revision, and under which licence."""
    entry = facts.fact("models", record["teacher"])
    if record["settings"].get("adapt", {}).get("published"):
        entry = entry["adapted"][record["language"]]
    names = ("repository", "revision", "package", "version", "file", "folder")
    origin = {name: entry[name] or "not pinned" for name in names if name in entry}
    origin = origin or {"weights": "trained from the beginning in this project"}
    return {"name": record["teacher"], **origin, "licence": entry.get("licence", "not stated")}


def _task_row(record: dict) -> dict:
    settings, scores = record["settings"]["finetune"], record["scores"]
    adapter = settings["method"] == "adapter"
    return {
        **{name: record[name] for name in ("task", "language", "seed")},
        "trained": f"adapter, factor {settings['reduction_factor']}" if adapter else "all weights",
        "scores on test": _pairs({name: f"{value:.4f}" for name, value in scores.items()}),
    }


def _listed(part: dict | list[dict]) -> str:
    """Pairs as a list, or rows as a table."""
    if isinstance(part, dict):
        return "\n".join(f"- {name}: {_shown(value)}" for name, value in part.items())
    columns = list(dict.fromkeys(name for row in part for name in row))
    rows = [[_shown(row.get(name, "")) for name in columns] for row in part]
    lines = (columns, ["---"] * len(columns), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value) -> str:
    if isinstance(value, dict):
        return _pairs({name: _shown(part) for name, part in value.items()})
    if isinstance(value, list | tuple):
        return " to ".join(map(_shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pairs(values: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
