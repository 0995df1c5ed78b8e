"""Whether a trimmed or a saved model and tokenizer do what the given pair does."""

from collections import Counter

import numpy
import torch

from lib.data.batches import padded
from lib.errors import StudyError
from lib.model.families import has_head
from lib.model.sizes import max_tokens


@torch.no_grad()
def check(whole: tuple, trimmed: tuple, kept_ids, sentences: list[str]) -> int:
    """The number of texts for which a trimmed (model, tokenizer) did the same as the whole one.

    The texts are the sentences without the words of which a token was removed. Compared are their
    ids and, for a padded batch, the logits of the kept tokens, or without an MLM head the states.
    Raises StudyError for the first difference, and if no text is left.
    """
    (model, tokenizer), (small, small_tokenizer) = whole, trimmed
    kept = numpy.asarray(kept_ids)
    texts = _covered(tokenizer, set(kept.tolist()), sentences)
    if not texts:
        raise StudyError(
            "no word of the sentences keeps all its tokens, so the trimmed model cannot be "
            "checked; keep more tokens, or give sentences of the language they were chosen for"
        )
    check_ids(tokenizer, small_tokenizer, "trimmed", texts, kept)
    rows = [each.ids for each in _encode(small_tokenizer, sorted(texts, key=len)[:2])]
    ids, mask = padded([row[: max_tokens(model.config)] for row in rows], small.config.pad_token_id)
    old, new = (
        (each if has_head(model.config) else each.base_model)(numbers, mask)[0][mask.bool()]
        for each, numbers in ((model, torch.from_numpy(kept)[ids]), (small, ids))
    )
    if not torch.allclose(old[:, kept] if has_head(model.config) else old, new, atol=1e-4):
        raise StudyError("the trimmed model gives other outputs than the whole one; cut it again")
    return len(texts)


def check_ids(tokenizer, other, now: str, texts: list[str], kept_ids=range(2**31)) -> None:
    """StudyError unless another tokenizer has the same special tokens and cuts each text alike,
    alone and as a pair. `now` says what was done to it; `kept_ids` are the old ids of its tokens.
    """
    for given in [*texts, *zip(texts, texts, strict=True)]:
        before, after = (
            [getattr(each, f"{name}_id") for name in tokenizer.special_tokens_map]
            + _encode(each, [given])[0].ids
            for each in (tokenizer, other)
        )
        if [kept_ids[number] for number in after] != before:
            raise StudyError(
                f"the tokenizer ({type(tokenizer).__name__}) gives other ids when it is {now} "
                f"({type(other).__name__}), as for {given!r:.80}; choose another teacher"
            )


def alike(tokenizer, trimmed, kept_ids, sentences: list[str]) -> float:
    """Share of the whole tokenizer's tokens in the sentences, 0..1, that the trimmed one has too.

    That is the same token at the same place of the text.
    """
    same = total = 0
    pairs = (_encode(each, sentences, special=False) for each in (tokenizer, trimmed))
    for before, after in zip(*pairs, strict=True):
        old = Counter(zip(before.ids, before.offsets, strict=True))
        numbers = numpy.asarray(kept_ids)[after.ids].tolist() if after.ids else []
        same += (old & Counter(zip(numbers, after.offsets, strict=True))).total()
        total += old.total()
    return same / max(total, 1)


def _covered(tokenizer, kept: set[int], sentences: list[str]) -> list[str]:
    """The sentences without the words that hold a token which is not kept; none is empty."""
    texts = []
    for sentence in sentences:
        words = sentence.split()
        rows = _encode(tokenizer, [f" {word}" for word in words], special=False)
        good = [word for word, row in zip(words, rows, strict=True) if kept.issuperset(row.ids)]
        texts.append(" ".join(good))
    rows = _encode(tokenizer, texts)
    return [
        text for text, row in zip(texts, rows, strict=True) if text and kept.issuperset(row.ids)
    ]


def _encode(tokenizer, texts: list, special: bool = True) -> list:
    """Encodings of texts or pairs of texts in full length, without padding."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # an earlier call may have left its settings
    backend.no_padding()
    return backend.encode_batch(texts, add_special_tokens=special)
