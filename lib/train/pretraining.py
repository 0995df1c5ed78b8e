"""Masked-language-model training: a teacher from a configuration or a folder, and its adaptation to one language (paper, step 0)."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers import models as pieces
from transformers import AutoConfig, BertTokenizer, XLMRobertaTokenizer

from lib.errors import StudyError
from lib.facts import SIZES, check_choice, check_keys, check_value
from lib.measure import mlm
from lib.model import encoder
from lib.train import trainer


class MlmTrainer(trainer.MaskedTrainer):
    """Minimises the MLM loss."""

    def loss(self, model, batch):
        return {"loss": mlm.mlm_loss(model, batch)}


def train_tokenizer(sentences: list[str], model_type: str, vocab_size: int):
    """A cased tokenizer learned from the sentences: WordPiece for `bert`, Unigram for `xlm-roberta`; at most `vocab_size` pieces.

    The same sentences give the same pieces with the same ids, in every process; the trainers alone leave some of it to chance.
    """
    if model_type == "bert":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        raw = Tokenizer(pieces.WordPiece(unk_token="[UNK]"))
        raw.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
        raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        words = {
            word
            for each in sentences
            for word, _ in raw.pre_tokenizer.pre_tokenize_str(raw.normalizer.normalize_str(each))
        }
        inside = sorted(
            {f"##{c}" for word in words for c in word[1:]}
        )  # as special tokens they get their ids in this order
        raw.train_from_iterator(
            sentences,
            trainers.WordPieceTrainer(
                vocab_size=vocab_size, special_tokens=special + inside, show_progress=False
            ),
        )
        return BertTokenizer(
            vocab=raw.get_vocab(), do_lower_case=False, strip_accents=False, model_max_length=512
        )
    if model_type == "xlm-roberta":
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        raw = Tokenizer(pieces.Unigram())
        raw.normalizer = normalizers.NFKC()
        raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        raw.train_from_iterator(
            sentences,
            trainers.UnigramTrainer(
                vocab_size=vocab_size - 1,
                special_tokens=special,
                unk_token="<unk>",
                show_progress=False,
            ),
        )
        learned = json.loads(raw.to_str())["model"]["vocab"][len(special) :]
        return XLMRobertaTokenizer(
            vocab=[*((piece, 0.0) for piece in special), *_settled(learned), ("<mask>", 0.0)],
            model_max_length=512,
        )
    raise StudyError(
        f"no tokenizer is known for the model type {model_type!r}; there are {', '.join(encoder.FAMILIES)}"
    )


def _settled(learned: list) -> list[tuple[str, float]]:
    """Unigram pieces by falling score, rounded; single characters too rare to be learned, whose low scores are dealt out by chance,
    get the same scores in alphabetical order."""
    scores = {piece: round(score, 6) for piece, score in learned}
    single = sorted(piece for piece in scores if len(piece) == 1)
    limit = min(scores.values()) + 1e-4 * len(
        single
    )  # the trainer gives the lowest score, one more 1e-4, two more, ...
    rare = [piece for piece in single if scores[piece] <= limit]
    scores |= dict(zip(rare, sorted((scores[piece] for piece in rare), reverse=True), strict=True))
    return sorted(scores.items(), key=lambda each: (-each[1], each[0]))


def new_teacher(sentences: list[str], configuration: dict, seed: int):
    """(model, tokenizer): a freshly initialised teacher of the configuration, with a tokenizer learned from the sentences.

    Raises StudyError for a key the library would silently ignore, and for heads that do not divide the hidden size.
    """
    given, say = dict(configuration), "a teacher's configuration"
    check_choice(given.get("model_type"), encoder.FAMILIES, f"{say}: model_type")
    known = set(AutoConfig.for_model(given["model_type"]).to_dict())
    check_keys(given, known, known - {"vocab_size", "hidden_size", "num_attention_heads"}, say)
    for key in SIZES & set(given):
        check_value(given[key], int, f"{say}: {key}", zero=False)
    if given["hidden_size"] % given["num_attention_heads"]:
        raise StudyError(
            f"{say}: a hidden_size of {given['hidden_size']} is no multiple of {given['num_attention_heads']} heads; "
            "change one"
        )
    model_type, vocab_size = given.pop("model_type"), given.pop("vocab_size")
    tokenizer = train_tokenizer(sentences, model_type, vocab_size)
    try:
        config = AutoConfig.for_model(
            model_type,
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **given,
        )
        model = encoder.new(config, seed)
    except Exception as error:  # the library checks some values, and fails at others
        said = " ".join(str(error).split())
        raise StudyError(
            f"{say}: no model can be made of it ({said}); correct the entry in params/models.yaml"
        ) from error
    tokenizer.model_max_length = encoder.max_tokens(config)
    return model, tokenizer


def teacher(entry: dict, models_root: Path | None, sentences: list[str], seed: int):
    """(model, tokenizer) of an entry of params/models.yaml, before any further training.

    `sentences` are read only where the teacher is new. Raises StudyError where a local folder is not there.
    """
    if entry["make"] == "new":
        return new_teacher(sentences, entry["configuration"], seed)
    if entry["make"] == "hub":
        return encoder.load(entry["repository"], entry["revision"])
    if entry["make"] != "local":
        raise StudyError(
            f"no way called {entry['make']!r} to make a teacher; there are new, local, hub: correct `make` in "
            "params/models.yaml"
        )
    folder = (models_root or Path()) / entry["folder"]
    if models_root is None or not (folder / "config.json").exists():
        raise StudyError(
            f"the teacher's folder {folder} is not there; set models_root in the study or the variable STUDY_MODELS_ROOT "
            "to the folder that holds it, or choose a teacher with `make: new`"
        )
    return encoder.load(folder)


def published_adaptation(entry: dict, language: str):
    """(model, tokenizer): the authors' adapted teacher with the base model's tokenizer, as they use it."""
    adapted = entry.get("adapted", {})
    if language not in adapted:
        raise StudyError(
            f"no adapted teacher is published for {language!r}; there are {', '.join(adapted) or 'none'}: set "
            "`published: false` to adapt the teacher here"
        )
    own = adapted[language]
    try:
        return encoder.load(
            own["repository"], own["revision"], entry["repository"], entry["revision"]
        )
    except StudyError as error:
        raise StudyError(f"{error}; or set `published: false` to adapt the teacher here") from error


def train(
    model,
    tokenizer,
    train_sentences,
    dev_sentences,
    settings: dict,
    seed: int,
    folder: Path,
    name: str = "mlm",
) -> dict:
    """Train all weights of `model` in place on the MLM loss, keeping the best on dev.

    Returns {"history", "seconds"} as `training.fit`. Killed and called again with the same arguments, it goes on in `folder`.
    No steps leave the model as it is.
    """
    if not settings["steps"]:
        return {"history": [], "seconds": []}
    return trainer.fit(
        MlmTrainer(model, tokenizer, train_sentences, dev_sentences, settings, seed, folder, name)
    )
