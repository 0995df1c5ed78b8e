"""Records that are made up for tests, of a study with small models and two tasks."""

import copy

from lib import facts
from lib.report.frame import frame

CUTS = ("layers", "ffn", "hidden", "vocabulary")
STEPS = ("pretrain", "adapt", *CUTS)
PLAIN = ("pretrain", "vocabulary", "layers", "ffn", "hidden")  # the chain of another study
WHOLE = {"layers": 12, "hidden": 768, "ffn": 3072, "vocabulary": 119547}
CUT = {"layers": 6, "hidden": 312, "ffn": 2048, "vocabulary": 40005}  # the paper's smallest mBERT
SETTINGS = {
    "pretrain": {"steps": 8},
    "adapt": {"steps": 8},
    "layers": {
        "layer_choice": "last_k",
        "distillation_loss": "mse",
        "mlm_weight": 0.5,
        "temperature": 2.0,
    },
    "ffn": {"intermediate_size": 64, "sentences": 20},
    "hidden": {"hidden_size": 48, "hidden_start": "truncation", "mlm_weight": 0.5, "steps": 8},
    "vocabulary": {"kept_tokens": 500},
    "finetune": {"method": "adapter", "reduction_factor": 4, "epochs": 2},
}


def parameters(layers, hidden, intermediate, vocabulary, positions=512, segments=2):
    """The parameters of an encoder with a tied head, tensor by tensor."""
    norm = 2 * hidden
    attention = 4 * (hidden + 1) * hidden + norm
    layer = attention + (hidden + 1) * intermediate + (intermediate + 1) * hidden + norm
    embeddings = (vocabulary + positions + segments) * hidden + norm
    return embeddings + layers * layer + (hidden + 1) * hidden + norm + vocabulary


def record(
    step, task=None, seed=1, score=0.5, *, language="mlt", teacher="toy-bert", changed=None, **more
):
    """A record as a study notebook writes it; without a task, that of the model itself.

    `more`: interval (low, high), sizes (hidden, vocabulary), the study's own `way` of steps, or
    further sections.
    """
    changed, way = changed or {}, more.pop("way", STEPS)
    cuts = [name for name in way if name in CUTS]
    if "teacher" in changed:
        way = ["pretrain", *["adapt"] * (changed["teacher"] == "adapted"), *cuts]
    if "order" in changed:
        way = [*(name for name in way if name not in CUTS), *changed["order"].split(" > ")]
    chain = [*way[: way.index(step) + 1]]
    shape = [(CUT if name in chain else WHOLE)[name] for name in WHOLE]
    shape[1], shape[3] = more.pop("sizes", (shape[1], shape[3]))
    settings = {name: copy.deepcopy(SETTINGS[name]) for name in chain}
    if task:
        settings["finetune"] = dict(SETTINGS["finetune"])
    for name, value in changed.items():
        where, dot, key = name.partition(".")
        if dot:
            settings[where][key] = value
    ids = []
    for place, name in enumerate(chain):  # a change of a later step makes no other model
        told = [key for key in changed if key.partition(".")[0] in (*chain[: place + 1], key)]
        suffix = f"{sorted((key, changed[key]) for key in told)}" if told else ""
        ids.append(f"{language}.{teacher}.{name}{suffix}")
    count, whole = parameters(*shape), parameters(*WHOLE.values())
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
    model = {"id": ids[-1], "step": step, "parameters": count, "teacher_parameters": whole}
    model |= {"compression_rate": 1 - count / whole, "config": dict(zip(names, shape, strict=True))}
    metric = facts.fact("tasks", task)["metric"] if task else "mlm_loss"
    return {
        "id": f"{ids[-1]}.{task}.{seed}" if task else ids[-1],
        "study": "toy",
        "step": "finetune" if task else step,
        "language": language,
        "teacher": teacher,
        "task": task,
        "seed": seed,
        "model": model,
        "settings": settings,
        "changed": changed,
        "chain": ids,
        "scores": {metric: score},
    } | more


def baseline(kind, score, task="tc", changed=None):
    """The record of a baseline."""
    settings = {"kind": kind, "train_limit": 20} | (changed or {})
    return {
        "id": f"mlt.baseline.{task}.{kind}.{settings['train_limit']}",
        "study": "toy",
        "step": "baseline",
        "language": "mlt",
        "teacher": None,
        "task": task,
        "seed": None,
        "model": {"id": "none", "step": "baseline", "parameters": 70_000},
        "settings": {"baseline": settings},
        "changed": {f"baseline.{name}": value for name, value in (changed or {}).items()},
        "chain": [],
        "scores": {facts.fact("tasks", task)["metric"]: score},
    }


def scored(step, scores, *, width=0.02, seeds=(1, 2), spread=0.002, **more):
    """Task runs of one model: `scores` maps tasks to a score; seeds are `spread` apart, and their
    intervals are `width` wide.
    """
    return [
        record(step, task, seed, score + spread * place, **more)
        | {"interval": [score - width / 2, score + width / 2]}
        for task, score in scores.items()
        for place, seed in enumerate(seeds)
    ]


def only(table, **wanted):
    """The one row with these values."""
    for name, value in wanted.items():
        table = table[table[name] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def scores(*entries):
    """The data frame of these records."""
    return frame(list(entries))
