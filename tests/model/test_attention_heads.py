"""Fewer attention heads with a smaller hidden size: which heads stay, against slow references."""

import pytest
import torch
import toys
from transformers import AutoModelForMaskedLM

from lib.data import batches as masking
from lib.errors import StudyError
from lib.model import axes, families, ffn, hidden, mlm_head, parts, passes, sizes
from lib.model.loading import quiet

STARTS = ["truncation", "svd", "shared_basis", "fitted", "random"]
WIDTH, HEADS = 6, 4  # of the toys
every = pytest.mark.parametrize("family", toys.EVERY)


def given(family, count=2):
    """A model, of two layers where nothing asks for more, since fits take long, and two batches."""
    several = masking.masked_batches(toys.encoded(family), toys.tokenizer(family), 8, 1)
    return toys.model(family, num_hidden_layers=count), several


@torch.no_grad()
def lost(model, several):
    """(L, A): the mean square of what the output of attention loses without a head, one by one."""
    result = torch.zeros(model.config.num_hidden_layers, HEADS)
    for depth, layer in enumerate(parts.layers(model)):
        reading = passes.Passes(model, several)
        entering = [reading.entering(at, layer.attention_output)[0] for at in range(len(several))]
        inputs = torch.cat(entering)
        for head in range(HEADS):
            without = inputs.clone()
            without[:, WIDTH * head : WIDTH * (head + 1)] = 0
            change = layer.attention_output(inputs) - layer.attention_output(without)
            result[depth, head] = change.square().sum(1).mean()
    return result


def important(model, several, count):
    """The numbers of the most important heads of each layer, the first one first."""
    return [
        sorted(range(HEADS), key=lambda head: -row[head])[:count] for row in lost(model, several)
    ]


@every
def test_importance_against_one_removal_at_a_time(family):
    model, several = given(family)
    found = ffn.output_change(model, several, "attention_output", WIDTH)
    torch.testing.assert_close(found, lost(model, several), rtol=1e-4, atol=1e-7)


@every
def test_another_order_of_the_heads_changes_no_output(family):
    model, several = given(family)
    before = toys.bits(model)
    ordered = hidden.important_heads_first(model, several)
    for batch in several:
        wanted = mlm_head.outputs(model, batch)
        torch.testing.assert_close(mlm_head.outputs(ordered, batch), wanted, atol=1e-4, rtol=1e-4)
    falling = lost(ordered, several)
    assert (falling[:, :-1] >= falling[:, 1:]).all() and not (lost(model, several) == falling).all()
    assert toys.same(toys.bits(model), before)


@every
@pytest.mark.parametrize("start", STARTS)
def test_keeping_all_heads_by_name_is_the_cut_without_a_name(family, start):
    model, several = given(family)
    named, plain = (hidden.start(model, 16, start, 1, several, count) for count in (HEADS, 0))
    assert toys.same(toys.bits(named), toys.bits(plain))
    whole = hidden.start(model, 24, "truncation", num_attention_heads=HEADS)
    batch = several[0]
    assert mlm_head.outputs(whole, batch).equal(mlm_head.outputs(model, batch))


@pytest.mark.parametrize("family", [each for each in toys.EVERY if each != "electra generator"])
def test_the_most_important_heads_stay_whole(family):  # 12 is the size of its embeddings
    """Hidden size 12 with two heads of 6: queries and outputs sliced one head at a time."""
    model, several = given(family, 4)
    student = hidden.start(model, 12, "truncation", batches=several, num_attention_heads=2)
    chosen = important(model, several, 2)
    assert len({tuple(each) for each in chosen}) > 1  # the layers differ, as a test must see
    for old, new, kept in zip(parts.layers(model), parts.layers(student), chosen, strict=True):
        for place, head in enumerate(kept):
            here, there = slice(6 * place, 6 * place + 6), slice(6 * head, 6 * head + 6)
            assert new.query.weight[here].equal(old.query.weight[there, :12])
            output = old.attention_output.weight[:12, there]
            assert new.attention_output.weight[:, here].equal(output)


@every
@pytest.mark.parametrize("start", STARTS)
def test_fewer_heads_save_and_load_with_plain_transformers(family, start, tmp_path):
    model, several = given(family)
    student = hidden.start(model, 18, start, 1, several, num_attention_heads=3)
    assert families.size(student.config, "num_attention_heads") == 3
    assert student.num_parameters() == sizes.count_parameters(student.config)
    student.save_pretrained(tmp_path)
    with quiet():
        again, report = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    batch = several[0]
    assert mlm_head.outputs(again.eval(), batch).equal(mlm_head.outputs(student, batch))


def test_first_rows_across_heads_are_those_of_the_most_important():
    """Heads of the old size have no border inside, so both cuts are the same."""
    model, several = given("bert")
    across, within = (
        hidden.start(model, 12, start, batches=several, num_attention_heads=2)
        for start in ("truncation_across_heads", "truncation")
    )
    assert toys.same(toys.bits(across), toys.bits(within))


@pytest.mark.parametrize(
    ("size", "heads", "message"),
    [
        (12, 5, "5 attention heads were asked for; the model has 4: take 1 to 4"),
        (20, 3, "3 heads stay, so it must be a multiple of 3 up to 18"),
        (20, 2, "2 heads stay, so it must be a multiple of 2 up to 12"),
        (12, 2, "fewer attention heads need text to choose the heads on"),
    ],
)
def test_what_cannot_be_is_refused(size, heads, message):
    with pytest.raises(StudyError, match=message):
        hidden.start(toys.model("bert"), size, "truncation", num_attention_heads=heads)


def test_heads_of_one_layer_alone():
    """`axes.take` with other entries in each layer: here only layer 1 turns its heads around."""
    model, batch = toys.model("xlm-roberta"), toys.batch("xlm-roberta")
    same = torch.arange(24).view(HEADS, WIDTH)
    turned = axes.take(model, heads=torch.stack([same, same.flip(0), same, same]))
    old, new = (parts.layers(each)[1].query.weight for each in (model, turned))
    assert new[:6].equal(old[18:]) and not new.equal(old)
    assert parts.layers(turned)[0].query.weight.equal(parts.layers(model)[0].query.weight)
    wanted = mlm_head.outputs(model, batch)
    torch.testing.assert_close(mlm_head.outputs(turned, batch), wanted, atol=1e-4, rtol=1e-4)
