"""Training a task head, with adapters or the whole encoder, and scoring it on the test split (the paper's step 5).

The epoch that scores best on the validation split is kept and scored on the test split. The seed reaches the weights of the
head and of the adapters, the order of the data, and dropout. Only the weights that train are copied at each better epoch, in
memory; nothing is written. A fine-tuning that is killed starts again from the beginning: it is short.

Differences from the authors' scripts: batches are padded to their longest example, not to 256; the best epoch is that of the
score, not of the loss, and topic and sentiment keep it too (the scripts keep the last); a seed is given to the Trainer.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from lib.data import tasks
from lib.errors import StudyError
from lib.measure.metrics import score
from lib.model import device
from lib.train import trainer

SETTINGS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "warmup",
    "max_steps",
    "patience",
)
EVALUATION_BATCH = 64
NOTICE_SECONDS = 30  # between two lines of progress


def finetune_task(
    model: nn.Module, task: tasks.Task, tokenizer, settings: Mapping, seed: int, folder: Path
) -> dict:
    """Return what `finetune` returns, for a task of `tasks.load`; every word of dev and test counts, lost ones as wrong.

    settings: those of `finetune`, and max_length (tokens) and first_subword. Raises StudyError as `finetune` and `tasks.encode`.
    """
    length = settings["max_length"]
    encoded = {
        split: tasks.encode(task, split, tokenizer, length, settings["first_subword"])
        for split in tasks.PARTS
    }
    return finetune(
        model,
        encoded,
        task.labels,
        task.metric,
        settings,
        seed,
        folder,
        decode=lambda split, ids: tasks.decode(task, split, tokenizer, length, ids),
    )


def finetune(
    model: nn.Module,
    encoded: Mapping[str, list[dict]],
    labels: Sequence[str],
    metric: str,
    settings: Mapping,
    seed: int,
    folder: Path,
    decode: Callable[[str, list], tuple[list, list]] | None = None,
) -> dict:
    """Return the test scores of the best epoch (0 to 1) and how training went; the model holds that epoch's weights.

    Keys: `scores` and `dev_scores` (of `metrics.score`), `best_epoch` (from 1), `history` (one entry an epoch: `epoch`,
    `train_loss` in nats, `dev_score`), `seconds` of each epoch's training and validation, `trainable_parameters`, `gold` and
    `predictions` of the test split, labels or sequences of tags, as `metrics.interval` takes them.

    model: a task model of `models.with_task_head`, with adapters or without; what has requires_grad is trained. Head and
        adapters are drawn anew from the seed, so the same encoder, data, settings and seed give the same result on one machine.
    encoded: `train`, `dev`, `test`: items of `tasks.encode` with input_ids, attention_mask and labels; a label id, or one id
        a token with -100 where nothing is asked.
    labels: label names; the label ids are their places.
    settings: epochs, batch_size, learning_rate, weight_decay, warmup (share of the steps), max_steps (0: no limit), patience
        (epochs without a better dev score before it stops; 0: never), and if wanted precision and accumulation.
    folder: working folder of the Trainer; nothing is kept there.
    decode: split and predicted ids -> gold and predicted labels, see `tasks.decode`. Without it each labelled token is scored,
        so words lost by truncation are not, and with all sub-words labelled all are scored, as the authors do.
    Raises StudyError for missing or empty splits, settings out of range, labels that do not fit the model, nothing to train,
    and a loss that is not finite.
    """
    _check(model, encoded, labels, settings)
    decode = decode or (lambda split, ids: _labelled(encoded[split], labels, ids))
    draw_task_weights(model, seed)
    trainer = FinetuneTrainer(model, encoded, metric, settings, seed, folder, decode)
    trainer.train()
    trainer.restore_best()
    gold, predictions = decode("test", predict(model, encoded["test"], trainer.precision))
    model.to("cpu").eval()
    return {
        "scores": score(metric, gold, predictions),
        "dev_scores": trainer.best_scores,
        "best_epoch": trainer.best_epoch,
        "history": trainer.history,
        "seconds": trainer.seconds,
        "gold": gold,
        "predictions": predictions,
        "trainable_parameters": sum(
            weight.numel() for weight in model.parameters() if weight.requires_grad
        ),
    }


def draw_task_weights(model: nn.Module, seed: int) -> None:
    """Draw the weights of the task head and of the adapters from the seed; biases become zero, the encoder stays as it is.

    The deviation is the configuration's at the hidden size 768 of the base models and grows as 1/sqrt(H) below: else the head of a
    narrow student would start with weaker outputs than its teacher's, train more slowly, and be taken for a worse encoder.
    """
    deviation = model.config.initializer_range * (768 / model.config.hidden_size) ** 0.5
    generator = torch.Generator().manual_seed(seed)
    parts = [part for part in model.children() if part is not model.base_model]
    pooler = getattr(model.base_model, "pooler", None)
    for part in parts + ([pooler] if pooler is not None else []):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                with torch.no_grad():
                    module.weight.copy_(
                        torch.empty(module.weight.shape).normal_(0, deviation, generator=generator)
                    )
                    module.bias.zero_()
    for module in model.modules():
        if hasattr(module, "redraw"):
            module.redraw(deviation, generator)


@torch.inference_mode()
def predict(model: nn.Module, items: list[dict], precision: str = "auto") -> list:
    """Return the predicted label id of each item, or the list of ids of its T tokens, in the order of the items."""
    was_training, predicted = model.training, [None] * len(items)
    model.eval()
    order = sorted(range(len(items)), key=lambda place: -len(items[place]["input_ids"]))
    for start in range(0, len(order), EVALUATION_BATCH):
        places = order[start : start + EVALUATION_BATCH]
        batch = collate([items[place] for place in places], model.config.pad_token_id)
        of_tokens = batch.pop("labels").dim() == 2
        with device.autocast(model.config, precision):
            logits = model(
                **{name: tensor.to(model.device) for name, tensor in batch.items()}
            ).logits
        for place, best in zip(places, logits.argmax(-1).tolist(), strict=True):
            predicted[place] = best[: len(items[place]["input_ids"])] if of_tokens else best
    model.train(was_training)
    return predicted


def collate(items: list[dict], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Return input_ids and attention_mask (B, T), padded to the longest item, and labels (B,) or (B, T) with -100 as padding."""

    def column(name, value):
        return pad_sequence(
            [torch.tensor(item[name]) for item in items], batch_first=True, padding_value=value
        )

    of_tokens = isinstance(items[0]["labels"], Sequence)
    return {
        "input_ids": column("input_ids", pad_token_id),
        "attention_mask": column("attention_mask", 0),
        "labels": column("labels", tasks.IGNORED)
        if of_tokens
        else torch.tensor([item["labels"] for item in items]),
    }


class FinetuneTrainer(trainer.StudyTrainer):
    """Trains a task, scores the validation split after each epoch, and remembers the weights of the best one."""

    def __init__(self, model, encoded, metric, settings, seed, folder, decode):
        accumulation = settings.get("accumulation", 1)
        steps = settings["epochs"] * math.ceil(
            len(encoded["train"]) / settings["batch_size"] / accumulation
        )
        steps = min(steps, settings["max_steps"] or steps)
        self.metric, self.decode = metric, decode
        self.precision, self.patience = settings.get("precision", "auto"), settings["patience"]
        self.history, self.seconds, self.best_epoch, self.best_scores, self.best_weights = (
            [],
            [],
            0,
            None,
            {},
        )
        rate = (
            settings["learning_rate"]
            * (settings.get("base_width") or model.config.hidden_size)
            / model.config.hidden_size
        )
        longest = max(len(item["input_ids"]) for item in encoded["train"])
        device.choose_attention(model, self.precision, settings.get("max_length", longest))
        super().__init__(
            model=model,
            train_dataset=encoded["train"],
            eval_dataset=encoded["dev"],
            data_collator=lambda items: collate(items, model.config.pad_token_id),
            args=trainer.arguments(
                folder,
                steps=steps,
                batch_size=settings["batch_size"],
                learning_rate=rate,
                seed=seed,
                accumulation=accumulation,
                weight_decay=settings["weight_decay"],
                warmup_steps=int(settings["warmup"] * steps),
                lr_scheduler_type="linear",
                train_sampling_strategy="group_by_length",
                eval_strategy="epoch",
                logging_strategy="no",
                save_strategy="no",
                logging_nan_inf_filter=False,
            ),
        )
        self.began = self.epoch_began = self.noticed = time.monotonic()
        self.losses = []

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        with device.autocast(self.model.config, self.precision):
            loss = model(**inputs).loss
        self.losses.append(loss.detach())
        return loss

    def evaluate(self, *_, **__):
        """Score the validation split, note the epoch, and keep its weights if no earlier epoch was as good."""
        loss, epoch = torch.stack(self.losses).mean().item(), len(self.history) + 1
        if not math.isfinite(loss):
            raise StudyError(
                f"The loss of epoch {epoch} is not finite. Lower the learning rate ({self.args.learning_rate})."
            )
        scores = score(
            self.metric, *self.decode("dev", predict(self.model, self.eval_dataset, self.precision))
        )
        if self.best_scores is None or scores[self.metric] > self.best_scores[self.metric]:
            self.best_epoch, self.best_scores = epoch, scores
            self.best_weights = {name: weight.detach().clone() for name, weight in self._trained()}
        now = time.monotonic()
        self.history.append({"epoch": epoch, "train_loss": loss, "dev_score": scores[self.metric]})
        self.seconds.append(round(now - self.epoch_began, 3))
        self._notice(now)
        self.losses, self.epoch_began = [], now
        if self.patience and epoch - self.best_epoch >= self.patience:
            self.control.should_training_stop = True
        return {}

    def restore_best(self):
        """Put the weights of the best epoch back into the model."""
        with torch.no_grad():
            for name, weight in self._trained():
                weight.copy_(self.best_weights[name])

    def _trained(self):
        return [
            (name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad
        ]

    def _notice(self, now):
        """Print a line of progress, not more often than every half minute."""
        if now - self.noticed >= NOTICE_SECONDS:
            self.noticed, last = now, self.history[-1]
            left = (now - self.began) * (self.state.max_steps / self.state.global_step - 1) / 60
            print(
                f"epoch {last['epoch']}: loss {last['train_loss']:.3f}, dev {self.metric} {last['dev_score']:.3f} "
                f"(best {self.best_scores[self.metric]:.3f} in epoch {self.best_epoch}), {left:.1f} min left",
                flush=True,
            )


def _labelled(items, labels, ids):
    """Gold and predicted label of each item, or the tags of its labelled tokens."""
    if not isinstance(items[0]["labels"], Sequence):
        return [labels[item["labels"]] for item in items], [labels[each] for each in ids]
    asked = [
        [place for place, label in enumerate(item["labels"]) if label != tasks.IGNORED]
        for item in items
    ]
    return (
        [
            [labels[item["labels"][place]] for place in row]
            for item, row in zip(items, asked, strict=True)
        ],
        [[labels[best[place]] for place in row] for best, row in zip(ids, asked, strict=True)],
    )


def _check(model, encoded, labels, settings):
    """Raise StudyError for splits, settings or labels that cannot be trained on."""
    missing = [split for split in tasks.PARTS if not encoded.get(split)]
    if missing:
        raise StudyError(
            f"Fine-tuning needs items for {', '.join(tasks.PARTS)}; nothing for {', '.join(missing)}."
        )
    missing = [name for name in SETTINGS if name not in settings]
    if missing:
        raise StudyError(
            f"Fine-tuning needs the settings {', '.join(SETTINGS)}; {', '.join(missing)} not given."
        )
    if (
        min(settings["epochs"], settings["batch_size"]) < 1
        or settings["learning_rate"] <= 0
        or not 0 <= settings["warmup"] < 1
    ):
        raise StudyError(
            "Fine-tuning needs epochs and batch_size of at least 1, a learning_rate above 0 and warmup from 0 to below "
            f"1; got {', '.join(f'{name} {settings[name]}' for name in SETTINGS)}."
        )
    if model.config.num_labels != len(labels):
        raise StudyError(
            f"The head has {model.config.num_labels} labels and the task {len(labels)}. Make the head for this task."
        )
    if not any(weight.requires_grad for weight in model.parameters()):
        raise StudyError(
            "No weight of the model is trainable. Call add_adapters first, or model.requires_grad_(True)."
        )
