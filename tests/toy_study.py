"""A toy study and its parameter files, which the tests of lib.study share. It loads no torch."""

import copy
import hashlib
import os
import shutil
from pathlib import Path

import yaml

from lib import files
from lib.study import records, steps

SETTINGS = {
    "steps": 8,
    "batch_size": 4,
    "accumulation": 1,
    "max_length": 16,
    "learning_rate": 1e-2,
    "precision": "float32",
}
DISTIL = SETTINGS | {
    "distillation_loss": "mse",
    "mlm_weight": 0.5,
    "temperature": 2.0,
    "all_positions": False,
}
_TUNE = {
    "epochs": 2,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "max_length": 16,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "max_steps": 0,
    "patience": 0,
}
STUDY = {
    "title": "a toy",
    "source": "sample",
    "corpus": {"train": 40, "dev": 10, "test": 10},
    "pairs": [
        {"teacher": "toy-bert", "languages": ["mlt", "slk"]},
        {
            "teacher": "toy-xlmr",
            "languages": ["swh"],
            "set": {"layers": {"layer_choice": "stride"}},
        },
    ],
    "seeds": {"chain": 1, "tasks": [1, 2]},
    "tasks": ["tc", "pos"],
    "score": ["adapt", "vocabulary"],
    "steps": {
        "pretrain": SETTINGS,
        "adapt": SETTINGS | {"published": False},
        "layers": DISTIL | {"num_hidden_layers": 2, "layer_choice": "last_k"},
        "ffn": {
            "intermediate_size": 64,
            "sentences": 20,
            "batch_size": 8,
            "max_length": 16,
            "part": "train",
        },
        "hidden": DISTIL | {"hidden_size": 48, "hidden_start": "truncation"},
        "vocabulary": {"kept_tokens": 500, "counting": "documents"},
    },
    "finetune": {
        "method": "adapter",
        "reduction_factor": 4,
        "adapter_input": "ffn",
        "first_subword": True,
        "train_limit": 20,
        "precision": "auto",
        "sequence": _TUNE,
        "token": _TUNE | {"epochs": 3},
    },
}
PLAIN = STUDY | {  # trims the vocabulary first and adapts nothing, but a variant may
    "order": ["pretrain", "vocabulary", "layers", "ffn", "hidden"],
    "score": ["vocabulary", "hidden"],
}


def changed(tree: dict, place: str, value=None) -> dict:
    """A copy of nested dicts with another value at `place`, such as "steps.ffn.part".

    Without a value the key is removed.
    """
    tree = copy.deepcopy(tree)
    *way, last = place.split(".")
    inner = tree
    for key in way:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    if value is None:
        del inner[last]
    else:
        inner[int(last) if isinstance(inner, list) else last] = value
    return tree


def facts_in(folder: Path, monkeypatch) -> Path:
    """Move params/ to `folder`, with the same facts and only the study `toy`; returns it."""
    for file in files.PARAMS.glob("*.yaml"):
        if not (folder / file.name).exists():
            shutil.copy(file, folder)
    shutil.rmtree(folder / "studies", ignore_errors=True)
    (folder / "studies").mkdir()
    monkeypatch.setattr(files, "PARAMS", folder)
    write_study(STUDY)
    return folder


def write_study(content: dict, name: str = "toy") -> None:
    """Write a study where the studies lie now."""
    write_yaml(files.PARAMS / "studies" / f"{name}.yaml", content)


def write_yaml(file: Path, content: dict) -> None:
    """Write a YAML file; its time belongs to its content, so that even a quick change is seen and
    what was there before is not parsed again.
    """
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(content, Dumper=dumper, sort_keys=False)
    file.write_text(text, encoding="utf-8")
    os.utime(file, ns=(int(hashlib.sha256(text.encode()).hexdigest()[:15], 16),) * 2)


def finish(run, **parts) -> dict:
    """Write what a finished run leaves: its record and, for a step that makes one, a model."""
    model = run if steps.step(run.step).makes_model else run.parent
    about = {"id": run.id, "step": run.step, "parameters": 10}
    if model:
        about |= {"id": model.id, "step": model.step, "config": {"hidden_size": 8}}
    record = records.compose(run, about, {"total": 1.0}, **{"scores": {}, "data": {}} | parts)
    files.write_json(run.record, record)
    if model is run:
        run.folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("config", "{}"), ("tokenizer_config", '{"model_max_length": 512}')):
            (run.folder / f"{name}.json").write_text(text, encoding="utf-8")
    return record
