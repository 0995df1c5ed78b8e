"""Distillation against dense float64 computations: masks, weights, and the teacher stays."""

import copy

import pytest
import torch
import toys
from torch import nn

from lib.errors import StudyError
from lib.model import device, encoder, hidden, mlm_head
from lib.train import distillation, pretraining

pytestmark = pytest.mark.slow

both = pytest.mark.parametrize("family", toys.FAMILIES)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))


def pair(family, student=None, teacher=None, **changes):
    """(student, its loss against a teacher) of toy size."""
    student = student or toys.model(family, seed=1, num_hidden_layers=2)
    teacher = teacher or toys.model(family, seed=2)
    return student, distillation.DistillationLoss(teacher, toys.DISTIL | changes)


def dense(student, teacher, batch, compare, where=None):
    """A loss from full logits of float64 copies, and its gradients by name."""
    student, teacher = copy.deepcopy(student).double(), copy.deepcopy(teacher).double()
    where = batch["attention_mask"].bool() if where is None else where
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    loss = compare(student(**inputs).logits[where], teacher(**inputs).logits[where].detach())
    loss.backward()
    return loss.item(), {name: tensor.grad for name, tensor in student.named_parameters()}


def mse(student, teacher):
    return (student - teacher).square().mean()


@both
@pytest.mark.parametrize("kind", ["mse", "kl", "plain_kl"])
@pytest.mark.parametrize(
    "count", [1, 12]
)  # fewer positions than hidden dimensions, and more: both forms of the squared gap
def test_a_student_that_is_its_teacher_has_no_distillation_loss(family, kind, count):
    student, loss = pair(
        family,
        toys.model(family),
        toys.model(family),
        distillation_loss=kind,
        mlm_weight=0.0,
    )
    terms = loss(student.train(), toys.batch(family, count))
    assert terms["distillation_loss"].item() == 0 == terms["loss"].item()


@both
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("count", [1, 12])
def test_the_whole_gradient_against_dense_logits(family, tied, count):
    """Through tied embeddings too, which are readout and input at once."""
    student = toys.model(family, seed=1, tie_word_embeddings=tied)
    student, loss = pair(family, student, mlm_weight=0.0)
    batch = toys.batch(family, count)
    expected, gradients = dense(student, loss.teacher, batch, mse)
    terms = loss(student, batch)
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-4)
    terms["loss"].backward()
    assert (mlm_head.readout(student)[0] is student.get_input_embeddings().weight) is tied
    found = {
        name: tensor.grad
        for name, tensor in student.named_parameters()
        if gradients[name] is not None
    }
    scale = max(gradient.norm() for gradient in gradients.values() if gradient is not None)
    assert len(found) > 50
    for (
        name,
        gradient,
    ) in found.items():  # the key biases have no influence: their gradient is rounding
        assert (gradient.double() - gradients[name]).norm() <= 1e-4 * gradients[
            name
        ].norm() + 1e-6 * scale, name


@both
def test_divergence_of_models_against_dense_logits(family):
    batch = toys.batch(family)
    for kind, temperature in (("kl", 2.0), ("plain_kl", 1.0)):
        student, loss = pair(family, distillation_loss=kind, mlm_weight=0.0)
        expected, _ = dense(
            student,
            loss.teacher,
            batch,
            lambda s, t, by=temperature: (
                by**2
                * nn.functional.kl_div(
                    (s / by).log_softmax(-1), (t / by).softmax(-1), reduction="batchmean"
                )
            ),
        )
        assert loss(student, batch)["loss"].item() == pytest.approx(expected, rel=1e-4)


@both
@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_padding_changes_nothing_unless_all_positions_are_asked_for(family, kind):
    batch, own = toys.batch(family), toys.tokenizer(family)
    more = {
        name: nn.functional.pad(tensor, (0, 9), value=value)
        for (name, tensor), value in zip(batch.items(), (own.pad_token_id, 0, -100), strict=True)
    }
    for all_positions in (False, True):
        student, loss = pair(family, distillation_loss=kind, all_positions=all_positions)
        short, long = (loss(student, each) for each in (batch, more))
        assert short["mlm_loss"].item() == pytest.approx(long["mlm_loss"].item(), rel=1e-5)
        assert (
            short["distillation_loss"].item()
            == pytest.approx(long["distillation_loss"].item(), rel=1e-4)
        ) is not all_positions
        if kind == "mse" and all_positions:
            everywhere = torch.ones_like(more["input_ids"]).bool()
            assert long["distillation_loss"].item() == pytest.approx(
                dense(student, loss.teacher, more, mse, everywhere)[0], rel=1e-4
            )


@both
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_two_losses_are_weighed(family, weight):
    (student, loss), batch = pair(family, mlm_weight=weight), toys.batch(family)
    terms = loss(student, batch)
    mlm = student(**batch).loss.item()
    assert terms["mlm_loss"].item() == pytest.approx(mlm, rel=1e-5)
    gap = dense(student, loss.teacher, batch, mse)[0]
    assert terms["loss"].item() == pytest.approx(weight * mlm + (1 - weight) * gap, rel=1e-4)
    if weight == 1:  # the teacher is not even asked
        loss.teacher = None
        assert loss(student, batch)["loss"].item() == terms["loss"].item()


@both
def test_only_the_student_learns(family, tmp_path):
    teacher, own = toys.model(family), toys.tokenizer(family)
    student = hidden.start(teacher, 16, "truncation")
    before, start, batch = toys.bits(teacher), toys.bits(student), toys.batch(family)
    gap = dense(student, teacher, batch, mse)[0]
    settings = toys.DISTIL | {"steps": 12, "mlm_weight": 0.2, "batch_size": 8}
    learned = distillation.distil(
        student, teacher, own, toys.sentences(), toys.sentences()[:20], settings, 1, tmp_path, "toy"
    )
    assert toys.same(toys.bits(teacher), before) and all(
        tensor.grad is None for tensor in teacher.parameters()
    )
    assert (
        not teacher.training
        and not student.training
        and mlm_head.readout(student)[0] is student.get_input_embeddings().weight
    )
    assert not any(
        start[name].equal(tensor)
        for name, tensor in toys.bits(student).items()
        if tensor.dim() == 2
    )
    teacher.requires_grad_(True)
    assert dense(student, teacher, batch, mse)[0] < 0.9 * gap
    terms = [entry for entry in learned["history"] if "loss" in entry]
    for entry in terms:
        assert entry["loss"] == pytest.approx(
            0.2 * entry["mlm_loss"] + 0.8 * entry["distillation_loss"], abs=1e-3
        )
        assert (
            0 <= entry["padding"] < 1 and entry["gram_form"] == 1
        )  # about 60 positions a step, 16 and 24 dimensions
    assert [entry["step"] for entry in terms] == list(range(1, 13))


def test_different_vocabularies_are_refused_before_any_work(tmp_path):
    said = "student and teacher must share one vocabulary; they have 77 and 160 tokens: trim both"
    student, teacher, text = toys.model("bert", vocab_size=77), toys.model("bert"), toys.sentences()
    with pytest.raises(StudyError, match=said):
        distillation.distil(
            student, teacher, toys.tokenizer("bert"), text, text, toys.DISTIL, 1, tmp_path / "none"
        )
    assert not (tmp_path / "none").exists()


@both
def test_a_random_start_and_no_distillation_loss_is_training_from_scratch(family, tmp_path):
    """{hidden_start: random, mlm_weight: 1}: a new model of the student's shape on the MLM loss."""
    train, dev, settings = (
        toys.sentences()[:20],
        toys.sentences()[20:30],
        toys.DISTIL | {"mlm_weight": 1.0},
    )
    shape = {"hidden_size": 16, "num_hidden_layers": 2}
    students = []
    for seed in (2, 3):  # two teachers that share nothing but their shape
        teacher = toys.model(family, seed=seed, num_hidden_layers=2)
        student = hidden.start(teacher, 16, "random", 5)
        assert toys.same(
            toys.bits(student), toys.bits(encoder.new(toys.config(family, **shape), 5))
        )
        learned = distillation.distil(
            student,
            teacher,
            toys.tokenizer(family),
            train,
            dev,
            settings,
            1,
            tmp_path / f"{family}{seed}",
        )
        assert not any("distillation_loss" in entry for entry in learned["history"])
        students.append(toys.bits(student))
    alone = encoder.new(toys.config(family, **shape), 5)
    pretraining.train(
        alone, toys.tokenizer(family), train, dev, settings, 1, tmp_path / f"{family}-alone"
    )
    assert toys.same(*students) and toys.same(students[0], toys.bits(alone))
