"""Ids live in more places than the vocabulary: post-processors, padding, configurations.

The tokenizers here have their special tokens at the end, so that every id changes in a cut. The
expected ids are places in a list of the tokens that stay.
"""

import copy
import json

import numpy
import pytest
import torch
import toys
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers import models as algorithms
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast

from lib.data import batches
from lib.errors import StudyError
from lib.measure import mlm
from lib.model import axes, encoder, loading, vocabulary

NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
SPECIAL = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "xlm-roberta": ["<pad>", "<unk>", "<s>", "</s>", "<mask>"],
}
WORDS = {
    "bert": ["zz", "ab", "yy", "cd", *"abcdef", *(f"##{letter}" for letter in "abcdef")],
    "xlm-roberta": ["▁zz", "▁ab", "▁yy", "▁cd", "▁", *"abcdef"],
}
REMOVED = {"zz", "yy", "▁zz", "▁yy", "f", "##f"}
both = pytest.mark.parametrize("family", toys.FAMILIES)
processors_of = pytest.mark.parametrize("kind", ["template", "pair", "sequence", "nested"])


def tokens(family):
    return [*WORDS[family], "[LANG]", *SPECIAL[family]]


def processor(family, kind):
    """[LANG] stands in the template only; no special token of the tokenizer is called so."""
    place = tokens(family).index
    _, _, cls, sep, _ = SPECIAL[family]
    if kind in ("pair", "nested"):
        pairs = (sep, place(sep)), (cls, place(cls))
        bert = family == "bert"
        inner = (processors.BertProcessing if bert else processors.RobertaProcessing)(*pairs)
    else:
        inner = processors.TemplateProcessing(
            single=f"{cls} [LANG] $A {sep}",
            pair=f"{cls} [LANG] $A {sep} $B:1 {sep}:1",
            special_tokens=[(token, place(token)) for token in (cls, sep, "[LANG]")],
        )
    if kind in ("template", "pair"):
        return inner
    inner = processors.Sequence([processors.ByteLevel(trim_offsets=True), inner])
    return processors.Sequence([inner]) if kind == "nested" else inner


def late(family, kind="template"):
    """A tokenizer with its special tokens behind all others."""
    every = tokens(family)
    if family == "bert":
        numbers = {token: number for number, token in enumerate(every)}
        raw = Tokenizer(algorithms.WordPiece(numbers, unk_token="[UNK]"))
        raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    else:
        scores = [(token, -float(number)) for number, token in enumerate(every)]
        raw = Tokenizer(algorithms.Unigram(scores, unk_id=every.index("<unk>")))
        raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    raw.add_special_tokens(SPECIAL[family])
    raw.post_processor = processor(family, kind)
    special = dict(zip(NAMES, SPECIAL[family], strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=30, **special)


def kept_of(family):
    """(ids that stay, their tokens in order)."""
    pairs = [pair for pair in enumerate(tokens(family)) if pair[1] not in REMOVED]
    ids, names = zip(*pairs, strict=True)
    return numpy.array(ids), list(names)


def expected(family, kind, names):
    """The new ids of "ab cd"."""
    _, _, cls, sep, _ = SPECIAL[family]
    words = ["ab", "cd"] if family == "bert" else ["▁ab", "▁cd"]
    start = [cls, "[LANG]"] if kind in ("template", "sequence") else [cls]
    return [names.index(token) for token in [*start, *words, sep]]


def late_model(family, tokenizer, **more):
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls")}
    ids |= {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}
    return toys.model(family, vocab_size=len(tokenizer), max_position_embeddings=60, **ids | more)


@both
@processors_of
def test_tokens_that_a_post_processor_adds_get_their_new_ids(family, kind, tmp_path):
    old, (kept, names) = late(family, kind), kept_of(family)
    new = vocabulary.trim_tokenizer(old, kept)
    new.save_pretrained(tmp_path)
    plain = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert new("ab cd")["input_ids"] == expected(family, kind, names)
    assert plain.encode("ab cd").ids == expected(family, kind, names)
    for texts in (("ab cd",), ("ab", "cd b")):
        before = old(*texts)["input_ids"]
        for found in (new, AutoTokenizer.from_pretrained(tmp_path)):
            assert kept[found(*texts)["input_ids"]].tolist() == before
    for name, token in zip(NAMES, SPECIAL[family], strict=True):
        assert getattr(new, f"{name}_id") == names.index(token)


@both
@processors_of
def test_the_whole_cut_gives_the_same_logits_to_plain_libraries(family, kind, tmp_path):
    """Position numbers of the XLM-R type start behind the padding token's id, which changes."""
    old, (kept, names) = late(family, kind), kept_of(family)
    model = late_model(family, old)
    small = vocabulary.cut(model, kept)
    old(["ab", "cd ab"], padding=True, truncation=True, max_length=4)  # leaves its settings
    encoder.save(small, vocabulary.trim_tokenizer(old, kept), tmp_path / "cut", "")
    read = AutoModelForMaskedLM.from_pretrained(tmp_path / "cut").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "cut")
    plain = Tokenizer.from_file(str(tmp_path / "cut" / "tokenizer.json"))
    texts = ["ab cd", "ab", "cd ab b e cd ab"]
    assert read.config.pad_token_id == tokenizer.pad_token_id == names.index(SPECIAL[family][0])
    before, after = (each(texts, padding=True, return_tensors="pt") for each in (old, tokenizer))
    assert kept[after["input_ids"]].tolist() == before["input_ids"].tolist()
    asked = ("input_ids", "attention_mask")
    with torch.no_grad():
        wide = model(**{name: before[name] for name in asked}).logits[..., kept]
        narrow = read(**{name: after[name] for name in asked}).logits
    assert torch.allclose(narrow, wide, atol=1e-5)
    for text in texts:
        assert kept[plain.encode(text).ids].tolist() == old(text)["input_ids"]


def test_a_moved_padding_token_costs_no_length():
    """As many tokens as before can be numbered, although the table of positions is shorter."""
    old, (kept, _) = late("xlm-roberta"), kept_of("xlm-roberta")
    model = late_model("xlm-roberta", old)
    small = vocabulary.cut(model, kept)
    moved = len([each for each in tokens("xlm-roberta") if each in REMOVED])
    assert small.config.max_position_embeddings == 60 - moved
    table = "roberta.embeddings.position_embeddings.weight"
    assert small.state_dict()[table].equal(model.state_dict()[table][moved:])


@both
def test_all_ids_of_a_configuration_are_new_ones(family):
    old, (kept, names) = late(family), kept_of(family)
    _, _, cls, sep, mask = SPECIAL[family]
    more = {
        "sep_token_id": old.sep_token_id,
        "mask_token_id": old.mask_token_id,
        "decoder_start_token_id": old.cls_token_id,
        "lost_token_id": tokens(family).index(sorted(REMOVED & set(tokens(family)))[0]),
    }
    config = vocabulary.cut(late_model(family, old, **more), kept).config
    assert (config.cls_token_id, config.bos_token_id) == (names.index(cls),) * 2
    assert config.decoder_start_token_id == names.index(cls)
    assert (config.sep_token_id, config.eos_token_id) == (names.index(sep),) * 2
    assert config.mask_token_id == names.index(mask)
    assert config.lost_token_id is None  # its token does not stay


@both
def test_a_token_that_only_the_template_names_is_never_dropped(family):
    old = late(family, "sequence")
    counts = numpy.zeros(len(old), dtype=int)
    kept = vocabulary.choose(counts, old, 3, set())
    names = [tokens(family)[number] for number in kept]
    assert names == [*WORDS[family][:3], "[LANG]", *SPECIAL[family]]
    assert len(vocabulary.trim_tokenizer(old, kept)) == 9


@both
def test_an_added_token_keeps_its_text_and_gets_a_new_id(family, tmp_path):
    old = copy.deepcopy(late(family))
    old.add_tokens(["x-1", "y-2"])  # behind the special tokens, not special themselves
    kept, names = kept_of(family)
    kept, names = numpy.append(kept, old.convert_tokens_to_ids("y-2")), [*names, "y-2"]
    new = vocabulary.trim_tokenizer(old, kept)
    encoder_ids = new("ab y-2", add_special_tokens=False)["input_ids"]
    assert encoder_ids[-1] == names.index("y-2") == len(new) - 1
    assert "x-1" not in new.get_vocab()


@both
def test_padding_and_truncation_of_an_earlier_call_are_in_no_file(family, tmp_path):
    tokenizer = copy.deepcopy(toys.tokenizer(family))
    text = " ".join(toys.sentences()[:3])
    whole = tokenizer(text)["input_ids"]
    trimmed = vocabulary.trim_tokenizer(tokenizer, numpy.arange(len(tokenizer)))
    for number, one in enumerate((tokenizer, trimmed)):
        batches.encode(toys.sentences(), one, 8)
        one(["ab", text], padding="max_length", max_length=300)
        one([text], truncation=True, max_length=8)
        folder = tmp_path / str(number)
        encoder.save(toys.model(family), one, folder, "")
        state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        assert state["truncation"] is None and state["padding"] is None
        plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
        assert plain.encode(text).ids == whole and len(whole) > 8
        assert [each.ids for each in plain.encode_batch(["", text])][1] == whole


@both
def test_a_trimmed_tokenizer_has_no_old_padding(family):
    """Padding that a file asks for holds an id, which would be another token's now."""
    old, (kept, names) = late(family), kept_of(family)
    old.backend_tokenizer.enable_padding(pad_id=old.pad_token_id, pad_token=old.pad_token)
    old.backend_tokenizer.enable_truncation(4)
    new = vocabulary.trim_tokenizer(old, kept)
    assert new.backend_tokenizer.padding is None and new.backend_tokenizer.truncation is None
    short = new(["ab", "ab cd"], padding=True)["input_ids"][0]
    assert short[-1] == names.index(SPECIAL[family][0])


def holed(tmp_path):
    """The tokenizer of a WordPiece file with one line twice: 8 tokens, the highest id is 8."""
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "a", "c"]
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    named = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "model_max_length": 32}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named), encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == 8 and tokenizer.convert_tokens_to_ids("c") == 8
    return tokenizer


@pytest.mark.parametrize(
    ("counting", "found"),
    [("count", [0, 0, 0, 0, 0, 0, 1, 3, 2]), ("documents", [0, 0, 0, 0, 0, 0, 1, 2, 2])],
)
def test_a_vocabulary_with_a_hole_is_counted_to_its_highest_id(counting, found, tmp_path):
    counts = vocabulary.count(holed(tmp_path), ["a b c a", "c", "a"], counting)
    assert counts.tolist() == found


def test_a_hole_is_no_token_that_can_be_kept(tmp_path):
    tokenizer = holed(tmp_path)
    counts = numpy.array([0, 0, 0, 0, 0, 9, 1, 3, 2])  # the hole, 5, would come first
    assert vocabulary.choose(counts, tokenizer, 2, set()).tolist() == [0, 1, 2, 3, 4, 7, 8]
    assert vocabulary.choose(counts, tokenizer, 3, set()).tolist() == [0, 1, 2, 3, 4, 6, 7, 8]
    with pytest.raises(StudyError, match="the vocabulary has 3, and 0 single characters"):
        vocabulary.choose(counts, tokenizer, 4, set())
    with pytest.raises(StudyError, match="has 7 tokens for 8 embeddings"):
        vocabulary.trim_tokenizer(tokenizer, numpy.array([0, 1, 2, 3, 4, 5, 7, 8]))


def test_the_whole_cut_of_a_vocabulary_with_a_hole(tmp_path):
    """The tokenizer has 8 tokens, the highest id is 8, and the model has 11 rows."""
    old = holed(tmp_path)
    model = toys.model("bert", vocab_size=11, pad_token_id=0)
    loading.check_tokenizer(old, model.config)
    with pytest.raises(StudyError, match="the tokenizer has 9 tokens, the model 8 embeddings"):
        loading.check_tokenizer(old, toys.config("bert", vocab_size=8, pad_token_id=0))
    encoder.save(model, old, tmp_path / "whole", "")
    kept = vocabulary.choose(vocabulary.count(old, ["a c"], "count"), old, 2, set())
    encoder.save(
        vocabulary.cut(model, kept), vocabulary.trim_tokenizer(old, kept), tmp_path / "cut", ""
    )
    small, new = encoder.load(tmp_path / "cut")
    assert new("a c", add_special_tokens=False)["input_ids"] == [5, 6]
    before, after = (each("a c", return_tensors="pt") for each in (old, new))
    assert torch.allclose(small(**after).logits, model(**before).logits[..., kept], atol=1e-5)


def test_the_unigram_loss_of_a_vocabulary_with_a_hole(tmp_path):
    """The highest id is asked for, and training text lacks it: (0 + 1) of 2 + 9 counts."""
    labels = torch.tensor([[-100, 8, -100]])
    found = mlm.unigram(holed(tmp_path), ["a", "b"], [{"labels": labels}])
    assert found["unigram_loss"] == pytest.approx(numpy.log(11))


def test_a_unigram_file_with_a_token_twice(tmp_path):
    scores = [("<unk>", 0.0), ("▁", -9.0), ("▁a", -1.0), ("b", -2.0), ("▁a", -3.0), ("c", -2.0)]
    special = ["<s>", "</s>", "<pad>", "<mask>"]
    raw = Tokenizer(algorithms.Unigram([*scores, *((each, -9.0) for each in special)], unk_id=0))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.add_special_tokens(["<unk>", *special])
    named = dict(zip(NAMES, ["<pad>", "<unk>", "<s>", "</s>", "<mask>"], strict=True))
    old = PreTrainedTokenizerFast(tokenizer_object=raw, **named)
    assert len(old.get_vocab()) == 9 and old("ac")["input_ids"] == [4, 5]
    counts = vocabulary.count(old, ["ac"], "documents")
    assert counts.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    kept = vocabulary.choose(counts, old, 2, set())
    assert kept.tolist() == [0, 4, 5, 6, 7, 8, 9]
    assert vocabulary.trim_tokenizer(old, kept)("ac")["input_ids"] == [1, 2]


def with_bytes(fallback=True):
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    spelt = [f"<0x{byte:02X}>" for byte in range(256)]
    every = [*special, *spelt, "▁", "▁a", "a", "b", "▁ab", "ba", "▁rare", "<mask>"]
    scores = [(token, -number / 10) for number, token in enumerate(every)]
    raw = Tokenizer(algorithms.Unigram(scores, unk_id=3, byte_fallback=fallback))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    raw.add_special_tokens([*special, "<mask>"])
    raw.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    named = dict(zip(NAMES, ["<pad>", "<unk>", "<s>", "</s>", "<mask>"], strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=64, **named), every


def trimmed_bytes(texts, more):
    tokenizer, _ = with_bytes()
    always = vocabulary.single_characters(tokenizer, texts)
    counts = vocabulary.count(tokenizer, texts, "count")
    kept = vocabulary.choose(counts, tokenizer, len(always) + more, always)
    return tokenizer, kept, vocabulary.trim_tokenizer(tokenizer, kept)


def test_bytes_stay_where_a_tokenizer_spells_in_bytes():
    old, kept, new = trimmed_bytes(["ab ab ba"], 1)
    names = old.convert_ids_to_tokens(kept.tolist())
    assert {f"<0x{byte:02X}>" for byte in range(256)} <= set(names) and "▁rare" not in names
    text = "ħ 日 ab"  # letters that the corpus lacks
    assert new.unk_token_id not in new(text)["input_ids"]
    spelt = [f"<0x{byte:02X}>" for letter in "ħ" for byte in letter.encode()]
    assert new.convert_ids_to_tokens(new("ħ")["input_ids"])[1:-1] == ["▁", *spelt]
    assert kept[new(text)["input_ids"]].tolist() == old(text)["input_ids"]
    assert new.decode(new(text)["input_ids"], skip_special_tokens=True) == text


def test_bytes_need_not_stay_without_the_fallback():
    tokenizer, every = with_bytes(fallback=False)
    found = vocabulary.single_characters(tokenizer, ["ab"])
    assert {every[number] for number in found} == {"▁", "▁a", "a", "b"}


def test_the_whole_cut_of_a_tokenizer_with_bytes(tmp_path):
    old, kept, new = trimmed_bytes(["ab ab ba"], 1)
    model = toys.model(
        "xlm-roberta", vocab_size=len(old), pad_token_id=1, bos_token_id=0, eos_token_id=2
    )
    encoder.save(vocabulary.cut(model, kept), new, tmp_path / "cut", "")
    small, read = encoder.load(tmp_path / "cut")
    plain = Tokenizer.from_file(str(tmp_path / "cut" / "tokenizer.json"))
    text = "ab ħ"
    assert kept[plain.encode(text).ids].tolist() == old(text)["input_ids"]
    before, after = (torch.tensor([each(text)["input_ids"]]) for each in (old, read))
    assert torch.allclose(small(after).logits, model(before).logits[..., kept], atol=1e-5)


def test_bytes_are_not_lost_by_the_class_that_a_file_names(tmp_path):
    """The library's class of XLM-R drops the byte tokens of a tokenizer.json."""
    own, _ = with_bytes()
    own.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    named = json.loads(file.read_text()) | {"tokenizer_class": "XLMRobertaTokenizer"}
    file.write_text(json.dumps(named))
    assert AutoTokenizer.from_pretrained(tmp_path)("ħ")["input_ids"] != own("ħ")["input_ids"]
    assert loading.tokenizer(tmp_path, {})("ħ")["input_ids"] == own("ħ")["input_ids"]


@both
def test_unknown_text_is_seen_in_the_ids_alone(family):
    """The tokens of a Unigram tokenizer hold the unknown text itself, never the unknown token."""
    old, (kept, names) = late(family), kept_of(family)
    new = vocabulary.trim_tokenizer(old, kept)
    ids = [each("fab", add_special_tokens=False)["input_ids"] for each in (old, new)]
    assert old.unk_token_id not in ids[0]
    assert names.index(SPECIAL[family][1]) == new.unk_token_id and new.unk_token_id in ids[1]
    if family == "xlm-roberta":
        assert new.tokenize("fab") == old.tokenize("fab")


def test_a_cut_of_another_axis_keeps_every_position():
    model = toys.model("xlm-roberta")
    table = "roberta.embeddings.position_embeddings.weight"
    cut = axes.take(model, layers=[0])
    assert cut.state_dict()[table].equal(model.state_dict()[table])
