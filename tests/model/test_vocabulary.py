"""Smaller vocabulary: counts against a naive loop, trimmed tokenizers, logits of kept tokens."""

import copy
import re
from collections import Counter

import numpy
import pytest
import torch
import toys
from tokenizers import Tokenizer, normalizers
from tokenizers import models as pieces
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lib.errors import StudyError
from lib.model import encoder, mlm_head, sizes, vocabulary

pytestmark = pytest.mark.parametrize("family", toys.FAMILIES)
COMMON = toys.sentences()[:12]  # what a trimmed vocabulary is chosen for


ODD = [
    "",
    " ",
    "  a  b ",
    " \u0301kotba",
    "a\u3000b\u00a0c\td\ne\u200bf\u2028g\x1ch\x00i",
    "[MASK] x[SEP]y <mask> z</s>a",
    "c\u030c c \u030c",
    "日本 語",
    "\ufb01 ½ ﷺ",
    "▁a ▁ b▁c ##d",
]  # spaces of all kinds, single marks, special tokens


def chosen(family, more=20, counting="count"):
    """kept_ids: what must stay and the `more` most frequent pieces of COMMON."""
    tokenizer = toys.tokenizer(family)
    always = vocabulary.single_characters(tokenizer, COMMON)
    return vocabulary.choose(
        vocabulary.count(tokenizer, COMMON, counting), tokenizer, len(always) + more, always
    )


def covered(family, kept):
    """Sentences all of whose pieces are kept, and the others."""
    whole = [
        set(toys.tokenizer(family)(each)["input_ids"]) <= set(kept.tolist())
        for each in toys.sentences()
    ]
    return [
        [each for each, good in zip(toys.sentences(), whole, strict=True) if good is wanted]
        for wanted in (True, False)
    ]


@pytest.mark.parametrize("counting", ["count", "documents"])
@pytest.mark.parametrize(
    ("at_once", "remembered"), [(7, 5), (2**14, 2**20)]
)  # in parts, forgetting words; all at once
def test_counting_against_a_naive_loop(family, counting, at_once, remembered, monkeypatch):
    monkeypatch.setattr(vocabulary, "_PART", at_once)
    monkeypatch.setattr(vocabulary, "_WORDS", remembered)
    tokenizer, expected = toys.tokenizer(family), Counter()
    texts = [f"{each} {each}" for each in toys.sentences()[:20]] + ODD
    for text in texts:
        found = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
        expected.update(set(found) if counting == "documents" else found)
    tokenizer(
        texts, truncation=True, padding=True, max_length=4
    )  # such a call leaves its settings in the tokenizer
    counts = vocabulary.count(tokenizer, (text for text in texts), counting)
    assert vocabulary._splits_at_spaces(tokenizer)
    assert {
        number: count for number, count in enumerate(counts.tolist()) if count
    } == expected and len(counts) == len(tokenizer)
    assert vocabulary.count(tokenizer, COMMON, counting).max() <= len(COMMON) or counting == "count"


def test_single_characters(family):
    tokenizer = toys.tokenizer(family)
    found = {
        tokenizer.convert_ids_to_tokens(number)
        for number in vocabulary.single_characters(tokenizer, ["ħa b9", "Ω"])
    }
    every = [
        form
        for form in tokenizer.get_vocab()
        if form.removeprefix("##").removeprefix("▁") in {"ħ", "a", "b", "9", ""}
    ]
    assert found == set(every) and any("ħ" in each for each in found)


def test_single_characters_are_those_the_tokenizer_sees(family):
    """Two characters that the tokenizer composes into one letter: the letter must stay."""
    tokenizer = copy.deepcopy(toys.tokenizer(family))
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    found = tokenizer.convert_ids_to_tokens(
        sorted(vocabulary.single_characters(tokenizer, ["c\u030c"]))
    )
    assert any(each.endswith("č") for each in found)


@pytest.mark.parametrize("counting", ["count", "documents"])
def test_the_choice_against_a_naive_one(family, counting):
    tokenizer = toys.tokenizer(family)
    counts, always = (
        vocabulary.count(tokenizer, COMMON, counting),
        vocabulary.single_characters(tokenizer, COMMON),
    )
    special = set(tokenizer.all_special_ids)
    kept = vocabulary.choose(counts, tokenizer, len(always - special) + 9, always)
    others = [number for number in range(len(tokenizer)) if number not in special | always]
    expected = (
        special | always | set(sorted(others, key=lambda number: (-counts[number], number))[:9])
    )
    assert kept.tolist() == sorted(expected) and len(kept) == len(always - special) + 9 + len(
        special
    )
    assert vocabulary.coverage(counts, kept) == pytest.approx(
        sum(counts[n] for n in expected) / sum(counts)
    )


def test_equal_counts_go_to_the_lower_id_and_everything_can_be_kept(family):
    tokenizer = toys.tokenizer(family)
    special, counts = set(tokenizer.all_special_ids), numpy.ones(len(tokenizer), dtype=int)
    free = [number for number in range(len(tokenizer)) if number not in special]
    assert vocabulary.choose(counts, tokenizer, 10, set()).tolist() == sorted(
        special | set(free[:10])
    )
    assert vocabulary.choose(counts, tokenizer, len(free), set(free)).tolist() == list(
        range(len(tokenizer))
    )
    assert vocabulary.coverage(counts, numpy.arange(len(tokenizer))) == 1


def test_numbers_that_cannot_be_kept(family):
    tokenizer = toys.tokenizer(family)
    available = len(tokenizer) - 5
    for wanted, always in ((available + 1, set()), (40_000, set()), (2, set(range(10, 16)))):
        with pytest.raises(
            StudyError,
            match=re.escape(
                f"{wanted} tokens were asked for beside the 5 special ones; the vocabulary has "
                f"{available}, and {len(always)} single characters must stay"
            ),
        ):
            vocabulary.choose(numpy.ones(len(tokenizer)), tokenizer, wanted, always)


def test_a_trimmed_tokenizer_cuts_kept_text_as_before(family, tmp_path):
    old, kept = toys.tokenizer(family), chosen(family)
    before = old.backend_tokenizer.to_str()
    new = vocabulary.trim_tokenizer(old, kept)
    new.save_pretrained(tmp_path)
    good, bad = covered(family, kept)
    assert len(good) >= 3 and len(bad) >= 3 and old.backend_tokenizer.to_str() == before
    for trimmed in (new, AutoTokenizer.from_pretrained(tmp_path)):
        assert len(trimmed) == len(kept) == len(trimmed.get_vocab()) and type(trimmed) is type(old)
        for number, piece in enumerate(trimmed.convert_ids_to_tokens(range(len(kept)))):
            assert piece == old.convert_ids_to_tokens(int(kept[number]))
        for text in good:
            assert trimmed.tokenize(text) == old.tokenize(text)
            assert kept[trimmed(text)["input_ids"]].tolist() == old(text)["input_ids"]
            assert kept[trimmed(text, text)["input_ids"]].tolist() == old(text, text)["input_ids"]
        for text in bad:
            assert kept[trimmed(text)["input_ids"]].tolist() != old(text)["input_ids"]
        for name in ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"):
            assert getattr(trimmed, name) == getattr(old, name) and kept[
                getattr(trimmed, f"{name}_id")
            ] == getattr(old, f"{name}_id")
        assert trimmed.model_max_length == old.model_max_length
        assert trimmed.unk_token_id not in [
            number for text in COMMON for number in trimmed(text)["input_ids"]
        ]


def test_all_pieces_kept_is_the_same_tokenizer(family):
    old = toys.tokenizer(family)
    new = vocabulary.trim_tokenizer(old, numpy.arange(len(old)))
    assert (
        new.get_vocab() == old.get_vocab()
        and new(toys.sentences())["input_ids"] == old(toys.sentences())["input_ids"]
    )


def test_logits_of_kept_tokens_stay_through_saving(family, tmp_path):
    old, model, kept = toys.tokenizer(family), toys.model(family), chosen(family)
    before = toys.bits(model)
    encoder.save(
        vocabulary.cut(model, kept), vocabulary.trim_tokenizer(old, kept), tmp_path / "small", ""
    )
    small, new = encoder.load(tmp_path / "small")
    assert small.config.vocab_size == len(
        kept
    ) and small.num_parameters() == sizes.count_parameters(small.config)
    for text in covered(family, kept)[0]:
        expected = model(**old(text, return_tensors="pt")).logits[..., kept]
        assert torch.allclose(small(**new(text, return_tensors="pt")).logits, expected, atol=1e-5)
    assert (
        toys.same(toys.bits(model), before)
        and mlm_head.readout(small)[0] is small.get_input_embeddings().weight
    )


def test_a_model_with_more_embeddings_than_its_tokenizer_has_pieces(family):
    tokenizer, model = (
        toys.tokenizer(family),
        toys.model(family, vocab_size=len(toys.tokenizer(family)) + 13),
    )
    kept = vocabulary.choose(
        vocabulary.count(tokenizer, COMMON, "count"), tokenizer, len(tokenizer) - 5, set()
    )
    small = vocabulary.cut(model, kept)
    assert (
        small.config.vocab_size == len(vocabulary.trim_tokenizer(tokenizer, kept)) == len(tokenizer)
    )
    ids = tokenizer(COMMON[0], return_tensors="pt")
    assert torch.allclose(
        small(**ids).logits, model(**ids).logits[..., : len(tokenizer)], atol=1e-5
    )


def test_other_tokenizers_are_refused(family):
    special = toys.tokenizer(family).special_tokens_map
    numbers = {token: number for number, token in enumerate(dict.fromkeys(special.values()))}
    raw = Tokenizer(pieces.WordLevel(numbers, unk_token=special["unk_token"]))
    other = PreTrainedTokenizerFast(tokenizer_object=raw, **special)
    with pytest.raises(
        StudyError,
        match="a WordLevel tokenizer cannot be trimmed; WordPiece, Unigram and BPE tokenizers can",
    ):
        vocabulary.trim_tokenizer(other, numpy.arange(len(other)))
