"""What users give to the notebooks `compress` and `label` that cannot be taken.

The cells up to the first computation run here, without a kernel. Each fault ends in one clear
sentence, and nothing is written.
"""

import gzip
import math
import shutil

import nbformat
import pytest
import toys
from changes import both, file, folder, moved, part, values

from lib import files
from lib.errors import StudyError

LAST = {"compress": "work = stages.Work", "label": "work = stages.Work"}  # the cell that begins
TEXT = "".join(f"{toys.sentences()[n % 60]} {n}\n" for n in range(300))
ROWS = "text\tlabel\n" + "".join(f"{toys.sentences()[n]}\t{'ab'[n % 2]}\n" for n in range(40))
WORDS = "".join(f"Ana B-PER\nate{n} O\n\n" for n in range(40))


def executed(name: str, given: dict) -> None:
    """Execute the cells of a notebook, with parameters, up to the one that begins to write."""
    notebook = nbformat.read(files.ROOT / "notebooks" / f"{name}.ipynb", 4)
    names: dict = {"In": []}
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        sources = [cell.source]
        if "parameters" in cell.metadata.get("tags", []):
            lines = "\n".join(f"{key} = {value}" for key, value in given.items())
            sources.append(f"# Parameters\n{lines}\n")
        for source in sources:
            names["In"].append(source)
            exec(source, names)
        if LAST[name] in cell.source:
            return
    raise AssertionError("the notebook never begins")


@pytest.fixture
def given(saved, tmp_path, data):
    """A folder with an encoder, a text and labels, which must not grow."""
    place = tmp_path / "given"
    shutil.copytree(saved / "bert", place / "encoder")
    for name, content in {"my.txt": TEXT, "labels.tsv": ROWS, "words.txt": WORDS}.items():
        (place / name).write_text(content, encoding="utf-8")
    return place


def at(name: str):
    """The source of a path in the folder of what is given."""
    return f"PLACE + '/{name}'"


COMPRESS = {  # a change of what is given, parameters as source -> a part of the sentence
    "no text": (both(), {"text": "''"}, "text: '' is no path; give a file of sentences"),
    "a number for a text": (both(), {"text": "5"}, "text: 5 is no path"),
    "a list of nothing": (both(), {"text": "[]"}, "text: [] is no path"),
    "no language": (both(), {"text": "{}"}, "text: no language is named"),
    "a language without quotes": (
        both(),
        {"text": "{False: PLACE + '/my.txt'}"},
        "False is not text (YAML reads a bare no, yes, on and off as a truth value)",
    ),
    "a folder of texts": (both(), {"text": "PLACE"}, "cannot be read (Is a directory)"),
    "a file that is not there": (
        both(),
        {"text": at("yours.txt")},
        "yours.txt: cannot be read (",
    ),
    "a text in Latin-1": (
        file("my.txt", TEXT.encode() + b"caf\xe9\n"),
        {},
        "my.txt:301: not UTF-8 text (byte 0xe9); save the file as UTF-8",
    ),
    "a document": (
        file("my.txt", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" * 99),
        {},
        "my.txt:2: not UTF-8 text",
    ),
    "a truncated archive": (
        file("my.gz", gzip.compress(TEXT.encode())[:-9]),
        {"text": at("my.gz")},
        "my.gz: cannot be read (Compressed file ended",
    ),
    "too little text": (
        file("my.txt", TEXT[:200]),
        {},
        "different lines of text; at least 200 are needed",
    ),
    "one text for two languages": (
        both(),
        {"text": "{'slk': PLACE + '/my.txt', 'ces': PLACE + '/my.txt'}"},
        "my.txt, less the lines of the languages before: 0 different lines of text; at least 200",
    ),
    "letters that the teacher lacks": (
        file("my.txt", "".join(f"ሰላም ለዓለም ሁሉ {n}\n" for n in range(400))),
        {},
        "of the tokens are unknown: the teacher's vocabulary has not the letters",
    ),
    "a teacher by a name that nobody has": (
        both(),
        {"teacher": "'my-bert'"},
        "no teacher 'my-bert'; give a folder, an id of the hub (owner/name), or one of",
    ),
    "a teacher that is still to be made": (
        both(),
        {"teacher": "'toy-bert'"},
        "no teacher 'toy-bert'; give a folder",
    ),
    "a file for a teacher": (both(), {"teacher": at("my.txt")}, "no teacher '"),
    "a folder that is no model": (
        folder("empty"),
        {"teacher": at("empty")},
        "empty: has no model.safetensors; it holds nothing: fetch or make the model again",
    ),
    "a teacher without weights": (
        file("encoder/model.safetensors"),
        {},
        "encoder: has no model.safetensors; it holds README.md, config.json",
    ),
    "half of a teacher": (
        part("encoder/model.safetensors", lambda content: content[:-100]),
        {},
        "header: incomplete metadata, file not fully covered",
    ),
    "more layers than there are": (
        both(),
        {"num_hidden_layers": "5"},
        "num_hidden_layers: 5 was asked for; the teacher has 4: take 1 to that, or 0 for the rule",
    ),
    "fewer layers than none": (
        both(),
        {"num_hidden_layers": "-1"},
        "num_hidden_layers: -1 was asked for; the teacher has 4",
    ),
    "a wider network": (
        both(),
        {"intermediate_size": "21"},
        "intermediate_size: 21 was asked for; the teacher has 20",
    ),
    "a hidden size that does not divide": (
        both(),
        {"hidden_size": "18"},
        "a hidden size of 18 was asked for; 4 heads stay, so it must be a multiple of 4 up to 24",
    ),
    "tokens below zero": (both(), {"kept_tokens": "-5"}, "parameter kept_tokens: -5 is out of r"),
    "minutes that are no number": (
        both(),
        {"minutes": "float('nan')"},
        "parameter minutes: float('nan') is no value that a parameter can have",
    ),
    "minutes in words": (both(), {"minutes": "'half'"}, "parameter minutes: 'half' is not a numb"),
    "a truth value in words": (
        both(),
        {"only_vocabulary": "'yes'"},
        "parameter only_vocabulary: 'yes' is text; give it to papermill as `-p only_vocabulary Tr",
    ),
    "a seed below zero": (both(), {"seed": "-1"}, "parameter seed: -1 is out of range"),
    "a result in a folder that is full": (
        both(),
        {"out": "PLACE"},
        "is not a new or empty folder; name one for the result",
    ),
    "a result that is a file": (both(), {"out": at("my.txt")}, "is not a new or empty folder"),
    "no result": (both(), {"out": "''"}, "out: '' is not a new or empty folder"),
    "a name of digits": (
        both(),
        {"out": "2024"},
        "parameter out: 2024 is not text; put it in quotes, or give it to papermill as `-r out T",
    ),
    "a misspelt parameter": (
        both(),
        {"hiden_size": "8"},
        "unknown parameter 'hiden_size'; this notebook takes teacher, text, out",
    ),
}
LABEL = {
    "no labels": (both(), {"labels": "''"}, "labels: none are named; give a folder or a file"),
    "labels that are not there": (
        both(),
        {"labels": at("nowhere.tsv")},
        "nowhere.tsv: cannot be read (No such file",
    ),
    "a folder without dev": (
        both(*(file(f"my-labels/{name}.tsv", ROWS) for name in ("train", "test"))),
        {"labels": at("my-labels")},
        "my-labels needs one file 'dev' as .tsv or .csv or .conll or .txt or .conllu; it has test",
    ),
    "a spreadsheet": (
        file("my.xlsx", b"PK\x03\x04\x00"),
        {"labels": at("my.xlsx")},
        "my.xlsx",
    ),
    "an unknown form": (
        both(),
        {"form": "'topic'"},
        "form of the labels: 'topic' is none of text, entities, words; take one of these",
    ),
    "a form that does not fit the file": (
        both(),
        {"form": "'words'"},
        "labels.tsv: words is read from .conllu or .conll or .txt; name it so",
    ),
    "two files of two forms": (
        both(
            file("my-labels/train.tsv", ROWS),
            file("my-labels/dev.txt", WORDS),
            file("my-labels/test.tsv", ROWS),
        ),
        {"labels": at("my-labels")},
        "dev.txt: text is read from .tsv or .csv; name it so",
    ),
    "a column that is missing": (
        file("labels.tsv", ROWS.replace("label", "answer")),
        {},
        "labels.tsv:1: the header needs the column 'label' once, or one of label, category",
    ),
    "one class": (
        file("labels.tsv", ROWS.replace("\tb\n", "\ta\n")),
        {},
        "labels.tsv: has only the label 'a'; a classifier needs two labels",
    ),
    "too few examples to split": (
        file("labels.tsv", "".join(ROWS.splitlines(keepends=True)[:6])),
        {},
        "labels.tsv: has no example, train has 'a', 'b'; a split needs examples",
    ),
    "tags of no scheme": (
        file("words.txt", WORDS.replace("O\n", "none\n")),
        {"labels": at("words.txt")},
        "words.txt:2: 'none' is not an entity tag; tags are O, B-TYPE and I-TYPE",
    ),
    "no such model": (
        both(),
        {"model": at("nowhere")},
        "no teacher '",
    ),
    "a model with weights as a pickle": (
        moved("encoder/model.safetensors", "encoder/pytorch_model.bin"),
        {},
        "has weights only as pickle (pytorch_model.bin)",
    ),
    "weights of another model": (
        values("encoder/config.json", intermediate_size=16),
        {},
        "mismatched keys in the weights: ",
    ),
    "epochs below zero": (both(), {"epochs": "-1"}, "parameter epochs: -1 is out of range"),
    "half an epoch": (both(), {"epochs": "0.5"}, "parameter epochs: 0.5 is not a whole number"),
    "a seed that is too large": (
        both(),
        {"seed": str(2**40)},
        f"parameter seed: {2**40} is out of range; give a whole number below",
    ),
    "a result in a folder that is full": (
        both(),
        {"out": "PLACE"},
        "is not a new or empty folder; name one for the result",
    ),
    "a misspelt parameter": (
        both(),
        {"epoch": "3"},
        "unknown parameter 'epoch'; this notebook takes model, labels, out, form, epochs",
    ),
}
CASES = [("compress", case) for case in COMPRESS] + [("label", case) for case in LABEL]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_fault_is_one_sentence_before_any_work(name, case, given, tmp_path, monkeypatch):
    change, parameters, said = (COMPRESS if name == "compress" else LABEL)[case]
    change(given)
    before = sorted(given.rglob("*"))
    usual = {"out": repr(str(tmp_path / "out"))}
    if name == "compress":
        usual |= {"teacher": at("encoder"), "text": at("my.txt")}
    else:
        usual |= {"model": at("encoder"), "labels": at("labels.tsv")}
    sources = {key: value.replace("PLACE", repr(str(given))) for key, value in usual.items()}
    sources |= {key: value.replace("PLACE", repr(str(given))) for key, value in parameters.items()}
    plain = {key: literal(value) for key, value in sources.items()}
    with pytest.raises(StudyError) as caught:
        executed(name, plain)
    assert said in str(caught.value) and "\n" not in str(caught.value), str(caught.value)
    assert sorted(given.rglob("*")) == before
    assert not list(tmp_path.glob("out*"))


def literal(source: str) -> str:
    """The source of a value as Papermill writes it: no sums of texts."""
    value = eval(source)
    return source if isinstance(value, float) and math.isnan(value) else repr(value)
