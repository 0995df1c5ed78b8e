"""Stages of a student: what is finished stays, other requests are refused, the result is whole."""

import copy

import pytest
import toys

from lib.errors import StudyError
from lib.train import stages


@pytest.fixture(autouse=True)
def locks(data):
    """Locks lie in a folder of the test's own."""


def test_what_is_finished_stays(tmp_path):
    model, tokenizer = toys.model("bert"), copy.deepcopy(toys.tokenizer("bert"))
    work = stages.Work(tmp_path / "out", {"seed": 1})
    assert not work.has("layers") and work.noted("steps", lambda: 7) == 7
    work.checkpoints("layers").mkdir()
    work.keep("layers", model, tokenizer)
    assert not work.checkpoints("layers").exists()
    del work  # as a killed process leaves it
    again = stages.Work(tmp_path / "out", {"seed": 1})
    assert again.has("layers") and again.noted("steps", lambda: 8) == 7
    assert toys.same(toys.bits(again.load("layers")[0]), toys.bits(model))


def test_stages_of_another_request_are_refused_and_stay(tmp_path):
    work = stages.Work(tmp_path / "out", {"seed": 1, "text": {"a": (1,)}})
    work.noted("steps", lambda: 7)
    del work
    work = stages.Work(tmp_path / "out", {"seed": 2})  # nothing was finished yet
    assert work.noted("steps", lambda: 8) == 8
    work.keep("layers", toys.model("bert"), copy.deepcopy(toys.tokenizer("bert")))
    del work
    with pytest.raises(StudyError, match=r"another request \(seed, minutes\)"):
        stages.Work(tmp_path / "out", {"seed": 3, "minutes": 1})
    assert stages.Work(tmp_path / "out", {"seed": 2}).has("layers")


def test_the_result_is_whole_or_not_there(tmp_path):
    work = stages.Work(tmp_path / "out", {})
    with pytest.raises(FileNotFoundError):
        work.finish("no result yet")
    assert not (tmp_path / "out").exists() and work.folder.exists()
    work.result.mkdir()
    (work.result / "a").write_text("1", encoding="utf-8")
    for _ in range(2):  # the cell may be executed again
        assert work.finish("the card") == tmp_path / "out"
    files = {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "out").iterdir()}
    assert files == {"a": "1", "README.md": "the card"} and not work.folder.exists()


def test_what_a_kill_after_the_result_leaves_goes_with_the_next_request(tmp_path, monkeypatch):
    work = stages.Work(tmp_path / "out", {"seed": 1})
    for stage in ("result", "layers"):
        (work.folder / stage).mkdir()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            stages.shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        work.finish("the card")
    assert (tmp_path / "out" / "README.md").exists() and (work.folder / "layers").exists()
    with pytest.raises(StudyError, match="not a new or empty folder"):
        stages.free(str(tmp_path / "out"))
    assert not work.folder.exists()


def test_a_folder_that_was_filled_meanwhile_is_not_replaced(tmp_path):
    work = stages.Work(stages.free(str(tmp_path / "out")), {})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine", encoding="utf-8")
    with pytest.raises(StudyError, match="not a new or empty folder"):
        work.finish("")
    assert (tmp_path / "out" / "mine").exists() and work.folder.exists()
    for used in ("", str(tmp_path / "out"), str(tmp_path / "out" / "mine")):
        with pytest.raises(StudyError, match="not a new or empty folder"):
            stages.free(used)
    (tmp_path / "empty").mkdir()
    assert stages.free(str(tmp_path / "empty")) == tmp_path / "empty"
