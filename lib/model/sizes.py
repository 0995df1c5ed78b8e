"""Sizes that follow from a configuration alone. Loads no torch."""

from lib.checks import shown
from lib.errors import StudyError
from lib.model.families import embedding_size, family, has_head, size


def count_parameters(config) -> int:
    """Number of parameters of the model with this configuration, with its MLM head if it has one.

    The embedding matrix, which is also the output matrix, counts once. No weights are needed.
    """
    own, v = family(config), config.vocab_size
    h, f = size(config, "hidden_size"), size(config, "intermediate_size")
    e, types = embedding_size(config), any(letters == ".E" for _, letters in own.axes)

    def bias(name: str, length: int) -> int:
        return length if getattr(config, name, True) else 0

    def norm(length: int) -> int:
        return length + bias("norm_bias", length)

    rows = v + (config.type_vocab_size if types else 0)
    rows += 0 if own.rotary else config.max_position_embeddings
    embeddings = rows * e + norm(e) + (e * h + h if e != h else 0)
    inputs = 2 * f if own.gated else f
    layer = 4 * h * h + bias("attention_bias", 4 * h) + 2 * norm(h)
    layer += (inputs + f) * h + bias("mlp_bias", inputs + h)
    ends = (bool(own.final_norm) - own.first_layer_stays) * norm(h)  # a norm more, a norm less
    head = (h * e + bias("classifier_bias", e)) + norm(e) + bias("decoder_bias", v)
    head += 0 if getattr(config, "tie_word_embeddings", True) else v * e + v * own.second_bias
    layers = size(config, "num_hidden_layers") * layer
    return embeddings + layers + ends + (head if has_head(config) else 0)


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
        "embedding_parameters": model.get_input_embeddings().weight.numel(),
        "config": {name: size(config, name) for name in names},
    }


def max_tokens(config) -> int:
    """Length in tokens of the longest text that the model's positions can number."""
    offset = config.pad_token_id + 1 if family(config).position_offset else 0
    return config.max_position_embeddings - offset


def check_hidden_size(
    heads: int, largest: int, wanted: int, rotary: bool = False, kept: int = 0
) -> None:
    """StudyError unless `wanted` is a multiple of the number of heads and at most `largest`.

    With rotary positions a head has pairs of dimensions, so it is a multiple of twice the number.
    With `kept` only so many of the heads stay; no head becomes wider than it was.
    """
    if kept > heads:
        raise StudyError(
            f"{kept} attention heads were asked for; the model has {heads}: take 1 to {heads}"
        )
    heads, largest = kept or heads, largest // heads * (kept or heads)
    step = 2 * heads if rotary else heads
    if wanted % step or not step <= wanted <= largest:
        below = max(step, min(wanted, largest) // step * step)
        possible = sorted({below, min(below + step, largest)})
        pairs = " with pairs of dimensions" if rotary else ""
        raise StudyError(
            f"a hidden size of {wanted} was asked for; {heads} heads{pairs} stay, so it must be a "
            f"multiple of {step} up to {largest}: the nearest that work are "
            f"{' and '.join(map(str, possible))}"
        )


def adapter_width(hidden_size: int, reduction_factor: float) -> int:
    """Width of an adapter, hidden size / factor rounded down; StudyError if there is none."""
    if not 1 <= reduction_factor <= hidden_size:
        raise StudyError(
            f"a reduction_factor of {shown(reduction_factor)} leaves no adapter at a hidden size "
            f"of {hidden_size}; take 1 to {hidden_size}"
        )
    return int(hidden_size // reduction_factor)


def check_embeddings(embedding: int, largest: int, wanted: int) -> None:
    """StudyError if a hidden size `wanted` would be that of embeddings that have their own size."""
    if wanted == embedding != largest:
        raise StudyError(
            f"a hidden size of {wanted} was asked for, which is the size of the embeddings; the "
            "library would leave out the matrix between them: take another size"
        )
