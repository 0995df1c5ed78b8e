"""The MLM loss and its scores against the library and slow walks."""

import math

import pytest
import torch
import toys

from lib.errors import StudyError
from lib.measure import mlm
from lib.model import device, encoder, mlm_head

both = pytest.mark.parametrize("family", toys.FAMILIES)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))


@both
def test_mlm_loss_is_the_librarys_own(family):
    model, batch = toys.model(family), toys.batch(family)
    theirs = model(**batch).loss
    ours = mlm.mlm_loss(model, batch)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert mlm.mlm_loss(model, batch, encoder.hidden_states(model, batch)).item() == ours.item()
    for left, right in zip(
        torch.autograd.grad(ours, list(model.parameters())),
        torch.autograd.grad(theirs, list(model.parameters())),
        strict=True,
    ):
        assert torch.allclose(left, right, atol=1e-5)
    nothing = mlm.mlm_loss(model, batch | {"labels": torch.full_like(batch["labels"], -100)})
    assert nothing.item() == 0 and nothing.requires_grad


@both
def test_scores_against_a_slow_walk(family):
    model, batches = (
        toys.model(family).train(),
        [toys.batch(family, 12), toys.batch(family, 5, seed=8)],
    )
    total, right, count = 0.0, 0, 0
    for batch in batches:
        chances = model(**batch).logits.detach().double().log_softmax(-1)
        for row, labels in zip(chances, batch["labels"].tolist(), strict=True):
            for each, gold in zip(row, labels, strict=True):
                if gold != -100:
                    total, right, count = (
                        total - each[gold].item(),
                        right + (each.argmax().item() == gold),
                        count + 1,
                    )
    scores = mlm.score_mlm(model, batches, "float32")
    assert (
        scores["positions"] == count
        and scores["mlm_loss"] == pytest.approx(total / count, rel=1e-5)
        and model.training
    )
    assert scores["mlm_accuracy"] == right / count
    assert mlm.score_mlm(model, batches, "bfloat16")["mlm_loss"] == pytest.approx(
        total / count, rel=0.05
    )


@both
def test_guessing_by_frequency_against_counting_by_hand(family):
    own, text, batches = (
        toys.tokenizer(family),
        toys.sentences()[:30],
        [toys.batch(family, 12), toys.batch(family, 5, seed=8)],
    )
    counts = dict.fromkeys(range(len(own)), 1)
    for sentence in text:
        for each in own(sentence, add_special_tokens=False)["input_ids"]:
            counts[each] += 1
    asked = [
        label
        for batch in batches
        for row in batch["labels"].tolist()
        for label in row
        if label != -100
    ]
    by_hand = -sum(math.log(counts[each] / sum(counts.values())) for each in asked) / len(asked)
    assert mlm.unigram(own, text, batches)["unigram_loss"] == pytest.approx(by_hand, rel=1e-9)
    some = mlm.unigram(own, [text[0], text[7]], batches)
    assert mlm.unigram(own, text[:14], batches, sentences=2) == some  # spread evenly


def test_nothing_masked_is_no_score():
    batch = toys.batch("bert")
    with pytest.raises(StudyError, match="no token was masked in the evaluation sentences"):
        mlm.score_mlm(
            toys.model("bert"), [batch | {"labels": torch.full_like(batch["labels"], -100)}]
        )


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_a_padded_readout_changes_no_loss(family):
    """Neither the loss nor, for the real rows, its gradient; the added rows are impossible."""
    model, generator = toys.model(family), torch.Generator().manual_seed(1)
    states, gold = torch.randn(5, 24, generator=generator), torch.arange(5)
    real = mlm_head.readout(model)
    wide = mlm.padded(*real)
    assert len(wide[0]) == len(wide[1]) == -(-len(real[0]) // 64) * 64
    assert len(mlm.padded(*wide)[0]) == len(wide[0])
    logits = [torch.nn.functional.linear(states, *readout) for readout in (real, wide)]
    losses = [torch.nn.functional.cross_entropy(part, gold) for part in logits]
    torch.testing.assert_close(*losses)
    gradients = [torch.autograd.grad(loss, real, retain_graph=True) for loss in losses]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    assert torch.all(logits[1].softmax(-1)[:, len(real[0]) :] == 0)
