"""Fine-tuning of a task model, with adapters or as a whole (step 5).

The epoch with the best dev score is kept and scored on the test split. The seed decides the
weights of the head and of the adapters, the order of the data, and dropout. Nothing is written: a
fine-tuning that is killed starts again, because it is short.

Differences from the authors' scripts: batches are padded to their longest example, not to 256. The
best epoch has the best score, not the lowest loss, for topic and sentiment too, where the scripts
keep the last epoch. The seed is given.
"""

import functools
import itertools
import math
import time
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from transformers.trainer_pt_utils import LengthGroupedSampler

from lib.data import encoding, tasks
from lib.errors import StudyError
from lib.measure.metrics import score
from lib.model import device
from lib.train import adapters, trainer

EVALUATION_BATCH = 64
NOTICE_SECONDS = 30  # at least this long between two lines of progress


def finetune_task(
    model: nn.Module, task: tasks.Task, tokenizer, settings: Mapping, seed: int
) -> dict:
    """Return the test scores of the best epoch (0 to 1); the model holds that epoch's weights.

    Keys: `scores` and `dev_scores` (of `metrics.score`), `best_epoch` (from 1), `history` (for
    each epoch `epoch`, `train_loss` in nats, `dev_score`), `seconds` of each epoch,
    `trainable_parameters`, and `gold` and `predictions` of the test split. Words lost by truncation
    count as wrong.

    model: a task model of `encoder.with_task_head`, with adapters or without; its weights with
        requires_grad train. Head and adapters are drawn anew from the seed.
    settings: epochs, batch_size, learning_rate, weight_decay, warmup (share of the steps),
        max_steps (0: no limit), patience (epochs without a better dev score before it stops; 0:
        never), max_length (tokens), first_subword, precision; optional base_width, the hidden size
        that the learning rate is meant for.
    Raises StudyError for a loss that is not finite, and as `tasks.encode`.
    """
    training = _Finetuning(model, task, tokenizer, settings, seed)
    training.run()
    gold, predictions = training.answers("test")
    model.to("cpu").eval()
    return {
        "scores": score(task.metric, gold, predictions),
        "dev_scores": training.best_scores,
        "best_epoch": training.best_epoch,
        "history": training.history,
        "seconds": training.seconds,
        "gold": gold,
        "predictions": predictions,
        "trainable_parameters": sum(weight.numel() for weight in training.optimizer.weights),
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


@torch.inference_mode()
def predict(model: nn.Module, items: list[dict], precision: str = "auto") -> list:
    """Return the predicted label id of each item, or the ids of its T tokens."""
    was_training, predicted = model.training, [None] * len(items)
    model.eval()
    order = sorted(range(len(items)), key=lambda place: -len(items[place]["input_ids"]))
    for start in range(0, len(order), EVALUATION_BATCH):
        places = order[start : start + EVALUATION_BATCH]
        batch = collate([items[place] for place in places], model.config.pad_token_id)
        of_tokens = batch.pop("labels").dim() == 2
        with device.autocast(model.config, precision):
            logits = model(**trainer.on_device(batch)).logits
        for place, best in zip(places, logits.argmax(-1).tolist(), strict=True):
            predicted[place] = best[: len(items[place]["input_ids"])] if of_tokens else best
    model.train(was_training)
    return predicted


def collate(items: list[dict], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Return input_ids and attention_mask (B, T), padded to the longest item, and labels.

    Labels are (B,), or (B, T) with -100 as padding.
    """

    def column(name, value):
        rows = [torch.tensor(item[name]) for item in items]
        return pad_sequence(rows, batch_first=True, padding_value=value)

    if isinstance(items[0]["labels"], Sequence):
        labels = column("labels", encoding.IGNORED)
    else:
        labels = torch.tensor([item["labels"] for item in items])
    ids, attention = column("input_ids", pad_token_id), column("attention_mask", 0)
    return {"input_ids": ids, "attention_mask": attention, "labels": labels}


class _Finetuning:
    """One fine-tuning: an epoch of training, a score on dev, and the weights of the best epoch."""

    def __init__(self, model, task, tokenizer, settings, seed):
        self.model, self.task, self.tokenizer, self.settings = model, task, tokenizer, settings
        how = tokenizer, settings["max_length"], settings["first_subword"]
        self.encoded = {split: encoding.encode(task, split, *how) for split in tasks.PARTS}
        self.history, self.seconds, self.done = [], [], 0
        self.best_epoch, self.best_scores, self.best_weights = 0, None, []
        draw_task_weights(model, seed)
        trainer.prepare(model, settings["precision"], settings["max_length"], seed)
        every = settings["epochs"] * math.ceil(len(self.encoded["train"]) / settings["batch_size"])
        self.steps = min(every, settings["max_steps"] or every)
        width = model.config.hidden_size
        rate = settings["learning_rate"] * (settings.get("base_width") or width) / width
        warmup, decay = int(settings["warmup"] * self.steps), settings["weight_decay"]
        self.optimizer = trainer.Optimizer(model, rate, decay, self.steps, warmup)
        self.began = self.noticed = time.monotonic()

    def run(self) -> None:
        """Train until the steps or the patience are used up; put the best weights back."""
        epoch, patience = 0, self.settings["patience"]
        while self.done < self.steps and not (patience and epoch - self.best_epoch >= patience):
            epoch, began = epoch + 1, time.monotonic()
            self._score(epoch, self._train())
            self.seconds.append(round(time.monotonic() - began, 3))
            self._notice()
        with torch.no_grad():
            for weight, best in zip(self.optimizer.weights, self.best_weights, strict=True):
                weight.copy_(best)

    def answers(self, split: str) -> tuple[list, list]:
        """Gold and predicted labels of a split, as `metrics.score` takes them."""
        predicted = predict(self.model, self.encoded[split], self.settings["precision"])
        length = self.settings["max_length"]
        return encoding.decode(self.task, split, self.tokenizer, length, predicted)

    def _train(self) -> float:
        """Train for one epoch; returns its mean loss in nats."""
        losses, items, size = [], self.encoded["train"], self.settings["batch_size"]

        def loss(batch):
            with device.autocast(self.model.config, self.settings["precision"]):
                value = self.model(**trainer.on_device(batch)).loss
            losses.append(value.detach())
            return value

        lengths = [len(item["input_ids"]) for item in items]
        pad = functools.partial(collate, pad_token_id=self.model.config.pad_token_id)
        order = LengthGroupedSampler(size, lengths=lengths)
        loader = DataLoader(items, size, sampler=order, collate_fn=pad)
        for batch in itertools.islice(loader, self.steps - self.done):
            self.optimizer.update(self.done, loss, [batch])
            self.done += 1
        return torch.stack(losses).mean().item()

    def _score(self, epoch: int, loss: float) -> None:
        """Add the epoch to the history; keep its weights if no earlier one was as good."""
        if not math.isfinite(loss):
            raise StudyError(
                f"the loss of epoch {epoch} is not finite; lower the learning rate "
                f"({self.optimizer.peak:g})"
            )
        scores, metric = score(self.task.metric, *self.answers("dev")), self.task.metric
        self.history.append({"epoch": epoch, "train_loss": loss, "dev_score": scores[metric]})
        if self.best_scores is None or scores[metric] > self.best_scores[metric]:
            self.best_epoch, self.best_scores = epoch, scores
            self.best_weights = [weight.detach().clone() for weight in self.optimizer.weights]

    def _notice(self) -> None:
        """Print a line of progress, not more often than every half minute."""
        now, last, metric = time.monotonic(), self.history[-1], self.task.metric
        if now - self.noticed >= NOTICE_SECONDS:
            self.noticed = now
            left = (now - self.began) * (self.steps / self.done - 1) / 60
            print(
                f"epoch {last['epoch']}: loss {last['train_loss']:.3f}, "
                f"dev {metric} {last['dev_score']:.3f} (best {self.best_scores[metric]:.3f} "
                f"in epoch {self.best_epoch}), {left:.1f} min left",
                flush=True,
            )
