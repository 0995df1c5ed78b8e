"""What the tokens of a BPE tokenizer are merged from.

BPE begins with the characters of a word and merges two neighbours again and again: of all merges
that fit, the one that comes first in its list, and the leftmost of these. A merge is never undone,
so none was made across the border of two tokens of the result. The merges inside such a token are
then those that its own text gives alone: a token has one history, wherever it stands. A smaller
tokenizer that keeps all tokens of these histories, and in their order the merges among its tokens,
finds at each step the merge that was made, and no other before it.
"""

import json
from collections.abc import Callable
from itertools import pairwise

from tokenizers.pre_tokenizers import ByteLevel

_NEVER = float("inf")  # behind every merge


def history(tokenizer) -> Callable[[int], list[int]]:
    """A function from a token id to the ids of all tokens of its history: the characters, then the
    tokens in the order in which they are merged, itself the last.

    A token that no merges give, as every token of another model than BPE, has only itself.
    """
    if type(tokenizer.backend_tokenizer.model).__name__ != "BPE":
        return lambda number: [number]
    model = json.loads(tokenizer.backend_tokenizer.model.__getstate__())
    rank = {tuple(pair): number for number, pair in enumerate(model["merges"])}
    names = {number: token for token, number in model["vocab"].items()}

    def of(number: int) -> list[int]:
        token = names.get(number, "")
        now = _characters(model, token)
        made = list(now)
        while len(now) > 1:
            ranks = [rank.get(pair, _NEVER) for pair in pairwise(now)]
            first = min(ranks)
            if first == _NEVER:
                break
            at = ranks.index(first)
            now[at : at + 2] = [_merged(model, *now[at : at + 2])]
            made.append(now[at])
        return [model["vocab"][each] for each in made] if now == [token] else [number]

    return of


def among(model: dict, tokens) -> list:
    """The merges of a tokenizer.json's `model`, in their order, that read and give these tokens
    alone.
    """
    return [
        pair
        for pair in model["merges"]
        if pair[0] in tokens and pair[1] in tokens and _merged(model, *pair) in tokens
    ]


def byte_tokens(backend) -> set[str]:
    """The tokens in which a tokenizer of the library `tokenizers` spells the 256 bytes.

    Byte-level tokenizers spell all text in them, others what they have no token for. The set is
    empty if the tokenizer knows no bytes.
    """
    steps = [step.__getstate__() for step in (backend.normalizer, backend.pre_tokenizer) if step]
    if any(b'"ByteLevel"' in step for step in steps):
        return set(ByteLevel.alphabet())
    fallback = getattr(backend.model, "byte_fallback", None)
    if fallback is None:  # the library shows this of BPE alone
        fallback = b'"byte_fallback":true' in backend.model.__getstate__()
    return {f"<0x{byte:02X}>" for byte in range(256)} if fallback else set()


def _merged(model: dict, left: str, right: str) -> str:
    """The token that two tokens give; the right one loses its mark of being inside a word."""
    return left + right[len(model["continuing_subword_prefix"] or "") :]


def _characters(model: dict, token: str) -> list[str]:
    """The tokens of single characters from which the text of a token is merged."""
    prefix = model["continuing_subword_prefix"] or ""
    suffix = model["end_of_word_suffix"] or ""
    text = token.removeprefix(prefix).removesuffix(suffix)
    result = [prefix + character for character in text]
    if text and not token.startswith(prefix):
        result[0] = text[0]
    if text and token.endswith(suffix):
        result[-1] += suffix
    return result
