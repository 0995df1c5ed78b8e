"""The model card beside every model: its use, sizes, teacher, steps, text and scores."""

from pathlib import Path

from lib import facts

_HEAD = """---
language: {code}
library_name: transformers
pipeline_tag: {pipeline}
tags: [compression, distillation]
---
# {name}: {label}

`{id}`: {parameters:,} parameters, {percent:.1f} % fewer than the teacher's \
{teacher_parameters:,}.{warning}

## Use

```python
from transformers import {auto_class}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
model = {auto_class}.from_pretrained(folder{options})
inputs = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
{answer}
```"""
_WITH_HEAD = {
    "pipeline": "fill-mask",
    "auto_class": "AutoModelForMaskedLM",
    "options": "",
    "answer": "logits = model(**inputs).logits  # one number for each token of the vocabulary",
}
_WITHOUT = {
    "pipeline": "feature-extraction",
    "auto_class": "AutoModel",
    "options": ", add_pooling_layer=False",  # else transformers draws a random pooler
    "answer": "vectors = model(**inputs).last_hidden_state",
}
_WORSE = (
    "\n\n**This model has learnt nothing:** its MLM loss is above that of a guess by the frequency "
    "of tokens alone (`worse_than_unigram`). Do not use it."
)
_END = """The MLM loss is in nats per masked token; it cannot be compared between vocabularies.
The licence of the model depends on the text it was trained on and on its teacher.
"""
_LIMITS = """## Limits

The agreement compares the vectors of held-out sentences of this text with the teacher's (linear
CKA, 1 where they lie alike), with its 95 % interval. It is no score of a task: measure the student
on your own task. Speed is sentences a second, one after another, on one thread. The licence of the
model depends on the text it was trained on and on its teacher.
"""


def text(record: dict, steps: list[dict], task_records: list[dict] = ()) -> str:
    """The card as Markdown with the header that the hub reads.

    `record` is the record of the run that made the model. `steps` has the label, id and settings of
    each step from the teacher to this model. `task_records` are records of runs that scored it.
    """
    code, model = record["language"], record["model"]
    names = {"name": facts.fact("languages", code)["name"] if code else "multilingual"}
    names |= {"code": code or "multilingual", "label": steps[-1]["label"], "id": record["id"]}
    names |= _WITH_HEAD if model.get("mlm_head", True) else _WITHOUT
    names["warning"] = _WORSE if model.get("worse_than_unigram") else ""
    head = _HEAD.format_map(model | names | {"percent": 100 * model["compression_rate"]})
    chain = [(step["label"], f"`{step['id']}`", _pairs(step["settings"])) for step in steps]
    longest = max(step["settings"].get("max_length", 0) for step in steps)
    parts = [
        head,
        "## Sizes",
        _items(model["config"] | {"tokens of the longest training text": longest}),
        "## Teacher",
        _items(_teacher(record)),
        "## Steps",
        _table(("step", "model", "settings"), chain),
        "## Text",
        _items(record["data"]),
        "## Scores",
        _items(record["scores"]),
    ]
    if task_records:
        columns = ("task", "language", "seed", "trained", "scores on test")
        parts.append(_table(columns, sorted(map(_task_row, task_records))))
    return "\n\n".join([*parts, _END])


def product(about: dict, folder: Path) -> str:
    """The card of a student that the notebook `compress` made, whose files are in `folder`.

    `about` has `name`, `languages` (codes, or names of the caller's own), `licence`, `model` (of
    `sizes.describe`), `teacher`, `cuts`, `text` (a mapping for each file) and `table`: the
    measures of each model, of which an interval is a pair.
    """
    codes, model = [code for code in about["languages"] if code != "text"], about["model"]
    entries = facts.facts("languages")
    named = " and ".join(entries[code]["name"] if code in entries else code for code in codes)
    names = {"name": about["name"], "code": f"[{', '.join(codes or ['und'])}]", "warning": ""}
    names |= {"label": f"a small encoder for {named or 'one language'}", "id": about["name"]}
    names |= _WITH_HEAD if model["mlm_head"] else _WITHOUT
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix != ".md")
    sizes = [(file.relative_to(folder), f"{file.stat().st_size:,}") for file in files]
    sections = {
        "Sizes": _items(model["config"]),
        "Teacher": _items(about["teacher"]),
        "Cuts": _items(about["cuts"]),
        "Text": _rows(about["text"]) + f"\n\nLicence: {about['licence'] or 'not stated'}",
        "Scores": _rows([{"model": name} | row for name, row in about["table"].items()]),
        "Files": _table(("file", "bytes"), sizes),
    }
    head = _HEAD.format_map(model | names | {"percent": 100 * model["compression_rate"]})
    parts = [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join([head, *parts, _LIMITS])


def _rows(rows: list[dict]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return _table(columns, [[_shown(row.get(name, "")) for name in columns] for row in rows])


def _teacher(record: dict) -> dict:
    """Where the weights of the teacher came from, in which revision, and under which licence."""
    entry = facts.fact("models", record["teacher"])
    if record["settings"].get("adapt", {}).get("published"):
        entry = entry["adapted"][record["language"]]
    names = ("repository", "revision", "package", "version", "file", "folder")
    origin = {name: entry[name] or "not pinned" for name in names if name in entry}
    origin = origin or {"weights": "trained from the beginning in this project"}
    return {"name": record["teacher"], **origin, "licence": entry.get("licence", "not stated")}


def _task_row(record: dict) -> tuple:
    settings, scores = record["settings"]["finetune"], record["scores"]
    adapter = settings["method"] == "adapter"
    trained = f"adapter, factor {settings['reduction_factor']}" if adapter else "all weights"
    scores = {name: f"{value:.4f}" for name, value in scores.items()}
    return record["task"], record["language"], record["seed"], trained, _pairs(scores)


def _items(values: dict) -> str:
    return "\n".join(f"- {name}: {_shown(value)}" for name, value in values.items())


def _shown(value) -> str:
    if isinstance(value, dict):
        return _pairs({name: _shown(part) for name, part in value.items()})
    if isinstance(value, list | tuple):
        return " to ".join(map(_shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pairs(values: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _table(names: tuple, rows: list) -> str:
    lines = (names, ("---",) * len(names), *rows)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
