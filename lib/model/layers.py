"""Cut 1, fewer layers: which of the teacher's layers the student starts from (paper, step 1)."""

import torch

from lib.errors import StudyError
from lib.model import encoder


def choose(count: int, kept: int, layer_choice: str) -> list[int]:
    """Numbers of the `kept` layers of `count`, ascending.

    last_k the last, first_k the first, first_last_k half from each end (the odd one from the front), stride every
    count/kept-th from 0. Raises StudyError if more are asked for than exist.
    """
    if not 1 <= kept <= count:
        raise StudyError(
            f"{kept} layers were asked for; the teacher has {count}: take 1 to {count}"
        )
    front = (kept + 1) // 2
    ways = {
        "last_k": lambda: range(count - kept, count),
        "first_k": lambda: range(kept),
        "random": lambda: range(kept),
        "stride": lambda: (i * count // kept for i in range(kept)),
        "first_last_k": lambda: [*range(front), *range(count - (kept - front), count)],
    }
    if layer_choice not in ways:
        raise StudyError(f"no layer choice {layer_choice!r}; there are {', '.join(ways)}")
    return list(ways[layer_choice]())


def cut(model, kept: int, layer_choice: str, seed: int = 0):
    """A new model with `kept` layers; embeddings and head are copied.

    With `random` the layers are freshly drawn from the seed: the control that shows what the teacher's layers are worth.
    """
    result = encoder.take(model, layers=choose(model.config.num_hidden_layers, kept, layer_choice))
    if layer_choice == "random":
        body = encoder.family(model).body
        fresh = getattr(encoder.new(result.config, seed), body).encoder
        getattr(result, body).encoder.load_state_dict(fresh.state_dict())
    return result


def norms(model) -> torch.Tensor:
    """Root mean square of each layer's weights, (L,): a fingerprint to compare layers of teacher and student by."""
    body = getattr(model, encoder.family(model).body)
    return torch.stack(
        [
            torch.cat([p.detach().flatten() for p in layer.parameters()]).square().mean().sqrt()
            for layer in body.encoder.layer
        ]
    )
