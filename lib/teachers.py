"""A teacher in another shape than it is read in: cut by this study's own cuts, or grown, before it is pre-trained further."""

from collections import Counter
from pathlib import Path

from transformers import BertConfig, BertTokenizer

from lib import growth, hidden, layers, models, pruning, training
from lib.errors import StudyError


def shaped(model, tokenizer, facts: dict, sentences: list[str], max_length: int, seed: int, data_root: Path | None = None):
    """(model, tokenizer) with the sizes and the vocabulary that an entry of params/models.yaml asks for beside where it is read from.

    A smaller `intermediate_size` or `hidden_size` is cut by importance and by the shared basis on a thousand of the sentences, fewer
    `num_hidden_layers` by stride; larger ones are grown. `vocabulary` is a WordPiece vocabulary below `data_root`, one piece a line.
    StudyError for sizes that cannot be cut or grown, and for a vocabulary that is not there.
    """
    if "vocabulary" in facts:
        new = read_vocabulary(facts["vocabulary"], data_root, tokenizer.model_max_length)
        model, tokenizer = growth.with_vocabulary(model, tokenizer, new, seed), new
    has = model.config
    wide, inside, deep = (facts.get(name, getattr(has, name)) for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    if wide < has.hidden_size or inside < has.intermediate_size:
        some = training.encode(sentences[:: max(1, len(sentences) // 1000)], tokenizer, max_length)
        some = training.masked_batches(some, tokenizer, 64, seed)
        if inside < has.intermediate_size:
            model = pruning.cut(model, pruning.most_important(pruning.importance(model, some, training.mlm_loss), inside))
        if wide < has.hidden_size:
            model = hidden.start(model, wide, "shared_basis", seed, some)
    has = model.config
    if wide > has.hidden_size or inside > has.intermediate_size:
        model = growth.wider(model, max(wide, has.hidden_size), max(inside, has.intermediate_size), seed)
    if deep < has.num_hidden_layers:
        model = layers.cut(model, deep, "stride")
    return (growth.deeper(model, deep) if deep > has.num_hidden_layers else model), tokenizer


def read_vocabulary(name: str, data_root: Path | None, max_length: int) -> BertTokenizer:
    """A cased WordPiece tokenizer of the pieces in a file below `data_root`, numbered by their lines from 0."""
    file = (data_root or Path()) / name
    if data_root is None or not file.is_file():
        raise StudyError(f"the vocabulary {file} is not there; set data_root in the study or the variable STUDY_DATA_ROOT to the folder "
                         "that holds it, or take `vocabulary` out of the teacher's entry in params/models.yaml")
    try:
        pieces = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise StudyError(f"{file}: not UTF-8 text ({error.reason} at byte {error.start}); a vocabulary has one piece a line") from error
    if twice := [piece for piece, often in Counter(pieces).items() if often > 1]:
        raise StudyError(f"{file}: the piece {twice[0]!r} stands on more than one line; the line is its number, so keep one")
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, do_lower_case=False, strip_accents=False,
                              model_max_length=max_length)
    models.check_tokenizer(tokenizer, BertConfig(vocab_size=len(pieces), pad_token_id=tokenizer.pad_token_id), file)
    return tokenizer
