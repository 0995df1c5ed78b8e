"""The model card beside every model: its steps, its text and its scores."""

from lib import facts

_HEADER = """---
language: {code}
library_name: transformers
pipeline_tag: {pipeline}
tags: [compression, distillation]
---
# {name}: {label}

`{id}`: {parameters:,} parameters, {percent:.1f} % fewer than the teacher's \
{teacher_parameters:,}. Load it with `{auto_class}` and `AutoTokenizer`."""
_WITH_HEAD = {"pipeline": "fill-mask", "auto_class": "AutoModelForMaskedLM"}
_WITHOUT = {"pipeline": "feature-extraction", "auto_class": "AutoModel"}

_END = """The MLM loss is in nats per masked token; it cannot be compared between vocabularies.
The licence of the model depends on the text it was trained on and on its teacher.
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
    head = _HEADER.format_map(model | names | {"percent": 100 * model["compression_rate"]})
    chain = [(step["label"], f"`{step['id']}`", _pairs(step["settings"])) for step in steps]
    parts = [
        head,
        "## Steps",
        _table(("step", "model", "settings"), chain),
        "## Text",
        "\n".join(f"- {key}: {value}" for key, value in record["data"].items()),
        "## Scores",
        "\n".join(f"- {key}: {value:.4g}" for key, value in record["scores"].items()),
    ]
    if task_records:
        columns = ("task", "language", "seed", "trained", "scores on test")
        parts.append(_table(columns, sorted(map(_task_row, task_records))))
    return "\n\n".join([*parts, _END])


def _task_row(record: dict) -> tuple:
    settings, scores = record["settings"]["finetune"], record["scores"]
    adapter = settings["method"] == "adapter"
    trained = f"adapter, factor {settings['reduction_factor']}" if adapter else "all weights"
    scores = {name: f"{value:.4f}" for name, value in scores.items()}
    return record["task"], record["language"], record["seed"], trained, _pairs(scores)


def _pairs(values: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _table(names: tuple, rows: list) -> str:
    lines = (names, ("---",) * len(names), *rows)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
