"""Readers of files with one word a line: CoNLL of two or more columns, and CoNLL-U.

Entity tags come back as BIO. What a file leaves open is read only where there is one way to read
it, and a printed line says what was assumed. An error names file and line.
"""

import itertools
import re
from pathlib import Path

from lib.data import readers
from lib.errors import StudyError

_UPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
_ENTITY, _UNIVERSAL = re.compile(r"O|[BIESLU]-\S+"), re.compile(_UPOS.replace(" ", "|"))
_SPACES, _LANGUAGE = re.compile(" +"), re.compile(r"([a-z]{2,}(-[a-z]+)*:.)?")
_RANGE = re.compile(r"\d+[-.]\d+")  # the id of a multiword token or of an empty node
_CHUNKS = {"ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP"}
_TO_BIO = str.maketrans("ELSU", "IIBB")
Sentence = tuple[tuple[str, ...], tuple[str, ...]]  # words and tags
_Rows = list[list[tuple[str, list[str]]]]  # of each sentence, of each word: file:line and fields


def conll(file: Path, bio: bool = True) -> list[Sentence]:
    """Return words and tags of each sentence of a file with a word and its tag on a line.

    Tabs separate the columns, or spaces in a line without a tab. The first column is the word, or
    the second if the first holds only numbers. The tag is the second of two columns; of more, it is
    the one of entity tags, or without `bio` that of universal part-of-speech tags. A blank line
    ends a sentence. Comments (`# ...`), `-DOCSTART-` and a language before all words (`mt:word`)
    are left out. With `bio` the tags must be BIO, IOB1, BIOES or BILOU.
    Raises StudyError, with the line, for everything else.
    """
    said: list[str] = []
    rows = _words(file, bio, said)
    place, tag = _places(rows, bio, said)
    words = [[fields[place] for _, fields in row] for row in rows]
    found = {_LANGUAGE.match(word)[0][:-1] for row in words for word in row}
    if len(found) == 1 and (prefix := found.pop()):
        words = [[word.removeprefix(prefix) for word in row] for row in words]
        said.append(f"takes {prefix!r} from the words")
    tags = [[(where, fields[tag]) for where, fields in row] for row in rows]
    tags = _as_bio(tags, said) if bio else [[tag for _, tag in row] for row in tags]
    if said:
        print(f"{file}: {', '.join(said)}", flush=True)
    return [(tuple(row), tuple(own)) for row, own in zip(words, tags, strict=True)]


def entities(file: Path) -> bool:
    """Return whether a line of the file ends with a tag of an entity, such as B-LOC."""
    return re.search(r"[\t ][BIESLU]-\S+[ \r]*$", readers.text(file), re.MULTILINE) is not None


def conllu(file: Path) -> list[Sentence]:
    """Return forms and universal part-of-speech tags of each sentence of a CoNLL-U file.

    Multiword tokens (`3-4`) and empty nodes (`3.1`) are left out, as in the authors' scripts.
    Raises StudyError for another number of columns, ids that do not count 1, 2, 3, an empty form
    or an unknown tag.
    """
    sentences = []
    for block in _blocks(file):
        words, tags = [], []
        for where, line in block:
            fields = line.split("\t")
            if line.startswith("#"):
                continue
            if len(fields) != 10:
                raise StudyError(f"{where}: {len(fields)} tab-separated columns, CoNLL-U has 10")
            number, form, tag = fields[0], fields[1], fields[3]
            if _RANGE.fullmatch(number):
                continue
            if number != str(len(tags) + 1):
                raise StudyError(
                    f"{where}: the id is {number!r}, expected {len(tags) + 1}; ids count 1, 2, 3 "
                    "in a sentence, and a blank line ends it"
                )
            if not form.strip():
                raise StudyError(f"{where}: the FORM column is empty")
            if not _UNIVERSAL.fullmatch(tag):
                raise StudyError(
                    f"{where}: {tag!r} is not a universal part-of-speech tag; the tags are {_UPOS}"
                )
            words.append(form)
            tags.append(tag)
        if words:
            sentences.append((tuple(words), tuple(tags)))
    return sentences


def _blocks(file: Path) -> list[list[tuple[str, str]]]:
    """The lines between blank lines, each as (file:line, line)."""
    blocks: list[list] = [[]]
    for number, line in enumerate(readers.text(file).split("\n"), start=1):
        line = line.removesuffix("\r")
        if line.strip(" \t"):
            blocks[-1].append((f"{file}:{number}", line))
        elif blocks[-1]:
            blocks.append([])
    return blocks


def _words(file: Path, bio: bool, said: list[str]) -> _Rows:
    """The lines of words, all with as many columns as the first of them."""
    rows = [[(where, _columns(line)) for where, line in block] for block in _blocks(file)]
    others = ("#", "-DOCSTART-")
    known = [fields for row in rows for _, fields in row if fields[0].split(" ")[0] not in others]
    width, tags = max(2, len(known[0])) if known else 2, {fields[-1] for fields in known}

    def is_word(fields):
        if fields[0] != "#":
            return fields[0].split(" ")[0] not in others
        has_tag = fields[-1] in tags or (bio and _ENTITY.fullmatch(fields[-1]))
        return len(fields) == width and has_tag

    kept = [[word for word in row if is_word(word[1])] for row in rows]
    for where, fields in (word for row in kept for word in row):
        if len(fields) != width or not all(fields):
            raise StudyError(
                f"{where}: expected a word and its tag in {width} columns, as the file begins, "
                f"with a tab or spaces between; got {' '.join(fields)!r}"
            )
    if left_out := sum(map(len, rows)) - sum(map(len, kept)):
        said.append(f"leaves out {left_out} comments and -DOCSTART- lines")
    return [row for row in kept if row]


def _columns(line: str) -> list[str]:
    if "\t" in line:
        return [field.strip(" ") for field in line.split("\t")]
    return _SPACES.split(line.rstrip(" "))


def _places(rows: _Rows, bio: bool, said: list[str]) -> tuple[int, int]:
    """The places of the word and of its tag among the columns of all rows."""
    width = len(rows[0][0][1]) if rows else 2
    if width == 2:
        return 0, 1
    columns = list(zip(*(fields for row in rows for _, fields in row), strict=True))
    counted = all(re.fullmatch(r"\d+([-.]\d+)?", word) for word in columns[0])
    kind, form = ("entity", _ENTITY) if bio else ("universal part-of-speech", _UNIVERSAL)
    for where, fields in (word for row in rows for word in row if counted):
        if not fields[0].isdecimal():
            raise StudyError(
                f"{where}: {fields[0]!r} is no number of one word; delete the line, or name a file "
                "of CoNLL-U .conllu"
            )
    found = [at for at in range(1 + counted, width) if all(map(form.fullmatch, columns[at]))]
    types = {at: {tag[2:] for tag in columns[at] if tag != "O"} for at in found}
    if len(found) > 1:  # the chunks of CoNLL-2003 look like entities
        found = [at for at in found if not types[at] or not types[at] <= _CHUNKS]
    if len(found) != 1:
        wrong = ((where, f[-1]) for row in rows for where, f in row if not form.fullmatch(f[-1]))
        where, last = next(wrong, (rows[0][0][0], columns[-1][0]))
        which = " and ".join(f"column {at + 1} does" for at in found)
        raise StudyError(
            f"{where}: of {width} columns, just one must hold {kind} tags in every line; "
            f"{which or f'the last has {last!r} here'}: keep the word and the tag"
        )
    said.append(f"reads words from column {1 + counted} and tags from column {found[0] + 1}")
    return int(counted), found[0]


def _as_bio(tags: list[list[tuple[str, str]]], said: list[str]) -> list[list[str]]:
    """The tags of each sentence as BIO; a scheme holds for a whole file."""
    letters = set()
    for where, tag in (each for row in tags for each in row):
        if not _ENTITY.fullmatch(tag):
            raise StudyError(
                f"{where}: {tag!r} is not an entity tag; tags are O, B-TYPE and I-TYPE (IOB1, "
                "BIOES and BILOU are read too)"
            )
        letters.add(tag[0])
    if letters & set("ESLU"):
        said.append("turns BIOES or BILOU tags into BIO")
        return [_opened(row) for row in tags]
    begins = [
        (where, tag, former)
        for row in tags
        for (_, former), (where, tag) in itertools.pairwise([("", "O"), *row])
        if tag != "O" and former[2:] != tag[2:]
    ]
    orphans = [each for each in begins if each[1][0] == "I"]
    if orphans and len(orphans) < len(begins):
        where, tag, former = orphans[0]
        other = next(each[0] for each in begins if each[1][0] == "B")
        raise StudyError(
            f"{where}: {tag} continues an entity, but the tag before it is {former}; begin the "
            f"entity with B-{tag[2:]}, as {other} does"
        )
    if orphans:
        said.append("turns IOB1 tags into BIO")
    first = {where for where, _, _ in orphans}
    return [[f"B{tag[1:]}" if where in first else tag for where, tag in row] for row in tags]


def _opened(row: list[tuple[str, str]]) -> list[str]:
    """BIO tags of a sentence in BIOES or BILOU, where E- or L- ends an entity, S- or U- is one."""
    inside, former = None, "O"  # inside: the type of the entity that has begun and not ended
    for where, tag in [*row, (row[-1][0], "O")]:
        if (tag[2:] if tag[0] in "IEL" else None) != inside:
            raise StudyError(
                f"{where}: {tag} cannot follow {former}; in BIOES (BILOU) an entity is S-TYPE "
                "(U-TYPE), or begins with B-TYPE and ends with E-TYPE (L-TYPE)"
            )
        inside, former = tag[2:] if tag[0] in "BI" else None, tag
    return [tag[0].translate(_TO_BIO) + tag[1:] for _, tag in row]
