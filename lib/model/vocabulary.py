"""Cut 4, smaller vocabulary: the tokens a language uses stay, with their rows of the embeddings.

The special tokens stay, and every single character of the corpus that is a token: without them a
rare word would become unknown. A token of a BPE tokenizer stays with all tokens that it is merged
from, or it could not be made. `kept_tokens` counts everything but the special tokens, so 40,000
makes a vocabulary of 40,005 if five are special. Source: paper, step 4.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy
from tokenizers.pre_tokenizers import ByteLevel

from lib.errors import StudyError
from lib.model import axes, loading, merges

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
        rows = [_words(sentence) if splits else [sentence] for sentence in part]
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

    All forms count: at the start, inside and at the end of a word. If the tokenizer spells
    characters in bytes, the tokens of all 256 bytes count too.
    """
    backend = tokenizer.backend_tokenizer
    normalize, characters = backend.normalizer.normalize_str if backend.normalizer else str, set()
    for part in _parts(sentences):
        # Characters may compose inside a word, so words are normalised and not characters.
        words = set(chain.from_iterable(sentence.split(" ") for sentence in part))
        characters.update(*map(normalize, words))
    forms = merges.byte_tokens(backend)
    if not forms.isdisjoint(ByteLevel.alphabet()):  # byte-level: characters are several of these
        spell = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
        characters = {"".join(piece for piece, _ in spell(each)) for each in characters}
    inside = getattr(backend.model, "continuing_subword_prefix", None) or ""
    end = getattr(backend.model, "end_of_word_suffix", None) or ""
    forms |= {
        start + c + e for c in characters for start in ("", inside, "▁", "Ġ") for e in ("", end)
    }
    vocabulary = tokenizer.get_vocab()
    return {vocabulary[form] for form in forms | {"▁"} if form in vocabulary}


def choose(
    token_count: numpy.ndarray, tokenizer, kept_tokens: int, always: set[int]
) -> numpy.ndarray:
    """kept_ids, ascending: the special tokens, the tokens `always`, then the most frequent.

    There are `kept_tokens` beside the special ones, which are the named ones and those that the
    tokenizer adds to a text. Of equal counts the lower id stays. A token that is merged from others
    comes behind these, and they are counted too; where not all have room, it stays away itself.
    Raises StudyError if more are asked for than exist, or fewer than must stay.
    """
    ids = set(tokenizer.get_vocab().values())
    special = {*tokenizer.all_special_ids, *tokenizer("", "")["input_ids"]}
    available, history = len(ids - special), merges.history(tokenizer)
    kept = special.union(*map(history, always))
    must = len(kept) - len(special)
    if not must <= kept_tokens <= available:
        parts = " with their parts" if must > len(set(always) - special) else ""
        raise StudyError(
            f"{kept_tokens} tokens were asked for beside the {len(special)} special ones; the "
            f"vocabulary has {available}, and {must} single characters{parts} must stay: take a "
            "number between"
        )
    others = numpy.array(sorted(ids - kept), dtype=numpy.int64)
    for token in others[numpy.argsort(-token_count[others], kind="stable")].tolist():
        left = kept_tokens + len(special) - len(kept)
        if not left:
            break
        new = dict.fromkeys(part for part in history(token) if part not in kept)
        kept.update(islice(new, left))
    return numpy.array(sorted(kept))


def coverage(token_count: numpy.ndarray, kept_ids: numpy.ndarray) -> float:
    """Share of the corpus's tokens that are kept, 0..1."""
    return float(token_count[kept_ids].sum() / token_count.sum())


def trim_tokenizer(tokenizer, kept_ids: numpy.ndarray):
    """A tokenizer with only the kept tokens, numbered in their old order.

    It splits a text as the old one does wherever the old one's tokens were all kept. Raises
    StudyError for a tokenizer that is not WordPiece, Unigram or BPE, for kept ids without a token
    of their own, and for tokens of BPE without those that they are merged from, or without a byte.
    """
    _check_parts(tokenizer, set(map(int, kept_ids)))
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
    if model["type"] in ("WordPiece", "BPE"):
        old_ids = model["vocab"].items()
        model["vocab"] = {token: new_id[old] for token, old in old_ids if old in new_id}
        if model["type"] == "BPE":
            model["merges"] = merges.among(model, model["vocab"])
    elif model["type"] == "Unigram":
        model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in new_id]
        model["unk_id"] = new_id[model["unk_id"]]
    else:
        raise StudyError(
            f"a {model['type']} tokenizer cannot be trimmed; WordPiece, Unigram and BPE tokenizers "
            "can"
        )
    added = [token for token in state["added_tokens"] if token["id"] in new_id]
    state["added_tokens"] = [token | {"id": new_id[token["id"]]} for token in added]
    _renumber(state["post_processor"] or {}, new_id)


def _check_parts(tokenizer, kept: set[int]) -> None:
    """StudyError if a kept token of BPE lacks a token that it is merged from, or a byte is gone."""
    history, name = merges.history(tokenizer), tokenizer.convert_ids_to_tokens
    for token in kept:
        lacking = [part for part in history(token) if part not in kept]
        if lacking:
            raise StudyError(
                f"the token {name(token)!r} would stay without {name(lacking[0])!r}, which it is "
                "merged from; take the ids that `choose` gives"
            )
    if type(tokenizer.backend_tokenizer.model).__name__ == "BPE":
        numbers, spelt = tokenizer.get_vocab(), merges.byte_tokens(tokenizer.backend_tokenizer)
        lost = sorted(token for token in spelt if token in numbers and numbers[token] not in kept)
        if lost:
            raise StudyError(
                f"{len(lost)} bytes would have no token, such as {lost[0]!r}, and their text would "
                "vanish; keep the ids that `single_characters` gives"
            )


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
    """Whether the tokens of a text are those of its words in a row, if one space parts two words.

    So it is not if spaces belong to the words, as in byte-level BPE, or if only the first word of a
    text is marked.
    """
    backend = tokenizer.backend_tokenizer
    if backend.normalizer and backend.normalizer.normalize_str("a b") != "a b":
        return False
    state = json.loads(backend.pre_tokenizer.__getstate__()) if backend.pre_tokenizer else {}
    steps = state.get("pretokenizers", [state])
    marked = steps[0].get("prepend_scheme") == "always" and steps[0].get("split", True)
    first_only = any(step.get("prepend_scheme") == "first" for step in steps)
    spaced = any(" " in token.content for token in backend.get_added_tokens_decoder().values())
    splits = marked or steps[0].get("type") in ("BertPreTokenizer", "WhitespaceSplit")
    return splits and not first_only and not spaced


def _words(sentence: str) -> list[str]:
    """The words of a sentence; only itself if its spaces may be more than borders of words."""
    words = sentence.split(" ")
    return words if all(words) and "▁" not in sentence else [sentence]
