"""Test examples in training text: by hand, against a slow search, and on real text."""

import random

import pytest

from lib.data import leaks
from lib.facts import Source

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


def test_a_sign_of_its_own_inside_a_word_cuts_nothing():
    """Four words of Hindi and four of Yoruba are too few; five are enough."""
    for line in ("हिन्दी किताब पढ़ती है लड़की", "ọmọ́bìnrin ń ka ìwé ẹ̀kọ́"):
        words = line.split()
        assert leaks.held([" ".join(words[:4]), line], [f"x {line} y"]) == [1]


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


def test_the_table_counts_what_the_text_contains(tmp_path):
    (tmp_path / "corpora" / "xyz").mkdir(parents=True)
    (tmp_path / "tasks" / "sentiment" / "xyz").mkdir(parents=True)
    for part in ("train", "dev", "test"):
        (tmp_path / "corpora" / "xyz" / f"{part}.txt").write_text(f"Nothing.\n{LINE}\n")
        (tmp_path / "tasks" / "sentiment" / "xyz" / f"{part}.tsv").write_text(
            f"text\tlabel\n{LINE.upper()}\tgood\nXi ħaġa oħra.\tbad\n"
        )
    source = Source("local", tmp_path)
    assert leaks.table(["xyz"], ["sa"], source, 0) == [("xyz", "sa", 2, 1)]
    assert leaks.table(["xyz"], ["sa"], source, 1) == [("xyz", "sa", 2, 0)]


@pytest.mark.slow
def test_no_test_sentence_is_in_the_real_text(shared):
    languages, names = ["mlt", "slk", "swh"], ["tc", "sa", "ner", "pos"]
    rows = leaks.table(languages, names, Source("local", shared / "data"), 0)
    assert len(rows) == 12 and {row[3] for row in rows} == {0}, rows
