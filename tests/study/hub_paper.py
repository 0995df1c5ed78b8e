"""Every data set and model of the study `paper` at toy size, as a hub serves them.

Text and labels are those of the embedded corpus, in the layouts of the published data sets.
"""

import generate
import hub_files
import torch
import toys
import yaml

from lib import facts
from lib.data import corpora
from lib.model import mlm_head

LANGUAGES = {"mlt": "mt", "swh": "sw"}  # and their codes in wikiann
TEACHERS = {"mbert": ("bert", "mlt"), "xlm-r": ("xlm-roberta", "swh")}
PARTS = {"train": "train", "dev": "validation", "test": "test"}
SIZES = {"train": 20, "dev": 10, "test": 10}
CLOSED = "DGurgurov/swahili_sa"
TAGS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]


def text(language, part="train", count=20):
    return corpora.load(language, facts.Source("sample"), part, count)


def model_files(folder, family, sentences, adapted=False, own=None):
    """A tiny model as a repository holds it; an adapted one knows how frequent tokens are."""
    tokenizer = own or toys.tokenizer(family)
    model = toys.model(family, own=own, max_position_embeddings=50)
    if adapted:
        ids = torch.tensor([number for row in tokenizer(sentences)["input_ids"] for number in row])
        counts = torch.bincount(ids, minlength=len(tokenizer)) + 1.0
        weight, bias = mlm_head.readout(model)
        with torch.no_grad():
            weight.mul_(0.01)
            bias.copy_((counts / counts.sum()).log())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def data_set(folder, config, tables, features=None):
    """{path: bytes} of a data set with one configuration; `tables` has one table for each split."""
    card = {"config_name": config, "data_files": []}
    content = {}
    for split, table in tables.items():
        path = f"{folder}/{split}.parquet"
        card["data_files"].append({"split": split, "path": path})
        content[path] = hub_files.parquet(table, features)
    return {"README.md": f"---\n{yaml.safe_dump({'configs': [card]})}---\n".encode()} | content


def text_set(language, code):
    """The documents of GlotCC, two sentences in each."""
    lines = text(language, count=24)
    count = len(lines) // 2
    documents = {
        "warc-target-uri": ["https://host"] * count,
        "content": ["\n".join(lines[n : n + 2]) for n in range(0, len(lines), 2)],
        "identification-prob": [0.9] * count,
        "script-percentage": [1.0] * count,
        "num-sents": [2] * count,
        "quality-warnings": [None] * count,
        "tlsh": ["T1"] * count,
    }
    config = code.replace("_", "-")
    return data_set(f"v1.0/{config}", config, {"train": documents})


def topics(language, code):
    rows = generate.task("tc", language, SIZES, 1)
    tables = {
        PARTS[part]: {
            "index_id": list(range(len(examples))),
            "category": [label for _, label in examples],
            "text": [sentence for sentence, _ in examples],
        }
        for part, examples in rows.items()
    }
    return data_set(f"data/{code}", code, tables)


def entities(language, code):
    import datasets

    texts = datasets.List(datasets.Value("string"))
    columns = {"tokens": texts, "ner_tags": datasets.List(datasets.ClassLabel(names=TAGS))}
    features = datasets.Features(columns | {"langs": texts, "spans": texts})
    rows = generate.task("ner", language, SIZES, 1)
    tables = {
        PARTS[part]: {
            "tokens": [list(words) for words, _ in examples],
            "ner_tags": [[TAGS.index(tag) for tag in tags] for _, tags in examples],
            "langs": [[code] * len(words) for words, _ in examples],
            "spans": [["PER: a"] for _ in examples],
        }
        for part, examples in rows.items()
    }
    return data_set(code, code, tables, features)


def sentiments(language):
    rows = generate.task("sa", language, SIZES, 1)
    tables = {
        PARTS[part]: {
            "text": [sentence for sentence, _ in examples],
            "label": [int(label == "positive") for _, label in examples],
        }
        for part, examples in rows.items()
    }
    return data_set("data", "default", tables)


def merged(*sets):
    """One repository with the configurations of several."""
    cards = [yaml.safe_load(content["README.md"].decode().strip("-\n")) for content in sets]
    card = yaml.safe_dump({"configs": [config for card in cards for config in card["configs"]]})
    paths = {path: content for one in sets for path, content in one.items()}
    return paths | {"README.md": f"---\n{card}---\n".encode()}


def data_sets():
    """Text and labels of the embedded corpus in the layouts of the published data sets."""
    codes = {language: facts.fact("languages", language)["flores"] for language in LANGUAGES}
    return {
        "cis-lmu/GlotCC-V1": merged(*(text_set(*item) for item in codes.items())),
        "Davlan/sib200": merged(*(topics(*item) for item in codes.items())),
        "unimelb-nlp/wikiann": merged(*(entities(*item) for item in LANGUAGES.items())),
        "DGurgurov/maltese_sa": sentiments("mlt"),
        CLOSED: {"README.md": b"closed"},
    }


def models(folder):
    """The teachers and the published adapted teachers."""
    served = {}
    for name, (family, language) in TEACHERS.items():
        entry, sentences = facts.fact("models", name), text(language, "dev")
        adapted = entry["adapted"][language]["repository"]
        served[entry["repository"]] = model_files(folder / name, family, sentences)
        served[adapted] = model_files(folder / f"{name}-adapted", family, sentences, True)
    return served


def plain_files():
    """({path: bytes}, archive): a treebank, masakhapos and afrisenti, and FLORES as an archive."""
    tree, origins = facts.fact("languages", "mlt")["ud"], facts.facts("tasks")
    tree = f"UniversalDependencies/{tree['treebank']}/{tree['revision']}/{tree['prefix']}-ud"
    words = f"masakhane-io/masakhane-pos/{origins['pos']['origins'][1]['revision']}/data/swa"
    tweets = f"afrisenti-semeval/afrisent-semeval-2023/{origins['sa']['origins'][2]['revision']}"
    served = {}
    for part in PARTS:
        sentences = [
            "".join(
                f"{place}\t{word}\t_\t{tag}\t_\t_\t0\troot\t_\t_\n"
                for place, (word, tag) in enumerate(zip(*row, strict=True), 1)
            )
            for row in generate.task("pos", "mlt", SIZES, 1)[part]
        ]
        served[f"{tree}-{part}.conllu"] = "".join(f"# a comment\n{rows}\n" for rows in sentences)
        served[f"{words}/{part}.txt"] = "\n".join(
            "".join(f"{word} {tag}\n" for word, tag in zip(*row, strict=True))
            for row in generate.task("pos", "swh", SIZES, 1)[part]
        )
        rows = [*generate.task("sa", "swh", SIZES, 1)[part], ("sijui", "neutral")]
        served[f"{tweets}/data/swa/{part}.tsv"] = "tweet\tlabel\n" + "".join(
            f"{tweet}\t{label}\n" for tweet, label in rows
        )
    archive = hub_files.archive_of(
        {
            f"{split}/{language}_Latn.{split}": "\n".join(text(language, part)) + "\n"
            for part, split in (("dev", "dev"), ("test", "devtest"))
            for language in LANGUAGES
        }
    )
    served = {path: content.encode() for path, content in served.items()}
    return served | {hub_files.FLORES: archive}, archive
