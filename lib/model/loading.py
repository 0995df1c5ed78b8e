"""Safe reading of a model's files: no code, no kernel and no pickle from a model is ever run.

The libraries would ask at the keyboard whether to run code, or would trust the file. The checks
here come before the libraries open anything, and read JSON only.
"""

import contextlib
import json
import re
from pathlib import Path

from transformers import PreTrainedConfig
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import cached_file, logging

from lib.data import hub
from lib.errors import StudyError


@contextlib.contextmanager
def quiet():
    """A context without the warnings and progress bars of transformers."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def read(auto_class, source: str | Path, **options):
    """The object that a library class reads from a folder or a hub id, quietly.

    Raises StudyError, one sentence, for every error of the library.
    """
    with quiet():
        return _attempt(
            source, lambda: auto_class.from_pretrained(source, trust_remote_code=False, **options)
        )


def check_code(source: str | Path, revision: str | None) -> None:
    """StudyError if a JSON file of the model asks for code, a kernel or other weights."""
    config = _attempt(source, lambda: PreTrainedConfig.get_config_dict(source, revision=revision))
    tokenizer = _attempt(source, lambda: get_tokenizer_config(source, revision=revision))
    for name, content in {"config.json": config[0], "tokenizer_config.json": tokenizer}.items():
        if "auto_map" in content:
            raise StudyError(
                f"{source}: {name} asks for code of its own (auto_map), which is never run; choose "
                "a model that plain transformers loads"
            )
    for key, value in config[0].items():
        if key == "transformers_weights" or ("attn_implementation" in key and "/" in str(value)):
            raise StudyError(
                f"{source}: config.json asks for {key} {value!r}, which is not followed; take the "
                "line out"
            )


def check_weights(source: str | Path, revision: str | None) -> None:
    """StudyError if the model is an adapter or has weights in anything but safetensors."""
    folder = Path(source)
    if (folder / "adapter_config.json").is_file():
        raise StudyError(
            f"{source}: holds an adapter (adapter_config.json); merge it into its model and save "
            "that"
        )
    endings = ("*.bin", "*.pt", "*.pth", "*.ckpt")
    pickles = sorted(file.name for ending in endings for file in folder.glob(ending))
    if pickles and not any(folder.glob("*.safetensors")):
        raise StudyError(
            f"{source}: has weights only as pickle ({pickles[0]}), which can run code and is never "
            "opened; save the model as safetensors"
        )
    for part in _attempt(source, lambda: _index(source, revision)):
        if not re.fullmatch(r"[\w.-]+\.safetensors", str(part)):
            raise StudyError(
                f"{source}: model.safetensors.index.json names {part!r}, which is no safetensors "
                "file beside it; fetch or make the model again"
            )


def check_tokenizer(tokenizer, config, source: str | Path = "the tokenizer") -> None:
    """StudyError for a tokenizer that changes letters, is incomplete, or does not fit the model."""
    for name in ("unk_token", "pad_token", "mask_token", "cls_token", "sep_token"):
        if getattr(tokenizer, name) is None:
            raise StudyError(f"{source}: the tokenizer has no {name}; masked training needs one")
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise StudyError(
            f"{source}: the tokenizer ({type(tokenizer).__name__}) is not one of the library "
            "`tokenizers`; choose a model with a tokenizer.json"
        )
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is not None and not normalizer.normalize_str("Ġġ").startswith("Ġġ"):
        raise StudyError(
            f"{source}: the tokenizer lower-cases or strips accents; set do_lower_case to false in "
            "its configuration"
        )
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise StudyError(
            f"{source}: the tokenizer has no tokens beside the special ones; its files are not "
            "there: fetch or make the model again"
        )
    tokens = max(len(tokenizer), 1 + max(tokenizer.get_vocab().values()))
    padding, expected = tokenizer.pad_token_id, config.pad_token_id
    if tokens > config.vocab_size or padding != expected:
        raise StudyError(
            f"{source}: the tokenizer has {tokens} tokens, the model {config.vocab_size} embeddings"
            f"; their padding tokens have the ids {padding} and {expected}: take the model's own "
            "tokenizer"
        )


def _index(source, revision) -> set:
    """Files that hold the weights, as the index names them; none where there is no index."""
    index = cached_file(
        source,
        "model.safetensors.index.json",
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if not index:
        return set()
    return set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values())


def _attempt(source, call):
    """The result of the call; every error becomes a StudyError of one sentence."""
    try:
        return call()
    except Exception as error:  # the libraries raise many kinds for missing and broken files
        if isinstance(source, str) and isinstance(error, OSError) and not Path(source).exists():
            raise StudyError(hub.reason(f"the model {source}", str(source), error)) from error
        message = (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
        raise StudyError(
            f"{source}: cannot be read as a model ({message}); give a folder or a hub id that "
            "holds a whole one"
        ) from error
