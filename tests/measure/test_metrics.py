"""The scores against scikit-learn, seqeval and counts by hand."""

import random

import numpy
import pytest
from seqeval.metrics import f1_score as seqeval_f1
from sklearn.metrics import f1_score

from lib.errors import StudyError
from lib.measure.metrics import interval, score

NER = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
UPOS = [
    "NOUN",
    "VERB",
    "ADP",
    "ADJ",
    "ADV",
    "AUX",
    "CCONJ",
    "SCONJ",
    "DET",
    "INTJ",
    "NUM",
    "PART",
    "PRON",
    "PROPN",
    "PUNCT",
    "SYM",
    "X",
]


def drawn(tags, sentences, seed):
    """Random gold tags and answers that agree in about two words of three."""
    chance = random.Random(seed)
    gold = [[chance.choice(tags) for _ in range(chance.randint(1, 9))] for _ in range(sentences)]
    return gold, [
        [tag if chance.random() < 0.66 else chance.choice(tags) for tag in row] for row in gold
    ]


def test_macro_f1_by_hand():
    scores = score("macro_f1", ["a", "a", "b", "c"], ["a", "b", "b", "b"])
    # a: precision 1, recall 1/2; b: precision 1/3, recall 1; c is never found and counts 0
    assert scores == {"macro_f1": pytest.approx((2 / 3 + 1 / 2 + 0) / 3), "accuracy": 0.5}


def test_macro_f1_leaves_out_labels_nobody_uses():
    assert score("macro_f1", [0, 1], [0, 1])["macro_f1"] == 1.0
    assert score("macro_f1", [0, 0], [0, 5])["macro_f1"] == pytest.approx(
        f1_score([0, 0], [0, 5], average="macro")
    )


@pytest.mark.parametrize("seed", range(20))
def test_macro_f1_is_that_of_scikit_learn_to_the_last_digit(seed):
    chance = random.Random(seed)
    labels, answers = range(chance.randint(1, 30)), range(chance.randint(1, 30))
    gold, predicted = ([chance.choice(side) for _ in range(99)] for side in (labels, answers))
    expected = f1_score(gold, predicted, average="macro", zero_division=0)
    assert score("macro_f1", gold, predicted)["macro_f1"] == expected


@pytest.mark.parametrize("seed", range(5))
def test_span_f1_is_that_of_seqeval(seed):
    gold, predicted = drawn(NER, 20, seed)
    assert score("span_f1", gold, predicted)["span_f1"] == pytest.approx(
        seqeval_f1(gold, predicted)
    )


def test_span_f1_reads_a_stray_inside_tag_as_the_start_of_a_span():
    assert score("span_f1", [["B-PER", "I-PER", "O"]], [["I-PER", "I-PER", "O"]])["span_f1"] == 1.0


def test_span_f1_needs_type_and_both_ends():
    gold = [("B-PER", "I-PER", "O", "B-LOC")]
    assert score("span_f1", gold, [("B-PER", "O", "O", "B-PER")]) == {
        "span_f1": 0.0,
        "accuracy": 0.5,
    }
    assert score("span_f1", gold, [("B-PER", "I-PER", "O", "O")])["span_f1"] == pytest.approx(2 / 3)


def test_no_span_anywhere_scores_zero():
    assert score("span_f1", [["O", "O"]], [["O", "O"]]) == {"span_f1": 0.0, "accuracy": 1.0}


@pytest.mark.parametrize("seed", range(5))
def test_tag_span_f1_is_seqeval_on_part_of_speech(seed):
    gold, predicted = drawn(UPOS, 30, seed)
    scores = score("accuracy", gold, predicted)
    with pytest.warns(UserWarning, match="seems not to be NE tag"):
        expected = seqeval_f1(gold, predicted)
    assert scores["tag_span_f1"] == pytest.approx(expected)
    words = [
        a == b
        for left, right in zip(gold, predicted, strict=True)
        for a, b in zip(left, right, strict=True)
    ]
    assert scores["accuracy"] == pytest.approx(sum(words) / len(words))


def test_tag_span_f1_is_not_accuracy():
    # One run NOUN NOUN, broken by one wrong word: two words of three are right, no run is.
    assert score("accuracy", [["NOUN", "NOUN", "NOUN"]], [["NOUN", "VERB", "NOUN"]]) == {
        "accuracy": pytest.approx(2 / 3),
        "tag_span_f1": 0.0,
    }


def test_no_answer_is_never_right():
    assert score("accuracy", [["NOUN", "VERB"]], [["NOUN", ""]])["accuracy"] == 0.5
    assert score("span_f1", [["O", "B-PER"]], [["O", ""]]) == {"span_f1": 0.0, "accuracy": 0.5}
    assert score("macro_f1", ["a", "b"], ["a", ""]) == {"macro_f1": 0.5, "accuracy": 0.5}


@pytest.mark.parametrize(
    ("metric", "gold", "predicted", "words"),
    [
        ("bleu", ["a"], ["a"], "metric of a task: 'bleu' is none of macro_f1"),
        ("macro_f1", [], [], "empty"),
        ("macro_f1", ["a", "b"], ["a"], "2 gold and 1 predicted"),
        ("macro_f1", ["a", ""], ["a", "b"], "Example 2 has an empty gold label"),
        (
            "accuracy",
            [["NOUN"], ["NOUN", "VERB"]],
            [["NOUN"], ["NOUN"]],
            "example 2 has 2 words and 1",
        ),
        ("span_f1", [["O", ""]], [["O", "O"]], "Example 1 has an empty gold label"),
        ("span_f1", [[], []], [[], []], "one label or word"),
    ],
)
def test_bad_input_is_refused(metric, gold, predicted, words):
    with pytest.raises(StudyError, match=words):
        score(metric, gold, predicted)


@pytest.mark.parametrize(
    ("metric", "tags"), [("macro_f1", None), ("span_f1", NER), ("accuracy", UPOS)]
)
def test_interval_is_that_of_scoring_each_drawn_test_set(metric, tags):
    gold, predicted = drawn(tags or ["a", "b", "c"], 40, 1)
    if tags is None:
        gold, predicted = [row[0] for row in gold], [row[0] for row in predicted]
    draws = numpy.random.default_rng(0).multinomial(40, [1 / 40] * 40, size=50)
    scores = []
    for draw in draws:
        rows = numpy.repeat(numpy.arange(40), draw)
        scores.append(
            score(metric, [gold[row] for row in rows], [predicted[row] for row in rows])[metric]
        )
    assert interval(metric, gold, predicted, rounds=50) == pytest.approx(
        numpy.quantile(scores, [0.025, 0.975])
    )


@pytest.mark.parametrize(
    ("metric", "tags"), [("macro_f1", None), ("span_f1", NER), ("accuracy", UPOS)]
)
def test_paired_interval_is_that_of_scoring_both_on_each_drawn_test_set(metric, tags):
    """Sentence by sentence; one of the two also predicts a label that the other never gives."""
    gold, first = drawn(tags or ["a", "b", "c"], 40, 1)
    second = [
        [random.Random(row).choice([tag, gold[row][0]]) for tag in answers]
        for row, answers in enumerate(first)
    ]
    if tags is None:
        gold, first, second = ([row[0] for row in side] for side in (gold, first, second))
        first[3] = "d"
    gaps = []
    for draw in numpy.random.default_rng(0).multinomial(40, [1 / 40] * 40, size=50):
        rows = numpy.repeat(numpy.arange(40), draw)
        ours, theirs = (
            score(metric, [gold[row] for row in rows], [side[row] for row in rows])[metric]
            for side in (first, second)
        )
        gaps.append(ours - theirs)
    found = interval(metric, gold, first, second, rounds=50)
    assert found == pytest.approx(numpy.quantile(gaps, [0.025, 0.975]))
    low, high = interval(metric, gold, second, first, rounds=50)
    assert (-high, -low) == pytest.approx(found)


def test_a_paired_interval_sees_what_two_single_ones_hide():
    """Predictions that differ in few sentences: the intervals overlap, the difference is sure."""
    gold, second = drawn(UPOS, 400, 2)
    first = [
        tags if row % 20 == 0 else answers
        for row, (tags, answers) in enumerate(zip(gold, second, strict=True))
    ]
    (_, high), (low, _) = interval("accuracy", gold, second), interval("accuracy", gold, first)
    assert low < high and interval("accuracy", gold, first, second)[0] > 0
    assert interval("accuracy", gold, first, first) == (0.0, 0.0)
    with pytest.raises(StudyError, match="2 gold and 1 predicted"):
        interval("macro_f1", ["a", "b"], ["a", "b"], ["a"])


def test_interval_holds_the_score_and_narrows_with_more_examples():
    gold, predicted = drawn(NER, 400, 2)
    few = interval("span_f1", gold[:40], predicted[:40])
    many = interval("span_f1", gold, predicted)
    assert many[0] < score("span_f1", gold, predicted)["span_f1"] < many[1]
    assert many[1] - many[0] < few[1] - few[0]


def test_drawn_test_sets_without_a_word_have_an_interval():
    """A quarter of the drawn sets holds the empty example only; 0 / 0 would spoil the quantiles."""
    low, high = interval("accuracy", [("A",), ()], [("A",), ()])
    assert (low, high) == (0.0, 1.0)
