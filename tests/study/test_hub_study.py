"""The study `paper` at toy size: every data set and model that it names, from a local server.

They have their published layouts. params/ is the repository's own, except for sizes and amounts;
so is every notebook.
"""

import json
import math
import subprocess
import sys
import time

import generate
import hub_files
import hub_paper
import hub_server
import pytest
import torch
import toys
import yaml

from lib import facts, files
from lib.model import encoder
from lib.study import plan, publish, records, steps, studies

pytestmark = pytest.mark.slow
SMALL = {"steps": 2, "batch_size": 4, "max_length": 16}


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
    pairs = zip(study["pairs"], hub_paper.LANGUAGES, strict=False)
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


def make(folder, address, *ids, study="paper", **more):
    """Make a study, or runs of it, in a process that sees only the server."""
    done = subprocess.run(
        [sys.executable, "-m", "lib.study", "make", study, *ids],
        cwd=files.ROOT,
        env=hub_files.environment_for(
            folder, address, STUDY_PARAMS=str(folder), TOKENIZERS_PARALLELISM="false", **more
        ),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]


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

    plain, archive = hub_paper.plain_files()
    with hub_server.serving(
        hub_paper.data_sets() | hub_paper.models(folder), plain, (hub_paper.CLOSED,)
    ) as address:
        hub_files.params_for(folder, address, archive)
        make(folder, address)
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
    make(folder, address, *again, HF_HUB_OFFLINE="1")
    return folder, first, again, time.monotonic() - begun


@pytest.fixture
def here(made, monkeypatch):
    """The places of the study in this process."""
    monkeypatch.setattr(files, "PARAMS", made[0])
    monkeypatch.setenv("STUDY_DATA", str(made[0] / "data"))


def test_every_notebook_of_the_study_runs_on_what_the_hub_serves(made, here):
    runs = plan.runs("paper")
    assert {run.step for run in runs} == set(steps.names()) - {"baseline", "export"}
    assert len(runs) == 2 * (6 + 4 + 2) and set(made[1]) == {run.id for run in runs}


@pytest.fixture
def modern(tmp_path, monkeypatch):
    """step, or task -> run of the study `paper-modern` in one language, made with the server.

    The teacher is a gated rotary encoder with a tokenizer such as its own: BPE of a whole text.
    """
    file = files.PARAMS / "studies" / "paper-modern.yaml"
    paper, entry = yaml.safe_load(file.read_text(encoding="utf-8")), facts.fact("models", "mmbert")
    study = small(paper)
    study["steps"]["hidden"] |= {"hidden_size": 12, "num_attention_heads": 2}  # of 24 and 4
    study["steps"]["vocabulary"]["kept_tokens"] = 400  # 256 of them are bytes
    (tmp_path / "studies").mkdir()
    text = yaml.safe_dump(json.loads(json.dumps(study)))
    (tmp_path / "studies" / file.name).write_text(text, encoding="utf-8")
    plain, archive = hub_paper.plain_files()
    sentences, own = hub_paper.text("mlt", "dev"), toys.gemma()
    model = hub_paper.model_files(tmp_path / "mmbert", "modernbert", sentences, own=own)
    served = hub_paper.data_sets() | {entry["repository"]: model}
    with hub_server.serving(served, plain, (hub_paper.CLOSED,)) as address:
        hub_files.params_for(tmp_path, address, archive)
        make(tmp_path, address, study="paper-modern")
    monkeypatch.setattr(files, "PARAMS", tmp_path)
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "data"))
    return {run.task or run.step: run for run in plan.runs("paper-modern")}


def test_the_study_of_a_modern_teacher_runs_on_what_the_hub_serves(modern):
    """All cuts from its pinned commit, all tasks, and what is counted in words."""
    made = {name: json.loads(run.record.read_text()) for name, run in modern.items()}
    chain = ["pretrain", "adapt", "layers", "ffn", "hidden", "vocabulary"]
    assert {*made} == {*chain, "tc", "sa", "ner", "pos", "perplexity", "lens"}
    entry = facts.fact("models", "mmbert")
    about = {key: entry[key] for key in ("repository", "revision", "licence")}
    assert made["pretrain"]["weights"] == about
    sizes = made["vocabulary"]["model"]["config"]
    assert (sizes["model_type"], sizes["num_attention_heads"]) == ("modernbert", 2)
    names = ("num_hidden_layers", "intermediate_size", "hidden_size")
    assert [sizes[name] for name in names] == [2, 12, 12]

    model, tokenizer = encoder.load(modern["vocabulary"].folder)
    documents = hub_paper.text("mlt", count=24)
    documents = ["\n".join(documents[at : at + 2]) for at in range(0, 24, 2)]
    assert made["layers"]["data"]["reading"]["words_cut_off"] == pytest.approx(
        not_seen(documents, toys.gemma())
    )
    for task in ("tc", "sa"):
        texts = [text for text, _ in generate.task(task, "mlt", hub_paper.SIZES, 1)["test"]]
        assert made[task]["cut_off"] == pytest.approx(not_seen(texts, tokenizer))
    for task in ("ner", "pos"):
        rows = [words for words, _ in generate.task(task, "mlt", hub_paper.SIZES, 1)["test"]]
        assert made[task]["cut_off"] == pytest.approx(not_seen(map(" ".join, rows), tokenizer))
    assert made["tc"]["cut_off"] > 0
    value = made["perplexity"]["scores"]["pseudo_perplexity_left_to_right"]
    expected = left_to_right(model, tokenizer, hub_paper.text("mlt", "test")[:2])
    assert math.log(value) == pytest.approx(expected, rel=1e-4)


def not_seen(texts, tokenizer, max_length=16):
    """The share of words between white space that are not in what the first tokens decode to.

    A space at the end is the first token of the next word.
    """
    seen = words = 0
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][: max_length - 2]
        decoded = tokenizer.decode(ids)
        seen += len(decoded.split()) + decoded[-1:].isspace()
        words += len(text.split())
    return 1 - seen / words


def left_to_right(model, tokenizer, sentences, max_length=16):
    """Nats of a token while it and the later ones of its word are masked, one after another."""
    found = []
    for sentence in sentences:
        ids = tokenizer(sentence, truncation=True, max_length=max_length)["input_ids"]
        tokens = tokenizer.convert_ids_to_tokens(ids)
        for place in range(1, len(ids) - 1):
            end = place + 1
            while end < len(ids) - 1 and not tokens[end].startswith("▁"):
                end += 1
            hidden = ids[:place] + [tokenizer.mask_token_id] * (end - place) + ids[end:]
            logits = model(input_ids=torch.tensor([hidden])).logits[0, place]
            found.append(-logits.log_softmax(-1)[ids[place]].item())
    return sum(found) / len(found)


def by_place(made):
    return {
        (record["step"], record["task"] or record["language"], record["teacher"]): record
        for record in made[1].values()
    }


def test_records_of_models_name_repository_revision_and_licence(made, here):
    record = by_place(made)
    for teacher, (_, language) in hub_paper.TEACHERS.items():
        entry = facts.fact("models", teacher)
        about = {key: entry[key] for key in ("repository", "revision", "licence")}
        assert record["pretrain", None, teacher]["weights"] == about
        weights = record["adapt", language, teacher]["weights"]
        assert weights["repository"] == entry["adapted"][language]["repository"]
        assert weights["revision"] == hub_server.COMMIT


def test_records_name_revision_checksum_and_licence_of_their_data(made, here):
    record, tasks = by_place(made), facts.facts("tasks")
    for teacher, (_, language) in hub_paper.TEACHERS.items():
        text = record["layers", language, teacher]["data"]
        assert text["train"]["revision"] == hub_server.COMMIT
        assert text["train"]["licence"].startswith("CC0") and len(text["dev"]["sha256"]) == 64
        for task in ("tc", "ner"):
            data, origin = record["finetune", task, teacher]["data"], tasks[task]["origins"][0]
            assert (data["revision"], data["licence"]) == (origin["revision"], origin["licence"])
        words = record["finetune", "pos", teacher]["data"]
        assert all(len(words["files"][part]["sha256"]) == 64 for part in hub_paper.PARTS)
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
    first = plan.chain(studies.load("paper"), "mlt", "mbert")[0]
    assert first.settings["steps"] == 0
