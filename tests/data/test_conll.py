"""Files with a word a line: what the formats of other projects are read as, and what is refused."""

import pytest

from lib.data import conll
from lib.errors import StudyError

READ = {  # content -> sentences as `word/tag ...`, and what the printed line says (None: no line)
    "BIO": ("a B-X\nb I-X\nc B-X\nd O\n", ["a/B-X b/I-X c/B-X d/O"], None),
    "spaces between": ("a    B-X\nbbb  O\n", ["a/B-X bbb/O"], None),
    "a space in a word": ("10 000\tB-X\na\tO\n", ["10 000/B-X a/O"], None),
    "the word #": ("# O\n#a B-X\n#\tO\n", ["#/O #a/B-X #/O"], None),
    "IOB1": (
        "a I-X\nb I-X\nc B-X\nd I-Y\ne O\n\nf I-Y\n",
        ["a/B-X b/I-X c/B-X d/B-Y e/O", "f/B-Y"],
        "turns IOB1 tags into BIO",
    ),
    "BIOES": (
        "a S-X\nb B-X\nc I-X\nd E-X\ne O\nf B-Y\ng E-Y\n",
        ["a/B-X b/B-X c/I-X d/I-X e/O f/B-Y g/I-Y"],
        "turns BIOES or BILOU tags into BIO",
    ),
    "BILOU": (
        "a U-X\nb B-X\nc I-X\nd L-X\n\ne U-Y\n",
        ["a/B-X b/B-X c/I-X d/I-X", "e/B-Y"],
        "turns BIOES or BILOU tags into BIO",
    ),
    "CoNLL-2002": (
        "a NC B-X\nb SP O\n",
        ["a/B-X b/O"],
        "reads words from column 1 and tags from column 3",
    ),
    "CoNLL-2003": (  # chunks look like entities; German has a column more
        "-DOCSTART- -X- -X- O\n\na NNP I-NP I-X\nb VBZ I-VP O\n",
        ["a/B-X b/O"],
        "leaves out 1 comments and -DOCSTART- lines, reads words from column 1 and tags from "
        "column 4, turns IOB1 tags into BIO",
    ),
    "no entity, but chunks": (
        "a NNP B-NP O\nb VBZ B-VP O\n",
        ["a/O b/O"],
        "reads words from column 1 and tags from column 4",
    ),
    "MultiCoNER": (
        "# id 12 domain=xx\na _ _ B-X\nb _ _ I-X\n\n# id 13 domain=xx\nc _ _ O\n",
        ["a/B-X b/I-X", "c/O"],
        "leaves out 2 comments and -DOCSTART- lines, reads words from column 1 and tags from "
        "column 4",
    ),
    "Universal NER": (
        "# text = a b\n1\ta\tB-X\t-\t-\n2\tb\tO\t-\t-\n\n1\tc\tO\t-\t-\n",
        ["a/B-X b/O", "c/O"],
        "leaves out 1 comments and -DOCSTART- lines, reads words from column 2 and tags from "
        "column 3",
    ),
    "WikiANN": (
        "mt:a\tB-X\nmt::\tO\n\nmt:mt:b\tO\n",
        ["a/B-X :/O", "mt:b/O"],
        "takes 'mt:' from the words",
    ),
    "one word with a colon": ("mt:a B-X\nb O\n", ["mt:a/B-X b/O"], None),
    "comments with a tab": (
        "# a b\tO\na\tB-X\n",
        ["a/B-X"],
        "leaves out 1 comments and -DOCSTART- lines",
    ),
    "Windows": ("a B-X\r\n\r\nb O\r\n", ["a/B-X", "b/O"], None),
    "letters and their accents apart": ("z\u0307ebbug\u0307 B-X\n", ["żebbuġ/B-X"], None),
}


@pytest.mark.parametrize("case", READ)
def test_entities_are_read(tmp_path, capsys, case):
    content, expected, said = READ[case]
    (file := tmp_path / "a.txt").write_bytes(content.encode())
    sentences = conll.conll(file)
    assert [
        " ".join(map("/".join, zip(words, tags, strict=True))) for words, tags in sentences
    ] == expected
    assert capsys.readouterr().out == (f"{file}: {said}\n" if said else "")


TAGGED = {  # parts of speech
    "any tags in two columns": (
        "a NN\n# SYM\nb VB\n# NN\n",
        [("a", "NN"), ("b", "VB"), ("#", "NN")],
    ),
    "universal tags in the third": ("a la NOUN NN\nb le VERB VB\n", [("a", "NOUN"), ("b", "VERB")]),
    "counted words": ("1\ta\tNOUN\n2\t2\tNUM\n", [("a", "NOUN"), ("2", "NUM")]),
}


@pytest.mark.parametrize("case", TAGGED)
def test_parts_of_speech_are_read(tmp_path, case):
    content, expected = TAGGED[case]
    (file := tmp_path / "a.txt").write_text(content)
    assert conll.conll(file, bio=False) == [tuple(zip(*expected, strict=True))]


REFUSED = {  # content, with `bio` or not, the line that is blamed, words of the sentence
    "two columns of entities": ("a B-X O\nb O B-Y\n", True, 1, "column 2 does and column 3 does"),
    "no column of entities": ("a N B-X\nb N X\n", True, 2, "the last has 'X' here"),
    "types alone": ("a O\nb PER\n", True, 2, "'PER' is not an entity tag; tags are O, B-TYPE"),
    "BIO with a slip": (
        "a B-X\n\nb O\nc I-X\n",
        True,
        4,
        "I-X continues an entity, but the tag before it is O; begin the entity with B-X, as ",
    ),
    "IOB1 with a slip": ("a I-X\nb O\nc B-X\n", True, 1, "begin the entity with B-X, as "),
    "BIOES that does not end": ("a B-X\n\nb S-X\n", True, 1, "O cannot follow B-X; in BIOES"),
    "BIOES that ends nothing": ("a S-X\nb E-X\n", True, 2, "E-X cannot follow S-X"),
    "BIOES of two types": ("a B-X\nb E-Y\n", True, 2, "E-Y cannot follow B-X"),
    "a row too short": ("a N O\nb O\n", True, 2, "in 3 columns, as the file begins, with a tab"),
    "a row without a tag": ("a\tO\nb\t\n", True, 2, "got 'b '"),
    "two columns of tags": ("a X NOUN\nb X VERB\n", False, 1, "column 2 does and column 3 does"),
    "an empty node": ("1\ta\tNOUN\n1.1\tb\tVERB\n", False, 2, "'1.1' is no number of one word"),
    "a multiword token": ("1-2\tab\tO\n1\ta\tO\n", True, 1, "name a file of CoNLL-U .conllu"),
    "no universal tags": ("a b NOUN\nc d NN\n", False, 2, "the last has 'NN' here"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_open_is_refused(tmp_path, case):
    content, bio, line, said = REFUSED[case]
    (file := tmp_path / "a.txt").write_text(content)
    with pytest.raises(StudyError) as caught:
        conll.conll(file, bio)
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: ") and said in message and "\n" not in message


def test_entities_are_the_same_in_all_schemes(tmp_path):
    """One text, written in the four schemes by hand."""
    words = ["Anna", "Rio", "Rio", "de", "Janeiro", "and", "Oslo"]
    schemes = {
        "BIO": "B-P B-L B-L I-L I-L O B-L",
        "IOB1": "I-P I-L B-L I-L I-L O I-L",
        "BIOES": "S-P S-L B-L I-L E-L O S-L",
        "BILOU": "U-P U-L B-L I-L L-L O U-L",
    }
    found = set()
    for scheme, tags in schemes.items():
        pairs = zip(words, tags.split(), strict=True)
        (file := tmp_path / scheme).write_text("".join(f"{word} {tag}\n" for word, tag in pairs))
        found.add(tuple(conll.conll(file)))
    assert found == {((tuple(words), tuple(schemes["BIO"].split())),)}
