"""Distillation losses against dense computations in float64, and their gradients."""

import pytest
import torch
from torch import nn

from lib.train import losses


def states(positions, width, tokens, seed):
    """Transformed hidden states (N, H) and a readout (V, H), (V,), all with gradients."""
    draw = torch.Generator().manual_seed(seed)
    return [
        torch.randn(*shape, generator=draw).requires_grad_()
        for shape in ((positions, width), (tokens, width), (tokens,))
    ]


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
    monkeypatch.setattr(losses, "LOGITS", {"cpu": logits * positions // 700})
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
        (losses.logit_mse, []),
        (losses.logit_mse, [gram]),
        (losses.logit_mse_direct, []),
    ):
        loss = form(
            student[0], teacher[0].detach(), student[1:], [t.detach() for t in teacher[1:]], *extra
        )
        assert loss.item() == pytest.approx(expected.item(), rel=exact) and loss.dtype == kind
        for found, wanted in zip(torch.autograd.grad(3 * loss, student), gradients, strict=True):
            assert (
                found.double() - 3 * wanted
            ).norm() <= exact * 30 * wanted.norm() and found.dtype == kind


@pytest.mark.parametrize("form", [losses.logit_mse, losses.logit_mse_direct])
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


@pytest.mark.parametrize("form", [losses.logit_mse, losses.logit_mse_direct])
def test_the_squared_gap_inside_bfloat16(form):
    """The Gram form stays in float32, bit for bit; the direct form rounds the gap only."""
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
    if form is losses.logit_mse:
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
        assert losses.direct_is_cheaper(positions, student, teacher, False) == (direct <= grams)
        assert losses.direct_is_cheaper(positions, student, teacher, True) == (
            direct <= losses.BFLOAT16_GAIN * grams
        )


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("chunk", [512, 7])
def test_divergence_against_torch_and_its_temperature_squared(temperature, chunk, monkeypatch):
    monkeypatch.setattr(losses, "CHUNK", chunk)
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
    loss = losses.logit_kl(
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
    assert losses.logit_mse(*same).item() == 0 == losses.logit_mse_direct(*same).item()
    assert losses.logit_kl(*same, 2.0).item() == 0


def test_near_the_teacher_the_divergence_is_not_rounded_under_autocast():
    taught, weight, bias = states(64, 32, 400, 1)
    taught, readout = taught.detach() * 4, (weight.detach(), bias.detach())
    near = taught + 0.01 * torch.randn(taught.shape, generator=torch.Generator().manual_seed(2))
    exact = [
        (z.double() @ readout[0].double().T + readout[1].double()).log_softmax(-1)
        for z in (near, taught)
    ]
    expected = (exact[1].exp() * (exact[1] - exact[0])).sum(-1).mean().item()
    with torch.autocast("cpu", torch.bfloat16):
        found = losses.logit_kl(near, taught, readout, readout, 1.0).item()
    assert 0 < expected < 0.01
    assert found == pytest.approx(expected, rel=0.01)
