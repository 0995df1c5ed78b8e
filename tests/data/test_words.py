"""The words of tokens: the tokenizer's own, and where it cuts none, those between white space."""

import lzma

import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, processors
from transformers import BertTokenizer, PreTrainedTokenizerFast

from lib import files
from lib.data import corpora, encoding
from lib.data.tasks import Task
from lib.data.words import word_ids

SHARED = files.ROOT.parent / "shared" / "data"
TEXTS = [*toys.sentences(), "ħ 𓀀 \u00a0x", "犬と猫が 家にいる。", " a  b ", "a\n\tb", "\u3000", ""]


def words(tokenizer, texts):
    return word_ids(texts, tokenizer(texts).encodings, tokenizer)


def slow_walk(text, encoding):
    """The word of each token: that of its first character which is no space, found one by one."""
    number_of, number = [], -1
    for place, character in enumerate(text):
        begins = place == 0 or text[place - 1].isspace()
        number += begins and not character.isspace()
        number_of.append(None if character.isspace() else number)
    found = []
    for (begin, _), added in zip(encoding.offsets, encoding.special_tokens_mask, strict=True):
        inside = [each for each in number_of[begin:] if each is not None]
        found.append(None if added else inside[0] if inside else max(number, 0))
    return found


def test_words_by_hand():
    pieces = ["<unk>", *"▁abc,\t\n", "▁▁", "ab", "▁ab"]
    pairs = [("▁", "▁"), ("a", "b"), ("▁", "ab")]
    raw = Tokenizer(models.BPE({each: at for at, each in enumerate(pieces)}, pairs))
    raw.normalizer = normalizers.Replace(" ", "▁")
    raw.add_special_tokens(["<end>"])
    raw.post_processor = processors.TemplateProcessing(
        single="$A <end>", special_tokens=[("<end>", raw.token_to_id("<end>"))]
    )
    own, text = PreTrainedTokenizerFast(tokenizer_object=raw), " ab  c,\t b\nab "
    tokens = ["▁ab", "▁▁", "c", ",", "\t", "▁", "b", "\n", "ab", "▁", "<end>"]
    assert own(text).tokens() == tokens
    assert words(own, [text]) == [[0, 1, 1, 1, 2, 2, 2, 3, 3, 3, None]]
    assert words(own, ["", "  "]) == [[None], [0, None]]


def test_the_library_takes_a_text_without_pre_tokens_for_one_word():
    """What is mended here. If this fails, the library cuts words itself."""
    for encoded in toys.gemma()(toys.sentences()).encodings:
        assert {*encoded.word_ids} == {0, None}


def test_each_token_has_the_word_that_a_slow_walk_finds():
    own = toys.gemma()
    for text, numbers in zip(TEXTS, words(own, TEXTS), strict=True):
        assert numbers == slow_walk(text, own(text).encodings[0])
        if text.strip():
            assert {*numbers} - {None} == {*range(len(text.split()))}


@given(st.text(st.sampled_from(" \n\u00a0aąż,犬𓀀-"), max_size=12))
@settings(max_examples=100)
def test_any_text_has_its_words(text):
    own = toys.gemma()
    (numbers,) = words(own, [text])
    assert numbers == slow_walk(text, own(text).encodings[0])


@pytest.mark.parametrize("family", toys.EVERY)
def test_tokenizers_that_cut_words_keep_their_own(family):
    own = toys.tokenizer(family)
    expected = [own(text).word_ids() for text in TEXTS]
    assert words(own, TEXTS) == expected
    assert max(max(row[1:-1], default=0) for row in expected) > 2


def test_words_of_a_text_that_was_cut_short():
    own, text = toys.gemma(), "mačka spí pod stolom"
    whole, short = words(own, [text])[0], own([text], truncation=True, max_length=6).encodings
    assert word_ids([text], short, own) == [[*whole[:5], None]]


def test_what_the_length_hides_is_counted_in_words():
    """Without them a text would be one word, and nothing of it would be hidden."""
    own, text = toys.gemma(), "pod stolom mačka spí"
    numbers = words(own, [text])[0]
    seen = len({*numbers[:5]} - {None})  # of five tokens beside the two special ones
    assert 0 < seen < 4
    said = corpora.reading([text], own, 6)["words_cut_off"]
    assert said == pytest.approx(1 - len({*numbers[1:5]}) / 4) and said > 0
    task = Task("tc", "slk", "sequence", "macro_f1", ("x",), {"test": [(text, "x")]}, {})
    assert encoding.cut_off(task, "test", own, 6) == said
    assert encoding.cut_off(task, "test", own, 40) == 0


def test_labels_stand_at_the_first_token_of_each_word():
    own = toys.gemma()
    given = ("Mačka", "spí", ",", "pod", "犬", "stolom")
    tags = ("B", "O", "B", "O", "O", "B")
    task = Task("ner", "slk", "token", "span_f1", ("O", "B"), {"test": [(given, tags)]}, {})
    (found,) = encoding.encode(task, "test", own, 40)
    assert found["input_ids"] == own(" ".join(given))["input_ids"]
    begins = [" ".join(given[:number]).count("") - 1 for number in range(len(given))]
    places = [begin for begin, _ in own(" ".join(given)).encodings[0].offsets]
    first = [places.index(begin, 1) for begin in begins]  # the space before is a part of it
    expected = [encoding.IGNORED] * len(places)
    for place, tag in zip(first, tags, strict=True):
        expected[place] = task.labels.index(tag)
    assert found["labels"] == expected
    answers = [max(label, 0) for label in found["labels"]]
    assert encoding.decode(task, "test", own, 40, [answers]) == ([tags], [tags])
    assert encoding.cut_off(task, "test", own, 40) == 0


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared text is not there")
@pytest.mark.parametrize("language", ["slk", "mlt", "ara", "amh", "ell"])
def test_words_of_real_text(language):
    """mBERT's WordPiece has its own words as before, and a tokenizer that cuts none has as many
    words as stand between the spaces.
    """
    with lzma.open(SHARED / "corpora" / f"{language}.txt.xz", "rt", encoding="utf-8") as file:
        texts = [line.rstrip("\n") for line, _ in zip(file, range(300), strict=False)]
    pieces = (SHARED / "tokenizers" / "mbert-cased-vocab.txt").read_text(encoding="utf-8")
    numbers = {piece: number for number, piece in enumerate(pieces.splitlines())}
    mbert, own = BertTokenizer(vocab=numbers, do_lower_case=False), toys.gemma()
    assert words(mbert, texts) == [mbert(text).word_ids() for text in texts]
    for text, found in zip(texts, words(own, texts), strict=True):
        assert {*found} - {None} == {*range(len(text.split()))}
