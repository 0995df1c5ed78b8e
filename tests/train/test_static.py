"""The baseline on the teacher's input vectors."""

import numpy
import pytest
import toys

from lib.data.tasks import Task
from lib.train import baselines, features

FAMILY, SENTENCES = toys.FAMILIES[0], toys.sentences()


def task(kind, splits, labels):
    return Task(
        name="toy",
        language="mlt",
        kind=kind,
        metric="macro_f1",
        labels=labels,
        splits=splits,
        origin={},
    )


@pytest.fixture(scope="module")
def teacher():
    return toys.model(FAMILY), toys.tokenizer(FAMILY)


def by_hand(model, tokenizer, text):
    """The mean of the rows of the embedding matrix, one token after another."""
    table = model.get_input_embeddings().weight.detach().numpy()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return sum(table[number] for number in ids) / len(ids)


def test_a_text_is_the_mean_of_its_tokens_vectors(teacher):
    texts = [*SENTENCES[:3], SENTENCES[0]]
    rows = features.vectors(texts, *teacher)
    for row, text in zip(rows, texts, strict=True):
        assert row == pytest.approx(by_hand(*teacher, text), abs=1e-6)


def test_a_text_without_a_token_is_zero(teacher):
    assert not features.vectors([""], *teacher).any()


def test_a_word_stands_between_its_neighbours(teacher):
    words = " ".join(SENTENCES).split()[:3]
    examples = [(tuple(words), ("a", "b", "a")), (tuple(words[:1]), ("b",))]
    data = task("token", {"train": examples, "dev": examples, "test": examples}, ("a", "b"))
    rows, size = features.static(data, *teacher)["train"], teacher[0].config.hidden_size
    assert rows.shape == (4, 3 * size)
    raw = [by_hand(*teacher, word) for word in words]
    none = numpy.zeros(size)
    wanted = numpy.array(
        [
            numpy.concatenate(row)
            for row in (
                (none, raw[0], raw[1]),
                (raw[0], raw[1], raw[2]),
                (raw[1], raw[2], none),
                (none, raw[0], none),
            )
        ]
    )
    wanted = (wanted - wanted.mean(0)) / (wanted.std(0) + 1e-6) / (3 * size) ** 0.5
    assert rows == pytest.approx(wanted, abs=1e-5)


def test_labels_that_the_vectors_tell_apart_are_learnt(teacher):
    vocabulary = sorted(teacher[1].get_vocab())[50:60]
    texts = [(" ".join(vocabulary[:5]), "a"), (" ".join(vocabulary[5:]), "b")] * 4
    data = task("sequence", {"train": texts, "dev": texts, "test": texts}, ("a", "b"))
    result = baselines.answer(data, "static", teacher)
    assert result["scores"]["macro_f1"] == 1.0
    config = teacher[0].config
    table = config.vocab_size * config.hidden_size  # it is stored too
    assert result["parameters"] == 2 * (config.hidden_size + 1) + table
