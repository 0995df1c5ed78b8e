"""The gap between hidden states against plain loops over sentences, and trainings that lower it."""

import copy
from types import SimpleNamespace

import numpy
import pytest
import torch
import toys
from scipy.linalg import orthogonal_procrustes

from lib.data import batches
from lib.errors import StudyError
from lib.model import device, encoder, families, hidden, layers
from lib.train import distillation, trainer

both = pytest.mark.parametrize("family", toys.FAMILIES)
slow = pytest.mark.slow
SETTINGS = toys.DISTIL | {"distillation_target": "hidden", "steps": 8}
DROPOUT = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
TAUGHT_BY = {1: [4], 2: [2, 4], 3: [1, 3, 4], 4: [1, 2, 3, 4]}  # layers of a teacher with four


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))


def masked(family, encoded, seed=3):
    """One masked, padded batch of these sentences."""
    items = [{"input_ids": ids, "number": number} for number, ids in enumerate(encoded)]
    return batches.Masker(toys.tokenizer(family), seed)(items)


def states(model, encoded):
    """Hidden states (N, H) of each layer in float64, one sentence after the other, no padding."""
    with torch.no_grad():
        every = [
            model.base_model(torch.tensor([ids]), output_hidden_states=True).hidden_states
            for ids in encoded
        ]
    by_layer = zip(*every, strict=True)
    return [torch.cat([own[0] for own in layer]).double().numpy() for layer in by_layer]


def slow_parts(student, teacher, encoded, bases=None):
    """(squared differences, squared deviations) of each layer, (l, 2)."""
    of_student, of_teacher = states(student, encoded), states(teacher, encoded)
    rows = []
    for layer, taught_by in enumerate(TAUGHT_BY[len(of_student) - 1]):
        taught = of_teacher[taught_by]
        if bases is not None:
            taught = taught @ bases[layer].double().numpy()
        error = ((of_student[layer + 1] - taught) ** 2).sum()
        rows.append((error, len(taught) * taught.var(0).sum()))
    return numpy.array(rows)


def weighed(parts):
    """Half of the last layer's gap and half of the mean of the others."""
    *others, last = [error / spread for error, spread in parts]
    return (last + sum(others) / len(others)) / 2 if others else last


def like(layers_of, size=24):
    """A student whose encoder gives for any batch what `layers_of(batch)` returns."""

    def encode(input_ids, attention_mask, output_hidden_states):
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        return SimpleNamespace(hidden_states=layers_of(batch))

    return SimpleNamespace(base_model=encode, config=SimpleNamespace(hidden_size=size))


def mean_at(teacher, *numbers):
    """A student that gives the teacher's mean in these layers, and its own states in the others."""

    def layers_of(batch):
        every, real = [*encoder.all_hidden_states(teacher, batch)], batch["attention_mask"].bool()
        for number in numbers:
            every[number] = every[number][real].mean(0).expand_as(every[number])
        return every

    return like(layers_of)


@both
def test_a_student_that_is_its_teacher_has_no_gap_and_learns_nothing(family):
    teacher = toys.model(family)
    student, loss = copy.deepcopy(teacher).train(), distillation.HiddenLoss(teacher)
    terms = loss(student, toys.batch(family))
    assert terms["loss"].item() == terms["distillation_loss"].item() == 0
    terms["loss"].backward()
    gradients = [tensor.grad for tensor in student.base_model.parameters()]
    assert sum(grad is not None for grad in gradients) > 50
    assert not any(grad.any() for grad in gradients if grad is not None)
    assert all(tensor.grad is None for tensor in teacher.parameters())


@both
@pytest.mark.parametrize(
    ("numbers", "gap"), [((1, 2, 3, 4), 1.0), ((4,), 0.5), ((2,), 0.5 / 3), ((1, 3), 1 / 3)]
)
def test_a_layer_that_gives_the_mean_has_a_gap_of_one_and_the_last_counts_half(
    family, numbers, gap
):
    teacher = toys.model(family)
    found = distillation.HiddenLoss(teacher)(mean_at(teacher, *numbers), toys.batch(family))
    assert found["loss"].item() == pytest.approx(gap, rel=1e-5)


@both
@pytest.mark.parametrize("count", TAUGHT_BY)
def test_the_gap_against_a_loop_over_layers_and_sentences(family, count):
    student = toys.model(family, seed=1, num_hidden_layers=count)
    teacher, encoded = toys.model(family, seed=2), toys.encoded(family)
    found = distillation.HiddenLoss(teacher)(student, masked(family, encoded))
    expected = weighed(slow_parts(student, teacher, encoded))
    assert found["loss"].item() == pytest.approx(expected, rel=1e-4) and expected > 0.5


@both
def test_a_narrow_student_is_compared_in_its_bases(family):
    student = toys.model(family, seed=1, num_hidden_layers=2, hidden_size=16)
    teacher, encoded = toys.model(family, seed=2), toys.encoded(family)
    draw = torch.Generator().manual_seed(1)
    bases = [torch.randn(24, 16, generator=draw) for _ in range(2)]
    found = distillation.HiddenLoss(teacher, bases)(student, masked(family, encoded))
    expected = weighed(slow_parts(student, teacher, encoded, bases))
    assert found["loss"].item() == pytest.approx(expected, rel=1e-4)


@both
def test_the_whole_gradient_is_that_of_the_loop(family):
    """With the library's hidden states of a float64 copy, through every layer of the student."""
    student = toys.model(family, seed=1, num_hidden_layers=2)
    teacher, encoded = toys.model(family, seed=2), toys.encoded(family, 5)
    distillation.HiddenLoss(teacher)(student, masked(family, encoded))["loss"].backward()
    wide = copy.deepcopy(student).double()
    wide.zero_grad()
    gaps = []
    for layer, taught_by in enumerate(TAUGHT_BY[2], 1):
        given = [
            wide.base_model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0]
            for ids in encoded
        ]
        taught = torch.tensor(states(teacher, encoded)[taught_by])
        spread = taught.shape[0] * taught.var(0, correction=0).sum()
        gaps.append((torch.cat(given) - taught).square().sum() / spread)
    ((gaps[0] + gaps[1]) / 2).backward()
    scale = max(tensor.grad.norm() for tensor in wide.parameters() if tensor.grad is not None)
    for (name, tensor), other in zip(student.named_parameters(), wide.parameters(), strict=True):
        if other.grad is not None:
            off = (tensor.grad.double() - other.grad).norm()
            assert off <= 1e-4 * other.grad.norm() + 1e-6 * scale, name


@both
def test_padding_and_masks_play_no_part(family):
    student, teacher = toys.model(family, seed=1, num_hidden_layers=2), toys.model(family, seed=2)
    loss, own, batch = distillation.HiddenLoss(teacher), toys.tokenizer(family), toys.batch(family)
    padded = {
        name: torch.nn.functional.pad(tensor, (0, 9), value=value)
        for (name, tensor), value in zip(batch.items(), (own.pad_token_id, 0, -100), strict=True)
    }
    other = toys.batch(family, seed=4)
    plain = masked(family, toys.encoded(family))
    ids = [torch.tensor(sentence) for sentence in toys.encoded(family)]
    plain["input_ids"] = torch.nn.utils.rnn.pad_sequence(ids, True, own.pad_token_id)
    plain["labels"] = torch.full_like(plain["labels"], -100)
    assert not batch["input_ids"].equal(other["input_ids"])
    expected = loss(student, batch)["loss"].item()
    for changed in (padded, other, plain):
        assert loss(student, changed)["loss"].item() == pytest.approx(expected, rel=1e-5)


@both
@pytest.mark.parametrize("narrow", [False, True])
def test_kept_states_are_those_of_the_teacher_who_is_not_asked_again(family, narrow, monkeypatch):
    """In bfloat16, which has eight bits; a batch with a text that is not kept is read as before."""
    sizes = {"num_hidden_layers": 2} | ({"hidden_size": 16} if narrow else {})
    student, teacher = toys.model(family, seed=1, **sizes), toys.model(family, seed=2)
    encoded, draw = toys.encoded(family, 20), torch.Generator().manual_seed(1)
    bases = [torch.randn(24, 16, generator=draw) for _ in range(2)] if narrow else None
    loss, plain = (distillation.HiddenLoss(teacher, bases) for _ in range(2))
    loss.keep(student, encoded[:12], "float32")
    asked, read = [], encoder.all_hidden_states
    monkeypatch.setattr(
        encoder, "all_hidden_states", lambda model, batch: asked.append(model) or read(model, batch)
    )
    kept, mixed = masked(family, encoded[3:9][::-1]), masked(family, encoded[9:15])
    found = loss(student, kept)["loss"]
    assert asked == [student]
    found.backward()
    assert found.item() == pytest.approx(plain(student, kept)["loss"].item(), rel=1e-2)
    asked.clear()
    assert loss(student, mixed)["loss"].equal(plain(student, mixed)["loss"])
    assert asked == [student, teacher] * 2


def test_passes_choose_as_much_text_as_is_read_so_often():
    train, settings = [str(number) for number in range(100)], SETTINGS | {"batch_size": 5}
    for steps, accumulation, passes, count in ((8, 1, 4, 10), (8, 2, 4, 20), (8, 1, 3, 14)):
        given = {"steps": steps, "accumulation": accumulation, "passes": passes}
        assert distillation.chosen(train, settings | given) == train[:count]
    assert distillation.chosen(train, settings | {"passes": 0}) == train
    assert distillation.chosen(train, settings | {"sentences": 7, "passes": 2}) == train[:7]


@both
def test_the_judge_pools_over_batches(family):
    """The sums of all batches, not the mean of their gaps; each batch has its own mean."""
    student = toys.model(family, seed=1, num_hidden_layers=2).train()
    teacher, encoded = toys.model(family, seed=2), toys.encoded(family, 20)
    groups = [encoded[:3], encoded[3:]]
    loss, several = distillation.HiddenLoss(teacher), [masked(family, group) for group in groups]
    found = loss.judge(student, several, "float32")
    parts = [slow_parts(student, teacher, group) for group in groups]
    assert found == {"gap": pytest.approx(weighed(sum(parts)), rel=1e-4)}
    assert abs(found["gap"] - sum(map(weighed, parts)) / 2) > 1e-3 * found["gap"]
    assert student.training and not teacher.training


@both
def test_bases_are_orthonormal_and_those_of_an_equal_student_change_nothing(family):
    teacher, batch = toys.model(family), toys.batch(family, 40)
    for basis in distillation.bases(copy.deepcopy(teacher), teacher, [batch]):
        assert torch.allclose(basis, torch.eye(24), atol=1e-4)
    student = hidden.start(layers.cut(teacher, 2, "last_k"), 16, "truncation")
    found = distillation.bases(student, teacher, [batch])
    assert [basis.shape for basis in found] == [(24, 16)] * 2
    for basis in found:
        assert torch.allclose(basis.T @ basis, torch.eye(16), atol=1e-5)


@both
def test_bases_against_scipys_procrustes(family):
    """The strongest right singular vectors of the teacher's states, turned to the student's."""
    teacher, encoded = toys.model(family), toys.encoded(family, 40)
    student = hidden.start(layers.cut(teacher, 2, "last_k"), 16, "truncation")
    several = [masked(family, encoded[:25]), masked(family, encoded[25:])]
    own, taught = states(student, encoded), states(teacher, encoded)
    for layer, basis in enumerate(distillation.bases(student, teacher, several)):
        matrix = taught[TAUGHT_BY[2][layer]]
        strongest = numpy.linalg.svd(matrix, full_matrices=False)[2][:16].T
        turn, _ = orthogonal_procrustes(matrix @ strongest, own[layer + 1])
        numpy.testing.assert_allclose(basis.numpy(), strongest @ turn, atol=1e-3)


@both
def test_states_that_lie_in_a_few_dimensions_are_recovered(family):
    """A teacher that uses 16 of its 24 dimensions; its student has them, turned."""
    teacher, batch = toys.model(family), toys.batch(family, 40)
    with torch.no_grad():
        for module in teacher.base_model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight[16:], module.bias[16:] = 0, 0
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))[0]

    def layers_of(batch):
        return [each[..., :16] @ turn for each in encoder.all_hidden_states(teacher, batch)]

    found = distillation.bases(like(layers_of, 16), teacher, [batch])
    expected = torch.cat([turn, torch.zeros(8, 16)])
    for basis in found:
        assert torch.allclose(basis, expected, atol=1e-3)
    loss = distillation.HiddenLoss(teacher, found)
    assert loss(like(layers_of, 16), batch)["loss"].item() == pytest.approx(0, abs=1e-6)


def student_of(teacher, kind):
    """A student of half the layers, or of two thirds of the hidden size."""
    if kind == "layers":
        return layers.cut(teacher, 2, "stride")
    return hidden.start(teacher, 16, "truncation")


def distil(family, kind, folder, **changes):
    """(student, what distil returns) of a toy student, taught by hidden states."""
    teacher, text = toys.model(family, seed=2, **DROPOUT), toys.sentences()
    student = student_of(teacher, kind)
    learned = distillation.distil(
        student,
        teacher,
        toys.tokenizer(family),
        text[:40],
        text[40:],
        SETTINGS | changes,
        1,
        folder,
        "toy",
    )
    return student, learned


@slow
@both
@pytest.mark.parametrize("kind", ["layers", "hidden"])
def test_the_gap_falls_and_only_the_student_learns(family, kind, tmp_path):
    teacher, text = encoder.without_head(toys.model(family)), toys.sentences()
    student, before = student_of(teacher, kind), toys.bits(teacher)
    settings = SETTINGS | {"steps": 40, "batch_size": 8}
    arguments = (toys.tokenizer(family), text[:40], text[40:], settings, 1, tmp_path, "toy")
    learned = distillation.distil(student, teacher, *arguments)["history"]
    train = [entry["loss"] for entry in learned if "loss" in entry]
    dev = [entry["dev_gap"] for entry in learned if "dev_gap" in entry]
    assert sum(train[-5:]) < 0.7 * sum(train[:5]) and dev[-1] == min(dev) < 0.8 * dev[0]
    for entry in learned:
        assert "dev_gap" in entry or entry["distillation_loss"] == pytest.approx(
            entry["loss"], abs=1e-5
        )
        assert not {"mlm_loss", "dev_mlm_loss"} & entry.keys()
    assert toys.same(toys.bits(teacher), before) and not student.training
    assert all(tensor.grad is None for tensor in teacher.parameters())
    assert not families.has_head(student.config)  # it stays an encoder without a head


@slow
@both
@pytest.mark.parametrize(
    ("kind", "same"),
    [
        ("layers", {}),
        ("hidden", {}),
        ("hidden", {"optimizer": "muon", "passes": 3}),
    ],
)
def test_a_killed_training_goes_on_to_the_very_same_end(
    family, kind, same, tmp_path, monkeypatch, capsys
):
    """The bases of a narrow student and kept states, which no checkpoint holds, are made again."""
    student, learned = distil(family, kind, tmp_path / "whole", **same)
    calls, call = [], distillation.HiddenLoss.__call__

    def dies(self, *given):
        calls.append(None)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return call(self, *given)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(distillation.HiddenLoss, "__call__", dies)
        distil(family, kind, tmp_path / "killed", **same)
    resumed, again = distil(family, kind, tmp_path / "killed", **same)
    assert "resumed after step 4\n" in capsys.readouterr().out
    assert again["history"] == learned["history"]
    assert toys.same(toys.bits(resumed), toys.bits(student))


@slow
def test_the_weights_with_the_smallest_gap_on_dev_are_kept(tmp_path):
    """Taught on one sentence only, so that the gap to others rises after a while."""
    teacher, text = toys.model("bert", seed=2), toys.sentences()
    student, own = layers.cut(teacher, 2, "stride"), toys.tokenizer("bert")
    settings = SETTINGS | {"steps": 80}
    arguments = (own, ["Paka mdogo."] * 4, text[40:], settings, 1, tmp_path, "toy")
    learned = distillation.distil(student, teacher, *arguments)["history"]
    dev = {entry["step"]: entry["dev_gap"] for entry in learned if "dev_gap" in entry}
    assert set(dev) == {20, 40, 60, 80} and min(dev.values()) < dev[80]
    held_out = batches.masked_batches(batches.encode(text[40:], own, 16), own, 64, 0)
    found = distillation.HiddenLoss(teacher).judge(student, held_out, "float32")
    assert found["gap"] == pytest.approx(min(dev.values()), rel=1e-5)


@pytest.mark.parametrize("target", ["logits", "hidden"])
@pytest.mark.parametrize(("sentences", "taken"), [(5, 5), (0, 60), (99, 60)])
def test_sentences_limits_the_text(target, sentences, taken, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(trainer, "fit", lambda *given: seen.append(given[3]))
    settings = SETTINGS | {"distillation_target": target, "sentences": sentences}
    teacher, text = toys.model("bert"), toys.sentences()
    student = hidden.start(teacher, 16, "truncation")
    distillation.distil(
        student, teacher, toys.tokenizer("bert"), text, text[:5], settings, 1, tmp_path
    )
    assert seen == [text[:taken]]


@both
def test_a_teacher_without_a_head_gives_no_logits(family, tmp_path):
    teacher, text = encoder.without_head(toys.model(family)), toys.sentences()
    student = layers.cut(teacher, 2, "stride")
    with pytest.raises(StudyError, match="the teacher has no MLM head and gives no logits; set di"):
        distillation.distil(
            student, teacher, toys.tokenizer(family), text, text, toys.DISTIL, 1, tmp_path / "none"
        )
    assert not (tmp_path / "none").exists()
