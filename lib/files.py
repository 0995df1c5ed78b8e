"""Paths of the project, and files that are written whole or not at all, by one process at a time.

STUDY_DATA moves what a study makes, STUDY_PARAMS the parameters; `named` reads such variables.
"""

import errno
import functools
import glob
import hashlib
import json
import os
import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lib.errors import StudyError


def named(variable: str) -> Path | None:
    """The folder that a variable of the environment names, absolute; None if it names none.

    `~` is the home, and a relative path counts from where the command was typed.
    """
    given = os.environ.get(variable)
    return Path(os.path.expanduser(given)).resolve() if given else None


ROOT = Path(__file__).resolve().parent.parent
PARAMS = named("STUDY_PARAMS") or ROOT / "params"
SAMPLE = ROOT / "data" / "sample"
PAPER = ROOT / "data" / "paper"
RESULTS = ROOT / "data" / "results"
FIGURES = ROOT / "figures"
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


def data() -> Path:
    """Folder of everything a study makes: $STUDY_DATA, or data/ of the repository."""
    return named("STUDY_DATA") or (ROOT / "data").resolve()


def environment() -> dict[str, str]:
    """The environment for processes in other folders: variables that name folders are absolute."""
    names = ("STUDY_DATA", "STUDY_PARAMS", "STUDY_DATA_ROOT", "STUDY_MODELS_ROOT")
    return os.environ | {name: str(named(name)) for name in names if named(name)}


def models() -> Path:
    """Folder of finished models, one folder per run id."""
    return data() / "models"


def runs() -> Path:
    """Folder of records and executed notebooks, one of each per run id."""
    return data() / "runs"


def raw() -> Path:
    """Folder of downloaded files."""
    return data() / "raw"


@contextmanager
def whole_folder(folder: Path):
    """Yield an empty folder that replaces `folder` when the block ends well.

    A kill at any moment leaves the old folder or the new one; the next writer puts an old one back
    where it is missing, and removes what a killed writer left. Raises StudyError if the disk is
    full.
    """
    with _writing(Path(folder)) as part:
        part.mkdir()
        yield part
        for path in [*part.rglob("*"), part]:
            if path.is_file():  # safetensors writes files that only their owner may read
                path.chmod(part.stat().st_mode & 0o666)
            _flush(path)
        if folder.exists():
            folder.rename(part.with_suffix(".old"))
        part.rename(folder)
        _flush(folder.parent)


def write_whole(file: Path, content: str | bytes) -> None:
    """Write `content` to `file`. At any moment the file is either the old one or the new one.

    Raises StudyError if the disk is full.
    """
    with _writing(Path(file)) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        _flush(part)
        os.replace(part, file)
        _flush(part.parent)


def write_json(file: Path, value) -> None:
    """Write `value` as JSON, whole or not at all. NaN is refused, since JSON has none."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(file, text + "\n")


def sha256(path: Path) -> str:
    """Checksum (64 hexadecimal digits) of a file, or of the names and contents of a folder.

    A process reads a file again only if its size or its time has changed since.
    """
    if path.is_dir():
        names = sorted(file for file in path.rglob("*") if file.is_file())
        inside = "".join(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n" for file in names)
        return hashlib.sha256(inside.encode()).hexdigest()
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _sha256(file: Path, _size: int, _changed: int) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_sha256(file: Path, wanted: str, what: str) -> None:
    """StudyError unless a published file, which `what` names, has the checksum that is wanted."""
    found = sha256(file)
    if found != wanted:
        raise StudyError(
            f"{what} has the sha256 {found}, expected {wanted}; it is not used: delete {file}, if "
            "it is there, and run again; if this happens again, the published file has changed"
        )


@contextmanager
def alone(target: Path, doing: str):
    """Hold the lock that belongs to the path `target`, which need not exist, while the block runs.

    A second process prints that it waits. One process may take a lock several times. The system
    frees the lock of a process that ends, however it ends. An empty lock file stays.
    """
    name = hashlib.sha256(str(Path(target).absolute()).encode()).hexdigest()[:24]
    folder = runs() / ".locks"
    lock = FileLock(folder / f"{name}.lock", is_singleton=True)
    try:
        with room(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
    except Timeout:
        print(f"waiting: another process is {doing}", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def room(place: Path):
    """Turn the errors of a disk that is full, or that may not be written, into one StudyError."""
    try:
        yield
    except Exception as error:
        file = Path(str(getattr(error, "filename", "")))
        near = place.is_relative_to(file) or file.is_relative_to(place.parent)
        if near and getattr(error, "errno", None) in _REFUSED:
            raise StudyError(
                f"{file} cannot be written ({error.strerror}); correct its rights, or "
                "point STUDY_DATA to another folder"
            ) from error
        if not is_full(error, place):
            raise
        raise StudyError(
            f"the disk that holds {place.parent} is full; nothing half-written was kept: free "
            "some space, or point STUDY_DATA to another disk, and run again"
        ) from error


def is_full(error: BaseException | None, place: Path) -> bool:
    """Whether an error, or a cause of it, says that the disk of `place` is full.

    PyTorch's own writer gives no reason; then the free space decides.
    """
    while error is not None:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left on device" in str(error):
            return True
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" in str(error):
            return shutil.disk_usage(place.parent).free < 2**20
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _writing(target: Path):
    """Yield an unused path beside `target`, alone with it; the path is gone when the block ends."""
    with room(target), alone(target, f"writing {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        try:
            yield target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
        finally:
            _sweep(target)


def _sweep(target: Path) -> None:
    """Remove what writers left of `target`; put the old content back if none is there."""
    for left in sorted(target.parent.glob(f".{glob.escape(target.name)}.*")):
        if left.suffix not in (".old", ".part"):
            continue
        if left.suffix == ".old" and not target.exists():
            left.rename(target)
        elif left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink()


def _flush(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk, so that a loss of power keeps it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
