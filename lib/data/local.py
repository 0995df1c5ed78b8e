"""The files of a data folder: the embedded sample or a user's own (`Source.folder`).

Files are chosen from the folder's listing. A path is never built from the name of a language.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from lib import files
from lib.checks import entry_of
from lib.errors import StudyError

PARTS = ("train", "dev", "test")
_TEXT = ("txt", "txt.xz", "txt.gz")


def corpus(language: str, root: Path) -> dict[str, Path]:
    """Return the text of a language: {"text": file}, or {"train": file, "dev": file, "test": file}.

    The second is for a folder `root`/corpora/<language>; without it, `root`/corpora/<language>.txt
    is the text. Files may be compressed (.txt.xz, .txt.gz).
    """
    for folder in (root / "corpora").glob("*"):
        if folder.name == language and folder.is_dir():
            return {part: only(folder, part, _TEXT) for part in PARTS}
    return {"text": only(root / "corpora", language, _TEXT)}


def task(entry: dict, language: str, root: Path) -> dict[str, Path]:
    """Return the files `root`/tasks/<folder>/<language>/{train,dev,test}.<extension> by part.

    `entry` is the task's entry in params/tasks.yaml.
    """
    place = root / "tasks" / entry["folder"]
    folders = {folder.name: folder for folder in sorted(place.glob("*")) if folder.is_dir()}
    parts = f"add one with train, dev and test as .{' or .'.join(entry['extensions'])}"
    folder = entry_of(folders, language, "folder", str(place), parts)
    return {part: only(folder, part, entry["extensions"]) for part in PARTS}


def only(folder: Path, stem: str, extensions: Sequence[str]) -> Path:
    """Return the one file of a folder that is called `stem` and has one of the extensions."""
    present = {file.name: file for file in sorted(folder.glob("*")) if file.is_file()}
    names = [f"{stem}.{extension}" for extension in extensions]
    matching = [present[name] for name in names if name in present]
    if len(matching) != 1:
        raise StudyError(
            f"{folder} needs one file {stem!r} as .{' or .'.join(extensions)}; it has "
            f"{', '.join(present) or 'none'}"
        )
    return matching[0]


def fingerprint(root: Path, file: Path) -> dict:
    """Return the record's entry on a file: its name below `root`, sha256, licence and origin.

    Licence and origin come from `root`/MANIFEST.json, and are "not stated" where it does not list
    the file.
    """
    name, manifest = file.relative_to(root).as_posix(), root / "MANIFEST.json"
    try:
        entries = json.loads(manifest.read_bytes())["files"] if manifest.is_file() else []
        sources = [
            source for entry in entries if entry["file"] == name for source in entry["sources"]
        ]
        licences = [source["licence"] for source in sources]
        origins = [f"{source['repository']}@{source['commit']}" for source in sources]
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"{manifest}: not a list of files and their sources ({type(error).__name__}: {error}); "
            "it needs `files`, each with `file` and `sources`, each of these with licence, "
            "repository and commit; correct it or remove it"
        ) from None
    return {
        "file": name,
        "sha256": files.sha256(file),
        "licence": "; ".join(dict.fromkeys(licences)) or "not stated",
        "origin": "; ".join(dict.fromkeys(origins)) or "not stated",
    }
