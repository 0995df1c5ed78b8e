"""The model card: what was cut, from what, on which data, with which scores. Written beside every model."""

from lib import facts

NAMES = {
    "pretrain": "teacher",
    "adapt": "teacher adapted to the language",
    "layers": "fewer layers, distilled",
    "ffn": "narrower FFN",
    "hidden": "smaller hidden size, distilled",
    "vocabulary": "smaller vocabulary",
}


def text(run, model: dict, data: dict, scores: dict, task_records: list[dict] = ()) -> str:
    """The card of the model a run makes, as Markdown with the hub's header.

    `model` is `models.describe`, `data` and `scores` as in the record; `task_records` are records of runs that scored the model.
    """
    language = facts.fact("languages", run.language) if run.language else None
    name = language["name"] if language else "multilingual"
    lines = [
        "---",
        f"language: {run.language or 'multilingual'}",
        "library_name: transformers",
        "pipeline_tag: fill-mask",
        "tags: [masked-lm, compression, distillation]",
        "---",
        f"# {name}: {NAMES[run.step]}",
        "",
        f"`{run.id}`: {model['parameters']:,} parameters, {100 * model['compression_rate']:.1f} % fewer than the teacher's "
        f"{model['teacher_parameters']:,}. Loads with `AutoModelForMaskedLM` and `AutoTokenizer`.",
        "",
        "## What was done",
        "",
        "| step | model | settings |",
        "|---|---|---|",
    ]
    for each in run.lineage():
        settings = ", ".join(f"{key} {value}" for key, value in each.settings.items())
        lines.append(f"| {NAMES[each.step]} | `{each.id}` | {settings} |")
    lines += ["", "## Text", ""] + [f"- {key}: {value}" for key, value in data.items()]
    lines += ["", "## Scores", "", *[f"- {key}: {value:.4g}" for key, value in scores.items()]]
    if task_records:
        lines += [
            "",
            "| task | language | seed | trained | scores on test |",
            "|---|---|---|---|---|",
        ]
        for record in sorted(
            task_records, key=lambda r: (r["task"], r["language"], r["seed"], r["id"])
        ):
            how = record["settings"]["finetune"]
            way = (
                f"adapter, factor {how['reduction_factor']}"
                if how["method"] == "adapter"
                else "all weights"
            )
            found = ", ".join(f"{key} {value:.4f}" for key, value in record["scores"].items())
            lines.append(
                f"| {record['task']} | {record['language']} | {record['seed']} | {way} | {found} |"
            )
    lines += [
        "",
        "The MLM loss is in nats per masked token; it cannot be compared between vocabularies. The licence of a model follows",
        "from the text it was trained on and from its teacher.",
        "",
    ]
    return "\n".join(lines)
