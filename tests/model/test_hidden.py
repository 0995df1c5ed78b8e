"""Smaller hidden size: truncation against explicit slices, low rank against numpy's SVD."""

import re

import numpy
import pytest
import torch
import toys

from lib.errors import StudyError
from lib.model import axes, encoder, hidden, sizes

STARTS = ("truncation", "truncation_across_heads", "svd", "random")
HEADS, OLD, NEW = 4, 24, 16  # 4 heads of 6 become 4 of 4
both = pytest.mark.parametrize("family", toys.FAMILIES)


def tensor(model, name):
    """The one tensor of layer 1, or of the model, whose name ends so."""
    found = {
        number: t
        for number, t in toys.bits(model).items()
        if number.endswith(name) and (".encoder.layer." not in number or ".layer.1." in number)
    }
    assert len(found) == 1, found.keys()
    return next(iter(found.values())).numpy()


def by_heads(rows):
    """The first 4 of the 6 rows of each of the 4 heads, sliced one by one."""
    return numpy.concatenate([rows[0:4], rows[6:10], rows[12:16], rows[18:22]])


@both
def test_truncation_is_the_first_dimensions_of_each_head(family):
    teacher = toys.model(family)
    before, student = toys.bits(teacher), hidden.start(teacher, NEW, "truncation")
    for part in ("query", "key", "value"):
        numpy.testing.assert_array_equal(
            tensor(student, f"self.{part}.weight"),
            by_heads(tensor(teacher, f"self.{part}.weight"))[:, :16],
        )
        numpy.testing.assert_array_equal(
            tensor(student, f"self.{part}.bias"), by_heads(tensor(teacher, f"self.{part}.bias"))
        )
    numpy.testing.assert_array_equal(
        tensor(student, "attention.output.dense.weight"),
        by_heads(tensor(teacher, "attention.output.dense.weight").T).T[:16],
    )
    numpy.testing.assert_array_equal(
        tensor(student, "intermediate.dense.weight"),
        tensor(teacher, "intermediate.dense.weight")[:, :16],
    )
    numpy.testing.assert_array_equal(
        tensor(student, "intermediate.dense.bias"), tensor(teacher, "intermediate.dense.bias")
    )
    numpy.testing.assert_array_equal(
        tensor(student, "1.output.dense.weight"), tensor(teacher, "1.output.dense.weight")[:16]
    )
    for name in (
        "word_embeddings.weight",
        "position_embeddings.weight",
        "token_type_embeddings.weight",
    ):
        numpy.testing.assert_array_equal(tensor(student, name), tensor(teacher, name)[:, :16])
    head = {"bert": "transform.dense.weight", "xlm-roberta": "lm_head.dense.weight"}[family]
    numpy.testing.assert_array_equal(tensor(student, head), tensor(teacher, head)[:16, :16])
    assert toys.same(toys.bits(teacher), before) and student.config.num_attention_heads == HEADS
    assert student.num_parameters() == sizes.count_parameters(student.config)


@both
def test_across_heads_is_the_papers_slice_with_the_old_scale_of_the_scores(family):
    teacher, student = (
        toys.model(family),
        hidden.start(toys.model(family), NEW, "truncation_across_heads"),
    )
    numpy.testing.assert_array_equal(
        tensor(student, "self.key.weight"), tensor(teacher, "self.key.weight")[:16, :16]
    )
    query = tensor(teacher, "self.query.weight")[:16, :16], tensor(teacher, "self.query.bias")[:16]
    key = tensor(teacher, "self.key.weight")[:16, :16], tensor(teacher, "self.key.bias")[:16]
    states = numpy.random.default_rng(0).normal(size=(2, 16))
    for head in range(
        HEADS
    ):  # scores as the student computes them, and the cut rows' with the root of the old 6
        at = slice(4 * head, 4 * head + 4)
        own = [
            (
                states @ tensor(student, f"self.{part}.weight").T
                + tensor(student, f"self.{part}.bias")
            )[:, at]
            for part in ("query", "key")
        ]
        old = [(states @ weight.T + bias)[:, at] for weight, bias in (query, key)]
        numpy.testing.assert_allclose(
            own[0] @ own[1].T / 4**0.5, old[0] @ old[1].T / 6**0.5, rtol=1e-5
        )


@both
@pytest.mark.parametrize("start", STARTS[:3])
def test_the_full_size_changes_nothing(family, start):
    model, batch = toys.model(family), toys.batch(family)
    assert hidden.start(model, OLD, start)(**batch).logits.equal(model(**batch).logits)


@both
def test_svd_is_the_low_rank_matrix_cut_like_truncation(family):
    teacher = toys.model(family)
    before, student = toys.bits(teacher), hidden.start(teacher, NEW, "svd")

    def low(name):
        u, s, v = numpy.linalg.svd(tensor(teacher, name).astype(float), full_matrices=False)
        return (u[:, :NEW] * s[:NEW]) @ v[:NEW]

    numpy.testing.assert_allclose(
        tensor(student, "self.query.weight"), by_heads(low("self.query.weight"))[:, :16], atol=1e-5
    )
    numpy.testing.assert_allclose(
        tensor(student, "word_embeddings.weight"), low("word_embeddings.weight")[:, :16], atol=1e-5
    )
    numpy.testing.assert_allclose(
        tensor(student, "1.output.dense.weight"), low("1.output.dense.weight")[:16], atol=1e-5
    )
    numpy.testing.assert_array_equal(
        tensor(student, "self.query.bias"), by_heads(tensor(teacher, "self.query.bias"))
    )
    assert toys.same(toys.bits(teacher), before)


@both
def test_random_is_drawn_from_the_seed_alone(family):
    teacher = toys.model(family)
    first, again, other = (
        toys.bits(hidden.start(teacher, NEW, "random", seed)) for seed in (1, 1, 2)
    )
    cut = hidden.start(teacher, NEW, "truncation")
    assert toys.same(first, again) and toys.same(
        first, toys.bits(hidden.start(toys.model(family, seed=7), NEW, "random", 1))
    )
    assert toys.same(first, toys.bits(encoder.new(cut.config, 1)))
    weights = [name for name in first if first[name].dim() == 2]
    assert not any(
        first[name].equal(other[name]) or first[name].equal(toys.bits(cut)[name])
        for name in weights
    )


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (9, 9)])
@pytest.mark.parametrize("rank", [1, 4, 8])
def test_low_rank_is_numpys_truncated_svd(shape, rank):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(rank))
    before = matrix.clone()
    u, s, v = numpy.linalg.svd(matrix.double().numpy(), full_matrices=False)
    found = hidden.low_rank(matrix, "HH", {}, rank)
    numpy.testing.assert_allclose(found.numpy(), (u[:, :rank] * s[:rank]) @ v[:rank], atol=1e-5)
    assert (
        numpy.linalg.matrix_rank(found.numpy(), tol=1e-4) == rank
        and found.dtype == matrix.dtype
        and matrix.equal(before)
    )


def test_low_rank_of_singular_values_like_those_of_real_models():
    """They fall from 12 to 0.3 and lie close together; the residual is the smallest possible."""
    generator = torch.Generator().manual_seed(3)
    left, right = (
        torch.linalg.qr(torch.randn(size, 96, generator=generator, dtype=torch.float64))[0]
        for size in (300, 96)
    )
    values = torch.logspace(1.08, -0.52, 96, dtype=torch.float64)
    matrix = (left * values @ right.T).float()
    found = hidden.low_rank(matrix, "HH", {}, 48).double()
    best = (left[:, :48] * values[:48]) @ right[:, :48].T
    assert (found - best).abs().max() < 1e-4 * best.square().mean().sqrt()
    residual = torch.linalg.norm(matrix.double() - found)
    assert residual == pytest.approx(values[48:].square().sum().sqrt().item(), rel=1e-6)


@pytest.mark.parametrize("rank", [9, 12, 99])
def test_full_rank_is_the_matrix_itself(rank):
    matrix = torch.randn(30, 9)
    assert hidden.low_rank(matrix, "HH", {}, rank).equal(matrix) and hidden.low_rank(
        matrix.T, "HH", {}, rank
    ).equal(matrix.T)


@pytest.mark.parametrize(
    ("size", "works"),
    [
        (23, "20 and 24"),
        (22, "20 and 24"),
        (15, "12 and 16"),
        (1, "4 and 8"),
        (0, "4 and 8"),
        (3, "4 and 8"),
        (-4, "4 and 8"),
        (25, "24"),
        (28, "24"),
        (100, "24"),
    ],
)
@both
def test_sizes_that_cannot_work_are_refused_with_those_that_can(family, size, works):
    model = toys.model(family)
    with pytest.raises(
        StudyError,
        match=re.escape(
            f"a hidden size of {size} was asked for; 4 heads stay, so it must be a multiple of 4 "
            f"up to 24: the nearest that work are {works}"
        ),
    ):
        hidden.start(model, size, "truncation")
    for one in works.split(" and "):
        sizes.check_hidden_size(
            model.config.num_attention_heads, model.config.hidden_size, int(one)
        )


@both
def test_an_unknown_start(family):
    with pytest.raises(
        StudyError,
        match=r"no hidden start 'pca'; there are truncation, .*, svd, shared_basis, fitted, random",
    ):
        hidden.start(toys.model(family), NEW, "pca")


def stream(model, batch):
    """The residual stream (tokens, H): embeddings, and the output of each half of each layer."""
    found, body = [], model.base_model
    hooks = [
        layer.output.register_forward_pre_hook(lambda _, given: found.append(given[1]))
        for layer in body.encoder.layer
    ]
    with torch.no_grad():
        states = body(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            output_hidden_states=True,
        ).hidden_states
    for hook in hooks:
        hook.remove()
    return (
        torch.cat([each[batch["attention_mask"].bool()] for each in (*states, *found)])
        .double()
        .numpy()
    )


@both
def test_the_shared_basis_holds_as_much_of_the_stream_as_any_can(family):
    model, batch = toys.model(family), toys.batch(family)
    basis = hidden.shared_basis(model, [batch]).double().numpy()
    numpy.testing.assert_allclose(basis.T @ basis, numpy.eye(OLD), atol=1e-5)
    everything = stream(model, batch)
    strengths = numpy.linalg.svd(everything, compute_uv=False) ** 2
    for kept in (1, 8, 16, OLD):
        numpy.testing.assert_allclose(
            ((everything @ basis[:, :kept]) ** 2).sum(), strengths[:kept].sum(), rtol=1e-5
        )
    halves = [
        {name: part[rows] for name, part in batch.items()} for rows in (slice(0, 5), slice(5, None))
    ]
    numpy.testing.assert_allclose(
        numpy.abs((hidden.shared_basis(model, halves).double().numpy() * basis).sum(0)),
        1,
        atol=1e-3,
    )


@both
def test_a_shared_start_reads_and_writes_in_the_basis(family):
    teacher, batch = toys.model(family), toys.batch(family)
    basis = hidden.shared_basis(teacher, [batch]).numpy()[:, :NEW]
    student = hidden.start(teacher, NEW, "shared_basis", batches=[batch])
    numpy.testing.assert_allclose(
        tensor(student, "word_embeddings.weight"),
        tensor(teacher, "word_embeddings.weight") @ basis,
        atol=1e-5,
    )
    numpy.testing.assert_allclose(
        tensor(student, "self.key.weight"),
        by_heads(tensor(teacher, "self.key.weight")) @ basis,
        atol=1e-5,
    )
    numpy.testing.assert_allclose(
        tensor(student, "attention.output.dense.weight"),
        basis.T @ by_heads(tensor(teacher, "attention.output.dense.weight").T).T,
        atol=1e-5,
    )
    numpy.testing.assert_allclose(
        tensor(student, "1.output.dense.bias"),
        basis.T @ tensor(teacher, "1.output.dense.bias"),
        atol=1e-5,
    )
    assert student.num_parameters() == sizes.count_parameters(student.config)
    with pytest.raises(StudyError, match="shared_basis and fitted need text"):
        hidden.start(teacher, NEW, "shared_basis")


@both
def test_fitted_norms_are_least_squares_lines(family):
    """Against numpy's fit, from the input of the student's last norm and the teacher's output."""
    teacher, batch = toys.model(family), toys.batch(family)
    basis, real, kept = (
        hidden.shared_basis(teacher, [batch])[:, :NEW],
        batch["attention_mask"].bool(),
        {},
    )
    student = hidden.start(teacher, NEW, "shared_basis", batches=[batch])
    norm = student.base_model.encoder.layer[-1].output.LayerNorm
    hook = norm.register_forward_hook(lambda _, given, __: kept.update(given=given[0]))
    with torch.no_grad():
        states, wanted = (
            encoder.hidden_states(student, batch),
            encoder.hidden_states(teacher, batch) @ basis,
        )
    hook.remove()
    given = torch.nn.functional.layer_norm(kept["given"], (NEW,), eps=norm.eps)
    for place in range(NEW):
        slope, shift = numpy.polyfit(
            given[real][:, place].numpy(), wanted[real][:, place].numpy(), 1
        )
        assert [norm.weight[place].item(), norm.bias[place].item()] == pytest.approx(
            [slope, shift], rel=1e-3, abs=1e-4
        )
    assert torch.allclose(states[real].mean(0), wanted[real].mean(0), atol=1e-4)


@both
def test_norms_fitted_to_their_own_teacher_stay_what_they_are(family):
    teacher, batch = toys.model(family), toys.batch(family)
    copy = axes.take(teacher)
    hidden.fit_norms(copy, teacher, torch.eye(OLD), [batch], matrices=True)
    for (name, tensor), other in zip(copy.named_parameters(), teacher.parameters(), strict=True):
        assert torch.allclose(tensor, other, atol=1e-4), name


@both
def test_fitted_matrices_bring_the_stream_closer_than_fitted_norms_alone(family):
    """At each norm of each layer, on the text that was fitted on; queries and keys stay."""
    teacher, batch = toys.model(family), toys.batch(family)
    basis = hidden.shared_basis(teacher, [batch])[:, :NEW].double().numpy()
    plain, fitted = (
        hidden.start(teacher, NEW, start, batches=[batch]) for start in ("shared_basis", "fitted")
    )
    wanted = stream(teacher, batch) @ basis
    errors = [((stream(student, batch) - wanted) ** 2).sum() for student in (fitted, plain)]
    assert errors[0] < 0.8 * errors[1]
    for part in ("query", "key", "value"):
        name = f"self.{part}.weight"
        numpy.testing.assert_array_equal(tensor(fitted, name), tensor(plain, name))
    assert not numpy.allclose(
        tensor(fitted, "1.output.dense.bias"), tensor(plain, "1.output.dense.bias"), atol=1e-3
    )
