"""Toy encoders of both families, their tokenizers, a little text and a study: what the tests of the core have in common."""

import copy
import itertools
import os
import random
import shutil
from functools import cache
from pathlib import Path

import torch
import yaml
from transformers import AutoConfig

from lib import files
from lib.data import batches
from lib.model import encoder
from lib.train import tokenizers

FAMILIES = ("bert", "xlm-roberta")
SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 4,
    "intermediate_size": 20,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "initializer_range": 0.2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
SETTINGS = {
    "steps": 8,
    "batch_size": 4,
    "accumulation": 1,
    "max_length": 16,
    "learning_rate": 1e-2,
    "precision": "float32",
}
DISTIL = SETTINGS | {
    "distillation_loss": "mse",
    "mlm_weight": 0.5,
    "temperature": 2.0,
    "all_positions": False,
}
torch.set_num_threads(1)  # so small a matrix is slower on two
_TUNE = {
    "epochs": 2,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "max_length": 16,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "max_steps": 0,
    "patience": 0,
}
STUDY = {
    "title": "a toy",
    "source": "sample",
    "corpus": {"train": 40, "dev": 10, "test": 10},
    "pairs": [
        {"teacher": "toy-bert", "languages": ["mlt", "slk"]},
        {
            "teacher": "toy-xlmr",
            "languages": ["swh"],
            "set": {"layers": {"layer_choice": "stride"}},
        },
    ],
    "seeds": {"chain": 1, "tasks": [1, 2]},
    "tasks": ["tc", "pos"],
    "score": ["adapt", "vocabulary"],
    "steps": {
        "pretrain": SETTINGS,
        "adapt": SETTINGS | {"published": False},
        "layers": DISTIL | {"num_hidden_layers": 2, "layer_choice": "last_k"},
        "ffn": {
            "intermediate_size": 64,
            "sentences": 20,
            "batch_size": 8,
            "max_length": 16,
            "part": "train",
        },
        "hidden": DISTIL | {"hidden_size": 48, "hidden_start": "truncation"},
        "vocabulary": {"kept_tokens": 500, "counting": "documents"},
    },
    "finetune": {
        "method": "adapter",
        "reduction_factor": 4,
        "adapter_input": "ffn",
        "first_subword": True,
        "train_limit": 20,
        "precision": "auto",
        "sequence": _TUNE,
        "token": _TUNE | {"epochs": 3},
    },
}
_moments = itertools.count(10**9)
_PHRASES = (
    "il-qattus jorqod",
    "the żebbuġ tree",
    "mačka spí",
    "paka mdogo",
    "ħafna kotba",
    "in the garden",
    "pod stolom",
    "chini ya mti",
    "fil-għodu",
    "every evening",
    "po obede",
    "kila siku",
    "jiekol il-ħobż",
    "drinks coffee",
    "číta noviny",
    "anasoma barua",
)


@cache
def sentences(count: int = 60) -> list[str]:
    """Different sentences of one to five phrases of several languages."""
    chance = random.Random(5)
    return [
        " ".join(chance.sample(_PHRASES, 1 + number % 5)).capitalize()
        + (f", {number}." if number % 3 else f" {number}!")
        for number in range(count)
    ]


@cache
def tokenizer(family: str, vocab_size: int = 160):
    """A tokenizer of the family learned from `sentences`; tests must not change it."""
    return tokenizers.train_tokenizer(sentences(), family, vocab_size)


def config(family: str, **changes):
    """A tiny configuration that fits `tokenizer`."""
    own = tokenizer(family)
    entry = {
        "vocab_size": len(own),
        "pad_token_id": own.pad_token_id,
        "bos_token_id": own.bos_token_id,
        "eos_token_id": own.eos_token_id,
        "type_vocab_size": 2 if family == "bert" else 1,
    }
    return AutoConfig.for_model(family, **entry | SIZES | changes)


def model(family: str, seed: int = 0, **changes):
    """A tiny random masked language model; biases and norms are stirred, so that none of them could be lost unseen."""
    result = encoder.new(config(family, **changes), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for tensor in result.parameters():
            if tensor.dim() == 1:
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return result


def encoded(family: str, count: int = 12, max_length: int = 16) -> list[list[int]]:
    """Token ids of the first sentences."""
    return batches.encode(sentences()[:count], tokenizer(family), max_length)


def batch(family: str, count: int = 12, seed: int = 3) -> dict:
    """One masked, padded batch."""
    items = [
        {"input_ids": ids, "number": number} for number, ids in enumerate(encoded(family, count))
    ]
    return batches.Masker(tokenizer(family), seed)(items)


def bits(module) -> dict:
    """A copy of every tensor by name, to compare with later."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}


def same(left: dict, right: dict) -> bool:
    """Whether two collections of named tensors are equal bit for bit."""
    return left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)


def changed(tree: dict, place: str, value=None) -> dict:
    """A copy of nested dicts with another value at `place`, such as "steps.ffn.part"; without a value the key goes."""
    tree = copy.deepcopy(tree)
    *way, last = place.split(".")
    inner = tree
    for key in way:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    if value is None:
        del inner[last]
    else:
        inner[int(last) if isinstance(inner, list) else last] = value
    return tree


def facts_in(folder: Path, monkeypatch) -> Path:
    """Move params/ to `folder`, with the same entry and only the study `toy`; returns the folder."""
    for file in files.PARAMS.glob("*.yaml"):
        if not (folder / file.name).exists():
            shutil.copy(file, folder)
    shutil.rmtree(folder / "studies", ignore_errors=True)
    (folder / "studies").mkdir()
    monkeypatch.setattr(files, "PARAMS", folder)
    write_study(STUDY)
    return folder


def write_study(content: dict, name: str = "toy") -> None:
    """Write a study where the studies lie now."""
    write_yaml(files.PARAMS / "studies" / f"{name}.yaml", content)


def write_yaml(file: Path, content: dict) -> None:
    """Write a YAML file with a time of its own, so that a reader sees the change however quickly it follows another."""
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    os.utime(file, ns=(next(_moments),) * 2)
