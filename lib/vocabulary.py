"""Cut 4, smaller vocabulary: the tokens a language uses stay, with their rows of the embeddings (paper, step 4).

The special tokens stay, and every single character of the corpus that is a piece: without them a rare word would become
unknown. `kept_tokens` counts everything but the special tokens, so 40,000 makes a vocabulary of 40,005 for both families.
"""

import json
import tempfile
from pathlib import Path

import numpy
from transformers import AutoTokenizer

from lib import models
from lib.errors import StudyError

BATCH = 2048  # sentences encoded at once


def count(tokenizer, sentences, counting: str) -> numpy.ndarray:
    """How often each token id occurs, (V,): every occurrence (`count`), or the sentences it occurs in (`documents`)."""
    total = numpy.zeros(len(tokenizer), dtype=numpy.int64)
    for begin in range(0, len(sentences), BATCH):
        encoded = tokenizer(sentences[begin: begin + BATCH], add_special_tokens=False, return_attention_mask=False)["input_ids"]
        used = [numpy.unique(ids) for ids in encoded] if counting == "documents" else encoded
        total += numpy.bincount(numpy.fromiter((i for ids in used for i in ids), dtype=numpy.int64), minlength=len(total))
    return total


def single_characters(tokenizer, sentences) -> set[int]:
    """Ids of the pieces that are one character of the sentences, as the tokenizer normalises them, at the start of a word or inside."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    characters = set().union(*(normalizer.normalize_str(each) if normalizer else each for each in sentences))
    vocabulary = tokenizer.get_vocab()
    forms = [form for c in characters for form in (c, f"##{c}", f"▁{c}")] + ["▁"]
    return {vocabulary[form] for form in forms if form in vocabulary}


def choose(token_count: numpy.ndarray, tokenizer, kept_tokens: int, always: set[int]) -> numpy.ndarray:
    """kept_ids, ascending: special tokens, `always`, then the most frequent, `kept_tokens` in all beside the special ones.

    Equal counts go to the lower id. Raises StudyError if more are asked for than exist, or fewer than must stay.
    """
    special = set(tokenizer.all_special_ids)
    available = len(token_count) - len(special)
    always = set(always) - special
    if not len(always) <= kept_tokens <= available:
        raise StudyError(f"{kept_tokens} tokens were asked for beside the {len(special)} special ones; the vocabulary has {available}, "
                         f"and {len(always)} single characters must stay: take a number between")
    order = numpy.argsort(-token_count, kind="stable")
    order = order[~numpy.isin(order, list(special | always))]
    return numpy.sort(numpy.concatenate([sorted(special | always), order[: kept_tokens - len(always)]]).astype(numpy.int64))


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
        model["vocab"] = {piece: new_id[old] for piece, old in sorted(model["vocab"].items(), key=lambda item: item[1]) if old in new_id}
    elif model["type"] == "Unigram":
        model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in new_id]
        model["unk_id"] = new_id[model["unk_id"]]
    else:
        raise StudyError(f"a {model['type']} tokenizer cannot be trimmed; WordPiece and Unigram tokenizers can")
    state["added_tokens"] = [token | {"id": new_id[token["id"]]} for token in state["added_tokens"] if token["id"] in new_id]
    for token in (state["post_processor"] or {}).get("special_tokens", {}).values():
        token["ids"] = [new_id[old] for old in token["ids"]]
    _renumber(state["post_processor"] or {}, new_id)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        Path(folder, "tokenizer.json").write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        result = AutoTokenizer.from_pretrained(folder)
    wrong = [piece for piece, number in result.get_vocab().items() if tokenizer.convert_tokens_to_ids(piece) != kept_ids[number]]
    if wrong or len(result) != len(kept_ids):
        raise StudyError(f"the trimmed tokenizer does not number its pieces as the embeddings: {wrong[:5]}, {len(result)} pieces")
    return result


def cut(model, kept_ids: numpy.ndarray):
    """A new model with only the kept tokens' embeddings, output weights and output biases."""
    return models.take(model, vocabulary=kept_ids)


def _renumber(processor: dict, new_id: dict) -> None:
    """Post-processors that hold (token, id) pairs instead of a template."""
    for name in ("cls", "sep"):
        if name in processor:
            processor[name][1] = new_id[processor[name][1]]
