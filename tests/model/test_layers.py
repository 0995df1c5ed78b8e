"""Fewer layers: choices against lists by hand, cuts against the teacher's own layers."""

import copy
import itertools
import re

import pytest
import torch
import toys
from torch import nn

from lib.errors import StudyError
from lib.model import axes, encoder, families, hidden, layers, mlm_head, sizes

CHOICES = [
    (12, 6, "last_k", [6, 7, 8, 9, 10, 11]),
    (12, 6, "first_k", [0, 1, 2, 3, 4, 5]),
    (12, 6, "stride", [0, 2, 4, 6, 8, 10]),
    (12, 6, "first_last_k", [0, 1, 2, 9, 10, 11]),
    (12, 6, "random", []),
    (12, 5, "first_last_k", [0, 1, 2, 10, 11]),
    (12, 5, "stride", [0, 2, 4, 7, 9]),
    (12, 5, "last_k", [7, 8, 9, 10, 11]),
    (12, 1, "first_last_k", [0]),
    (12, 1, "stride", [0]),
    (12, 1, "last_k", [11]),
    (4, 3, "stride", [0, 1, 2]),
    (12, 6, "stride_last", [1, 3, 5, 7, 9, 11]),
    (12, 5, "stride_last", [1, 3, 6, 8, 11]),
    (12, 1, "stride_last", [11]),
    (4, 3, "stride_last", [0, 1, 3]),
    (3, 2, "first_last_k", [0, 2]),
    (1, 1, "last_k", [0]),
]
WAYS = ("last_k", "first_k", "stride", "stride_last", "first_last_k")


@pytest.mark.parametrize(("count", "kept", "layer_choice", "expected"), CHOICES)
def test_choices_by_hand(count, kept, layer_choice, expected):
    assert layers.choose(count, kept, layer_choice) == expected


@pytest.mark.parametrize("layer_choice", WAYS)
def test_any_number_of_layers_is_ascending_and_without_repeats(layer_choice):
    for count in range(1, 14):
        for kept in range(1, count + 1):
            chosen = layers.choose(count, kept, layer_choice)
            assert (
                len(chosen) == kept
                and chosen == sorted(set(chosen))
                and set(chosen) <= set(range(count))
            )
        assert chosen == list(range(count))


def test_a_stride_begins_at_the_first_layer_or_ends_at_the_last():
    """The steps between its layers differ by one at most."""
    for count in range(1, 14):
        for kept in range(1, count + 1):
            first, last = (layers.choose(count, kept, way) for way in ("stride", "stride_last"))
            assert first[0] == 0 and last[-1] == count - 1
            gaps = {after - before for before, after in itertools.pairwise(last)}
            assert max(gaps, default=1) - min(gaps, default=1) <= 1


@pytest.mark.parametrize(
    ("kept", "layer_choice", "said"),
    [
        (0, "last_k", "0 layers were asked for; the teacher has 12: take 1 to 12"),
        (13, "stride", "13 layers were asked for"),
        (-1, "first_k", "-1 layers"),
        (6, "middle", "layer_choice: 'middle' is none of last_k, first_k"),
        (6, "", "layer_choice: '' is none of"),
    ],
)
def test_refusals(kept, layer_choice, said):
    with pytest.raises(StudyError, match=re.escape(said)):
        layers.choose(12, kept, layer_choice)


@pytest.mark.parametrize("layer_choice", WAYS)
@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize("kept", [1, 3, 4])
def test_a_cut_is_the_teacher_without_the_other_layers(family, layer_choice, kept):
    teacher, batch = toys.model(family), toys.batch(family)
    before = toys.bits(teacher)
    student = layers.cut(teacher, kept, layer_choice)
    reference = copy.deepcopy(teacher)
    stack = reference.base_model.encoder
    stack.layer = nn.ModuleList(
        stack.layer[number] for number in layers.choose(4, kept, layer_choice)
    )
    assert student(**batch).logits.equal(reference(**batch).logits) and toys.same(
        toys.bits(teacher), before
    )
    assert (
        student.config.num_hidden_layers == kept
        and student.num_parameters() == sizes.count_parameters(student.config)
    )


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_random_layers_are_drawn_from_the_seed_under_the_teachers_embeddings_and_head(family):
    teacher = toys.model(family)
    first, again, other = (toys.bits(layers.cut(teacher, 4, "random", seed)) for seed in (1, 1, 2))
    own = toys.bits(teacher)
    assert toys.same(first, again)
    for name in own:
        if ".encoder.layer." not in name:
            assert first[name].equal(own[name]) and other[name].equal(own[name]), name
        elif name.endswith("dense.weight") or "query.weight" in name:
            assert not first[name].equal(own[name]) and not first[name].equal(other[name]), name
            assert abs(first[name].std() / teacher.config.initializer_range - 1) < 0.2


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_a_cut_of_an_encoder_without_a_head_has_none(family):
    """Whatever is cut: the axes keep what the configuration says of the architecture."""
    teacher, batch = encoder.without_head(toys.model(family)), toys.batch(family)
    ids, few = torch.arange(teacher.config.vocab_size), {"input_ids": torch.tensor([[5, 6, 7]])}
    few["attention_mask"] = torch.ones_like(few["input_ids"])
    for cut in (
        layers.cut(teacher, 2, "stride_last"),
        hidden.start(teacher, 16, "truncation"),
        hidden.start(teacher, 16, "shared_basis", batches=[batch]),
        axes.take(teacher, vocabulary=ids[:-7]),
    ):
        assert cut.config.architectures == teacher.config.architectures
        assert not families.has_head(cut.config) and families.has_head(toys.model(family).config)
        assert sizes.parameters(cut) == sizes.count_parameters(cut.config)
        assert mlm_head.outputs(cut, few).shape == (1, 3, cut.config.hidden_size)
