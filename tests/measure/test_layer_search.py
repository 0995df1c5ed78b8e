"""Layers by search: against a greedy search by hand, and with a layer that does nothing."""

import copy

import numpy
import pytest
import torch
import toys
from torch import nn

from lib.errors import StudyError
from lib.measure import layer_search
from lib.model import device

pytestmark = pytest.mark.parametrize("family", toys.FAMILIES)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))


def vectors(model, numbers, encoded):
    """Centred means of each sentence's states after the layers of these numbers, in numpy."""
    model = copy.deepcopy(model)
    stack = model.base_model.encoder
    stack.layer = nn.ModuleList(stack.layer[number] for number in numbers)
    with torch.no_grad():
        rows = [
            model.base_model(torch.tensor([ids])).last_hidden_state[0].mean(0) for ids in encoded
        ]
    rows = torch.stack(rows).double().numpy()
    return rows - rows.mean(0)


def cosine(a, b):
    return ((a * b).sum(1) / numpy.linalg.norm(a, axis=1) / numpy.linalg.norm(b, axis=1)).mean()


def test_a_search_takes_away_one_layer_after_another(family):
    model, own, text = toys.model(family), toys.tokenizer(family), toys.sentences()[:20]
    before, encoded = toys.bits(model), toys.encoded(family, 20, 38)
    taught, expected = vectors(model, range(4), encoded), [0, 1, 2, 3]
    for kept in (4, 3, 2, 1):
        assert layer_search.search(model, own, text, kept) == expected
        found = {}
        for number in expected:
            others = [other for other in expected if other != number]
            found[number] = cosine(vectors(model, others, encoded), taught) if others else 0
        expected.remove(max(found, key=found.get))
    assert toys.same(toys.bits(model), before)


def test_a_layer_that_does_nothing_goes_first(family, capsys):
    """Its matrices are zero, and the norm of what is normal already changes nothing."""
    model = toys.model(family)
    with torch.no_grad():
        for module in model.base_model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.fill_(1)
                module.bias.zero_()
        layer = model.base_model.encoder.layer[1]
        for dense in (layer.attention.output.dense, layer.output.dense):
            dense.weight.zero_()
            dense.bias.zero_()
    found = layer_search.search(model, toys.tokenizer(family), toys.sentences()[:20], 3)
    assert found == [0, 2, 3]
    assert capsys.readouterr().out == "3 layers: without 1 the agreement is 1.000\n"


@pytest.mark.parametrize("kept", [0, 5])
def test_layers_that_do_not_exist(family, kept):
    said = f"{kept} layers were asked for; the teacher has 4: take 1 to 4"
    with pytest.raises(StudyError, match=said):
        layer_search.search(toys.model(family), toys.tokenizer(family), ["Paka."], kept)


def test_the_agreement_is_one_for_a_moved_and_scaled_copy(family):
    model, encoded = toys.model(family), toys.encoded(family)
    own = torch.from_numpy(vectors(model, range(4), encoded))
    assert layer_search.agreement(own, 3 * own + 7) == pytest.approx(1)
    assert layer_search.agreement(own, -own) == pytest.approx(-1)
    other = torch.from_numpy(vectors(model, [0, 2], encoded))
    found = layer_search.agreement(own, other)
    assert found == pytest.approx(cosine(own.numpy(), other.numpy())) and 0 < found < 1
