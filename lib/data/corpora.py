"""Text of a language for masked-language-model training and its measures (steps 0 to 4 and 6).

The sources `sample` and `local` read a folder of plain text. The source `hub` is the paper's:
GlotCC documents to train on, FLORES-200 dev to choose checkpoints, devtest to measure.
"""

import os
import random
import tarfile
from collections import Counter
from functools import lru_cache
from pathlib import Path

from lib import checks, facts
from lib.data import hub, local, readers
from lib.data.local import PARTS
from lib.data.words import word_ids
from lib.errors import StudyError
from lib.facts import Source

_SEED = 20250516  # of the shuffle of one file; fixed, so that dev and test never move into train
_HELD_OUT = 1000  # lines for dev and as many for test, or a twentieth of a small file each
MOST_UNKNOWN = 0.2  # share of unknown tokens; above it neither losses nor scores mean anything
_READ = 2000  # sentences by which `reading` judges
_LEAST = 200  # different lines of one file: then dev and test have ten each


def load(language: str, source: Source, part: str, limit: int = 0) -> list[str]:
    """Return the sentences of one part, or its first `limit` ones if that is above 0.

    `train` of the hub has documents instead, which may contain line feeds; without a limit, as
    many as the paper used. The order is fixed, so a smaller limit is a subset of a larger one.
    One local file for all parts is shuffled, and its parts are disjoint.
    Raises StudyError for an unknown part, source or language, and for files that cannot be read.
    """
    checks.check_choice(part, PARTS, "part")
    checks.check_choice(source.kind, facts.SOURCES, "source")
    if limit < 0:
        raise StudyError(f"a limit of {limit} sentences; give 0 for all, or a number above")
    if source.kind == "hub" and part == "train":
        paper = facts.fact("languages", language).get("glotcc_documents", 0)
        return _table("glotcc", config(language, "glotcc"), part, limit or paper)
    if source.kind == "hub":
        return _flores(language, part)[0][: limit or None]
    paths = local.corpus(language, source.folder)
    if part in paths:
        return readers.lines(paths[part])[: limit or None]
    return _parts(paths["text"], paths["text"].stat().st_mtime_ns)[part][: limit or None]


def describe(language: str, source: Source) -> dict:
    """Return the origin of the text for the record: kind, checksum or commit, licence, address."""
    checks.check_choice(source.kind, facts.SOURCES, "source")
    if source.kind != "hub":
        prints = {
            part: local.fingerprint(source.folder, file)
            for part, file in local.corpus(language, source.folder).items()
        }
        return {"kind": source.kind} | prints.get("text", prints)
    train = _origin("glotcc", config(language, "glotcc"))
    held_out = {part: _flores(language, part)[1] for part in ("dev", "test")}
    return {"kind": "hub", "train": train, **held_out}


def reading(sentences: list[str], tokenizer, max_length: int) -> dict[str, float]:
    """Return two shares, 0 to 1: what a model with this tokenizer does not see of a text.

    `unknown_tokens` are tokens without an entry of their own. `words_cut_off` are words of which
    `max_length` tokens, special ones included, leave nothing. About 2,000 sentences at
    equal distances are read. Raises StudyError if more than MOST_UNKNOWN is unknown, unless the
    environment has STUDY_ALLOW_UNKNOWN=1.
    """
    sample = sentences[:: max(1, len(sentences) // _READ)]
    batch = tokenizer(sample, add_special_tokens=False, verbose=False)
    unknown = _unknown(batch, tokenizer)
    if unknown > MOST_UNKNOWN and os.environ.get("STUDY_ALLOW_UNKNOWN") != "1":
        from tokenizers.normalizers import BertNormalizer  # as uncased teachers have it

        plain = [*map(BertNormalizer().normalize_str, sample)]
        plain = tokenizer(plain, add_special_tokens=False, verbose=False)
        cased = _unknown(plain, tokenizer) < unknown / 2
        lacks = "capitals and accents (it is uncased)" if cased else "letters or words of the text"
        raise StudyError(
            f"{unknown:.1%} of the tokens are unknown: the teacher's vocabulary has not the {lacks}"
            "; take another teacher, or set STUDY_ALLOW_UNKNOWN=1 to train all the same"
        )
    rows = word_ids(sample, batch.encodings, tokenizer)
    kept = max_length - tokenizer.num_special_tokens_to_add()
    seen, all_words = (sum(len({*row[:end]}) for row in rows) for end in (kept, None))
    return {"unknown_tokens": unknown, "words_cut_off": 1 - seen / max(all_words, 1)}


def _unknown(batch, tokenizer) -> float:
    """The share of unknown tokens and of bytes in their place, in encoded sentences.

    Ids are counted: as text, Unigram shows an unknown token as it stood.
    """
    ids = Counter(token for row in batch["input_ids"] for token in row)
    vocabulary = tokenizer.get_vocab()
    lost = {tokenizer.unk_token_id, *(vocabulary.get(f"<0x{byte:02X}>") for byte in range(256))}
    return sum(ids[token] for token in lost) / max(ids.total(), 1)


@lru_cache(maxsize=1)
def _parts(file: Path, _changed: int) -> dict[str, list[str]]:
    return split(readers.lines(file), str(file))


def split(lines: list[str], where: str) -> dict[str, list[str]]:
    """Return the parts of a text: repeated lines dropped, shuffled, test and dev cut from the
    front.

    Raises StudyError, which names `where`, for too few lines.
    """
    lines = list(dict.fromkeys(lines))
    random.Random(_SEED).shuffle(lines)
    if len(lines) < _LEAST:
        raise StudyError(
            f"{where}: {len(lines)} different lines of text; at least {_LEAST} are needed, since "
            "dev and test take a twentieth each: add text"
        )
    held = min(_HELD_OUT, len(lines) // 20)
    return {"test": lines[:held], "dev": lines[held : 2 * held], "train": lines[2 * held :]}


def _flores(language: str, part: str) -> tuple[list[str], dict]:
    """Sentences and their origin: the official archive, or FLORES+ where that is unavailable."""
    code, archive = config(language, "flores"), facts.fact("corpora", "flores")
    split = {"dev": "dev", "test": "devtest"}[part]
    try:
        file = hub.download(archive["url"], archive["sha256"])
        origin = {"origin": archive["url"]} | {key: archive[key] for key in ("sha256", "licence")}
        return _member(file, f"{archive['folder']}/{split}/{code}.{split}"), origin
    except hub.Unavailable as error:
        passed_over = str(error)
    try:
        origin = _origin("flores_plus", code) | {"passed_over": [passed_over]}
        return _table("flores_plus", code, split), origin
    except hub.Unavailable as error:
        raise StudyError(
            f"FLORES-200 is not available: {passed_over}; nor is FLORES+ in its place: {error}"
        ) from error


def _table(name: str, config: str, split: str, limit: int = 0) -> list[str]:
    """The texts of a data set of the hub; `name` is its entry in params/corpora.yaml."""
    entry = facts.fact("corpora", name)
    columns = [entry["column"]]
    rows = hub.rows(entry["data_set"], config, split, entry["revision"], columns, limit)
    return [readers.nfc(text) for (text,) in rows]


def _origin(name: str, config: str) -> dict:
    entry = facts.fact("corpora", name)
    stated = {key: entry[key] for key in ("data_set", "licence", "origin")}
    revision = hub.commit(entry["data_set"], config, entry["revision"])
    return stated | {"config": config, "revision": revision}


def _member(archive: Path, name: str) -> list[str]:
    """The lines of one text file of a tar archive."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.removeprefix("./") == name:
                content = tar.extractfile(member).read().decode("utf-8")
                return readers.nfc(content).rstrip("\n").split("\n")
    raise StudyError(
        f"{archive} has no file {name}; correct the language's `flores` code in "
        "params/languages.yaml"
    )


def config(language: str, key: str) -> str:
    """Return the name that a published data set has for a language; StudyError if there is none."""
    name = facts.fact("languages", language).get(key)
    if not name:
        raise StudyError(
            f"params/languages.yaml has no `{key}` for {language!r}; add the data set's name for "
            "the language, or use the local source"
        )
    return name
