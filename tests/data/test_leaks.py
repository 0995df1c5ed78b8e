"""Test examples in training text: by hand, against a slow search, and on the real text and labels."""

import random

import pytest

from lib import facts
from lib.data import leaks

LINE = "Kull filgħodu, il-qattus l-iswed ta' Marija jorqod taħt is-siġra kbira tal-ġnien."


def test_by_hand():
    examples = [
        "il-qattus l-iswed ta' Marija jorqod taħt is-siġra u ma jqumx",  # ten words in a row
        "IL-QATTUS! l-iswed (jorqod)",  # five words, not in a row
        "ta' Marija jorqod taħt is",
        "taħt is-siġra kbira",  # five words in a row; four
        "il-qattus l-iswed ta' Marija jorqod taħt siġra oħra li hemm",
    ]
    assert leaks.held(examples, ["xi ħaġa oħra", LINE]) == [0, 2]
    assert leaks.held(examples, []) == [] == leaks.held([], [LINE])


def test_against_a_slow_search():
    chance, words = random.Random(1), ["a", "b", "c"]
    text = [" ".join(chance.choices(words, k=40)) for _ in range(20)]
    examples = [" ".join(chance.choices(words, k=chance.randint(3, 14))) for _ in range(300)]

    def stands(example):
        parts = example.split()
        size = min(leaks.RUN, len(parts))
        return size >= leaks.SHORTEST and any(
            f" {' '.join(parts[at : at + size])} " in f" {line} "
            for at in range(len(parts) - size + 1)
            for line in text
        )

    expected = [number for number, example in enumerate(examples) if stands(example)]
    assert leaks.held(examples, text) == expected and 10 < len(expected) < 200


def test_the_command_line(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["leaks", "absent"])
    with pytest.raises(SystemExit, match="no study called 'absent'"):
        leaks.main()
    monkeypatch.setattr("sys.argv", ["leaks", "demo"])
    leaks.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 and all("test examples, " in line for line in lines)


def test_no_test_sentence_is_in_the_real_text(monkeypatch):
    monkeypatch.delenv("STUDY_DATA_ROOT", raising=False)
    if not (facts.root("../shared/data", "STUDY_DATA_ROOT") / "corpora").is_dir():
        pytest.skip("the real text is not there")
    rows = leaks.table("mini")
    assert len(rows) == 12 and {row[3] for row in rows} == {0}, rows
