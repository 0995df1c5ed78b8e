"""Records and the files they are in: whole or not at all, and the same when read back."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from importlib.metadata import version

import pytest
import toys

from lib import files
from lib.errors import StudyError
from lib.study import records, studies

MODEL = {
    "id": "x",
    "step": "layers",
    "parameters": 10,
    "teacher_parameters": 20,
    "compression_rate": 0.5,
    "config": {"hidden_size": 8},
}


@pytest.fixture
def run(data, tmp_path_factory, monkeypatch):
    """A scoring run of the toy study, with an empty place for its record."""
    toys.facts_in(tmp_path_factory.mktemp("params"), monkeypatch)
    return studies.scoring(studies.chain("toy", "mlt")[2], "mlt", "tc", 2)


def everything(folder):
    """Every file under a folder, hidden ones too, with its content."""
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_a_record_reads_back_as_it_was_written(run):
    written = records.write(
        run,
        MODEL,
        scores={"macro_f1": 0.5},
        history=[{"epoch": 1, "loss": 0.25}],
        data={"kind": "sample"},
    )
    assert records.read(run) == written == json.loads(run.record.read_text(encoding="utf-8"))
    assert (
        written["id"] == run.id == run.record.stem
        and run.record.parent == files.runs() / "finetune"
    )
    assert (
        written["step"],
        written["study"],
        written["language"],
        written["teacher"],
        written["task"],
        written["seed"],
        written["source"],
    ) == ("finetune", "toy", "mlt", "toy-bert", "tc", 2, "sample")
    assert list(written["settings"]) == ["pretrain", "adapt", "layers", "finetune"]
    assert (
        written["settings"]["layers"] == toys.STUDY["steps"]["layers"]
        and written["settings"]["finetune"]["epochs"] == 2
    )
    assert (
        written["chain"] == [each.id for each in run.lineage()[:-1]] and written["model"] == MODEL
    )
    assert written["scores"] == {"macro_f1": 0.5}


def test_records_become_rows_with_dotted_columns(run):
    records.write(run, MODEL, scores={"macro_f1": 0.5}, history=[{"epoch": 1}])
    other = studies.scoring(run.parent, "mlt", "tc", 1)
    records.write(other, MODEL | {"parameters": 5}, scores={"macro_f1": 0.75, "accuracy": 1.0})
    frame = records.load(run.record.parent)
    assert (
        len(frame) == 2
        and set(frame["seed"]) == {1, 2}
        and sorted(frame["model.parameters"]) == [5, 10]
    )
    row = frame[frame["seed"] == 2].iloc[0]
    assert (
        row["scores.macro_f1"] == 0.5
        and row["model.config.hidden_size"] == 8
        and row["settings.layers.layer_choice"] == "last_k"
    )
    assert (
        row["history"] == [{"epoch": 1}] and row["scores.accuracy"] != row["scores.accuracy"]
    )  # not scored: NaN
    assert records.load(run.record.parent / "absent").empty


def test_what_may_differ_stands_apart(run, monkeypatch):
    """Two makings with other times, seconds, machine and commit are equal but for the section `made`, of today's records and of older."""
    parts = {
        "scores": {"macro_f1": 0.5},
        "history": [{"epoch": 1, "loss": 0.25}],
        "data": {"kind": "sample"},
    }
    first = records.write(run, MODEL, **parts, seconds={"history": [1.5, 2.5]})
    monkeypatch.setattr(records, "environment", lambda: {"commit": "other", "cores": 64})
    second = records.write(run, MODEL, **parts, seconds={"history": [9.0]})
    assert set(first) - {"made"} == set(records.lasting(first)) and records.lasting(
        first
    ) == records.lasting(second)
    assert {key for key in first if first[key] != second[key]} == {"made"}
    made = first["made"]
    assert set(made) == {"at", "seconds", "environment"} and made["at"][4] == "-"
    assert made["seconds"]["history"] == [1.5, 2.5] and 0 <= made["seconds"]["total"] < 60
    offline = records.compose(
        run, MODEL, **parts | {"data": {"kind": "sample", "passed_over": ["offline"]}}
    )
    assert records.lasting(offline) == records.lasting(first) and offline["made"][
        "passed_over"
    ] == ["offline"]
    older = records.lasting(first) | {
        "made": "2026-11-20T10:00:00",
        "seconds": {"history": [1.0]},
        "environment": {"cores": 2},
    }
    assert records.lasting(older) == records.lasting(first)


def test_a_run_that_was_not_run(run):
    with pytest.raises(
        StudyError, match=f"{run.id} has not been run; run the notebook of step 'finetune' first"
    ):
        records.read(run)
    assert not files.data().exists()


def test_a_value_that_json_has_not_leaves_the_old_record(run):
    records.write(run, MODEL, scores={"macro_f1": 0.5})
    before = everything(files.data())
    for wrong, error in (
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ({1, 2}, TypeError),
    ):
        with pytest.raises(error):
            records.write(run, MODEL, scores={"macro_f1": wrong})
    assert everything(files.data()) == before


def test_the_environment_a_number_was_made_in():
    said = records.environment()
    assert said["torch"] == version("torch") and said["cores"] == os.cpu_count() and said["commit"]
    assert all(
        said[name]
        for name in (
            "python",
            "machine",
            "system",
            "processor",
            "transformers",
            "safetensors",
            "huggingface_hub",
        )
    )


def test_the_environment_without_git(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert records.environment()["commit"] == "git is not installed"
    monkeypatch.undo()
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert records.environment()["commit"] == "not a checkout"


def fails(*_):
    raise OSError("no space left")


@pytest.mark.parametrize("moment", ["_flush", "replace"])
def test_a_file_is_the_old_one_or_the_new_one(tmp_path, monkeypatch, moment):
    file = tmp_path / "inner" / "a.json"
    files.write_whole(file, "old ħ")
    assert file.read_text(encoding="utf-8") == "old ħ" and [*file.parent.iterdir()] == [file]
    with monkeypatch.context() as broken:
        broken.setattr(files if moment == "_flush" else os, moment, fails)
        with pytest.raises(OSError, match="no space"):
            files.write_whole(file, "new")
    assert everything(tmp_path) == {"inner/a.json": "old ħ"}
    files.write_json(file, {"new": [1, "ħ"]})
    assert json.loads(file.read_text(encoding="utf-8")) == {
        "new": [1, "ħ"]
    } and "ħ" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("old", [None, {"a": "old", "sub/b": "old too"}])
@pytest.mark.parametrize("moment", ["inside", "flush", None])
def test_a_folder_is_the_old_one_or_the_new_one(tmp_path, monkeypatch, old, moment):
    folder = tmp_path / "deep" / "model"
    for name, text in (old or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def write():
        with files.whole_folder(folder) as part:
            (part / "sub").mkdir()
            (part / "sub" / "c").write_text("new")
            assert everything(folder) == (old or {})  # nothing is seen before it is whole
            if moment == "inside":
                fails()

    if moment is None:
        write()
        assert everything(tmp_path) == {"deep/model/sub/c": "new"}
        return
    if moment == "flush":
        monkeypatch.setattr(files, "_flush", fails)
    with pytest.raises(OSError, match="no space"):
        write()
    assert everything(tmp_path) == {
        f"deep/model/{name}": text for name, text in (old or {}).items()
    }
    assert folder.exists() is bool(old) and [*folder.parent.iterdir()] == ([folder] if old else [])


def test_a_folder_whose_new_content_cannot_take_its_place_comes_back(tmp_path, monkeypatch):
    folder, rename = tmp_path / "model", type(tmp_path).rename
    folder.mkdir()
    (folder / "a").write_text("old")
    monkeypatch.setattr(
        type(tmp_path),
        "rename",
        lambda path, to: fails() if path.suffix == ".part" else rename(path, to),
    )
    with pytest.raises(OSError, match="no space"), files.whole_folder(folder) as part:
        (part / "a").write_text("new")
    assert everything(tmp_path) == {"model/a": "old"}


def test_where_things_are_made_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.delenv("STUDY_DATA", raising=False)
    assert files.data() == files.ROOT / "data"
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "x"))
    assert [files.models(), files.runs(), files.raw()] == [
        tmp_path / "x" / name for name in ("models", "runs", "raw")
    ]
    assert not (tmp_path / "x").exists()


def test_what_killed_writers_leave_is_removed_or_put_back(tmp_path):
    """Parts that nobody holds go; those of a living writer stay; a folder between its two names comes back."""
    for left in (
        ".a.json.12345678.part",
        ".model.12345678.part/weights",
        ".model.87654321.old/weights",
    ):
        (tmp_path / left).parent.mkdir(exist_ok=True)
        (tmp_path / left).write_text("left")
    time.sleep(2.1)  # younger ones may belong to a writer about to hold them
    with files._claimed(tmp_path / "a.json", type(tmp_path).touch) as living:
        files.write_whole(tmp_path / "a.json", "new")
        assert {each.name for each in tmp_path.glob(".a.json*")} == {living.name}
    with pytest.raises(OSError, match="no space"), files.whole_folder(tmp_path / "model"):
        assert everything(tmp_path / "model") == {"weights": "left"}
        fails()
    assert everything(tmp_path) == {"a.json": "new", "model/weights": "left"}


def test_every_file_and_folder_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    seen, flush = [], files._flush
    monkeypatch.setattr(
        files,
        "_flush",
        lambda path: (seen.append((path, (tmp_path / "model").exists())), flush(path)),
    )
    with files.whole_folder(tmp_path / "model") as part:
        (part / "sub").mkdir()
        (part / "sub" / "weights").touch()
    assert [(path.name, there) for path, there in sorted(seen[:3])] == [
        (part.name, False),
        ("sub", False),
        ("weights", False),
    ]
    assert seen[3:] == [(tmp_path, True)]
    seen.clear()
    files.write_whole(tmp_path / "a.json", "new")
    assert [path.suffix for path, _ in seen] == [".part", ""] and seen[1][0] == tmp_path


def test_a_full_disk_is_one_sentence(tmp_path):
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ):
        for write in (files.whole_folder(tmp_path / "model"), files.room(tmp_path / "model")):
            with (
                pytest.raises(StudyError, match=r"the disk that holds .* is full; .* run again$"),
                write,
            ):
                raise error
        with pytest.raises(StudyError, match="is full"), files.room(tmp_path / "model"):
            raise ValueError("something else") from error
    for error in (
        OSError(errno.EACCES, "Permission denied"),
        RuntimeError("PytorchStreamWriter failed"),
        ValueError("x"),
    ):
        with pytest.raises(type(error), match=str(error.args[-1])), files.room(tmp_path / "model"):
            raise error
    assert [*tmp_path.iterdir()] == []


def test_a_lock_lets_one_in_and_a_killed_holder_frees_it(tmp_path):
    lock = tmp_path / "run.lock"
    code = (
        "import sys, time; from pathlib import Path; from lib import paths\n"
        "with files.alone(Path(sys.argv[1]), 'x'): print('in', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, cwd=files.ROOT
    )
    assert holder.stdout.readline() == b"in\n"
    with pytest.raises(BlockingIOError), files.alone(lock, "", wait=False):
        pass
    threading.Timer(0.5, holder.kill).start()
    begun = time.monotonic()
    with files.alone(lock, "making x"):
        assert time.monotonic() - begun > 0.3
    holder.wait()


def test_a_checksum_is_read_again_when_the_file_changes(data, tmp_path, monkeypatch):
    file, opened, digest = tmp_path / "text", [], hashlib.file_digest
    monkeypatch.setattr(
        hashlib,
        "file_digest",
        lambda handle, kind: (opened.append(handle.name), digest(handle, kind))[1],
    )

    def asked(content=None, moment=None):
        if content is not None:
            file.write_bytes(content)
            os.utime(file, (moment, moment))
        opened.clear()
        return files.sha256(file), len(opened)

    first = hashlib.sha256(b"one").hexdigest()
    assert asked(b"one", 1000) == (first, 1) and asked() == (first, 0)
    assert asked(b"two", 2000) == (hashlib.sha256(b"two").hexdigest(), 1)
    assert asked(b"four", 2000) == (hashlib.sha256(b"four").hexdigest(), 1)
    (files.runs() / ".checksums.json").write_text("{broken")
    assert asked() == (hashlib.sha256(b"four").hexdigest(), 1)
    folder = files.sha256(tmp_path)
    file.rename(tmp_path / "renamed")
    assert files.sha256(tmp_path) != folder


def test_what_may_differ_is_found_by_its_bare_name_in_new_and_old_records(tmp_path):
    new = {
        "id": "new",
        "made": {
            "at": "now",
            "seconds": {"total": 2.5, "history": [1.0, 2.0]},
            "environment": {"commit": "a"},
        },
    }
    old = {
        "id": "old",
        "made": "then",
        "seconds": {"history": [3.0]},
        "environment": {"commit": "b"},
    }
    for record in (new, old):
        (tmp_path / f"{record['id']}.json").write_text(json.dumps(record))
    frame = records.load(tmp_path).set_index("id")
    assert frame["seconds.history"].to_dict() == {"new": [1.0, 2.0], "old": [3.0]}
    assert (
        frame["environment.commit"].to_dict() == {"new": "a", "old": "b"}
        and frame.loc["new", "seconds.total"] == 2.5
    )
