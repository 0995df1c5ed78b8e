"""Every token of a text masked once, for pseudo-perplexity and logit lens (paper, step 6).

Each token of each sentence is masked while all others are seen. Sentences of like length go
together. Only the masked position is read out, in parts, so that memory depends neither on the
text nor on the vocabulary.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from lib.data.batches import check_length, padded
from lib.data.words import word_ids
from lib.errors import StudyError
from lib.model import mlm_head
from lib.model.sizes import max_tokens

TOKENS = 8192  # B * T of one batch, at most (one row, where a sentence is longer)
READOUT = 2**23  # logits formed at once, at most (one position, where the vocabulary is larger)


class Text(NamedTuple):
    """A sentence as tokens, all lists (T,)."""

    ids: list[int]
    special: list[bool]  # whether the tokenizer added the token
    words: list[int | None]  # number of the token's word
    covered: str  # the text that the tokens stand for
    cut: bool  # whether tokens were left out at the end


def encode(sentences: list[str], tokenizer, config, max_length: int = 0) -> list[Text]:
    """One `Text` a sentence, with special tokens, cut at `max_length` tokens (0: the maximum).

    Raises StudyError for no sentences, a sentence without a token, and a length that the model
    cannot take.
    """
    limit = max_length or max_tokens(config)
    check_length(limit, max_tokens(config))
    if not sentences:
        raise StudyError("no sentences to measure on; give at least one")
    encodings = tokenizer(sentences, truncation=True, max_length=limit).encodings
    for number, encoding in enumerate(encodings):
        if all(encoding.special_tokens_mask):
            raise StudyError(
                f"sentence {number + 1} of {len(sentences)}, {sentences[number]!r}, has no token "
                "to measure; leave it out"
            )
    numbers = word_ids(sentences, encodings, tokenizer)
    return [_text(*of_one) for of_one in zip(sentences, encodings, numbers, strict=True)]


def batches(
    texts: list[Text], tokenizer, special: bool = False, to_the_right: bool = False
) -> Iterator[dict]:
    """Yield each token of each text once, masked, in batches on the CPU.

    A batch holds input_ids and attention_mask (B, T), and of each masked token position, gold (its
    id) and text (the number of its text), each (B,). `special`: mask the special tokens too, one by
    one. `to_the_right`: mask the later tokens of the same word as well. Texts come by length, the
    tokens of one text in their order.
    """
    order = sorted(range(len(texts)), key=lambda number: len(texts[number].ids))
    rows = [
        (number, place)
        for number in order
        for place, added in enumerate(texts[number].special)
        if special or not added
    ]
    begin = 0
    while begin < len(rows):
        end = begin + 1
        while end < len(rows) and (end + 1 - begin) * len(texts[rows[end][0]].ids) <= TOKENS:
            end += 1
        yield _batch(texts, rows[begin:end], tokenizer, to_the_right)
        begin = end


def judge(model, hidden: torch.Tensor, gold: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probability in nats, rank from 1) of the tokens `gold` (B,), each (B,).

    They are read out from hidden states (B, H). Tokens as probable as the true one do not push it
    down. Raises StudyError if a probability is not finite.
    """
    size = max(1, READOUT // model.config.vocab_size)
    parts = []
    for states, ids in zip(hidden.split(size), gold.split(size), strict=True):
        logits = mlm_head.logits(model, states).float()
        true = logits.gather(1, ids[:, None])
        nats = (true - logits.logsumexp(1, keepdim=True)).squeeze(1)
        parts.append((nats, (logits > true).sum(1) + 1))
    nats, ranks = (torch.cat(part) for part in zip(*parts, strict=True))
    if not torch.isfinite(nats).all():
        raise StudyError(
            "the model gives probabilities that are not finite; it is broken: make it again"
        )
    return nats, ranks


def _text(sentence: str, encoding, numbers: list) -> Text:
    special = [bool(added) for added in encoding.special_tokens_mask]
    cut = bool(encoding.overflowing)
    ends = [end for (_, end), added in zip(encoding.offsets, special, strict=True) if not added]
    covered = sentence[: max(ends)] if cut else sentence
    return Text(encoding.ids, special, numbers, " ".join(covered.split()), cut)


def _batch(texts, rows, tokenizer, to_the_right) -> dict:
    ids, attention = padded([texts[number].ids for number, _ in rows], tokenizer.pad_token_id)
    for row, (number, place) in enumerate(rows):
        text = texts[number]
        end, word = place + 1, text.words[place]
        while to_the_right and word is not None and text.words[end : end + 1] == [word]:
            end += 1
        ids[row, place:end] = tokenizer.mask_token_id
    numbers, places = zip(*rows, strict=True)
    return {
        "input_ids": ids,
        "attention_mask": attention,
        "position": torch.tensor(places),
        "gold": torch.tensor([texts[number].ids[place] for number, place in rows]),
        "text": torch.tensor(numbers),
    }
