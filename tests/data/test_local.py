"""The entry of a file in a record: name, checksum, and what the manifest of its folder states."""

import hashlib
import json

import pytest

from lib.data import local
from lib.errors import StudyError


@pytest.fixture
def file(tmp_path):
    (tmp_path / "corpora").mkdir()
    file = tmp_path / "corpora" / "xyz.txt"
    file.write_text("One.\n", encoding="utf-8")
    return file


def test_fingerprint(tmp_path, file):
    assert local.fingerprint(tmp_path, file) == {
        "file": "corpora/xyz.txt",
        "sha256": hashlib.sha256(b"One.\n").hexdigest(),
        "licence": "not stated",
        "origin": "not stated",
    }
    sources = [{"repository": f"o/{name}", "commit": "1", "licence": "CC0"} for name in "ab"]
    listed = {"files": [{"file": "corpora/xyz.txt", "sources": sources}]}
    (tmp_path / "MANIFEST.json").write_text(json.dumps(listed), encoding="utf-8")
    assert local.fingerprint(tmp_path, file)["licence"] == "CC0"
    assert local.fingerprint(tmp_path, file)["origin"] == "o/a@1; o/b@1"


@pytest.mark.parametrize(
    "manifest",
    ["{", "[1]", "{}", '{"files": [{"file": "corpora/xyz.txt", "sources": [{}]}]}', b"\xff\xfe{"],
)
def test_a_wrong_manifest(tmp_path, file, manifest):
    content = manifest if isinstance(manifest, bytes) else manifest.encode()
    (tmp_path / "MANIFEST.json").write_bytes(content)
    with pytest.raises(StudyError, match=r"MANIFEST\.json: not a list of files and their sources"):
        local.fingerprint(tmp_path, file)
