"""What all trainings share: masked batches, the MLM loss, a Trainer that resumes exactly and shows its progress.

The order of the sentences and every mask are functions of (seed, position in the training), not of a random state that has to
survive: a training killed and resumed sees what an undisturbed one sees.
"""

import gc
import json
import math
import shutil
import time
from pathlib import Path

import numpy
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from lib import facts, files
from lib.data import batches
from lib.errors import StudyError
from lib.measure import mlm
from lib.model import device

WORKERS = 2  # processes that mask batches ahead of a GPU, which would wait for them
torch.backends.cuda.enable_cudnn_sdp(
    False
)  # cuDNN's attention plans anew for each length of a batch, which takes longer than the step


def arguments(
    folder: Path,
    *,
    steps: int = 0,
    epochs: int = 0,
    batch_size: int,
    learning_rate: float,
    seed: int,
    accumulation: int = 1,
    **more,
) -> TrainingArguments:
    """TrainingArguments of this study: no reports, no bars, one device; `more` goes through to the Trainer's own."""
    gc.collect()  # what an earlier training in this process left on a GPU would lack there
    torch.cuda.empty_cache()
    length = {"max_steps": steps} if steps else {"num_train_epochs": epochs}
    args = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        gradient_accumulation_steps=accumulation,
        use_cpu=device.device().type == "cpu",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=device.device().type == "cuda",
        remove_unused_columns=False,
        **(length | more),
    )
    args._n_gpu = min(
        1, args.n_gpu
    )  # several GPUs run several jobs; one job is one process on one device
    return args


class StudyTrainer(Trainer):
    """The Trainer with its gradient-accumulation trap closed, seconds in its log, and its prints left to `Progress`.

    These heads ignore num_items_in_batch; a Trainer that believes otherwise multiplies loss and gradients by the number of
    accumulated batches.
    """

    loss_is_scaled_for_ga = False

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        for printer in (PrinterCallback, ProgressCallback):
            self.remove_callback(printer)
        self.model_accepts_loss_kwargs = False
        self.began, self.spent = time.monotonic(), 0.0

    def floating_point_ops(self, inputs):
        """Count none: the Trainer would walk through all parameters at every step to fill a number nobody reads."""
        return 0

    def log(self, logs, start_time=None):
        super().log(
            logs | {"seconds": round(self.spent + time.monotonic() - self.began, 2)}, start_time
        )


class Progress(TrainerCallback):
    """A line of progress with the time left at every log; marks checkpoints complete; stops a training that diverges.

    A training has diverged where a loss or a weight is not finite, or where the mean of the last three logged losses is above
    twice the level it cannot honestly exceed: the larger of the first logged loss and ln V, what guessing all tokens alike gives.
    Every checkpoint follows a log, so that a resumed training begins its means where an undisturbed one does.
    """

    def __init__(self, name: str, vocab_size: int):
        self.name, self.uniform = name, math.log(vocab_size)

    def on_train_begin(self, args, state, control, **_):
        self.began, self.first, self.shown = time.monotonic(), state.global_step, time.monotonic()
        if state.best_model_checkpoint:  # the folder may have been moved since
            state.best_model_checkpoint = str(
                Path(args.output_dir) / Path(state.best_model_checkpoint).name
            )

    def on_step_end(self, args, state, control, **_):
        control.should_log |= control.should_save

    def on_log(self, args, state, control, logs=None, **_):
        device.release()
        done = state.global_step - self.first
        left = (
            (time.monotonic() - self.began) / max(done, 1) * (state.max_steps - state.global_step)
        )
        shown = {"loss": "loss", "eval_loss": "on dev"}
        numbers = ", ".join(f"{shown[key]} {logs[key]:.3f}" for key in shown if key in logs)
        if numbers and ("eval_loss" in logs or time.monotonic() - self.shown > 20):
            self.shown = time.monotonic()
            print(
                f"{self.name}: step {state.global_step} of {state.max_steps}, {numbers}, {left / 60:.1f} min left",
                flush=True,
            )
        if not numpy.isfinite([logs.get("loss", 0.0), logs.get("eval_loss", 0.0)]).all():
            raise self.diverged("the loss is not finite", args, state)
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        if len(losses) >= 3 and (mean := sum(losses[-3:]) / 3) > self.limit(state):
            raise self.diverged(
                f"the loss explodes (it was {losses[0]:.3g} at first, the last three logs average {mean:.3g})",
                args,
                state,
            )

    def on_save(self, args, state, control, model=None, **_):
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if not all(torch.isfinite(weight).all() for weight in model.parameters()):
            shutil.rmtree(folder)
            raise self.diverged("a weight is not finite", args, state)
        sizes = {
            str(file.relative_to(folder)): file.stat().st_size
            for file in folder.rglob("*")
            if file.is_file()
        }
        files.write_json(folder / "complete", sizes)

    def limit(self, state) -> float:
        """The highest mean of losses that is no divergence."""
        return 2 * max(
            self.uniform, next(entry["loss"] for entry in state.log_history if "loss" in entry)
        )

    def diverged(self, what: str, args, state) -> StudyError:
        """The error that says so and names the newest checkpoint whose dev loss was in bounds."""
        scored = {
            entry["step"]: entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry
        }
        good = [
            folder
            for step, folder in complete(Path(args.output_dir))
            if scored.get(step, math.inf) <= self.limit(state)
        ]
        kept = (
            f"the last good checkpoint is {good[-1]}"
            if good
            else f"no good checkpoint was written to {args.output_dir} yet"
        )
        return StudyError(
            f"{self.name}: {what} at step {state.global_step}; {kept}: lower the learning rate"
        )


class MaskedTrainer(StudyTrainer):
    """Trains on scheduled masked batches and keeps the weights with the lowest `mlm_loss` on fixed dev batches.

    A subclass says in `loss` what is minimised. `parts` collects the means of its terms between two logs.
    """

    def __init__(
        self,
        model,
        tokenizer,
        train: list[str],
        dev: list[str],
        settings: dict,
        seed: int,
        folder: Path,
        name: str,
    ):
        fixed, steps, size = facts.facts("training"), settings["steps"], settings["batch_size"]
        encoded = batches.encode(train, tokenizer, settings["max_length"])
        self.dev = batches.masked_batches(
            batches.encode(dev, tokenizer, settings["max_length"]), tokenizer, 64, 0
        )
        self.precision, self.parts = settings["precision"], {}
        device.choose_attention(model, self.precision, settings["max_length"])
        each = settings["accumulation"]
        order = batches.schedule([len(ids) for ids in encoded], steps * each, size, seed)
        interval = max(1, steps // fixed["evaluations"])
        args = arguments(
            folder,
            steps=steps,
            batch_size=size,
            accumulation=each,
            learning_rate=settings["learning_rate"],
            seed=seed,
            train_sampling_strategy="sequential",
            weight_decay=fixed["weight_decay"],
            max_grad_norm=fixed["max_grad_norm"],
            warmup_steps=int(fixed["warmup"] * steps),
            lr_scheduler_type="linear",
            logging_steps=max(1, steps // 40),
            eval_strategy="steps",
            eval_steps=interval,
            save_strategy="steps",
            save_steps=interval,
            save_total_limit=2,
            load_best_model_at_end=True,
            metric_for_best_model="eval_loss",
            greater_is_better=False,
            logging_nan_inf_filter=False,
            dataloader_num_workers=WORKERS if device.device().type == "cuda" else 0,
        )
        super().__init__(
            model=model,
            args=args,
            train_dataset=batches.Scheduled(encoded, order),
            eval_dataset=[0],
            data_collator=batches.Masker(
                tokenizer, seed, settings["max_length"] if settings.get("all_positions") else 0
            ),
            callbacks=[Progress(name, model.config.vocab_size)],
        )

    def loss(self, model, batch: dict) -> dict:
        """{"loss": scalar to minimise, further named terms}."""
        raise NotImplementedError

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        with device.autocast(model.config, self.precision):
            terms = self.loss(model, inputs)
        self.note(
            **{name: value.detach() for name, value in terms.items() if name != "loss"},
            padding=1 - inputs["attention_mask"].float().mean(),
        )
        return terms["loss"]

    def note(self, **values) -> None:
        """Remember named values of one batch; the log holds their means."""
        for name, value in values.items():
            total, count = self.parts.get(name, (0.0, 0))
            self.parts[name] = (total + value, count + 1)

    def evaluate(self, *_, **__):
        scores = mlm.score_mlm(self.model, self.dev, self.precision)
        metrics = {"eval_loss": scores["mlm_loss"], "eval_mlm_accuracy": scores["mlm_accuracy"]}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def log(self, logs, start_time=None):
        if "loss" in logs and self.parts:
            logs = logs | {
                name: round(float(total / count), 6) for name, (total, count) in self.parts.items()
            }
            self.parts = {}
        super().log(logs, start_time)


def fit(trainer: MaskedTrainer) -> dict:
    """Train to the end, from the last complete checkpoint if there is one, and load the best weights into the model.

    Returns {"history": [...], "seconds": [...]}: the learning curve, and the seconds of each of its points. The folder of
    checkpoints is removed by the caller once the model is saved (`forget`).
    """
    folder = Path(trainer.args.output_dir)
    done = complete(folder)
    _drop_incomplete(folder)
    if done:
        print(f"resumed after step {done[-1][0]}")
        state = json.loads((done[-1][1] / "trainer_state.json").read_text())
        trainer.spent = max(
            (entry.get("seconds", 0.0) for entry in state["log_history"]), default=0.0
        )
    trainer.began = time.monotonic()
    try:
        with files.room(folder):
            trainer.train(resume_from_checkpoint=str(done[-1][1]) if done else None)
    except StudyError:
        _drop_incomplete(folder)
        raise
    if not Path(trainer.state.best_model_checkpoint or folder).exists():
        raise StudyError(
            f"{trainer.state.best_model_checkpoint}, the best checkpoint, was removed while the training ran; run it again"
        )
    trainer.model.eval().to("cpu")
    log = [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]
    names = {"eval_loss": "dev_mlm_loss", "eval_mlm_accuracy": "dev_mlm_accuracy"}
    history = [
        {
            names.get(key, key): value
            for key, value in entry.items()
            if key not in ("seconds", "epoch")
        }
        for entry in log
    ]
    return {"history": history, "seconds": [entry["seconds"] for entry in log]}


def complete(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of the checkpoints that are whole, by step: every file they were written with is there in its size."""
    found = []
    for mark in folder.glob("checkpoint-*/complete"):
        sizes = json.loads(mark.read_text() or "{}")
        if all(
            (mark.parent / name).is_file() and (mark.parent / name).stat().st_size == size
            for name, size in sizes.items()
        ):
            found.append((int(mark.parent.name.split("-")[1]), mark.parent))
    return sorted(found)


def _drop_incomplete(folder: Path) -> None:
    whole = {each for _, each in complete(folder)}
    for each in folder.glob("checkpoint-*"):
        if each not in whole:
            shutil.rmtree(each)


def forget(folder: Path) -> None:
    """Remove the checkpoints of a training whose model is saved."""
    shutil.rmtree(folder, ignore_errors=True)
