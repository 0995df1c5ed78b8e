"""How much of a text a tokenizer reads, counted by hand, and the texts that are refused."""

import pytest
import toys
import transformers

from lib.data import corpora
from lib.errors import StudyError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b", "macka"]
READ, FAR = "a b a b", "ድመቱ ተኝቷል"  # the second in letters that no toy has


@pytest.fixture(scope="module")
def wordpiece():
    """Knows `a`, `b`, `ab`, `abb` and `macka`."""
    vocab = {word: number for number, word in enumerate(WORDS)}
    return transformers.BertTokenizer(vocab=vocab, do_lower_case=False, model_max_length=32)


def test_shares_by_hand(wordpiece):
    # of 10 tokens c is unknown; of 8 words the last of each line is beyond the first 6 - 2 tokens
    said = corpora.reading(["a b b a b", "c abb b"], wordpiece, 6)
    assert said == {"unknown_tokens": pytest.approx(1 / 10), "words_cut_off": pytest.approx(2 / 8)}
    assert corpora.reading(["a b b a b", "a abb b"], wordpiece, 7)["words_cut_off"] == 0
    assert corpora.reading([READ], wordpiece, 9) == {"unknown_tokens": 0, "words_cut_off": 0}


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_unknown_tokens_are_counted_by_id(family):
    """Unigram tokens hold the unknown text itself, so their names show nothing."""
    tokenizer = toys.tokenizer(family)
    sentences = [*toys.sentences()[:8], FAR]
    assert corpora.reading(toys.sentences(), tokenizer, 64)["unknown_tokens"] == 0
    ids = tokenizer(sentences, add_special_tokens=False)["input_ids"]
    unknown = [[token == tokenizer.unk_token_id for token in row] for row in ids]
    assert sum(map(sum, unknown)) == sum(unknown[-1]) > 0
    share = sum(unknown[-1]) / sum(map(len, ids))
    assert corpora.reading(sentences, tokenizer, 64)["unknown_tokens"] == pytest.approx(share)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_a_text_that_the_teacher_cannot_read_is_refused(family, monkeypatch):
    tokenizer = toys.tokenizer(family)
    with pytest.raises(StudyError, match="has not the letters or words of the text; take another"):
        corpora.reading([FAR] * 3, tokenizer, 64)
    monkeypatch.setenv("STUDY_ALLOW_UNKNOWN", "1")
    assert (
        corpora.reading([FAR] * 3, tokenizer, 64)["unknown_tokens"] >= 0.5
    )  # Unigram: "▁" is known


def test_the_limit_is_a_fifth(wordpiece):
    assert corpora.reading(["a b a b c"], wordpiece, 9)["unknown_tokens"] == 1 / 5
    with pytest.raises(StudyError, match=r"^40\.0% of the tokens are unknown: "):
        corpora.reading(["a b c c a"], wordpiece, 9)


def test_the_vocabulary_of_an_uncased_teacher_is_named(wordpiece):
    with pytest.raises(StudyError, match=r"capitals and accents \(it is uncased\); take another"):
        corpora.reading(["Mačka a Macka"], wordpiece, 9)


def test_long_texts_are_read_at_equal_distances(wordpiece):
    """Every second of 4,000 sentences, the others would be refused."""
    assert corpora.reading(["a", "c"] * 2000, wordpiece, 9)["unknown_tokens"] == 0
