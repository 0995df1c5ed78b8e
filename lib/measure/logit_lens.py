"""Logit lens: each layer's prediction at a masked position, as if it were the last layer.

The residual stream keeps one form from the embeddings to the last layer, so the head can read every
layer. It reads through its own transform, and before it through the norm after the last layer where
a family has one, so the last layer's prediction is the model's own. The authors' script leaves the
transform out for mBERT, which gives the last layer a prediction that the model never makes, and
masks no token.
Source: nostalgebraist (2020); paper, step 6.
"""

import torch

from lib.errors import StudyError
from lib.measure import masking
from lib.model import encoder, mlm_head
from lib.model.device import evaluating
from lib.model.families import family


def layer_logits(model, batch: dict, position: torch.Tensor) -> torch.Tensor:
    """Vocabulary logits (L + 1, B, V) of each layer (0: the embeddings) at a position (B,).

    `batch` holds input_ids and attention_mask, both (B, T). The last layer's are the model's own.
    """
    return mlm_head.logits(model, _streams(model, batch, position))


def lens(model, tokenizer, sentence: str, position: int, top: int = 5) -> dict:
    """The predictions of each layer for one masked token; lists run over layers 0 to L.

    `tokens`: the sentence's tokens without special ones; `position`: the number of the masked one,
    from 0; `piece`: the masked token. `top_pieces`, `top_probabilities` (L + 1, top): the most
    probable tokens. `probability`, `rank` (from 1): those of the masked token.
    Raises StudyError for a position that the sentence does not have or the model cannot take.
    """
    text = masking.encode([sentence], tokenizer, model.config)[0]
    places = [place for place, added in enumerate(text.special) if not added]
    if not 0 <= position < len(places):
        cut = ", and is cut there" if text.cut else ""
        raise StudyError(
            f"position {position} was asked for; the sentence has the tokens 0 to {len(places) - 1}"
            f"{cut}: take one of these"
        )
    ids = torch.tensor([text.ids], device=model.device)
    ids[0, places[position]] = tokenizer.mask_token_id
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with evaluating(model):
        at = torch.tensor([places[position]], device=model.device)
        logits = layer_logits(model, batch, at)[:, 0].float().cpu()
    true, probability = text.ids[places[position]], logits.softmax(-1)
    best = probability.topk(top)
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


def curve(model, tokenizer, sentences: list[str], max_length: int = 0) -> dict:
    """Means over all tokens of the sentences, each masked once; lists (L + 1,) from layer 0.

    `probability`: of the true token, 0..1; `accuracy`: share of positions where it comes first;
    `nats`: negative log-probability, at the last layer the logarithm of the pseudo-perplexity;
    `reciprocal_rank`: 1 / rank, 0..1. `tokens`: the number of masked tokens. Sentences are cut at
    `max_length` tokens (0: the maximum).
    """
    texts = masking.encode(sentences, tokenizer, model.config, max_length)
    names = ("probability", "accuracy", "nats", "reciprocal_rank")
    total = torch.zeros(len(names), model.config.num_hidden_layers + 1, dtype=torch.float64)
    count = 0
    with evaluating(model):
        for batch in masking.batches(texts, tokenizer):
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            for layer, hidden in enumerate(_streams(model, batch, batch["position"])):
                judged = masking.judge(model, hidden, batch["gold"])
                nats, rank = (tensor.cpu().double() for tensor in judged)
                total[:, layer] += torch.stack(
                    [nats.exp().sum(), (rank == 1).sum(), -nats.sum(), (1 / rank).sum()]
                )
            count += len(batch["gold"])
    return dict(zip(names, (total / count).tolist(), strict=True)) | {"tokens": count}


def _streams(model, batch: dict, position: torch.Tensor) -> torch.Tensor:
    """Hidden states (L + 1, B, H) of every layer at one position of each row, as the head reads."""
    states = encoder.all_hidden_states(model, batch)
    rows = torch.arange(len(position), device=position.device)
    *below, last = [state[rows, position] for state in states]
    if name := family(model.config).final_norm:  # the last states have passed it
        below = map(model.base_model.get_submodule(name), below)
    return torch.stack([*below, last])
