"""Classifiers: a task head on a copy of an encoder."""

import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from lib.errors import StudyError

_CLASSES = {
    "sequence": AutoModelForSequenceClassification,
    "token": AutoModelForTokenClassification,
}


def with_task_head(model, kind: str, labels: tuple, seed: int, pooling: str = "first"):
    """A classifier on a copy of the model's encoder, with a fresh head drawn from the seed.

    kind: `sequence` (one label a text) or `token`. pooling: the head of a `sequence` reads the
    `first` token, the default of the libraries, or the `mean` of all tokens of the text.
    """
    config = type(model.config).from_dict(model.config.to_dict())
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    if hasattr(config, "classifier_pooling"):  # the library's own way
        config.classifier_pooling = "mean" if pooling == "mean" else "cls"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        result = _CLASSES[kind].from_config(config).float()
    missing, unexpected = result.base_model.load_state_dict(
        model.base_model.state_dict(), strict=False
    )
    if unexpected or any("pooler" not in name for name in missing):
        raise StudyError(f"the encoder does not fit the task model: {missing} {unexpected}")
    if kind == "sequence" and pooling == "mean" and not hasattr(config, "classifier_pooling"):
        result.config.classifier_pooling = "mean"
        _read_mean(result)
    return result


def reads_alike(model) -> bool:
    """Whether transformers reads a saved task model as it is here: not a mean that it cannot."""
    config = model.config
    known = hasattr(type(config), "classifier_pooling")
    return known or getattr(config, "classifier_pooling", "first") == "first"


def _read_mean(classifier) -> None:
    """Put the mean over the tokens of each text in the place of the first token."""
    seen = {}

    def note_mask(_, __, arguments):
        seen["mask"] = arguments["attention_mask"]

    def mean(hidden):
        weight = seen["mask"].unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)

    def of_encoder(_, __, output):
        output.last_hidden_state = mean(output.last_hidden_state)
        return output

    body = classifier.base_model
    body.register_forward_pre_hook(note_mask, with_kwargs=True)
    # BERT's pooler, inside the encoder, reads the first token; so do the heads of the others.
    if getattr(body, "pooler", None) is not None:
        body.pooler.register_forward_pre_hook(lambda _, given: (mean(given[0]), *given[1:]))
    else:
        body.register_forward_hook(of_encoder)
