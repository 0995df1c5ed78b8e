"""Tokenizers that are learned from text, the same in every process."""

import json

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers import models as algorithms
from transformers import BertTokenizer, RobertaTokenizer, XLMRobertaTokenizer

from lib import checks
from lib.errors import StudyError
from lib.model.families import FAMILIES

MAX_LENGTH = 512  # tokens


def train_tokenizer(sentences: list[str], model_type: str, vocab_size: int):
    """A cased tokenizer of at most `vocab_size` tokens: WordPiece, Unigram or byte-level BPE, as
    lib.model.families says for the model type.

    The same sentences give the same tokens with the same ids, in every process; the trainers of the
    library leave some of it to chance. Raises StudyError for another model type, and for fewer
    tokens than bytes in byte-level BPE.
    """
    checks.check_choice(model_type, FAMILIES, "a tokenizer's model type")
    kinds = {"wordpiece": _wordpiece, "unigram": _unigram, "byte-level BPE": _byte_level}
    return kinds[FAMILIES[model_type].tokens](sentences, vocab_size)


def _wordpiece(sentences: list[str], vocab_size: int) -> BertTokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    raw = Tokenizer(algorithms.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = {
        word
        for sentence in sentences
        for word, _ in raw.pre_tokenizer.pre_tokenize_str(raw.normalizer.normalize_str(sentence))
    }
    # as special tokens, the characters inside words get their ids in this order
    inside = sorted({f"##{character}" for word in words for character in word[1:]})
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=special + inside, show_progress=False
    )
    raw.train_from_iterator(sentences, trainer)
    return BertTokenizer(
        vocab=raw.get_vocab(), do_lower_case=False, strip_accents=False, model_max_length=MAX_LENGTH
    )


def _unigram(sentences: list[str], vocab_size: int) -> XLMRobertaTokenizer:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    raw = Tokenizer(algorithms.Unigram())
    raw.normalizer = normalizers.NFKC()
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size - 1, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    raw.train_from_iterator(sentences, trainer)
    learned = json.loads(raw.to_str())["model"]["vocab"][len(special) :]
    vocabulary = [*((token, 0.0) for token in special), *_settled(learned), ("<mask>", 0.0)]
    return XLMRobertaTokenizer(vocab=vocabulary, model_max_length=MAX_LENGTH)


def _byte_level(sentences: list[str], vocab_size: int) -> RobertaTokenizer:
    special, alphabet = ["<s>", "<pad>", "</s>", "<unk>"], pre_tokenizers.ByteLevel.alphabet()
    least = len(special) + len(alphabet) + 1
    if vocab_size < least:
        raise StudyError(
            f"a vocab_size of {vocab_size} was asked for; byte-level BPE needs {least} tokens for "
            "all bytes and its special tokens: take as many or more"
        )
    raw = Tokenizer(algorithms.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    raw.train_from_iterator(sentences, trainer)
    merges = [tuple(pair) for pair in json.loads(raw.to_str())["model"]["merges"]]
    vocabulary = raw.get_vocab() | {"<mask>": raw.get_vocab_size()}
    return RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_LENGTH)


def _settled(learned: list) -> list[tuple[str, float]]:
    """Unigram tokens by falling score, rounded.

    The trainer gives single characters that are too rare to be learned the lowest score, one 1e-4
    above it, one 2e-4 above it, and so on, by chance. They get these scores in alphabetical order.
    """
    scores = {token: round(score, 6) for token, score in learned}
    single = sorted(token for token in scores if len(token) == 1)
    limit = min(scores.values()) + 1e-4 * len(single)
    rare = [token for token in single if scores[token] <= limit]
    scores |= dict(zip(rare, sorted((scores[token] for token in rare), reverse=True), strict=True))
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
