"""Encoded examples against a slow walk over subwords; decoding counts every word."""

import pytest
import tokenizers
import transformers

from lib.data import encoding
from lib.data.tasks import Task
from lib.errors import StudyError
from lib.measure import metrics

SUBWORDS = ["a", "b", "c", "d", "x", "##a", "##b", "##c", "##d"]


def wordpiece():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {subword: number for number, subword in enumerate(special + SUBWORDS)}
    return transformers.BertTokenizer(vocab=vocab, do_lower_case=False, model_max_length=32)


def unigram():
    subwords = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "▁b", "▁", *"abcdx", "<mask>"]
    return transformers.XLMRobertaTokenizer(
        vocab=[(subword, -float(number)) for number, subword in enumerate(subwords)],
        model_max_length=32,
    )


TOKENIZERS = {"WordPiece": wordpiece, "Unigram": unigram}


def token_task(examples, labels=("O", "B-PER", "I-PER")):
    return Task("ner", "xyz", "token", "span_f1", labels, {"test": examples}, {})


EXAMPLES = [
    (("abcd", "a", "bc"), ("B-PER", "I-PER", "O")),
    (("x", "a b", "dd", "cccc"), ("O", "B-PER", "O", "O")),
]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("first", [True, False])
def test_encode_against_a_slow_walk(name, first):
    tokenizer, task = TOKENIZERS[name](), token_task(EXAMPLES)
    for encoded, (words, tags) in zip(
        encoding.encode(task, "test", tokenizer, 32, first), EXAMPLES, strict=True
    ):
        ids, labels = [tokenizer.cls_token_id], [-100]
        for word, tag in zip(words, tags, strict=True):
            subwords = tokenizer(word, add_special_tokens=False)[
                "input_ids"
            ]  # one word at a time, by itself
            ids += subwords
            labels += [task.labels.index(tag)] + [-100 if first else task.labels.index(tag)] * (
                len(subwords) - 1
            )
        assert encoded == {
            "input_ids": [*ids, tokenizer.sep_token_id],
            "labels": [*labels, -100],
            "attention_mask": [1] * (len(ids) + 1),
        }


@pytest.mark.parametrize("name", TOKENIZERS)
def test_decode_gives_back_what_was_labelled(name):
    tokenizer, task = TOKENIZERS[name](), token_task(EXAMPLES)
    for first in (True, False):
        answers = [
            [max(label, 0) for label in each["labels"]] + [1, 1]
            for each in encoding.encode(task, "test", tokenizer, 32, first)
        ]
        gold, predicted = encoding.decode(
            task, "test", tokenizer, 32, answers
        )  # two places of padding are not read
        assert gold == predicted == [tags for _, tags in EXAMPLES]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_lost_words_count_as_wrong(name):
    tokenizer = TOKENIZERS[name]()
    task = token_task([(("a",) * 6, ("B-PER",) * 6), (("a", "\u200b", "a"), ("O", "O", "B-PER"))])
    encoded = encoding.encode(task, "test", tokenizer, 5)
    assert all(len(each["input_ids"]) <= 5 for each in encoded)
    answers = [[max(label, 0) for label in each["labels"]] for each in encoded]
    gold, predicted = encoding.decode(task, "test", tokenizer, 5, answers)
    assert [len(tags) for tags in predicted] == [6, 3] == [len(tags) for tags in gold]
    kept = sum(tag != "" for tag in predicted[0])
    assert kept == sum(label != -100 for label in encoded[0]["labels"]) == 3
    assert predicted[0] == ("B-PER",) * 3 + ("",) * 3
    assert metrics.score("accuracy", gold[:1], predicted[:1])["accuracy"] == 3 / 6
    assert metrics.score("span_f1", gold[:1], predicted[:1])["span_f1"] == pytest.approx(
        2 * 3 / (6 + 3)
    )


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_share_of_words_cut_off(name):
    tokenizer = TOKENIZERS[name]()
    task = token_task([(("a",) * 6, ("O",) * 6), (("a", "b"), ("O", "O"))])
    assert encoding.cut_off(task, "test", tokenizer, 5) == pytest.approx(
        3 / 8
    )  # three words and the special tokens
    assert encoding.cut_off(task, "test", tokenizer, 32) == 0
    text = Task("tc", "xyz", "sequence", "macro_f1", ("x",), {"test": [("a a a a", "x")]}, {})
    assert encoding.cut_off(text, "test", tokenizer, 4) == 0.5


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("kind", ["token", "sequence"])
def test_a_tokenizer_with_a_limit_of_its_own_hides_no_loss(name, kind):
    """The whole is the whole text, not what the tokenizer's own limit leaves of it."""
    tokenizer = TOKENIZERS[name]()
    tokenizer.model_max_length = 5
    task = token_task([(("a",) * 20, ("O",) * 20)])
    if kind == "sequence":
        task = Task("tc", "xyz", kind, "macro_f1", ("x",), {"test": [("a " * 20, "x")]}, {})
    assert encoding.cut_off(task, "test", tokenizer, 5) == pytest.approx(17 / 20)
    assert encoding.cut_off(task, "test", tokenizer, 3) == pytest.approx(19 / 20)


@pytest.mark.parametrize("word", ["\u00ad", "\u200b", "\u00ad\u200b", "\u2060"])
def test_a_word_without_a_token_is_in_the_share_that_bounds_the_accuracy(word):
    """A perfect tagger has an accuracy of two thirds, and one third of the words is not seen."""
    tokenizer, task = wordpiece(), token_task([(("a", word, "b"), ("O", "O", "B-PER"))])
    assert encoding.cut_off(task, "test", tokenizer, 32) == pytest.approx(1 / 3)
    assert encoding.cut_off(task, "test", tokenizer, 3) == pytest.approx(2 / 3)
    labels = encoding.encode(task, "test", tokenizer, 32)[0]["labels"]
    gold, predicted = encoding.decode(
        task, "test", tokenizer, 32, [[max(label, 0) for label in labels]]
    )
    assert predicted == [("O", "", "B-PER")]
    assert metrics.score("accuracy", gold, predicted)["accuracy"] == pytest.approx(2 / 3)


def test_long_texts_are_measured_without_a_warning(caplog):
    task = Task("tc", "xyz", "sequence", "macro_f1", ("x",), {"test": [("a " * 99, "x")]}, {})
    transformers.utils.logging.enable_propagation()
    try:
        assert encoding.cut_off(task, "test", wordpiece(), 32) == pytest.approx(69 / 99)
    finally:
        transformers.utils.logging.disable_propagation()
    assert not caplog.records


@pytest.mark.parametrize("kind", ["token", "sequence"])
def test_a_split_without_any_token_is_refused(kind):
    examples = [("\u200b", "x"), ("\u00ad", "x")]
    task = Task("tc", "xyz", kind, "macro_f1", ("x",), {"test": examples}, {})
    if kind == "token":
        task = token_task([(("\u200b",), ("O",)), (("\u00ad", "\u200b"), ("O", "O"))])
    for call in (encoding.encode, encoding.cut_off):
        with pytest.raises(StudyError, match="no token of any text of the split test"):
            call(task, "test", wordpiece(), 32)


def test_a_word_without_subwords():
    tokenizer, task = (
        wordpiece(),
        token_task([(("a", "\u200b", "b"), ("O", "O", "B-PER"))]),
    )  # the normaliser drops a zero-width space
    encoded = encoding.encode(task, "test", tokenizer, 32)
    assert encoded[0]["labels"] == [-100, 0, 1, -100]
    assert encoding.decode(task, "test", tokenizer, 32, [[0, 0, 1, 0]])[1] == [("O", "", "B-PER")]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_sequence(name):
    tokenizer = TOKENIZERS[name]()
    task = Task(
        "sa",
        "xyz",
        "sequence",
        "macro_f1",
        ("bad", "good"),
        {"dev": [("a b a b a b a", "good"), ("c", "bad")]},
        {},
    )
    encoded = encoding.encode(task, "dev", tokenizer, 6)
    assert [each["labels"] for each in encoded] == [1, 0] and len(encoded[0]["input_ids"]) == 6
    assert encoded[1]["input_ids"] == tokenizer("c")["input_ids"] and set(encoded[1]) == {
        "input_ids",
        "attention_mask",
        "labels",
    }
    assert encoding.decode(task, "dev", tokenizer, 6, [1, 1]) == (["good", "bad"], ["good", "good"])


def test_encode_refusals():
    tokenizer, task = wordpiece(), token_task(EXAMPLES)
    for split, length, said in [
        ("dev", 9, "split of ner: 'dev' is none of test"),
        ("test", 33, "takes 3 to 32"),
        ("test", 2, "takes 3 to 32"),
    ]:
        with pytest.raises(StudyError, match=said):
            encoding.encode(task, split, tokenizer, length)
        with pytest.raises(StudyError, match=said):
            encoding.decode(task, split, tokenizer, length, [])


def test_predictions_for_other_examples_are_refused():
    tokenizer, task = wordpiece(), token_task(EXAMPLES)
    with pytest.raises(ValueError, match="shorter"):
        encoding.decode(task, "test", tokenizer, 9, [[0] * 9])
    with pytest.raises(IndexError):
        encoding.decode(task, "test", tokenizer, 9, [[0], [0]])


@pytest.mark.parametrize("prefix", [True, False])
def test_words_are_cut_as_in_a_text(prefix):
    """A byte-level BPE makes the space before a word a part of its first token, but for a file
    that puts a space before each word by itself.
    """
    own = tokenizers.Tokenizer(tokenizers.models.BPE())
    own.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet)
    own.train_from_iterator(["the cat sat on the mat"] * 9, trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=own, model_max_length=32)
    words = ("the", "cat", "sat")
    task = token_task([(words, ("O", "B-PER", "O"))])
    (found,) = encoding.encode(task, "test", fast, 32)
    assert found["input_ids"] == fast("the cat sat", add_special_tokens=False)["input_ids"]
    assert len(found["input_ids"]) == 3
    gold, predicted = encoding.decode(task, "test", fast, 32, [[0, 1, 2]])
    assert gold == [("O", "B-PER", "O")] and predicted == [("O", "B-PER", "I-PER")]
    assert encoding.cut_off(task, "test", fast, 32) == 0
