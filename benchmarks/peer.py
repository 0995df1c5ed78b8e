"""The paper's procedure, as its authors' scripts do it, in our words: everything padded to 512 tokens, batches of 4 with 2 accumulated,
float32, all logits of student and teacher; one forward pass with all logits a hidden token; tokens counted document by document.

Nothing here is made slower than the scripts: teacher without gradients, the library's fused attention and optimizer.
"""

import math
from collections import Counter

import torch
from torch import nn


def losses(student, teacher, batch: dict, weight: float = 0.5) -> torch.Tensor:
    """The distillation loss of one batch: MLM loss and mean squared gap of all logits, padding too."""
    guessed = student(**batch)
    with torch.no_grad():
        taught = teacher(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
    return weight * guessed.loss + (1 - weight) * nn.functional.mse_loss(guessed.logits, taught)


def importance(model, batches: list[dict]) -> torch.Tensor:
    """Importance of each neuron (L, F): all gradients of the loss over all logits, one backward pass a batch."""
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
    """exp of the mean negative log-likelihood per token, each token hidden in a forward pass of its own."""
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
