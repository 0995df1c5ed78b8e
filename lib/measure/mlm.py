"""The loss of a masked language model, for training and for measuring."""

import numpy
import torch
from torch import nn

from lib.data.batches import encode, masked_batches
from lib.errors import StudyError
from lib.model import encoder, mlm_head
from lib.model.device import at_work, autocast, evaluating
from lib.model.sizes import max_tokens


def mlm_loss(model, batch: dict, hidden: torch.Tensor | None = None) -> torch.Tensor:
    """Mean cross-entropy in nats over the masked positions; only these get logits.

    `hidden` are the hidden states (B, T, H) of the batch, where they are known already.
    """
    hidden = encoder.hidden_states(model, batch) if hidden is None else hidden
    chosen = batch["labels"] != -100
    if not chosen.any():
        return hidden.sum() * 0
    weight, bias = mlm_head.readout(model)
    if hidden.is_cuda:
        weight, bias = padded(weight, bias)
    logits = nn.functional.linear(mlm_head.transform(model, hidden[chosen]), weight, bias)
    return nn.functional.cross_entropy(logits.float(), batch["labels"][chosen])


def padded(
    weight: torch.Tensor, bias: torch.Tensor, multiple: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    """A readout (weight (V, H), bias (V,)) with V raised to a multiple by tokens of no probability.

    mBERT has 119,547 tokens; with an odd number a GPU cannot use its fast products in bfloat16.
    """
    more = -len(weight) % multiple
    pad = nn.functional.pad
    return pad(weight, (0, 0, 0, more)), pad(bias, (0, more), value=-1e4)


def evaluate(
    model, tokenizer, test: list[str], train: list[str], max_length: int = 128, precision="auto"
) -> dict:
    """The scores of a model on test sentences: those of `score_mlm`, and `unigram_loss` beside
    them.

    Sentences are cut at `max_length` tokens, or at the model's own limit; the masks are fixed.
    """
    length = min(max_length, max_tokens(model.config))
    masked = masked_batches(encode(test, tokenizer, length), tokenizer, 64, 1)
    return score_mlm(model, masked, precision) | unigram(tokenizer, train, masked)


def score_mlm(model, batches: list[dict], precision: str = "auto") -> dict:
    """{"mlm_loss": nats, "mlm_accuracy": 0..1, "positions": n} over the masked positions."""
    total, right, count = 0.0, 0, 0
    # Moved before inference mode starts, or the weights could not be trained afterwards.
    with at_work(model), evaluating(model):
        for batch in batches:
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            chosen = batch["labels"] != -100
            gold = batch["labels"][chosen]
            with autocast(model.config, precision):
                hidden = encoder.hidden_states(model, batch)[chosen]
                logits = mlm_head.logits(model, hidden).float()
            total += nn.functional.cross_entropy(logits, gold, reduction="sum").item()
            right, count = right + (logits.argmax(-1) == gold).sum().item(), count + len(gold)
    if not count:
        raise StudyError(
            "no token was masked in the evaluation sentences; give more or longer sentences"
        )
    return {"mlm_loss": total / count, "mlm_accuracy": right / count, "positions": count}


def unigram(tokenizer, train: list[str], batches: list[dict], sentences: int = 20_000) -> dict:
    """{"unigram_loss": nats}: the loss of guessing by frequency alone at the masked positions.

    A model should do better. At most `sentences` of the training sentences, spread evenly, give the
    frequencies; each token counts once more than it occurs, so that none is impossible.
    """
    some = train[:: -(-len(train) // sentences)]
    ids = numpy.concatenate(
        [row[1:-1] for row in encode(some, tokenizer, min(512, tokenizer.model_max_length))]
    ).astype(int)
    counts = numpy.bincount(ids, minlength=1 + max(tokenizer.get_vocab().values())) + 1
    gold = torch.cat([batch["labels"][batch["labels"] != -100] for batch in batches]).numpy()
    return {"unigram_loss": float(-numpy.log(counts[gold] / counts.sum()).mean())}
