"""Fine-tuning of a task model, with adapters or as a whole (step 5).

The epoch with the best dev score is kept and scored on the test split. The seed decides the
weights of the head and of the adapters, the order of the data, and dropout. With a folder for
checkpoints, a fine-tuning that is killed goes on after its last epoch.

Differences from the authors' scripts: batches are padded to their longest example, not to 256. The
best epoch has the best score, not the lowest loss, for topic and sentiment too, where the scripts
keep the last epoch. The seed is given.
"""

import functools
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy
import torch
from torch import nn

from lib.data import encoding, tasks
from lib.data.batches import padded
from lib.measure.metrics import score
from lib.model import device
from lib.train import adapters
from lib.train.trainer import StudyTrainer

EVALUATION_BATCH = 64


def finetune_task(
    model, task: tasks.Task, tokenizer, settings: Mapping, seed: int, folder: Path | None = None
) -> dict:
    """Return the test scores of the best epoch (0 to 1); the model holds that epoch's weights.

    Keys: `scores` and `dev_scores` (of `metrics.score`), `best_epoch` (from 1), `history` (for
    each epoch `epoch`, `train_loss` in nats, `dev_score`), `seconds` of each epoch,
    `trainable_parameters`, and `gold` and `predictions` of the test split. Words that the
    encoder does not see count as wrong.

    model: a task model of `encoder.with_task_head`, with adapters or without; its weights with
        requires_grad train. Head and adapters are drawn anew from the seed.
    settings: epochs, batch_size, learning_rate, weight_decay, warmup (share of the steps),
        max_steps (0: no limit), patience (epochs without a better dev score before it stops; 0:
        never), max_length (tokens), first_subword, precision; optional base_width, the hidden size
        that the learning rate is meant for, and head_rate, the factor of the head's rate.
    folder: of checkpoints, which the caller removes; called again with the same arguments after a
        kill, it goes on after the last epoch there. Without it the checkpoints are temporary.
    Raises StudyError for a loss that is not finite, and as `tasks.encode`.
    """
    draw_task_weights(model, seed)
    with tempfile.TemporaryDirectory() as temporary:
        trainer = TaskTrainer(model, task, tokenizer, settings, seed, folder or temporary)
        trainer.go_on()
    epochs, (gold, predictions) = trainer.epochs(), trainer.answers("test")
    model.to("cpu").eval()
    best = max(epochs, key=lambda epoch: epoch["dev_score"])  # the first one
    return {
        "scores": score(task.metric, gold, predictions),
        "dev_scores": best["dev_scores"],
        "best_epoch": 1 + epochs.index(best),
        "history": [
            {"epoch": number, "train_loss": epoch["loss"], "dev_score": epoch["dev_score"]}
            for number, epoch in enumerate(epochs, 1)
        ],
        "seconds": numpy.diff([epoch["seconds"] for epoch in epochs], prepend=0).round(2).tolist(),
        "gold": gold,
        "predictions": predictions,
        "trainable_parameters": sum(weight.numel() for weight in trainer.trained().values()),
    }


def draw_task_weights(model: nn.Module, seed: int) -> None:
    """Draw the weights of the task head and of the adapters from the seed; biases become zero.

    The standard deviation is the configuration's at hidden size 768 and grows as 1/sqrt(H) below.
    Otherwise the head of a narrow student would start with weaker outputs than its teacher's and
    train more slowly, and the encoder would seem worse.
    """
    deviation = model.config.initializer_range * (768 / model.config.hidden_size) ** 0.5
    generator = torch.Generator().manual_seed(seed)
    for part in adapters.task_head(model):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                adapters.draw_linear(module, deviation, generator)
    for module in model.modules():
        if isinstance(module, adapters.Bottleneck):
            module.redraw(deviation, generator)


def predict(model: nn.Module, items: list[dict], precision: str = "auto") -> list:
    """Return the predicted label id of each item, or the ids of its T tokens."""
    predicted = [None] * len(items)
    order = sorted(range(len(items)), key=lambda place: -len(items[place]["input_ids"]))
    with device.evaluating(model):
        for start in range(0, len(order), EVALUATION_BATCH):
            places = order[start : start + EVALUATION_BATCH]
            batch = collate([items[place] for place in places], model.config.pad_token_id)
            of_tokens = batch.pop("labels").dim() == 2
            with device.autocast(model.config, precision):
                logits = model(**{key: batch[key].to(model.device) for key in batch}).logits
            for place, best in zip(places, logits.argmax(-1).tolist(), strict=True):
                predicted[place] = best[: len(items[place]["input_ids"])] if of_tokens else best
    return predicted


def collate(items: list[dict], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Return input_ids and attention_mask (B, T), padded to the longest item, and labels.

    Labels are (B,), or (B, T) with -100 as padding.
    """
    labels = [item["labels"] for item in items]
    if isinstance(labels[0], Sequence):
        labels = padded(labels, encoding.IGNORED)[0]
    ids, attention = padded([item["input_ids"] for item in items], pad_token_id)
    return {"input_ids": ids, "attention_mask": attention, "labels": torch.as_tensor(labels)}


class TaskTrainer(StudyTrainer):
    """Trains a task, and scores dev after each epoch."""

    def __init__(self, model, task, tokenizer, settings, seed, folder):
        self.task, self.tokenizer, self.settings = task, tokenizer, settings
        how = tokenizer, settings["max_length"], settings["first_subword"]
        self.encoded = {split: encoding.encode(task, split, *how) for split in tasks.PARTS}
        self.losses = []  # of the batches of this epoch
        train, width = self.encoded["train"], model.config.hidden_size
        rate = settings["learning_rate"] * (settings.get("base_width") or width) / width
        steps = settings["epochs"] * math.ceil(len(train) / settings["batch_size"])
        steps = min(steps, settings["max_steps"] or steps)
        arguments = {
            "max_steps": steps,
            "train_sampling_strategy": "group_by_length",
            "learning_rate": rate,
            "weight_decay": settings["weight_decay"],
            "warmup_steps": int(settings["warmup"] * steps),
            "eval_strategy": "epoch",
            "logging_strategy": "no",
            "save_strategy": "epoch",
            "metric_for_best_model": "dev_score",
        }
        pad = functools.partial(collate, pad_token_id=model.config.pad_token_id)
        parts = {"train_dataset": train, "eval_dataset": self.encoded["dev"], "data_collator": pad}
        super().__init__(model, settings, seed, folder, arguments, task.name, math.inf, **parts)

    def epochs(self) -> list[dict]:
        """What was logged of each epoch."""
        return [entry for entry in self.state.log_history if "dev_score" in entry]

    def trained(self) -> dict[str, torch.Tensor]:
        """The weights that train."""
        return {name: each for name, each in self.model.named_parameters() if each.requires_grad}

    def _save(self, output_dir=None, state_dict=None):
        """Write the weights that train; the others are the encoder's, as they were."""
        super()._save(output_dir, self.trained())

    def ended(self) -> bool:
        """Whether all steps were made, or `patience` epochs were no better than one before them."""
        last = [epoch["dev_score"] for epoch in self.epochs()]
        waited = len(last) - 1 - last.index(max(last)) if last else 0
        return super().ended() or 0 < self.settings["patience"] <= waited

    def create_optimizer(self, model=None):
        """The Trainer's optimizer, in which the task head has its own learning rate."""
        optimizer, factor = super().create_optimizer(model), self.settings.get("head_rate", 1.0)
        head = {
            id(weight) for part in adapters.task_head(self.model) for weight in part.parameters()
        }
        for group in [*optimizer.param_groups] if factor != 1 else ():
            own = [weight for weight in group["params"] if id(weight) in head]
            group["params"] = [weight for weight in group["params"] if id(weight) not in head]
            optimizer.add_param_group(group | {"params": own, "lr": factor * group["lr"]})
        return optimizer

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The loss of a batch."""
        with device.autocast(model.config, self.precision):
            loss = model(**inputs).loss
        self.losses.append(loss.detach())
        return loss

    def evaluate(self, *_, **__):
        """Log the mean loss of the epoch and its scores on dev."""
        loss, self.losses = torch.stack(self.losses).mean().item(), []
        scores = score(self.task.metric, *self.answers("dev"))
        best = scores[self.task.metric]
        self.log({"loss": loss, "dev_score": best, "dev_scores": scores})
        self.control.should_training_stop |= self.ended()
        return {"eval_dev_score": best}

    def answers(self, split: str) -> tuple[list, list]:
        """Gold and predicted labels of a split, as `metrics.score` takes them."""
        predicted = predict(self.model, self.encoded[split], self.precision)
        length = self.settings["max_length"]
        return encoding.decode(self.task, split, self.tokenizer, length, predicted)
