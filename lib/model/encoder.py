"""Encoders of all families as masked language models: make, load, save, run."""

import json
import re
from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from lib import files
from lib.errors import StudyError
from lib.model import loading, parts, trimmed
from lib.model.families import family, has_head
from lib.model.sizes import max_tokens

# Parts of published checkpoints for which a masked language model has no place.
_SPARE = re.compile(r"pooler\.|seq_relationship|position_ids|discriminator_predictions")
# What the normalizer Nmt puts in the place of which characters; transformers.js has no Nmt. U+0085
# is added: tokenizers takes it for white space when it splits words, and transformers.js does not.
_NMT = {
    "": "\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f",
    " ": "\t\n\f\r\x85\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd",
}
_OF_ONE_CALL = ("max_length", "stride", "truncation_side", "truncation_strategy", "is_local")
_OF_ONE_CALL += ("local_files_only", "backend")


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

    An encoder that was published without an MLM head is loaded `without_head`, from a folder of
    sentence-transformers too. Reads safetensors only and runs no remote code. Raises StudyError
    for other architectures, for files that are absent or broken or that ask for code or pickled
    weights, and for tensors that are missing, left over, of a wrong shape or not finite.
    """
    where = loading.place(source, revision)
    config, tokenizer = loading.described(source, where, tokenizer_source, tokenizer_revision)
    model, report = loading.read(
        AutoModelForMaskedLM,
        source,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **where,
    )
    _check_tensors(model, report, source)
    tokenizer.model_max_length = min(tokenizer.model_max_length, max_tokens(config))
    return model.eval(), tokenizer


@torch.no_grad()
def without_head(model):
    """The model itself, marked as one without an MLM head; the place of the head holds zeros."""
    for parameter in parts.head(model).values():
        parameter.zero_()
    model.config.architectures = [type(model.base_model).__name__]
    return model


def save(model, tokenizer, folder: Path, card: str) -> None:
    """Write model, tokenizer and model card to `folder`, whole or not at all.

    An encoder without MLM head is written as one. Raises StudyError if the written tokenizer, read
    again, gives other ids.
    """
    with files.whole_folder(folder) as part, loading.quiet():
        (model if has_head(model.config) else model.base_model).save_pretrained(part)
        save_tokenizer(tokenizer, part)
        (part / "README.md").write_text(card, encoding="utf-8")


def save_tokenizer(tokenizer, folder: Path, **options) -> None:
    """Write a tokenizer, with further `options` of its class, so that transformers 4 and 5 and
    transformers.js read it.

    Raises StudyError if the written tokenizer, read again, gives other ids.
    """
    tokenizer.backend_tokenizer.no_truncation()  # of an earlier call; it would be written too
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer.json"
    whole = json.loads(file.read_text(encoding="utf-8"), object_hook=_without_nmt)
    file.write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    file = folder / "tokenizer_config.json"
    written = json.loads(file.read_text(encoding="utf-8")) | options
    for name in _OF_ONE_CALL:
        written.pop(name, None)
    if written["tokenizer_class"] == "TokenizersBackend":  # a class of transformers 5 alone
        written["tokenizer_class"] = "PreTrainedTokenizerFast"
    file.write_text(json.dumps(written, indent=1, ensure_ascii=False), encoding="utf-8")
    tokens = sorted(tokenizer.get_vocab())[:: len(tokenizer) // 500 + 1]
    texts = [" ".join(tokens).replace("\u2581", " "), "12 km²,  ﬁne:\u00a0½ Ｈaġa waħda."]
    again = loading.read(AutoTokenizer, folder)
    trimmed.check_ids(tokenizer, again, "saved and read again", texts)


def _without_nmt(part: dict) -> dict:
    """A part of tokenizer.json, or the replacements that do what it does if it is Nmt."""
    if part != {"type": "Nmt"}:
        return part
    rules = [
        {"type": "Replace", "pattern": {"Regex": f"[{characters}]"}, "content": given}
        for given, characters in _NMT.items()
    ]
    return {"type": "Sequence", "normalizers": rules}


def hidden_states(model, batch: dict) -> torch.Tensor:
    """Output of the encoder's last layer, (B, T, H)."""
    return model.base_model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    ).last_hidden_state


def all_hidden_states(model, batch: dict) -> tuple[torch.Tensor, ...]:
    """Output of the embeddings and of each layer, L + 1 tensors (B, T, H)."""
    return model.base_model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        output_hidden_states=True,
    ).hidden_states


def _check_tensors(model, report: dict, source) -> None:
    """StudyError unless the file held exactly the model's tensors, all finite, but for its head."""
    found = {
        kind: {name for name in map(str, report[kind]) if not _SPARE.search(name)}
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
    }
    absent = set(parts.head(model))
    if absent <= found["missing_keys"]:
        inside = f"{model.base_model_prefix}."
        found["missing_keys"] = {name for name in found["missing_keys"] if name.startswith(inside)}
        without_head(model)
    else:
        model.config.architectures = [type(model).__name__]
    for kind, names in found.items():
        if names:
            raise StudyError(
                f"{source}: {kind.replace('_', ' ')} in the weights: "
                f"{', '.join(sorted(names)[:5])}; the files do not fit the configuration: fetch or "
                "make the model again"
            )
    for name, tensor in model.named_parameters():
        if not torch.isfinite(tensor).all():
            raise StudyError(
                f"{source}: {name} holds values that are not finite; fetch or make the model again"
            )
