"""The finished records of a study in one file, and their scores as a table."""

import ast

import pandas
import pytest
import toy_study

from lib import files
from lib.errors import StudyError
from lib.study import answers, plan, publish, records, studies
from lib.study.plan import baseline, chain, scoring

STUDY = toy_study.STUDY | {
    "pairs": [{"teacher": "toy-bert", "languages": ["mlt"]}],
    "order": ["pretrain", "adapt", "ffn"],
    "steps": {step: toy_study.STUDY["steps"][step] for step in ("pretrain", "adapt", "ffn")},
    "score": ["adapt", "ffn"],
    "seeds": {"chain": 1, "tasks": [1]},
    "baselines": ["majority"],
    "measure": {"lens": {"sentences": 3}, "perplexity": {"sentences": 3, "max_length": 16}},
    "variants": [{"set": {"ffn": {"intermediate_size": 32}}, "tasks": ["tc"], "score": ["ffn"]}],
}
SCORES = {
    "tc": {"macro_f1": 0.5, "accuracy": 0.75},
    "pos": {"accuracy": 0.25, "tag_span_f1": 0.125},
    "perplexity": {"pseudo_perplexity": 9.0, "bits_per_character": 2.5},
    "lens": {"depth": 3.0},
}


def finish(run):
    """What a finished run of this study leaves."""
    scores = SCORES.get(run.task or run.step, {"mlm_loss": 4.5})
    parts = {"interval": [0.25, 0.625]} if run.task == "tc" else {}
    return toy_study.finish(run, scores=scores, **parts)


@pytest.fixture
def runs(toy):
    """The runs of a study, none of them made."""
    toy_study.write_study(STUDY)
    return plan.runs("toy")


def test_a_study_that_is_not_finished_names_what_is_missing(runs):
    for run in runs[:-1]:
        finish(run)
    with pytest.raises(
        StudyError,
        match=f"the study 'toy' is not finished: 1 of {len(runs)} runs are missing, such as "
        f"{runs[-1].id}; run `make study STUDY=toy`",
    ):
        publish.collect("toy")
    assert [record["id"] for record in publish.collect("toy", partial=True)] == [
        run.id for run in runs[:-1]
    ]
    finish(runs[-1])
    assert publish.collect("toy") == [records.read(run) for run in runs]


def test_a_study_without_any_record_cannot_be_collected_in_part(runs):
    for partial in (False, True):
        with pytest.raises(StudyError, match=f"{len(runs)} of {len(runs)} runs are missing"):
            publish.collect("toy", partial)


def test_stale_records_count_as_missing_and_those_without_a_model_do_not(runs):
    for run in runs:
        finish(run)
    for run in runs:
        (run.folder / "config.json").unlink(missing_ok=True)
    assert len(publish.collect("toy")) == len(runs)
    adapted = next(run for run in runs if run.step == "adapt")
    toy_study.finish(adapted, scores={"mlm_loss": 4.75})
    after = [run.id for run in runs if adapted in run.lineage()[:-1]]
    with pytest.raises(StudyError, match=f"{len(after)} of {len(runs)} runs are missing"):
        publish.collect("toy")
    kept = [record["id"] for record in publish.collect("toy", partial=True)]
    assert kept == [run.id for run in runs if run.id not in after]
    assert adapted.id in kept and len(after) > 5


def test_published_records_are_taken_over_and_published_again(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RESULTS", tmp_path / "results")
    for run in runs:
        finish(run)
    publish.write("toy", files.RESULTS, publish.collect("toy"))
    whole = [(files.RESULTS / name).read_bytes() for name in ("toy.jsonl", "toy.csv")]
    for run in runs[1:]:
        run.record.unlink()
    assert publish.restore("toy") == len(runs) - 1
    publish.write("toy", files.RESULTS, publish.collect("toy"))
    assert [(files.RESULTS / name).read_bytes() for name in ("toy.jsonl", "toy.csv")] == whole
    own = toy_study.finish(runs[1], scores={"mlm_loss": 1.0})
    assert publish.restore("toy") == 0 and records.read(runs[1]) == own


def test_collected_records_hold_the_interval_and_no_label(runs):
    for run in runs:
        finish(run)
    models = chain(studies.load("toy"), "mlt")
    score = scoring(models[-1], "mlt", "pos", 1)
    gold = [("NOUN", "VERB"), ("ADP", "NOUN")]
    answers.keep(score, gold, gold)
    answers.keep(baseline(score.study, "mlt", "pos", "majority"), gold, [("X", "X"), ("X", "X")])
    found = {record["id"]: record for record in publish.collect("toy")}
    assert [id_ for id_, record in found.items() if "paired" in record] == [score.id]
    assert found[score.id] == records.read(score) | {"paired": answers.paired(score)}
    publish.write("toy", files.runs() / "studies", list(found.values()))
    for file in (files.runs() / "studies").iterdir():
        text = file.read_text(encoding="utf-8")
        assert not any(tag in text for tag in ("NOUN", "VERB", "ADP"))


def test_the_written_files_are_the_records_and_one_row_a_score(runs, tmp_path):
    for run in runs:
        finish(run)
    found = publish.collect("toy")
    publish.write("toy", tmp_path / "kept", found)
    assert {file.name for file in (tmp_path / "kept").iterdir()} == {"toy.jsonl", "toy.csv"}
    assert records.read_lines(tmp_path / "kept" / "toy.jsonl") == found
    table = pandas.read_csv(tmp_path / "kept" / "toy.csv").set_index("id")
    # the teacher has no language, and the logit lens no score
    scored = [run for run in runs if run.language and run.step != "lens"]
    assert table.index.tolist() == [run.id for run in scored]
    for run in scored:
        row = table.loc[run.id]
        what = {"perplexity": "bits_per_character"}.get(run.step, run.task or "mlm_loss")
        assert [row[name] for name in ("study", "language", "what")] == ["toy", "mlt", what]
        assert row["seed"] == run.seed or (run.seed is None and pandas.isna(row["seed"]))
        assert (
            row["score"]
            == {
                "tc": 50.0,
                "pos": 25.0,
                "bits_per_character": 2.5,
                "mlm_loss": 4.5,
            }[what]
        )
        low, high = (25.0, 62.5) if what == "tc" else (None, None)
        assert (row["low"] == low and row["high"] == high) or (low is None and pandas.isna(row.low))
        step = run.step if run.step in ("adapt", "ffn") else (run.parent or run).step
        assert row["step"] == step and row["parameters"] == 10
        assert row["hidden_size"] == 8 or run.step == "baseline"
    changed = table["changed"].dropna()
    assert set(changed) == {"ffn.intermediate_size=32"} and len(changed) == 3


def test_a_task_run_without_its_metric_is_refused(runs):
    record = toy_study.finish(runs[0]) | {"task": "tc", "language": "mlt", "id": "mine"}
    with pytest.raises(StudyError, match="the record mine has no macro_f1, by which tc is judged"):
        publish.scores([record])


@pytest.mark.parametrize("study", sorted(file.stem for file in files.RESULTS.glob("*.jsonl")))
def test_the_published_tables_are_those_of_the_published_records(study, data):
    found = records.read_lines(files.RESULTS / f"{study}.jsonl")
    publish.write(study, data, found)
    for kind in ("jsonl", "csv"):
        name = f"{study}.{kind}"
        assert (data / name).read_bytes() == (files.RESULTS / name).read_bytes()


def test_a_language_called_nan_and_a_study_called_007_stay_text(toy, tmp_path, monkeypatch):
    """In YAML, in records, and in the table as docs/running.md reads it."""
    (tmp_path / "params").mkdir()
    folder = toy_study.facts_in(tmp_path / "params", monkeypatch)
    languages = (folder / "languages.yaml").read_text(encoding="utf-8")
    (folder / "languages.yaml").write_text(
        f"{languages}\nnan: {{name: Min Nan, script: Latn}}\n", encoding="utf-8"
    )
    pair = [{"teacher": "toy-bert", "languages": ["nan"]}]
    toy_study.write_study(STUDY | {"pairs": pair}, "007")
    for run in plan.runs("007"):
        finish(run)
    publish.write("007", tmp_path, publish.collect("007"))
    page = (files.ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith("as_text = "))
    words = line.removeprefix("as_text = ").replace(": str", ": 'str'")
    given = ast.literal_eval(words)
    table = pandas.read_csv(tmp_path / "007.csv", **given)
    assert set(table["language"]) == {"nan"} and set(table["study"]) == {"007"}
    assert table["low"].isna().any() and table["changed"].isna().any()
    assert {
        row["language"] for row in publish.scores(records.read_lines(tmp_path / "007.jsonl"))
    } == {"nan"}
