"""Encoders of both families as masked language models: make, load, save, run."""

import re
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

from lib import files
from lib.errors import StudyError
from lib.model import loading
from lib.model.families import family
from lib.model.sizes import max_tokens

# Parts of published checkpoints for which a masked language model has no place.
_SPARE = re.compile(r"pooler\.|seq_relationship|position_ids")


def new(config, seed: int):
    """A freshly initialised masked language model; the same seed gives the same weights."""
    family(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForMaskedLM.from_config(config).float().eval()


def load(
    source: str | Path,
    revision: str | None = None,
    tokenizer_source: str | Path | None = None,
    tokenizer_revision: str | None = None,
):
    """(model, tokenizer) of a folder or a hub id: a masked language model in float32 on the CPU.

    Reads safetensors only and runs no remote code. Raises StudyError for other architectures, for
    files that are absent or broken or that ask for code or pickled weights, and for tensors that
    are missing, left over, of a wrong shape or not finite.
    """
    loading.check_code(source, revision)
    loading.check_weights(source, revision)
    if tokenizer_source:
        loading.check_code(tokenizer_source, tokenizer_revision)
    config = loading.read(AutoConfig, source, revision=revision)
    family(config)
    model, report = loading.read(
        AutoModelForMaskedLM,
        source,
        revision=revision,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    _check_tensors(model, report, source)
    source, revision = tokenizer_source or source, tokenizer_revision or revision
    tokenizer = loading.read(AutoTokenizer, source, revision=revision)
    loading.check_tokenizer(tokenizer, model.config, source)
    tokenizer.model_max_length = min(tokenizer.model_max_length, max_tokens(config))
    return model.eval(), tokenizer


def save(model, tokenizer, folder: Path, card: str) -> None:
    """Write model, tokenizer and model card to `folder`, whole or not at all."""
    with files.whole_folder(folder) as part, loading.quiet():
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        (part / "README.md").write_text(card, encoding="utf-8")


def hidden_states(model, batch: dict) -> torch.Tensor:
    """Output of the encoder's last layer, (B, T, H)."""
    return model.base_model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    ).last_hidden_state


def transform(model, hidden: torch.Tensor) -> torch.Tensor:
    """The head's transform of hidden states, (..., H) -> (..., H), which the readout follows."""
    names = family(model.config)
    head = model.get_submodule(names.head)
    for name in names.transform:
        hidden = nn.functional.gelu(hidden) if name == "gelu" else getattr(head, name)(hidden)
    return hidden


def readout(model) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight (V, H), bias (V,)) of the head: logits = transform(hidden) @ weight.T + bias."""
    decoder = model.get_submodule(family(model.config).head).decoder
    return decoder.weight, decoder.bias


def logits(model, hidden: torch.Tensor) -> torch.Tensor:
    """Vocabulary logits (..., V) of hidden states (..., H)."""
    return nn.functional.linear(transform(model, hidden), *readout(model))


def _check_tensors(model, report: dict, source) -> None:
    """StudyError unless the file held exactly the model's tensors, all finite."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = sorted(name for name in map(str, report[kind]) if not _SPARE.search(name))
        if names:
            raise StudyError(
                f"{source}: {kind.replace('_', ' ')} in the weights: {', '.join(names[:5])}; the "
                "files do not fit the configuration: fetch or make the model again"
            )
    for name, tensor in model.named_parameters():
        if not torch.isfinite(tensor).all():
            raise StudyError(
                f"{source}: {name} holds values that are not finite; fetch or make the model again"
            )
