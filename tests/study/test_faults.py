"""What real users' files and settings break, tried on a whole study.

Each fault ends `make` in one clear sentence before any work. What can be read in one way only is
read, and the row of `check` says what was found.
"""

import gzip
import json
import lzma
import shutil
import unicodedata

import pytest
import toy_study
import toys
from changes import both, file, folder, gone, moved, part, values
from own_study import STUDY, TABLE, TEXT, TREE, TUNE, VOCABULARY, command, config, study

from lib import files
from lib.model import encoder, vocabulary
from lib.study import check, make, plan, state
from lib.train import tokenizers

WORDS = "Ana B-PER\nate O\n\n"
TOPIC, CORPUS, MODEL = "tasks/topic/mlt", "corpora/mlt.txt", "my-encoder"
WEIGHTS = f"{MODEL}/model.safetensors"


def written(content: str):
    """Another content of the file of the study."""
    return lambda own: (files.PARAMS / "studies" / "toy.yaml").write_text(content, encoding="utf-8")


def line(old: str, new: str):
    """Other words in the file of the study, as in a text editor."""

    def write(own):
        place = files.PARAMS / "studies" / "toy.yaml"
        before = place.read_text(encoding="utf-8")
        assert old in before
        place.write_text(before.replace(old, new), encoding="utf-8")

    return write


def models(key: str, entry: dict):
    """Another entry of the teachers."""

    def write(own):
        place = files.PARAMS / "models.yaml"
        content = json.loads(json.dumps(check.facts.read_yaml(place)))
        toy_study.write_yaml(place, content | {key: entry})

    return write


def ner(**changed):
    """Only entities, of which these parts differ from good ones."""
    parts = dict.fromkeys(("train", "dev", "test"), WORDS) | changed
    made = [folder("tasks/ner/mlt"), study("tasks", ["ner"])]
    return both(*made, *(file(f"tasks/ner/mlt/{part}.txt", parts[part]) for part in parts))


def rows(*pairs, header="text\tcategory"):
    """A table of topics."""
    return "\n".join([header, *("\t".join(pair) for pair in pairs)]) + "\n"


def variant(**said):
    return study("variants", [{"set": {}} | said])


NAMES = ("pad", "bos", "eos", "cls", "sep")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
TEXTS = {  # what is wrong with the text -> a part of the sentence
    "UTF-16 of an editor": (file(CORPUS, TEXT.encode("utf-16")), "mlt.txt:1: not UTF-8 text"),
    "an empty file": (file(CORPUS, ""), "mlt.txt: the file is empty"),
    "only blank lines": (file(CORPUS, "\n \n\t\n"), "mlt.txt: the file is empty"),
    "a truncated gz": (
        both(file(CORPUS), file("corpora/mlt.txt.gz", gzip.compress(TEXT.encode())[:-9])),
        "mlt.txt.gz: cannot be read (Compressed file ended",
    ),
    "a truncated xz": (
        both(file(CORPUS), file("corpora/mlt.txt.xz", lzma.compress(TEXT.encode())[:-9])),
        "mlt.txt.xz: cannot be read (Compressed file ended",
    ),
    "a gz that is not compressed": (
        moved(CORPUS, "corpora/mlt.txt.gz"),
        "mlt.txt.gz: cannot be read (Not a gzipped file",
    ),
    "a compressed file without its ending": (
        file(CORPUS, gzip.compress(TEXT.encode())),
        "mlt.txt:1: not UTF-8 text (byte 0x8b)",
    ),
    "a document of a word processor": (
        file(CORPUS, b"PK\x03\x04\x14\x00\x06\x00" + TEXT.encode()),
        "mlt.txt:1: not UTF-8 text (byte 0x00)",
    ),
    "two files of one text": (
        file("corpora/mlt.txt.gz", gzip.compress(TEXT.encode())),
        "needs one file 'mlt' as .txt or .txt.xz or .txt.gz; it has mlt.txt, mlt.txt.gz",
    ),
    "the language by its name": (
        moved(CORPUS, "corpora/Maltese.txt"),
        "needs one file 'mlt' as .txt or .txt.xz or .txt.gz; it has Maltese.txt",
    ),
    "the language by its two letters": (moved(CORPUS, "corpora/mt.txt"), "it has mt.txt"),
    "the name of the folder": (moved("corpora", "corpus"), "corpora needs one file 'mlt'"),
    "one file too deep": (
        moved(CORPUS, "corpora/mlt/mlt.txt"),
        "corpora/mlt needs one file 'train' as .txt or .txt.xz or .txt.gz; it has mlt.txt",
    ),
    "a split without dev": (
        both(moved(CORPUS, "corpora/mlt/train.txt"), file("corpora/mlt/test.txt", "A b.\n")),
        "corpora/mlt needs one file 'dev' as .txt or .txt.xz or .txt.gz; it has test.txt, train",
    ),
    "a split with capitals": (
        moved(CORPUS, "corpora/mlt/Train.txt"),
        "corpora/mlt needs one file 'train' as .txt or .txt.xz or .txt.gz; it has Train.txt",
    ),
    "an empty part of a split": (
        both(
            moved(CORPUS, "corpora/mlt/train.txt"),
            file("corpora/mlt/dev.txt", ""),
            file("corpora/mlt/test.txt", "A b.\n"),
        ),
        "dev.txt: the file is empty",
    ),
    "a whole text on one line": (
        file(CORPUS, TEXT.replace("\n", " ")),
        "mlt.txt: 1 different lines of text; at least 200 are needed",
    ),
    "one sentence again and again": (file(CORPUS, "A b.\n" * 999), "1 different lines of text"),
    "a folder in its place": (both(file(CORPUS), folder(CORPUS)), "needs one file 'mlt'"),
    "a link to nothing": (
        both(file(CORPUS), lambda own: (own / CORPUS).symlink_to(own / "nowhere.txt")),
        "needs one file 'mlt'",
    ),
    "letters that the teacher lacks": (
        file(CORPUS, "".join(f"ሰላም ለዓለም ሁሉ {n}\n" for n in range(300))),
        "of the tokens are unknown: the teacher's vocabulary has not the letters",
    ),
    "no text of a language of the teacher": (
        both(
            models(
                "my-encoder",
                {"make": "local", "folder": "my-encoder", "text": {"mlt": 9, "swh": 9}},
            ),
            study("steps.pretrain.steps", 8),
        ),
        "text swh: {own}/corpora needs one file 'swh'",
    ),
    "a sentence limit below zero": (study("corpus.train", -1), "corpus: train: -1 is out of range"),
}
LABELS = {
    "dev is missing": (
        file(f"{TOPIC}/dev.tsv"),
        "needs one file 'dev' as .tsv or .csv; it has test.tsv, train.tsv",
    ),
    "dev is called valid": (
        moved(f"{TOPIC}/dev.tsv", f"{TOPIC}/valid.tsv"),
        "needs one file 'dev' as .tsv or .csv; it has test.tsv, train.tsv, valid.tsv",
    ),
    "a spreadsheet": (
        moved(f"{TOPIC}/dev.tsv", f"{TOPIC}/dev.xlsx"),
        "needs one file 'dev' as .tsv or .csv; it has dev.xlsx",
    ),
    "lines of JSON": (
        moved(f"{TOPIC}/train.tsv", f"{TOPIC}/train.jsonl"),
        "needs one file 'train' as .tsv or .csv; it has dev.tsv",
    ),
    "two forms of one part": (
        file(f"{TOPIC}/dev.csv", TABLE.replace("\t", ",")),
        "needs one file 'dev' as .tsv or .csv; it has dev.csv, dev.tsv",
    ),
    "no folder of the language": (
        moved(TOPIC, "tasks/topic/maltese"),
        "tasks/topic has maltese: take one of these or add one with train, dev and test",
    ),
    "no folder of the task": (
        moved("tasks/topic", "tasks/topics"),
        "tasks/topic has none: take one of these or add one with train, dev and test as .tsv",
    ),
    "files beside the folder of the language": (
        both(
            *(moved(f"{TOPIC}/{p}.tsv", f"tasks/topic/{p}.tsv") for p in ("train", "dev", "test"))
        ),
        "tasks/topic/mlt needs one file 'train' as .tsv or .csv; it has none",
    ),
    "no header": (
        file(f"{TOPIC}/train.tsv", "a\tx\nb\ty\n"),
        "train.tsv:1: the header needs the column 'text' once, or one of text, sentence",
    ),
    "a wrong column": (
        file(f"{TOPIC}/train.tsv", rows(("a", "x"), ("b", "y"), header="text\tanswer")),
        "train.tsv:1: the header needs the column 'category' once, or one of label, category",
    ),
    "two columns of labels": (
        file(f"{TOPIC}/train.tsv", "text\tlabel\ttopic\na\tx\ty\nb\ty\tx\n"),
        "the header needs the column 'category' once, or one of label, category, sentiment",
    ),
    "two columns of text": (
        file(f"{TOPIC}/dev.tsv", "text\ttext\tcategory\na\ta\tx\nb\tb\ty\n"),
        "dev.tsv:1: the header needs the column 'text' once",
    ),
    "commas in a table of tabs": (
        file(f"{TOPIC}/train.tsv", TABLE.replace("\t", ",")),
        "it has 'text,category': rename one (a .tsv has tabs between its columns, a .csv commas)",
    ),
    "semicolons in a table of tabs": (
        file(f"{TOPIC}/train.tsv", TABLE.replace("\t", ";")),
        "it has 'text;category': rename one (a .tsv has tabs",
    ),
    "tabs in a table of commas": (
        both(file(f"{TOPIC}/dev.tsv"), file(f"{TOPIC}/dev.csv", TABLE)),
        "dev.csv:1: the header needs the column 'text' once",
    ),
    "a comma in a text without quotes": (
        both(file(f"{TOPIC}/dev.tsv"), file(f"{TOPIC}/dev.csv", "text,category\na, b,x\n")),
        "dev.csv:2: 3 fields where the header has 2; a separator inside a text would split it",
    ),
    "a quote that does not end": (
        both(file(f"{TOPIC}/dev.tsv"), file(f"{TOPIC}/dev.csv", 'text,category\n"a,x\nb,y\n')),
        "dev.csv:3: not well-formed CSV (unexpected end of data)",
    ),
    "a tab in a text": (
        file(f"{TOPIC}/test.tsv", rows(("a", "b", "x"))),
        "test.tsv:2: 3 fields where the header has 2",
    ),
    "a label left out": (
        file(f"{TOPIC}/train.tsv", rows(("a", "x"), ("b", ""))),
        "train.tsv:3: the column 'category' is empty; fill it or delete the row",
    ),
    "a text of white space": (
        file(f"{TOPIC}/train.tsv", rows(("a", "x"), ("  ", "y"))),
        "train.tsv:3: the column 'text' is empty",
    ),
    "a header alone": (
        file(f"{TOPIC}/dev.tsv", rows()),
        "dev.tsv: has no example, train has 'x', 'y'; a split needs examples",
    ),
    "an empty file": (file(f"{TOPIC}/dev.tsv", ""), "dev.tsv: the file is empty"),
    "one class": (
        file(f"{TOPIC}/train.tsv", rows(("a", "x"), ("b", "x"))),
        "train.tsv: has only the label 'x'; a classifier needs two",
    ),
    "labels with capitals in dev": (
        file(f"{TOPIC}/dev.tsv", rows(("a", "X"), ("b", "Y"))),
        "dev.tsv: has 'X', 'Y', train has 'x', 'y'; a split needs examples, and labels of train",
    ),
    "text of a spreadsheet in UTF-16": (
        file(f"{TOPIC}/train.tsv", TABLE.encode("utf-16")),
        "train.tsv:1: not UTF-8 text (byte 0xff)",
    ),
    "Windows-1252": (
        file(f"{TOPIC}/test.tsv", rows(("a", "x")).encode() + "qu\xe9\tx\n".encode("cp1252")),
        "test.tsv:3: not UTF-8 text (byte 0xe9)",
    ),
    "a tag that is no scheme": (
        ner(train="Ana PER\nate O\n\n"),
        "train.txt:1: 'PER' is not an entity tag; tags are O, B-TYPE and I-TYPE",
    ),
    "tags in small letters": (
        ner(dev="Ana b-per\nate O\n\n"),
        "dev.txt:1: 'b-per' is not an entity tag",
    ),
    "an entity that does not begin": (
        ner(test="in O\nRio I-LOC\nAna B-PER\n"),
        "test.txt:2: I-LOC continues an entity, but the tag before it is O; begin the entity",
    ),
    "an entity of BIOES that does not end": (
        ner(train="Rio B-LOC\nate O\nAna S-PER\n"),
        "train.txt:2: O cannot follow B-LOC; in BIOES (BILOU) an entity is S-TYPE",
    ),
    "words without tags": (
        ner(dev="Ana\nate\n"),
        "dev.txt:1: expected a word and its tag in 2 columns",
    ),
    "a line of another number of columns": (
        ner(dev="Ana B-PER\nate a lot O\n"),
        "dev.txt:2: expected a word and its tag in 2 columns, as the file begins",
    ),
    "no entity at all": (
        ner(train="Ana O\nate O\n"),
        "train.txt: has only the label 'O'; a classifier needs two labels",
    ),
    "entities that train has not": (
        ner(dev="Rio B-LOC\n"),
        "dev.txt: has 'B-LOC', train has 'B-PER', 'O'",
    ),
    "a table of words": (
        ner(train="word\ttag\nAna\tB-PER\nate\tO\n"),
        "train.txt:1: 'tag' is not an entity tag",
    ),
    "trees for entities": (ner(train=TREE), "just one must hold entity tags in every line"),
    "trees without universal tags": (
        file("tasks/pos/mlt/train.conllu", TREE.replace("NOUN", "_")),
        "train.conllu:1: '_' is not a universal part-of-speech tag; the tags are ADJ",
    ),
    "trees with tags of their own": (
        file("tasks/pos/mlt/dev.conllu", TREE.replace("NOUN", "Ncmsn")),
        "dev.conllu:1: 'Ncmsn' is not a universal part-of-speech tag",
    ),
    "trees with spaces for tabs": (
        file("tasks/pos/mlt/dev.conllu", TREE.replace("\t", " ")),
        "dev.conllu:1: 1 tab-separated columns, CoNLL-U has 10",
    ),
    "trees without a line between": (
        file("tasks/pos/mlt/train.conllu", TREE + TREE),
        "train.conllu:3: the id is '1', expected 3; ids count 1, 2, 3 in a sentence, and a blank",
    ),
    "trees of two columns": (
        file("tasks/pos/mlt/test.conllu", "w\tNOUN\n"),
        "test.conllu:1: 2 tab-separated columns, CoNLL-U has 10",
    ),
    "an answer for one task only": (
        study("tasks", ["tc", "sa", "pos"]),
        "labels sa mlt: no folder called 'mlt'; {own}/tasks/sentiment has none",
    ),
}
TEACHERS = {
    "no weights": (
        file(WEIGHTS),
        "my-encoder: has no model.safetensors; it holds README.md, config.json, tokenizer.json",
    ),
    "weights of another library": (
        moved(WEIGHTS, f"{MODEL}/tf_model.h5"),
        "has no model.safetensors; it holds README.md, config.json, tf_model.h5, tokenizer.json",
    ),
    "weights as a pickle": (
        moved(WEIGHTS, f"{MODEL}/model.pt"),
        "my-encoder: has weights only as pickle (model.pt)",
    ),
    "a pointer of Git LFS": (
        part(WEIGHTS, lambda _: POINTER),
        "model.safetensors: cannot be read as a model (Error while deserializing header: header t",
    ),
    "half of the weights": (
        part(WEIGHTS, lambda content: content[: len(content) // 2]),
        "header: incomplete metadata, file not fully covered); give a folder or a hub id that",
    ),
    "a broken header": (
        part(WEIGHTS, lambda content: content[:8] + b"x" * 40 + content[48:]),
        "model.safetensors: cannot be read as a model (Error while deserializing header: ",
    ),
    "an empty file of weights": (
        part(WEIGHTS, lambda _: b""),
        "model.safetensors: cannot be read as a model (Error while deserializing header: ",
    ),
    "a part that is not there": (
        both(
            moved(WEIGHTS, f"{MODEL}/model-00001-of-00002.safetensors"),
            file(
                f"{MODEL}/model.safetensors.index.json",
                json.dumps(
                    {
                        "weight_map": {
                            "a": "model-00001-of-00002.safetensors",
                            "b": "model-00002-of-00002.safetensors",
                        }
                    }
                ),
            ),
        ),
        "names 'model-00002-of-00002.safetensors', which is no safetensors file beside it",
    ),
    "no configuration": (file(f"{MODEL}/config.json"), "my-encoder: cannot be read as a model"),
    "an empty configuration": (file(f"{MODEL}/config.json", "{}"), "cannot be read as a model"),
    "a list for a configuration": (file(f"{MODEL}/config.json", "[]"), "cannot be read as a model"),
    "an encoder and decoder": (
        file(f"{MODEL}/config.json", '{"model_type": "t5"}'),
        "a teacher of type 't5' cannot be cut; encoders of the types bert, xlm-roberta",
    ),
    "DeBERTa": (config(model_type="deberta-v2"), "'deberta-v2' cannot be cut: its attention reads"),
    "a type that nobody knows": (config(model_type="my-bert"), "cannot be read as a model"),
    "no tokenizer": (
        both(file(f"{MODEL}/tokenizer.json"), file(f"{MODEL}/tokenizer_config.json")),
        "my-encoder: ",
    ),
    "a broken tokenizer": (
        file(f"{MODEL}/tokenizer.json", '{"model": '),
        "my-encoder: cannot be read as a model",
    ),
    "a tokenizer without a mask": (
        values(f"{MODEL}/tokenizer_config.json", mask_token=None),
        "the tokenizer has no mask_token; masked training needs one",
    ),
    "an uncased tokenizer": (
        values(f"{MODEL}/tokenizer_config.json", do_lower_case=True, strip_accents=None),
        "the tokenizer lower-cases or strips accents",
    ),
    "an adapter": (
        file(f"{MODEL}/adapter_config.json", "{}"),
        "holds an adapter (adapter_config.json); merge it",
    ),
    "the folder of the teacher for that of teachers": (
        lambda own: study("models_root", str(own / MODEL))(own),
        "my-encoder/my-encoder is not there; set models_root in the study",
    ),
    "a file in the place of the folder": (
        both(gone(MODEL), file(MODEL, "x")),
        "the teacher's folder {own}/my-encoder is not there",
    ),
    "a teacher of another name": (
        study("pairs.0.teacher", "my_encoder"),
        "no model called 'my_encoder'; params/models.yaml has toy-bert",
    ),
    "fewer positions than the study reads": (
        config(max_position_embeddings=15),
        "max_length 16 was asked for; the teacher has 15",
    ),
}
SETTINGS = {
    "a tab in front of a key": (
        line("source: local", "\tsource: local"),
        "toy.yaml:2: not valid YAML: found character '\\t' that cannot start any token",
    ),
    "marks of a merge": (
        line(
            "source: local", "<<<<<<< mine\nsource: local\n=======\nsource: sample\n>>>>>>> other"
        ),
        "toy.yaml:",
    ),
    "a key twice": (line("source: local", "source: local\nsource: sample"), "'source' appears twi"),
    "no space behind a colon": (line("source: local", "source:local"), "toy.yaml:"),
    "a percent sign for a share": (
        line("mlm_weight: 0.5", "mlm_weight: 50%"),
        "mlm_weight: '50%' is not a number",
    ),
    "a comma for a point": (
        line("mlm_weight: 0.5", "mlm_weight: 0,5"),
        "mlm_weight: '0,5' is not a number",
    ),
    "a thousand with a comma": (
        line("train: 40", "train: 40,000"),
        "corpus: train: '40,000' is not a whole number",
    ),
    "a title of YAML's own": (line("title: a toy", "title: 2024"), "title: 2024 is not text; put"),
    "an empty title": (line("title: a toy", "title:"), "title: None is not text"),
    "Norwegian without quotes": (
        study("pairs.0.languages", [False]),
        "pairs: languages: False is not text (YAML reads a bare no, yes, on and off as a truth",
    ),
    "a language twice": (
        study("pairs.0.languages", ["mlt", "mlt"]),
        "pairs: languages: 'mlt' stands twice; keep one",
    ),
    "a pair twice": (
        study(
            "pairs",
            [
                STUDY["pairs"][0],
                {"teacher": "my-encoder", "languages": ["mlt"], "set": {"ffn": {"sentences": 5}}},
            ],
        ),
        "pairs: my-encoder stands twice with 'mlt'; keep one, and write other settings as a",
    ),
    "a seed twice": (study("seeds.tasks", [1, 1]), "seeds: tasks: 1 stands twice; keep one"),
    "no seed": (study("seeds.tasks", []), "seeds: tasks: there is none; name one or more"),
    "a task twice": (study("tasks", ["tc", "tc"]), "tasks: 'tc' stands twice; keep one"),
    "a step scored twice": (
        study("score", ["adapt", "adapt"]),
        "score: 'adapt' stands twice; keep one",
    ),
    "a variant's seed twice": (
        variant(seeds=[1, 1]),
        "variants: seeds: 1 stands twice; keep one",
    ),
    "a score of a step that no order has": (
        study("order", ["pretrain", "layers", "ffn", "hidden", "vocabulary"]),
        "score: 'adapt' is none of pretrain, layers, ffn, hidden, vocabulary",
    ),
    "a variant's task that the study lacks": (
        variant(tasks=["sa"]),
        "study 'toy': task: 'sa' is none of tc, pos; take one of these",
    ),
    "a variant of a step that its order leaves out": (
        variant(
            set={"hidden": {"hidden_size": 8}}, order=["pretrain", "vocabulary"], score=["hidden"]
        ),
        "'hidden' is none of pretrain, vocabulary",
    ),
    "a variant's misspelt key": (variant(oder=["pretrain"]), "variants: unknown key 'oder'"),
    "a variant's order that begins late": (
        variant(order=["layers", "pretrain"]),
        "order: starts with pretrain and names each step once, got layers, pretrain",
    ),
    "a variant's size that does not divide": (
        variant(set={"hidden": {"hidden_size": 18}}),
        "a hidden size of 18 was asked for; 4 heads stay",
    ),
    "a pair's setting that cannot be": (
        study("pairs.0.set", {"vocabulary": {"kept_tokens": VOCABULARY}}),
        f"kept_tokens {VOCABULARY} was asked for; the teacher has {VOCABULARY - 5}",
    ),
    "fewer tokens than letters": (
        study("steps.vocabulary.kept_tokens", 9),
        "9 tokens were asked for beside the 5 special ones",
    ),
    "more sentences to distil on than are taken": (
        study("steps.hidden.sentences", 41),
        "hidden: 41 sentences were asked for; the study 'toy' takes 40",
    ),
    "a pooling of one's own": (
        study("finetune.pooling", "max"),
        "finetune: pooling: 'max' is none of first, mean",
    ),
    "examples below zero": (
        study("finetune.train_limit", -1),
        "finetune: train_limit: -1 is out of range",
    ),
    "a setting of one task that is misspelt": (
        study("finetune.sequence", TUNE["sequence"] | {"epoch": 3}),
        "finetune: sequence: unknown key 'epoch'",
    ),
    "a task's name in the place of its kind": (
        study("finetune.topic", {"epochs": 3}),
        "finetune: unknown key 'topic'",
    ),
    "an answer of a baseline that is none": (
        study("baselines", ["ngram"]),
        "baselines: 'ngram' is none of majority, ngrams, static",
    ),
    "a source that is misspelt": (study("source", "lokal"), "source: 'lokal' is none of sample"),
}
FAULTS = {
    f"{kind}: {name}": fault
    for kind, faults in {
        "text": TEXTS,
        "labels": LABELS,
        "teacher": TEACHERS,
        "settings": SETTINGS,
    }.items()
    for name, fault in faults.items()
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_one_sentence_before_any_work(case, own, executed, monkeypatch):
    change, said = FAULTS[case]
    kept = (files.PARAMS / "models.yaml").read_bytes()
    try:
        change(own)
        with pytest.raises(SystemExit) as caught:
            command(monkeypatch, "make", "toy")
    finally:
        (files.PARAMS / "models.yaml").write_bytes(kept)
    message = str(caught.value.code)
    assert said.replace("{own}", str(own)) in message and "\n" not in message, message
    assert executed == [] and not files.models().exists()


READ = {  # what is unusual -> the row of `check`, and a part of what is printed about it
    "ends of lines of Windows": (
        file(CORPUS, TEXT.replace("\n", "\r\n")),
        "text mlt: local: {own}/corpora/mlt.txt: 270 + 15 + 15 sentences",
        "",
    ),
    "ends of lines of an old Mac": (
        file(CORPUS, TEXT.replace("\n", "\r")),
        "text mlt: local: {own}/corpora/mlt.txt: 270 + 15 + 15 sentences",
        "",
    ),
    "a mark in front of the text": (
        file(CORPUS, b"\xef\xbb\xbf" + TEXT.encode()),
        "text mlt: local: {own}/corpora/mlt.txt: 270 + 15 + 15 sentences",
        "",
    ),
    "every sentence twice, blank lines between": (
        file(CORPUS, TEXT.replace("\n", "\n\n  \n") * 2),
        "text mlt: local: {own}/corpora/mlt.txt: 270 + 15 + 15 sentences",
        "",
    ),
    "no end of the last line": (
        file(CORPUS, TEXT.rstrip()),
        "text mlt: local: {own}/corpora/mlt.txt: 270 + 15 + 15 sentences",
        "",
    ),
    "a compressed text": (
        both(file(CORPUS), file(f"{CORPUS}.gz", gzip.compress(TEXT.encode()))),
        "text mlt: local: {own}/corpora/mlt.txt.gz: 270 + 15 + 15 sentences",
        "",
    ),
    "a split of one's own": (
        both(
            moved(CORPUS, "corpora/mlt/train.txt"),
            file("corpora/mlt/dev.txt", "Sentence.\n" * 3),
            file("corpora/mlt/test.txt", "Sentence.\n" * 2),
        ),
        "text mlt: local: {own}/corpora/mlt/train.txt: 300 + 3 + 2 sentences",
        "",
    ),
    "every sentence with letters and accents apart, and together": (
        file(CORPUS, TEXT.replace("S", "Ż") + unicodedata.normalize("NFD", TEXT.replace("S", "Ż"))),
        "text mlt: local: {own}/corpora/mlt.txt: 270 + 15 + 15 sentences",
        "",
    ),
    "a language without spaces": (
        file(CORPUS, "".join(f"{chr(97 + n % 26)}" * 3 + f"anasoma{n}\n" for n in range(300))),
        "text mlt: local: {own}/corpora/mlt.txt: 270 + 15 + 15 sentences",
        "",
    ),
    "a word of ten thousand letters": (
        file(CORPUS, TEXT + "a" * 10_000 + "\n"),
        "text mlt: local: {own}/corpora/mlt.txt: 271 + 15 + 15 sentences",
        "",
    ),
    "one example of each label": (
        file(f"{TOPIC}/test.tsv", rows(("c", "y"))),
        "labels tc mlt: local: {own}/tasks/topic/mlt: 2 + 2 + 1 examples, 2 labels",
        "",
    ),
    "a label that only dev has": (
        file(f"{TOPIC}/dev.tsv", rows(("a", "x"), ("b", "z"))),
        "labels tc mlt: local: {own}/tasks/topic/mlt: 2 + 2 + 2 examples, 3 labels",
        "dev.tsv: has 'z', train has not: 1 of 2 golds count as wrong",
    ),
    "a column by another name": (
        file(f"{TOPIC}/train.tsv", TABLE.replace("category", "sentiment")),
        "labels tc mlt: local: {own}/tasks/topic/mlt: 2 + 2 + 2 examples, 2 labels",
        "train.tsv: reads the column 'sentiment' as 'category'",
    ),
    "further columns": (
        file(f"{TOPIC}/train.tsv", "id\ttext\tcategory\n1\ta\tx\n2\tb\ty\n"),
        "labels tc mlt: local: {own}/tasks/topic/mlt: 2 + 2 + 2 examples, 2 labels",
        "",
    ),
    "a table of semicolons with quotes": (
        both(
            file(f"{TOPIC}/dev.tsv"),
            file(f"{TOPIC}/dev.csv", '\ufefftext;category\r\n"a; b\r\nc";x\r\n'),
        ),
        "labels tc mlt: local: {own}/tasks/topic/mlt: 2 + 1 + 2 examples, 2 labels",
        "",
    ),
    "entities in IOB1": (
        ner(train="Ana I-PER\nate O\n\n"),
        "labels ner mlt: local: {own}/tasks/ner/mlt: 1 + 1 + 1 examples, 2 labels",
        "train.txt: turns IOB1 tags into BIO",
    ),
    "entities in BILOU": (
        ner(train="Ana U-PER\nate O\nAna B-PER\nLi L-PER\n"),
        "labels ner mlt: local: {own}/tasks/ner/mlt: 1 + 1 + 1 examples, 3 labels",
        "train.txt: turns BIOES or BILOU tags into BIO",
    ),
    "words of WikiANN": (
        ner(train="mt:Ana B-PER\nmt:ate O\n\n"),
        "labels ner mlt: local: {own}/tasks/ner/mlt: 1 + 1 + 1 examples, 2 labels",
        "train.txt: takes 'mt:' from the words",
    ),
    "four columns of CoNLL-2003": (
        ner(train="-DOCSTART- -X- O O\n\nAna NNP I-NP B-PER\nate VBD I-VP O\n"),
        "labels ner mlt: local: {own}/tasks/ner/mlt: 1 + 1 + 1 examples, 2 labels",
        "train.txt: leaves out 1 comments and -DOCSTART- lines",
    ),
    "trees with comments, ranges and empty nodes": (
        file(
            "tasks/pos/mlt/train.conllu",
            "# text = w w\r\n1-2\tww" + "\t_" * 8 + f"\r\n{TREE}1.1\tw" + "\t_" * 8 + "\n",
        ),
        "labels pos mlt: local: {own}/tasks/pos/mlt: 1 + 1 + 1 examples, 2 labels",
        "",
    ),
    "an untied teacher": (
        config(tie_word_embeddings=False),
        "teacher my-encoder: local: {own}/my-encoder",
        "",
    ),
    "a study called 007": (
        lambda own: shutil.copy(
            files.PARAMS / "studies" / "toy.yaml", files.PARAMS / "studies" / "007.yaml"
        ),
        "text mlt: local: {own}/corpora/mlt.txt: 270 + 15 + 15 sentences",
        "",
    ),
}


@pytest.mark.parametrize("case", READ)
def test_what_can_be_read_in_one_way_is_read_and_said(case, own, executed, monkeypatch, capsys):
    change, row, printed = READ[case]
    change(own)
    name = sorted(file.stem for file in (files.PARAMS / "studies").glob("*.yaml"))[0]
    command(monkeypatch, "check", name)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    kept = row.replace("{own}", str(own)).split(": ", 1)
    assert f"ok {kept[0]} {kept[1]}" in lines, lines
    assert not [line for line in lines if line.startswith("WRONG")]
    assert any(printed in line for line in lines)
    check.before(plan.runs(name))


THAI = "ภาษาไทยเป็นภาษาที่ไม่มีช่องว่างระหว่างคำฉันชอบกินข้าวผัดวันนี้อากาศดีมาก"
UNUSUAL = {  # family of an untied teacher, and its text
    "paragraphs longer than its positions": (
        "bert",
        [" ".join([sentence] * 30) for sentence in toys.sentences(220)],
    ),
    "text without spaces": (
        "xlm-roberta",
        [THAI[n % 60 :] + THAI[: n % 60] + THAI[n // 60 :] for n in range(240)],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", UNUSUAL)
def test_an_untied_teacher_and_unusual_text_go_through_all_notebooks(case, own, monkeypatch):
    family, lines = UNUSUAL[case]
    monkeypatch.setenv("STUDY_PARAMS", str(files.PARAMS))
    learned = tokenizers.train_tokenizer(lines, family, 160)
    learned.model_max_length = 10**6
    special = {f"{name}_token_id": getattr(learned, f"{name}_token_id") for name in NAMES}
    sizes = special | {"vocab_size": len(learned), "tie_word_embeddings": False}
    encoder.save(toys.model(family, **sizes), learned, own / MODEL, "")
    (own / CORPUS).write_text("\n".join(lines), encoding="utf-8")
    content = STUDY | {"data_root": str(own), "models_root": str(own), "score": ["vocabulary"]}
    measures = {"perplexity": {"sentences": 3}, "lens": {"sentences": 3}, "export": {}}
    content |= {"measure": measures, "baselines": ["majority", "ngrams", "static"]}
    letters = len(vocabulary.single_characters(learned, lines))
    kept = {"kept_tokens": letters + 5, "counting": "count"}
    toy_study.write_study(toy_study.changed(content, "steps.vocabulary", kept))
    runs = plan.runs("toy")
    check.before(runs)
    make.make(runs)
    assert {state.state(run) for run in runs} == {state.DONE}
    assert {run.notebook for run in runs} == {*(files.ROOT / "notebooks" / "study").glob("*.ipynb")}
    final = next(run for run in runs if run.step == "vocabulary")
    model, small = encoder.load(final.folder)
    assert len(small) == letters + 5 + len(set(learned.all_special_ids))
    given, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert given.shape == output.shape and not given.equal(output)
