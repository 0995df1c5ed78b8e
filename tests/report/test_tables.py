"""Published numbers against what they follow from, and tables as Markdown."""

import math

import pandas
import pytest
import toy_study
from made_up import parameters

from lib import facts, files
from lib.errors import StudyError
from lib.report import tables, words
from lib.study.publish import SIZES


def test_markdown_reads_back():
    frame = pandas.DataFrame(
        {"model": ["a|b", "longer name"], "x": ["1", "−2.0"], "y": ["line\nbreak", ""]}
    )
    text = tables.to_markdown(frame)
    lines = text.splitlines()
    assert text.endswith("|\n") and len({len(line) for line in lines}) == 1
    cells = [
        [cell.strip().replace("\\|", "|") for cell in line[2:-2].split(" | ")] for line in lines
    ]
    assert (
        cells[0] == ["model", "x", "y"]
        and cells[2] == ["a|b", "1", "line break"]
        and cells[3] == ["longer name", "−2.0", ""]
    )
    assert [mark.endswith(":") for mark in cells[1]] == [False, True, True]
    assert tables.to_markdown(frame[:0]).count("\n") == 2


def test_published_numbers_are_named_and_sourced():
    names = [file.stem for file in sorted(files.PAPER.glob("*.csv"))]
    assert len(names) == 6
    for name in names:
        frame = tables.published(name)
        assert (
            len(frame) and frame["source"].str.len().gt(10).all() and not frame.duplicated().any()
        ), name
    with pytest.raises(StudyError, match="data/paper has adapter_parameters"):
        tables.published("scores")


def test_published_parameters_follow_from_the_sizes():
    frame = tables.published("parameters")
    assert len(frame) == 18
    whole = frame[frame["step"] == "pretrain"].set_index("teacher")["parameters"]
    for row in frame.to_dict("records"):
        rest = (514, 1) if row["teacher"] == "xlm-r" else (512, 2)
        assert row["parameters"] == parameters(*(row[size] for size in SIZES), *rest)
        if not math.isnan(row["change_percent"]):
            assert row["change_percent"] == pytest.approx(
                100 * (row["parameters"] / whole[row["teacher"]] - 1), abs=0.0501
            )


def test_published_adapter_parameters_follow_from_the_sizes():
    for row in tables.published("adapter_parameters").to_dict("records"):
        hidden, bottleneck = row["hidden_size"], row["hidden_size"] // row["reduction_factor"]
        assert row["parameters"] == row["num_hidden_layers"] * (
            (hidden + 1) * bottleneck + (bottleneck + 1) * hidden
        )


def test_published_scores_are_whole():
    topic = tables.published("topic_by_adapter_factor")
    assert topic.groupby(["teacher", "hidden_size"]).size().tolist() == [5, 5, 5, 7] * 2
    assert topic["macro_f1_percent"].between(60, 85).all()
    vocabulary = tables.published("average_by_vocabulary")
    assert (
        vocabulary.groupby("language").size().tolist() == [6, 6, 6]
        and vocabulary["average_f1"].between(0.65, 0.83).all()
    )


def test_text_seen_is_published_or_our_own(tmp_path, monkeypatch):
    """Of our own, 0 sentences mean all there are."""
    assert tables.text_seen("mbert") == {"slk": 0.611, "swh": 0.102, "mlt": 0.047}
    assert tables.text_seen("toy-bert")["mlt"] == 1000
    models = toy_study.changed(facts.facts("models"), "toy-bert.text", {"mlt": 9, "slk": 0})
    toy_study.write_yaml(toy_study.facts_in(tmp_path, monkeypatch) / "models.yaml", models)
    assert tables.text_seen("toy-bert") == {"mlt": 9, "slk": math.inf}


def test_numbers_in_words():
    assert [words.word(value) for value in (40000, 0.25, "last_k", True)] == [
        "40,000",
        "0.25",
        "last_k",
        "True",
    ]
    assert words.number(-1.25, 1, signed=True) == "\N{MINUS SIGN}1.2"
    assert words.number(math.nan, missing="not run") == "not run"
