"""Cut 1, fewer layers: the layers of the teacher that the student starts from (paper, step 1)."""

from lib.checks import check_choice
from lib.errors import StudyError
from lib.model import axes, encoder
from lib.model.families import family


def choose(count: int, kept: int, layer_choice: str) -> list[int]:
    """Numbers of the `kept` layers of `count`, ascending.

    last_k: the last. first_k: the first. first_last_k: half from each end, the odd one from the
    front. stride: every count/kept-th from 0. stride_last: the same, ending at the last. random:
    none, for `cut` draws all anew.
    Raises StudyError if more layers are asked for than exist.
    """
    if not 1 <= kept <= count:
        raise StudyError(
            f"{kept} layers were asked for; the teacher has {count}: take 1 to {count}"
        )
    front = (kept + 1) // 2
    choices = {
        "last_k": range(count - kept, count),
        "first_k": range(kept),
        "random": (),
        "stride": (number * count // kept for number in range(kept)),
        "stride_last": ((number + 1) * count // kept - 1 for number in range(kept)),
        "first_last_k": (*range(front), *range(count - (kept - front), count)),
    }
    check_choice(layer_choice, choices, "layer_choice")
    return list(choices[layer_choice])


def cut(model, kept: int, layer_choice: str, seed: int = 0):
    """A new model with `kept` layers; embeddings and head are copied.

    With `random` the layers are freshly drawn from the seed: a baseline that shows how much the
    teacher's layers are worth.
    Raises StudyError for a choice without a first layer that has to stay.
    """
    count, path = model.config.num_hidden_layers, family(model.config).layers
    numbers = choose(count, kept, layer_choice) or [*range(kept)]
    result = axes.take(model, layers=numbers)
    if layer_choice == "random":
        fresh = encoder.new(result.config, seed).base_model.get_submodule(path)
        result.base_model.get_submodule(path).load_state_dict(fresh.state_dict())
    return result
