"""The model card beside every model: its use, sizes, teacher, steps, text and scores."""

from pathlib import Path

from lib import facts
from lib.model.families import FAMILIES

_HEAD = """---
language: {code}
library_name: transformers
pipeline_tag: {pipeline}
tags: [compression, distillation]
---
# {name}: {label}

`{id}`: {size}.{warning}

## Use

```python
from transformers import {auto_class}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
model = {auto_class}.from_pretrained(folder{options})
inputs = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
{answer}
```"""
_HEADS = {  # pipeline of the hub -> class, options and answer in the code of a card
    "fill-mask": (
        "AutoModelForMaskedLM",
        "",
        "logits = model(**inputs).logits  # one number for each token of the vocabulary",
    ),
    "feature-extraction": (
        "AutoModel",
        "",
        "vectors = model(**inputs).last_hidden_state",
    ),
    "text-classification": (
        "AutoModelForSequenceClassification",
        "",
        "labels = [model.config.id2label[i] for i in model(**inputs).logits.argmax(-1).tolist()]",
    ),
    "token-classification": (
        "AutoModelForTokenClassification",
        "",
        "tags = model(**inputs).logits.argmax(-1)  # of each token; the names are in id2label",
    ),
}
_OTHER_FORMS = """With ONNX Runtime, in 8 bits; `model.onnx` beside it is float32:

```python
import onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
session = onnxruntime.InferenceSession(f"{{folder}}/onnx/model_quantized.onnx")
inputs = tokenizer(texts, truncation=True, padding=True, return_tensors="np")
given = {{name: inputs[name].astype("int64") for name in ("input_ids", "attention_mask")}}
{output} = session.run(None, given)[0]
```

With transformers.js, from a folder `{name}` that the page can reach:

```js
import {{ pipeline }} from "@huggingface/transformers";

const run = await pipeline("{task}", "{name}", {{ dtype: "q8" }});
const answers = await run(texts{pooling});
```"""
_SENTENCES = """With sentence-transformers:

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer(str(folder)).encode(texts)
```"""
_WORSE = (
    "\n\n**This model has learnt nothing:** its MLM loss is above that of a guess by the frequency "
    "of tokens alone (`worse_than_unigram`). Do not use it."
)
_END = """The MLM loss is in nats per masked token; it cannot be compared between vocabularies.
The licence of the model depends on the text it was trained on and on its teacher.
"""


def text(record: dict, steps: list[dict], task_records: list[dict] = ()) -> str:
    """The card as Markdown with the header that the hub reads.

    `record` is the record of the run that made the model. `steps` has the label, id and settings of
    each step from the teacher to this model. `task_records` are records of runs that scored it.
    """
    model, of_run = record["model"], [record["language"]] if record["language"] else []
    languages = record.get("languages", of_run)
    names = [facts.fact("languages", language)["name"] for language in languages]
    names = {"name": " and ".join(names) or "multilingual"}
    code = f"[{', '.join(languages)}]" if len(languages) > 1 else "".join(languages)
    names |= {"code": code or "multilingual", "label": steps[-1]["label"], "id": record["id"]}
    names |= _code("fill-mask" if model.get("mlm_head", True) else "feature-extraction", model)
    names["warning"] = _WORSE if model.get("worse_than_unigram") else ""
    head = _HEAD.format_map(names | {"size": _size(model)})
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
    """The card of a model of the notebooks `compress` and `label`, whose files are in `folder`.

    `about` has `name`, `label`, `languages` (codes or other names), `pipeline` (of the hub),
    `model` (of `sizes.describe`), `sections` (title -> pairs, or a list of rows) and `limits`. An
    interval is a pair of numbers.
    """
    model, files = about["model"], sorted(file for file in folder.rglob("*") if file.is_file())
    names = {"name": about["name"], "id": about["name"], "label": about["label"], "warning": ""}
    names |= {"code": f"[{', '.join(about['languages']) or 'und'}]"} | _code(
        about["pipeline"], model
    )
    head = _HEAD.format_map(names | {"size": _size(model)})
    sizes = [
        {"file": file.relative_to(folder).as_posix(), "bytes": f"{file.stat().st_size:,}"}
        for file in files
        if file.name != "README.md"
    ]
    sections = {"Sizes": model["config"]} | about["sections"] | {"Files": sizes}
    parts = [
        f"## {title}\n\n{_items(given) if isinstance(given, dict) else _rows(given)}"
        for title, given in sections.items()
    ]
    encodes = not about["pipeline"].endswith("classification")
    pooling = ', { pooling: "mean", normalize: true }' if encodes else ""
    form = {"task": "feature-extraction" if encodes else about["pipeline"], "pooling": pooling}
    form |= {"output": "vectors" if encodes else "logits", "name": about["name"]}
    uses = [*([_SENTENCES] if encodes else []), _OTHER_FORMS.format_map(form)]
    return "\n\n".join([head, *uses, *parts, f"## Limits\n\n{about['limits']}\n"])


def _size(model: dict) -> str:
    count, percent = f"{model['parameters']:,} parameters", 100 * model["compression_rate"]
    if not percent:
        return count
    return f"{count}, {percent:.1f} % fewer than the teacher's {model['teacher_parameters']:,}"


def _code(pipeline: str, model: dict) -> dict:
    """The parts of the card's code that depend on the kind of the model."""
    auto_class, options, answer = _HEADS[pipeline]
    if auto_class == "AutoModel" and FAMILIES[model["config"]["model_type"]].pooler:
        options = ", add_pooling_layer=False"  # else transformers draws a random pooler
    names = {"auto_class": auto_class, "options": options, "answer": answer}
    return names | {"pipeline": pipeline}


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
