"""Sizes that follow from a configuration alone. Loads no torch."""

from lib.errors import StudyError
from lib.model.families import family, has_head


def count_parameters(config) -> int:
    """Number of parameters of the model with this configuration, with its MLM head if it has one.

    The embedding matrix, which is also the output matrix, counts once. No weights are needed.
    """
    family(config)
    h, f, v = config.hidden_size, config.intermediate_size, config.vocab_size
    embeddings = (v + config.max_position_embeddings + config.type_vocab_size) * h + 2 * h
    layer = 4 * (h * h + h) + (h * f + f) + (f * h + h) + 2 * 2 * h
    head = (h * h + h) + 2 * h + v if has_head(config) else 0
    return embeddings + config.num_hidden_layers * layer + head


def parameters(model) -> int:
    """Number of parameters of a model, without the place of an MLM head that it does not have."""
    return (model if has_head(model.config) else model.base_model).num_parameters()


def describe(model, teacher_parameters: int | None = None) -> dict:
    """The sizes that a record holds: parameters, compression rate, embeddings and configuration.

    Without `teacher_parameters` the model is its own teacher, with a compression rate of 0.
    """
    config, count = model.config, parameters(model)
    names = ("model_type", "hidden_size", "num_hidden_layers", "intermediate_size")
    names += ("num_attention_heads", "vocab_size")
    teacher_parameters = teacher_parameters or count
    return {
        "parameters": count,
        "teacher_parameters": teacher_parameters,
        "compression_rate": 1 - count / teacher_parameters,
        "mlm_head": has_head(config),
        "embedding_parameters": config.vocab_size * config.hidden_size,
        "config": {name: getattr(config, name) for name in names},
    }


def max_tokens(config) -> int:
    """Length in tokens of the longest text that the model's position embeddings can number."""
    offset = config.pad_token_id + 1 if family(config).position_offset else 0
    return config.max_position_embeddings - offset


def check_hidden_size(heads: int, largest: int, wanted: int) -> None:
    """StudyError unless `wanted` is a multiple of the number of heads and at most `largest`."""
    if wanted % heads or not heads <= wanted <= largest:
        below = max(heads, min(wanted, largest) // heads * heads)
        possible = sorted({below, min(below + heads, largest)})
        raise StudyError(
            f"a hidden size of {wanted} was asked for; {heads} heads stay, so it must be a "
            f"multiple of {heads} up to {largest}: the nearest that work are "
            f"{' and '.join(map(str, possible))}"
        )
