"""The two families of encoders, BERT and XLM-R, and the names of their parts. Loads no torch."""

from typing import NamedTuple

from lib.errors import StudyError


class Family(NamedTuple):
    """The differences between the families, for a masked language model."""

    head: str  # path of the output head
    transform: tuple[str, ...]  # layers of the head before the output matrix
    position_offset: bool  # whether position numbers start behind the padding token's id


FAMILIES = {
    "bert": Family("cls.predictions", ("transform",), False),
    "xlm-roberta": Family("lm_head", ("dense", "gelu", "layer_norm"), True),
}


def family(config) -> Family:
    """The family of a configuration; StudyError for anything but a BERT- or XLM-R-type encoder."""
    if config.model_type not in FAMILIES:
        raise StudyError(
            f"a teacher of type {config.model_type!r} cannot be cut; BERT- and XLM-R-type encoders "
            f"can ({', '.join(FAMILIES)}): choose such a teacher"
        )
    return FAMILIES[config.model_type]


def has_head(config) -> bool:
    """Whether the model has a trained MLM head: encoders are published without one too."""
    return not any(name.endswith("Model") for name in config.architectures or ())
