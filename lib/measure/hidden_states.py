"""Hidden states of a student beside those of its teacher.

They can be compared where logits cannot: between vocabularies, between hidden sizes, and for
encoders without an MLM head.
"""

import torch

from lib.data.batches import encode, masked_batches
from lib.measure import mlm
from lib.model import encoder
from lib.model.device import at_work, autocast, evaluating
from lib.model.families import has_head
from lib.model.sizes import max_tokens

GROUPS = 20  # of sentences, by which `similarity_interval` judges


def evaluate(
    model,
    tokenizer,
    test: list[str],
    train: list[str],
    teacher=None,
    max_length=128,
    precision="auto",
) -> dict:
    """The scores of a model on test sentences: those of `mlm.evaluate` if it has an MLM head, and
    its `similarity` to a teacher.

    `teacher` is (model, tokenizer).
    """
    scores = {}
    if has_head(model.config):
        scores = mlm.evaluate(model, tokenizer, test, train, max_length, precision)
    if teacher:
        pairs = ((model, tokenizer), teacher)
        vectors = [sentence_vectors(*pair, test, max_length, precision) for pair in pairs]
        scores["similarity"] = similarity(*vectors)
    return scores


def sentence_vectors(model, tokenizer, sentences, max_length=128, precision="auto") -> torch.Tensor:
    """The mean of the hidden states of each sentence's tokens, (N, H) in float64.

    Sentences are cut at `max_length` tokens, or at the model's own limit.
    """
    encoded = encode(sentences, tokenizer, min(max_length, max_tokens(model.config)))
    order = sorted(range(len(encoded)), key=lambda number: len(encoded[number]))
    vectors = torch.zeros(len(encoded), model.config.hidden_size, dtype=torch.float64)
    with at_work(model), evaluating(model):
        # the sentences come by length, as `masked_batches` puts them
        for number, batch in enumerate(masked_batches(encoded, tokenizer, 64, 0)):
            batch = {name: tensor.to(model.device) for name, tensor in unmasked(batch).items()}
            with autocast(model.config, precision):
                hidden = encoder.hidden_states(model, batch)
            vectors[order[64 * number : 64 * (number + 1)]] = mean(hidden, batch)
    return vectors


def mean(hidden: torch.Tensor, batch: dict) -> torch.Tensor:
    """The mean of hidden states (B, T, H) over each text's tokens, (B, H) in float64 on the CPU."""
    weight = batch["attention_mask"].unsqueeze(-1).cpu()
    return (hidden.cpu().double() * weight).sum(1) / weight.sum(1)


def similarity(vectors: torch.Tensor, others: torch.Tensor) -> float:
    """Linear CKA of two sets of vectors of the same sentences, (N, H) and (N, H'): 0 to 1.

    1: the sentences lie alike, apart from a rotation and one scale (Kornblith et al. 2019,
    equation 3, from centred vectors).
    """
    a, b = (each - each.mean(0) for each in (vectors, others))
    across, own, other = (torch.linalg.matrix_norm(m) for m in (a.T @ b, a.T @ a, b.T @ b))
    return float(across**2 / (own * other))


def unmasked(batch: dict) -> dict:
    """A masked batch with its true tokens again."""
    ids, labels = batch["input_ids"], batch["labels"]
    return batch | {"input_ids": torch.where(labels == -100, ids, labels)}


def similarity_interval(vectors: torch.Tensor, others: torch.Tensor) -> tuple[float, float]:
    """Lower and upper end of the 95 % interval of `similarity`, by the sentences that were drawn.

    It is a jackknife over GROUPS groups of sentences, or over the sentences if there are fewer:
    each is left out once. Sentences drawn twice, as in a bootstrap, would lie alike in any two
    models.
    """
    groups, whole = min(GROUPS, len(vectors)), similarity(vectors, others)
    group = torch.arange(len(vectors)) % groups
    without = [similarity(vectors[group != g], others[group != g]) for g in range(groups)]
    error = float(((groups - 1) * torch.tensor(without).double().var(correction=0)) ** 0.5)
    return max(0.0, whole - 1.96 * error), min(1.0, whole + 1.96 * error)
