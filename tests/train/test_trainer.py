"""Trainings: a loop by hand, accumulation, the best weights, kills and resumes, and divergence."""

import errno
import math
import shutil

import numpy
import pytest
import torch
import toys
from transformers import BertForMaskedLM, get_linear_schedule_with_warmup

from lib import facts
from lib.data import batches
from lib.errors import StudyError
from lib.measure import mlm
from lib.model import device, encoder
from lib.train import checkpoints, distillation, trainer

pytestmark = pytest.mark.slow

# 84: checkpoints every 21 steps, logs every 2, so they do not fall together
LONG = {"steps": 84, "batch_size": 2, "max_length": 12}
SHORT = {"steps": 8, "batch_size": 4}  # checkpoints every 2 steps
DROPOUT = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
both = pytest.mark.parametrize("family", toys.FAMILIES)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    """Bits are compared here, so nothing goes to a GPU."""
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))


def mlm_loss(model, batch):
    return {"loss": mlm.mlm_loss(model, batch)}


def fit(model, folder, loss=mlm_loss, family="bert", train=None, dev=None, seed=1, **changes):
    """`trainer.fit` of a toy."""
    settings, text = toys.DISTIL | changes, toys.sentences()
    train, dev = train or text[:40], dev or text[40:]
    return trainer.fit(
        model, loss, toys.tokenizer(family), train, dev, settings, seed, folder, "toy"
    )


def from_step(step, change, loss=mlm_loss):
    """`loss` that is changed from the call after `step` on; each optimizer step calls it once."""
    calls = []

    def changed(model, batch):
        calls.append(None)
        return change(loss(model, batch)) if len(calls) > step else loss(model, batch)

    return changed


def die(terms):
    """Ends a training as a closed laptop would, by an exception nobody expects."""
    raise KeyboardInterrupt


def trained(family, folder, kill=0, kind="mlm", **changes):
    """(weights, history) of a student with dropout, so that random states matter; None if killed.

    A training is killed in step `kill`, before its checkpoint, counted from where it begins.
    """
    batches_before = (kill - 1) * changes.get("accumulation", 1)
    model, loss = toys.model(family, seed=2, num_hidden_layers=2, **DROPOUT), mlm_loss
    if kind == "distillation":
        loss = distillation.DistillationLoss(toys.model(family, seed=3), toys.DISTIL | changes)
    if kill:
        with pytest.raises(KeyboardInterrupt):
            fit(model, folder, from_step(batches_before, die, loss), family, **changes)
        return None
    learned = fit(model, folder, loss, family, **changes)
    assert len(learned["seconds"]) == len(learned["history"]) and not model.training
    return toys.bits(model), learned["history"]


def by_hand(model, family, text, settings, seed):
    """Train a model with AdamW, clipping and schedule of torch and of the library, in a plain loop.

    The biases and the weights of LayerNorm, by the library's names, do not decay.
    """
    encoded, fixed = batches.encode(text, toys.tokenizer(family), 16), facts.facts("training")
    steps, accumulation, size = (settings[k] for k in ("steps", "accumulation", "batch_size"))
    order = batches.schedule([len(ids) for ids in encoded], steps * accumulation, size, seed)
    items, masker = batches.Scheduled(encoded, order), batches.Masker(toys.tokenizer(family), seed)
    groups = {0.0: [], fixed["weight_decay"]: []}
    for name, weight in model.named_parameters():
        plain = name.endswith(".bias") or "LayerNorm" in name or "layer_norm" in name
        groups[0.0 if plain else fixed["weight_decay"]].append(weight)
    groups = [{"params": weights, "weight_decay": decay} for decay, weights in groups.items()]
    adam = torch.optim.AdamW(groups, lr=settings["learning_rate"], fused=True)
    warmup = int(fixed["warmup"] * steps)
    schedule, logs, turn = get_linear_schedule_with_warmup(adam, warmup, steps), [], iter(items)
    for _ in range(steps):
        total = torch.zeros(())
        for _ in range(accumulation):
            batch = masker([next(turn) for _ in range(size)])
            loss = mlm.mlm_loss(model.train(), batch) / accumulation
            loss.backward()
            total = total + loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), fixed["max_grad_norm"])
        logs.append((total.item(), norm.item(), schedule.get_last_lr()[0]))
        adam.step()
        schedule.step()
        adam.zero_grad()
    return logs


@both
@pytest.mark.parametrize("changes", [{"steps": 40}, {"accumulation": 3}])
def test_a_training_is_the_loop_written_by_hand(family, changes, tmp_path):
    """Bit for bit, through warm-up and decay; the last weights are the best of so few steps."""
    text = toys.sentences()
    settings = toys.SETTINGS | {"learning_rate": 1e-3} | changes
    ours, theirs = (toys.model(family, seed=2, num_hidden_layers=2) for _ in range(2))
    history = fit(ours, tmp_path, family=family, train=text, dev=text, **settings)["history"]
    scored = [entry["dev_mlm_loss"] for entry in history if "dev_mlm_loss" in entry]
    assert min(scored) == scored[-1]
    logs = [entry for entry in history if "loss" in entry]
    found = [(entry["loss"], entry["grad_norm"], entry["learning_rate"]) for entry in logs]
    assert found == by_hand(theirs, family, text, settings, seed=1)
    assert toys.same(toys.bits(ours), toys.bits(theirs))


def of_sentences(model, batch):
    """A loss that no mask touches and that is a mean over sentences: accumulation has an answer."""
    ids = torch.where(batch["labels"] == -100, batch["input_ids"], batch["labels"])
    inputs = {"input_ids": ids, "attention_mask": batch["attention_mask"]}
    loss = encoder.hidden_states(model, inputs)[:, 0, 0].square().mean()
    return {"loss": loss, "twice": 2 * loss}


@both
def test_accumulation_changes_neither_loss_nor_gradient(family, tmp_path):
    logs = {}
    for size, accumulation in ((16, 1), (8, 2), (4, 4)):
        settings = {"steps": 1, "batch_size": size, "accumulation": accumulation}
        text, folder = toys.sentences()[:48], tmp_path / str(size)
        learned = fit(toys.model(family), folder, of_sentences, family, text, text[:4], **settings)
        logs[size] = learned["history"][0]
    for size in (8, 4):
        for name in ("loss", "grad_norm", "twice"):
            assert logs[size][name] == pytest.approx(logs[16][name], rel=1e-4), (size, name)


@pytest.mark.parametrize(
    ("family", "kind", "length", "kills"),
    [
        ("bert", "distillation", LONG, (50, 42, 21, 44, 63)),
        ("xlm-roberta", "mlm", SHORT, (5, 4, 2, 5, 6)),
        ("bert", "mlm", SHORT | {"accumulation": 2}, (5, 4, 2, 5, 6)),
        (
            "xlm-roberta",
            "distillation",
            SHORT | {"all_positions": True, "distillation_loss": "kl"},
            (5, 4, 2, 5, 6),
        ),
    ],
)
def test_a_killed_training_goes_on_to_the_very_same_end(
    family, kind, length, kills, tmp_path, capsys
):
    """Killed between two checkpoints, of which the newest then becomes a half-written one.

    Killed again, and called once more after the last step.
    """
    first, broken, resumed_after, second, last = kills
    weights, history = trained(family, tmp_path / "whole", kind=kind, **length)
    folder = tmp_path / "killed"
    trained(family, folder, kill=first, kind=kind, **length)
    (checkpoints.path(folder, broken) / "complete").unlink()
    (checkpoints.path(folder, broken) / "model.safetensors").write_bytes(b"half")
    numpy.random.seed(5)
    torch.manual_seed(5)
    trained(family, folder, kill=second, kind=kind, **length)
    assert f"resumed after step {resumed_after}\n" in capsys.readouterr().out
    for after in (last, length["steps"]):
        resumed, line = trained(family, folder, kind=kind, **length)
        assert f"resumed after step {after}\n" in capsys.readouterr().out
        assert line == history and toys.same(resumed, weights)


@pytest.mark.parametrize("file", ["optimizer.pt", "model.safetensors", "rng_state.pth"])
def test_a_checkpoint_that_lost_a_file_is_not_resumed_from(file, tmp_path, capsys):
    """As after a kill while old checkpoints are removed."""
    weights, history = trained("bert", tmp_path / "whole", **SHORT)
    trained("bert", tmp_path / "killed", kill=5, **SHORT)
    (checkpoints.path(tmp_path / "killed", 4) / file).unlink()
    resumed, line = trained("bert", tmp_path / "killed", **SHORT)
    assert "resumed after step 2\n" in capsys.readouterr().out
    assert line == history and toys.same(resumed, weights)


FORGETFUL = {"train": ["Paka."] * 4, "steps": 16, "learning_rate": 0.1}


def test_the_newest_and_the_best_checkpoint_are_kept(tmp_path):
    _, history = trained("bert", tmp_path, **FORGETFUL)
    best = min((e for e in history if "dev_mlm_loss" in e), key=lambda e: e["dev_mlm_loss"])
    assert best["step"] < 16 and checkpoints.complete(tmp_path) == [best["step"], 16]
    assert {*tmp_path.iterdir()} == {
        checkpoints.path(tmp_path, step) for step in (best["step"], 16)
    }


def test_without_the_best_checkpoint_the_later_ones_are_of_no_use(tmp_path, capsys):
    """Its weights are the result, so the training starts again."""
    weights, history = trained("bert", tmp_path / "whole", **FORGETFUL)
    best = checkpoints.complete(tmp_path / "whole")[0]
    trained("bert", tmp_path / "killed", kill=16, **FORGETFUL)
    (checkpoints.path(tmp_path / "killed", best) / "model.safetensors").unlink()
    again, line = trained("bert", tmp_path / "killed", **FORGETFUL)
    assert "resumed" not in capsys.readouterr().out
    assert line == history and toys.same(again, weights)


def test_a_best_checkpoint_removed_while_the_training_runs_is_an_error(tmp_path):
    weights, history = trained("bert", tmp_path / "whole", **FORGETFUL)
    best, _ = checkpoints.complete(tmp_path / "whole")
    folder = tmp_path / "robbed"

    def rob(terms):
        shutil.rmtree(checkpoints.path(folder, best), ignore_errors=True)
        return terms

    model = toys.model("bert", seed=2, num_hidden_layers=2, **DROPOUT)
    with pytest.raises(StudyError, match=r"toy: the best checkpoint was removed from .*; run it"):
        fit(model, folder, from_step(13, rob), **FORGETFUL)
    again, line = trained("bert", folder, **FORGETFUL)
    assert line == history and toys.same(again, weights)


@both
def test_the_best_weights_on_dev_are_kept_and_the_history_says_which(family, tmp_path):
    """Trained on one sentence only, so that the others are forgotten."""
    weights, history = trained(
        family, tmp_path, train=["Paka mdogo chini ya mti."] * 4, steps=16, learning_rate=0.1
    )
    scored = {entry["step"]: entry["dev_mlm_loss"] for entry in history if "dev_mlm_loss" in entry}
    assert set(scored) == {4, 8, 12, 16}
    assert all(math.isfinite(entry["loss"]) for entry in history if "loss" in entry)
    best = min(scored, key=scored.get)
    assert best < 16
    model, tokenizer = toys.model(family, num_hidden_layers=2), toys.tokenizer(family)
    model.load_state_dict(weights)
    encoded = batches.encode(toys.sentences()[40:], tokenizer, 16)
    scores = mlm.score_mlm(model, batches.masked_batches(encoded, tokenizer, 64, 0), "float32")
    assert scores["mlm_loss"] == pytest.approx(scored[best], rel=1e-6)


def test_the_seed_decides(tmp_path):
    torch.manual_seed(0)
    first = trained("bert", tmp_path / "1")
    torch.manual_seed(1)
    again, other = trained("bert", tmp_path / "2"), trained("bert", tmp_path / "3", seed=2)
    assert toys.same(first[0], again[0]) and first[1] == again[1]
    assert not toys.same(first[0], other[0])


def test_masking_ahead_in_other_processes_changes_nothing(tmp_path, monkeypatch):
    """As on a machine with a GPU."""
    first = trained("bert", tmp_path / "1")
    monkeypatch.setattr(trainer, "WORKERS", {"cpu": 2})
    second = trained("bert", tmp_path / "2")
    assert toys.same(first[0], second[0]) and first[1] == second[1]


def test_another_number_of_threads_changes_rounding_only(tmp_path):
    histories = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        histories.append(trained("bert", tmp_path / str(threads), learning_rate=1e-3)[1])
    torch.set_num_threads(1)
    for one, two in zip(*histories, strict=True):
        assert two == {key: pytest.approx(value, rel=1e-3) for key, value in one.items()}


def test_one_step_and_batches_larger_than_the_text(tmp_path):
    for number, changes in enumerate(({"steps": 1}, {"steps": 3, "batch_size": 64})):
        _, history = trained("bert", tmp_path / str(number), **changes)
        assert history[-1]["step"] == changes["steps"]


def test_the_curve_logs_means_and_the_settings_of_the_project(tmp_path):
    """Every term is the mean since the last log; the learning rate follows warm-up and decay."""
    _, history = trained("bert", tmp_path, kind="distillation", steps=84, batch_size=2)
    logs = [entry for entry in history if "loss" in entry]
    assert [entry["step"] for entry in logs] == sorted({*range(2, 85, 2), 21, 63})
    warmup = int(facts.facts("training")["warmup"] * 84)
    for entry in logs:
        step, terms = entry["step"] - 1, (entry["mlm_loss"], entry["distillation_loss"])
        assert entry["loss"] == pytest.approx(numpy.mean(terms), abs=1e-5)  # mlm_weight is a half
        rate = step / warmup if step < warmup else (84 - step) / (84 - warmup)
        assert entry["learning_rate"] == pytest.approx(1e-2 * rate)
        assert 0 <= entry["padding"] < 1


@pytest.mark.parametrize("all_positions", [False, True])
def test_batches_are_padded_to_the_full_length_only_for_all_positions(all_positions, tmp_path):
    """As the authors' scripts do."""
    lengths = []

    def loss(model, batch):
        lengths.append(batch["input_ids"].shape[1])
        return mlm_loss(model, batch)

    fit(toys.model("bert"), tmp_path, loss, all_positions=all_positions)
    assert (set(lengths) == {16}) is all_positions and max(lengths) <= 16


@pytest.mark.parametrize(("breaks_at", "length"), [(0, SHORT), (5, SHORT), (6, SHORT), (20, LONG)])
def test_a_diverging_training_stops_and_leaves_good_checkpoints(tmp_path, breaks_at, length):
    """20: the loss breaks in the very step of a checkpoint, which must not be written then."""
    loss = from_step(breaks_at, lambda terms: {"loss": terms["loss"] * torch.nan})
    with pytest.raises(StudyError, match="toy: the loss is not finite at step") as caught:
        fit(toys.model("bert"), tmp_path, loss, **length)
    assert str(tmp_path) in str(caught.value) and "lower the learning rate" in str(caught.value)
    interval = length["steps"] // 4
    steps = checkpoints.complete(tmp_path)
    assert (steps or [0])[-1] == breaks_at // interval * interval
    assert {*tmp_path.iterdir()} == {checkpoints.path(tmp_path, step) for step in steps}
    for folder in tmp_path.iterdir():  # anybody can load them
        model = BertForMaskedLM.from_pretrained(folder)
        assert all(torch.isfinite(tensor).all() for tensor in model.parameters())


@pytest.mark.parametrize(("growth", "stops"), [(1, False), (1.8, False), (2.5, True)])
def test_a_loss_above_twice_its_start_and_uniform_guessing_stops(tmp_path, growth, stops):
    """The loss of this toy stays between its start and ln V, so the factor alone decides."""
    loss = from_step(30, lambda terms: {"loss": terms["loss"] * growth})
    length = {"steps": 80, "learning_rate": 1e-6}
    if not stops:
        fit(toys.model("bert"), tmp_path, loss, **length)
        return
    said = (
        r"toy: the loss explodes .* at step 3[0-9]; the best checkpoint is "
        r".*checkpoint-20: lower"
    )
    with pytest.raises(StudyError, match=said):
        fit(toys.model("bert"), tmp_path, loss, **length)


def test_real_divergence_is_noticed(tmp_path):
    """Adam with a learning rate of 30."""
    with pytest.raises(StudyError, match=r"toy: the loss explodes|toy: the loss is not finite"):
        trained("bert", tmp_path, steps=80, learning_rate=30.0)


def test_a_checkpoint_of_broken_weights_is_never_written(tmp_path, monkeypatch):
    """The loss is finite while a weight is not: the checkpoint before it is the last good one."""
    model, score, calls = toys.model("bert"), mlm.score_mlm, []

    def breaks(*arguments):
        scores = score(*arguments)
        calls.append(None)
        if len(calls) == 2:
            model.bert.embeddings.word_embeddings.weight.data[5, 0] = torch.nan
        return scores

    monkeypatch.setattr(mlm, "score_mlm", breaks)
    said = r"a weight is not finite at step 4; the best checkpoint is .*checkpoint-2: lower"
    with pytest.raises(StudyError, match=said):
        fit(model, tmp_path, **SHORT)
    assert [folder.name for folder in tmp_path.iterdir()] == ["checkpoint-2"]


def test_a_training_goes_on_in_a_folder_that_was_moved(tmp_path):
    weights, history = trained("bert", tmp_path / "whole", **SHORT)
    trained("bert", tmp_path / "killed", kill=6, **SHORT)
    (tmp_path / "killed").rename(tmp_path / "moved")
    resumed, line = trained("bert", tmp_path / "moved", **SHORT)
    assert line == history and toys.same(resumed, weights)


def test_a_full_disk_while_training_is_one_sentence(tmp_path, monkeypatch, capsys):
    """What was half-written is gone, and the training goes on from the checkpoint before."""
    weights, history = trained("bert", tmp_path / "whole", **SHORT)
    folder, save = tmp_path / "full", trainer.MaskedTrainer._save_optimizer_and_scheduler

    def full(self, place):
        save(self, place)
        if place.endswith("-4"):
            (checkpoints.path(folder, 4) / "model.safetensors").write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(trainer.MaskedTrainer, "_save_optimizer_and_scheduler", full)
        with pytest.raises(StudyError, match=r"the disk that holds .* is full"):
            trained("bert", folder, **SHORT)
    assert [place.name for place in folder.iterdir()] == ["checkpoint-2"]
    resumed, line = trained("bert", folder, **SHORT)
    assert "resumed after step 2\n" in capsys.readouterr().out
    assert line == history and toys.same(resumed, weights)


def test_progress_is_told(tmp_path, capsys):
    trained("bert", tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len(lines) == 4 and lines[0].endswith("min left")
    assert lines[0].startswith("toy: step 2 of 8, on dev ")


def test_settings_of_the_arguments(tmp_path):
    """What the study sets, and the traps of the Trainer that are closed."""
    settings, text = toys.SETTINGS | {"steps": 7, "batch_size": 3, "accumulation": 2}, ["Paka."] * 9
    model, tokenizer = toys.model("bert"), toys.tokenizer("bert")
    one = trainer.MaskedTrainer(
        model, mlm_loss, tokenizer, text, text, settings, 4, tmp_path, "toy"
    )
    args, fixed = one.args, facts.facts("training")
    assert (args.max_steps, args.per_device_train_batch_size, args.seed) == (7, 3, 4)
    assert args.gradient_accumulation_steps == 2 and args.train_sampling_strategy == "sequential"
    for name in ("weight_decay", "max_grad_norm"):
        assert getattr(args, name) == fixed[name]
    assert args.n_gpu <= 1 and args.report_to in ([], "none") and args.disable_tqdm
    assert one.loss_is_scaled_for_ga is False and not one.model_accepts_loss_kwargs
    assert not args.logging_nan_inf_filter and model.config.use_cache is True
    callbacks = {type(callback).__name__ for callback in one.callback_handler.callbacks}
    assert callbacks == {"DefaultFlowCallback", "Progress"}
