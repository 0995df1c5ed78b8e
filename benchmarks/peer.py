"""The paper's procedure, as its authors' scripts do it, in our words.

Everything is padded to 512 tokens, in batches of 4 with 2 accumulated, in float32, with all logits
of student and teacher. Pseudo-perplexity takes one forward pass with all logits a hidden token.
Tokens are counted document by document. Nothing here is slower than the scripts: the teacher has no
gradients, attention and optimizer are the library's fused ones.
"""

import math
from collections import Counter

import torch
from torch import nn


def losses(student, teacher, batch: dict, weight: float = 0.5) -> torch.Tensor:
    """The distillation loss of one batch: MLM loss and squared gap of all logits, padding too."""
    guessed = student(**batch)
    with torch.no_grad():
        taught = teacher(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
    return weight * guessed.loss + (1 - weight) * nn.functional.mse_loss(guessed.logits, taught)


def importance(model, batches: list[dict]) -> torch.Tensor:
    """Importance of each neuron (L, F): all gradients of the loss over all logits."""
    total = 0
    for batch in batches:
        model.zero_grad()
        model(**batch).loss.backward()
        dense = [layer.intermediate.dense for layer in model.base_model.encoder.layer]
        total = total + torch.stack(
            [
                ((each.weight * each.weight.grad).sum(1) + each.bias * each.bias.grad).abs()
                for each in dense
            ]
        )
    return total.detach().cpu()


@torch.no_grad()
def pseudo_perplexity(model, own, sentences: list[str]) -> float:
    """exp of the mean negative log-likelihood per token, with one forward pass a token."""
    total, count = 0.0, 0
    for sentence in sentences:
        ids = own(sentence, return_tensors="pt")["input_ids"].to(model.device)
        for place in range(1, ids.shape[1] - 1):
            hidden = ids.clone()
            hidden[0, place] = own.mask_token_id
            total -= model(hidden).logits[0, place].log_softmax(-1)[ids[0, place]].item()
            count += 1
    return math.exp(total / count)


def count(own, documents: list[str], counting: str) -> Counter:
    """How often each token id occurs: every occurrence, or the documents it occurs in."""
    total = Counter()
    for document in documents:
        pieces = own.convert_tokens_to_ids(own.tokenize(document))
        for piece in set(pieces) if counting == "documents" else pieces:
            total[piece] += 1
    return total
