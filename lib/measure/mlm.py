"""The loss of a masked language model, to train by and to measure by."""

import numpy
import torch
from torch import nn

from lib.data.batches import encode
from lib.errors import StudyError
from lib.model import encoder
from lib.model.device import at_work, autocast


def mlm_loss(model, batch: dict, hidden: torch.Tensor | None = None) -> torch.Tensor:
    """Mean cross-entropy in nats over the masked positions; logits are formed at these positions only."""
    hidden = encoder.hidden_states(model, batch) if hidden is None else hidden
    chosen = batch["labels"] != -100
    if not chosen.any():
        return hidden.sum() * 0
    return nn.functional.cross_entropy(
        encoder.padded_logits(model, hidden[chosen]).float(), batch["labels"][chosen]
    )


def score_mlm(model, batches: list[dict], precision: str = "auto") -> dict:
    """{"mlm_loss": nats, "mlm_accuracy": 0..1, "positions": n} over the masked positions of all batches."""
    was_training, total, right, count = model.training, 0.0, 0, 0
    model.eval()
    with (
        at_work(model),
        torch.inference_mode(),
    ):  # moved outside of it, or the weights could not be trained afterwards
        for batch in batches:
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            gold = batch["labels"][batch["labels"] != -100]
            with autocast(model.config, precision):
                guess = encoder.logits(
                    model, encoder.hidden_states(model, batch)[batch["labels"] != -100]
                ).float()
            total += nn.functional.cross_entropy(guess, gold, reduction="sum").item()
            right, count = right + (guess.argmax(-1) == gold).sum().item(), count + len(gold)
    model.train(was_training)
    if not count:
        raise StudyError(
            "no token was masked in the evaluation sentences; give more or longer sentences"
        )
    return {"mlm_loss": total / count, "mlm_accuracy": right / count, "positions": count}


def unigram(tokenizer, train: list[str], batches: list[dict], sentences: int = 20_000) -> dict:
    """{"unigram_loss": nats} of guessing by frequency alone at the masked positions of all batches: a model should do better.

    Frequencies are counted in at most `sentences` of the training sentences, spread evenly over them, each token once more than it
    occurs, so that none is impossible.
    """
    some = train[:: -(-len(train) // sentences)]
    ids = numpy.concatenate(
        [row[1:-1] for row in encode(some, tokenizer, min(512, tokenizer.model_max_length))]
    ).astype(int)
    counts = numpy.bincount(ids, minlength=len(tokenizer)) + 1
    gold = torch.cat([batch["labels"][batch["labels"] != -100] for batch in batches]).numpy()
    return {"unigram_loss": float(-numpy.log(counts[gold] / counts.sum()).mean())}
