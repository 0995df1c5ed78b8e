"""The study `paper` at toy size: every data set and model that it names, from a local server.

They have their published layouts. params/ is the repository's own, except for sizes and amounts;
so is every notebook.
"""

import json
import subprocess
import sys
import time

import generate
import hub_files
import hub_server
import pytest
import torch
import toys
import yaml

from lib import facts, files
from lib.data import corpora
from lib.model import encoder
from lib.study import plan, publish, records, resolve, steps, studies

pytestmark = pytest.mark.slow
LANGUAGES = {"mlt": "mt", "swh": "sw"}  # and their codes in wikiann
TEACHERS = {"mbert": ("bert", "mlt"), "xlm-r": ("xlm-roberta", "swh")}
PARTS = {"train": "train", "dev": "validation", "test": "test"}
SIZES = {"train": 20, "dev": 10, "test": 10}
SMALL = {"steps": 2, "batch_size": 4, "max_length": 16}
CLOSED = "DGurgurov/swahili_sa"
TAGS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]


def text(language, part="train", count=20):
    return corpora.load(language, facts.Source("sample"), part, count)


def model_files(folder, family, sentences, adapted=False):
    """A tiny model as a repository holds it; an adapted one knows how frequent tokens are."""
    model, tokenizer = toys.model(family, max_position_embeddings=50), toys.tokenizer(family)
    if adapted:
        ids = torch.tensor([number for row in tokenizer(sentences)["input_ids"] for number in row])
        counts = torch.bincount(ids, minlength=len(tokenizer)) + 1.0
        weight, bias = encoder.readout(model)
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


def small(study):
    """The study `paper` with its structure and little of everything."""
    settings = {
        step: given | {key: value for key, value in SMALL.items() if given.get(key)}
        for step, given in study["steps"].items()
    }
    settings["layers"]["num_hidden_layers"] = 2
    settings["ffn"] |= {"intermediate_size": 12, "sentences": 8}
    settings["hidden"]["hidden_size"], settings["vocabulary"]["kept_tokens"] = 12, 100
    tune = {"epochs": 1, "batch_size": 16, "max_length": 16}
    kinds = {kind: study["finetune"][kind] | tune for kind in ("sequence", "token")}
    pairs = zip(study["pairs"], LANGUAGES, strict=True)
    return {key: value for key, value in study.items() if key != "variants"} | {
        "corpus": {"train": 24, "dev": 10, "test": 10},
        "steps": settings,
        "score": ["vocabulary"],
        "seeds": study["seeds"] | {"tasks": [1]},
        "pairs": [pair | {"languages": [language]} for pair, language in pairs],
        "finetune": study["finetune"] | {"reduction_factor": 4} | kinds,
        "measure": {"perplexity": {"sentences": 2, "max_length": 16}, "lens": {"sentences": 2}},
    }


def record_file(folder, name):
    return next(file for file in folder.glob(f"*/{name}.json") if file.parent.name != "answers")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The study made with the server, and three runs made again without it.

    Returns the folder, the records of the first time, the ids of the three runs and the seconds
    that they took.
    """
    folder = tmp_path_factory.mktemp("hub-study")
    paper = yaml.safe_load((files.PARAMS / "studies" / "paper.yaml").read_text(encoding="utf-8"))
    (folder / "studies").mkdir()
    study = json.loads(json.dumps(small(paper)))  # YAML would write a shared part as an alias
    (folder / "studies" / "paper.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")

    def run(address, *words, **more):
        done = subprocess.run(
            [sys.executable, "-m", "lib.study", "make", "paper", *words],
            cwd=files.ROOT,
            env=hub_files.environment_for(
                folder, address, STUDY_PARAMS=str(folder), TOKENIZERS_PARALLELISM="false", **more
            ),
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    plain, archive = plain_files()
    with hub_server.serving(data_sets() | models(folder), plain, (CLOSED,)) as address:
        hub_files.params_for(folder, address, archive)
        run(address)
    found = [json.loads(file.read_text()) for file in (folder / "data/runs").glob("*/*.json")]
    first = {record["id"]: record for record in found if "id" in record and "made" in record}
    again = [
        name
        for name, record in first.items()
        if record["task"] == "sa" or (record["step"], record["language"]) == ("adapt", "mlt")
    ]
    again.sort(key=lambda name: first[name]["step"])  # a run that misses its parent makes it
    for name in again:
        record_file(folder / "data" / "runs", name).unlink()
    begun = time.monotonic()
    run(address, *again, HF_HUB_OFFLINE="1")
    return folder, first, again, time.monotonic() - begun


@pytest.fixture
def here(made, monkeypatch):
    """The places of the study in this process."""
    monkeypatch.setattr(files, "PARAMS", made[0])
    monkeypatch.setenv("STUDY_DATA", str(made[0] / "data"))


def test_every_notebook_of_the_study_runs_on_what_the_hub_serves(made, here):
    runs = plan.runs("paper")
    assert {run.step for run in runs} == set(steps.names()) - {"baseline"}
    assert len(runs) == 2 * (6 + 4 + 2) and set(made[1]) == {run.id for run in runs}


def by_place(made):
    return {
        (record["step"], record["task"] or record["language"], record["teacher"]): record
        for record in made[1].values()
    }


def test_records_of_models_name_repository_revision_and_licence(made, here):
    record = by_place(made)
    for teacher, (_, language) in TEACHERS.items():
        entry = facts.fact("models", teacher)
        about = {key: entry[key] for key in ("repository", "revision", "licence")}
        assert record["pretrain", None, teacher]["weights"] == about
        weights = record["adapt", language, teacher]["weights"]
        assert weights["repository"] == entry["adapted"][language]["repository"]
        assert weights["revision"] == hub_server.COMMIT


def test_records_name_revision_checksum_and_licence_of_their_data(made, here):
    record, tasks = by_place(made), facts.facts("tasks")
    for teacher, (_, language) in TEACHERS.items():
        text = record["layers", language, teacher]["data"]
        assert text["train"]["revision"] == hub_server.COMMIT
        assert text["train"]["licence"].startswith("CC0") and len(text["dev"]["sha256"]) == 64
        for task in ("tc", "ner"):
            data, origin = record["finetune", task, teacher]["data"], tasks[task]["origins"][0]
            assert (data["revision"], data["licence"]) == (origin["revision"], origin["licence"])
        words = record["finetune", "pos", teacher]["data"]
        assert all(len(words["files"][part]["sha256"]) == 64 for part in PARTS)
        assert words["licence"].startswith("CC-BY")
    tree = facts.fact("languages", "mlt")["ud"]
    assert record["finetune", "pos", "mbert"]["data"]["revision"] == tree["revision"]
    closed = record["finetune", "sa", "xlm-r"]
    assert "accept its terms" in closed["made"]["passed_over"][0]
    assert "afrisent" in closed["data"]["files"]["train"]["origin"]


def test_offline_gives_the_same_records_at_once(made, here):
    """Without HF_HUB_OFFLINE, the attempts to reach the server would take minutes."""
    _, first, again, seconds = made
    assert len(again) == 3 and seconds < 100
    for name in again:
        now = json.loads(record_file(files.runs(), name).read_text(encoding="utf-8"))
        assert records.lasting(now) == records.lasting(first[name])


def test_its_records_fill_the_table(made, here):
    from lib.report import frame, main_table

    scores = frame.frame(publish.collect("paper"))
    table = main_table.main_table(main_table.cells(scores))
    assert {"mbert", "xlm-r"} == set(table["teacher"])
    first = resolve.chain(studies.load("paper"), "mlt", "mbert")[0]
    assert first.settings["steps"] == 0
