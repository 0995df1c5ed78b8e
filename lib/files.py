"""Where things lie, and how they get there: whole or not at all, one writer at a time.

Committed folders are fixed; what a study makes can be moved with the variable STUDY_DATA, the parameters with STUDY_PARAMS.
"""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

from lib.errors import StudyError

ROOT = Path(__file__).resolve().parent.parent
PARAMS = Path(os.environ.get("STUDY_PARAMS") or ROOT / "params").resolve()
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
    """Yield a folder to write into; it takes the place of `folder` when the block ends well, else it vanishes.

    Whatever the moment of a kill, `folder` is the old one or the new one, or not there and put back by the next writer. What
    killed writers left beside it is removed. Raises StudyError if the disk is full.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    with room(folder), _claimed(folder, Path.mkdir) as part:
        yield part
        for each in [*part.rglob("*"), part]:
            _flush(each)
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.old")
            with _held(folder):
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
        _flush(folder.parent)


def write_whole(file: Path, content: str | bytes) -> None:
    """Write `content` to `file` so that at any moment the file is either the old one or the new one.

    What killed writers left beside it is removed. Raises StudyError if the disk is full.
    """
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    sweep(file)
    with room(file), _claimed(file, Path.touch) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        _flush(part)
        os.replace(part, file)
        _flush(file.parent)


def write_json(file: Path, value) -> None:
    """Write `value` as JSON, whole or not at all; NaN is refused, since JSON has none."""
    write_whole(file, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """Checksum of a file's content, or of the names and contents of all files of a folder; 64 hexadecimal digits.

    A file is read again only if its size or its time has changed since; what was read stands in data/runs/.checksums.json.
    """
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        inside = "".join(f"{each.relative_to(path).as_posix()}\0{sha256(each)}\n" for each in files)
        return hashlib.sha256(inside.encode()).hexdigest()
    found, known = path.stat(), _checksums()
    stamp = [found.st_size, found.st_mtime_ns]
    if known.get(str(path), [])[:2] != stamp:
        with open(path, "rb") as handle:
            known = known | {str(path): [*stamp, hashlib.file_digest(handle, "sha256").hexdigest()]}
        if (
            time.time_ns() - found.st_mtime_ns > 10**9
        ):  # a younger file may change again within the clock's grain
            write_json(runs() / ".checksums.json", known)
    return known[str(path)][2]


def _checksums() -> dict:
    """What is known of files: path -> [size, time, checksum]; nothing, if the notes cannot be read."""
    try:
        return json.loads((runs() / ".checksums.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


@contextmanager
def alone(lock: Path, doing: str, wait: bool = True):
    """Nobody else who names the file `lock` is inside meanwhile; who comes second says so and waits, or with `wait` off gets a
    BlockingIOError. The system frees the lock of a process that ends, however it ends. The empty file stays.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise
            print(f"waiting: another process is {doing}", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def room(place: Path):
    """Turn what the libraries raise where the disk of `place` is full into one sentence, a StudyError."""
    try:
        yield
    except Exception as error:
        if not is_full(error, place):
            raise
        raise StudyError(
            f"the disk that holds {place.parent} is full; nothing half-written was kept: free some space, or point STUDY_DATA "
            "to another disk, and run again"
        ) from error


def is_full(error: BaseException | None, place: Path) -> bool:
    """Whether an error, or one behind it, says that the disk of `place` is full. PyTorch's own writer gives no reason: then look."""
    while error is not None:
        if getattr(error, "errno", None) in (
            errno.ENOSPC,
            errno.EDQUOT,
        ) or "No space left on device" in str(error):
            return True
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" in str(error):
            return shutil.disk_usage(place.parent).free < 2**20
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _claimed(target: Path, make):
    """Yield a new part beside `target`, made by `make` and held while its writer lives; what is left of it at the end goes."""
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    make(part)
    try:
        with _held(part):
            yield part
    finally:
        _remove(part)


@contextmanager
def _held(path: Path):
    """Hold a file or folder, by whatever name it goes later, so that no cleaner takes it for a dead writer's."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(
            OSError
        ):  # a file system without such locks: then nothing is ever taken for dead
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sweep(target: Path) -> None:
    """Remove the parts of `target` that no writer holds; where a kill hit between the two renames, put the old content back."""
    for left in [
        *target.parent.glob(f".{glob.escape(target.name)}.*.old"),
        *target.parent.glob(f".{glob.escape(target.name)}.*.part"),
    ]:
        try:
            handle = os.open(left, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(handle).st_ctime > 2:  # a younger one may be about to be held
                left.rename(target) if left.suffix == ".old" and not target.exists() else _remove(
                    left
                )
        except OSError:
            pass
        finally:
            os.close(handle)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have a file or a folder's list of names on the disk, so that a loss of power keeps it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
