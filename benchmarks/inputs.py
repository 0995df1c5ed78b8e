"""Inputs of the cases: models of the real sizes with random weights, vocabularies, text."""

import lzma
import os
from collections import Counter
from functools import cache
from pathlib import Path

import torch
from transformers import AutoConfig, BertTokenizer, XLMRobertaTokenizer

from lib import files
from lib.data import batches as masked
from lib.data import corpora
from lib.facts import Source
from lib.model import encoder, ffn, hidden, layers, vocabulary
from lib.train import tokenizers

SIZES = {  # mBERT's and XLM-R's dimensions; toy is for the tests
    "full": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "length": 512,
        "student_layers": 6,
        "pruned": 2048,
        "hidden": 312,
        "kept": 40_000,
        "xlm-roberta": 250_002,
        "bert": 119_547,
    },
    "toy": {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "length": 40,
        "student_layers": 1,
        "pruned": 32,
        "hidden": 12,
        "kept": 100,
        "xlm-roberta": 600,
        "bert": 600,
    },
}
ROOT = Path(os.environ.get("STUDY_DATA_ROOT") or files.ROOT.parent / "shared" / "data")


@cache
def text() -> tuple[str, ...]:
    """Maltese sentences and short paragraphs of the data root, or else of the sample."""
    file = ROOT / "corpora" / "mlt.txt.xz"
    if file.exists():
        with lzma.open(file, "rt", encoding="utf-8") as lines:
            return tuple(line.rstrip("\n") for line in lines)
    return tuple(corpora.load("mlt", Source("sample"), "train", 2000))


def where_from() -> dict:
    """What was there to work on, for the record."""
    return {
        "text": "corpora/mlt.txt.xz of the data root"
        if (ROOT / "corpora" / "mlt.txt.xz").exists()
        else "the sample",
        "mbert_vocabulary": "tokenizers/mbert-cased-vocab.txt of the data root"
        if _real_vocabulary().exists()
        else "not there",
    }


def tokenizer(family: str, size: str):
    """mBERT's own tokenizer, None if it is not there; for XLM-R one of as many parts of words."""
    if size == "toy":
        return tokenizers.train_tokenizer(list(text()[:400]), family, SIZES[size][family])
    if family == "bert":
        options = {"do_lower_case": False, "strip_accents": False, "model_max_length": 512}
        return (
            BertTokenizer(vocab=str(_real_vocabulary()), **options)
            if _real_vocabulary().exists()
            else None
        )
    found = Counter(f"▁{word}" for each in text() for word in each.split())
    for word, often in list(found.items()):
        found.update(
            {
                part: often
                for end in range(2, min(len(word), 9))
                for part in (word[:end], word[-end:])
            }
        )
    found |= dict.fromkeys(set("".join(found)), 1)
    tokens = [
        token
        for token, _ in found.most_common(SIZES[size][family] - 5)
        if not token.startswith("<")
    ]
    tokens += [f"▁x{number}" for number in range(SIZES[size][family] - 5 - len(tokens))]
    scores = [(token, -3.0 - place / 20_000) for place, token in enumerate(tokens)]
    return XLMRobertaTokenizer(
        vocab=[
            ("<s>", 0.0),
            ("<pad>", 0.0),
            ("</s>", 0.0),
            ("<unk>", 0.0),
            *scores,
            ("<mask>", 0.0),
        ],
        model_max_length=512,
    )


def teacher(family: str, size: str, own):
    """A model of the family's dimensions with random weights and no dropout."""
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = AutoConfig.for_model(
        family,
        vocab_size=len(own),
        pad_token_id=own.pad_token_id,
        bos_token_id=own.bos_token_id,
        eos_token_id=own.eos_token_id,
        type_vocab_size=2 if family == "bert" else 1,
        max_position_embeddings=SIZES[size]["length"] + (2 if family == "xlm-roberta" else 0),
        initializer_range=0.02 * (768 / SIZES[size]["hidden_size"]) ** 0.5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **{name: SIZES[size][name] for name in names},
    )
    return encoder.new(config, 1)


def student(whole, size: str):
    """The paper's step 1: half the layers."""
    return layers.cut(whole, SIZES[size]["student_layers"], "last_k")


def trimmed(own, size: str):
    """kept_ids of the most frequent tokens of the text."""
    counts = vocabulary.count(own, text()[:20_000], "documents")
    always = vocabulary.single_characters(own, text()[:20_000])
    return vocabulary.choose(counts, own, max(SIZES[size]["kept"], len(always)), always)


def steps(whole, own, size: str):
    """Yield (name, model) of the teacher and of each step of the paper."""
    entry = SIZES[size]
    yield "teacher", whole
    small = student(whole, size)
    yield f"{entry['student_layers']} layers", small
    ranks = torch.arange(entry["pruned"]).expand(entry["student_layers"], -1)
    small = ffn.cut(small, ranks)
    yield f"FFN {entry['pruned']:,}", small
    small = hidden.start(small, entry["hidden"], "truncation")
    yield f"hidden {entry['hidden']}", small
    small = vocabulary.cut(small, trimmed(own, size))
    yield f"vocabulary {small.config.vocab_size:,}", small


def batches(
    own, size: str, rows: int, full: bool = False, whole: bool = False, count: int = 4
) -> list[dict]:
    """Masked batches. full: texts of the full length; whole: padded to it, as the authors do."""
    length = SIZES[size]["length"]
    lines = list(text()[: rows * count * (40 if full else 1)])
    if full:
        lines = [" ".join(lines[begin : begin + 40]) for begin in range(0, len(lines), 40)]
    encoded = masked.encode(lines, own, length)
    order = masked.schedule([len(ids) for ids in encoded], count, rows, 1)
    masker = masked.Masker(own, 1, length if whole else 0)
    return [
        masker(
            [
                {"input_ids": encoded[place], "number": number * rows + column}
                for column, place in enumerate(row)
            ]
        )
        for number, row in enumerate(order)
    ]


def _real_vocabulary() -> Path:
    return ROOT / "tokenizers" / "mbert-cased-vocab.txt"
