"""Cut 4, smaller vocabulary: the tokens a language uses stay, with their rows of the embeddings (paper, step 4).

The special tokens stay, and every single character of the corpus that is a piece: without them a rare word would become
unknown. `kept_tokens` counts everything but the special tokens, so 40,000 makes a vocabulary of 40,005 for both families.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy
from transformers import AutoTokenizer

from lib.errors import StudyError
from lib.model import encoder

BATCH = 2**20  # characters counted at once, at least
WORDS = 2**20  # different words remembered with their pieces, about


def count(tokenizer, sentences: Iterable[str], counting: str) -> numpy.ndarray:
    """How often each token id occurs, (V,): every occurrence (`count`), or the sentences it occurs in (`documents`).

    `sentences` may be a generator: it is read in parts, and memory does not grow with it. Each different word is cut into pieces
    once, where the tokenizer cuts at spaces first, as those of mBERT and XLM-R do; else whole sentences are.
    """
    total = numpy.zeros(len(tokenizer), dtype=numpy.int64)
    pieces, at_spaces = _Pieces(tokenizer), _cuts_at_spaces(tokenizer)
    for some in _parts(sentences):
        words = [
            [word for word in each.split(" ") if word] if at_spaces else [each] for each in some
        ]
        numbers = pieces.numbers(chain.from_iterable(words))
        if counting == "documents":
            owner = numpy.repeat(numpy.arange(len(words)), [len(each) for each in words])
            ids, times = pieces.ids(numbers)
            both = numpy.sort(numpy.repeat(owner, times) * len(total) + ids)
            first = numpy.diff(both, prepend=-1) > 0  # each piece of a sentence once
            total += numpy.bincount(both[first] % len(total), minlength=len(total))
        else:
            often = numpy.bincount(numbers, minlength=len(pieces))
            ids, times = pieces.ids(numpy.flatnonzero(often))
            numpy.add.at(total, ids, numpy.repeat(often[often > 0], times))
    return total


class _Pieces:
    """The pieces of each word met so far, as ids laid end to end. It forgets all words where there are too many."""

    def __init__(self, tokenizer):
        self.tokenizer, self.known = tokenizer.backend_tokenizer, defaultdict()
        self.known.default_factory = self.known.__len__  # a new word takes the next number
        self.flat, self.begin = numpy.empty(0, dtype=numpy.int64), numpy.zeros(1, dtype=numpy.int64)

    def __len__(self):
        return len(self.known)

    def numbers(self, words: Iterable[str]) -> numpy.ndarray:
        """The number of each word, after learning the new ones."""
        if len(self.known) > WORDS:
            self.known.clear()
            self.flat, self.begin = self.flat[:0], self.begin[:1]
        before = len(self.known)
        found = numpy.fromiter(map(self.known.__getitem__, words), dtype=numpy.int64)
        new = list(islice(self.known, before, None))
        self.tokenizer.no_truncation()  # what an earlier call may have left behind; the next one sets its own
        self.tokenizer.no_padding()
        ids = [each.ids for each in self.tokenizer.encode_batch_fast(new, add_special_tokens=False)]
        self.flat = numpy.concatenate(
            [self.flat, numpy.fromiter(chain.from_iterable(ids), dtype=numpy.int64)]
        )
        self.begin = numpy.concatenate(
            [
                self.begin,
                self.begin[-1] + numpy.cumsum([len(each) for each in ids], dtype=numpy.int64),
            ]
        )
        return found

    def ids(self, numbers: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        """(ids of the pieces of these words, one after the other; how many each has)."""
        times = self.begin[numbers + 1] - self.begin[numbers]
        first = numpy.repeat(self.begin[numbers] - numpy.cumsum(times) + times, times)
        return self.flat[first + numpy.arange(len(first))], times


def _parts(sentences: Iterable[str]) -> Iterator[list[str]]:
    """Lists of sentences of at least BATCH characters together; the last may be shorter."""
    some, size = [], 0
    for each in sentences:
        some.append(each)
        size += len(each)
        if size >= BATCH:
            yield some
            some, size = [], 0
    if some:
        yield some


def _cuts_at_spaces(tokenizer) -> bool:
    """Whether a text is cut into the pieces of its words, split at spaces, one after the other."""
    state = (
        json.loads(tokenizer.backend_tokenizer.pre_tokenizer.__getstate__())
        if tokenizer.backend_tokenizer.pre_tokenizer
        else {}
    )
    first = state.get("pretokenizers", [state])[0]
    marked = first.get("prepend_scheme") == "always" and first.get("split", True)
    return first.get("type") in ("BertPreTokenizer", "WhitespaceSplit") or (
        first.get("type") == "Metaspace" and marked
    )


def single_characters(tokenizer, sentences: Iterable[str]) -> set[int]:
    """Ids of the pieces that are one character of the sentences, as the tokenizer normalises them, at the start of a word or inside."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    words = (
        set()
    )  # characters may compose inside a word, so words are normalised and not characters
    characters = set()
    for some in _parts(sentences):
        words = set().union(*(each.split(" ") for each in some)) - words
        characters.update(
            *(normalizer.normalize_str(each) if normalizer else each for each in words)
        )
    vocabulary = tokenizer.get_vocab()
    forms = [form for c in characters for form in (c, f"##{c}", f"▁{c}")] + ["▁"]
    return {vocabulary[form] for form in forms if form in vocabulary}


def choose(
    token_count: numpy.ndarray, tokenizer, kept_tokens: int, always: set[int]
) -> numpy.ndarray:
    """kept_ids, ascending: special tokens, `always`, then the most frequent, `kept_tokens` in all beside the special ones.

    Equal counts go to the lower id. Raises StudyError if more are asked for than exist, or fewer than must stay.
    """
    special = set(tokenizer.all_special_ids)
    available = len(token_count) - len(special)
    always = set(always) - special
    if not len(always) <= kept_tokens <= available:
        raise StudyError(
            f"{kept_tokens} tokens were asked for beside the {len(special)} special ones; the vocabulary has {available}, "
            f"and {len(always)} single characters must stay: take a number between"
        )
    order = numpy.argsort(-token_count, kind="stable")
    order = order[~numpy.isin(order, list(special | always))]
    return numpy.sort(
        numpy.concatenate([sorted(special | always), order[: kept_tokens - len(always)]]).astype(
            numpy.int64
        )
    )


def coverage(token_count: numpy.ndarray, kept_ids: numpy.ndarray) -> float:
    """Share of the corpus's tokens whose piece is kept, 0..1."""
    return float(token_count[kept_ids].sum() / token_count.sum())


def trim_tokenizer(tokenizer, kept_ids: numpy.ndarray):
    """A tokenizer with only the kept pieces, numbered in their old order.

    It cuts a text into the same pieces as the old one wherever the old one's pieces were all kept.
    """
    new_id = {int(old): number for number, old in enumerate(kept_ids)}
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    if model["type"] == "WordPiece":
        model["vocab"] = {
            piece: new_id[old]
            for piece, old in sorted(model["vocab"].items(), key=lambda item: item[1])
            if old in new_id
        }
    elif model["type"] == "Unigram":
        model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in new_id]
        model["unk_id"] = new_id[model["unk_id"]]
    else:
        raise StudyError(
            f"a {model['type']} tokenizer cannot be trimmed; WordPiece and Unigram tokenizers can"
        )
    state["added_tokens"] = [
        token | {"id": new_id[token["id"]]}
        for token in state["added_tokens"]
        if token["id"] in new_id
    ]
    for token in (state["post_processor"] or {}).get("special_tokens", {}).values():
        token["ids"] = [new_id[old] for old in token["ids"]]
    _renumber(state["post_processor"] or {}, new_id)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        Path(folder, "tokenizer.json").write_text(
            json.dumps(state, ensure_ascii=False), encoding="utf-8"
        )
        result = AutoTokenizer.from_pretrained(folder)
    before = tokenizer.get_vocab()
    wrong = [
        piece
        for piece, number in result.get_vocab().items()
        if before.get(piece) != kept_ids[number]
    ]
    if wrong or len(result) != len(kept_ids):
        raise StudyError(
            f"the trimmed tokenizer does not number its pieces as the embeddings: {wrong[:5]}, {len(result)} pieces"
        )
    return result


def cut(model, kept_ids: numpy.ndarray):
    """A new model with only the kept tokens' embeddings, output weights and output biases."""
    return encoder.take(model, vocabulary=kept_ids)


def _renumber(processor: dict, new_id: dict) -> None:
    """Post-processors that hold (token, id) pairs instead of a template."""
    for name in ("cls", "sep"):
        if name in processor:
            processor[name][1] = new_id[processor[name][1]]
