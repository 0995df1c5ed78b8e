"""Which checkpoints of a training are complete, so that a training that is killed can resume."""

import json
import shutil
from pathlib import Path

from lib import files

_MARK = "complete"  # the file that is written last


def path(folder: Path, step: int) -> Path:
    """Folder of the checkpoint that the Trainer writes after `step` optimizer steps."""
    return folder / f"checkpoint-{step}"


def mark(folder: Path, step: int, best: int) -> None:
    """Say that the checkpoint of `step` is complete; a training also needs its `best` step."""
    place = path(folder, step)
    files.write_json(place / _MARK, {"best": best, "sizes": _sizes(place)})


def complete(folder: Path) -> list[int]:
    """Steps whose checkpoints have all their files, and so have the best checkpoints till then."""
    best = {}
    for file in folder.glob(f"checkpoint-*/{_MARK}"):
        noted = json.loads(file.read_text(encoding="utf-8"))
        if noted["sizes"].items() <= _sizes(file.parent).items():
            best[int(file.parent.name.split("-")[1])] = noted["best"]
    return sorted(step for step in best if best[step] in best)


def drop_incomplete(folder: Path) -> None:
    """Remove the checkpoints that a training cannot resume from."""
    kept = [path(folder, step) for step in complete(folder)]
    for place in folder.glob("checkpoint-*"):
        if place not in kept:
            shutil.rmtree(place)


def _sizes(place: Path) -> dict[str, int]:
    """File name -> size in bytes."""
    return {file.name: file.stat().st_size for file in place.iterdir()}
