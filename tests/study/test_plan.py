"""Studies as lists of runs: the parameters of each run lead a notebook back to this very run."""

import hashlib
import json
from collections import Counter
from functools import cache
from pathlib import Path

import nbformat
import pytest
import toy_study

from lib import files
from lib.checks import Checked, Share
from lib.errors import StudyError
from lib.study import make, notebook, plan, records, state, steps, studies
from lib.study.plan import baseline, chain, resolve

PARAMS = files.PARAMS
# The template is there to be changed: its ids say nothing to anyone.
STUDIES = sorted({file.stem for file in (PARAMS / "studies").glob("*.yaml")} - {"template"})
PUBLISHED = sorted(file.stem for file in files.RESULTS.glob("*.jsonl"))
STUDY = toy_study.STUDY
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
    {"set": {"finetune": {"pooling": "mean", "tc": {"epochs": 8, "warmup": 0.5}}}},
    {
        "set": {"lens": {"sentences": 9}, "finetune": {"token": {"epochs": 9}}},
        "tasks": ["pos"],
        "score": ["adapt"],
    },
    {"set": {"layers": {"sentences": 0}}, "score": ["layers"]},
    {"set": {"perplexity": {"max_length": 8}}, "score": ["ffn"], "measure": ["perplexity"]},
    {"set": {}, "order": ["pretrain", "adapt", "vocabulary", "layers"], "score": ["layers"]},
    {
        "set": {"layers": {"layer_choice": "last_k"}},
        "order": ["pretrain", "layers", "ffn"],
        "score": ["ffn"],
    },
]
TOUGH = toy_study.changed(STUDY, "steps.layers.sentences", 9) | {
    "measure": {"lens": {"sentences": 3}, "perplexity": {"sentences": 4, "max_length": 16}},
    "variants": VARIANTS,
    "pairs": [
        *STUDY["pairs"],
        {"teacher": "my-encoder", "languages": ["swh"], "set": {"finetune": {"train_limit": 7}}},
    ],
    "baselines": ["ngrams", "majority"],
}
NESTED = toy_study.changed(STUDY, "finetune.tc", {"epochs": 6, "learning_rate": 0.5}) | {
    "variants": [
        {"set": {"finetune": {"sequence": {"epochs": 4}}}, "score": ["adapt"], "seeds": [1]},
        {"set": {"finetune": {"tc": {"epochs": 2}, "pos": {"warmup": 0.25}}}, "measure": ["lens"]},
    ],
}
PLAIN = toy_study.PLAIN | {
    "variants": [
        {
            "set": {"adapt": {"steps": 3}},
            "order": ["pretrain", "adapt", *toy_study.PLAIN["order"][1:]],
            "languages": ["mlt"],
            "tasks": ["pos"],
            "seeds": [1],
            "score": ["adapt", "hidden"],
        }
    ]
}
TOYS = {"toy": STUDY, "tough": TOUGH, "nested": NESTED, "plain": PLAIN}


@pytest.fixture(autouse=True)
def _toy_studies(toy):
    for name, content in TOYS.items():
        if name != "toy":
            toy_study.write_study(content, name)


@pytest.fixture
def own(monkeypatch):
    """params/ are those of this repository."""
    monkeypatch.setattr(files, "PARAMS", PARAMS)


@cache
def planned(name: str) -> list:
    """The runs of a study of this repository."""
    return plan.runs(name)


def runs_of(name, monkeypatch) -> list:
    if name in TOYS:
        return plan.runs(name)
    monkeypatch.setattr(files, "PARAMS", PARAMS)
    return planned(name)


def ids(runs) -> list[str]:
    return [run.id for run in runs]


@cache
def declared(file: Path) -> str:
    """The parameters cell of a notebook."""
    cells = nbformat.read(file, 4).cells
    return next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))


def asked(run) -> dict:
    """What the run's notebook asks for, with its parameters injected as Papermill does."""
    given = json.loads(json.dumps(run.parameters))
    injected = "# Parameters\n" + "".join(f"{name} = {value!r}\n" for name, value in given.items())
    return notebook.parameters([declared(run.notebook), injected])


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in STUDIES if not name.startswith("paper")),
        *(pytest.param(name, marks=pytest.mark.slow) for name in STUDIES if name[:5] == "paper"),
        *TOYS,
    ],
)
def test_the_parameters_of_every_run_lead_back_to_it(name, monkeypatch):
    runs = runs_of(name, monkeypatch)
    assert len(set(ids(runs))) == len(runs) > 0
    for run in runs:
        again = resolve(run.step, asked(run))
        assert (again.id, again.changed) == (run.id, run.changed), run.parameters
        assert again.settings == run.settings and again.parameters == run.parameters


def golden() -> dict[str, list[str]]:
    """Study -> its ids, sorted; or the checksum of so many that they are not listed."""
    found: dict[str, list[str]] = {}
    file = Path(__file__).with_name("golden_ids.txt")
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.endswith(":"):
            lines = found[line.removesuffix(":")] = []
        else:
            lines.append(line)
    return found


# A reader's finished runs are found by their ids: a changed id makes every such run to do again.
# So an id may change only on purpose, together with this list.
@pytest.mark.parametrize("name", STUDIES)
def test_no_id_has_changed(name, own):
    found = sorted(ids(planned(name)))
    if golden()[name][0].startswith("sha256 "):
        found = ["sha256 " + hashlib.sha256("\n".join(found).encode()).hexdigest()]
    assert found == golden()[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_record_is_of_a_planned_run(name, own):
    """Its settings and its changes are those of the run, so prose and figures can rely on them."""
    runs = {run.id: run for run in planned(name)}
    published = records.read_lines(files.RESULTS / f"{name}.jsonl")
    assert len({record["id"] for record in published}) == len(published) > 0
    for record in published:
        run = runs[record["id"]]
        assert record["settings"] == {each.step: each.stated for each in run.lineage()}
        assert record["changed"] == run.changed
        names = ("step", "language", "teacher", "task", "seed")
        if run.step != "baseline":  # its record may name a study with another teacher
            assert [record[key] for key in names] == [getattr(run, key) for key in names]


@pytest.mark.parametrize("name", [*STUDIES, *TOYS])
def test_a_run_comes_after_its_parent_and_names_only_what_is_special(name, monkeypatch):
    seen, always = set(), {"study", "teacher", "language", "task", "kind", "model_step", "seed"}
    for run in runs_of(name, monkeypatch):
        assert run.notebook.exists() and (run.parent is None or run.parent.id in seen)
        seen.add(run.id)
        assert (set(run.parameters) <= always) is (run.changed == {})


def test_a_study_by_hand():
    runs = plan.runs("toy")
    assert Counter(run.step for run in runs) == {
        "pretrain": 2,
        **dict.fromkeys(("adapt", "layers", "ffn", "hidden", "vocabulary"), 3),
        "finetune": 3 * 2 * 2 * 2,
    }
    assert runs[0].parameters == {"study": "toy", "teacher": "toy-bert"}
    assert runs[-1].parameters == {
        "study": "toy",
        "teacher": "toy-xlmr",
        "language": "swh",
        "task": "pos",
        "model_step": "vocabulary",
        "seed": 2,
    }
    assert runs[-1].parent == chain(studies.load("toy"), "swh")[-1]


@pytest.mark.parametrize(
    ("variant", "added"),
    [
        (
            {
                "set": {"layers": {"num_hidden_layers": 3}},
                "score": ["layers"],
                "tasks": ["pos"],
                "seeds": [5],
            },
            {"layers": 3, "finetune": 3},
        ),
        (
            {"set": {"hidden": {"hidden_size": 24}}, "languages": ["mlt"], "score": ["hidden"]},
            {"hidden": 1, "finetune": 4},
        ),
        (
            {"set": {"finetune": {"reduction_factor": 2}}, "tasks": ["tc"], "seeds": [1]},
            {"finetune": 3 * 2},
        ),
        ({"set": {}, "score": ["ffn"], "tasks": ["tc"], "seeds": [1]}, {"finetune": 3}),
        (
            {"set": {}, "score": ["adapt"], "tasks": [], "measure": ["perplexity"]},
            {"perplexity": 3},
        ),
        ({"set": {"layers": {"num_hidden_layers": 2}}, "languages": ["mlt"]}, {}),
        (
            {"set": {}, "order": ["pretrain", "layers"], "score": [], "languages": ["mlt"]},
            {"layers": 1},
        ),
    ],
)
def test_a_variant_adds_what_it_changes_and_no_more(variant, added):
    former = set(ids(plan.runs("toy")))
    toy_study.write_study(STUDY | {"variants": [variant]})
    runs = plan.runs("toy")
    assert former <= set(ids(runs))
    assert Counter(run.step for run in runs if run.id not in former) == added


def new_runs(**more) -> list:
    """The runs that further lines of the toy study's file add."""
    former = ids(plan.runs("toy"))
    toy_study.write_study(STUDY | more)
    runs = plan.runs("toy")
    assert [id_ for id_ in ids(runs) if id_ in former] == former  # nothing else changes
    return [run for run in runs if run.id not in former]


def test_baselines_add_one_run_a_language_task_and_kind():
    kinds = ["majority", "ngrams"]
    runs = new_runs(baselines=kinds)
    assert Counter((run.language, run.task, run.settings["kind"]) for run in runs) == Counter(
        (language, task, kind)
        for language in ("mlt", "slk", "swh")
        for task in ("tc", "pos")
        for kind in kinds
    )
    assert {run.notebook.stem for run in runs} == {"65_baselines"}
    assert runs[0].parameters == {
        "study": "toy",
        "language": "mlt",
        "task": "tc",
        "kind": "majority",
    }
    assert [ids(batch) for batch in plan.batches("toy") if batch[0].step == "baseline"] == [
        ids(runs)
    ]
    limited = {
        "set": {"finetune": {"train_limit": 5}},
        "languages": ["slk"],
        "tasks": ["pos"],
        "score": ["adapt"],
    }
    unscored = {"set": {"finetune": {"train_limit": 6}}, "score": []}
    more = [run for run in new_runs(baselines=kinds, variants=[limited, unscored]) if not run.seed]
    assert [run.parameters for run in more] == [
        {
            "study": "toy",
            "language": "slk",
            "task": "pos",
            "kind": kind,
            "overrides": {"finetune": {"train_limit": 5}},
        }
        for kind in kinds
    ]


def test_measures_add_one_run_a_scored_model_and_kind():
    runs = new_runs(measure={"lens": {"sentences": 3}})
    assert Counter((run.step, run.parent.step, run.language) for run in runs) == Counter(
        ("lens", step, language)
        for step in ("adapt", "vocabulary")
        for language in ("mlt", "slk", "swh")
    )
    assert {run.notebook.stem for run in runs} == {"80_logit_lens"}
    assert {run.task for run in runs} == {None}


@pytest.mark.parametrize(
    ("given", "measured"),
    [
        ({}, ["lens"]),
        ({"measure": ["perplexity"]}, ["perplexity"]),
        ({"measure": ["perplexity", "lens"]}, ["perplexity", "lens"]),
        ({"measure": []}, []),
    ],
)
def test_a_variants_measures_take_the_place_of_the_studys(given, measured):
    own = {"measure": {"lens": {"sentences": 3}}}
    toy_study.write_study(STUDY | own)
    narrow = {"set": {"hidden": {"hidden_size": 24}}, "score": ["hidden"], "languages": ["mlt"]}
    runs = new_runs(**own, variants=[narrow | {"tasks": []} | given])
    assert [run.step for run in runs] == ["hidden", *measured]
    assert all(run.parent == runs[0] for run in runs[1:])
    assert all(run.changed == {"hidden.hidden_size": 24} for run in runs)


def test_a_variant_takes_a_step_that_the_studys_own_chain_has_not():
    toy_study.write_study(toy_study.PLAIN, "own")
    former, runs = set(ids(plan.runs("own"))), plan.runs("plain")
    assert Counter(run.step for run in plan.runs("own") if run.step != "finetune") == {
        "pretrain": 2,
        **dict.fromkeys(toy_study.PLAIN["order"][1:], 3),
    }
    new = [run for run in runs if run.id not in former]
    assert former < set(ids(runs)) and Counter(run.step for run in new) == {
        **dict.fromkeys(("adapt", "vocabulary", "layers", "ffn", "hidden"), 1),
        "finetune": 2,
    }
    assert {run.parent.step for run in new if run.task} == {"adapt", "hidden"}
    assert new[-1].changed == {"adapt.steps": 3, "teacher": "adapted"}


@pytest.mark.parametrize(
    ("name", "reference"),
    [("demo", "adapt"), ("paper", "adapt"), ("e5", "vocabulary"), ("paper-modern", "adapt")],
)
def test_what_students_are_compared_with(name, reference, own):
    assert studies.reference(studies.load(name).order) == reference


def test_training_from_scratch_is_a_variant_that_shares_the_cuts_before():
    settings = {"hidden_start": "random", "mlm_weight": 1, "steps": 30}
    scratch = {"set": {"hidden": settings}, "score": ["vocabulary"], "tasks": ["tc"]}
    former = ids(plan.runs("toy"))
    runs = new_runs(variants=[scratch])
    assert Counter(run.step for run in runs) == {"hidden": 3, "vocabulary": 3, "finetune": 6}
    assert all(run.parent.id in former for run in runs if run.step == "hidden")
    assert all(run.parameters["overrides"] == {"hidden": settings} for run in runs)


def test_how_much_text_to_distil_on_is_a_variant():
    shares = (4, 13, 0)  # the study has the third already
    variants = [
        {"set": {step: {"sentences": share} for step in ("layers", "hidden")}}
        | {"score": ["vocabulary"], "tasks": ["tc"], "seeds": [1]}
        for share in shares
    ]
    runs = new_runs(variants=variants)
    made = ("layers", "ffn", "hidden", "vocabulary", "finetune")
    assert Counter(run.step for run in runs) == dict.fromkeys(made, 2 * 3)
    for run in runs:
        share = run.parameters["overrides"]["layers"]["sentences"]
        distilled = ("layers",) if run.step in ("layers", "ffn") else ("layers", "hidden")
        assert run.changed == {f"{step}.sentences": share for step in distilled}
        assert share in shares[:2]


def test_pooling_is_a_setting_of_sequence_tasks_alone():
    former = ids(plan.runs("toy"))
    back = {"set": {"finetune": {"pooling": "first"}}, "score": ["adapt"], "seeds": [1]}
    pooled = toy_study.changed(STUDY, "finetune.pooling", "mean") | {"variants": [back]}
    toy_study.write_study(pooled)
    runs = plan.runs("toy")
    new = [run for run in runs if run.id not in former]
    assert {(run.task, run.settings["pooling"]) for run in new} == {("tc", "mean")}
    again = [run for run in runs if run.task == "tc" and run.settings["pooling"] == "first"]
    assert set(ids(again)) < set(former) and {run.parent.step for run in again} == {"adapt"}
    overrides = {"finetune": {"pooling": "first"}}
    assert all(run.parameters["overrides"] == overrides for run in again)


def test_the_seeds_of_a_study_reach_its_runs():
    toy_study.write_study(toy_study.changed(STUDY, "seeds", {"chain": 8, "tasks": [4]}))
    runs = plan.runs("toy")
    assert {run.seed for run in runs} == {4, 8}
    assert {run.parameters.get("seed") for run in runs if run.step != "finetune"} == {None, 8}


@pytest.mark.parametrize("name", ["toy", "tough"])
def test_batches_hold_every_run_once_and_need_only_earlier_batches(name):
    batches, made = plan.batches(name), set()
    assert sorted(ids(plan.runs(name))) == sorted(id_ for batch in batches for id_ in ids(batch))
    for batch in batches:
        for run in batch:
            assert run.parent is None or run.parent.id in made | set(ids(batch))
        scores = [run for run in batch if not steps.step(run.step).makes_model]
        parents = {run.parent.id for run in scores if run.parent}
        assert (scores in ([], batch) and len(parents) <= len(scores) <= plan.SCORES) or not parents
        assert sum(bool(parents & set(ids(other))) for other in batches) <= 1  # of one group
        made |= set(ids(batch))


def test_batches_are_chains_and_the_scores_of_their_models():
    assert Counter(tuple(run.step for run in batch) for batch in plan.batches("toy")) == {
        ("pretrain",): 2,
        ("adapt", "layers", "ffn", "hidden", "vocabulary"): 3,
        ("finetune",) * 8: 3,
    }
    branch = {"set": {"hidden": {"hidden_size": 24}}, "languages": ["mlt"], "score": ["hidden"]}
    toy_study.write_study(STUDY | {"variants": [branch]})
    batches = [ids(batch) for batch in plan.batches("toy")]
    assert ids(chain(studies.load("toy"), "mlt")[1:4]) in batches  # two runs go on from ffn


class Rounding(Checked):
    """Settings of a step that does not exist."""

    digits: Share


@pytest.fixture
def rounding(tmp_path, monkeypatch):
    """A further cut: one registry entry and one notebook, in a repository of the test."""
    entry = steps.Step(
        "rounding", "cut", "45_round", Rounding, "rounded weights", "rounded", "rounded"
    )
    monkeypatch.setattr(steps, "REGISTRY", (*steps.REGISTRY, entry))
    folder = tmp_path / "repository" / "notebooks" / "study"
    folder.mkdir(parents=True)
    cell = nbformat.v4.new_code_cell(
        'study: str = "toy"\nlanguage: str = "mlt"\nteacher: str = ""\nseed: int = 0\n'
        "order: list = []\noverrides: dict = {}",
        metadata={"tags": ["parameters"]},
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "45_round.ipynb")
    for file in (files.ROOT / "notebooks" / "study").glob("*.ipynb"):
        (folder / file.name).symlink_to(file)
    order = ["pretrain", "adapt", "layers", "rounding", "vocabulary"]
    settings = {key: STUDY["steps"][key] for key in order if key != "rounding"}
    finer = {"set": {"rounding": {"digits": 0.25}}, "score": ["rounding"], "languages": ["mlt"]}
    content = {"order": order, "steps": settings | {"rounding": {"digits": 0.5}}}
    toy_study.write_study(STUDY | content | {"score": ["rounding"], "variants": [finer]})
    monkeypatch.setattr(files, "ROOT", tmp_path / "repository")
    return entry


def test_a_new_step_is_one_entry_and_one_notebook(rounding):
    runs = plan.runs("toy")
    new = [run for run in runs if run.step == "rounding"]
    assert len(new) == 4 and len(set(ids(new))) == 4
    assert new[0].id.startswith("mlt.toy-bert.rounding.layers.") and new[0].changed == {}
    assert new[3].changed == {"rounding.digits": 0.25}
    assert [run.step for run in new[0].lineage()] == ["pretrain", "adapt", "layers", "rounding"]
    assert Counter(run.parent.step for run in runs if run.step == "finetune") == {"rounding": 16}
    assert steps.names("cut")[-1] == "rounding" and steps.step("rounding").makes_model
    for run in runs:
        assert run.notebook.parent == files.ROOT / "notebooks" / "study" and run.notebook.exists()
        again = resolve(run.step, asked(run))
        assert (again.id, again.changed) == (run.id, run.changed)
    with pytest.raises(StudyError, match="overrides: rounding: digits: 2 is out of range"):
        resolve(
            "rounding",
            {"study": "toy", "language": "mlt", "overrides": {"rounding": {"digits": 2}}},
        )


def test_a_new_step_is_made_like_the_others(rounding, executed):
    runs = plan.runs("toy")
    make.make(runs)
    assert executed == runs and {state.state(run) for run in runs} == {state.DONE}
    record = records.read(next(run for run in runs if run.step == "rounding"))
    assert record["settings"]["rounding"] == {"digits": 0.5}
    assert record["model"]["step"] == "rounding"


def test_a_baseline_of_the_study_is_among_its_runs():
    runs = plan.runs("tough")
    assert baseline(studies.load("tough"), "swh", "tc", "ngrams", "my-encoder") in runs
