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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        result = _CLASSES[kind].from_config(config).float()
    missing, unexpected = result.base_model.load_state_dict(
        model.base_model.state_dict(), strict=False
    )
    if unexpected or any("pooler" not in name for name in missing):
        raise StudyError(f"the encoder does not fit the task model: {missing} {unexpected}")
    if kind == "sequence" and pooling == "mean":
        result.config.classifier_pooling = "mean"
        _read_mean(result)
    return result


def _read_mean(classifier) -> None:
    """Put the mean over the tokens of each text in the place of the first token."""
    seen = {}

    def note_mask(_, __, arguments):
        seen["mask"] = arguments["attention_mask"]

    def mean(_, arguments):
        hidden, *rest = arguments
        weight = seen["mask"].unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True), *rest

    classifier.base_model.register_forward_pre_hook(note_mask, with_kwargs=True)
    # BERT's pooler reads the first token; the head of XLM-R has that part inside.
    reader = getattr(classifier.base_model, "pooler", None) or classifier.classifier
    reader.register_forward_pre_hook(mean)
