"""What all trainings share: the schedule, the masks, the loss, accumulation, and trainings that are killed and go on."""

import errno
import math

import numpy
import pytest
import torch
import toys
from transformers import TrainerCallback

from lib import facts
from lib.data import batches
from lib.errors import StudyError
from lib.measure import mlm
from lib.model import device, encoder
from lib.train import distillation, pretraining, trainer

LONG = {
    "steps": 84,
    "batch_size": 2,
    "max_length": 12,
}  # 84: checkpoints every 21 steps, logs every 2, so they do not fall together
SHORT = {"steps": 8, "batch_size": 4}  # checkpoints every 2 steps
both = pytest.mark.parametrize("family", toys.FAMILIES)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    """Bits are compared here, so nothing goes to a GPU."""
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))


class Kill(TrainerCallback):
    """Ends a training as a closed laptop would: after some steps, by an exception nobody expects."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def small_trainer(family, folder, kind="mlm", seed=1, train=None, **changes):
    """A trainer of toy size whose student has dropout, so that random states matter too; and the model it trains."""
    own, dropout = (
        toys.tokenizer(family),
        {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1},
    )
    text, model = (
        train or toys.sentences()[:40],
        toys.model(family, seed=2, num_hidden_layers=2, **dropout),
    )
    if kind == "mlm":
        return pretraining.MlmTrainer(
            model, own, text, toys.sentences()[40:], toys.SETTINGS | changes, seed, folder, "toy"
        ), model
    return distillation.DistillationTrainer(
        model,
        toys.model(family, seed=3),
        own,
        text,
        toys.sentences()[40:],
        toys.DISTIL | changes,
        seed,
        folder,
        "toy",
    ), model


def trained(family, folder, kill=0, **given):
    """(weights, history) after `training.fit`; None for a killed one."""
    work, model = small_trainer(family, folder, **given)
    if kill:
        work.add_callback(Kill(kill))
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(work)
        return None
    learned = trainer.fit(work)
    assert len(learned["seconds"]) == len(learned["history"]) and not model.training
    return toys.bits(model), learned["history"]


def test_a_schedule_passes_over_all_sentences_again_and_again():
    lengths = numpy.random.default_rng(0).integers(3, 40, 23)
    seen = batches.schedule(lengths, batches=31, batch_size=3, seed=1)
    counts = numpy.bincount(seen.ravel(), minlength=23)
    assert (
        seen.shape == (31, 3) and counts.sum() == 93 and set(counts) <= {4, 5}
    )  # four passes and one more sentence
    passes = batches.schedule(lengths, batches=23 * 4, batch_size=5, seed=1, window=23).reshape(
        4, -1
    )
    assert all((numpy.bincount(each, minlength=23) == 5).all() for each in passes)


def test_every_window_is_a_slice_of_shuffled_passes():
    order = batches.schedule([9] * 100, batches=50, batch_size=4, seed=3)  # a window is two passes
    assert (numpy.bincount(order.ravel()) == 2).all()
    first = batches.schedule([9] * 100, batches=25, batch_size=4, seed=3)
    assert sorted(first.ravel()) == list(range(100)) and first.ravel().tolist() != list(range(100))


def test_a_schedule_batches_like_lengths_in_no_order_of_length():
    lengths = numpy.random.default_rng(0).integers(3, 60, 400)
    sizes = lengths[batches.schedule(lengths, batches=50, batch_size=8, seed=1)]
    padded = lengths[numpy.random.default_rng(5).permutation(400).reshape(50, 8)].max(1).sum()
    assert (sizes.max(1) - sizes.min(1)).mean() < 3 and sizes.max(1).sum() < 0.7 * padded
    longest = sizes.max(1)
    assert (numpy.diff(longest) > 0).any() and (numpy.diff(longest) < 0).any()


def test_a_schedule_is_a_function_of_its_seed():
    first, again, other = (batches.schedule(range(50), 20, 4, seed) for seed in (1, 1, 2))
    assert (first == again).all() and not (first == other).all()


@both
def test_masks_depend_on_seed_and_number_only(family):
    own, items = (
        toys.tokenizer(family),
        [{"input_ids": ids, "number": 70 + n} for n, ids in enumerate(toys.encoded(family))],
    )

    def masked(seed, first=70):
        return batches.Masker(own, seed)([items[0] | {"number": first}, *items[1:]])["input_ids"]

    torch.manual_seed(0)
    first = masked(1)
    torch.manual_seed(1)
    assert (
        first.equal(masked(1))
        and not first.equal(masked(2))
        and not first.equal(masked(1, first=71))
    )
    masker = batches.Masker(own, 1)
    masker(items[3:])  # what was masked before does not matter
    assert masker(items)["input_ids"].equal(first)
    assert masked(2**32 - 1).shape == first.shape  # the largest seed


@both
def test_a_batch_is_padded_and_special_tokens_are_never_asked(family):
    own, encoded = toys.tokenizer(family), toys.encoded(family, 30)
    for pad_to in (0, 5, 25):
        items = [{"input_ids": ids, "number": n} for n, ids in enumerate(encoded)]
        batch = batches.Masker(own, 1, pad_to)(items)
        assert (
            batch["input_ids"].shape
            == (30, max(pad_to, max(map(len, encoded))))
            == batch["labels"].shape
        )
        for ids, row, seen, asked in zip(
            encoded,
            batch["input_ids"].tolist(),
            batch["attention_mask"].tolist(),
            batch["labels"].tolist(),
            strict=True,
        ):
            length = len(ids)
            assert seen == [1] * length + [0] * (len(row) - length) and row[length:] == [
                own.pad_token_id
            ] * (len(row) - length)
            assert asked[length:] == [-100] * (len(row) - length)
            for place, old in enumerate(ids):
                assert asked[place] in (-100, old)
                assert asked[place] == old or row[place] == old  # what is not asked is not touched
                assert old not in own.all_special_ids or asked[place] == -100


@both
def test_shares_of_masks(family):
    own = toys.tokenizer(family)
    word = [number for number in range(len(own)) if number not in own.all_special_ids]
    ids = numpy.random.default_rng(0).choice(word, (400, 100))
    items = [
        {"input_ids": [own.cls_token_id, *row, own.sep_token_id], "number": n}
        for n, row in enumerate(ids.tolist())
    ]
    batch = batches.Masker(own, 1)(items)
    asked = batch["labels"] != -100
    new, old = batch["input_ids"][asked], batch["labels"][asked]
    share = asked.sum().item() / ids.size
    masked, kept = (
        (new == own.mask_token_id).float().mean().item(),
        (new == old).float().mean().item(),
    )
    assert (
        abs(share - 0.15) < 0.006
        and abs(masked - 0.8) < 0.02
        and abs(kept - 0.1) < 0.02
        and abs(1 - masked - kept - 0.1) < 0.02
    )


@both
def test_masked_batches_hold_every_sentence_once(family):
    own, encoded = toys.tokenizer(family), toys.encoded(family, 21)
    found_batches = batches.masked_batches(encoded, own, 8, 5)
    assert [len(batch["input_ids"]) for batch in found_batches] == [8, 8, 5]
    found = [
        [new if ask == -100 else ask for new, ask, see in zip(*rows, strict=True) if see]
        for batch in found_batches
        for rows in zip(
            batch["input_ids"].tolist(),
            batch["labels"].tolist(),
            batch["attention_mask"].tolist(),
            strict=True,
        )
    ]
    assert sorted(found) == sorted(encoded) and list(map(len, found)) == sorted(map(len, encoded))
    again, other = (
        batches.masked_batches(encoded, own, 8, 5),
        batches.masked_batches(encoded, own, 8, 6),
    )
    assert all(
        a["input_ids"].equal(b["input_ids"]) for a, b in zip(found_batches, again, strict=True)
    )
    assert not all(
        a["input_ids"].equal(b["input_ids"]) for a, b in zip(found_batches, other, strict=True)
    )


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


class Square(trainer.MaskedTrainer):
    """A loss that no mask touches and that is a mean over sentences, so that accumulation has an exact answer."""

    def loss(self, model, batch):
        ids = torch.where(batch["labels"] == -100, batch["input_ids"], batch["labels"])
        hidden = encoder.hidden_states(
            model, {"input_ids": ids, "attention_mask": batch["attention_mask"]}
        )
        return {
            "loss": hidden[:, 0, 0].square().mean(),
            "twice": 2 * hidden[:, 0, 0].square().mean(),
        }


@both
def test_accumulation_changes_neither_loss_nor_gradient(family, tmp_path):
    texts, found = toys.sentences()[:48], {}
    for size, accumulation in ((16, 1), (8, 2), (4, 4)):
        model = toys.model(family)
        settings = toys.SETTINGS | {"steps": 1, "batch_size": size, "accumulation": accumulation}
        one = Square(
            model,
            toys.tokenizer(family),
            texts,
            texts[:4],
            settings,
            1,
            tmp_path / f"{size}",
            "toy",
        )
        found[size] = trainer.fit(one)["history"][0]
    for size in (8, 4):
        for name in ("loss", "grad_norm", "twice"):
            assert found[size][name] == pytest.approx(found[16][name], rel=1e-4), (size, name)


@pytest.mark.parametrize(
    ("family", "kind", "length", "kills"),
    [
        ("bert", "distillation", LONG, (50, 42, 21, 65, 63)),
        ("xlm-roberta", "mlm", SHORT, (5, 4, 2, 7, 6)),
        ("bert", "mlm", SHORT | {"accumulation": 2}, (5, 4, 2, 7, 6)),
        (
            "xlm-roberta",
            "distillation",
            SHORT | {"all_positions": True, "distillation_loss": "kl"},
            (5, 4, 2, 7, 6),
        ),
    ],
)
def test_a_killed_training_goes_on_to_the_very_same_end(
    family, kind, length, kills, tmp_path, capsys
):
    """Killed between two checkpoints; the newest is then made a half-written one; killed again; killed after the last step."""
    first, broken, resumed, second, last = kills
    weights, history = trained(family, tmp_path / "whole", kind=kind, **length)
    folder = tmp_path / "killed"
    trained(family, folder, kill=first, kind=kind, **length)
    (folder / f"checkpoint-{broken}" / "complete").unlink()
    (folder / f"checkpoint-{broken}" / "model.safetensors").write_bytes(b"half")
    numpy.random.seed(5)
    torch.manual_seed(5)
    trained(family, folder, kill=second, kind=kind, **length)
    assert f"resumed after step {resumed}\n" in capsys.readouterr().out
    for after in (last, length["steps"]):
        found, line = trained(family, folder, kind=kind, **length)
        assert f"resumed after step {after}\n" in capsys.readouterr().out
        assert line == history and toys.same(found, weights)
    trainer.forget(folder)
    assert not folder.exists()


@both
def test_the_best_weights_on_dev_are_kept_and_the_history_says_which(family, tmp_path):
    """Trained on one sentence only, so that the others are forgotten."""
    weights, history = trained(
        family, tmp_path, train=["Paka mdogo chini ya mti."] * 4, steps=16, learning_rate=0.1
    )
    scored = {entry["step"]: entry["dev_mlm_loss"] for entry in history if "dev_mlm_loss" in entry}
    assert set(scored) == {4, 8, 12, 16} and all(
        math.isfinite(entry["loss"]) for entry in history if "loss" in entry
    )
    best = min(scored, key=scored.get)
    assert best < 16
    model, own = toys.model(family, num_hidden_layers=2), toys.tokenizer(family)
    model.load_state_dict(weights)
    dev = batches.masked_batches(batches.encode(toys.sentences()[40:], own, 16), own, 64, 0)
    assert mlm.score_mlm(model, dev, "float32")["mlm_loss"] == pytest.approx(scored[best], rel=1e-6)


def test_the_seed_decides(tmp_path):
    torch.manual_seed(0)
    first = trained("bert", tmp_path / "1")
    torch.manual_seed(1)
    again, other = trained("bert", tmp_path / "2"), trained("bert", tmp_path / "3", seed=2)
    assert (
        toys.same(first[0], again[0]) and first[1] == again[1] and not toys.same(first[0], other[0])
    )


def test_masking_ahead_in_other_processes_changes_nothing(tmp_path, monkeypatch):
    """As where there is a GPU."""
    first, usual = trained("bert", tmp_path / "1"), trainer.arguments
    ahead = {"dataloader_num_workers": trainer.WORKERS}
    monkeypatch.setattr(
        trainer, "arguments", lambda *given, **named: usual(*given, **named | ahead)
    )
    second = trained("bert", tmp_path / "2")
    assert toys.same(first[0], second[0]) and first[1] == second[1]


def test_another_number_of_threads_changes_rounding_only(tmp_path):
    found = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found[threads] = trained("bert", tmp_path / str(threads), learning_rate=1e-3)[1]
    torch.set_num_threads(1)
    for one, two in zip(found[1], found[2], strict=True):
        assert two == {key: pytest.approx(value, rel=1e-3) for key, value in one.items()}


def test_one_step_and_batches_larger_than_the_text(tmp_path):
    for number, changes in enumerate(({"steps": 1}, {"steps": 3, "batch_size": 64})):
        _, history = trained("bert", tmp_path / str(number), **changes)
        assert history[-1]["step"] == changes["steps"]


class Breaks(pretraining.MlmTrainer):
    """Its loss is no number from some step on."""

    def loss(self, model, batch):
        wrong = torch.nan if self.state.global_step >= self.breaks_at else 1.0
        return {"loss": super().loss(model, batch)["loss"] * wrong}


@pytest.mark.parametrize(("breaks_at", "length"), [(0, SHORT), (5, SHORT), (6, SHORT), (20, LONG)])
def test_a_diverging_training_stops_and_leaves_good_checkpoints(tmp_path, breaks_at, length):
    """20: the loss breaks in the very step of a checkpoint, which must not be written then."""
    text = toys.sentences()
    one = Breaks(
        toys.model("bert"),
        toys.tokenizer("bert"),
        text,
        text[:9],
        toys.SETTINGS | length,
        1,
        tmp_path,
        "toy",
    )
    one.breaks_at = breaks_at
    with pytest.raises(StudyError, match="toy: the loss is not finite at step") as caught:
        trainer.fit(one)
    assert str(tmp_path) in str(caught.value) and "lower the learning rate" in str(caught.value)
    kept = sorted(int(each.name.split("-")[1]) for each in tmp_path.glob("checkpoint-*"))
    assert (kept or [0])[-1] == breaks_at // (length["steps"] // 4) * (length["steps"] // 4)
    for folder in tmp_path.glob("checkpoint-*"):
        model = type(one.model).from_pretrained(folder)
        assert (folder / "complete").exists() and all(
            torch.isfinite(tensor).all() for tensor in model.parameters()
        )


class Grows(pretraining.MlmTrainer):
    """Its loss is `growth` times itself from some step on."""

    def loss(self, model, batch):
        found = super().loss(model, batch)["loss"]
        return {"loss": found * (self.growth if self.state.global_step >= 30 else 1)}


@pytest.mark.parametrize(("growth", "stops"), [(1, False), (1.8, False), (2.5, True)])
def test_a_loss_above_twice_its_start_and_uniform_guessing_stops(tmp_path, growth, stops):
    """The loss of this toy stays between its start and ln V, so the factor alone decides; the mean of three logs lags a little."""
    text = toys.sentences()
    settings = toys.SETTINGS | {"steps": 80, "learning_rate": 1e-6}
    one = Grows(
        toys.model("bert"), toys.tokenizer("bert"), text, text[:9], settings, 1, tmp_path, "toy"
    )
    one.growth = growth
    if not stops:
        trainer.fit(one)
        return
    with pytest.raises(
        StudyError,
        match=r"toy: the loss explodes .* at step 3[0-9]; the last good checkpoint is .*checkpoint-20: lower",
    ):
        trainer.fit(one)


def test_real_divergence_is_noticed(tmp_path):
    """Adam with a learning rate of 30."""
    with pytest.raises(StudyError, match=r"toy: the loss explodes|toy: the loss is not finite"):
        trained("bert", tmp_path, steps=80, learning_rate=30.0)


def test_a_checkpoint_of_broken_weights_is_never_good(tmp_path):
    """A loss that is finite while a weight is not: the checkpoint goes, the one before it is named and is where a resumed run begins."""
    work, model = small_trainer("bert", tmp_path, **SHORT)

    class Break(TrainerCallback):
        def on_evaluate(self, args, state, control, **_):
            if state.global_step == 4:
                model.bert.embeddings.word_embeddings.weight.data[5, 0] = torch.nan

    work.add_callback(Break())
    with pytest.raises(
        StudyError,
        match=r"a weight is not finite at step 4; the last good checkpoint is .*checkpoint-2: lower",
    ):
        trainer.fit(work)
    assert [step for step, _ in trainer.complete(tmp_path)] == [2] and not (
        tmp_path / "checkpoint-4"
    ).exists()


def test_a_checkpoint_that_lost_a_file_is_not_resumed_from(tmp_path, capsys):
    """As after a kill while old checkpoints are removed."""
    weights, history = trained("bert", tmp_path / "whole", **SHORT)
    trained("bert", tmp_path / "killed", kill=5, **SHORT)
    (tmp_path / "killed" / "checkpoint-4" / "optimizer.pt").unlink()
    found, line = trained("bert", tmp_path / "killed", **SHORT)
    assert (
        "resumed after step 2\n" in capsys.readouterr().out
        and line == history
        and toys.same(found, weights)
    )


def test_a_training_goes_on_in_a_folder_that_was_moved(tmp_path):
    weights, history = trained("bert", tmp_path / "whole", **SHORT)
    trained("bert", tmp_path / "killed", kill=5, **SHORT)
    (tmp_path / "killed").rename(tmp_path / "moved")
    found, line = trained("bert", tmp_path / "moved", **SHORT)
    assert line == history and toys.same(found, weights)


def test_a_full_disk_while_training_is_one_sentence(tmp_path, monkeypatch):
    work, _ = small_trainer("bert", tmp_path, **SHORT)

    def full(*_, **__):
        (tmp_path / "checkpoint-4" / "model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    save = type(work)._save_optimizer_and_scheduler
    monkeypatch.setattr(
        type(work),
        "_save_optimizer_and_scheduler",
        lambda self, folder: full() if folder.endswith("-4") else save(self, folder),
    )
    with pytest.raises(StudyError, match=r"the disk that holds .* is full"):
        trainer.fit(work)
    assert [each.name for each in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]


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


def test_progress_is_told(tmp_path, capsys):
    trained("bert", tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert (
        len(lines) == 4
        and lines[0].startswith("toy: step 2 of 8, on dev ")
        and lines[0].endswith("min left")
    )


def test_settings_of_the_arguments(tmp_path):
    args = trainer.arguments(
        tmp_path,
        steps=7,
        batch_size=3,
        learning_rate=1e-3,
        seed=4,
        accumulation=2,
        weight_decay=0.5,
    )
    assert (
        args.max_steps,
        args.per_device_train_batch_size,
        args.gradient_accumulation_steps,
        args.seed,
    ) == (7, 3, 2, 4)
    assert args.weight_decay == 0.5 and args.n_gpu <= 1 and not args.report_to
    assert (
        trainer.arguments(
            tmp_path, epochs=3, batch_size=3, learning_rate=1e-3, seed=4
        ).num_train_epochs
        == 3
    )
    one, _ = small_trainer("bert", tmp_path)
    entry = facts.facts("training")
    assert (
        one.args.weight_decay == entry["weight_decay"]
        and one.args.max_grad_norm == entry["max_grad_norm"]
    )


def test_precision():
    config = toys.config("bert")
    for precision, enabled in (("float32", False), ("bfloat16", True)):
        with device.autocast(config, precision):
            assert torch.is_autocast_enabled("cpu") is enabled


def test_encode():
    own = toys.tokenizer("bert")
    ids = batches.encode(["Ħafna kotba in the garden.", "paka"], own, 5)
    assert len(ids[0]) == 5 and all(
        row[0] == own.cls_token_id and row[-1] == own.sep_token_id for row in ids
    )
    with pytest.raises(StudyError, match="no sentences to train on"):
        batches.encode([], own, 5)
    for length in (2, 513):
        with pytest.raises(
            StudyError,
            match=f"a max_length of {length} tokens was asked for; the model takes 3 to 512",
        ):
            batches.encode(["paka"], own, length)


def test_nothing_masked_is_no_score():
    batch = toys.batch("bert")
    with pytest.raises(StudyError, match="no token was masked in the evaluation sentences"):
        mlm.score_mlm(
            toys.model("bert"), [batch | {"labels": torch.full_like(batch["labels"], -100)}]
        )
