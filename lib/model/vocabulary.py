"""Cut 4, smaller vocabulary: the tokens a language uses stay, with their rows of the embeddings.

The special tokens stay, and every single character of the corpus that is a token: without them a
rare word would become unknown. `kept_tokens` counts everything but the special tokens, so 40,000
makes a vocabulary of 40,005 for both families. Source: paper, step 4.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy

from lib.errors import StudyError
from lib.model import axes, loading

_PART = 2**14  # sentences that are counted at once
_WORDS = 2**20  # words whose tokens are remembered, about


def count(tokenizer, sentences: Iterable[str], counting: str) -> numpy.ndarray:
    """The number of occurrences of each token id, (V,).

    counting: `count` for every occurrence, `documents` for the number of sentences that hold the
    token. `sentences` may be a generator; memory does not grow with its length. Tokenizers that
    split at spaces first, as those of mBERT and XLM-R do, see each different word once.
    """
    total = numpy.zeros(len(tokenizer), dtype=numpy.int64)
    splits, known = _splits_at_spaces(tokenizer), {}
    for part in _parts(sentences):
        rows = [sentence.split(" ") if splits else [sentence] for sentence in part]
        if len(known) > _WORDS:
            known.clear()
        _learn(known, tokenizer.backend_tokenizer, set(chain.from_iterable(rows)) - known.keys())
        if counting == "documents":
            tokens = [set(chain.from_iterable(map(known.__getitem__, row))) for row in rows]
            times = numpy.ones(len(rows), dtype=numpy.int64)
        else:
            words = Counter(chain.from_iterable(rows))
            tokens, times = [known[word] for word in words], list(words.values())
        ids = numpy.fromiter(chain.from_iterable(tokens), dtype=numpy.int64)
        numpy.add.at(total, ids, numpy.repeat(times, list(map(len, tokens))))
    return total


def single_characters(tokenizer, sentences: Iterable[str]) -> set[int]:
    """Ids of the tokens that are one character of the sentences, as the tokenizer normalises them.

    Both forms count: at the start of a word and inside.
    """
    normalizer = tokenizer.backend_tokenizer.normalizer
    words, characters = set(), set()
    for part in _parts(sentences):
        # Characters may compose inside a word, so words are normalised and not characters.
        words = set(chain.from_iterable(sentence.split(" ") for sentence in part)) - words
        characters.update(
            *(normalizer.normalize_str(word) if normalizer else word for word in words)
        )
    vocabulary = tokenizer.get_vocab()
    forms = [form for c in characters for form in (c, f"##{c}", f"▁{c}")] + ["▁"]
    return {vocabulary[form] for form in forms if form in vocabulary}


def choose(
    token_count: numpy.ndarray, tokenizer, kept_tokens: int, always: set[int]
) -> numpy.ndarray:
    """kept_ids, ascending: the special tokens, the tokens `always`, then the most frequent.

    There are `kept_tokens` beside the special ones. Of equal counts the lower id stays. Raises
    StudyError if more are asked for than exist, or fewer than must stay.
    """
    special = set(tokenizer.all_special_ids)
    available = len(token_count) - len(special)
    always = set(always) - special
    if not len(always) <= kept_tokens <= available:
        raise StudyError(
            f"{kept_tokens} tokens were asked for beside the {len(special)} special ones; the "
            f"vocabulary has {available}, and {len(always)} single characters must stay: take a "
            "number between"
        )
    stay = sorted(special | always)
    order = numpy.argsort(-token_count, kind="stable")
    frequent = order[~numpy.isin(order, stay)][: kept_tokens - len(always)]
    return numpy.sort(numpy.concatenate([stay, frequent]).astype(numpy.int64))


def coverage(token_count: numpy.ndarray, kept_ids: numpy.ndarray) -> float:
    """Share of the corpus's tokens that are kept, 0..1."""
    return float(token_count[kept_ids].sum() / token_count.sum())


def trim_tokenizer(tokenizer, kept_ids: numpy.ndarray):
    """A tokenizer with only the kept tokens, numbered in their old order.

    It splits a text as the old one does wherever the old one's tokens were all kept. Raises
    StudyError for a tokenizer that is neither WordPiece nor Unigram, or that holds a token twice.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    _trim(state, {int(old): new for new, old in enumerate(kept_ids)})
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        Path(folder, "tokenizer.json").write_text(
            json.dumps(state, ensure_ascii=False), encoding="utf-8"
        )
        result = loading.tokenizer(folder, {})
    before, after = tokenizer.get_vocab(), result.get_vocab()
    wrong = [token for token, new in after.items() if before.get(token) != kept_ids[new]]
    if wrong or len(result) != len(kept_ids):
        raise StudyError(
            f"the trimmed tokenizer has {len(result)} tokens for {len(kept_ids)} embeddings, and "
            f"does not number these as the embeddings: {wrong[:5]}; choose another tokenizer"
        )
    return result


def cut(model, kept_ids: numpy.ndarray):
    """A new model with only the kept tokens' embeddings, output weights and output biases."""
    return axes.take(model, vocabulary=kept_ids)


def _trim(state: dict, new_id: dict[int, int]) -> None:
    """Keep the tokens of `new_id` (old id -> new id) in the content of a tokenizer.json."""
    model, processor = state["model"], state["post_processor"] or {}
    if model["type"] == "WordPiece":
        old_ids = model["vocab"].items()
        model["vocab"] = {token: new_id[old] for token, old in old_ids if old in new_id}
    elif model["type"] == "Unigram":
        model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in new_id]
        model["unk_id"] = new_id[model["unk_id"]]
    else:
        raise StudyError(
            f"a {model['type']} tokenizer cannot be trimmed; WordPiece and Unigram tokenizers can"
        )
    added = [token for token in state["added_tokens"] if token["id"] in new_id]
    state["added_tokens"] = [token | {"id": new_id[token["id"]]} for token in added]
    for token in processor.get("special_tokens", {}).values():
        token["ids"] = [new_id[old] for old in token["ids"]]
    for name in {"cls", "sep"} & processor.keys():  # (token, id) pairs instead of a template
        processor[name][1] = new_id[processor[name][1]]


def _learn(known: dict, tokenizer, words: Iterable[str]) -> None:
    """Add the token ids of the words."""
    words = list(words)
    tokenizer.no_truncation()  # an earlier call may have left its settings; the next sets its own
    tokenizer.no_padding()
    encodings = tokenizer.encode_batch_fast(words, add_special_tokens=False)
    known.update(
        (word, tuple(encoding.ids)) for word, encoding in zip(words, encodings, strict=True)
    )


def _parts(sentences: Iterable[str]) -> Iterator[list[str]]:
    """Lists of _PART sentences; the last may be shorter."""
    sentences = iter(sentences)
    return iter(lambda: list(islice(sentences, _PART)), [])


def _splits_at_spaces(tokenizer) -> bool:
    """Whether the tokens of a text are those of its words, split at spaces, in a row."""
    splitter = tokenizer.backend_tokenizer.pre_tokenizer
    state = json.loads(splitter.__getstate__()) if splitter else {}
    first = state.get("pretokenizers", [state])[0]
    marked = first.get("prepend_scheme") == "always" and first.get("split", True)
    kind = first.get("type")
    return kind in ("BertPreTokenizer", "WhitespaceSplit") or (kind == "Metaspace" and marked)
