"""A finished run leaves a real model, its card and its record; scores reach the model's card."""

import shutil

import pytest
import toy_study
import toys
from page_tables import rows_of

from lib import files
from lib.errors import StudyError
from lib.export import card
from lib.model import encoder
from lib.study import make, notebook, records, state, studies
from lib.study.plan import chain, scoring

SAMPLE = {"kind": "sample"}


@pytest.fixture
def runs(toy):
    """The models of the toy study for Maltese."""
    return chain(studies.load("toy"), "mlt")


def finish(run, scores=None, model=None, **parts):
    """`notebook.finish` with a toy model."""
    model, tokenizer = model or toys.model("bert"), toys.tokenizer("bert")
    return notebook.finish(run, model, tokenizer, scores or {"mlm_loss": 2.0}, SAMPLE, **parts)


def card_of(run) -> str:
    return (run.folder / "README.md").read_text(encoding="utf-8")


def test_a_finished_model_has_its_card_and_its_record(runs):
    teacher, student = toys.model("bert"), toys.model("bert", num_hidden_layers=2)
    first = finish(runs[0], model=teacher, history=[])
    finish(runs[1], model=teacher)
    notebook.checkpoints(runs[2])
    record = finish(runs[2], {"mlm_loss": 2.5}, student, history=[{"step": 1}])
    assert record == records.read(runs[2]) and record["history"] == [{"step": 1}]
    assert not runs[2].checkpoints.exists()
    about = record["model"]
    assert about["id"] == runs[2].id and about["step"] == "layers"
    assert about["teacher_parameters"] == teacher.num_parameters() == first["model"]["parameters"]
    assert about["compression_rate"] == 1 - student.num_parameters() / teacher.num_parameters()
    loaded, _ = notebook.load(runs[2])
    assert toys.same(toys.bits(loaded), toys.bits(student))
    labels = "teacher", "teacher adapted to the language", "fewer layers, distilled"
    steps = [
        {"label": label, "id": run.id, "settings": run.stated}
        for label, run in zip(labels, runs, strict=False)
    ]
    assert card_of(runs[2]) == card.text(record, steps)
    assert "mlm_loss: 2.5" in card_of(runs[2])


@pytest.mark.parametrize(
    ("scores", "stays"),
    [({"mlm_loss": 2.0, "new": 1}, True), ({"mlm_loss": 2.25}, False), ({"new": 1}, False)],
)
def test_a_model_made_again_keeps_the_record_that_says_the_same(scores, stays, runs):
    """What a later version of the code says in addition makes no later run stale."""
    finish(runs[0])
    former = finish(runs[1])
    toy_study.finish(runs[2])
    shutil.rmtree(runs[1].folder)
    again = finish(runs[1], scores)
    assert (again == former) == stays == (state.state(runs[2]) == state.DONE)
    assert records.read(runs[1]) == again and (runs[1].folder / "config.json").exists()


def test_scores_of_tasks_are_added_and_only_those_of_the_model(runs):
    for run in runs[:2]:
        finish(run)
    before = card_of(runs[0])
    found = (("tc", 2, 0.5), ("pos", 1, 0.25), ("tc", 1, 0.75), ("tc", 1, 0.8125))  # one again
    for task, seed, score in found:
        run = scoring(runs[1], "mlt", task, seed)
        record = notebook.finish_scoring(run, {"macro_f1": score}, SAMPLE, best_epoch=1)
        assert record["model"] == records.read(runs[1])["model"] and record == records.read(run)
    full = scoring(runs[1], "mlt", "tc", 3, {"finetune": {"method": "full"}})
    notebook.finish_scoring(full, {"macro_f1": 1.0}, SAMPLE)
    assert rows_of(card_of(runs[1]), "task") == [
        ["pos", "mlt", "1", "adapter, factor 4", "macro_f1 0.2500"],
        ["tc", "mlt", "1", "adapter, factor 4", "macro_f1 0.8125"],
        ["tc", "mlt", "2", "adapter, factor 4", "macro_f1 0.5000"],
        ["tc", "mlt", "3", "all weights", "macro_f1 1.0000"],
    ]
    assert "| step |" in card_of(runs[1]) and "- mlm_loss: 2" in card_of(runs[1])
    assert card_of(runs[0]) == before


def test_a_model_no_better_than_guessing_by_frequency_says_so(runs):
    """In its own record and in those of the runs that score it; else nothing is said."""
    for run, unigram_loss, said in zip(runs, (None, 2.5, 1.5), (None, False, True), strict=False):
        scores = {"mlm_loss": 2.0} | ({"unigram_loss": unigram_loss} if unigram_loss else {})
        assert finish(run, scores)["model"].get("worse_than_unigram") is said
        scored = notebook.finish_scoring(scoring(run, "mlt", "tc", 1), {"macro_f1": 0.5}, SAMPLE)
        assert scored["model"].get("worse_than_unigram") is said


def test_a_score_whose_card_could_not_be_written_is_not_finished(runs, monkeypatch):
    finish(runs[0])
    run = scoring(runs[0], "mlt", "tc", 1)
    with monkeypatch.context() as broken:
        broken.setattr(card, "text", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            notebook.finish_scoring(run, {"macro_f1": 0.5}, SAMPLE)
    assert not run.record.exists()
    notebook.finish_scoring(run, {"macro_f1": 0.5}, SAMPLE)
    assert run.record.exists()


def test_a_model_that_could_not_be_saved_is_not_finished(runs, monkeypatch):
    """What was there stays, and the checkpoints are kept for the next attempt."""
    notebook.checkpoints(runs[0])
    with monkeypatch.context() as broken:
        broken.setattr(encoder, "save", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish(runs[0])
    assert not runs[0].record.exists() and runs[0].checkpoints.exists()
    finish(runs[0])
    assert runs[0].record.exists() and not runs[0].checkpoints.exists()


class Killed(BaseException):
    """What nothing catches, as a kill."""


@pytest.mark.parametrize("scored", [False, True])
def test_a_kill_around_the_record_loses_and_leaves_nothing(scored, runs, monkeypatch, executed):
    """Before the record, the checkpoints are still there; after it, the next command drops them."""

    def end(run):
        if scored:
            return notebook.finish_scoring(run, {"macro_f1": 0.5}, SAMPLE)
        return finish(run)

    def killed(owner, name, place):
        original = getattr(owner, name)

        def dies(target, *given, **named):
            if target == place:
                raise Killed
            return original(target, *given, **named)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(owner, name, dies)
            end(run)
        notebook._locks.pop(run.id).close()  # as a kill does

    finish(runs[0])
    run = scoring(runs[0], "mlt", "tc", 1) if scored else runs[1]
    left = notebook.checkpoints(run, {"sha256": "1"} if scored else None)
    killed(files, "write_json", run.record)
    make.clear([run])
    assert left.exists() and state.state(run) == state.TO_DO
    killed(notebook.shutil, "rmtree", run.checkpoints)
    assert left.exists() and state.state(run) == state.DONE
    make.make([run])
    assert executed == [] and not run.checkpoints.exists()
    run.checkpoints.mkdir()
    finish(runs[0], {"mlm_loss": 9.0})
    make.clear([run])
    assert state.state(run) == state.STALE and run.checkpoints.exists()


def test_checkpoints_of_other_text_or_of_another_model_are_not_used(toy, tmp_path, capsys):
    """Neither after a kill, nor when the text changes while the run is made."""
    root = tmp_path / "own"
    text = root / "corpora" / "mlt.txt"
    text.parent.mkdir(parents=True)
    text.write_text("wieħed\n", encoding="utf-8")
    toy_study.write_study(toy_study.STUDY | {"source": "local", "data_root": str(root)})
    first, run, *_ = chain(studies.load("toy"), "mlt")
    toy_study.finish(first)

    def killed_and_begun_again():
        left = notebook.checkpoints(run) / "checkpoint-4"
        left.mkdir(exist_ok=True)
        notebook._locks.pop(run.id).close()  # as a kill does
        return notebook.checkpoints(run) / "checkpoint-4" == left and left.exists()

    assert killed_and_begun_again() and capsys.readouterr().out == ""
    changes = (
        lambda: text.write_text("tnejn!\n", encoding="utf-8"),
        lambda: text.rename(text.with_suffix(".txt.gz")),
        lambda: toy_study.finish(first, scores={"mlm_loss": 1.0}),
    )
    for change in changes:
        change()
        assert not (notebook.checkpoints(run) / "checkpoint-4").exists()
        said = f"the checkpoints of {run.id} were made from other data; it begins again\n"
        assert capsys.readouterr().out == said and killed_and_begun_again()
    text.with_suffix(".txt.gz").rename(text)
    text.write_text("wieħed\n", encoding="utf-8")
    toy_study.finish(first)
    assert (notebook.checkpoints(run) / "checkpoint-4").exists()  # as it was at first
    text.write_text("tlieta\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"its text or the model before it changed meanwhile; run"):
        finish(run)
    assert not run.record.exists() and not run.folder.exists()
    notebook.checkpoints(run)
    assert finish(run) == records.read(run)


def test_checkpoints_of_other_labels_or_of_another_model_are_not_used(runs, capsys):
    """Of the labels only what they are counts, not which other source did not serve them."""
    finish(runs[0])
    run, labels = scoring(runs[0], "mlt", "tc", 1), {"files": {"train": {"sha256": "1"}}}
    first = notebook.checkpoints(run, labels)
    assert notebook.checkpoints(run, labels | {"passed_over": ["no network"]}) == first
    assert capsys.readouterr().out == ""
    said = f"the checkpoints of {run.id} were made from other data; it begins again\n"
    other = notebook.checkpoints(run, {"files": {"train": {"sha256": "2"}}})
    assert other != first and capsys.readouterr().out == said
    finish(runs[0], {"mlm_loss": 1.0})
    assert notebook.checkpoints(run, labels) not in (first, other)
    assert capsys.readouterr().out == said
    notebook.finish_scoring(run, {"macro_f1": 0.5}, SAMPLE)
    assert not run.checkpoints.exists()
