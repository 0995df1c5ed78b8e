"""The study notebooks, really executed at toy size: by command, cell by cell, killed, and twice."""

import copy
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import nbformat
import pytest
from killing import kill_at_a_checkpoint
from transformers import AutoModelForMaskedLM, AutoTokenizer

from lib import files
from lib.data import tasks
from lib.errors import StudyError
from lib.facts import Source
from lib.measure import metrics
from lib.study import make, plan, records, repeat, steps, studies
from lib.train import baselines

pytestmark = pytest.mark.slow
STUDY_NOTEBOOKS = sorted((files.ROOT / "notebooks" / "study").glob("*.ipynb"))
TINY = {step: {"steps": 6, "batch_size": 4} for step in ("pretrain", "adapt", "layers", "hidden")}
TINY |= {
    "ffn": {"sentences": 16},
    "vocabulary": {"kept_tokens": 500},
    "finetune": {"train_limit": 80, "sequence": {"epochs": 1}, "token": {"epochs": 1}},
    "perplexity": {"sentences": 4, "max_length": 32},
    "lens": {"sentences": 4},
    "export": {"sentences": 8},
}


def run(*words, folder, **extra):
    """A command of this environment in the repository, with everything it makes in `folder`."""
    environment = {"STUDY_DATA": str(folder), "OMP_NUM_THREADS": "1"}
    environment = os.environ | environment | {"TOKENIZERS_PARALLELISM": "false"} | extra
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=files.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def papermill(notebook, folder, *words, **extra):
    """Papermill on a study notebook; what it makes is in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return run(
        *("papermill", f"notebooks/study/{notebook}.ipynb", str(folder / "out.ipynb")),
        *("--no-progress-bar", "-k", "python3", *words),
        folder=folder,
        **extra,
    )


def readme_commands(start):
    """Commands of the README's blocks that begin with `start`, split into words."""
    text = (files.ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(start)]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The README's papermill command for a task, at toy size: it makes the whole chain first."""
    folder = tmp_path_factory.mktemp("study")
    commands = readme_commands("papermill")
    command = next(words for words in commands if "60_finetune_task" in words[1])
    command[2] = str(folder / "out.ipynb")
    overrides = json.dumps({"overrides": TINY})
    done = run(*command, "-y", overrides, "--no-progress-bar", "-k", "python3", folder=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    model = plan.chain(studies.load("demo"), "mlt", overrides=TINY)[-1]
    return folder, plan.scoring(model, "mlt", "ner", 1, TINY)


@pytest.fixture
def scored(chain, monkeypatch):
    """The run of the command, with the folder of its chain as the study's data."""
    monkeypatch.setenv("STUDY_DATA", str(chain[0]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return chain[1]


def test_one_command_makes_the_whole_chain(scored):
    for step in scored.lineage():
        record = records.read(step)
        assert (record["id"], record["step"]) == (step.id, step.step)
        assert record["settings"][step.step] == step.stated and record["changed"] == step.changed
        assert record["made"]["environment"]["commit"] and record["data"]
        parent = records.digest(records.read(step.parent)) if step.parent else None
        assert record["made"]["parent"] == parent
    measured = [step.step for step in scored.lineage() if "reading" in records.read(step)["data"]]
    assert measured == ["adapt", "layers", "hidden"]
    record = records.read(scored)
    assert set(record["scores"]) == {"span_f1", "accuracy"}
    assert 0 <= record["interval"][0] <= record["scores"]["span_f1"] <= record["interval"][1] <= 1


def test_each_cut_makes_the_model_it_says(scored):
    sizes = []
    for step in scored.lineage()[:-1]:
        model = AutoModelForMaskedLM.from_pretrained(step.folder)
        tokenizer = AutoTokenizer.from_pretrained(step.folder)
        logits = model(**tokenizer("Il-qattus qed jorqod.", return_tensors="pt")).logits
        assert logits.shape[-1] == len(tokenizer)
        sizes.append(model.num_parameters())
        card = (step.folder / "README.md").read_text(encoding="utf-8")
        assert f"{sizes[-1]:,} parameters" in card
        assert ("reading: unknown_tokens 0" in card) == (step.step in ("adapt", "layers", "hidden"))
    assert sizes[0] == sizes[1] > sizes[2] > sizes[3] > sizes[4] > sizes[5]
    card = (scored.parent.folder / "README.md").read_text(encoding="utf-8")
    score = records.read(scored)["scores"]["span_f1"]
    assert f"span_f1 {score:.4f}" in card and "| ner | mlt |" in card


def test_same_settings_give_the_same_record(scored):
    """The last cut and its score, made again, are equal but for times; so what follows is not
    stale.
    """
    wanted = [scored.parent, scored]
    before = [records.read(step) for step in wanted]
    for step in wanted:
        step.record.unlink()
    make.make(wanted)
    for old, step in zip(before, wanted, strict=True):
        assert records.lasting(records.read(step)) == records.lasting(old)


def test_a_run_repeated_elsewhere_is_compared_and_touches_nothing(chain, scored, tmp_path):
    """It is equal to its own record; a number that was changed there is named; the model's card
    stays as it was.
    """
    card = scored.parent.folder / "README.md"
    before, kept = card.read_bytes(), scored.record.read_text(encoding="utf-8")
    assert repeat.repeat(scored) == [] and os.environ["STUDY_DATA"] == str(chain[0])
    changed = json.loads(kept) | {"paired": {"ngrams": {"difference": 0.1}}}
    changed["scores"]["span_f1"] = 2.0
    records.write_lines(tmp_path / "published.jsonl", [changed])
    try:
        scored.record.rename(tmp_path / scored.record.name)
        with pytest.raises(StudyError, match="no record"):
            repeat.repeat(scored)
        (difference,) = repeat.repeat(scored, tmp_path / "published.jsonl")
    finally:
        scored.record.write_text(kept, encoding="utf-8")
    now = json.loads(kept)["scores"]["span_f1"]
    assert difference == f"scores.span_f1: 2.0 then, {now} now"
    assert card.read_bytes() == before and not list((chain[0] / "repeat").iterdir())


@pytest.mark.parametrize("step", ["layers", "finetune"])
def test_a_kill_loses_nothing_and_changes_nothing(step, chain, scored, tmp_path, monkeypatch):
    """SIGKILL in a training, then again to the end: the record of an undisturbed run."""
    for name in ("models", "runs"):
        shutil.copytree(chain[0] / name, tmp_path / name)
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    wanted = scored.lineage()[2]
    if step == "finetune":
        longer = TINY | {step: TINY[step] | {"token": {"epochs": 30}}}
        wanted = plan.scoring(scored.parent, "mlt", "pos", 1, longer)
        make.make([wanted])
    undisturbed = records.read(wanted)
    wanted.record.unlink()
    if step == "layers":
        shutil.rmtree(wanted.folder)
    notebook = f"study/{wanted.notebook.stem}"
    kill_at_a_checkpoint(notebook, wanted.parameters, wanted.checkpoints, tmp_path)
    assert not wanted.record.exists()
    make.make([wanted])
    assert records.lasting(records.read(wanted)) == records.lasting(undisturbed)
    said = wanted.record.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert "resumed after" in said and not wanted.checkpoints.exists()


def twice(file, folder):
    """A copy of a notebook in which every code cell but the parameters stands twice in a row."""
    notebook = nbformat.read(file, 4)
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            cells.append(copy.deepcopy(cell))
            cells[-1]["id"] += "-again"
    notebook.cells = cells
    nbformat.write(notebook, folder / file.name)
    return folder / file.name


def test_every_cell_can_be_run_twice(chain, scored, tmp_path):
    """Every code cell of every study notebook, executed twice in a row in one kernel, gives the
    record of one execution.
    """
    model = scored.parent
    measured = [plan.measuring(model, "mlt", kind, TINY) for kind in steps.names("measure")]
    baseline = plan.baseline(studies.load("demo"), "mlt", "tc", "majority")
    wanted = [*scored.lineage(), *measured, baseline]
    assert {step.notebook for step in wanted} == set(STUDY_NOTEBOOKS)
    with make.warm_kernel() as execute:
        for step in wanted:
            before = records.read(step) if step.record.exists() else None
            execute(twice(step.notebook, tmp_path), tmp_path / "copy.ipynb", step.parameters)
            cells = nbformat.read(tmp_path / "copy.ipynb", 4).cells
            assert sum(cell["id"].endswith("-again") for cell in cells) > 3
            assert before is None or records.lasting(records.read(step)) == records.lasting(before)
            assert not step.checkpoints.exists()


def test_a_baseline_needs_no_model(tmp_path, monkeypatch):
    """The notebook's record is what the functions return, and it keeps its answers."""
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    limit = {"finetune": {"train_limit": 50}}
    asked = plan.baseline(studies.load("demo"), "swh", "sa", "ngrams", overrides=limit)
    make.make([asked])
    record = records.read(asked)
    expected = baselines.answer(tasks.load("sa", "swh", Source("sample"), 50), "ngrams")
    for name in ("scores", "dev_scores", "chosen", "tried"):
        assert record[name] == expected[name]
    interval = metrics.interval("macro_f1", expected["gold"], expected["predictions"])
    assert record["interval"] == list(interval) and record["chain"] == []
    assert record["data"]["examples"]["train"] == 50
    file = tmp_path / "runs" / "answers" / f"{asked.id}.json"
    answers = json.loads(file.read_text(encoding="utf-8"))
    assert answers == {name: expected[name] for name in ("gold", "predictions")}
    assert not (tmp_path / "models").exists()


def test_a_misspelt_parameter_of_a_command_stops_before_any_work(tmp_path):
    done = papermill("40_reduce_hidden", tmp_path, "-p", "hiden_size", "48")
    assert done.returncode != 0 and "unknown parameter 'hiden_size'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.ipynb"]


def test_bad_parameters_stop_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "data"))
    notebook = files.ROOT / "notebooks" / "study" / "40_reduce_hidden.ipynb"
    with make.warm_kernel() as execute:
        for parameters, message in (
            ({"seed": "one"}, "parameter seed: 'one' is not a whole number"),
            ({"language": "xxx"}, "no language called 'xxx'"),
            ({"overrides": {"hidden": {"hidden_size": 50}}}, "hidden size of 50"),
        ):
            with pytest.raises(StudyError, match=message):
                execute(notebook, tmp_path / "copy.ipynb", parameters)
    assert not (tmp_path / "data").exists()


def test_the_graph_of_a_study_and_the_commands_of_the_readme(tmp_path):
    """Snakemake plans the demo completely; every make target that the README names exists."""
    done = run("snakemake", "--dry-run", "--config", "study=demo", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
    counted = {word: int(number) for word, number in lines}
    assert counted["total"] == len(plan.batches("demo")) + 1  # and the figures
    for words in readme_commands("make"):
        dry = subprocess.run(["make", "-n", words[1]], cwd=files.ROOT, capture_output=True)
        assert dry.returncode == 0, words
