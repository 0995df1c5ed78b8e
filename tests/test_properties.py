"""Cuts of random toy models of any size, and trimmed tokenizers on text in many scripts.

Hypothesis draws the cases from a fixed seed, so every run sees the same ones.
"""

from functools import cache
from itertools import pairwise

import numpy
import pytest
import torch
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from lib.model import axes, ffn, hidden, layers, vocabulary
from lib.model import sizes as counting
from lib.train import tokenizers

pytestmark = pytest.mark.slow

both = pytest.mark.parametrize("family", toys.FAMILIES)
few = settings(max_examples=12)
SCRIPTS = {  # letters, marks and signs of each; text is drawn from one or from several
    "Latin": "aeioughstżħċġáčďľňťžŋɓọ̀ıİßÅæ",
    "Greek": "αβγάώςΣϊΐ",
    "Cyrillic": "абвгжяёїґЙ",
    "Arabic": "ابتثكىيءأً",
    "Hebrew": "אבגשםלָּ",
    "Ethiopic": "ሀለሐመሠረ፡።",
    "Devanagari": "कखगािीँ्",
    "Thai": "กขคงิีุ่ำ",
    "CJK": "中文字日本語한국",
    "emoji": "😀🎉👩‍👩‍👧🇲🇹👍🏽",
    "marks": "e\u0301c\u030ca\u0323\u0302",
    "invisible": "\u200b\u200d\ufeff\u00ad\u2060",
    "signs": " .,-'!?0123½²ﬁ…«»\u00a0\u2028",
}


@st.composite
def sizes(draw):
    """A tiny configuration: every size another, heads that divide."""
    heads = draw(st.integers(1, 4))
    return {
        "num_attention_heads": heads,
        "hidden_size": heads * draw(st.integers(1, 5)),
        "num_hidden_layers": draw(st.integers(1, 4)),
        "intermediate_size": draw(st.integers(1, 17)),
    }


@st.composite
def choices(draw, config):
    """Index sets of every axis for `axes.take`, ascending; some axes are left as they are."""

    def some(count, least=1):
        return sorted(draw(st.sets(st.integers(0, count - 1), min_size=least)))

    width = (
        draw(st.integers(1, config.hidden_size // config.num_attention_heads))
        * config.num_attention_heads
    )
    count = draw(st.integers(1, config.intermediate_size))
    neurons = torch.stack(
        [
            torch.randperm(
                config.intermediate_size, generator=torch.Generator().manual_seed(number)
            )[:count]
            .sort()
            .values
            for number in range(config.num_hidden_layers)
        ]
    )
    every = {
        "layers": some(config.num_hidden_layers),
        "neurons": neurons,
        "hidden": list(range(width)),
        "heads": hidden.kept_heads(config, width).tolist(),
        "vocabulary": sorted({0, 1, 2, 3, 4} | set(some(config.vocab_size))),
    }
    kept = draw(st.sets(st.sampled_from(sorted(every))))
    kept |= {"hidden", "heads"} if kept & {"hidden", "heads"} else set()
    return {name: every[name] for name in kept}


@both
@given(data=st.data())
@few
def test_keeping_everything_changes_nothing(family, data):
    model, batch = toys.model(family, **data.draw(sizes())), toys.batch(family, 3)
    config = model.config
    before, logits = toys.bits(model), model(**batch).logits
    same = [
        layers.cut(
            model,
            config.num_hidden_layers,
            data.draw(st.sampled_from(["last_k", "first_k", "stride", "first_last_k"])),
        ),
        ffn.cut(
            model,
            ffn.most_important(
                torch.rand(config.num_hidden_layers, config.intermediate_size),
                config.intermediate_size,
            ),
        ),
        hidden.start(
            model,
            config.hidden_size,
            data.draw(st.sampled_from(["truncation", "truncation_across_heads", "svd"])),
        ),
        vocabulary.cut(model, numpy.arange(config.vocab_size)),
    ]
    for cut in same:
        assert toys.same(toys.bits(cut), before) and cut(**batch).logits.equal(logits)


@both
@given(data=st.data())
@few
def test_a_cut_has_as_many_parameters_as_are_counted_from_its_configuration(family, data):
    model = toys.model(family, **data.draw(sizes()))
    kept = data.draw(choices(model.config))
    cut = axes.take(model, **kept)
    distinct = {tensor.data_ptr(): tensor.numel() for tensor in cut.parameters()}
    assert counting.count_parameters(cut.config) == cut.num_parameters() == sum(distinct.values())
    ids = torch.arange(min(9, cut.config.vocab_size))[None]
    assert torch.isfinite(cut(input_ids=ids, attention_mask=torch.ones_like(ids)).logits).all()


@both
@given(data=st.data())
@few
def test_one_cut_after_another_is_one_cut(family, data):
    """take(take(m, a), b) is take(m, a[b]), and axes may be cut in any order."""
    model = toys.model(family, **data.draw(sizes()))
    kept = data.draw(choices(model.config))
    at_once = toys.bits(axes.take(model, **kept))
    step = model
    order = data.draw(st.permutations(sorted(kept)))
    for name in order:
        if name == "heads":  # goes with hidden: alone it makes no model of the configuration
            continue
        given = {name: kept[name]} | ({"heads": kept["heads"]} if name == "hidden" else {})
        if (
            name == "neurons"
            and "layers" in kept
            and order.index("layers") < order.index("neurons")
        ):
            given = {"neurons": kept["neurons"][kept["layers"]]}
        step = axes.take(step, **given)
    assert toys.same(toys.bits(step), at_once)
    first = sorted(
        data.draw(st.sets(st.integers(5, model.config.vocab_size - 1), min_size=1))
        | {0, 1, 2, 3, 4}
    )
    second = sorted(data.draw(st.sets(st.integers(5, len(first) - 1))) | {0, 1, 2, 3, 4})
    twice = axes.take(axes.take(model, vocabulary=first), vocabulary=second)
    assert toys.same(
        toys.bits(twice),
        toys.bits(axes.take(model, vocabulary=[first[each] for each in second])),
    )


@given(count=st.integers(1, 48), data=st.data())
@few
def test_choices_are_ascending_without_repeats_and_grow(count, data):
    way = data.draw(st.sampled_from(["last_k", "first_k", "stride", "first_last_k"]))
    for kept in range(1, count + 1):
        chosen = layers.choose(count, kept, way)
        assert (
            len(chosen) == kept
            and all(left < right for left, right in pairwise(chosen))
            and set(chosen) <= set(range(count))
        )
    scores = torch.tensor(
        data.draw(st.lists(st.floats(-1, 1, width=32), min_size=count, max_size=count))
    )[None]
    smaller, larger = sorted((data.draw(st.integers(1, count)), data.draw(st.integers(1, count))))
    few_kept, many_kept = (
        ffn.most_important(scores, size)[0].tolist() for size in (smaller, larger)
    )
    assert few_kept == sorted(set(few_kept)) and set(few_kept) <= set(many_kept)
    assert min(scores[0, few_kept]) >= max(
        [scores[0, each] for each in range(count) if each not in few_kept], default=-2
    )


words = st.one_of(
    *(st.text(alphabet=letters, max_size=12) for letters in SCRIPTS.values()), st.text(max_size=8)
)
texts = st.lists(words, max_size=6).map(" ".join)


@cache
def tokenizer(family):
    """A tokenizer that has seen some of every script."""
    text = [
        f"{letters[place:]} {letters[: place + 3]}"
        for letters in SCRIPTS.values()
        for place in range(len(letters))
    ]
    return tokenizers.train_tokenizer(text + toys.sentences(), family, 900)


@both
@given(data=st.data())
@few
def test_trimmed_tokenizers_cut_text_of_any_script_as_before(family, data, tmp_path_factory):
    """The same tokens where all were kept, ids in the old order, saved and loaded the same."""
    old = tokenizer(family)
    size, special = len(old), set(old.all_special_ids)
    sample = data.draw(st.lists(texts, min_size=1, max_size=12))
    needed = {number for text in sample for number in old(text)["input_ids"]}
    kept = numpy.array(
        sorted(special | needed | data.draw(st.sets(st.integers(0, size - 1), max_size=200)))
    )
    new = vocabulary.trim_tokenizer(old, kept)
    folder = tmp_path_factory.mktemp("trimmed")
    new.save_pretrained(folder)
    again = AutoTokenizer.from_pretrained(folder)
    assert [
        new.convert_ids_to_tokens(number) for number in range(len(kept))
    ] == old.convert_ids_to_tokens(kept.tolist())
    assert again.get_vocab() == new.get_vocab() and len(new) == len(kept)
    for text in sample + data.draw(st.lists(texts, max_size=12)):
        ids = old(text)["input_ids"]
        assert again(text)["input_ids"] == new(text)["input_ids"]
        if set(ids) <= set(kept.tolist()):
            assert kept[new(text)["input_ids"]].tolist() == ids and new.tokenize(
                text
            ) == old.tokenize(text), text
