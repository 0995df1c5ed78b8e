"""The layers of a student by search: those whose untrained student agrees best with the teacher.

Not in the paper. params/studies/e5.yaml says how well this predicted students after training.
"""

import torch

from lib.data.batches import encode, masked_batches
from lib.errors import StudyError
from lib.measure.hidden_states import mean, unmasked
from lib.model import axes
from lib.model.device import at_work, evaluating
from lib.model.families import family
from lib.model.passes import Passes
from lib.model.sizes import max_tokens

SENTENCES = 100  # of the training text, on which a study searches


def search(model, tokenizer, sentences: list[str], kept: int, max_length: int = 128) -> list[int]:
    """Numbers of the `kept` layers, ascending: one layer after another goes, each time the one
    without which the `agreement` on the sentences stays highest. A first layer that the library
    builds with other parts stays.

    Raises StudyError if more layers are asked for than exist.
    """
    chosen = list(range(model.config.num_hidden_layers))
    fixed = int(family(model.config).first_layer_stays)
    if not 1 <= kept <= len(chosen):
        raise StudyError(
            f"{kept} layers were asked for; the teacher has {len(chosen)}: take 1 to {len(chosen)}"
        )
    encoded = encode(sentences, tokenizer, min(max_length, max_tokens(model.config)))
    batches = [*map(unmasked, masked_batches(encoded, tokenizer, 64, 0))]
    with at_work(model), evaluating(model):
        taught = _vectors(Passes(model, batches))
        while len(chosen) > kept:
            found = _agreements(model, batches, chosen, fixed, taught)
            worst = max(found, key=found.get)
            chosen.remove(worst)
            print(
                f"{len(chosen)} layers: without {worst} the agreement is {found[worst]:.3f}",
                flush=True,
            )
    return chosen


def _agreements(model, batches: list[dict], chosen: list[int], fixed: int, taught) -> dict:
    """Layer -> the agreement of the chosen layers without it; the first `fixed` ones stay."""
    found, passes = {}, Passes(axes.take(model, layers=chosen), batches)
    for place, layer in enumerate(chosen[fixed:], fixed):
        if place:  # the layers below are computed once for all that come after them
            vectors = _vectors(passes, place)
        else:
            vectors = _vectors(Passes(axes.take(model, layers=chosen[1:]), batches))
        found[layer] = agreement(vectors, taught)
    return found


def _vectors(passes: Passes, without: int | None = None) -> torch.Tensor:
    """The mean of the hidden states of each sentence, (N, H), in the order of the batches."""
    states = passes.last_states(without)
    return torch.cat([mean(*pair) for pair in zip(states, passes.batches, strict=True)])


def agreement(vectors: torch.Tensor, others: torch.Tensor) -> float:
    """Mean cosine between two sets of vectors of the same sentences, (N, H) each, both centred."""
    a, b = (each - each.mean(0) for each in (vectors, others))
    return float(torch.cosine_similarity(a, b).mean())
