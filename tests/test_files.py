"""Files and folders are the old ones or the new ones, at any moment and for any reader."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from lib import files
from lib.errors import StudyError

pytestmark = pytest.mark.usefixtures("data")  # the locks lie there
# Kills a writer at its first file operation, then the next writer at its second, and so on. Prints
# what the folder and its neighbours hold after each kill, and again after the next writer.
KILLS = """
import itertools, json, os, signal, sys
from pathlib import Path
from lib import files

place, kind = Path(sys.argv[1]), sys.argv[2]
target = place / "target"

def write(text):
    if kind == "file":
        files.write_whole(target, text)
        return
    with files.whole_folder(target) as part:
        (part / "a").write_text(text)
        (part / "b").mkdir()
        (part / "b" / "c").write_text(text)

def content():
    return {str(file.relative_to(place)): file.read_text()
            for file in place.rglob("*") if file.is_file()}

def kill_at(number):
    count = itertools.count(1)
    names = {"open", "write", "__exit__", "fsync", "close", "rename", "replace", "mkdir", "unlink",
             "rmdir", "scandir"}
    def hook(frame, event, function):
        if event == "c_call" and function.__name__ in names and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(hook)

for number in itertools.count(1):
    write("old")
    child = os.fork()
    if not child:
        kill_at(number)
        write("new")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = content()
    with files._writing(target):  # the next writer
        pass
    swept = content()
    print(json.dumps([killed, swept]))
    if not os.WIFSIGNALED(status):
        break
"""


def python(code: str, *words, **options):
    """A process of this environment that runs a piece of code in the repository."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=files.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def content(folder) -> dict:
    """The text of every file under a folder, hidden ones too, by its name there."""
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in folder.rglob("*")
        if file.is_file()
    }


def fails(*_):
    raise OSError("the write failed")


@pytest.mark.parametrize("kind", ["file", pytest.param("folder", marks=pytest.mark.slow)])
def test_a_kill_at_any_file_operation_leaves_the_old_or_the_new(tmp_path, kind):
    names = ["target"] if kind == "file" else ["target/a", "target/b/c"]
    whole = [dict.fromkeys(names, text) for text in ("old", "new")]
    (tmp_path / "place").mkdir()
    with python(KILLS, tmp_path / "place", kind) as process:
        rows = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0 and len(rows) > 8
    for killed, swept in rows:
        seen = {name: text for name, text in killed.items() if name.startswith("target")}
        assert seen in whole or (kind == "folder" and seen == {}), killed
        assert swept in whole, killed
    assert [rows[0][1], rows[-1][1]] == whole
    assert any(killed not in whole for killed, _ in rows)  # some kills did leave something


@pytest.mark.parametrize("moment", ["_flush", "replace"])
def test_a_file_whose_writing_fails_is_the_old_one(tmp_path, monkeypatch, moment):
    file = tmp_path / "inner" / "a.json"
    files.write_whole(file, "old ħ")
    assert file.read_text(encoding="utf-8") == "old ħ"
    with monkeypatch.context() as broken:
        broken.setattr(files if moment == "_flush" else os, moment, fails)
        with pytest.raises(OSError, match="the write failed"):
            files.write_whole(file, "new")
    assert content(file.parent) == {"a.json": "old ħ"}
    files.write_whole(file, b"new")
    assert content(file.parent) == {"a.json": "new"}


def test_json_is_readable_text_and_nan_is_refused(tmp_path):
    file = tmp_path / "a.json"
    files.write_json(file, {"new": [1, "ħ"]})
    text = file.read_text(encoding="utf-8")
    assert json.loads(text) == {"new": [1, "ħ"]} and "ħ" in text and text.endswith("}\n")
    for wrong, error in ((float("nan"), ValueError), (float("inf"), ValueError), ({1}, TypeError)):
        with pytest.raises(error):
            files.write_json(file, {"score": wrong})
    assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("old", [{}, {"a": "old", "sub/b": "old too"}])
@pytest.mark.parametrize("moment", ["inside", "flush", None])
def test_a_folder_whose_writing_fails_is_the_old_one(tmp_path, monkeypatch, old, moment):
    folder = tmp_path / "deep" / "model"
    for name, text in old.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def write():
        with files.whole_folder(folder) as part:
            (part / "sub").mkdir()
            (part / "sub" / "c").write_text("new")
            assert content(folder) == old  # nobody sees a part
            if moment == "inside":
                fails()

    if moment is None:
        write()
        assert content(folder.parent) == {"model/sub/c": "new"}
        return
    if moment == "flush":
        monkeypatch.setattr(files, "_flush", fails)
    with pytest.raises(OSError, match="the write failed"):
        write()
    assert content(folder.parent) == {f"model/{name}": text for name, text in old.items()}
    assert [*folder.parent.iterdir()] == ([folder] if old else [])


def test_a_folder_whose_new_content_cannot_take_its_place_comes_back(tmp_path, monkeypatch):
    folder, rename = tmp_path / "place" / "model", type(tmp_path).rename
    folder.mkdir(parents=True)
    (folder / "a").write_text("old")
    monkeypatch.setattr(
        type(tmp_path),
        "rename",
        lambda path, to: fails() if path.suffix == ".part" else rename(path, to),
    )
    with pytest.raises(OSError, match="the write failed"), files.whole_folder(folder) as part:
        (part / "a").write_text("new")
    assert content(folder.parent) == {"model/a": "old"}


def test_every_file_and_folder_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    target, seen, flush = tmp_path / "place" / "model", [], files._flush
    monkeypatch.setattr(
        files, "_flush", lambda path: (seen.append((path, target.exists())), flush(path))
    )
    with files.whole_folder(target) as part:
        (part / "sub").mkdir()
        (part / "sub" / "weights").touch()
    assert sorted((path.name, there) for path, there in seen[:3]) == [
        (part.name, False),
        ("sub", False),
        ("weights", False),
    ]
    assert seen[3:] == [(target.parent, True)]
    seen.clear()
    files.write_whole(tmp_path / "place" / "a.json", "new")
    assert [path.suffix for path, _ in seen] == [".part", ""] and seen[1][0] == target.parent


def test_files_that_a_library_keeps_to_their_owner_get_the_usual_rights(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    with files.whole_folder(tmp_path / "model") as part:
        (part / "weights").touch(mode=0o600)
    assert (tmp_path / "model" / "weights").stat().st_mode == usual.stat().st_mode


def test_the_next_writer_removes_leftovers_and_puts_an_old_folder_back(tmp_path):
    place = tmp_path / "place"
    for name in (".a.json.1.part", ".model.1.part/weights", ".model.2.old/weights", ".a.jsonl.1"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("left")
    files.write_whole(place / "a.json", "new")
    with pytest.raises(OSError, match="the write failed"), files.whole_folder(place / "model"):
        assert content(place / "model") == {"weights": "left"}
        fails()
    assert content(place) == {"a.json": "new", "model/weights": "left", ".a.jsonl.1": "left"}


def test_a_full_disk_is_one_sentence(tmp_path):
    target = tmp_path / "place" / "model"
    target.parent.mkdir()
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ):
        for write in (files.whole_folder(target), files.room(target)):
            with (
                pytest.raises(StudyError, match=r"the disk that holds .* is full; .* run again$"),
                write,
            ):
                raise error
        with pytest.raises(StudyError, match="is full"), files.room(target):
            raise ValueError("something else") from error
    for error in (
        OSError(errno.EACCES, "Permission denied"),
        RuntimeError("PytorchStreamWriter failed"),
        ValueError("x"),
    ):
        with pytest.raises(type(error), match=str(error.args[-1])), files.room(target):
            raise error
    assert [*target.parent.iterdir()] == []


def test_pytorchs_writer_means_a_full_disk_only_where_little_space_is_left(tmp_path, monkeypatch):
    failed = RuntimeError("PytorchStreamWriter failed writing file")
    for free, is_full in ((2**20 - 1, True), (2**20, False)):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr(files.shutil, "disk_usage", lambda _, usage=usage: usage)
        assert files.is_full(failed, tmp_path / "model") is is_full


def test_a_lock_lets_one_process_in_and_a_killed_holder_frees_it(tmp_path, capsys):
    code = (
        "import sys, time; from pathlib import Path; from lib import files\n"
        "with files.alone(Path(sys.argv[1]), 'x'): print('in', flush=True); time.sleep(60)"
    )
    with python(code, tmp_path / "run") as holder:
        assert holder.stdout.readline() == "in\n"
        with files.alone(tmp_path / "other", "making y"):
            pass
        threading.Timer(0.3, holder.kill).start()
        begun = time.monotonic()
        with files.alone(tmp_path / "run", "making x"):
            assert time.monotonic() - begun > 0.2
    assert capsys.readouterr().out == "waiting: another process is making x\n"


def test_two_processes_that_wait_take_their_turns(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from lib import files\n"
        "place = Path(sys.argv[1]); print('ready', flush=True)\n"
        "with files.alone(place / 'lock', 'x'), open(place / 'log', 'a') as log:\n"
        "    for word in ('in', 'out'): print(word, file=log, flush=True); time.sleep(0.1)"
    )
    with files.alone(tmp_path / "lock", "x"):
        waiting = [python(code, tmp_path) for _ in range(2)]
        assert [process.stdout.readline() for process in waiting] == ["ready\n"] * 2
        assert not (tmp_path / "log").exists()
    for process in waiting:
        process.communicate()
    assert (tmp_path / "log").read_text().split() == ["in", "out"] * 2


def test_a_process_may_take_a_lock_again_and_holds_it_until_the_last_release(tmp_path):
    code = (
        "import sys; from pathlib import Path; from lib import files\n"
        "with files.alone(Path(sys.argv[1]), 'x'): print('in', flush=True)"
    )
    with files.alone(tmp_path / "run", "x"):
        with files.alone(tmp_path / "run", "x"):
            pass
        other = python(code, tmp_path / "run")
        assert other.stdout.readline() == "waiting: another process is x\n"
    assert other.communicate()[0] == "in\n"


def test_a_checksum_is_read_again_when_the_file_changes(tmp_path, monkeypatch):
    file, opened, digest = tmp_path / "place" / "text", [], hashlib.file_digest
    file.parent.mkdir()
    monkeypatch.setattr(
        hashlib,
        "file_digest",
        lambda handle, kind: (opened.append(handle.name), digest(handle, kind))[1],
    )

    def asked(content=None, moment=None):
        if content is not None:
            file.write_bytes(content)
            os.utime(file, moment and (moment, moment))
        opened.clear()
        return files.sha256(file), len(opened)

    first, four = (hashlib.sha256(text).hexdigest() for text in (b"one", b"four"))
    assert asked(b"one", 1000) == (first, 1) and asked() == (first, 0)
    assert asked(b"two", 2000) == (hashlib.sha256(b"two").hexdigest(), 1)
    assert asked(b"four", 2000) == (four, 1)  # another size at the same time
    assert asked() == (four, 0)


def test_the_checksum_of_a_folder_is_that_of_its_names_and_contents(tmp_path):
    folder = tmp_path / "place"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a").write_text("1")
    (folder / "b").write_text("2")
    first = files.sha256(folder)
    os.utime(folder / "b", (1, 1))
    assert files.sha256(folder) == first
    (folder / "b").rename(folder / "c")
    assert files.sha256(folder) != first
    (folder / "c").rename(folder / "b")
    (folder / "b").write_text("3")
    assert files.sha256(folder) != first


def test_the_environment_moves_what_a_study_makes(monkeypatch, tmp_path):
    monkeypatch.delenv("STUDY_DATA", raising=False)
    assert files.data() == files.ROOT / "data"
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "x"))
    assert [files.models(), files.runs(), files.raw()] == [
        tmp_path / "x" / name for name in ("models", "runs", "raw")
    ]
    assert not (tmp_path / "x").exists()


def test_folders_that_the_environment_names_are_absolute_for_other_processes(monkeypatch, tmp_path):
    place = tmp_path / "with a space"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable, given in (("STUDY_DATA", "~/made"), ("STUDY_DATA_ROOT", "own"), ("X", "own")):
        monkeypatch.setenv(variable, given)
    monkeypatch.delenv("STUDY_MODELS_ROOT", raising=False)
    monkeypatch.setenv("STUDY_PARAMS", "")
    assert files.data() == tmp_path / "made" and files.named("STUDY_PARAMS") is None
    given = files.environment()
    assert given["STUDY_DATA"] == str(tmp_path / "made")
    assert given["STUDY_DATA_ROOT"] == str(place / "own")
    assert os.environ["X"] == "own" and "STUDY_MODELS_ROOT" not in os.environ


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_disk_that_may_not_be_written_is_one_sentence(tmp_path, monkeypatch, number):
    """Also where a lock would be taken; a checksum is only not noted."""
    text = tmp_path / "text"
    text.write_text("one")
    os.utime(text, (1000, 1000))

    def refuse(path, *_, **__):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    said = (
        rf"^{tmp_path}/data.* cannot be written \({os.strerror(number)}\); correct its rights, or"
    )
    for write in (
        lambda: files.write_json(files.runs() / "step" / "a.json", {}),
        lambda: files.whole_folder(files.models() / "a").__enter__(),
        lambda: files.alone(files.runs() / "making" / "a", "x").__enter__(),
    ):
        with pytest.raises(StudyError, match=said):
            write()
    assert files.sha256(text) == hashlib.sha256(b"one").hexdigest()


def test_a_file_in_the_place_of_the_folder_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "file"))
    with pytest.raises(
        StudyError, match=r"file/runs.* cannot be written \(Not a directory\); corr"
    ):
        files.write_json(files.runs() / "a.json", {})
