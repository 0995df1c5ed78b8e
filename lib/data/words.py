"""The words of a text that its tokens belong to."""

import re
from bisect import bisect_right


def word_ids(texts: list[str], encodings: list, tokenizer) -> list[list[int | None]]:
    """Return the number of the word of each token, a list (T,) for each text; None for a token
    that the tokenizer adds to the text.

    encodings: those of the library `tokenizers`, of the texts in their order.
    The words are those into which the tokenizer cuts a text before it merges. Where it cuts none,
    as Gemma's and mmBERT's tokenizers do, they stand between white space. A token of white space
    alone then belongs to the next word, or to the last one at the end of the text.
    """
    if len({*tokenizer("a a", add_special_tokens=False).word_ids()}) > 1:
        return [encoding.word_ids for encoding in encodings]
    return [_between_spaces(*pair) for pair in zip(texts, encodings, strict=True)]


def _between_spaces(text: str, encoding) -> list[int | None]:
    ends = [word.end() for word in re.finditer(r"\S+", text)]
    last = max(0, len(ends) - 1)
    return [
        None if own is None else min(bisect_right(ends, begin), last)
        for own, (begin, _) in zip(encoding.word_ids, encoding.offsets, strict=True)
    ]
