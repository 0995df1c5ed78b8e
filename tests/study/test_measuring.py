"""The runs that measure pseudo-perplexity and logit lens: ids, jobs, records."""

import json

import pytest
import toys

from lib import files
from lib.errors import StudyError
from lib.measure import perplexity
from lib.study import plan, records, results, studies

STUDY = """
title: toys
source: sample
corpus: {train: 60, dev: 20, test: 20}
pairs: [{teacher: toy-bert, languages: [mlt]}]
order: [pretrain, ffn]
seeds: {chain: 1, tasks: [1]}
tasks: [tc]
score: [pretrain, ffn]
steps:
  pretrain: {steps: 2, batch_size: 4, accumulation: 1, max_length: 32, learning_rate: 1.0e-3,
             precision: auto}
  ffn: {intermediate_size: 64, sentences: 8, batch_size: 8, max_length: 32, part: train}
finetune:
  method: adapter
  reduction_factor: 4
  adapter_input: ffn
  first_subword: true
  train_limit: 20
  precision: auto
  sequence: {epochs: 1, batch_size: 4, learning_rate: 1.0e-3, max_length: 32, weight_decay: 0.0,
             warmup: 0.0, max_steps: 1, patience: 0}
  token: {epochs: 1, batch_size: 4, learning_rate: 1.0e-3, max_length: 32, weight_decay: 0.0,
             warmup: 0.0, max_steps: 1, patience: 0}
"""
MEASURE = "measure: {perplexity: {sentences: 100, max_length: 128}, lens: {sentences: 50}}\n"


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A function that writes the study `toys`, with further lines, into a parameter folder."""
    folder = tmp_path / "params"
    (folder / "studies").mkdir(parents=True)
    for file in files.PARAMS.glob("*.yaml"):
        (folder / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(files, "PARAMS", folder)
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "data"))

    def write(more=""):
        (folder / "studies" / "toys.yaml").write_text(STUDY + more, encoding="utf-8")

    return write


def cell(**given):
    """What a measuring notebook's parameters cell leaves behind."""
    kinds = {
        "study": str,
        "language": str,
        "teacher": str,
        "model_step": str,
        "order": list,
        "overrides": dict,
    }
    usual = {
        "study": "toys",
        "language": "mlt",
        "teacher": "",
        "model_step": "",
        "order": [],
        "overrides": {},
    }
    return usual | given | {"__annotations__": kinds}


def test_measuring_adds_runs_and_changes_no_id(study):
    study()
    before = [job.run.id for job in plan.jobs("toys")]
    study(MEASURE)
    jobs = {job.run.id: job for job in plan.jobs("toys")}
    assert [each for each, job in jobs.items() if job.run.step not in studies.MEASURES] == before
    new = [job for job in jobs.values() if job.run.step in studies.MEASURES]
    assert sorted((job.run.step, job.run.parent.step, job.notebook.stem) for job in new) == [
        ("lens", "ffn", "80_logit_lens"),
        ("lens", "pretrain", "80_logit_lens"),
        ("perplexity", "ffn", "70_pseudo_perplexity"),
        ("perplexity", "pretrain", "70_pseudo_perplexity"),
    ]
    assert all(
        job.run.task is None and job.run.language == "mlt" and job.needs == (job.run.parent,)
        for job in new
    )


def test_a_job_and_its_notebook_mean_the_same_run(study):
    study(
        MEASURE
        + "variants: [{set: {ffn: {intermediate_size: 32}, lens: {sentences: 7}}, score: [ffn]}]\n"
    )
    measured = [job for job in plan.jobs("toys") if job.run.step in studies.MEASURES]
    assert len(measured) == 6
    for job in measured:
        assert studies.resolve(job.run.step, cell(**job.parameters)) == job.run


def test_what_a_study_does_not_measure_is_asked_for_by_overrides(study):
    study()
    with pytest.raises(StudyError, match="does not measure perplexity"):
        studies.resolve("perplexity", cell())
    run = studies.resolve(
        "perplexity",
        cell(model_step="pretrain", overrides={"perplexity": {"sentences": 3, "max_length": 16}}),
    )
    assert run.parent.step == "pretrain" and dict(run.settings) == {
        "sentences": 3,
        "max_length": 16,
    }
    assert plan.job(run).parameters["overrides"] == {
        "perplexity": {"sentences": 3, "max_length": 16}
    }
    for wrong in (
        "measure: {perplexity: {sentences: 5}}\n",
        "measure: {speed: {}}\n",
        "measure: {lens: {sentences: many}}\n",
    ):
        study(wrong)
        with pytest.raises(StudyError, match="measure"):
            studies.study("toys")


def test_the_record_belongs_to_the_model_and_the_card_shows_it(study):
    study(MEASURE)
    run = studies.resolve("perplexity", cell())
    model, tokenizer = toys.model("bert"), toys.tokenizer("bert")
    for parent in (run.parent.parent, run.parent):
        results.finish(parent, model, tokenizer, {"mlm_loss": 1.0}, {})
    found = perplexity.pseudo_perplexity(model, tokenizer, ["jorqod"])
    results.finish_scoring(run, found, {"kind": "sample"})
    record = json.loads(run.record.read_text(encoding="utf-8"))
    assert record["model"]["id"] == run.parent.id and record["chain"] == [
        each.id for each in run.parent.lineage()
    ]
    assert record["task"] is None and record["settings"]["perplexity"] == dict(run.settings)
    frame = records.load(files.runs() / "perplexity")
    assert frame["scores.pseudo_perplexity"].tolist() == [found["pseudo_perplexity"]]
    assert "pseudo_perplexity (mlt)" in (run.parent.folder / "README.md").read_text(
        encoding="utf-8"
    )
