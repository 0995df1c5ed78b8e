"""An MLM head for an encoder that was published without one, fitted in closed form.

It makes the paper's way possible for such a teacher: adaptation by masked words, then distillation
of logits.
"""

import torch
from torch import nn

from lib.measure import hidden_states
from lib.model import axes, encoder, mlm_head
from lib.model.device import at_work, autocast, evaluating
from lib.model.families import family

SENTENCES = 5000  # of the training text; about 30,000 masked positions
_SCALES = [2.0**power for power in range(-4, 7)]
_SHIFT = 8.0  # standard deviations: so far above 0, GELU changes nothing


@torch.no_grad()
def fit(model, masked: list[dict]):
    """A new model with an MLM head, fitted to masked batches; the encoder stays as it is.

    A linear map (ridge regression) leads from the hidden states at masked positions to the input
    vectors of the true tokens, less their mean. The biases are the logarithms of the frequencies of
    the tokens. One scale multiplies all logits; a quarter of the positions, which the map was not
    fitted to, decides it.
    """
    result = _with_biases(axes.take(model))
    states, gold = _states(result, masked)
    held_out = torch.arange(len(gold)) % 4 == 3
    vectors = result.get_input_embeddings().weight
    mapping, mean = _ridge(states[~held_out], vectors[gold[~held_out]].double())
    first, norm = _layers(result)
    decoder, bias = mlm_head.readout(result)
    decoder.copy_(vectors)  # nothing changes where the two are tied
    first.weight.copy_(mapping.T)
    first.bias.copy_(_SHIFT - mean @ mapping)
    if norm.bias is not None:
        norm.bias.zero_()
    tokens = [
        hidden_states.unmasked(batch)["input_ids"][batch["attention_mask"].bool()]
        for batch in masked
    ]
    counts = torch.bincount(torch.cat(tokens), minlength=len(vectors)) + 1.0
    bias.copy_((counts / counts.sum()).log())
    losses = {}
    for scale in _SCALES:
        norm.weight.fill_(scale / len(norm.weight) ** 0.5)
        logits = mlm_head.logits(result, states[held_out].float())
        losses[scale] = float(nn.functional.cross_entropy(logits, gold[held_out]))
    norm.weight.fill_(min(losses, key=losses.get) / len(norm.weight) ** 0.5)
    result.config.architectures = [type(result).__name__]
    return result


def _ridge(states: torch.Tensor, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The map (H, H) from centred states to centred vectors, its outputs of standard deviation 1,
    and the states' mean (H,).
    """
    mean, wanted = states.mean(0), vectors - vectors.mean(0)
    centred = states - mean
    squares = centred.T @ centred
    squares += squares.diagonal().mean() * torch.eye(len(squares), dtype=squares.dtype)
    mapping = torch.linalg.solve(squares, centred.T @ wanted)
    return mapping / (centred @ mapping).std(), mean


def _states(model, masked: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states (N, H) in float64 and true tokens (N,) at the masked positions."""
    states, gold = [], []
    with at_work(model), evaluating(model):
        for batch in masked:
            chosen = batch["labels"] != -100
            on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
            with autocast(model.config):
                hidden = encoder.hidden_states(model, on_device)
            states.append(hidden.cpu()[chosen].double())
            gold.append(batch["labels"][chosen])
    return torch.cat(states), torch.cat(gold)


def _layers(model):
    """(first linear layer, normalisation) of the head."""
    paths = [path for path in family(model.config).transform if path != "gelu"]
    modules = [each for path in paths for each in model.get_submodule(path).modules()]
    first = next(module for module in modules if isinstance(module, nn.Linear))
    return first, next(module for module in modules if isinstance(module, nn.LayerNorm))


def _with_biases(model):
    """The model itself, with a bias in the head's matrices where its family can leave it out."""
    linear, output = _layers(model)[0], model.get_output_embeddings()
    for module, setting in ((linear, "classifier_bias"), (output, "decoder_bias")):
        if module.bias is None:
            module.bias = nn.Parameter(torch.zeros(module.out_features))
            setattr(model.config, setting, True)
    return model
