"""One mask at a time: what a masked language model is asked when every token of a text is hidden once (paper, step 6).

Pseudo-perplexity and logit lens ask the same questions: each token of each sentence, hidden, all others seen. Questions of like
length go together; only the hidden position is read out, in parts, so that memory depends neither on the text nor on the vocabulary.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from lib.errors import StudyError
from lib.model import encoder

TOKENS = 8192  # B * T of one batch, at most (one row, where a sentence is longer)
READOUT = 2**23  # logits formed at once, at most (one position, where the vocabulary is larger)


class Text(NamedTuple):
    """A sentence as tokens: ids and, of each, whether the tokenizer added it and the number of its word; what the tokens cover."""

    ids: list[int]
    special: list[bool]
    words: list[int | None]
    covered: str
    cut: bool


def encode(sentences: list[str], tokenizer, config, max_length: int = 0) -> list[Text]:
    """One `Text` a sentence, with special tokens, cut at `max_length` tokens (0: as many as the model takes).

    Raises StudyError for no sentences, a sentence without a token, and a length the model cannot take.
    """
    limit = max_length or encoder.max_tokens(config)
    if not 3 <= limit <= encoder.max_tokens(config):
        raise StudyError(
            f"a max_length of {max_length} tokens was asked for; the model takes 3 to {encoder.max_tokens(config)}: "
            "take a number between, or 0 for all it takes"
        )
    if not sentences:
        raise StudyError("no sentences to measure on; give at least one")
    encoded = tokenizer(
        sentences,
        truncation=True,
        max_length=limit,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    texts = []
    for number, sentence in enumerate(sentences):
        one = encoded.encodings[number]
        special = [bool(added) for added in one.special_tokens_mask]
        if all(special):
            raise StudyError(
                f"sentence {number + 1} of {len(sentences)}, {sentence!r}, has no token to measure; leave it out"
            )
        end = max(end for (_, end), added in zip(one.offsets, special, strict=True) if not added)
        cut = bool(one.overflowing)
        texts.append(
            Text(
                one.ids,
                special,
                one.word_ids,
                " ".join((sentence[:end] if cut else sentence).split()),
                cut,
            )
        )
    return texts


def batches(
    texts: list[Text], tokenizer, special: bool = False, to_the_right: bool = False
) -> Iterator[dict]:
    """Yield each token of each text once, hidden: input_ids and attention_mask (B, T), position, gold and text, each (B,).

    `gold` is the hidden token's id, `text` the number of its text. `special`: ask for the special tokens too. `to_the_right`: hide
    the later pieces of the same word as well. Texts come by length, the tokens of one text in their order.
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


def _batch(texts, rows, tokenizer, to_the_right) -> dict:
    length = len(texts[rows[-1][0]].ids)
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    attention = torch.zeros_like(ids)
    for row, (number, place) in enumerate(rows):
        text = texts[number]
        ids[row, : len(text.ids)] = torch.tensor(text.ids)
        attention[row, : len(text.ids)] = 1
        last = place
        while (
            to_the_right
            and text.words[place] is not None
            and text.words[last + 1] == text.words[place]
        ):
            last += 1  # the closing special token is of no word, so this ends inside the text
        ids[row, place : last + 1] = tokenizer.mask_token_id
    return {
        "input_ids": ids,
        "attention_mask": attention,
        "position": torch.tensor([place for _, place in rows]),
        "gold": torch.tensor([texts[number].ids[place] for number, place in rows]),
        "text": torch.tensor([number for number, _ in rows]),
    }


def judge(model, hidden: torch.Tensor, gold: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(log_probability in nats, rank from 1) of the token ids `gold` (B,), read out from hidden states (B, H); each (B,).

    Tokens as probable as the true one do not push it down. Raises StudyError if a probability is not finite.
    """
    size = max(1, READOUT // model.config.vocab_size)
    found = []
    for some, ids in zip(hidden.split(size), gold.split(size), strict=True):
        logits = encoder.logits(model, some).float()
        own = logits.gather(1, ids[:, None])
        found.append(
            ((own - logits.logsumexp(1, keepdim=True)).squeeze(1), (logits > own).sum(1) + 1)
        )
    nats, ranks = (torch.cat(part) for part in zip(*found, strict=True))
    if not torch.isfinite(nats).all():
        raise StudyError(
            "the model gives probabilities that are not finite; it is broken: make it again"
        )
    return nats, ranks
