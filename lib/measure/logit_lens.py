"""Logit lens: what each layer would predict at a hidden position, were it the last (nostalgebraist 2020; paper, step 6).

The residual stream keeps one form from the embeddings to the last layer, so the head can read every layer. It reads through its
own transform, dense layer and LayerNorm included, in both families; so the last layer's prediction is the model's own. The
authors' script leaves the transform out for mBERT, which shows the last layer something the model never says, and hides no token.
"""

import torch

from lib.errors import StudyError
from lib.measure import masking
from lib.model import encoder


def layer_logits(model, batch: dict, position: torch.Tensor) -> torch.Tensor:
    """Vocabulary logits (L + 1, B, V) that each layer (0: the embeddings) would give at one position (B,) of each row.

    `batch` holds input_ids and attention_mask, both (B, T). The last layer's are the model's own.
    """
    return encoder.logits(model, _streams(model, batch, position))


@torch.inference_mode()
def lens(model, tokenizer, sentence: str, position: int, top: int = 5) -> dict:
    """What each layer would put in place of one hidden token of the sentence; lists run over the layers, 0 (embeddings) to L.

    `tokens`: the sentence's pieces without special tokens; `position`: the hidden one's number among them, from 0; `piece`: itself.
    `top_pieces`, `top_probabilities` (L + 1, top): the most probable pieces. `probability`, `rank` (from 1) of the true piece.
    Raises StudyError for a position the sentence does not have, or that lies beyond what the model takes.
    """
    text = masking.encode([sentence], tokenizer, model.config)[0]
    places = [place for place, special in enumerate(text.special) if not special]
    if not 0 <= position < len(places):
        raise StudyError(
            f"position {position} was asked for; the sentence has the tokens 0 to {len(places) - 1}"
            f"{', and is cut there' if text.cut else ''}: take one of these"
        )
    if not 1 <= top <= model.config.vocab_size:
        raise StudyError(
            f"the {top} most probable pieces were asked for; the vocabulary has {model.config.vocab_size}: take 1 or more"
        )
    was_training = model.training
    model.eval()
    ids = torch.tensor([text.ids], device=model.device)
    true = ids[0, places[position]].item()
    ids[0, places[position]] = tokenizer.mask_token_id
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    logits = (
        layer_logits(model, batch, torch.tensor([places[position]], device=model.device))[:, 0]
        .float()
        .cpu()
    )
    model.train(was_training)
    probability = logits.softmax(-1)
    best = probability.topk(min(top, probability.shape[-1]))
    tokens = tokenizer.convert_ids_to_tokens([text.ids[place] for place in places])
    return {
        "tokens": tokens,
        "position": position,
        "piece": tokens[position],
        "top_pieces": [tokenizer.convert_ids_to_tokens(row) for row in best.indices.tolist()],
        "top_probabilities": best.values.tolist(),
        "probability": probability[:, true].tolist(),
        "rank": ((logits > logits[:, true, None]).sum(-1) + 1).tolist(),
    }


@torch.inference_mode()
def curve(model, tokenizer, sentences: list[str], max_length: int = 0) -> dict:
    """How far each layer knows the hidden token, over all tokens of the sentences, each hidden once; lists (L + 1,) from layer 0.

    `probability`: mean probability of the true token, 0..1; `accuracy`: share of positions where it comes first; `nats`: mean
    negative log-probability, at the last layer the logarithm of the pseudo-perplexity; `reciprocal_rank`: mean of 1 / rank, 0..1.
    `tokens`: how many were hidden. Sentences are cut at `max_length` tokens (0: as many as the model takes).
    """
    texts = masking.encode(sentences, tokenizer, model.config, max_length)
    names = ("probability", "accuracy", "nats", "reciprocal_rank")
    total = torch.zeros(len(names), model.config.num_hidden_layers + 1, dtype=torch.float64)
    was_training, count = model.training, 0
    model.eval()
    for batch in masking.batches(texts, tokenizer):
        here = {name: tensor.to(model.device) for name, tensor in batch.items()}
        for layer, hidden in enumerate(_streams(model, here, here["position"])):
            nats, rank = (
                tensor.cpu().double() for tensor in masking.judge(model, hidden, here["gold"])
            )
            total[:, layer] += torch.stack(
                [nats.exp().sum(), (rank == 1).sum(), -nats.sum(), (1 / rank).sum()]
            )
        count += len(batch["gold"])
    model.train(was_training)
    return {name: values.tolist() for name, values in zip(names, total / count, strict=True)} | {
        "tokens": count
    }


def _streams(model, batch: dict, position: torch.Tensor) -> torch.Tensor:
    """Hidden states (L + 1, B, H) of every layer at one position of each row."""
    body = getattr(model, encoder.family(model).body)
    states = body(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        output_hidden_states=True,
    ).hidden_states
    rows = torch.arange(len(position), device=position.device)
    return torch.stack([state[rows, position] for state in states])
