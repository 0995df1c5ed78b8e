"""Distillation: losses against dense float64 computations, masks, weights, and a teacher that stays what it was."""

import copy
import re

import pytest
import torch
import toys
from torch import nn

from lib.errors import StudyError
from lib.model import device, encoder, hidden
from lib.train import distillation, pretraining

both = pytest.mark.parametrize("family", toys.FAMILIES)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))


def states(positions, width, tokens, seed):
    """Transformed hidden states (N, H) and a readout (V, H), (V,), all with gradients."""
    draw = torch.Generator().manual_seed(seed)
    return [
        torch.randn(*shape, generator=draw).requires_grad_()
        for shape in ((positions, width), (tokens, width), (tokens,))
    ]


def trainer(family, folder, student=None, teacher=None, **changes):
    """A distillation trainer of toy size."""
    student = toys.model(family, seed=1, num_hidden_layers=2) if student is None else student
    teacher = toys.model(family, seed=2) if teacher is None else teacher
    return distillation.DistillationTrainer(
        student,
        teacher,
        toys.tokenizer(family),
        toys.sentences()[:20],
        toys.sentences()[20:30],
        toys.DISTIL | changes,
        1,
        folder,
        "toy",
    )


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


def close(found, expected):
    return (found.double() - expected).norm() <= 1e-4 * expected.norm() + 1e-12


@pytest.mark.parametrize("positions", [5, 40, 700])
@pytest.mark.parametrize(
    "logits", [2**21, 700 * 7]
)  # the whole vocabulary at once; 7 tokens at a time, the last part smaller
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_both_forms_of_the_squared_gap_against_dense_logits(positions, logits, kind, monkeypatch):
    monkeypatch.setattr(distillation, "LOGITS", {"cpu": logits * positions // 700})
    student, teacher = (
        [tensor.detach().to(kind).requires_grad_() for tensor in states(positions, width, 50, seed)]
        for width, seed in ((12, 1), (20, 2))
    )
    wide = [
        [tensor.detach().double().requires_grad_() for tensor in each]
        for each in (student, teacher)
    ]
    expected = mse(*(z @ weight.T + bias for z, weight, bias in wide))
    gradients = torch.autograd.grad(expected, wide[0])
    gram = teacher[1].detach().T @ teacher[1].detach()
    exact = 1e-12 if kind == torch.float64 else 1e-5
    for form, extra in (
        (distillation.logit_mse, []),
        (distillation.logit_mse, [gram]),
        (distillation.logit_mse_direct, []),
    ):
        loss = form(
            student[0], teacher[0].detach(), student[1:], [t.detach() for t in teacher[1:]], *extra
        )
        assert loss.item() == pytest.approx(expected.item(), rel=exact) and loss.dtype == kind
        for found, wanted in zip(torch.autograd.grad(3 * loss, student), gradients, strict=True):
            assert (
                found.double() - 3 * wanted
            ).norm() <= exact * 30 * wanted.norm() and found.dtype == kind


@pytest.mark.parametrize("form", [distillation.logit_mse, distillation.logit_mse_direct])
def test_the_squared_gap_gives_only_the_gradients_asked_for(form):
    student, teacher = states(30, 12, 50, 1), [tensor.detach() for tensor in states(30, 20, 50, 2)]
    whole = torch.autograd.grad(form(student[0], teacher[0], student[1:], teacher[1:]), student)
    for number in range(3):
        some = [
            tensor.detach().requires_grad_(place == number) for place, tensor in enumerate(student)
        ]
        form(some[0], teacher[0], some[1:], teacher[1:]).backward()
        assert [tensor.grad is None for tensor in some] == [place != number for place in range(3)]
        assert torch.allclose(some[number].grad, whole[number], rtol=1e-5)
    with torch.no_grad():
        assert not form(student[0], teacher[0], student[1:], teacher[1:]).requires_grad


@pytest.mark.parametrize("form", [distillation.logit_mse, distillation.logit_mse_direct])
def test_the_squared_gap_inside_bfloat16(form):
    """The Gram form stays in float32, bit for bit. The direct one rounds the gap, not the logits: a student near its teacher shows it."""
    student, given = states(40, 64, 300, 1), states(40, 64, 300, 2)
    teacher = [
        (tensor + 0.02 * noise).detach() for tensor, noise in zip(student, given, strict=True)
    ]
    gap = (
        student[0].double() @ student[1].double().T
        + student[2].double()
        - teacher[0].double() @ teacher[1].double().T
        - teacher[2].double()
    )
    expected = gap.square().mean()
    gradients = torch.autograd.grad(expected, student)
    with torch.autocast("cpu", torch.bfloat16):
        loss = form(student[0], teacher[0], student[1:], teacher[1:])
        rounded = [
            each.bfloat16().float() for each in (student[0], student[1], teacher[0], teacher[1])
        ]
    found = torch.autograd.grad(loss, student)
    assert loss.dtype == torch.float32 and all(each.dtype == torch.float32 for each in found)
    if form is distillation.logit_mse:
        alone = form(student[0], teacher[0], student[1:], teacher[1:])
        assert loss.equal(alone) and all(
            map(torch.equal, found, torch.autograd.grad(alone, student))
        )
        assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    else:  # what is left is the rounding of states and weights themselves
        ideal = (
            (rounded[0] @ rounded[1].T + student[2] - rounded[2] @ rounded[3].T - teacher[2])
            .square()
            .mean()
        )
        assert loss.item() == pytest.approx(ideal.item(), rel=2e-3)
        for slope, wanted in zip(found, gradients, strict=True):
            assert (slope - wanted).norm() <= 0.25 * wanted.norm()


@pytest.mark.parametrize(("student", "teacher"), [(384, 384), (312, 768), (768, 768)])
def test_the_cheaper_form_is_the_one_with_fewer_products(student, teacher):
    """Products counted from the shapes of every matrix product the two forms make."""
    vocabulary = 10
    for positions in (1, 100, 300, 384, 385, 700, 1000):
        logits = (
            positions * vocabulary * (student + teacher)
        )  # forward; backward: by the states, by the weights
        direct = logits + 2 * positions * vocabulary * student
        grams = (
            vocabulary * student * (student + teacher) * 2
        )  # Ws'Ws, Wt'Ws; backward: Ws times and Wt times small matrices
        assert distillation.direct_is_cheaper(positions, student, teacher, False) == (
            direct <= grams
        )
        assert distillation.direct_is_cheaper(positions, student, teacher, True) == (
            direct <= distillation.BFLOAT16_GAIN * grams
        )


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("chunk", [512, 7])
def test_divergence_against_torch_and_its_temperature_squared(temperature, chunk, monkeypatch):
    monkeypatch.setattr(distillation, "CHUNK", chunk)
    student, teacher = states(30, 12, 50, 1), states(30, 20, 50, 2)
    wide = [
        [tensor.detach().double().requires_grad_() for tensor in each]
        for each in (student, teacher)
    ]
    logits = [z @ weight.T + bias for z, weight, bias in wide]
    expected = temperature**2 * nn.functional.kl_div(
        (logits[0] / temperature).log_softmax(-1),
        (logits[1] / temperature).softmax(-1),
        reduction="batchmean",
    )
    by_hand = [
        sum(
            p * (p.log() - q.log())
            for p, q in zip(
                *(torch.softmax(each[row] / temperature, 0) for each in reversed(logits)),
                strict=True,
            )
        )
        for row in range(30)
    ]
    assert expected.item() == pytest.approx(temperature**2 * sum(by_hand).item() / 30)
    loss = distillation.logit_kl(
        student[0], teacher[0].detach(), student[1:], [t.detach() for t in teacher[1:]], temperature
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for found, wanted in zip(
        torch.autograd.grad(loss, student), torch.autograd.grad(expected, wide[0]), strict=True
    ):
        assert close(found, wanted)


@pytest.mark.parametrize("positions", [3, 40])
def test_a_student_equal_to_its_teacher_loses_exactly_nothing(positions):
    z, weight, bias = states(positions, 16, 60, 1)
    same = z, z.detach().clone(), (weight, bias), (weight.detach().clone(), bias.detach().clone())
    assert distillation.logit_mse(*same).item() == 0 == distillation.logit_mse_direct(*same).item()
    assert distillation.logit_kl(*same, 2.0).item() == 0


@both
@pytest.mark.parametrize("kind", ["mse", "kl", "plain_kl"])
@pytest.mark.parametrize(
    "count", [1, 12]
)  # fewer positions than hidden dimensions, and more: both forms of the squared gap
def test_a_student_that_is_its_teacher_has_no_distillation_loss(family, kind, count, tmp_path):
    work = trainer(
        family,
        tmp_path,
        toys.model(family),
        toys.model(family),
        distillation_loss=kind,
        mlm_weight=0.0,
    )
    terms = work.loss(work.model.train(), toys.batch(family, count))
    assert terms["distillation_loss"].item() == 0 == terms["loss"].item()


@both
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("count", [1, 12])
def test_the_whole_gradient_against_dense_logits(family, tied, count, tmp_path):
    """Through tied embeddings too, which are readout and input at once."""
    student = toys.model(family, seed=1, tie_word_embeddings=tied)
    work = trainer(family, tmp_path, student, mlm_weight=0.0)
    batch = toys.batch(family, count)
    expected, gradients = dense(student, work.teacher, batch, mse)
    terms = work.loss(student, batch)
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-4)
    terms["loss"].backward()
    assert (encoder.readout(student)[0] is student.get_input_embeddings().weight) is tied
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
def test_divergence_of_models_against_dense_logits(family, tmp_path):
    batch = toys.batch(family)
    for kind, temperature in (("kl", 2.0), ("plain_kl", 1.0)):
        work = trainer(family, tmp_path, distillation_loss=kind, mlm_weight=0.0)
        expected, _ = dense(
            work.model,
            work.teacher,
            batch,
            lambda s, t, by=temperature: (
                by**2
                * nn.functional.kl_div(
                    (s / by).log_softmax(-1), (t / by).softmax(-1), reduction="batchmean"
                )
            ),
        )
        assert work.loss(work.model, batch)["loss"].item() == pytest.approx(expected, rel=1e-4)


@both
@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_padding_changes_nothing_unless_all_positions_are_asked_for(family, kind, tmp_path):
    batch, own = toys.batch(family), toys.tokenizer(family)
    more = {
        name: nn.functional.pad(tensor, (0, 9), value=value)
        for (name, tensor), value in zip(batch.items(), (own.pad_token_id, 0, -100), strict=True)
    }
    for all_positions in (False, True):
        work = trainer(family, tmp_path, distillation_loss=kind, all_positions=all_positions)
        short, long = (work.loss(work.model, each) for each in (batch, more))
        assert short["mlm_loss"].item() == pytest.approx(long["mlm_loss"].item(), rel=1e-5)
        assert (
            short["distillation_loss"].item()
            == pytest.approx(long["distillation_loss"].item(), rel=1e-4)
        ) is not all_positions
        if kind == "mse" and all_positions:
            everywhere = torch.ones_like(more["input_ids"]).bool()
            assert long["distillation_loss"].item() == pytest.approx(
                dense(work.model, work.teacher, more, mse, everywhere)[0], rel=1e-4
            )
    assert work.data_collator.pad_to == 16  # the authors pad everything to the full length


@both
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_two_losses_are_weighed(family, weight, tmp_path):
    work, batch = trainer(family, tmp_path, mlm_weight=weight), toys.batch(family)
    terms = work.loss(work.model, batch)
    mlm = work.model(**batch).loss.item()
    assert terms["mlm_loss"].item() == pytest.approx(mlm, rel=1e-5)
    gap = dense(work.model, work.teacher, batch, mse)[0]
    assert terms["loss"].item() == pytest.approx(weight * mlm + (1 - weight) * gap, rel=1e-4)
    if weight == 1:  # the teacher is not even asked
        work.teacher = None
        assert work.loss(work.model, batch)["loss"].item() == terms["loss"].item()


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
        and encoder.readout(student)[0] is student.get_input_embeddings().weight
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


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        (
            {"vocab_size": 77},
            {},
            "student and teacher must share one vocabulary; they have 77 and 160 tokens: trim both or none",
        ),
        ({}, {"mlm_weight": 1.5}, "mlm_weight is a share, 0 to 1; got 1.5"),
    ],
)
def test_refusals_come_before_any_work(changes, settings, said, tmp_path):
    student = toys.model("bert", **changes)
    with pytest.raises(StudyError, match=re.escape(said)):
        distillation.distil(
            student,
            toys.model("bert"),
            toys.tokenizer("bert"),
            toys.sentences(),
            toys.sentences(),
            toys.DISTIL | settings,
            1,
            tmp_path / "none",
        )
    assert not (tmp_path / "none").exists()


@both
def test_a_random_start_and_no_distillation_loss_is_training_from_scratch(family, tmp_path):
    """{hidden_start: random, mlm_weight: 1}: a new model of the student's shape, trained by the MLM loss; no weight of the teacher."""
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
