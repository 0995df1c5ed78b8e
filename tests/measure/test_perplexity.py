"""Pseudo-perplexity against masking one token at a time."""

import copy
import math
import re

import numpy
import pytest
import torch
import toys
from tokenizers import processors

from lib.errors import StudyError
from lib.measure import masking, perplexity
from lib.model import mlm_head, sizes, vocabulary

pytestmark = pytest.mark.slow

families = pytest.mark.parametrize("family", toys.FAMILIES)
SENTENCES = toys.sentences()[:9]


def one_at_a_time(
    model, tokenizer, sentence, special=False, to_the_right=False, words=None, added=(0, -1)
):
    """Nats of each token, by the whole model on one unpadded copy of the sentence for each.

    words: the word of each token, if it is not what the library says; added: the places of the
    special tokens.
    """
    encoding = tokenizer(sentence, truncation=True, max_length=sizes.max_tokens(model.config))
    ids, words, found = encoding["input_ids"], words or encoding.word_ids(), []
    for place, true in enumerate(ids):
        if place in [each % len(ids) for each in added] and not special:
            continue
        hide = [
            other
            for other in range(place, len(ids))
            if to_the_right and words[other] == words[place] is not None
        ] or [place]
        hidden = [
            tokenizer.mask_token_id if other in hide else each for other, each in enumerate(ids)
        ]
        with torch.no_grad():
            found.append(
                -model(input_ids=torch.tensor([hidden]))
                .logits[0, place]
                .log_softmax(-1)[true]
                .item()
            )
    return found


@families
def test_bfloat16_rounds_and_float32_does_not(family):
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    exact, rounded = (
        perplexity.pseudo_perplexity(model, tokenizer, SENTENCES, precision=kind)
        for kind in ("float32", "bfloat16")
    )
    assert exact == perplexity.pseudo_perplexity(model, tokenizer, SENTENCES)
    assert (
        exact["bits_per_word"]
        != rounded["bits_per_word"]
        == pytest.approx(exact["bits_per_word"], rel=0.02)
    )


@families
@pytest.mark.parametrize("tokens", [1, 64, 8192])
def test_equals_one_mask_at_a_time_however_batched(family, tokens, monkeypatch):
    monkeypatch.setattr(masking, "TOKENS", tokens)
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    reference = [one_at_a_time(model, tokenizer, sentence) for sentence in SENTENCES]
    found = perplexity.pseudo_perplexity(model, tokenizer, SENTENCES)
    count, total = sum(map(len, reference)), sum(map(sum, reference))
    assert found["tokens"] == count
    assert math.log(found["pseudo_perplexity"]) == pytest.approx(total / count, rel=1e-5)
    for sentence, nats in zip(SENTENCES, reference, strict=True):
        assert [
            value for _, value in perplexity.token_surprisal(model, tokenizer, sentence)
        ] == pytest.approx(nats, rel=1e-4)


@families
def test_left_to_right_hides_the_rest_of_the_word(family):
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    reference = [
        one_at_a_time(model, tokenizer, sentence, to_the_right=True) for sentence in SENTENCES
    ]
    found = perplexity.pseudo_perplexity(model, tokenizer, SENTENCES, variant="left_to_right")
    total = sum(map(sum, reference))
    assert found["bits_per_character_left_to_right"] == pytest.approx(
        total / found["characters"] / math.log(2), rel=1e-5
    )
    assert "pseudo_perplexity" not in found
    alone = perplexity.token_surprisal(model, tokenizer, SENTENCES[3])
    whole = perplexity.token_surprisal(model, tokenizer, SENTENCES[3], variant="left_to_right")
    same = [abs(left - right) < 1e-5 for (_, left), (_, right) in zip(alone, whole, strict=True)]
    assert any(same) and not all(same)  # words of one piece have nothing more to hide


@pytest.mark.parametrize("ending", [True, False])
def test_left_to_right_where_the_tokenizer_cuts_no_words(ending):
    """A word begins where a token holds the space before it. Some of these tokenizers add no token
    at the end of a text.
    """
    own = copy.deepcopy(toys.gemma())
    if not ending:
        own.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", own.bos_token_id)]
        )
    model, expected, tokens = toys.model("modernbert", own=own), 0, 0
    for sentence in SENTENCES:
        words = [0]
        for token in own(sentence).tokens()[1:]:
            words.append(words[-1] + (token.startswith("▁") or token == "<eos>"))
        assert len({*words[1:-1]}) == len(sentence.split())
        given = {"words": words, "added": (0, -1) if ending else (0,)}
        nats = one_at_a_time(model, own, sentence, to_the_right=True, **given)
        expected, tokens = expected + sum(nats), tokens + len(nats)
    found = perplexity.pseudo_perplexity(model, own, SENTENCES, variant="left_to_right")
    assert found["tokens"] == tokens
    value = math.log(found["pseudo_perplexity_left_to_right"])
    assert value == pytest.approx(expected / tokens, rel=1e-5)


@families
def test_authors_variant_masks_special_tokens_and_divides_by_words(family):
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    plain = perplexity.pseudo_perplexity(model, tokenizer, ["a mačka, jorqod", "paka!"])
    found = perplexity.pseudo_perplexity(
        model, tokenizer, ["a mačka, jorqod", "paka!"], variant="authors"
    )
    first, second = (
        one_at_a_time(model, tokenizer, sentence, special=True)
        for sentence in ("a mačka, jorqod", "paka!")
    )
    expected = (
        math.exp(sum(first) / len(first)) / 4 + math.exp(sum(second) / len(second)) / 2
    ) / 2  # a, mačka, comma, jorqod; paka, !
    assert found.pop("pseudo_perplexity_authors") == pytest.approx(expected, rel=1e-4)
    assert found == pytest.approx(plain, rel=1e-6)


@families
def test_units_follow_from_one_sum(family):
    found = perplexity.pseudo_perplexity(toys.model(family), toys.tokenizer(family), SENTENCES[:4])
    bits = math.log2(found["pseudo_perplexity"]) * found["tokens"]
    texts = [" ".join(sentence.split()) for sentence in SENTENCES[:4]]
    assert found["characters"] == sum(map(len, texts)) and found["words"] == sum(
        len(text.split()) for text in texts
    )
    assert found["bits_per_word"] * found["words"] == pytest.approx(bits)
    assert found["bits_per_character"] * found["characters"] == pytest.approx(bits)


@families
def test_a_model_that_knows_nothing_is_as_perplexed_as_its_vocabulary_is_large(family):
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    with torch.no_grad():
        for tensor in mlm_head.readout(model):
            tensor.zero_()
    found = perplexity.pseudo_perplexity(model, tokenizer, SENTENCES, variant="authors")
    assert found["pseudo_perplexity"] == pytest.approx(model.config.vocab_size, rel=1e-5)
    words = [
        len(re.findall(r"[^\W]+|[^\w\s]", text.covered))
        for text in masking.encode(SENTENCES, tokenizer, model.config)
    ]
    expected = model.config.vocab_size * numpy.mean([1 / count for count in words])
    assert found["pseudo_perplexity_authors"] == pytest.approx(expected, rel=1e-5)


@families
def test_counts_of_characters_and_words_do_not_depend_on_the_vocabulary(family):
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    short = [sentence for sentence in SENTENCES if len(sentence) < 30]
    token_count = vocabulary.count(tokenizer, short, "count")
    kept = vocabulary.choose(
        token_count, tokenizer, 90, vocabulary.single_characters(tokenizer, short)
    )
    trimmed, small = vocabulary.cut(model, kept), vocabulary.trim_tokenizer(tokenizer, kept)
    whole, part = (
        perplexity.pseudo_perplexity(*each, short)
        for each in ((model, tokenizer), (trimmed, small))
    )
    assert part["tokens"] >= whole["tokens"]
    for name in ("characters", "words", "sentences", "cut_sentences"):
        assert part[name] == whole[name]


@families
def test_sentence_order_does_not_matter(family):
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    found = perplexity.pseudo_perplexity(model, tokenizer, SENTENCES)
    assert perplexity.pseudo_perplexity(model, tokenizer, SENTENCES[::-1]) == pytest.approx(
        found, rel=1e-6
    )
    assert not model.training


def test_spaces_at_the_ends_and_doubled_do_not_count():
    model, tokenizer = toys.model("bert"), toys.tokenizer("bert")
    spaced = [f"  {sentence.replace(' ', '  ')} " for sentence in SENTENCES]
    assert perplexity.pseudo_perplexity(model, tokenizer, spaced) == perplexity.pseudo_perplexity(
        model, tokenizer, SENTENCES
    )


@families
def test_long_sentences_are_cut_and_counted_as_far_as_they_go(family):
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    long = " ".join(["jorqod"] * 60)
    found = perplexity.pseudo_perplexity(model, tokenizer, [long, "jorqod"])
    assert found["cut_sentences"] == 1 and found["tokens"] < sizes.max_tokens(model.config) * 2
    text = masking.encode([long], tokenizer, model.config, 10)[0]
    assert (
        text.cut
        and len(text.ids) == 10
        and long.startswith(text.covered)
        and len(text.covered) < len(long)
    )
    assert tokenizer(text.covered)["input_ids"][:-1] == text.ids[:-1]
    with pytest.raises(StudyError, match=f"3 to {sizes.max_tokens(model.config)}"):
        perplexity.pseudo_perplexity(model, tokenizer, ["a"], max_length=1000)


def test_unknown_pieces_count_and_are_reported():
    found = perplexity.pseudo_perplexity(toys.model("bert"), toys.tokenizer("bert"), ["a ☃ a"])
    assert found["unknown_tokens"] == 1 and found["tokens"] == 3


@pytest.mark.parametrize(
    "given, message",
    [
        ({"variant": "mine"}, "single, left_to_right, authors"),
        ({"sentences": []}, "no sentences"),
        ({"sentences": ["a", "  "]}, "sentence 2 of 2"),
    ],
)
def test_what_cannot_be_measured_is_said(given, message):
    arguments = {"sentences": ["a"]} | given
    with pytest.raises(StudyError, match=message):
        perplexity.pseudo_perplexity(toys.model("bert"), toys.tokenizer("bert"), **arguments)


def test_a_broken_model_is_refused():
    model = toys.model("bert")
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.bias[0] = math.nan
    with pytest.raises(StudyError, match="not finite"):
        perplexity.pseudo_perplexity(model, toys.tokenizer("bert"), ["a"])


@families
def test_readout_in_parts_changes_nothing(family, monkeypatch):
    model, gold = toys.model(family), torch.tensor([4, 9, 9, 30, 7])
    hidden = torch.randn(5, model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    nats, rank = masking.judge(model, hidden, gold)
    monkeypatch.setattr(masking, "READOUT", 2 * model.config.vocab_size)
    parts = masking.judge(model, hidden, gold)
    assert torch.allclose(parts[0], nats, atol=1e-6) and parts[1].equal(rank)
    logits = mlm_head.logits(model, hidden)
    assert torch.allclose(nats, logits.log_softmax(-1)[range(5), gold], atol=1e-6)
    assert rank.tolist() == [
        sorted(row.tolist(), reverse=True).index(row[true]) + 1
        for row, true in zip(logits, gold, strict=True)
    ]


@families
def test_batches_stay_small_and_hide_each_token_once(family, monkeypatch):
    monkeypatch.setattr(masking, "TOKENS", 100)
    tokenizer, model = toys.tokenizer(family), toys.model(family)
    texts = masking.encode(SENTENCES, tokenizer, model.config)
    seen = []
    for batch in masking.batches(texts, tokenizer):
        assert batch["input_ids"].numel() <= 100
        assert ((batch["input_ids"] == tokenizer.mask_token_id).sum(1) == 1).all()
        assert batch["attention_mask"].sum(1).tolist() == [
            len(texts[number].ids) for number in batch["text"]
        ]
        seen += zip(batch["text"].tolist(), batch["position"].tolist(), strict=True)
    assert sorted(seen) == [
        (number, place)
        for number, text in enumerate(texts)
        for place in range(1, len(text.ids) - 1)
    ]
