"""Checkpoints: written whole or not at all, so that a training that is killed resumes exactly."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, load_model, save_file, save_model

from lib import files

_MODEL, _STATE, _PROGRESS = "model.safetensors", "state.safetensors", "progress.json"


def path(folder: Path, step: int) -> Path:
    """Folder of the checkpoint that is written after `step` optimizer steps."""
    return folder / f"checkpoint-{step}"


def newest(folder: Path) -> tuple[int, Path] | None:
    """(step, folder) of the newest checkpoint; None if there is none."""
    steps = [int(place.name.split("-")[1]) for place in folder.glob("checkpoint-*")]
    return (max(steps), path(folder, max(steps))) if steps else None


def save(folder: Path, step: int, model, adam: torch.optim.Optimizer, progress: dict) -> None:
    """Write the checkpoint of `step` and remove the others, except the best, `progress["best"]`.

    It holds the weights, the state of the optimizer and of the random numbers, and `progress`.
    """
    tensors = {
        f"{number}.{name}": tensor
        for number, values in adam.state_dict()["state"].items()
        for name, tensor in values.items()
    }
    with files.whole_folder(path(folder, step)) as part:
        save_model(model, str(part / _MODEL), metadata={"format": "pt"})
        model.config.save_pretrained(part)
        save_file(tensors | _random_states(), part / _STATE)
        (part / _PROGRESS).write_text(json.dumps(progress), encoding="utf-8")
    kept = [path(folder, number) for number in (step, progress["best"]["step"])]
    for place in folder.glob("checkpoint-*"):
        if place not in kept:
            shutil.rmtree(place)


def load_progress(checkpoint: Path) -> dict:
    """The `progress` that `save` was given."""
    return json.loads((checkpoint / _PROGRESS).read_text(encoding="utf-8"))


def load_weights(checkpoint: Path, model) -> None:
    """Put the weights of a checkpoint into the model."""
    load_model(model, checkpoint / _MODEL)


def load_state(checkpoint: Path, adam: torch.optim.Optimizer) -> None:
    """Put the state of the optimizer and of the random numbers back to where they were."""
    tensors, state = load_file(checkpoint / _STATE), {}
    torch.set_rng_state(tensors.pop("random.cpu"))
    of_cuda = tensors.pop("random.cuda", None)
    if of_cuda is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(of_cuda)
    for key, tensor in tensors.items():
        number, name = key.split(".")
        state.setdefault(int(number), {})[name] = tensor
    adam.load_state_dict(adam.state_dict() | {"state": state})


def _random_states() -> dict:
    cuda = {"random.cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {}
    return {"random.cpu": torch.get_rng_state()} | cuda
