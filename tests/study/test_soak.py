"""A study that is killed, two processes on one study, a full disk: nothing differs or is lost."""

import json
import os
import re
import subprocess
import sys

import pytest
import soak
import toy_study
import toys
import yaml

from lib import files
from lib.errors import StudyError
from lib.model import encoder
from lib.study import plan, records, state


@pytest.mark.slow
def test_five_kills_change_nothing(tmp_path):
    rows = soak.soak(5, tmp_path, seed=1)
    assert sum(row["kills"] for row in rows) == 5 and rows[0]["compared"] > 30
    assert not [row for row in rows if row["different"] or row["left"]]


@pytest.mark.slow
def test_two_processes_at_once_on_one_notebook(tmp_path):
    """Papermill runs the same notebook twice; it and the run before it have one whole result."""
    params, data = soak.toy_params(tmp_path / "params"), tmp_path / "data"
    notebook = "notebooks/study/10_adapt_teacher.ipynb"
    both = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "papermill", notebook, str(tmp_path / f"{number}.ipynb")),
                *("-p", "study", "toy", "-k", "python3"),
            ],
            cwd=files.ROOT,
            env=soak.environment(data, params),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in (1, 2)
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    names = [name for name in soak.made(data) if name.startswith("runs")]
    assert len(names) == 2 and not soak.leftovers(data)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root on Linux"
)
def test_a_real_disk_that_is_full(tmp_path, data):
    """On a disk of one megabyte: one sentence, and no part of the model; a smaller model fits."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    large, small = (
        toys.model("bert", hidden_size=96, intermediate_size=384, num_hidden_layers=layers)
        for layers in (8, 1)
    )
    try:
        with pytest.raises(StudyError, match=r"^the disk that holds .* is full"):
            encoder.save(large, toys.tokenizer("bert"), place / "model", "card")
        assert [*place.iterdir()] == []
        encoder.save(small, toys.tokenizer("bert"), place / "model", "card")
        assert (place / "model" / "model.safetensors").exists()
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_snakemake_agrees_on_what_is_stale(tmp_path, data, monkeypatch):
    """Snakemake makes the batches of which a run is stale, however old the changed file is."""
    params = soak.toy_params(tmp_path / "params")
    monkeypatch.setattr(files, "PARAMS", params)
    monkeypatch.setattr(records, "environment", dict)
    runs = plan.runs("toy")
    origin = {"kind": "sample", "file": "corpora/mlt/dev.txt"}
    whole = origin | {"sha256": files.sha256(files.SAMPLE / origin["file"])}
    for run in runs:
        toy_study.finish(run, data={} if run.task else whole)
    assert {state.state(run) for run in runs} == {state.DONE}
    ffn = next(run for run in runs if run.step == "ffn")
    toy_study.finish(ffn, data=origin | {"sha256": "0" * 64})
    os.utime(ffn.record, (10**6, 10**6))
    stale = [run for run in runs if state.state(run) == state.STALE]
    assert {run.step for run in stale} == {"ffn", "hidden", "vocabulary", "finetune"}
    would = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--config", "study=toy"],
        cwd=files.ROOT,
        env=soak.environment(data, params),
        capture_output=True,
        text=True,
    ).stdout
    jobs = set(re.findall(r"^(\w+)_[0-9a-f]{16} +1$", would, re.MULTILINE))
    batches = [batch for batch in plan.batches("toy") if set(batch) & set(stale)]
    names = {f"{batch[0].step}_{batch[0].id}" for batch in batches}
    assert jobs == {re.sub(r"\W", "_", name) for name in names} and len(jobs) == 2, would


def test_a_killed_snakemake_locks_nobody_out():
    """Its lock file outlives a kill, so it is switched off; every run has a lock that does not."""
    profile = files.ROOT / "profiles" / "default" / "config.yaml"
    assert yaml.safe_load(profile.read_text(encoding="utf-8"))["nolock"] is True


def test_the_soak_compares_all_but_what_may_differ(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        (folder / "runs" / "layers").mkdir(parents=True)
        (folder / "models" / "m").mkdir(parents=True)
        record = {"id": "r", "scores": {"x": 1}, "made": {"at": folder.name}}
        (folder / "runs" / "layers" / "r.json").write_text(json.dumps(record))
        (folder / "models" / "m" / "w").write_bytes(b"1")
    assert soak.made(first) == soak.made(second)
    (second / "models" / "m" / "w").write_bytes(b"2")
    assert soak.made(first) != soak.made(second)
    (first / "models" / ".x.checkpoints").mkdir()
    assert soak.leftovers(first) == ["models/.x.checkpoints"]
