"""The study notebooks really executed: the README's own commands, at toy size, in a folder of their own."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from transformers import AutoModelForMaskedLM, AutoTokenizer

from lib import files
from lib.data import tasks
from lib.errors import StudyError
from lib.facts import Source
from lib.measure import metrics
from lib.study import plan, records, repeat, studies
from lib.train import baselines

TINY = {step: {"steps": 6, "batch_size": 4} for step in ("pretrain", "adapt", "layers", "hidden")}
TINY |= {
    "ffn": {"sentences": 16},
    "vocabulary": {"kept_tokens": 500},
    "finetune": {"train_limit": 80, "sequence": {"epochs": 1}, "token": {"epochs": 1}},
}


def run(*words, folder, **extra):
    """A command of this environment in the repository, with everything it makes in `folder`."""
    environment = (
        os.environ
        | {"STUDY_DATA": str(folder), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        | extra
    )
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=files.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def readme_commands(start):
    """Commands of the README's blocks that begin with `start`, split into words."""
    text = (files.ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [
        shlex.split(line)
        for block in blocks
        for line in block.splitlines()
        if line.startswith(start)
    ]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The README's papermill command for a task, at toy size: it makes the whole chain first."""
    folder = tmp_path_factory.mktemp("study")
    command = next(
        words for words in readme_commands("papermill") if "60_finetune_task" in words[1]
    )
    command[2] = str(folder / "out.ipynb")
    done = run(
        *command,
        "-y",
        json.dumps({"overrides": TINY}),
        "--no-progress-bar",
        "-k",
        "python3",
        folder=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, studies.scoring(
        studies.chain("demo", "mlt", overrides=TINY)[-1], "mlt", "ner", 1, TINY
    )


def test_one_command_makes_the_whole_chain(chain, monkeypatch):
    folder, scored = chain
    monkeypatch.setenv("STUDY_DATA", str(folder))
    for each in scored.lineage():
        record = json.loads(each.record.read_text(encoding="utf-8"))
        assert record["id"] == each.id and record["step"] == each.step
        assert record["settings"][each.step] == dict(each.settings)
        assert record["made"]["environment"]["commit"] and record["data"]
    scores = json.loads(scored.record.read_text(encoding="utf-8"))
    assert set(scores["scores"]) == {"span_f1", "accuracy"} and all(
        0 <= value <= 1 for value in scores["scores"].values()
    )
    assert scores["interval"][0] <= scores["scores"]["span_f1"] <= scores["interval"][1]


def test_each_cut_makes_the_model_it_says(chain, monkeypatch):
    folder, scored = chain
    monkeypatch.setenv("STUDY_DATA", str(folder))
    sizes = []
    for each in scored.lineage()[:-1]:
        model = AutoModelForMaskedLM.from_pretrained(each.folder)
        tokenizer = AutoTokenizer.from_pretrained(each.folder)
        assert model(**tokenizer("Il-qattus qed jorqod.", return_tensors="pt")).logits.shape[
            -1
        ] == len(tokenizer)
        sizes.append(model.num_parameters())
        assert f"{sizes[-1]:,} parameters" in (each.folder / "README.md").read_text(
            encoding="utf-8"
        )
    assert sizes[0] == sizes[1] > sizes[2] > sizes[3] > sizes[4] > sizes[5]
    card = (scored.parent.folder / "README.md").read_text(encoding="utf-8")
    score = json.loads(scored.record.read_text(encoding="utf-8"))["scores"]["span_f1"]
    assert f"span_f1 {score:.4f}" in card and "| ner | mlt |" in card


def test_a_teacher_that_is_read_can_be_given_another_shape_first(chain, tmp_path, monkeypatch):
    """The chain's first teacher, read from its folder, made narrower and deeper; a size that its heads do not divide stops before any
    training."""
    folder, scored = chain
    monkeypatch.setenv("STUDY_DATA", str(folder))
    first = scored.lineage()[0]
    shutil.copytree(files.PARAMS, tmp_path / "params")
    study = yaml.safe_load(
        (tmp_path / "params" / "studies" / "demo.yaml").read_text(encoding="utf-8")
    )
    study |= {
        "models_root": str(first.folder.parent),
        "pairs": [{"teacher": "narrow", "languages": ["mlt"]}],
    }
    (tmp_path / "params" / "studies" / "demo.yaml").write_text(
        yaml.safe_dump(study), encoding="utf-8"
    )
    for size, said in ((50, "a hidden size of 50 was asked for; 4 heads stay"), (48, "")):
        entry = {
            "make": "local",
            "folder": first.id,
            "hidden_size": size,
            "intermediate_size": 100,
            "num_hidden_layers": 8,
            "text": {"mlt": 60, "slk": 60},
        }
        entry = yaml.safe_load(
            (tmp_path / "params" / "models.yaml").read_text(encoding="utf-8")
        ) | {"narrow": entry}
        (tmp_path / "params" / "models.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
        done = run(
            "papermill",
            "notebooks/study/00_pretrain_teacher.ipynb",
            str(tmp_path / "out.ipynb"),
            "--no-progress-bar",
            "-k",
            "python3",
            "-y",
            json.dumps({"overrides": {"pretrain": TINY["pretrain"]}}),
            folder=tmp_path / "data",
            STUDY_PARAMS=str(tmp_path / "params"),
        )
        assert (said in done.stderr) if said else done.returncode == 0, done.stderr[-3000:]
        assert len([*(tmp_path / "data" / "runs" / "pretrain").glob("*.json")]) == (
            0 if said else 1
        )
    (record,) = (tmp_path / "data" / "runs" / "pretrain").glob("*.json")
    made = AutoModelForMaskedLM.from_pretrained(tmp_path / "data" / "models" / record.stem)
    assert (
        made.config.hidden_size,
        made.config.intermediate_size,
        made.config.num_hidden_layers,
    ) == (48, 100, 8)
    assert (
        json.loads(record.read_text(encoding="utf-8"))["model"]["parameters"]
        == made.num_parameters()
    )


def test_same_settings_give_the_same_record(chain, monkeypatch):
    """The last cut and the scoring made again: equal but for times."""
    folder, scored = chain
    monkeypatch.setenv("STUDY_DATA", str(folder))
    wanted = [plan.job(scored.parent), plan.job(scored)]
    before = [json.loads(each.run.record.read_text(encoding="utf-8")) for each in wanted]
    for each in wanted:
        each.run.record.unlink()
    plan.make(wanted)
    for old, each in zip(before, wanted, strict=True):
        assert records.lasting(
            json.loads(each.run.record.read_text(encoding="utf-8"))
        ) == records.lasting(old)


def test_a_run_repeated_elsewhere_is_compared_and_touches_nothing(chain, monkeypatch, tmp_path):
    """Equal to its own record; a number changed there is named; the card of the scored model stays as it was."""
    folder, scored = chain
    monkeypatch.setenv("STUDY_DATA", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    card, kept = (
        (scored.parent.folder / "README.md").read_bytes(),
        scored.record.read_text(encoding="utf-8"),
    )
    assert repeat.repeat(plan.job(scored)) == [] and os.environ["STUDY_DATA"] == str(folder)
    changed = json.loads(kept) | {"paired": {"ngrams": {"difference": 0.1}}}
    changed["scores"]["span_f1"] = 2.0
    try:
        scored.record.rename(tmp_path / scored.record.name)
        with pytest.raises(StudyError, match="no record"):
            repeat.repeat(plan.job(scored))
        (tmp_path / scored.record.name).write_text(json.dumps(changed))
        (said,) = repeat.repeat(plan.job(scored), tmp_path)
    finally:
        scored.record.write_text(kept, encoding="utf-8")
    assert said == f"scores.span_f1: 2.0 then, {json.loads(kept)['scores']['span_f1']} now"
    assert (scored.parent.folder / "README.md").read_bytes() == card and not list(
        (folder / "repeat").iterdir()
    )


def test_a_kill_loses_nothing_and_changes_nothing(chain, tmp_path, monkeypatch):
    """SIGKILL while distilling, then again to the end: the record is that of the undisturbed run."""
    folder, scored = chain
    layers = scored.lineage()[2]
    for name in ("models", "runs"):
        subprocess.run(["cp", "-r", str(folder / name), str(tmp_path)], check=True)
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    undisturbed = json.loads(layers.record.read_text(encoding="utf-8"))
    layers.record.unlink()
    subprocess.run(["rm", "-r", str(layers.folder)], check=True)
    parameters = [
        "-p",
        "language",
        "mlt",
        "-y",
        json.dumps({"overrides": {key: TINY[key] for key in ("pretrain", "adapt", "layers")}}),
    ]
    command = [
        "papermill",
        "notebooks/study/20_distil_layers.ipynb",
        str(tmp_path / "out.ipynb"),
        "-k",
        "python3",
        *parameters,
    ]
    begun = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=files.ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    checkpoints = files.models() / f".{layers.id}.checkpoints"
    until = time.monotonic() + 120
    while (
        not list(checkpoints.glob("*/complete"))
        and begun.poll() is None
        and time.monotonic() < until
    ):
        time.sleep(0.01)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    again = run(*command, folder=tmp_path)
    assert again.returncode == 0, again.stderr[-3000:]
    assert records.lasting(
        json.loads(layers.record.read_text(encoding="utf-8"))
    ) == records.lasting(undisturbed)
    assert not checkpoints.exists()


def test_a_baseline_needs_no_model(tmp_path, monkeypatch):
    """The notebook's record is what the functions say, and keeps its answers."""
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    asked = studies.baseline(
        "demo", "swh", "sa", "ngrams", overrides={"finetune": {"train_limit": 50}}
    )
    plan.make([plan.job(asked)])
    record = json.loads(asked.record.read_text(encoding="utf-8"))
    expected = baselines.answer(tasks.load("sa", "swh", Source("sample"), 50), "ngrams")
    for name in ("scores", "dev_scores", "chosen", "tried"):
        assert record[name] == expected[name]
    assert record["interval"] == list(
        metrics.interval("macro_f1", expected["gold"], expected["predictions"])
    )
    assert (
        record["id"] == asked.id
        and record["chain"] == []
        and record["data"]["examples"]["train"] == 50
    )
    kept = json.loads(
        (tmp_path / "runs" / "answers" / f"{asked.id}.json").read_text(encoding="utf-8")
    )
    assert kept == {"gold": expected["gold"], "predictions": expected["predictions"]}
    assert not [each for each in (tmp_path / "models").iterdir() if each.is_dir()]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["-p", "hiden_size", "48"], "unknown parameter 'hiden_size'"),
        (["-p", "seed", "one"], "parameter seed: 'one' is not a whole number"),
        (["-p", "language", "xxx"], "no language called 'xxx'"),
        (["-y", "overrides: {hidden: {hidden_size: 50}}"], "hidden size of 50"),
    ],
)
def test_bad_parameters_stop_before_any_work(tmp_path, given, said):
    done = run(
        "papermill",
        "notebooks/study/40_reduce_hidden.ipynb",
        str(tmp_path / "out.ipynb"),
        "--no-progress-bar",
        "-k",
        "python3",
        *given,
        folder=tmp_path / "data",
    )
    assert done.returncode != 0 and said in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_graph_of_a_study_and_the_commands_of_the_readme(tmp_path):
    """Snakemake plans the demo completely; every make target the README names exists."""
    done = run("snakemake", "--dry-run", "--config", "study=demo", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    counted = {
        word: int(number)
        for word, number in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
    }
    assert counted["total"] == len(plan.batches("demo")) + 3  # collect, paper, all
    for target in {re.split(r"\s", words[1])[0] for words in readme_commands("make")}:
        assert (
            subprocess.run(
                ["make", "-n", target], cwd=files.ROOT, capture_output=True, check=False
            ).returncode
            == 0
        )
