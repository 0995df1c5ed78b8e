"""Model cards hold what they claim: sizes, settings, data, scores, and a header the hub reads."""

import re

import pytest
import toys
import yaml

from lib.export import card
from lib.model import encoder
from lib.study import records, results, studies


@pytest.fixture
def chain(data, tmp_path_factory, monkeypatch):
    """The runs of the toy study for Maltese, with an empty place for what they make."""
    toys.facts_in(tmp_path_factory.mktemp("params"), monkeypatch)
    return studies.chain("toy", "mlt")


def header(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])


def table(card, first):
    """The rows of the table whose head begins with `first`, as lists of cells."""
    lines = card.split("\n")
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize("place", range(6))
def test_a_card_says_what_was_done(chain, place):
    run, about = chain[place], encoder.describe(toys.model("bert"), 40_000)
    text = card.text(
        run, about, {"kind": "sample", "licence": "free"}, {"mlm_loss": 1.23456, "positions": 77}
    )
    assert (
        header(text)["language"] == (run.language or "multilingual")
        and header(text)["pipeline_tag"] == "fill-mask"
    )
    assert f"`{run.id}`: 19,704 parameters, 50.7 % fewer than the teacher's 40,000" in text
    assert ("# Maltese: " in text) is (place > 0) and text.count("\n# ") == 1
    rows = table(text, "step")
    assert [row[1] for row in rows] == [f"`{each.id}`" for each in run.lineage()]
    for row, each in zip(rows, run.lineage(), strict=True):
        assert row[0] == card.NAMES[each.step] and row[2] == ", ".join(
            f"{key} {value}" for key, value in each.settings.items()
        )
    assert (
        "- kind: sample" in text
        and "- licence: free" in text
        and "- mlm_loss: 1.235" in text
        and "- positions: 77" in text
    )
    assert "| task |" not in text


def test_a_finished_model_has_its_card_and_its_record(chain, data):
    teacher, student = toys.model("bert"), toys.model("bert", num_hidden_layers=2)
    results.finish(
        chain[0], teacher, toys.tokenizer("bert"), {"mlm_loss": 2.0}, {"kind": "sample"}, history=[]
    )
    results.checkpoints(chain[2]).mkdir(parents=True)
    record = results.finish(
        chain[2],
        student,
        toys.tokenizer("bert"),
        {"mlm_loss": 2.5},
        {"kind": "sample"},
        history=[{"step": 1}],
    )
    assert (
        record == records.read(chain[2])
        and record["history"] == [{"step": 1}]
        and not results.checkpoints(chain[2]).exists()
    )
    assert record["model"]["id"] == chain[2].id and record["model"]["step"] == "layers"
    assert (
        record["model"]["teacher_parameters"]
        == teacher.num_parameters()
        == records.read(chain[0])["model"]["parameters"]
    )
    assert (
        record["model"]["compression_rate"]
        == 1 - student.num_parameters() / teacher.num_parameters()
    )
    loaded, _ = encoder.made(chain[2])
    assert toys.same(toys.bits(loaded), toys.bits(student))
    assert (chain[2].folder / "README.md").read_text(encoding="utf-8") == card.text(
        chain[2], record["model"], {"kind": "sample"}, {"mlm_loss": 2.5}
    )


def test_scores_of_tasks_are_added_and_only_those_of_the_model(chain):
    for run in (chain[0], chain[1]):
        results.finish(
            run, toys.model("bert"), toys.tokenizer("bert"), {"mlm_loss": 2.0}, {"kind": "sample"}
        )
    before = (chain[0].folder / "README.md").read_text(encoding="utf-8")
    for task, seed, score in (
        ("tc", 2, 0.5),
        ("pos", 1, 0.25),
        ("tc", 1, 0.75),
        ("tc", 1, 0.8125),
    ):  # the last is run again
        run = studies.scoring(chain[1], "mlt", task, seed)
        record = results.finish_scoring(run, {"macro_f1": score}, {"kind": "sample"}, best_epoch=1)
        assert record["model"] == records.read(chain[1])["model"] and record == records.read(run)
    full = studies.scoring(chain[1], "mlt", "tc", 3, {"finetune": {"method": "full"}})
    results.finish_scoring(full, {"macro_f1": 1.0}, {"kind": "sample"})
    card = (chain[1].folder / "README.md").read_text(encoding="utf-8")
    assert table(card, "task") == [
        ["pos", "mlt", "1", "adapter, factor 4", "macro_f1 0.2500"],
        ["tc", "mlt", "1", "adapter, factor 4", "macro_f1 0.8125"],
        ["tc", "mlt", "2", "adapter, factor 4", "macro_f1 0.5000"],
        ["tc", "mlt", "3", "all weights", "macro_f1 1.0000"],
    ]
    assert table(card, "step") and "- mlm_loss: 2" in card
    assert (chain[0].folder / "README.md").read_text(encoding="utf-8") == before


def test_a_model_no_better_than_guessing_by_frequency_says_so(chain):
    """In its own record and in those of the runs that score it; without the comparison nothing is said."""
    for run, scores, said in zip(
        chain,
        (
            {"mlm_loss": 2.0},
            {"mlm_loss": 2.0, "unigram_loss": 2.5},
            {"mlm_loss": 3.0, "unigram_loss": 2.5},
        ),
        (None, False, True),
        strict=False,
    ):
        record = results.finish(
            run, toys.model("bert"), toys.tokenizer("bert"), scores, {"kind": "sample"}
        )
        assert record["model"].get("worse_than_unigram") is said
        scored = results.finish_scoring(
            studies.scoring(run, "mlt", "tc", 1), {"macro_f1": 0.5}, {"kind": "sample"}
        )
        assert scored["model"].get("worse_than_unigram") is said


def test_a_score_whose_card_could_not_be_written_is_not_finished(chain, monkeypatch):
    results.finish(
        chain[0], toys.model("bert"), toys.tokenizer("bert"), {"mlm_loss": 2.0}, {"kind": "sample"}
    )
    run = studies.scoring(chain[0], "mlt", "tc", 1)
    with monkeypatch.context() as broken:
        broken.setattr(card, "text", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            results.finish_scoring(run, {"macro_f1": 0.5}, {"kind": "sample"})
    assert not run.record.exists()
    results.finish_scoring(run, {"macro_f1": 0.5}, {"kind": "sample"})
    assert run.record.exists()


def test_what_a_kill_leaves_of_a_finished_run_goes_unless_somebody_makes_it_again(chain):
    results.finish(
        chain[0], toys.model("bert"), toys.tokenizer("bert"), {"mlm_loss": 2.0}, {"kind": "sample"}
    )
    left = results.checkpoints(chain[0])  # this process makes it again
    left.mkdir()
    results.tidy(chain[0])
    assert left.exists()
    results.finish(
        chain[0], toys.model("bert"), toys.tokenizer("bert"), {"mlm_loss": 2.0}, {"kind": "sample"}
    )
    left.mkdir()
    results.tidy(chain[0])
    assert not left.exists()
