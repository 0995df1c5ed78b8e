"""Toy encoders, their tokenizers and a little text, which many tests share."""

import json
import random
from functools import cache

import torch
import toy_study
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from toy_study import (  # noqa: F401 (tests take them from here)
    SETTINGS,
    STUDY,
    changed,
    facts_in,
    write_study,
    write_yaml,
)
from transformers import AutoConfig, PreTrainedTokenizerFast

from lib.data import batches
from lib.model import encoder, families
from lib.study import steps
from lib.train import tokenizers

FAMILIES = ("bert", "xlm-roberta")  # those that most tests try; EVERY has all
_OWN = {  # what the others need beside SIZES
    "roberta": {},
    "camembert": {},
    "distilbert": {"dropout": 0.0, "attention_dropout": 0.0},
    "electra": {"embedding_size": 24, "type_vocab_size": 2},
    "electra generator": {"embedding_size": 12, "type_vocab_size": 2},
    "modernbert": {"local_attention": 4},
    "modernbert biases": dict.fromkeys(
        ("norm_bias", "mlp_bias", "attention_bias", "classifier_bias"), True
    )
    | {"local_attention": 4},
}
EVERY = (*FAMILIES, *_OWN)
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
DISTIL = toy_study.DISTIL | steps.LATER["layers"]  # all settings, as a run has them
torch.set_num_threads(1)  # so small a matrix is slower on two
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
    """A tokenizer of the family learned from `sentences`; tests must not change it.

    Byte-level ones have the 256 bytes besides.
    """
    size = vocab_size + byte_tokens(family)
    return tokenizers.train_tokenizer(sentences(), family.split()[0], size)


def byte_tokens(family: str) -> int:
    """How many tokens a family's tokenizer has for bytes."""
    return 256 if families.FAMILIES[family.split()[0]].tokens == "byte-level BPE" else 0


@cache
def gemma(vocab_size: int = 500):
    """A tokenizer such as Gemma's and mmBERT's, learned from `sentences`: BPE of a whole text,
    whose spaces are a part of the tokens, and bytes in place of rare characters.
    """
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    spelt = [f"<0x{byte:02X}>" for byte in range(256)]
    raw = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    raw.normalizer = normalizers.Replace(" ", "▁")
    raw.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for the trainer alone
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special + spelt, show_progress=False
    )
    raw.train_from_iterator(sentences(), trainer)
    state = json.loads(raw.to_str())
    state["added_tokens"] = [each for each in state["added_tokens"] if each["content"] in special]
    raw = Tokenizer.from_str(json.dumps(state))
    raw.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")  # finds no space
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    raw.decoder = decoders.Sequence(steps)
    raw.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> $B <eos>",
        special_tokens=[("<bos>", 2), ("<eos>", 1)],
    )  # fmt: skip
    names = {f"{name}_token": f"<{name}>" for name in ("pad", "bos", "eos", "unk", "mask")}
    names |= {"cls_token": "<bos>", "sep_token": "<eos>"}
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=512, **names)


def config(family: str, own=None, **changes):
    """A tiny configuration that fits `own`, or `tokenizer`."""
    own, model_type = own or tokenizer(family), family.split()[0]
    names = families.FAMILIES[model_type].names
    entry = {
        "vocab_size": len(own),
        "pad_token_id": own.pad_token_id,
        "bos_token_id": own.bos_token_id,
        "eos_token_id": own.eos_token_id,
        "cls_token_id": own.cls_token_id,
        "sep_token_id": own.sep_token_id,
        "type_vocab_size": 2 if family == "bert" else 1,
    }
    sizes = SIZES | _OWN.get(family, {}) | changes
    sizes = {names.get(name, name): value for name, value in sizes.items()}
    return AutoConfig.for_model(model_type, **entry | sizes)


def model(family: str, seed: int = 0, own=None, **changes):
    """A tiny random masked language model, for the tokenizer `own` or that of the family.

    Biases and norms are random too, so that a test sees the loss of any of them.
    """
    result = encoder.new(config(family, own, **changes), seed)
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
