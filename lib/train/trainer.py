"""The library's Trainer for our losses: MLM trainings that resume exactly after a kill.

The order of the sentences and every mask are functions of the seed and of the position in the
training. What else is random, dropout, is kept in the checkpoints.
"""

import gc
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from lib import facts, files
from lib.data import batches
from lib.errors import StudyError
from lib.measure import mlm
from lib.model import device, loading
from lib.train import checkpoints, optimizers
from lib.train.progress import DEV, Progress

WORKERS = {"cuda": 2}  # processes that mask batches ahead, by type of device
LOGS = 40  # points of a learning curve


class StudyTrainer(Trainer):
    """The Trainer on one device, without bars, which resumes and ends with its best weights.

    `settings` hold batch_size, precision and max_length; `arguments` are further TrainingArguments.
    `name` and `ignorant` are for `Progress`.
    """

    # Our losses are means over a batch. The Trainer takes them for sums, because the models accept
    # any keyword, and would multiply them by the number of accumulated batches.
    loss_is_scaled_for_ga = False

    def __init__(
        self, model, settings: dict, seed, folder, arguments: dict, name: str, ignorant, **parts
    ):
        self.name, self.folder = name, Path(folder)
        kind, self.precision = device.device().type, settings["precision"]
        if kind == "cuda":  # an earlier training in this process may still hold memory of the GPU
            gc.collect()
            torch.cuda.empty_cache()
        device.choose_attention(model, self.precision, settings["max_length"])
        args = TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=settings["batch_size"],
            max_grad_norm=facts.facts("training")["max_grad_norm"],
            seed=seed,
            use_cpu=kind == "cpu",
            dataloader_pin_memory=kind == "cuda",
            remove_unused_columns=False,
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            save_total_limit=2,  # the last one stays until the next is complete
            use_cache=getattr(model.config, "use_cache", None),  # which the Trainer sets
            **arguments,
        )
        args._n_gpu = min(1, args.n_gpu)
        progress = Progress(name, ignorant, self.folder)
        super().__init__(model, args, callbacks=[progress], **parts)
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = False  # or it counts the labels of every batch

    def floating_point_ops(self, inputs):
        """None are counted: that takes a walk through all parameters in every step."""
        return 0

    def ended(self) -> bool:
        """Whether the steps that were made are enough."""
        return self.state.global_step >= self.args.max_steps

    def go_on(self) -> list[dict]:
        """Train, after the newest complete checkpoint if there is one; the model keeps the weights
        that are best on dev. Returns what was logged.

        Raises StudyError if the training diverges.
        """
        config, architectures = self.model.config, self.model.config.architectures
        checkpoints.drop_incomplete(self.folder)
        place, steps = None, checkpoints.complete(self.folder)
        if steps:
            place = checkpoints.path(self.folder, steps[-1])
            self.state = TrainerState.load_from_json(str(place / "trainer_state.json"))
            print(f"resumed after step {steps[-1]}")
        try:
            if not self.ended():
                with files.room(self.folder), loading.quiet():
                    self.train(place and str(place))
        except StudyError:
            checkpoints.drop_incomplete(self.folder)
            raise
        finally:
            config.architectures = architectures  # a checkpoint names another class
        if self.state.global_step not in checkpoints.complete(self.folder):
            raise StudyError(
                f"{self.name}: the best checkpoint was removed from {self.folder} while the "
                "training ran; run it again"
            )
        best = checkpoints.path(self.folder, self.state.best_global_step) / "model.safetensors"
        found = self.model.load_state_dict(load_file(best), strict=False)  # trained, none twice
        assert not found.unexpected_keys, found
        return self.state.log_history


class MaskedTrainer(StudyTrainer):
    """Trains on masked batches and keeps the weights that are best on dev.

    `loss.judge(model, batches, precision)` returns {name: value}; the lowest first value is best.
    A loss without it is judged by `mlm.score_mlm`.
    """

    def __init__(self, model, loss, tokenizer, train, dev, settings, seed, folder, name):
        fixed, steps, length = facts.facts("training"), settings["steps"], settings["max_length"]
        self.loss, self.judge, self.terms = loss, getattr(loss, "judge", mlm.score_mlm), {}
        encoded = batches.encode(train, tokenizer, length)
        encoded_dev = batches.encode(dev, tokenizer, length)
        self.dev = batches.masked_batches(encoded_dev, tokenizer, 64, 0)
        accumulation, size = settings["accumulation"], settings["batch_size"]
        lengths = [len(ids) for ids in encoded]
        order = batches.schedule(lengths, steps * accumulation, size, seed)
        interval = max(1, steps // fixed["evaluations"])
        arguments = {
            "max_steps": steps,
            "gradient_accumulation_steps": accumulation,
            "train_sampling_strategy": "sequential",
            "dataloader_num_workers": WORKERS.get(device.device().type, 0),
            "learning_rate": settings["learning_rate"],
            "weight_decay": fixed["weight_decay"],
            "warmup_steps": int(fixed["warmup"] * steps),
            "logging_steps": max(1, steps // LOGS),
            "eval_strategy": "steps",
            "eval_steps": interval,
            "save_steps": interval,
            "metric_for_best_model": "loss",
        }
        # all tokens alike probable; a hidden state that is always the teacher's mean
        ignorant = getattr(loss, "ignorant", math.log(model.config.vocab_size))
        pad_to = length if settings.get("all_positions") else 0
        parts = {
            "train_dataset": batches.Scheduled(encoded, order),
            "eval_dataset": self.dev,
            "data_collator": batches.Masker(tokenizer, seed, pad_to),
        }
        if settings.get("optimizer") == "muon":  # the Trainer's own is AdamW
            parts["optimizers"] = (optimizers.new(model, settings, fixed["weight_decay"]), None)
        super().__init__(model, settings, seed, folder, arguments, name, ignorant, **parts)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The loss of a batch; its other terms are noted for the next log."""
        with device.autocast(model.config, self.precision):
            terms = self.loss(model, inputs)
        loss = terms.pop("loss")
        terms["padding"] = 1 - inputs["attention_mask"].float().mean()
        for name, value in terms.items():
            total, count = self.terms.get(name, (0.0, 0))
            self.terms[name] = (total + value.detach(), count + 1)
        return loss

    def log(self, logs, start_time=None):
        """Log the means of the noted terms too."""
        terms, self.terms = self.terms, {}
        means = {name: round(float(total / count), 6) for name, (total, count) in terms.items()}
        super().log(logs | means, start_time)

    def evaluate(self, *_, **__):
        """Score the dev sentences, which have fixed masks; the Trainer compares `eval_loss`."""
        scores = self.judge(self.model, self.dev, self.precision)
        self.log({f"dev_{name}": value for name, value in scores.items() if name != "positions"})
        self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        return {"eval_loss": next(iter(scores.values()))}


def fit(
    model, loss, tokenizer, train, dev, settings: dict, seed: int, folder: Path, name: str
) -> dict:
    """Train `model` on sentences in place; it keeps the weights that are best on dev.

    Returns {"history": the learning curve, "seconds": the time of each of its points}.
    `loss(model, batch)` returns {"loss": scalar to minimise, further terms to log}; for
    `loss.judge` see MaskedTrainer. Killed and called again with the same arguments, it goes on
    after the newest complete checkpoint in `folder`, which the caller removes. Without steps the
    model stays as it is.
    Raises StudyError if the training diverges.
    """
    if not settings["steps"]:
        return {"history": [], "seconds": []}
    trainer = MaskedTrainer(model, loss, tokenizer, train, dev, settings, seed, folder, name)
    points = [point for point in trainer.go_on() if {"loss", *DEV} & {*point}]
    model.eval().to("cpu")
    seconds = [point.pop("seconds") for point in points]
    for point in points:
        del point["epoch"]
    return {"history": points, "seconds": seconds}
