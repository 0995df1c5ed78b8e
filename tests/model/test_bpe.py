"""BPE vocabularies: the history of a token, exact choices, and trimmed tokenizers that cut kept
text as the whole ones do.
"""

import copy
import json
from collections import Counter
from functools import cache

import numpy
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast, RobertaTokenizer

from lib import files
from lib.data import readers
from lib.errors import StudyError
from lib.model import encoder, loading, merges, trimmed, vocabulary

NAMES = ("cls_token", "pad_token", "sep_token", "unk_token", "mask_token")
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TEXT = [
    *toys.sentences(),
    "ο σκύλος και η γάτα, οι σκύλοι και οι γάτες",
    "кошка и собака живут в доме, кошки и собаки",
    "الكلب والقطة في البيت، الكلاب والقطط",
    "הכלב והחתול בבית, הכלבים והחתולים",
    "ውሻ እና ድመት በቤት ውስጥ፣ ውሾች እና ድመቶች",
    "कुत्ता और बिल्ली घर में, कुत्ते और बिल्लियाँ",
    "แมวและหมาอยู่ในบ้าน แมวและหมา",
    "犬と猫が家にいる。犬と猫と家",
    "foo  bar   baz\tqux -- 2026 2027 2028!",
]
ODD = [
    "",
    " ",
    "  a  b ",
    "a\u3000b\tc\nd",
    "<mask> x</s>y",
    "ħ ħ",
    "日本 語",
    "▁a ▁ b▁c ##d",
    "😀 a",
]
KINDS = ("byte", "byte with space", "ignore", "fallback", "metaspace", "marks")
few = settings(max_examples=25)
all_kinds = pytest.mark.parametrize("kind", KINDS)


def model_of(kind):
    if kind in ("fallback", "metaspace"):
        return BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    if kind == "marks":
        marks = {"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"}
        return BPE(unk_token="<unk>", **marks)
    return BPE(ignore_merges=kind == "ignore")


def steps_of(raw, kind):
    """Set what comes before and behind the model, as published tokenizers of each kind do."""
    if kind in ("byte", "byte with space", "ignore"):
        raw.normalizer = normalizers.NFC()
        level = pre_tokenizers.ByteLevel(add_prefix_space=kind == "byte with space")
        if kind == "ignore":
            level = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])
        raw.pre_tokenizer, raw.decoder = level, decoders.ByteLevel()
    elif kind == "fallback":
        raw.normalizer = normalizers.Replace(" ", "▁")
        raw.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    elif kind == "metaspace":
        raw.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()


def trained(texts, kind, size):
    """A BPE tokenizer of a kind, with its special tokens first and the mask behind all others."""
    raw = Tokenizer(model_of(kind))
    steps_of(raw, kind)
    special = [*SPECIAL[:4], *(BYTES if kind in ("fallback", "metaspace") else [])]
    options = {"vocab_size": size, "special_tokens": special, "show_progress": False}
    if kind == "marks":
        options |= {"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"}
    elif kind in ("fallback", "metaspace"):
        options |= {"limit_alphabet": 150}  # the rarest characters are spelt in bytes
    else:
        options |= {"initial_alphabet": sorted(pre_tokenizers.ByteLevel.alphabet())}
    parts = texts
    if kind == "fallback":  # the trainer reads words; the tokenizer reads a text as one word
        raw.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split("▁", "merged_with_next"), pre_tokenizers.Digits()]
        )
    raw.train_from_iterator(parts, trainers.BpeTrainer(**options))
    steps_of(raw, kind)
    state = json.loads(raw.to_str())
    state["added_tokens"] = [each for each in state["added_tokens"] if each["content"] in SPECIAL]
    if kind in ("fallback", "ignore"):
        state["model"]["merges"] = every_merge(state["model"]["vocab"])
    if kind == "ignore":  # a whole word that no merges give
        state["model"]["vocab"]["qux2"] = len(state["model"]["vocab"])
    raw = Tokenizer.from_str(json.dumps(state))
    raw.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    mask = raw.token_to_id("<mask>")
    pair = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    template = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> <mask> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2), ("<mask>", mask)],
    )  # fmt: skip
    nested = [processors.ByteLevel(trim_offsets=True), template]
    raw.post_processor = pair if kind == "byte" else processors.Sequence(nested)
    named = dict(zip(NAMES, SPECIAL, strict=True))
    if kind == "ignore":
        named.pop("unk_token")
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=512, **named)


def every_merge(numbers):
    """The merges of a tokenizer that was converted from SentencePiece: all pairs that give a token,
    so many tokens have several.
    """
    tokens = [token for token in sorted(numbers, key=numbers.get) if token not in SPECIAL + BYTES]
    return [
        [token[:at], token[at:]]
        for token in tokens
        for at in range(1, len(token))
        if token[:at] in numbers and token[at:] in numbers
    ]


@cache
def tokenizer(kind):
    return trained(TEXT, kind, 900)


def ids_of(own, text):
    return own(text, add_special_tokens=False)["input_ids"]


def closed(own, tokens):
    """Kept ids: these tokens with their histories, the special tokens and the bytes."""
    spelt = merges.byte_tokens(own.backend_tokenizer)
    always = {own.convert_tokens_to_ids(token) for token in spelt} | {*own.all_special_ids}
    history = merges.history(own)
    return numpy.array(sorted(always.union(*map(history, tokens))))


def by_hand(words, pairs, **more):
    """A tokenizer of these single characters and merges, without any other step."""
    tokens = dict.fromkeys([*SPECIAL, *words, *("".join(pair) for pair in pairs)])
    numbers = {token: number for number, token in enumerate(tokens)}
    raw = Tokenizer(BPE(numbers, pairs, unk_token="<unk>", **more))
    named = dict(zip(NAMES, SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=raw, **named)


def names(own, numbers):
    return own.convert_ids_to_tokens([int(number) for number in numbers])


def test_a_history_worked_out_by_hand():
    """abc is first b + c, then a + bc: the merge a + b comes too late, though ab + c is a merge."""
    own = by_hand("abcd", [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc"), ("abc", "d")])
    history = merges.history(own)
    number = own.convert_tokens_to_ids
    assert names(own, history(number("abcd"))) == ["a", "b", "c", "d", "bc", "abc", "abcd"]
    assert names(own, history(number("ab"))) == ["a", "b", "ab"]
    assert names(own, history(number("<mask>"))) == ["<mask>"]
    kept = closed(own, [number("abcd")])
    assert names(own, kept) == [*SPECIAL, "a", "b", "c", "d", "bc", "abc", "abcd"]
    small = vocabulary.trim_tokenizer(own, kept)
    state = json.loads(small.backend_tokenizer.to_str())["model"]
    assert state["merges"] == [["b", "c"], ["a", "bc"], ["abc", "d"]]
    assert small.tokenize("abcdabc") == own.tokenize("abcdabc") == ["abcd", "abc"]


def test_the_leftmost_of_equal_merges_comes_first():
    own = by_hand("a", [("a", "a"), ("aa", "a"), ("aa", "aa")])
    history = merges.history(own)
    for text, last in (("aaa", ["aa", "aaa"]), ("aaaa", ["aa", "aa", "aaaa"])):
        assert names(own, history(own.convert_tokens_to_ids(text)))[len(text) :] == last


def test_a_token_that_no_text_leads_to_needs_nothing():
    """The text "abc" becomes a + bc, so the merge (ab, c) never happens."""
    own = by_hand("abc", [("b", "c"), ("a", "b"), ("ab", "c")])
    number = own.convert_tokens_to_ids("abc")
    assert own.tokenize("abc") == ["a", "bc"] and merges.history(own)(number) == [number]


@all_kinds
def test_counts_are_those_of_a_plain_count(kind):
    own, expected = tokenizer(kind), Counter()
    texts = [f"{each} {each}" for each in TEXT] + ODD
    for text in texts:
        expected.update(ids_of(own, text))
    own(texts, padding=True, truncation=True, max_length=4)  # leaves its settings
    counts = vocabulary.count(own, iter(texts), "count")
    assert {number: count for number, count in enumerate(counts.tolist()) if count} == expected
    assert vocabulary._splits_at_spaces(own) is (kind in ("metaspace", "marks"))


@pytest.mark.parametrize(
    ("step", "first"),
    [("normalizer", normalizers.Prepend("▁")), ("normalizer", normalizers.Replace(" ", "▁"))],
)
def test_words_are_not_counted_alone_where_spaces_are_changed(step, first):
    raw = Tokenizer(BPE({"▁": 0, "a": 1, "▁a": 2}, [("▁", "a")]))
    raw.normalizer, raw.pre_tokenizer = first, pre_tokenizers.WhitespaceSplit()
    raw.add_special_tokens(["<pad>"])
    own = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>")
    counts = vocabulary.count(own, ["a a a"], "count")
    expected = Counter(ids_of(own, "a a a"))
    assert counts.tolist() == [expected[number] for number in range(4)]


def test_an_added_token_with_a_space_is_counted():
    own = trained(TEXT, "marks", 400)
    own.add_tokens(["il-qattus jorqod"])
    assert vocabulary.count(own, ["a il-qattus jorqod b"], "count")[-1] == 1


@all_kinds
def test_single_characters_are_kept_with_their_parts_and_all_bytes(kind):
    own = tokenizer(kind)
    found = set(names(own, vocabulary.single_characters(own, ["ħa b"])))
    spelt = merges.byte_tokens(own.backend_tokenizer)
    assert len(spelt) == (0 if kind == "marks" else 256)
    expected = {
        "byte": {"Ä§", "ĠÄ§", "Ġa", "Ġb"},
        "fallback": {"ħ", "▁ħ", "a", "b", "▁a", "▁b", "▁"},
        "marks": {"ħ", "##ħ", "a", "##a", "a</w>", "##a</w>", "b", "##b", "b</w>", "##b</w>"},
    }
    expected["byte with space"] = expected["ignore"] = expected["byte"]
    expected["metaspace"] = expected["fallback"]
    assert found == spelt | (expected[kind] & own.get_vocab().keys())
    assert {"Ä§", "ħ"} & found


@all_kinds
def test_a_choice_is_exact_and_closed_and_takes_the_most_frequent(kind):
    own = tokenizer(kind)
    counts, history = vocabulary.count(own, TEXT[:30], "count"), merges.history(own)
    special = set(own.all_special_ids)
    always = vocabulary.single_characters(own, TEXT[:30])
    fixed = set().union(*map(history, always)) - special
    for more in (0, 1, 7, 60, len(own) - len(special) - len(fixed)):
        kept = vocabulary.choose(counts, own, len(fixed) + more, always)
        kept_set = set(kept.tolist())
        assert len(kept) == len(kept_set) == len(fixed) + more + len(special)
        assert kept_set >= special | fixed and kept.tolist() == sorted(kept_set)
        assert all(kept_set.issuperset(history(number)) for number in kept_set)
        rest = [number for number in own.get_vocab().values() if number not in kept_set]
        lost = max((counts[number] for number in rest), default=0)
        needed = set().union(*(history(n) for n in kept_set if counts[n] >= max(lost, 1)))
        unused = kept_set - needed - fixed - special
        assert not (lost and unused - set(history(_last(counts, rest))))
    with pytest.raises(StudyError, match=f"{len(fixed)} single characters.* must stay"):
        vocabulary.choose(counts, own, len(fixed) - 1, always)


def _last(counts, rest):
    """The first token that did not stay: of equal counts the lower id comes first."""
    return min(rest, key=lambda number: (-counts[number], number))


def same_cut(own, small, kept, texts):
    """How many texts keep all their tokens; these must be cut alike."""
    kept_set, covered = set(kept.tolist()), 0
    for text in texts:
        before = own(text)["input_ids"]
        if kept_set.issuperset(before):
            assert kept[small(text)["input_ids"]].tolist() == before, text
            covered += 1
    return covered


@all_kinds
def test_a_trimmed_tokenizer_cuts_kept_text_as_before(kind, tmp_path):
    own = tokenizer(kind)
    counts = vocabulary.count(own, TEXT[:60:2], "count")
    always = vocabulary.single_characters(own, TEXT[:60:2])
    fixed = set().union(*map(merges.history(own), always)) - {*own.all_special_ids}
    kept = vocabulary.choose(counts, own, len(fixed) + 120, always)
    before = own.backend_tokenizer.to_str()
    small = vocabulary.trim_tokenizer(own, kept)
    encoder_texts = [*TEXT, *ODD, *(word for text in TEXT for word in text.split())]
    small.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert own.backend_tokenizer.to_str() == before
    for each in (small, again):
        assert same_cut(own, each, kept, encoder_texts) > 50
        assert names(each, range(len(kept))) == names(own, kept)
        pair = ("il-qattus", "kotba")
        assert kept[each(*pair)["input_ids"]].tolist() == own(*pair)["input_ids"]
        for name in NAMES:
            token = getattr(own, f"{name}_id")
            assert token is None or kept[getattr(each, f"{name}_id")] == token
    if kind != "marks":  # nothing is ever unknown, not even a letter of no text
        for text in ("ʘ 𓀀 ꙮ", "\x00\x01 ÿ"):
            assert small.unk_token_id not in small(text)["input_ids"]
            assert (
                small.decode(ids_of(small, text)).strip() == own.decode(ids_of(own, text)).strip()
            )


@pytest.mark.slow
@all_kinds
@given(data=st.data())
@few
def test_any_closed_choice_cuts_any_text_of_its_tokens_as_before(kind, data):
    own = tokenizer(kind)
    numbers = st.integers(0, len(own) - 1)
    kept = closed(own, data.draw(st.sets(numbers, min_size=5, max_size=150)))
    small = vocabulary.trim_tokenizer(own, kept)
    plain = [token for token in names(own, kept) if token not in BYTES]
    strip = str.maketrans({"▁": " ", "Ġ": " "})
    pieces = [token.removeprefix("##").removesuffix("</w>").translate(strip) for token in plain]
    if kind in ("byte", "byte with space", "ignore"):
        pieces = [own.convert_tokens_to_string([token]) for token in plain]
    texts = data.draw(
        st.lists(st.lists(st.sampled_from(pieces), max_size=8).map("".join), min_size=5)
    )
    same_cut(own, small, kept, texts + TEXT)


def test_every_token_of_a_history_is_needed():
    """Of the merges that made a word none is spare: without it the word is cut otherwise."""
    own = tokenizer("byte")
    history, counts = merges.history(own), vocabulary.count(own, TEXT, "count")
    bytes_too = set(closed(own, []).tolist())
    tried = 0
    for token in numpy.argsort(-counts)[:60].tolist():
        for part in set(history(token)[:-1]) - bytes_too:
            kept = {*history(token), *bytes_too} - {part}
            with pytest.raises(StudyError, match="which it is merged from; take the ids"):
                vocabulary.trim_tokenizer(own, numpy.array(sorted(kept)))
            state = json.loads(own.backend_tokenizer.model.__getstate__())
            left = {name: number for name, number in state["vocab"].items() if number in kept}
            pairs = [tuple(pair) for pair in merges.among(state, left)]
            text = own.convert_ids_to_tokens(token)
            assert [each.value for each in BPE(left, pairs).tokenize(text)] != [text]
            tried += 1
    assert tried > 20


def test_a_byte_that_would_vanish_is_refused():
    own = tokenizer("byte")
    kept = closed(own, [])
    lost = own.convert_tokens_to_ids("Ċ")
    with pytest.raises(StudyError, match="1 bytes would have no token, such as 'Ċ'"):
        vocabulary.trim_tokenizer(own, kept[kept != lost])


def test_a_word_that_only_ignore_merges_gives_is_kept_alone():
    own = tokenizer("ignore")
    number = own.convert_tokens_to_ids("qux2")
    raw = Tokenizer.from_str(own.backend_tokenizer.to_str())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    own = PreTrainedTokenizerFast(tokenizer_object=raw, **own.special_tokens_map)
    assert own.tokenize("qux2") == ["qux2"] and merges.history(own)(number) == [number]
    kept = closed(own, [number])
    small = vocabulary.trim_tokenizer(own, kept)
    assert small.tokenize("qux2") == ["qux2"] and small.tokenize("qux2q") != ["qux2", "q"]


def test_a_tokenizer_that_spells_bytes_needs_no_unknown_token():
    own = tokenizer("ignore")
    assert own.unk_token is None
    config = toys.config("bert", vocab_size=len(own), pad_token_id=own.pad_token_id)
    loading.check_tokenizer(own, config)
    bare = by_hand("ab", [("a", "b")])
    bare.unk_token = None
    with pytest.raises(StudyError, match="has no unk_token; masked training needs one"):
        loading.check_tokenizer(bare, config)


def test_a_tokenizer_that_drops_characters_is_refused():
    """Some bytes have no token: their text vanishes, though an unk_token is named."""
    numbers = {token: number for number, token in enumerate([*SPECIAL, "a", "b"])}
    raw = Tokenizer(BPE(numbers, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own = PreTrainedTokenizerFast(tokenizer_object=raw, **dict(zip(NAMES, SPECIAL, strict=True)))
    assert own.tokenize("acb") == ["a", "b"]
    with pytest.raises(StudyError, match="drops characters that it has no token for"):
        loading.check_tokenizer(own, toys.config("bert", vocab_size=7, pad_token_id=1))


def test_a_tokenizer_that_cuts_by_chance_is_refused():
    own = by_hand("ab", [("a", "b")], dropout=0.5)
    with pytest.raises(StudyError, match="cuts the same text in several ways, by chance"):
        loading.check_tokenizer(own, toys.config("bert", vocab_size=len(own), pad_token_id=1))


def test_a_roberta_file_keeps_all_its_settings(tmp_path):
    """The library's class makes a tokenizer of its own; what the file says is read instead."""
    own = tokenizer("byte with space")  # NFC and a space before the text
    plain = RobertaTokenizer(
        vocab=own.get_vocab(),
        merges=[
            tuple(pair) for pair in json.loads(own.backend_tokenizer.to_str())["model"]["merges"]
        ],
    )
    plain.save_pretrained(tmp_path / "plain")
    assert type(loading.tokenizer(tmp_path / "plain", {})) is RobertaTokenizer
    kept = closed(plain, range(0, len(plain), 2))
    small = vocabulary.trim_tokenizer(plain, kept)
    assert (
        type(small) is RobertaTokenizer
        and same_cut(plain, small, kept, [plain.decode([number]) for number in kept]) > 50
    )
    own.save_pretrained(tmp_path / "own")
    file = tmp_path / "own" / "tokenizer_config.json"
    named = json.loads(file.read_text(encoding="utf-8")) | {"tokenizer_class": "RobertaTokenizer"}
    named.pop("add_prefix_space", None)
    file.write_text(json.dumps(named), encoding="utf-8")
    read = loading.tokenizer(tmp_path / "own", {})
    assert AutoTokenizer.from_pretrained(tmp_path / "own").tokenize("kotba") != own.tokenize(
        "kotba"
    )
    for text in TEXT:
        assert read(text)["input_ids"] == own(text)["input_ids"]


def pair_of(kind):
    """(model, tokenizer), (trimmed model, trimmed tokenizer), kept ids."""
    own = toys.tokenizer(kind) if kind in toys.FAMILIES else tokenizer(kind)
    family = kind if kind in toys.FAMILIES else "xlm-roberta"
    ids = {f"{name}_token_id": getattr(own, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    model = toys.model(family, vocab_size=len(own), max_position_embeddings=130, **ids)
    always = vocabulary.single_characters(own, TEXT[:30])
    counts = vocabulary.count(own, TEXT[:30], "count")
    fixed = set().union(*map(merges.history(own), always)) - {*own.all_special_ids}
    kept = vocabulary.choose(counts, own, len(fixed) + 25, always)
    small = vocabulary.cut(model, kept), vocabulary.trim_tokenizer(own, kept)
    return (model, own), small, kept


@pytest.mark.parametrize("kind", [*toys.FAMILIES, *KINDS])
def test_a_trimmed_pair_is_checked_by_what_it_does(kind, tmp_path):
    whole, small, kept = pair_of(kind)
    assert trimmed.check(whole, small, kept, TEXT[:60]) > 30
    encoder.save(*small, tmp_path / "cut", "")
    assert trimmed.check(whole, encoder.load(tmp_path / "cut"), kept, TEXT[:60]) > 30
    assert 0.1 < trimmed.alike(whole[1], small[1], kept, TEXT) < 1
    assert trimmed.alike(whole[1], whole[1], numpy.arange(len(whole[1])), TEXT) == 1
    with pytest.raises(StudyError, match="no word of the sentences keeps all its tokens"):
        trimmed.check(whole, small, kept, [])
    ordinary = ~numpy.isin(kept, whole[1].all_special_ids)
    mixed = kept.copy()
    mixed[ordinary] = mixed[ordinary][::-1]
    with pytest.raises(StudyError, match="gives other ids when it is trimmed"):
        trimmed.check(whole, small, mixed, TEXT[:60])


def test_another_special_token_is_another_tokenizer():
    """No text holds the mask, so its id alone shows the change."""
    (_, own), _, _ = pair_of("bert")
    other = copy.deepcopy(own)
    trimmed.check_ids(own, other, "copied", TEXT[:5])
    other.mask_token = other.sep_token
    with pytest.raises(StudyError, match=r"gives other ids when it is changed \(BertTokenizer\)"):
        trimmed.check_ids(own, other, "changed", TEXT[:5])


@pytest.mark.parametrize("kind", ["bert", "byte"])
def test_a_pair_whose_rows_are_in_another_order_is_refused(kind):
    whole, (model, own), kept = pair_of(kind)
    rows = numpy.arange(len(kept))
    rows[-40:] = rows[-40:][::-1]
    with pytest.raises(StudyError, match="gives other outputs"):
        trimmed.check(whole, (vocabulary.cut(model, rows), own), kept, TEXT[:60])


def test_the_share_that_is_cut_alike_by_hand():
    """ "abc ab" is [abc] [ab]; without the token abc it is [ab] [c] [ab]: one of two is alike."""
    own = by_hand("abc ", [("a", "b"), ("ab", "c")])
    raw = Tokenizer.from_str(own.backend_tokenizer.to_str())
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    own = PreTrainedTokenizerFast(tokenizer_object=raw, **own.special_tokens_map)
    kept = closed(own, own.convert_tokens_to_ids(["ab", "c"]))
    small = vocabulary.trim_tokenizer(own, kept)
    assert small.tokenize("abc ab") == ["ab", "c", "ab"]
    assert trimmed.alike(own, small, kept, ["abc ab"]) == 0.5


CORPORA = files.ROOT.parent / "shared" / "data" / "corpora"
LANGUAGES = ("slk", "yor", "ell", "rus", "ara", "heb", "amh")  # six scripts


@pytest.mark.slow
@pytest.mark.skipif(not CORPORA.is_dir(), reason="needs the corpora of ../shared, for real text")
@pytest.mark.parametrize("kind", ["byte", "ignore", "fallback"])
def test_real_text_of_six_scripts_is_cut_as_before(kind):
    """Each language keeps 2,500 of 8,000 tokens; other lines of its text, and their words, of which
    all tokens stay must be cut alike.
    """
    lines = {each: readers.lines(CORPORA / f"{each}.txt.xz")[:1400] for each in LANGUAGES}
    own = trained([line for some in lines.values() for line in some[:700]], kind, 8000)
    for language, some in lines.items():
        always = vocabulary.single_characters(own, some[:700])
        counts = vocabulary.count(own, some[:700], "count")
        kept = vocabulary.choose(counts, own, 2500, always)
        small = vocabulary.trim_tokenizer(own, kept)
        unseen = some[700:]
        words = sorted({word for line in unseen for word in line.split()})
        assert same_cut(own, small, kept, words + unseen) > len(words) / 2, language
        assert trimmed.alike(own, small, kept, unseen) > 0.8, language
