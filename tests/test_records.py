"""Records and the files they are in: whole or not at all, and the same when read back."""

import json
import os
from importlib.metadata import version

import pytest
import toys

from lib import paths, records, studies
from lib.errors import StudyError

MODEL = {"id": "x", "step": "layers", "parameters": 10, "teacher_parameters": 20, "compression_rate": 0.5, "config": {"hidden_size": 8}}


@pytest.fixture
def run(data, tmp_path_factory, monkeypatch):
    """A scoring run of the toy study, with an empty place for its record."""
    toys.facts_in(tmp_path_factory.mktemp("params"), monkeypatch)
    return studies.scoring(studies.chain("toy", "mlt")[2], "mlt", "tc", 2)


def everything(folder):
    """Every file under a folder, hidden ones too, with its content."""
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_a_record_reads_back_as_it_was_written(run):
    written = records.write(run, MODEL, scores={"macro_f1": 0.5}, history=[{"epoch": 1, "loss": 0.25}], data={"kind": "sample"})
    assert records.read(run) == written == json.loads(run.record.read_text(encoding="utf-8"))
    assert written["id"] == run.id == run.record.stem and run.record.parent == paths.runs() / "finetune"
    assert (written["step"], written["study"], written["language"], written["teacher"], written["task"], written["seed"],
            written["source"]) == ("finetune", "toy", "mlt", "toy-bert", "tc", 2, "sample")
    assert list(written["settings"]) == ["pretrain", "adapt", "layers", "finetune"]
    assert written["settings"]["layers"] == toys.STUDY["steps"]["layers"] and written["settings"]["finetune"]["epochs"] == 2
    assert written["chain"] == [each.id for each in run.lineage()[:-1]] and written["model"] == MODEL
    assert written["scores"] == {"macro_f1": 0.5} and written["made"][4] == "-"


def test_records_become_rows_with_dotted_columns(run):
    records.write(run, MODEL, scores={"macro_f1": 0.5}, history=[{"epoch": 1}])
    other = studies.scoring(run.parent, "mlt", "tc", 1)
    records.write(other, MODEL | {"parameters": 5}, scores={"macro_f1": 0.75, "accuracy": 1.0})
    frame = records.load(run.record.parent)
    assert len(frame) == 2 and set(frame["seed"]) == {1, 2} and sorted(frame["model.parameters"]) == [5, 10]
    row = frame[frame["seed"] == 2].iloc[0]
    assert row["scores.macro_f1"] == 0.5 and row["model.config.hidden_size"] == 8 and row["settings.layers.layer_choice"] == "last_k"
    assert row["history"] == [{"epoch": 1}] and row["scores.accuracy"] != row["scores.accuracy"]  # not scored: NaN
    assert records.load(run.record.parent / "absent").empty


def test_a_run_that_was_not_run(run):
    with pytest.raises(StudyError, match=f"{run.id} has not been run; run the notebook of step 'finetune' first"):
        records.read(run)
    assert not paths.data().exists()


def test_a_value_that_json_has_not_leaves_the_old_record(run):
    records.write(run, MODEL, scores={"macro_f1": 0.5})
    before = everything(paths.data())
    for wrong, error in ((float("nan"), ValueError), (float("inf"), ValueError), ({1, 2}, TypeError)):
        with pytest.raises(error):
            records.write(run, MODEL, scores={"macro_f1": wrong})
    assert everything(paths.data()) == before


def test_the_environment_a_number_was_made_in():
    said = records.environment()
    assert said["torch"] == version("torch") and said["cores"] == os.cpu_count() and said["commit"]
    assert all(said[name] for name in ("python", "machine", "system", "transformers"))


def fails(*_):
    raise OSError("no space left")


@pytest.mark.parametrize("moment", ["_flush", "replace"])
def test_a_file_is_the_old_one_or_the_new_one(tmp_path, monkeypatch, moment):
    file = tmp_path / "inner" / "a.json"
    paths.write_whole(file, "old ħ")
    assert file.read_text(encoding="utf-8") == "old ħ" and [*file.parent.iterdir()] == [file]
    with monkeypatch.context() as broken:
        broken.setattr(paths if moment == "_flush" else os, moment, fails)
        with pytest.raises(OSError, match="no space"):
            paths.write_whole(file, "new")
    assert everything(tmp_path) == {"inner/a.json": "old ħ"}
    paths.write_json(file, {"new": [1, "ħ"]})
    assert json.loads(file.read_text(encoding="utf-8")) == {"new": [1, "ħ"]} and "ħ" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("old", [None, {"a": "old", "sub/b": "old too"}])
@pytest.mark.parametrize("moment", ["inside", "flush", None])
def test_a_folder_is_the_old_one_or_the_new_one(tmp_path, monkeypatch, old, moment):
    folder = tmp_path / "deep" / "model"
    for name, text in (old or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def write():
        with paths.whole_folder(folder) as part:
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
        monkeypatch.setattr(paths, "_flush", fails)
    with pytest.raises(OSError, match="no space"):
        write()
    assert everything(tmp_path) == {f"deep/model/{name}": text for name, text in (old or {}).items()}
    assert folder.exists() is bool(old) and [*folder.parent.iterdir()] == ([folder] if old else [])


def test_a_folder_whose_new_content_cannot_take_its_place_comes_back(tmp_path, monkeypatch):
    folder, rename = tmp_path / "model", type(tmp_path).rename
    folder.mkdir()
    (folder / "a").write_text("old")
    monkeypatch.setattr(type(tmp_path), "rename", lambda path, to: fails() if path.suffix == ".part" else rename(path, to))
    with pytest.raises(OSError, match="no space"), paths.whole_folder(folder) as part:
        (part / "a").write_text("new")
    assert everything(tmp_path) == {"model/a": "old"}


def test_where_things_are_made_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.delenv("STUDY_DATA", raising=False)
    assert paths.data() == paths.ROOT / "data"
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "x"))
    assert [paths.models(), paths.runs(), paths.raw()] == [tmp_path / "x" / name for name in ("models", "runs", "raw")]
    assert not (tmp_path / "x").exists()
