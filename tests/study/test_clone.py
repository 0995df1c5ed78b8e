"""A clone in a folder of any name, with a study and languages that YAML takes for other values."""

import json
import os
import shutil
import subprocess
import sys

import pandas
import pytest
import toy_study
import yaml

from lib import files
from lib.study import records

pytestmark = pytest.mark.slow
LANGUAGES = ["nan", "no"]
PARTS = ("lib", "profiles", "notebooks", "data/sample", "data/paper")
STUDY = toy_study.STUDY | {
    "source": "local",
    "data_root": "my data",
    "pairs": [{"teacher": "toy-bert", "languages": LANGUAGES}],
    "order": ["pretrain"],
    "score": ["pretrain"],
    "tasks": [],
    "seeds": {"chain": 1, "tasks": [1]},
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What a study needs, in a folder whose name a shell would split and change."""
    place = tmp_path_factory.mktemp("clones") / "my clone's žltý $HOME; 100%"
    for part in PARTS:
        shutil.copytree(files.ROOT / part, place / part)
    for name in ("Makefile", "Snakefile"):
        shutil.copy(files.ROOT / name, place)
    shutil.copytree(files.ROOT / "params", place / "params")
    models = yaml.safe_load((place / "params" / "models.yaml").read_text(encoding="utf-8"))
    models["toy-bert"]["text"] = dict.fromkeys(LANGUAGES, 100)
    models["toy-bert"]["configuration"] |= {"vocab_size": 600}
    (place / "params" / "models.yaml").write_text(json.dumps(models), encoding="utf-8")
    languages = yaml.safe_load((place / "params" / "languages.yaml").read_text(encoding="utf-8"))
    languages |= {name: {"name": name, "script": "Latn"} for name in LANGUAGES}
    (place / "params" / "languages.yaml").write_text(json.dumps(languages), encoding="utf-8")
    (place / "params" / "studies" / "no.yaml").write_text(json.dumps(STUDY), encoding="utf-8")
    (place / "my data" / "corpora").mkdir(parents=True)
    for name in LANGUAGES:
        text = files.SAMPLE / "corpora" / "mlt" / "train.txt"
        shutil.copy(text, place / "my data" / "corpora" / f"{name}.txt")
    return place


def run(clone, *words, **more):
    """A command in the clone, whose `lib` is its own."""
    taken = {name: value for name, value in os.environ.items() if not name.startswith("STUDY_")}
    return subprocess.run(
        words,
        cwd=clone,
        env=taken | {"PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"} | more,
        capture_output=True,
        text=True,
    )


def test_snakemake_makes_a_whole_study_there(clone):
    """It writes nothing beside the clone, and its tables name the languages as they are."""
    words = ("-m", "snakemake", "--cores", "1", "--config", "study=no", "threads=1")
    done = run(clone, sys.executable, *words)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert [path.name for path in clone.parent.iterdir()] == [clone.name]
    studies = clone / "data" / "runs" / "studies"
    (record,) = records.read_lines(studies / "no.jsonl")
    assert record["study"] == "no" and list(record["data"]) == LANGUAGES
    as_text = {"dtype": {"study": str, "language": str}, "keep_default_na": False}
    assert list(pandas.read_csv(studies / "no.csv", **as_text).columns)[:2] == ["id", "study"]
    assert (studies / "no" / "no_main_table.md").is_file()
    again = run(clone, sys.executable, "-m", "lib.study", "status", "no")
    assert again.stdout.splitlines()[-1] == "1 of 1 runs done"


def test_braces_in_a_folder_are_refused_in_one_sentence(clone, tmp_path):
    words = ("-m", "snakemake", "--dry-run", "--config", "study=no")
    done = run(clone, sys.executable, *words, STUDY_DATA=str(tmp_path / "{x}"))
    said = f"Snakemake takes the braces in {tmp_path}/{{x}}/runs/studies for its own; rename"
    assert done.returncode and said in done.stderr and not (tmp_path / "{x}").exists()


def test_papermill_takes_such_names_or_says_how(clone):
    """Typed with -p they may become a number; -r keeps them as text."""
    words = ("-m", "papermill", "--no-progress-bar", "-k", "python3")
    words += ("notebooks/study/10_adapt_teacher.ipynb", "out.ipynb", "-r", "study", "no")
    for flag, said in (
        ("-p", "parameter language: float('nan') is no value that a parameter can have"),
        ("-r", "no teacher for 'nan' called '2024'; params/studies/no.yaml has toy-bert"),
    ):
        done = run(clone, sys.executable, *words, flag, "language", "nan", "-r", "teacher", "2024")
        assert done.returncode and said in done.stderr, done.stderr[-2000:]


def test_make_calls_the_tools_of_the_clone(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv" / "ready").touch()
    for name in ("requirements.txt", "pyproject.toml"):
        (clone / name).touch()
        os.utime(clone / name, (0, 0))
    for words in (("demo",), ("study", "STUDY=no"), ("study", "STUDY=007", "CORES=1")):
        done = run(clone, "make", "--no-print-directory", "-n", *words)
        assert done.returncode == 0 and done.stdout.startswith(".venv/bin/snakemake --cores ")
        assert done.stdout.count("\n") == 1
