"""The study `paper` from end to end at toy size: every data set and model it names, in its published layout, from a loopback stand-in.

params/ is the repository's own, but for sizes and amounts; so is every notebook.
"""

import json
import subprocess
import sys
import time

import generate as sample
import hub_server
import pytest
import test_hub
import torch
import toys
import yaml

from lib import facts, files
from lib.data import corpora
from lib.model import encoder
from lib.study import plan, records, studies

SMALL = {"steps": 4, "batch_size": 4, "max_length": 24}
ENDS = ("train", "dev", "test")


def model_files(folder, family, text, adapted=False):
    """A tiny model of a family as a repository holds it; the adapted one knows how frequent the tokens of the text are."""
    model, tokenizer = toys.model(family, max_position_embeddings=50), toys.tokenizer(family)
    if adapted:
        ids = torch.tensor([each for row in tokenizer(text)["input_ids"] for each in row])
        counts = torch.bincount(ids, minlength=len(tokenizer)) + 1.0
        with torch.no_grad():
            encoder.readout(model)[0].mul_(0.01)
            encoder.readout(model)[1].copy_((counts / counts.sum()).log())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def data_sets():
    """Text and labels of the embedded corpus in the layouts of the published data sets."""
    import datasets

    tags = datasets.ClassLabel(names=["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"])
    wikiann = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(tags),
            "langs": datasets.List(datasets.Value("string")),
            "spans": datasets.List(datasets.Value("string")),
        }
    )
    sizes, found = {"train": 70, "dev": 14, "test": 14}, {}

    def add(name, folder, config, tables, features=None):
        head = f"- config_name: {config}\n  data_files:\n" + "".join(
            f"  - split: {part}\n    path: {folder}/{part}.parquet\n" for part in tables
        )
        files = found.setdefault(name, {"README.md": b"---\nconfigs:\n---\n"})
        files["README.md"] = files["README.md"].replace(
            b"\n---\n", b"\n" + head.encode() + b"---\n"
        )
        files.update(
            {
                f"{folder}/{part}.parquet": test_hub.parquet(table, features)
                for part, table in tables.items()
            }
        )

    parts = {"train": "train", "dev": "validation", "test": "test"}
    for language, short in (("mlt", "mt"), ("swh", "sw")):
        code = facts.fact("languages", language)["flores"]
        text = corpora.load(language, facts.Source("sample"), "train", 60)
        add(
            "cis-lmu/GlotCC-V1",
            f"v1.0/{code.replace('_', '-')}",
            code.replace("_", "-"),
            {
                "train": {
                    "warc-target-uri": ["https://host"] * 30,
                    "content": ["\n".join(text[n : n + 2]) for n in range(0, 60, 2)],
                    "identification-prob": [0.9] * 30,
                    "script-percentage": [1.0] * 30,
                    "num-sents": [2] * 30,
                    "quality-warnings": [None] * 30,
                    "tlsh": ["T1"] * 30,
                }
            },
        )
        task = {name: sample.task(name, language, sizes, 1) for name in ("tc", "sa", "ner")}
        add(
            "Davlan/sib200",
            f"data/{code}",
            code,
            {
                parts[part]: {
                    "index_id": list(range(len(rows))),
                    "category": [label for _, label in rows],
                    "text": [text for text, _ in rows],
                }
                for part, rows in task["tc"].items()
            },
        )
        add(
            "unimelb-nlp/wikiann",
            short,
            short,
            {
                parts[part]: {
                    "tokens": [list(words) for words, _ in rows],
                    "ner_tags": [[tags.str2int(tag) for tag in gold] for _, gold in rows],
                    "langs": [[short] * len(words) for words, _ in rows],
                    "spans": [["PER: a"] for _ in rows],
                }
                for part, rows in task["ner"].items()
            },
            wikiann,
        )
        if language == "mlt":
            add(
                "DGurgurov/maltese_sa",
                "data",
                "default",
                {
                    parts[part]: {
                        "text": [text for text, _ in rows],
                        "label": [int(label == "positive") for _, label in rows],
                    }
                    for part, rows in task["sa"].items()
                },
            )
    found["DGurgurov/swahili_sa"] = {"README.md": b"closed"}
    return found


def plain_files():
    """The treebank, masakhapos and afrisenti as raw files, FLORES as its archive."""
    files, entry = test_hub.raw_files(b""), facts.facts("tasks")
    ud, sizes = facts.fact("languages", "mlt")["ud"], {"train": 70, "dev": 14, "test": 14}
    for part in ENDS:
        rows = sample.task("pos", "mlt", sizes, 1)[part]
        files[
            f"UniversalDependencies/{ud['treebank']}/{ud['revision']}/{ud['prefix']}-ud-{part}.conllu"
        ] = "".join(
            f"# sent_id = {n}\n"
            + "".join(
                f"{k}\t{word}\t_\t{tag}\t_\t_\t0\troot\t_\t_\n"
                for k, (word, tag) in enumerate(zip(*row, strict=True), 1)
            )
            + "\n"
            for n, row in enumerate(rows)
        ).encode()
        rows = sample.task("pos", "swh", sizes, 1)[part]
        files[
            f"masakhane-io/masakhane-pos/{entry['pos']['origins'][1]['revision']}/data/swa/{part}.txt"
        ] = "\n".join(
            "".join(f"{word} {tag}\n" for word, tag in zip(*row, strict=True)) for row in rows
        ).encode()
        rows = sample.task("sa", "swh", sizes, 1)[part]
        files[
            f"afrisenti-semeval/afrisent-semeval-2023/{entry['sa']['origins'][2]['revision']}/data/swa/{part}.tsv"
        ] = (
            "tweet\tlabel\nsijui\tneutral\n" + "".join(f"{text}\t{label}\n" for text, label in rows)
        ).encode()
    texts = {
        f"{split}/{code}.{split}": "\n".join(
            corpora.load(language, facts.Source("sample"), part, 20)
        )
        + "\n"
        for part, split in (("dev", "dev"), ("test", "devtest"))
        for language, code in (("mlt", "mlt_Latn"), ("swh", "swh_Latn"))
    }
    files["nllb/flores200_dataset.tar.gz"] = flores = test_hub.archive_of(texts)
    return files, flores


def small(study):
    """The study `paper` with its structure and little of everything."""
    steps = {
        step: given | {key: value for key, value in SMALL.items() if given.get(key)}
        for step, given in study["steps"].items()
    }
    (
        steps["layers"]["num_hidden_layers"],
        steps["ffn"]["intermediate_size"],
        steps["ffn"]["sentences"],
    ) = 2, 12, 8
    steps["hidden"]["hidden_size"], steps["vocabulary"]["kept_tokens"] = 12, 100
    tune = {"epochs": 1, "batch_size": 16, "max_length": 24}
    return {key: value for key, value in study.items() if key != "variants"} | {
        "corpus": {"train": 24, "dev": 12, "test": 12},
        "steps": steps,
        "score": ["vocabulary"],
        "seeds": study["seeds"] | {"tasks": [1]},
        "pairs": [
            pair | {"languages": [language]}
            for pair, language in zip(study["pairs"], ("mlt", "swh"), strict=True)
        ],
        "finetune": study["finetune"]
        | {"reduction_factor": 4}
        | {kind: study["finetune"][kind] | tune for kind in ("sequence", "token")},
        "measure": {"perplexity": {"sentences": 3, "max_length": 24}, "lens": {"sentences": 3}},
    }


def record_files(folder, name="*"):
    """The records under `folder`, without the answers that stand beside them."""
    return (file for file in folder.glob(f"*/{name}.json") if file.parent.name != "answers")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The study made against the stand-in, and one scoring made again without it; (folder, seconds of the second)."""
    folder = tmp_path_factory.mktemp("hub-study")
    files, flores = plain_files()
    served, entry = data_sets(), facts.facts("models")
    text = {
        language: corpora.load(language, facts.Source("sample"), "dev", 20)
        for language in ("mlt", "swh")
    }
    for name, family, language in (("mbert", "bert", "mlt"), ("xlm-r", "xlm-roberta", "swh")):
        served[entry[name]["repository"]] = model_files(folder / name, family, text[language])
        served[entry[name]["adapted"][language]["repository"]] = model_files(
            folder / f"{name}-adapted", family, text[language], True
        )
    study = small(
        yaml.safe_load((files.PARAMS / "studies" / "paper.yaml").read_text(encoding="utf-8"))
    )
    (folder / "studies").mkdir()
    (folder / "studies" / "paper.yaml").write_text(
        yaml.safe_dump(json.loads(json.dumps(study))), encoding="utf-8"
    )

    def run(address, *words, **more):
        environment = test_hub.environment_for(
            folder, address, STUDY_PARAMS=str(folder), TOKENIZERS_PARALLELISM="false", **more
        )
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=files.ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    with hub_server.serving(served, files, ("DGurgurov/swahili_sa",)) as address:
        test_hub.params_for(folder, address, flores)
        run(address, "lib.plan", "make", "paper")
    first = {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in record_files(folder / "data" / "runs")
    }
    again = [
        name
        for name in first
        if ".sa.vocabulary" in name or (".adapted." in name and name.startswith("mlt"))
    ]
    for name in again:
        next(record_files(folder / "data" / "runs", name)).unlink()
    begun = time.monotonic()
    run(address, "lib.plan", "make", "paper", *again, HF_HUB_OFFLINE="1")
    return folder, first, again, time.monotonic() - begun


@pytest.fixture
def here(made, monkeypatch):
    """The study's own places in this process."""
    monkeypatch.setattr(files, "PARAMS", made[0])
    monkeypatch.setenv("STUDY_DATA", str(made[0] / "data"))


def test_every_notebook_of_the_study_runs_on_what_the_hub_serves(made, here):
    jobs = plan.jobs("paper")
    assert {job.run.step for job in jobs} == set(plan.NOTEBOOKS) - {"baseline"} and len(
        jobs
    ) == 2 * (6 + 4 + 2)
    assert set(made[1]) == {job.run.id for job in jobs}


def test_each_record_names_source_revision_checksum_and_licence(made, here):
    record = {
        (each["step"], each["task"] or each["language"], each["teacher"]): each
        for each in made[1].values()
    }
    stated, languages, tasks = facts.facts("models"), facts.facts("languages"), facts.facts("tasks")
    for teacher, language in (("mbert", "mlt"), ("xlm-r", "swh")):
        weights = record["pretrain", None, teacher]["weights"]
        assert weights == {
            "repository": stated[teacher]["repository"],
            "revision": stated[teacher]["revision"],
            "licence": stated[teacher]["licence"],
        }
        weights = record["adapt", language, teacher]["weights"]
        assert (
            weights["repository"] == stated[teacher]["adapted"][language]["repository"]
            and weights["revision"] == hub_server.COMMIT
        )
        text = record["layers", language, teacher]["data"]
        assert text["train"]["revision"] == hub_server.COMMIT and text["train"][
            "licence"
        ].startswith("CC0")
        assert len(text["dev"]["sha256"]) == 64
        for task in ("tc", "ner"):
            data = record["finetune", task, teacher]["data"]
            assert (
                data["revision"] == tasks[task]["origins"][0]["revision"]
                and data["licence"] == tasks[task]["origins"][0]["licence"]
            )
        pos = record["finetune", "pos", teacher]["data"]
        assert all(len(pos["files"][part]["sha256"]) == 64 for part in ENDS) and pos[
            "licence"
        ].startswith("CC-BY")
    assert (
        record["finetune", "pos", "mbert"]["data"]["revision"] == languages["mlt"]["ud"]["revision"]
    )
    closed = record["finetune", "sa", "xlm-r"]
    assert (
        "accept its terms" in closed["made"]["passed_over"][0]
        and "afrisent" in closed["data"]["files"]["train"]["origin"]
    )


def test_offline_gives_the_same_records_at_once(made, here):
    _, first, again, seconds = made
    assert (
        len(again) == 3 and seconds < 100
    )  # with a network that is not there and no HF_HUB_OFFLINE it would be minutes of attempts
    for name in again:
        now = json.loads(next(record_files(files.runs(), name)).read_text(encoding="utf-8"))
        assert records.lasting(now) == records.lasting(first[name])


def test_its_records_fill_the_table(made, here):
    from lib.report import tables

    plan.collect("paper", made[0] / "collected", partial=True)
    table = tables.main_table(tables.cells(records.load(made[0] / "collected")))
    assert {"mbert", "xlm-r"} == set(table["teacher"])
    assert studies.chain("paper", "mlt", "mbert")[0].settings["steps"] == 0
