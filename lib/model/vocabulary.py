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
    """The number of occurrences of each token id, (V,), up to the highest id.

    counting: `count` for every occurrence, `documents` for the number of sentences that hold the
    token. `sentences` may be a generator; memory does not grow with its length. Tokenizers that
    split at spaces first, as those of mBERT and XLM-R do, see each different word once.
    """
    total = numpy.zeros(1 + max(tokenizer.get_vocab().values()), dtype=numpy.int64)
    splits, known, backend = _splits_at_spaces(tokenizer), {}, tokenizer.backend_tokenizer
    backend.no_truncation()  # an earlier call may have left its settings; the next sets its own
    backend.no_padding()
    for part in _parts(sentences):
        rows = [sentence.split(" ") if splits else [sentence] for sentence in part]
        if len(known) > _WORDS:
            known.clear()
        new = list(set(chain.from_iterable(rows)) - known.keys())
        encodings = backend.encode_batch_fast(new, add_special_tokens=False)
        known.update(zip(new, (tuple(encoding.ids) for encoding in encodings), strict=True))
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

    Both forms count: at the start of a word and inside. If the tokenizer spells the characters that
    it lacks in bytes, the tokens of all 256 bytes count too.
    """
    normalizer = tokenizer.backend_tokenizer.normalizer
    normalize, characters = normalizer.normalize_str if normalizer else str, set()
    for part in _parts(sentences):
        # Characters may compose inside a word, so words are normalised and not characters.
        words = set(chain.from_iterable(sentence.split(" ") for sentence in part))
        characters.update(*map(normalize, words))
    vocabulary = tokenizer.get_vocab()
    forms = [form for c in characters for form in (c, f"##{c}", f"▁{c}")] + ["▁"]
    if json.loads(tokenizer.backend_tokenizer.model.__getstate__()).get("byte_fallback"):
        forms += [f"<0x{byte:02X}>" for byte in range(256)]
    return {vocabulary[form] for form in forms if form in vocabulary}


def choose(
    token_count: numpy.ndarray, tokenizer, kept_tokens: int, always: set[int]
) -> numpy.ndarray:
    """kept_ids, ascending: the special tokens, the tokens `always`, then the most frequent.

    There are `kept_tokens` beside the special ones, which are the named ones and those that the
    tokenizer adds to a text. Of equal counts the lower id stays. Raises StudyError if more are
    asked for than exist, or fewer than must stay.
    """
    ids = set(tokenizer.get_vocab().values())
    special = {*tokenizer.all_special_ids, *tokenizer("", "")["input_ids"]}
    available, always = len(ids - special), set(always) - special
    if not len(always) <= kept_tokens <= available:
        raise StudyError(
            f"{kept_tokens} tokens were asked for beside the {len(special)} special ones; the "
            f"vocabulary has {available}, and {len(always)} single characters must stay: take a "
            "number between"
        )
    others = numpy.array(sorted(ids - special - always), dtype=numpy.int64)
    frequent = others[numpy.argsort(-token_count[others], kind="stable")]
    return numpy.sort([*special, *always, *frequent[: kept_tokens - len(always)]])


def coverage(token_count: numpy.ndarray, kept_ids: numpy.ndarray) -> float:
    """Share of the corpus's tokens that are kept, 0..1."""
    return float(token_count[kept_ids].sum() / token_count.sum())


def trim_tokenizer(tokenizer, kept_ids: numpy.ndarray):
    """A tokenizer with only the kept tokens, numbered in their old order.

    It splits a text as the old one does wherever the old one's tokens were all kept. Raises
    StudyError for a tokenizer that is neither WordPiece nor Unigram, and for kept ids without a
    token of their own.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    new_id = {int(old): new for new, old in enumerate(kept_ids)}
    _trim(state, new_id)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        Path(folder, "tokenizer.json").write_text(
            json.dumps(state, ensure_ascii=False), encoding="utf-8"
        )
        result = loading.tokenizer(folder, {})
    kept = {token: new_id[old] for token, old in tokenizer.get_vocab().items() if old in new_id}
    wrong = sorted(kept.items() ^ result.get_vocab().items())
    added = [new_id[old] for old in tokenizer("", "")["input_ids"]]
    if wrong or len(kept) != len(kept_ids) or result("", "")["input_ids"] != added:
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
    model = state["model"]
    state["truncation"] = state["padding"] = None  # of an earlier call, with an old id
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
    _renumber(state["post_processor"] or {}, new_id)


def _renumber(processor: dict, new_id: dict[int, int]) -> None:
    """Give new ids to the tokens that a post-processor adds to a text, and those inside it."""
    for inner in processor.get("processors", ()):
        _renumber(inner, new_id)
    for token in processor.get("special_tokens", {}).values():
        token["ids"] = [new_id[old] for old in token["ids"]]
    for name in {"cls", "sep"} & processor.keys():  # (token, id) pairs instead of a template
        processor[name][1] = new_id[processor[name][1]]


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
    return marked or first.get("type") in ("BertPreTokenizer", "WhitespaceSplit")
