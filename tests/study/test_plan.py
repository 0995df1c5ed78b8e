"""Studies as jobs: every job's parameters lead a notebook back to the very run the job is for."""

import json
import os
from collections import Counter
from contextlib import contextmanager
from functools import cache

import nbformat
import pytest
import toys

from lib import facts, files
from lib.data import hub
from lib.errors import StudyError
from lib.study import freshness, kernel, plan, studies

HERE = sorted(file.stem for file in (files.ROOT / "params" / "studies").glob("*.yaml"))
VARIANTS = [
    {
        "set": {"layers": {"num_hidden_layers": 3, "learning_rate": 1}},
        "score": ["layers"],
        "tasks": ["pos"],
        "seeds": [5],
    },
    {
        "set": {"hidden": {"hidden_start": "svd"}},
        "languages": ["slk"],
        "score": ["hidden", "vocabulary"],
    },
    {"set": {"finetune": {"reduction_factor": 2, "sequence": {"epochs": 9}}}, "tasks": ["tc"]},
    {
        "set": {"lens": {"sentences": 9}, "finetune": {"token": {"epochs": 9}}},
        "tasks": ["pos"],
        "score": ["adapt"],
    },
    {"set": {"adapt": {"sentences": 0}}, "score": ["adapt"]},
    {"set": {}, "order": ["pretrain", "adapt", "vocabulary", "layers"], "score": ["layers"]},
    {
        "set": {"layers": {"layer_choice": "last_k"}},
        "order": ["pretrain", "layers", "ffn"],
        "score": ["ffn"],
    },
]


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    return tmp_path_factory.mktemp("params")


@pytest.fixture(autouse=True)
def places(common, data, monkeypatch):
    """The study `toy` only, and an empty place for everything it makes."""
    toys.facts_in(common, monkeypatch)


@cache
def source_of_parameters(notebook) -> str:
    return next(
        cell.source
        for cell in nbformat.read(notebook, 4).cells
        if "parameters" in cell.metadata.get("tags", [])
    )


def of_notebook(job) -> dict:
    """What the job's notebook holds after its own parameters cell and the injected one."""
    space = {"__name__": "__main__"}
    exec(source_of_parameters(job.notebook), space)
    space.pop("__builtins__")
    return space | json.loads(json.dumps(job.parameters))


@cache
def jobs_here(name) -> list:
    """The jobs of a study of this repository; `paths.PARAMS` must be its own."""
    return plan.jobs(name)


def ids(jobs):
    return [job.run.id for job in jobs]


@pytest.mark.parametrize("name", [*HERE, "toy", "tough"])
def test_every_jobs_parameters_lead_back_to_its_run(name, monkeypatch):
    if name in HERE:
        monkeypatch.setattr(files, "PARAMS", files.ROOT / "params")
    if name == "tough":
        measure = {"lens": {"sentences": 3}, "perplexity": {"sentences": 4, "max_length": 16}}
        pairs = [
            *toys.STUDY["pairs"],
            {"teacher": "mini-bert", "languages": ["swh"], "set": {"finetune": {"train_limit": 7}}},
        ]
        tough = toys.STUDY | {
            "measure": measure,
            "variants": VARIANTS,
            "pairs": pairs,
            "baselines": ["ngrams", "majority"],
        }
        toys.write_study(toys.changed(tough, "steps.adapt.sentences", 9), "tough")
    jobs = jobs_here(name) if name in HERE else plan.jobs(name)
    assert len(set(ids(jobs))) == len(jobs) > 0
    for job in jobs:
        again = studies.resolve(job.run.step, of_notebook(job))
        assert again == job.run and again.id == job.run.id, job.parameters


@pytest.mark.parametrize("name", [*HERE, "toy"])
def test_a_job_comes_after_what_it_needs_and_names_only_what_is_special(name, monkeypatch):
    if name in HERE:
        monkeypatch.setattr(files, "PARAMS", files.ROOT / "params")
    seen, without = set(), {"study", "teacher", "language", "task", "model_step", "seed"}
    for job in jobs_here(name) if name in HERE else plan.jobs(name):
        assert {run.id for run in job.needs} <= seen and job.notebook.exists()
        seen.add(job.run.id)
        if not studies.study(name).variants:
            assert set(job.parameters) <= without


def test_a_study_by_hand():
    jobs = plan.jobs("toy")
    counted = Counter(job.run.step for job in jobs)
    assert counted == {
        "pretrain": 2,
        "adapt": 3,
        "layers": 3,
        "ffn": 3,
        "hidden": 3,
        "vocabulary": 3,
        "finetune": 3 * 2 * 2 * 2,
    }
    first = jobs[0]
    assert first.parameters == {"study": "toy", "teacher": "toy-bert"} and first.needs == ()
    assert jobs[-1].parameters == {
        "study": "toy",
        "teacher": "toy-xlmr",
        "language": "swh",
        "task": "pos",
        "model_step": "vocabulary",
        "seed": 2,
    }
    assert jobs[-1].needs == (studies.chain("toy", "swh")[-1],)


def test_variants_add_what_they_change_and_no_more():
    usual = set(ids(plan.jobs("toy")))

    def more(*variants):
        toys.write_study(toys.STUDY | {"variants": list(variants)})
        return Counter(job.run.step for job in plan.jobs("toy") if job.run.id not in usual)

    assert more(
        {
            "set": {"layers": {"num_hidden_layers": 3}},
            "score": ["layers"],
            "tasks": ["pos"],
            "seeds": [5],
        }
    ) == {"layers": 3, "finetune": 3}
    assert more(
        {"set": {"hidden": {"hidden_size": 24}}, "languages": ["mlt"], "score": ["hidden"]}
    ) == {"hidden": 1, "finetune": 4}
    assert more({"set": {"finetune": {"reduction_factor": 2}}, "tasks": ["tc"], "seeds": [1]}) == {
        "finetune": 3 * 2
    }
    assert more({"set": {}, "score": ["ffn"], "tasks": ["tc"], "seeds": [1]}) == {"finetune": 3}
    assert (
        more({"set": {"layers": {"num_hidden_layers": 2}}, "languages": ["mlt"]}) == {}
    )  # what the study has already
    assert more(
        {"set": {}, "order": ["pretrain", "layers"], "score": [], "languages": ["mlt"]}
    ) == {"layers": 1}


def test_baselines_add_one_run_a_language_task_and_kind():
    usual = ids(plan.jobs("toy"))
    own = toys.STUDY | {"baselines": ["majority", "ngrams"]}
    toys.write_study(own)
    jobs = plan.jobs("toy")
    new = [job for job in jobs if job.run.step == "baseline"]
    assert [each for each in ids(jobs) if each not in ids(new)] == usual  # nothing else changes
    assert Counter(
        (job.run.language, job.run.task, job.run.settings["kind"]) for job in new
    ) == Counter(
        (language, task, kind)
        for language in ("mlt", "slk", "swh")
        for task in ("tc", "pos")
        for kind in ("majority", "ngrams")
    )
    assert all(job.needs == () and job.notebook.stem == "65_baselines" for job in new)
    assert new[0].parameters == {
        "study": "toy",
        "language": "mlt",
        "task": "tc",
        "kind": "majority",
    }
    assert [ids(batch) for batch in plan.batches("toy") if batch[0].run.step == "baseline"] == [
        ids(new)
    ]
    limited = {
        "set": {"finetune": {"train_limit": 5}},
        "languages": ["slk"],
        "tasks": ["pos"],
        "score": ["adapt"],
    }
    unscored = {"set": {"finetune": {"train_limit": 6}}, "score": []}
    toys.write_study(own | {"variants": [limited, unscored]})
    more = [
        job for job in plan.jobs("toy") if job.run.step == "baseline" and job.run.id not in ids(new)
    ]
    assert [job.parameters for job in more] == [
        {
            "study": "toy",
            "language": "slk",
            "task": "pos",
            "kind": kind,
            "overrides": {"finetune": {"train_limit": 5}},
        }
        for kind in ("majority", "ngrams")
    ]


def test_a_study_with_baselines_is_made_and_collected(executed, tmp_path):
    toys.write_study(toys.STUDY | {"baselines": ["majority"]})
    jobs = plan.jobs("toy")
    plan.make(jobs)
    plan.make(jobs)
    assert executed == [job.run for job in jobs]
    assert {file.stem for file in plan.collect("toy", tmp_path / "kept")} == set(ids(jobs))


def test_training_from_scratch_is_a_variant_that_shares_the_cuts_before():
    usual = ids(plan.jobs("toy"))
    scratch = {
        "set": {"hidden": {"hidden_start": "random", "mlm_weight": 1, "steps": 30}},
        "score": ["vocabulary"],
        "tasks": ["tc"],
    }
    toys.write_study(toys.STUDY | {"variants": [scratch]})
    new = [job for job in plan.jobs("toy") if job.run.id not in usual]
    assert Counter(job.run.step for job in new) == {"hidden": 3, "vocabulary": 3, "finetune": 6}
    assert all(job.run.parent.id in usual for job in new if job.run.step == "hidden")
    assert all(
        job.parameters["overrides"]
        == {"hidden": {"hidden_start": "random", "mlm_weight": 1.0, "steps": 30}}
        for job in new
    )


def test_how_much_text_to_adapt_on_is_a_variant():
    usual = ids(plan.jobs("toy"))
    shares = [
        {"set": {"adapt": {"sentences": share}}, "score": ["adapt"], "tasks": ["tc"], "seeds": [1]}
        for share in (4, 13, 0)
    ]
    toys.write_study(toys.STUDY | {"variants": shares})
    new = [job for job in plan.jobs("toy") if job.run.id not in usual]
    assert Counter(job.run.step for job in new) == {
        "adapt": 2 * 3,
        "finetune": 2 * 3,
    }  # the third is what the study has already
    assert {json.dumps(job.parameters["overrides"]) for job in new} == {
        '{"adapt": {"sentences": 4}}',
        '{"adapt": {"sentences": 13}}',
    }


def test_what_the_head_reads_is_a_setting_of_texts_alone():
    usual = ids(plan.jobs("toy"))
    pooled = toys.changed(toys.STUDY, "finetune.pooling", "mean")
    toys.write_study(
        pooled
        | {
            "variants": [
                {"set": {"finetune": {"pooling": "first"}}, "score": ["adapt"], "seeds": [1]}
            ]
        }
    )
    new = [job for job in plan.jobs("toy") if job.run.id not in usual]
    assert {job.run.task for job in new} == {"tc"} and {
        job.run.settings["pooling"] for job in new
    } == {"mean"}
    former = [
        job
        for job in plan.jobs("toy")
        if job.run.task == "tc" and "pooling" not in job.run.settings
    ]
    assert {job.run.id for job in former} < set(usual) and {
        job.run.parent.step for job in former
    } == {"adapt"}
    assert all(job.parameters["overrides"] == {"finetune": {"pooling": "first"}} for job in former)


def test_a_job_says_what_its_task_changes_so_that_the_notebook_makes_the_same_run():
    own = toys.changed(toys.STUDY, "finetune.tc", {"epochs": 9})
    toys.write_study(
        own
        | {
            "variants": [
                {"set": {"finetune": {"sequence": {"epochs": 4}}}, "score": ["adapt"], "seeds": [1]}
            ]
        }
    )
    for job in plan.jobs("toy"):
        if job.run.step == "finetune":
            assert studies.resolve("finetune", of_notebook(job)) == job.run, job.run.id
    assert {job.run.settings["epochs"] for job in plan.jobs("toy") if job.run.task == "tc"} == {
        9,
        4,
    }


def test_the_seeds_of_a_study_reach_its_jobs():
    toys.write_study(toys.changed(toys.STUDY, "seeds", {"chain": 8, "tasks": [4]}))
    assert {job.run.seed for job in plan.jobs("toy")} == {4, 8}
    assert {
        job.parameters.get("seed") for job in plan.jobs("toy") if job.run.step != "finetune"
    } == {None, 8}


def test_batches_are_the_jobs_grouped_by_the_model_they_score():
    jobs, batches = plan.jobs("toy"), plan.batches("toy")
    assert sorted(ids(jobs)) == sorted(each for batch in batches for each in ids(batch))
    for batch in batches:
        assert len(batch) == 1 or {job.run.parent.id for job in batch} == {batch[0].run.parent.id}
    assert Counter(map(len, batches)) == {1: 17, 4: 6}


def finish(run, moment=0.0):
    """What a run leaves, as far as the plan looks at it."""
    run.record.parent.mkdir(parents=True, exist_ok=True)
    run.record.write_text(json.dumps({"id": run.id}))
    if run.step in studies.STEPS:
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "config.json").touch()
    os.utime(run.record, (moment, moment))


@pytest.fixture
def executed(monkeypatch):
    """The runs whose notebooks would have been executed, in order; each leaves a newer record than those before."""
    made = []

    @contextmanager
    def warm():
        def run(notebook, output, parameters):
            found = studies.resolve(
                next(step for step, name in plan.NOTEBOOKS.items() if name == notebook.stem),
                of_notebook(plan.Job(None, notebook, parameters, ())),
            )
            assert output == found.record.with_suffix(".ipynb")
            made.append(found)
            finish(found, 100.0 + len(made))

        yield run

    monkeypatch.setattr(kernel, "warm", warm)
    return made


def test_what_is_missing_is_made_first_and_only_that(executed):
    chain = studies.chain("toy", "mlt")
    for run in chain[:2]:
        finish(run, 1.0)
    plan.ready(chain[4])
    assert executed == chain[2:4]
    plan.ready(chain[4])
    plan.ready(chain[0])
    assert executed == chain[2:4]
    (chain[3].folder / "config.json").unlink()  # a record without its model
    plan.ready(chain[4])
    assert executed == chain[2:4] + [chain[3]]


def test_the_seconds_of_a_run_do_not_hold_those_of_the_runs_before(executed):
    run = studies.chain("toy", "mlt")[1]
    waited = plan.ready(run)
    assert waited == run and waited.began > run.began and executed == [run.parent]


def test_a_study_is_made_once_and_again_from_where_a_model_is_newer(executed, capsys):
    jobs = plan.jobs("toy")
    plan.make(jobs)
    assert executed == [job.run for job in jobs] and capsys.readouterr().out.count("\n") == len(
        jobs
    )
    plan.make(jobs)
    assert len(executed) == len(jobs)
    layers = studies.chain("toy", "mlt")[2]
    finish(layers, 1000.0)
    plan.make([job for job in jobs if job.run.parent == layers])
    assert executed[len(jobs) :] == [studies.chain("toy", "mlt")[3]]


def test_only_a_finished_study_is_collected(tmp_path):
    folder, jobs = tmp_path / "kept", plan.jobs("toy")
    folder.mkdir()
    (folder / "old.json").write_text("{}")
    for job in jobs[:-1]:
        finish(job.run)
    with pytest.raises(
        StudyError,
        match=f"the study 'toy' is not finished, 1 of {len(jobs)} runs are missing, such as {jobs[-1].run.id}; "
        "run `make study STUDY=toy`",
    ):
        plan.collect("toy", folder)
    assert [*folder.iterdir()] == [folder / "old.json"]
    finish(jobs[-1].run)
    assert (
        plan.collect("toy", folder)
        == sorted(folder / f"{each}.json" for each in ids(jobs))
        == sorted(folder.iterdir())
    )
    assert json.loads((folder / f"{jobs[3].run.id}.json").read_text()) == {"id": jobs[3].run.id}


def test_the_command_line(monkeypatch, capsys):
    finish(studies.chain("toy", "mlt")[0])
    monkeypatch.setattr("sys.argv", ["plan", "status", "toy"])
    plan.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("done  00_pretrain_teacher multilingual.toy-bert") and lines[
        1
    ].startswith("to do 10_adapt_teacher mlt.")
    assert lines[-1] == f"1 of {len(lines) - 1} runs done"
    for words, said in (
        (["status", "nothing"], "no study called 'nothing'; params/studies has toy"),
        (["collect", "toy"], "is not finished"),
        (
            ["make", "toy", "absent"],
            "has no run absent; `python -m lib.plan status toy` lists them",
        ),
    ):
        monkeypatch.setattr("sys.argv", ["plan", *words])
        with pytest.raises(SystemExit, match=said):
            plan.main()


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A chain of the toy study on local text, finished: each record names its text by checksum; and that text."""
    monkeypatch.delenv("STUDY_DATA_ROOT", raising=False)
    root = tmp_path / "own"
    (root / "corpora").mkdir(parents=True)
    text = root / "corpora" / "mlt.txt"
    text.write_text("wieħed\n", encoding="utf-8")
    toys.write_study(toys.STUDY | {"source": "local", "data_root": str(root)})
    runs = studies.chain("toy", "mlt")
    for moment, run in enumerate(runs, start=1):
        finish(run, float(moment))
        data = {"kind": "local", "file": "corpora/mlt.txt", "sha256": files.sha256(text)}
        run.record.write_text(
            json.dumps({"id": run.id, "data": {"mlt": data} if run.step == "pretrain" else data})
        )
        os.utime(run.record, (moment, moment))
    return runs, text


def states(runs):
    return [plan.state(run) for run in runs]


def test_a_record_whose_data_changed_is_stale_with_all_after_it_and_is_made_again(
    recorded, executed, monkeypatch, capsys
):
    runs, text = recorded
    assert states(runs) == ["done"] * 6
    os.utime(text, (5e8, 5e8))  # touched, not changed
    assert states(runs) == ["done"] * 6 and plan.outdated([plan.job(run) for run in runs]) == []
    text.write_text("tnejn!\n", encoding="utf-8")
    assert states(runs) == ["stale"] * 6
    monkeypatch.setattr("sys.argv", ["plan", "status", "toy"])
    plan.main()
    assert capsys.readouterr().out.startswith(f"stale 00_pretrain_teacher {runs[0].id}\n")
    (marker,) = plan.outdated([plan.job(runs[3])])
    assert marker.stat().st_mtime > max(run.record.stat().st_mtime for run in runs)
    plan.make([plan.job(run) for run in runs])
    assert executed == runs
    text.unlink()  # what is gone cannot be compared
    assert states(runs) == ["done"] * 6


def test_only_what_comes_after_a_change_is_made_again(recorded, executed):
    runs, _ = recorded
    record = json.loads(runs[3].record.read_text())
    runs[3].record.write_text(json.dumps(record | {"data": record["data"] | {"sha256": "0" * 64}}))
    os.utime(runs[3].record, (4, 4))
    assert states(runs) == ["done"] * 3 + ["stale"] * 3
    assert [plan.outdated([plan.job(run)]) != [] for run in runs] == [False] * 3 + [True] * 3
    plan.make([plan.job(run) for run in runs])
    assert executed == runs[3:]


def test_a_model_that_is_gone_is_made_again_by_snakemake_too(recorded, executed):
    runs, _ = recorded
    (runs[4].folder / "config.json").unlink()
    assert states(runs) == ["done"] * 4 + ["to do", "stale"]
    assert [plan.outdated([plan.job(run)]) != [] for run in runs] == [False] * 4 + [True] * 2


def test_stale_records_are_not_published_and_those_of_models_that_are_gone_are(recorded, tmp_path):
    runs, text = recorded
    (runs[4].folder / "config.json").unlink()
    assert [file.stem for file in plan.collect("toy", tmp_path / "kept", partial=True)] == sorted(
        run.id for run in runs
    )
    finish(runs[2], 50.0)  # made again: what came after is of the former one
    assert [file.stem for file in plan.collect("toy", tmp_path / "kept", partial=True)] == sorted(
        run.id for run in runs[:3]
    )
    text.write_text("tnejn!\n", encoding="utf-8")
    runs[2].record.unlink()
    with pytest.raises(StudyError, match="is not finished"):
        plan.collect("toy", tmp_path / "kept", partial=True)


@pytest.mark.parametrize(
    ("entry", "changed"),
    [
        ({"data_set": "Davlan/sib200", "revision": "{tc}"}, False),
        ({"data_set": "Davlan/sib200", "revision": "0" * 40}, True),
        ({"data_set": "DGurgurov/slovak_sa", "revision": "0" * 40}, True),
        ({"data_set": "cis-lmu/GlotCC-V1", "revision": "0" * 40}, False),
        ({"data_set": "another/set", "revision": "0" * 40}, False),
        ({"repository": "google-bert/bert-base-multilingual-cased", "revision": "0" * 40}, True),
        ({"repository": "DGurgurov/mbert_slk-latn", "revision": "0" * 40}, False),
        ({"origin": "https://host/text.conllu", "sha256": "{file}"}, False),
        ({"origin": "https://host/text.conllu", "sha256": "0" * 64}, True),
        ({"origin": "https://host/absent.conllu", "sha256": "0" * 64}, False),
        ({"origin": "{flores}", "sha256": "0" * 64}, True),
        ({"origin": "data/sample, written for this project", "sha256": "0" * 64}, True),
        ({"origin": "data/sample", "sha256": "{sample}"}, False),
        ({"licence": "none"}, False),
    ],
)
def test_what_of_a_record_is_compared_with_today(data, monkeypatch, entry, changed):
    """Pinned revisions, files fetched from fixed addresses, the embedded text; what is not pinned or not there is not known to differ."""
    monkeypatch.setattr(files, "PARAMS", files.ROOT / "params")
    file = hub.place("https://host/text.conllu")
    file.parent.mkdir(parents=True)
    file.write_text("1\tDar")
    today = {
        "{tc}": facts.fact("tasks", "tc")["origins"][0]["revision"],
        "{file}": files.sha256(file),
        "{flores}": facts.fact("corpora", "flores")["url"],
        "{sample}": files.sha256(files.SAMPLE),
    }
    entry = {key: today.get(value, value) for key, value in entry.items()}
    run = studies.chain("paper", "slk", "mbert")[1]
    for data in (entry, {"train": entry}, {"files": {"train": {"kind": "x"}, "dev": entry}}):
        assert (freshness.changed(run, {"data": data}) is not None) is changed
