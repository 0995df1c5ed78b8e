"""A study killed at random moments, and two that run into each other: nothing is lost, nothing differs, nothing is left over."""

import json
import os
import re
import subprocess
import sys

import pytest
import soak
import yaml

from lib import files
from lib.study import records


def test_five_kills_change_nothing(tmp_path):
    rows = soak.soak(5, seed=1, folder=tmp_path)
    assert sum(row["kills"] for row in rows) == 5 and rows[0]["compared"] > 30
    assert not [row for row in rows if row["different"] or row["left"]]


def test_two_people_at_once_on_one_study(tmp_path):
    """The same two notebooks run directly by Papermill and through the plan at the same moment: each run has one whole result."""
    params = soak.toy_params(tmp_path / "params")
    environment = os.environ | {
        "STUDY_DATA": str(tmp_path / "data"),
        "STUDY_PARAMS": str(params),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(files.ROOT),
    }
    notebook = [
        sys.executable,
        "-m",
        "papermill",
        "notebooks/study/10_adapt_teacher.ipynb",
        "-p",
        "study",
        "toy",
        "-k",
        "python3",
    ]
    commands = [
        [*notebook[:4], str(tmp_path / "1.ipynb"), *notebook[4:]],
        [*notebook[:4], str(tmp_path / "2.ipynb"), *notebook[4:]],
    ]
    both = [
        subprocess.Popen(
            words,
            cwd=files.ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for words in commands
    ]
    said = [each.communicate()[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    names = [name for name in soak.found(tmp_path / "data") if name.startswith("runs")]
    assert len(names) == 2 and not soak.leftovers(tmp_path / "data")


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root on Linux"
)
def test_a_real_disk_that_is_full(tmp_path):
    """A disk of one megabyte: one sentence, and neither a model nor a part of it; with room, all is well."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    ).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        code = (
            "import sys, toys; from pathlib import Path; from lib import models\n"
            "model = toys.model('bert', hidden_size=96, intermediate_size=384, num_hidden_layers=int(sys.argv[1]))\n"
            "models.save(model, toys.tokenizer('bert'), Path(sys.argv[2]) / 'model', 'card')"
        )

        def save(layers):
            return subprocess.run(
                [sys.executable, "-c", code, str(layers), str(place)],
                cwd=files.ROOT / "tests",
                capture_output=True,
                text=True,
                env=os.environ | {"PYTHONPATH": f"{files.ROOT}:{files.ROOT / 'tests'}"},
                check=False,
            )

        done = save(8)
        assert (
            "lib.errors.StudyError: the disk that holds" in done.stderr and "is full" in done.stderr
        ), done.stderr[-2000:]
        assert [*place.iterdir()] == []
        assert save(1).returncode == 0 and (place / "model" / "model.safetensors").exists()
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_snakemake_agrees_on_what_is_stale(tmp_path):
    """What `status` calls stale is what Snakemake would run, however old the file that changed."""
    params, data = soak.toy_params(tmp_path / "params"), tmp_path / "data"
    environment = os.environ | {
        "STUDY_DATA": str(data),
        "STUDY_PARAMS": str(params),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(files.ROOT),
    }

    def says(*words):
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=files.ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    code = (
        "import json, os; from lib import paths, plan\n"
        "for moment, job in enumerate(plan.jobs('toy'), 10**6):\n"
        "    job.run.record.parent.mkdir(parents=True, exist_ok=True); job.run.folder.mkdir(parents=True, exist_ok=True)\n"
        "    (job.run.folder / 'config.json').touch()\n"
        "    data = {'origin': 'data/sample', 'sha256': files.sha256(files.SAMPLE)}\n"
        "    job.run.record.write_text(json.dumps({'id': job.run.id, 'data': data})); os.utime(job.run.record, (moment, moment))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=files.ROOT, env=environment, check=False
        ).returncode
        == 0
    )
    lines = says("lib.plan", "status", "toy").stdout.splitlines()
    assert {line.split()[0] for line in lines[:-1]} == {"done"} and len(lines) == 9
    ffn = next((data / "runs" / "ffn").glob("*.json"))
    record = json.loads(ffn.read_text())
    ffn.write_text(json.dumps(record | {"data": record["data"] | {"sha256": "0" * 64}}))
    os.utime(ffn, (10**6 + 3, 10**6 + 3))
    stale = [
        line.split()[-1]
        for line in says("lib.plan", "status", "toy").stdout.splitlines()
        if line.startswith("stale")
    ]
    assert len(stale) == 5  # it, hidden, vocabulary and the two tasks
    would = says("snakemake", "--dry-run", "--config", "study=toy").stdout
    rules = {
        name.split("_")[-1] for name in re.findall(r"^(\w+_[0-9a-f]{8}) +1$", would, re.MULTILINE)
    }
    assert len(rules) == 4 and rules < {each.split(".")[-1] for each in stale}, (
        would
    )  # the two tasks are one job


def test_a_killed_snakemake_locks_nobody_out():
    """Its lock file outlives a kill, so it is switched off; every run has a lock that does not."""
    profile = yaml.safe_load(
        (files.ROOT / "profiles" / "default" / "config.yaml").read_text(encoding="utf-8")
    )
    assert profile["nolock"] is True


def test_what_the_soak_compares_leaves_out_what_may_differ_and_nothing_else(tmp_path):
    for name in ("1", "2"):
        folder = tmp_path / name
        (folder / "runs" / "layers").mkdir(parents=True)
        (folder / "models" / "m").mkdir(parents=True)
        (folder / "runs" / "layers" / "r.json").write_text(
            json.dumps({"id": "r", "scores": {"x": 1}, "made": {"at": name}})
        )
        (folder / "models" / "m" / "w").write_bytes(b"1")
    assert soak.found(tmp_path / "1") == soak.found(
        tmp_path / "2"
    ) and "made" not in records.lasting({"made": 1})
    (tmp_path / "2" / "models" / "m" / "w").write_bytes(b"2")
    assert soak.found(tmp_path / "1") != soak.found(tmp_path / "2")
    (tmp_path / "1" / "models" / ".x.checkpoints").mkdir()
    assert soak.leftovers(tmp_path / "1") == ["models/.x.checkpoints"]
