"""Safe reading of a model's files: no code, no kernel and no pickle from a model is ever run.

The libraries would ask at the keyboard whether to run code, or would trust the file. The checks
here come before the libraries open anything, and read JSON only.
"""

import contextlib
import json
import re
from pathlib import Path

from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import cached_file, logging

from lib.data import hub
from lib.errors import StudyError
from lib.model import merges
from lib.model.families import family


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


def place(source: str | Path, revision: str | None = None) -> dict:
    """The options that say where a model's files are: its revision, and the subfolder of the
    encoder in a folder of sentence-transformers.

    Raises StudyError if a JSON file of the model asks for code, a kernel or other weights.
    """
    where = {"revision": revision}
    modules = _json(source, "modules.json", where)
    if modules:
        inside = _attempt(source, lambda: modules[0]["path"])
        if not isinstance(inside, str) or not re.fullmatch(r"[\w-]*", inside):
            raise StudyError(f"{source}: modules.json names the folder {inside!r}; correct it")
        where |= {"subfolder": inside}
    config = _attempt(source, lambda: {**PreTrainedConfig.get_config_dict(source, **where)[0]})
    of_tokenizer = _attempt(source, lambda: {**get_tokenizer_config(source, **where)})
    for name, content in {"config.json": config, "tokenizer_config.json": of_tokenizer}.items():
        if "auto_map" in content:
            raise StudyError(
                f"{source}: {name} asks for code of its own (auto_map), which is never run; choose "
                "a model that plain transformers loads"
            )
    for key, value in config.items():
        if key == "transformers_weights" or ("attn_implementation" in key and "/" in str(value)):
            raise StudyError(
                f"{source}: config.json asks for {key} {value!r}, which is not followed; take the "
                "line out"
            )
    return where


def check_weights(source: str | Path, where: dict) -> None:
    """StudyError if the model is an adapter or has weights in anything but safetensors.

    Of a folder, all files of the weights must be there, with whole headers.
    """
    folder = Path(source) / where.get("subfolder", "")
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
    index = _json(source, "model.safetensors.index.json", where) or {"weight_map": {}}
    parts = _attempt(source, lambda: set(index["weight_map"].values()))
    for part in sorted(map(str, parts)):
        absent = folder.is_dir() and not (folder / part).is_file()
        if absent or not re.fullmatch(r"[\w.-]+\.safetensors", part):
            raise StudyError(
                f"{source}: model.safetensors.index.json names {part!r}, which is no safetensors "
                "file beside it; fetch or make the model again"
            )
    if folder.is_dir():
        whole = folder / "model.safetensors"
        if not parts and not whole.is_file():
            has = ", ".join(sorted(file.name for file in folder.iterdir())) or "nothing"
            raise StudyError(
                f"{source}: has no model.safetensors; it holds {has}: fetch or make the model again"
            )
        for file in [folder / part for part in parts] or [whole]:
            _attempt(file, lambda file=file: safe_open(file, "pt").keys())


def described(source: str | Path, where: dict, tokenizer_source=None, tokenizer_revision=None):
    """(configuration, tokenizer) of a model, or with the tokenizer of another source; the weights
    are not read.

    Raises StudyError for weights that cannot be taken, for another architecture, and for a
    tokenizer that does not fit.
    """
    check_weights(source, where)
    config = read(AutoConfig, source, **where)
    offset = family(config).position_offset
    of_tokenizer = place(tokenizer_source, tokenizer_revision) if tokenizer_source else where
    result = tokenizer(tokenizer_source or source, of_tokenizer)
    if config.pad_token_id is None or not offset:
        config.pad_token_id = result.pad_token_id  # nothing hangs on the published id
    check_tokenizer(result, config, tokenizer_source or source)
    return config, result


def tokenizer(source: str | Path, where: dict):
    """The tokenizer of a model as its tokenizer.json says.

    Where no class is named, the library makes a WordPiece tokenizer for every model of the BERT
    type, even of Unigram tokens. And the class of XLM-R drops most normalizers and the byte tokens,
    as that of RoBERTa drops all settings of its BPE.
    """
    result, content = read(AutoTokenizer, source, **where), _json(source, "tokenizer.json", where)
    backend = getattr(result, "backend_tokenizer", None)
    if content and backend and not _as_written(backend, content):
        return read(PreTrainedTokenizerFast, source, **where)
    return result


def check_tokenizer(tokenizer, config, source: str | Path = "the tokenizer") -> None:
    """StudyError for a tokenizer that changes letters, is incomplete, or does not fit the model."""
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise StudyError(
            f"{source}: the tokenizer ({type(tokenizer).__name__}) is not one of the library "
            "`tokenizers`; choose a model with a tokenizer.json"
        )
    if getattr(tokenizer.backend_tokenizer.model, "dropout", None):
        raise StudyError(
            f"{source}: the tokenizer cuts the same text in several ways, by chance; set `dropout` "
            "to null in its tokenizer.json"
        )
    _check_unknown(tokenizer, source)
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is not None and "Ġġ" not in normalizer.normalize_str("Ġġ"):
        words = tokenizer.get_vocab().keys() - {*tokenizer.all_special_tokens}
        cased = any(word != word.lower() for word in words)
        raise StudyError(
            f"{source}: the tokenizer lower-cases or strips accents"
            + ("; set do_lower_case to false in its configuration" if cased else "")
            + ("" if cased else ", and its vocabulary has no capitals: choose a cased model")
        )
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise StudyError(
            f"{source}: the tokenizer has no tokens beside the special ones; its files are not "
            "there: fetch or make the model again"
        )
    tokens = 1 + max(tokenizer.get_vocab().values())
    padding, expected = tokenizer.pad_token_id, config.pad_token_id
    if tokens > config.vocab_size or padding != expected:
        raise StudyError(
            f"{source}: the tokenizer has {tokens} tokens, the model {config.vocab_size} embeddings"
            f"; their padding tokens have the ids {padding} and {expected}: take the model's own "
            "tokenizer"
        )


def _check_unknown(tokenizer, source) -> None:
    """StudyError if a special token is absent, or if text without a token would vanish.

    A tokenizer that spells everything else in bytes has no unknown text and needs no unk_token.
    """
    backend = tokenizer.backend_tokenizer
    spelt = merges.byte_tokens(backend)
    spells_all = bool(spelt) and spelt <= tokenizer.get_vocab().keys()
    for name in ("unk_token", "pad_token", "mask_token", "cls_token", "sep_token"):
        if getattr(tokenizer, name) is None and not (name == "unk_token" and spells_all):
            raise StudyError(f"{source}: the tokenizer has no {name}; masked training needs one")
    if not spells_all and getattr(backend.model, "unk_token", "") is None:
        raise StudyError(
            f"{source}: the tokenizer drops characters that it has no token for; name an unk_token "
            "for its model in tokenizer.json, or choose another"
        )


def _as_written(backend, content: dict) -> bool:
    """Whether a tokenizer has the model and the normalizer of its tokenizer.json; of BPE, also the
    pre-tokenizer and all settings.
    """
    model = content["model"]
    if type(backend.model).__name__ != model.get("type"):
        return False
    if model["type"] != "BPE":
        lost = content.get("normalizer") and backend.normalizer is None
        return not (lost or model.get("byte_fallback", False))
    small = {"model": model | {"vocab": {}, "merges": []}, "added_tokens": []}
    written = Tokenizer.from_str(json.dumps(content | small | {"post_processor": None}))
    return _settings(backend) == _settings(written)


def _settings(backend) -> list:
    """What decides how a BPE tokenizer cuts a text, beside its tokens and merges."""
    steps = [step and step.__getstate__() for step in (backend.normalizer, backend.pre_tokenizer)]
    names = ("unk_token", "fuse_unk", "byte_fallback", "ignore_merges", "dropout")
    marks = ("continuing_subword_prefix", "end_of_word_suffix")
    return [*steps, *(getattr(backend.model, name) or None for name in names + marks)]


def _json(source, name: str, where: dict):
    """The content of a JSON file of the model; None if it has no such file."""
    kinds = ("missing_entries", "connection_errors", "gated_repo")
    lenient = {f"_raise_exceptions_for_{kind}": False for kind in kinds}
    file = _attempt(source, lambda: cached_file(source, name, **where, **lenient))
    return file and _attempt(source, lambda: json.loads(Path(file).read_text(encoding="utf-8")))


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
