"""A study of one student for two languages, really executed: from the text to the tables."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import toy_study
from transformers import AutoTokenizer

from lib import files
from lib.report import baselines, frame, main_table
from lib.study import records

pytestmark = pytest.mark.slow
STUDY = toy_study.STUDY | {
    "pairs": [
        {
            "teacher": "toy-bert",
            "languages": [["swh", "slk"], "slk"],
            "set": {"recipe": "calibrated", "hidden": {"steps": 8}},
        }
    ],
    "score": ["adapt", "vocabulary"],
    "tasks": ["tc"],
    "seeds": {"chain": 1, "tasks": [1]},
    "measure": {"perplexity": {"sentences": 4, "max_length": 16}},
    "baselines": ["ngrams"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The records of the study, as the commands of a user write them."""
    place = tmp_path_factory.mktemp("group")
    (place / "params" / "studies").mkdir(parents=True)
    for file in files.PARAMS.glob("*.yaml"):
        shutil.copy(file, place / "params")
    (place / "params" / "studies" / "pair.yaml").write_text(json.dumps(STUDY), encoding="utf-8")
    places = {"STUDY_PARAMS": str(place / "params"), "STUDY_DATA": str(place / "data")}
    for command in ("check", "make", "collect"):
        done = subprocess.run(
            [sys.executable, "-m", "lib.study", command, "pair"],
            cwd=files.ROOT,
            env=os.environ | places | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(files.ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    found = records.read_lines(place / "data" / "runs" / "studies" / "pair.jsonl")
    return place / "data", found


def test_one_student_is_made_of_the_text_of_both_and_scored_in_each(made):
    data, found = made
    students = {
        record["language"]: record
        for record in found
        if record["step"] == "vocabulary" and not record["changed"]
    }
    assert [*students] == ["slk+swh", "slk"]
    group, alone = students.values()
    assert (group["languages"], "languages" in alone) == (["slk", "swh"], False)
    assert {*group["data"]} == {"slk", "swh"} and group["data"]["slk"] == alone["data"]
    losses = ["mlm_loss", *(f"mlm_loss ({name})" for name in ("slk", "swh"))]
    assert len({group["scores"][name] for name in losses}) == 3
    layers = next(record for record in found if record["id"].startswith("slk+swh.toy-bert.L2."))
    assert {"unknown_tokens", "unknown_tokens (slk)", "unknown_tokens (swh)"} < {
        *layers["data"]["reading"]
    }
    card = (data / "models" / group["id"] / "README.md").read_text(encoding="utf-8")
    assert "\nlanguage: [slk, swh]\n" in card and "Slovak and Swahili" in card
    tokenizer = AutoTokenizer.from_pretrained(data / "models" / group["id"])
    for language in ("slk", "swh"):
        line = (files.SAMPLE / "corpora" / language / "train.txt").read_text("utf-8").split("\n")[0]
        assert tokenizer.unk_token_id not in tokenizer(line)["input_ids"]


def test_the_tables_have_the_scores_of_each_language_and_keep_both_students_apart(made):
    scores = frame.frame(made[1])
    cells = main_table.cells(scores)
    table = main_table.main_table(cells)
    students = table[table["model"].str.contains("trimmed|vocabulary|tokens", case=False)]
    assert [*dict.fromkeys(students["language"])] == ["slk", "slk (slk+swh)", "swh (slk+swh)"]
    ran = scores[(scores["step"] == "vocabulary") & (scores["what"] == "tc")]
    assert sorted(ran["language"]) == ["slk", "slk (slk+swh)", "swh (slk+swh)"]
    losses = cells[(cells["step"] == "vocabulary") & (cells["task"] == "tc")]["mlm_loss"]
    assert losses.nunique() == 3
    page = main_table.page("pair", cells, main_table.baselines(scores))
    assert "## Swahili (Slovak+Swahili), toy-bert\n" in page and "## Slovak, toy-bert\n" in page
    beside = baselines.rows(scores)
    assert {*beside[beside["model"] == "ngrams"]["language"]} == {*ran["language"]}
