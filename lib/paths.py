"""Where things lie. Committed folders are fixed; what a study makes can be moved with the variable STUDY_DATA."""

import json
import os
import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARAMS = ROOT / "params"
NOTEBOOKS = ROOT / "notebooks" / "study"
SAMPLE = ROOT / "data" / "sample"
PAPER = ROOT / "data" / "paper"
RESULTS = ROOT / "data" / "results"
FIGURES = ROOT / "figures"


def data() -> Path:
    """Folder of everything a study makes: $STUDY_DATA, or data/ of the repository."""
    return Path(os.environ.get("STUDY_DATA") or ROOT / "data").resolve()


def models() -> Path:
    """Folder of finished models, one folder per id."""
    return data() / "models"


def runs() -> Path:
    """Folder of records and executed notebooks, one of each per id."""
    return data() / "runs"


def raw() -> Path:
    """Folder of downloads and of text prepared from them."""
    return data() / "raw"


@contextmanager
def whole_folder(folder: Path):
    """Yield a folder to write into; it takes the place of `folder` when the block ends well, else it vanishes."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    part.mkdir()
    try:
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                _flush(file)
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.old")
            folder.rename(old)
            try:
                part.rename(folder)
            except OSError:
                old.rename(folder)
                raise
            if old.is_symlink():
                old.unlink()  # the folder it points at is not ours
            else:
                shutil.rmtree(old)
        else:
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_whole(file: Path, text: str) -> None:
    """Write `text` to `file` so that at any moment the file is either the old one or the new one."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.write_text(text, encoding="utf-8")
        _flush(part)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def write_json(file: Path, value) -> None:
    """Write `value` as JSON, whole or not at all; NaN is refused, since JSON has none."""
    write_whole(file, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _flush(file: Path) -> None:
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())
