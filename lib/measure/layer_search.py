"""The layers of a student by search: those whose untrained student agrees best with the teacher.

Not in the paper. params/studies/e5.yaml says how well this predicted students after training.
"""

import torch

from lib.errors import StudyError
from lib.measure.hidden_states import sentence_vectors
from lib.model import axes
from lib.model.families import family

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
    taught = sentence_vectors(model, tokenizer, sentences, max_length)
    while len(chosen) > kept:
        found = {}
        for layer in chosen[fixed:]:
            student = axes.take(model, layers=[other for other in chosen if other != layer])
            vectors = sentence_vectors(student, tokenizer, sentences, max_length)
            found[layer] = agreement(vectors, taught)
        worst = max(found, key=found.get)
        chosen.remove(worst)
        print(
            f"{len(chosen)} layers: without {worst} the agreement is {found[worst]:.3f}", flush=True
        )
    return chosen


def agreement(vectors: torch.Tensor, others: torch.Tensor) -> float:
    """Mean cosine between two sets of vectors of the same sentences, (N, H) each, both centred."""
    a, b = (each - each.mean(0) for each in (vectors, others))
    return float(torch.cosine_similarity(a, b).mean())
