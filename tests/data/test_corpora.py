"""Corpora: disjoint parts, the same every time, and refusals that say what exists."""

import copy
import gzip
import hashlib
import json
import lzma
import tarfile
import unicodedata
from itertools import chain

import pytest
import toys
from tokenizers import Tokenizer

from lib import facts, files
from lib.data import corpora, local
from lib.errors import StudyError
from lib.facts import Source


@pytest.fixture
def folder(tmp_path):
    """A folder of two languages; of the first, each of 400 lines stands three times."""
    (tmp_path / "corpora").mkdir()
    text = "".join(f"Sentence number {n % 400}.\n" for n in range(1200))
    (tmp_path / "corpora" / "xyz.txt.xz").write_bytes(lzma.compress(text.encode()))
    (tmp_path / "corpora" / "abc.txt").write_text("Too little.\n", encoding="utf-8")
    return Source("local", tmp_path)


def test_local_parts_are_disjoint_and_whole(folder):
    parts = {part: corpora.load("xyz", folder, part) for part in corpora.PARTS}
    assert {part: len(lines) for part, lines in parts.items()} == {
        "train": 360,
        "dev": 20,
        "test": 20,
    }
    together = list(chain(*parts.values()))
    assert len(set(together)) == 400 and set(together) == {
        f"Sentence number {n}." for n in range(400)
    }
    assert together != sorted(together, key=lambda line: int(line.split()[-1][:-1]))  # shuffled


def test_local_is_the_same_every_time_and_limits_nest(folder):
    for part in corpora.PARTS:
        whole = corpora.load("xyz", folder, part)
        assert (
            corpora.load("xyz", folder, part) == whole
            and corpora.load("xyz", folder, part, 7) == whole[:7]
        )
    assert corpora.load("xyz", folder, "dev", 5000) == corpora.load("xyz", folder, "dev")


def test_at_most_a_thousand_lines_are_held_out(tmp_path):
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "xyz.txt").write_text(
        "\n".join(map(str, range(30_000))), encoding="utf-8"
    )
    sizes = [len(corpora.load("xyz", Source("local", tmp_path), part)) for part in corpora.PARTS]
    assert sizes == [28_000, 1000, 1000]


@pytest.mark.parametrize(
    ("language", "source", "part", "limit", "said"),
    [
        ("xyz", "local", "valid", 0, "part: 'valid' is none of train, dev, test"),
        ("xyz", "local", "dev", -1, "a limit of -1"),
        (
            "abc",
            "local",
            "dev",
            0,
            "1 different lines of text; at least 200 are needed",
        ),
        (
            "slk",
            "local",
            "dev",
            0,
            "one file 'slk' as .txt or .txt.xz or .txt.gz; it has abc.txt, xyz.txt.xz",
        ),
        ("../xyz", "local", "dev", 0, "corpora needs one file '../xyz' as"),
        ("mlt", "web", "dev", 0, "source: 'web' is none of sample, local, hub"),
        ("eng", "hub", "train", 5, "has no `glotcc` for 'eng'"),
        ("qqq", "hub", "train", 5, "'qqq'"),
        ("qqq", "sample", "train", 5, "qqq"),
    ],
)
def test_refusals(folder, language, source, part, limit, said):
    with pytest.raises(StudyError, match=said.replace("(", r"\(").replace("?", r"\?")):
        corpora.load(language, Source(source, folder.root), part, limit)


def test_a_local_source_needs_one_file_in_a_folder(folder):
    with pytest.raises(StudyError, match="needs a folder"):
        corpora.load("xyz", Source("local"), "train")
    (folder.root / "corpora" / "xyz.txt").write_text("Again.\n", encoding="utf-8")
    with pytest.raises(
        StudyError, match=r"one file 'xyz' as .* it has abc\.txt, xyz\.txt, xyz\.txt\.xz"
    ):
        corpora.load("xyz", folder, "train")


def test_sample():
    source = Source("sample")
    parts = {part: corpora.load("eng", source, part, 30) for part in corpora.PARTS}
    assert (
        all(len(lines) == 30 for lines in parts.values()) and len(set(chain(*parts.values()))) == 90
    )
    assert corpora.load("eng", source, "dev", 10) == parts["dev"][:10]
    assert corpora.describe("eng", source) == {"kind": "sample"} | {
        part: local.fingerprint(files.SAMPLE, files.SAMPLE / "corpora" / "eng" / f"{part}.txt")
        for part in corpora.PARTS
    }


def test_a_folder_of_parts_is_read_in_order(tmp_path):
    folder = tmp_path / "corpora" / "xyz"
    folder.mkdir(parents=True)
    (folder / "train.txt.gz").write_bytes(gzip.compress(b"b\na\n\nb\n"))
    (folder / "dev.txt").write_text("d\n", encoding="utf-8")
    source = Source("local", tmp_path)
    with pytest.raises(StudyError, match=r"xyz needs one file 'test' as .* it has dev\.txt, tr"):
        corpora.load("xyz", source, "train")
    (folder / "test.txt").write_text("t\nu\n", encoding="utf-8")
    assert corpora.load("xyz", source, "train") == ["b", "a", "b"]
    assert corpora.load("xyz", source, "train", 2) == ["b", "a"]
    assert [corpora.load("xyz", source, part) for part in ("dev", "test")] == [["d"], ["t", "u"]]
    described = corpora.describe("xyz", source)
    assert described["kind"] == "local" and described["train"]["file"] == "corpora/xyz/train.txt.gz"
    (folder / "test.txt.xz").write_bytes(lzma.compress(b"t"))
    with pytest.raises(StudyError, match=r"it has dev\.txt, test\.txt, test\.txt\.xz, train"):
        corpora.load("xyz", source, "train")


def test_describe_local(folder):
    said = corpora.describe("xyz", folder)
    assert said == {
        "kind": "local",
        **local.fingerprint(folder.root, folder.root / "corpora" / "xyz.txt.xz"),
    }
    assert str(folder.root) not in json.dumps(said)


@pytest.mark.slow
def test_shared_corpora(shared):
    source = Source("local", shared / "data")
    listed = {
        entry["language"]: entry
        for entry in json.loads((shared / "data" / "MANIFEST.json").read_text())["files"]
        if entry["kind"] == "corpus"
    }
    assert set(listed) <= set(facts.facts("languages"))
    for language in ("mlt", "est"):  # a large and a small one; all are read alike
        parts = {part: corpora.load(language, source, part) for part in corpora.PARTS}
        together = list(chain(*parts.values()))
        assert (
            len(together) == len(set(together))
            and 0 <= listed[language]["lines"] - len(together) < 10
        )
        assert len(parts["dev"]) == len(parts["test"]) == min(1000, len(together) // 20)
        said = corpora.describe(language, source)
        assert said["sha256"] == listed[language]["sha256"] and said["licence"] != "not stated"


def test_facts_of_languages():
    for language, entry in facts.facts("languages").items():
        assert len(language) == 3 and entry["name"] and len(entry["script"]) == 4
        assert entry["flores"] == entry["sib200"] and entry["flores"].endswith(
            "_" + entry["script"]
        )


NFD, NFC = "z\u0307ebbug\u0307", "żebbuġ"  # letters and their dots apart; together


def test_text_is_in_nfc_from_every_source(tmp_path, monkeypatch):
    """And repeated lines are known in either form; checksums are those of the file as it is."""
    (tmp_path / "corpora").mkdir()
    file = tmp_path / "corpora" / "xyz.txt"
    text = "".join(f"{form} {n}\n" for n in range(300) for form in (NFD, NFC))
    file.write_text(text, encoding="utf-8")
    source = Source("local", tmp_path)
    parts = [corpora.load("xyz", source, part) for part in corpora.PARTS]
    assert sorted(chain(*parts)) == sorted(f"{NFC} {n}" for n in range(300))
    assert corpora.describe("xyz", source)["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    hub = Source("hub")
    monkeypatch.setattr(corpora.hub, "rows", lambda *_: [[NFD], [f"{NFD}\n{NFD}"]])
    assert corpora.load("mlt", hub, "train", 2) == [NFC, f"{NFC}\n{NFC}"]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        (tmp_path / "dev").write_text(f"{NFD}\n{NFD}.\n", encoding="utf-8")
        archive.add(tmp_path / "dev", "flores200_dataset/dev/mlt_Latn.dev")
    monkeypatch.setattr(corpora.hub, "download", lambda *_: tmp_path / "a.tar")
    assert corpora.load("mlt", hub, "dev") == [NFC, f"{NFC}."]


@pytest.mark.slow
def test_the_text_of_the_studies_is_in_nfc_already(shared):
    """So reading it in NFC changes nothing that was published."""
    for root in (files.SAMPLE, shared / "data"):
        for file in [*root.glob("corpora/**/*.*"), *root.glob("tasks/**/*.*")]:
            raw = file.read_bytes()
            raw = lzma.decompress(raw) if file.suffix == ".xz" else raw
            assert unicodedata.is_normalized("NFC", raw.decode()), file


def test_bytes_in_place_of_letters_are_unknown():
    """A tokenizer with byte tokens reads each foreign letter as its bytes; none is the unknown."""
    own = copy.deepcopy(toys.tokenizer("xlm-roberta"))
    state = json.loads(own.backend_tokenizer.to_str())
    state["model"]["vocab"] += [[f"<0x{byte:02X}>", -9.0] for byte in range(256)]
    state["model"]["byte_fallback"] = True
    own.backend_tokenizer.model = Tokenizer.from_str(json.dumps(state)).model
    assert corpora.reading(toys.sentences(), own, 32)["unknown_tokens"] == 0
    with pytest.raises(StudyError, match="of the tokens are unknown"):
        corpora.reading(["ሰላም ለዓለም"] * 9, own, 32)
