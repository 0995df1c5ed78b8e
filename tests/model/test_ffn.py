"""Narrower FFN: importance against slow references, cuts against zeroed columns."""

import copy
import re

import pytest
import torch
import toys

from lib.data import batches as masked
from lib.errors import StudyError
from lib.measure import mlm
from lib.model import encoder, families, ffn, mlm_head, sizes

pytestmark = pytest.mark.parametrize("family", toys.FAMILIES)


def batches(family):
    return masked.masked_batches(toys.encoded(family, 20), toys.tokenizer(family), 8, 1)


def layer(model, number):
    return model.base_model.encoder.layer[number]


def test_importance_against_a_slow_walk(family):
    """The library's own loss, one backward pass a batch, and a loop over neurons and weights."""
    model = toys.model(family)
    before, expected = toys.bits(model), torch.zeros(4, 20)
    for batch in batches(family):
        walked = copy.deepcopy(model)
        walked(**batch).loss.backward()
        for number in range(4):
            dense = layer(walked, number).intermediate.dense
            for neuron in range(20):
                change = (dense.bias[neuron] * dense.bias.grad[neuron]).item()
                for weight, gradient in zip(
                    dense.weight[neuron].tolist(), dense.weight.grad[neuron].tolist(), strict=True
                ):
                    change += weight * gradient
                expected[number, neuron] += abs(change)
    found = ffn.importance(model, batches(family), mlm.mlm_loss)
    assert (
        len(batches(family)) == 3
        and torch.allclose(found, expected, rtol=1e-3, atol=1e-6)
        and expected.min() > 0
    )
    assert toys.same(toys.bits(model), before) and all(
        tensor.grad is None for tensor in model.parameters()
    )


def test_importance_is_a_sum_of_absolute_values_over_batches(family):
    model, several = toys.model(family), batches(family)
    apart = [ffn.importance(model, [batch], mlm.mlm_loss) for batch in several]
    assert torch.allclose(sum(apart), ffn.importance(model, several, mlm.mlm_loss), rtol=1e-5)


def test_importance_is_the_slope_of_the_loss_as_a_neuron_fades(family):
    model, batch, step = toys.model(family).double(), batches(family)[0], 1e-5
    found = ffn.importance(model, [batch], lambda model, batch: model(**batch).loss)
    for number, neuron in ((0, 0), (1, 7), (3, 19)):
        losses = []
        for share in (1 + step, 1 - step):
            faded = copy.deepcopy(model)
            with torch.no_grad():
                dense = layer(faded, number).intermediate.dense
                dense.weight[neuron] *= share
                dense.bias[neuron] *= share
                losses.append(faded(**batch).loss.item())
        assert found[number, neuron].item() == pytest.approx(
            abs(losses[0] - losses[1]) / (2 * step), rel=1e-3, abs=1e-7
        )


def test_a_neuron_without_weights_has_no_importance(family):
    model = toys.model(family)
    with torch.no_grad():
        incoming, outgoing = layer(model, 1).intermediate.dense, layer(model, 2).output.dense
        incoming.weight[4], incoming.bias[4] = 0, 0  # nothing comes in
        outgoing.weight[:, 5] = 0  # nothing goes out
    found = ffn.importance(model, batches(family), mlm.mlm_loss)
    assert found[1, 4] == 0 and found[2, 5] == 0 and (found == 0).sum() == 2
    kept = ffn.most_important(found, 19)
    assert 4 not in kept[1] and 5 not in kept[2]


def test_the_most_important_are_kept_in_order_and_ties_go_to_the_lower_number(family):
    found = torch.tensor([[3.0, 1.0, 2.0, 2.0, 5.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    assert ffn.most_important(found, 3).tolist() == [[0, 2, 4], [0, 1, 2]]
    random = torch.rand(4, 50, generator=torch.Generator().manual_seed(2))
    for row, kept in zip(random.tolist(), ffn.most_important(random, 17).tolist(), strict=True):
        assert kept == sorted(sorted(range(50), key=lambda neuron: -row[neuron])[:17])


@pytest.mark.parametrize("size", [0, 21, -3])
def test_sizes_that_do_not_exist(family, size):
    with pytest.raises(
        StudyError,
        match=re.escape(
            f"an intermediate size of {size} was asked for; the model has 20: take 1 to 20"
        ),
    ):
        ffn.most_important(torch.rand(4, 20), size)


def test_a_cut_is_the_model_with_the_other_neurons_silenced(family):
    model, batch = toys.model(family), toys.batch(family)
    before = toys.bits(model)
    kept = ffn.most_important(ffn.importance(model, batches(family), mlm.mlm_loss), 13)
    cut, silenced = ffn.cut(model, kept), copy.deepcopy(model)
    with torch.no_grad():
        for number in range(4):
            lost = sorted(set(range(20)) - set(kept[number].tolist()))
            layer(silenced, number).output.dense.weight[:, lost] = 0
    assert torch.allclose(cut(**batch).logits, silenced(**batch).logits, atol=1e-5)
    assert not torch.allclose(cut(**batch).logits, model(**batch).logits, atol=1e-2)
    assert cut.config.intermediate_size == 13 and cut.num_parameters() == sizes.count_parameters(
        cut.config
    )
    assert toys.same(toys.bits(model), before)


def test_keeping_every_neuron_changes_nothing(family):
    model, batch = toys.model(family), toys.batch(family)
    everything = ffn.most_important(torch.rand(4, 20), 20)
    assert ffn.cut(model, everything)(**batch).logits.equal(model(**batch).logits)


def test_a_broken_model_has_no_importance(family):
    model = toys.model(family)
    with torch.no_grad():
        layer(model, 0).output.dense.weight[0, 0] = torch.nan
    with pytest.raises(StudyError, match="gradients of the MLM loss are not finite"):
        ffn.importance(model, batches(family), mlm.mlm_loss)


def outputs_without(model, number, batches):
    """(tokens, H) outputs of a layer's second matrix, whole and then without each neuron in turn,
    from the same input, at the real positions of the batches.
    """
    dense, given = layer(model, number).output.dense, []
    hook = dense.register_forward_hook(lambda *call: given.append(call[1][0]))
    with torch.no_grad():
        for batch in batches:
            model(**batch)
        hook.remove()
        real = [x[b["attention_mask"].bool()] for x, b in zip(given, batches, strict=True)]
        inputs, result = torch.cat(real).double(), []
        for neuron in (None, *range(dense.in_features)):
            weight = dense.weight.double().clone()
            if neuron is not None:
                weight[:, neuron] = 0
            result.append(inputs @ weight.T + dense.bias.double())
    return result


def test_the_change_of_the_output_against_one_removal_at_a_time(family):
    model, several = toys.model(family), batches(family)
    before, expected = toys.bits(model), []
    for number in range(4):
        whole, *without = outputs_without(model, number, several)
        expected.append([((whole - each) ** 2).sum(1).mean().item() for each in without])
    found = ffn.output_change(encoder.without_head(model), several)
    assert torch.allclose(found.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-4)
    dense = [layer(model, number).output.dense for number in range(4)]
    assert not any(each._forward_pre_hooks for each in dense)
    body = {name: tensor for name, tensor in before.items() if ".encoder." in name}
    assert toys.same({name: toys.bits(model)[name] for name in body}, body)


def test_a_neuron_that_is_much_stronger_than_all_others_comes_first(family):
    model, several = toys.model(family), batches(family)
    with torch.no_grad():
        layer(model, 2).output.dense.weight[:, 7] *= 1000
    found = ffn.output_change(model, several)
    assert ffn.most_important(found, 1)[2].tolist() == [7]
    assert found[2, 7] > 100 * found.flatten().sort().values[-2]


def test_the_change_of_the_output_is_a_mean_over_real_positions_however_batched(family):
    model, encoded, own = toys.model(family), toys.encoded(family), toys.tokenizer(family)
    items = [{"input_ids": ids, "number": 0} for ids in encoded]
    apart = [masked.Masker(own, 1)([item]) for item in items]
    for batch, ids in zip(apart, encoded, strict=True):
        batch["input_ids"] = torch.tensor([ids])  # without masks, which depend on the batch
    together = masked.Masker(own, 1, pad_to=30)(items)
    together["input_ids"] = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(ids + [own.pad_token_id] * (30 - len(ids))) for ids in encoded], True
    )
    found = ffn.output_change(model, [together])
    assert torch.allclose(found, ffn.output_change(model, apart), rtol=1e-4)


def test_keeping_every_neuron_of_an_encoder_without_a_head_changes_nothing(family):
    model, batch = encoder.without_head(toys.model(family)), toys.batch(family)
    found = ffn.output_change(model, [batch])
    same, cut = (ffn.cut(model, ffn.most_important(found, size)) for size in (20, 13))
    assert mlm_head.outputs(same, batch).equal(mlm_head.outputs(model, batch))
    assert not families.has_head(cut.config) and cut.config.intermediate_size == 13
    assert sizes.parameters(cut) == sizes.count_parameters(cut.config)
