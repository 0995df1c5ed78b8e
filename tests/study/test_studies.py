"""Studies and runs: which run a study or a notebook's parameters mean, and which ids change with which settings."""

import os

import pytest
import toys

from lib import facts, files
from lib.errors import StudyError
from lib.study import studies

NOTEBOOK = {
    "study": (str, "toy"),
    "language": (str, "mlt"),
    "teacher": (str, ""),
    "seed": (int, 1),
    "order": (list, []),
    "overrides": (dict, {}),
}
TASK = NOTEBOOK | {"task": (str, "tc"), "model_step": (str, "")}

BASELINE = {name: TASK[name] for name in ("study", "language", "task", "overrides")} | {
    "kind": (str, "ngrams")
}


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    """One folder for all tests, so that its entry are parsed once."""
    return tmp_path_factory.mktemp("params")


@pytest.fixture(autouse=True)
def folder(common, monkeypatch):
    """params/ of these tests, with the study `toy`."""
    monkeypatch.delenv("STUDY_DATA_ROOT", raising=False)
    monkeypatch.delenv("STUDY_MODELS_ROOT", raising=False)
    return toys.facts_in(common, monkeypatch)


def cell(declared=NOTEBOOK, **given):
    """What globals() of a notebook hold when its parameters cell and its imports have run."""
    values = {name: value for name, (_, value) in declared.items()} | given
    return {
        "__annotations__": {name: kind for name, (kind, _) in declared.items()},
        "__name__": "__main__",
        "_i1": "text",
        "In": [""],
        "Out": {},
        "os": os,
        "studies": studies,
    } | values


def ids(language="mlt", **given):
    return [run.id for run in studies.chain(given.pop("study", "toy"), language, **given)]


def other(key, kind, value):
    """Another value that a setting may have."""
    if isinstance(kind, tuple):
        return next(each for each in kind if each != value)
    return {
        int: lambda: value + (4 if key == "hidden_size" else 1),
        float: lambda: value / 2 + 0.1,
        bool: lambda: not value,
    }[kind]()


SETTINGS = [(step, key) for step in studies.STEPS for key in studies.SETTINGS[step]]


def test_a_chain_is_the_papers_steps_each_after_the_last():
    runs = studies.chain("toy", "mlt")
    assert (
        tuple(run.step for run in runs)
        == studies.STEPS
        == ("pretrain", "adapt", "layers", "ffn", "hidden", "vocabulary")
    )
    assert [run.parent for run in runs] == [None, *runs[:-1]] and runs[-1].lineage() == runs
    assert [run.language for run in runs] == [None] + ["mlt"] * 5 and {
        run.teacher for run in runs
    } == {"toy-bert"}
    for run in runs:
        assert (
            run.settings == toys.STUDY["steps"][run.step]
            and run.corpus == toys.STUDY["corpus"]
            and run.source.kind == "sample"
        )
        assert (
            run.folder == files.models() / run.id
            and run.record == files.runs() / run.step / f"{run.id}.json"
        )
    assert [run.id.rsplit(".", 1)[0] for run in runs] == [
        "multilingual.toy-bert.pretrained",
        *(f"mlt.toy-bert.{label}" for label in ("adapted", "L2", "F64", "H48", "V500")),
    ]
    assert str(runs[2]).splitlines()[
        0
    ] == f"{runs[2].id}  (study toy, step layers, seed 1)" and "  layer_choice: last_k" in str(
        runs[2]
    )


def test_a_run_cannot_be_changed():
    run = studies.chain("toy", "mlt")[2]
    with pytest.raises(TypeError):
        run.settings["steps"] = 1
    with pytest.raises(AttributeError):
        run.seed = 3


def test_languages_share_the_teacher_and_nothing_else():
    mlt, slk, swh = (ids(language) for language in ("mlt", "slk", "swh"))
    assert mlt[0] == slk[0] != swh[0] and not set(mlt[1:]) & set(slk[1:])
    assert (
        swh[0].startswith("multilingual.toy-xlmr.")
        and studies.study("toy").teacher_of("swh") == "toy-xlmr"
    )


def test_a_pairs_own_settings_and_overrides_over_them():
    assert studies.chain("toy", "swh")[2].settings["layer_choice"] == "stride"
    chosen = studies.chain(
        "toy", "swh", overrides={"layers": {"layer_choice": "random"}, "ffn": {"sentences": 3}}
    )
    assert chosen[2].settings["layer_choice"] == "random" and chosen[3].settings == toys.STUDY[
        "steps"
    ]["ffn"] | {"sentences": 3}


@pytest.mark.parametrize(("step", "key"), SETTINGS)
def test_a_changed_setting_makes_new_runs_from_its_step_on(step, key):
    value = other(key, studies.SETTINGS[step][key], toys.STUDY["steps"][step].get(key, 0))
    old, new = ids(), ids(overrides={step: {key: value}})
    place = studies.STEPS.index(step)
    assert new[:place] == old[:place] and not set(new[place:]) & set(old)


def test_a_setting_left_out_is_a_setting_of_zero():
    """Also over a study that gives another: `sentences: 0` is all text, and the run of a study that never heard of it."""
    usual = ids()
    assert (
        ids(overrides={"adapt": {"sentences": 0}}) == usual
        and "sentences" not in studies.chain("toy", "mlt")[1].settings
    )
    toys.write_study(toys.changed(toys.STUDY, "steps.adapt.sentences", 7), "second")
    assert (
        studies.chain("second", "mlt")[1].settings["sentences"] == 7
        and ids(study="second")[1] != usual[1]
    )
    assert ids(study="second", overrides={"adapt": {"sentences": 0}}) == usual
    assert ids(overrides={"adapt": {"sentences": 7}}) == ids(study="second")


def test_no_more_text_to_adapt_on_than_the_study_takes():
    assert (
        studies.chain("toy", "mlt", overrides={"adapt": {"sentences": 40}})[1].settings["sentences"]
        == 40
    )
    with pytest.raises(
        StudyError,
        match=r"adapt: 41 sentences were asked for; the study 'toy' takes 40 of each language",
    ):
        studies.chain("toy", "mlt", overrides={"adapt": {"sentences": 41}})
    toys.write_study(
        toys.changed(toys.STUDY, "corpus.train", 0), "second"
    )  # all there are, however many
    assert (
        studies.chain("second", "mlt", overrides={"adapt": {"sentences": 41}})[1].settings[
            "sentences"
        ]
        == 41
    )


def test_equal_settings_share_their_runs_between_studies():
    toys.write_study(
        toys.STUDY
        | {
            "title": "another",
            "tasks": ["ner"],
            "score": ["layers"],
            "seeds": {"chain": 1, "tasks": [9]},
        },
        "second",
    )
    first, second = studies.chain("toy", "mlt"), studies.chain("second", "mlt")
    assert [run.id for run in first] == [run.id for run in second] and first[-1].record == second[
        -1
    ].record
    toys.write_study(toys.changed(toys.STUDY, "steps.hidden.steps", 9), "third")
    assert ids(study="third")[:4] == ids()[:4] and not set(ids(study="third")[4:]) & set(ids())


@pytest.mark.parametrize(
    ("place", "value"), [("corpus.train", 41), ("seeds.chain", 2), ("source", "local")]
)
def test_what_the_whole_study_rests_on_changes_every_run(place, value):
    toys.write_study(toys.changed(toys.STUDY, place, value), "second")
    assert not set(ids(study="second")) & set(ids())


@pytest.mark.parametrize(
    ("facts", "place", "value", "touched"),
    [
        ("training", "weight_decay", 0.02, True),
        ("training", "evaluations", 3, True),
        ("models", "toy-bert.text.mlt", 999, True),
        ("models", "toy-bert.configuration.hidden_size", 104, True),
        ("models", "mbert.repository", "else/where", False),
        ("languages", "mlt.name", "Malti", False),
    ],
)
def test_facts_a_result_depends_on_are_in_its_id(
    entry, place, value, touched, tmp_path, monkeypatch
):
    own, before = toys.facts_in(tmp_path, monkeypatch), ids()
    toys.write_yaml(own / f"{entry}.yaml", toys.changed(facts.facts(entry), place, value))
    assert bool(set(before) - set(ids())) is touched and (
        not set(before) & set(ids()) or not touched
    )


def test_where_things_lie_is_in_no_id(monkeypatch, tmp_path):
    before = ids()
    monkeypatch.setenv("STUDY_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("STUDY_MODELS_ROOT", str(tmp_path / "models"))
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "made"))
    run = studies.chain("toy", "mlt")[1]
    assert (
        ids() == before
        and run.source.root == tmp_path / "data"
        and run.models_root == tmp_path / "models"
    )
    assert run.folder.parent == tmp_path / "made" / "models"


def test_the_seed_of_a_chain_leaves_the_teacher_alone():
    old, new = ids(), ids(seed=2)
    assert old[0] == new[0] and not set(old[1:]) & set(new)
    assert [run.seed for run in studies.chain("toy", "mlt", seed=2)] == [1, 2, 2, 2, 2, 2]


def test_one_and_one_point_zero_are_one_setting():
    assert ids(overrides={"hidden": {"mlm_weight": 1}}) == ids(
        overrides={"hidden": {"mlm_weight": 1.0}}
    )
    model = studies.chain("toy", "mlt")[-1]
    whole, broken = (
        studies.scoring(model, "mlt", "tc", 1, {"finetune": {"sequence": {"weight_decay": value}}})
        for value in (1, 1.0)
    )
    assert whole.id == broken.id


def test_another_order_of_steps():
    order = ("pretrain", "adapt", "vocabulary", "layers")
    runs = studies.chain("toy", "mlt", order=order)
    assert tuple(run.step for run in runs) == order and [run.id for run in runs][:2] == ids()[:2]
    assert not {run.id for run in runs[2:]} & set(ids())
    toys.write_study(
        toys.STUDY
        | {
            "order": list(order),
            "score": ["layers"],
            "steps": {step: toys.STUDY["steps"][step] for step in order},
        },
        "second",
    )
    assert ids(study="second") == [run.id for run in runs]


def test_scoring_runs():
    model = studies.chain("toy", "mlt")[-1]
    run = studies.scoring(model, "mlt", "pos", 2)
    assert (run.step, run.task, run.seed, run.parent) == (
        "finetune",
        "pos",
        2,
        model,
    ) and run.lineage() == [*model.lineage(), run]
    assert (
        run.settings["epochs"] == 3
        and run.settings["reduction_factor"] == 4
        and "token" not in run.settings
    )
    assert run.id.startswith("mlt.toy-bert.pos.vocabulary.seed2.")
    overrides = {"finetune": {"reduction_factor": 8, "token": {"epochs": 5}}}
    changed = studies.scoring(model, "mlt", "pos", 2, overrides)
    assert changed.settings == run.settings | {"reduction_factor": 8, "epochs": 5}
    assert (
        studies.scoring(model, "mlt", "tc", 2, overrides).settings["epochs"] == 2
    )  # the other kind of task keeps its own
    everything = [
        studies.scoring(each, "mlt", task, seed, given).id
        for each in studies.chain("toy", "mlt")
        for task in ("tc", "pos")
        for seed in (1, 2)
        for given in ({}, overrides)
    ]
    assert len(set(everything)) == len(everything) == 6 * 8


def test_a_pairs_own_settings_of_scoring():
    toys.write_study(
        toys.changed(
            toys.STUDY,
            "pairs.1.set",
            {"finetune": {"reduction_factor": 2, "sequence": {"epochs": 7}}},
        )
    )
    model = studies.chain("toy", "swh")[-1]
    assert studies.scoring(model, "swh", "tc", 1).settings["epochs"] == 7
    run = studies.scoring(model, "swh", "tc", 1, {"finetune": {"sequence": {"batch_size": 3}}})
    assert (
        run.settings["epochs"],
        run.settings["batch_size"],
        run.settings["reduction_factor"],
    ) == (7, 3, 2)


def test_a_tasks_own_settings_stand_over_those_of_its_kind_where_both_are_said():
    toys.write_study(toys.changed(toys.STUDY, "finetune.tc", {"epochs": 9, "learning_rate": 0.5}))
    model = studies.chain("toy", "mlt")[-1]
    usual = studies.scoring(model, "mlt", "tc", 1)
    assert (
        usual.settings["epochs"],
        usual.settings["learning_rate"],
        usual.settings["batch_size"],
    ) == (9, 0.5, 4)
    assert (
        "tc" not in usual.settings
        and studies.scoring(model, "mlt", "pos", 1).settings["epochs"] == 3
    )
    later = {"finetune": {"sequence": {"epochs": 1, "batch_size": 2}, "tc": {"batch_size": 3}}}
    run = studies.scoring(model, "mlt", "tc", 1, later)
    assert (run.settings["epochs"], run.settings["learning_rate"], run.settings["batch_size"]) == (
        1,
        0.5,
        3,
    )
    toys.write_study(toys.changed(toys.STUDY, "finetune.tc", {"epoch": 9}))
    with pytest.raises(StudyError, match="epoch"):
        studies.study("toy")


def test_runs_of_baselines():
    run = studies.baseline("toy", "mlt", "pos", "ngrams")
    assert (run.step, run.task, run.parent, run.teacher, run.seed) == (
        "baseline",
        "pos",
        None,
        None,
        None,
    ) and run.lineage() == [run]
    assert dict(run.settings) == {"kind": "ngrams", "train_limit": 20} and run.id.startswith(
        "mlt.baseline.pos.ngrams."
    )
    different = {
        studies.baseline("toy", language, task, kind, "", {"finetune": {"train_limit": limit}}).id
        for language in ("mlt", "swh")
        for task in ("tc", "pos")
        for kind in studies.BASELINES
        for limit in (0, 20)
    }
    assert len(different) == 16 and run.id in different


def test_a_baseline_depends_on_its_task_data_and_amount_only(tmp_path, monkeypatch):
    """Not on teachers, text, seeds or how models are trained: two studies with different ones share it."""
    before = studies.baseline("toy", "mlt", "tc", "majority").id
    changed = toys.STUDY | {
        "seeds": {"chain": 5, "tasks": [6]},
        "corpus": {"train": 9, "dev": 9, "test": 9},
    }
    toys.write_study(
        toys.changed(
            toys.changed(changed, "finetune.sequence.epochs", 9), "pairs.0.teacher", "mini-bert"
        ),
        "second",
    )
    assert studies.baseline("second", "mlt", "tc", "majority").id == before
    toys.write_study(toys.STUDY | {"source": "hub"}, "third")
    assert studies.baseline("third", "mlt", "tc", "majority").id != before
    own = toys.facts_in(tmp_path, monkeypatch)
    toys.write_yaml(own / "training.yaml", facts.facts("training") | {"weight_decay": 0.5})
    assert studies.baseline("toy", "mlt", "tc", "majority").id == before


def test_the_amount_of_a_baseline_is_that_of_its_pair():
    pairs = [
        *toys.STUDY["pairs"],
        {"teacher": "mbert", "languages": ["swh"], "set": {"finetune": {"train_limit": 5}}},
    ]
    toys.write_study(toys.STUDY | {"pairs": pairs})
    limits = [
        studies.baseline("toy", "swh", "tc", "ngrams", teacher).settings["train_limit"]
        for teacher in ("", "toy-xlmr", "mbert")
    ]
    assert limits == [20, 20, 5]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("toy", "mlt", "ner", "ngrams"), "study 'toy': task: 'ner' is none of tc, pos"),
        (("toy", "mlt", "tc", "best"), "study 'toy': baseline: 'best' is none of majority, ngrams"),
        (("toy", "hau", "tc", "ngrams"), "the study 'toy' has no language 'hau'"),
        (
            ("toy", "mlt", "tc", "ngrams", "toy-xlmr"),
            "the study 'toy' does not pair the teacher 'toy-xlmr' with 'mlt' (it has 'toy-bert')",
        ),
        (
            ("toy", "mlt", "tc", "ngrams", "", {"finetune": {"limit": 3}}),
            "overrides: finetune: unknown key 'limit'",
        ),
    ],
)
def test_baselines_that_do_not_exist(given, said):
    with pytest.raises(StudyError) as caught:
        studies.baseline(*given)
    assert str(caught.value).startswith(said)


def test_measuring_runs():
    toys.write_study(toys.STUDY | {"measure": {"lens": {"sentences": 3}}})
    model = studies.chain("toy", "mlt")[-1]
    run = studies.measuring(model, "mlt", "lens")
    assert (run.step, run.task, run.parent, dict(run.settings)) == (
        "lens",
        None,
        model,
        {"sentences": 3},
    )
    assert studies.measuring(model, "mlt", "lens", {"lens": {"sentences": 4}}).id != run.id
    with pytest.raises(
        StudyError, match=r"does not measure perplexity \(sentences, max_length not given\)"
    ):
        studies.measuring(model, "mlt", "perplexity")


@pytest.mark.parametrize("step", studies.STEPS)
def test_a_notebooks_parameters_mean_the_studys_run(step):
    """Also from globals() that hold modules, private names and what Jupyter puts there."""
    if step == "pretrain":
        found = studies.resolve(
            step, cell({name: NOTEBOOK[name] for name in ("study", "teacher", "overrides")})
        )
    else:
        found = studies.resolve(step, cell())
    expected = studies.chain("toy", "mlt")[studies.STEPS.index(step)]
    assert found == expected and found.id == expected.id


def test_parameters_reach_the_run():
    chain = studies.chain("toy", "slk", overrides={"layers": {"num_hidden_layers": 1}}, seed=7)
    assert (
        studies.resolve(
            "ffn", cell(language="slk", seed=7, overrides={"layers": {"num_hidden_layers": 1}})
        )
        == chain[3]
    )
    order = ["pretrain", "adapt", "hidden"]
    assert (
        studies.resolve("hidden", cell(order=order))
        == studies.chain("toy", "mlt", order=tuple(order))[-1]
    )
    assert studies.resolve("pretrain", cell(teacher="toy-xlmr")).teacher == "toy-xlmr"
    assert (
        studies.resolve("layers", cell(language="swh", teacher="toy-xlmr")).settings["layer_choice"]
        == "stride"
    )
    last = studies.chain("toy", "mlt")
    assert studies.resolve("finetune", cell(TASK, seed=2)) == studies.scoring(
        last[-1], "mlt", "tc", 2
    )
    assert studies.resolve(
        "finetune", cell(TASK, model_step="adapt", task="pos")
    ) == studies.scoring(last[1], "mlt", "pos", 1)
    limit = {"finetune": {"train_limit": 3}}
    assert studies.resolve(
        "baseline", cell(BASELINE, language="slk", overrides=limit)
    ) == studies.baseline("toy", "slk", "tc", "ngrams", "", limit)


def test_the_seed_of_a_scoring_leaves_its_model_alone():
    first, second = (studies.resolve("finetune", cell(TASK, seed=seed)) for seed in (1, 2))
    assert first.parent == second.parent and first.id != second.id


@pytest.mark.parametrize(
    ("step", "declared", "given", "said"),
    [
        (
            "layers",
            NOTEBOOK,
            {"langauge": "slk"},
            "unknown parameter 'langauge'; this notebook takes study, language, teacher, seed",
        ),
        ("layers", NOTEBOOK, {"hidden_size": 48}, "unknown parameter 'hidden_size'"),
        ("layers", NOTEBOOK, {"nothing": None}, "unknown parameter 'nothing'"),
        ("layers", NOTEBOOK, {"pair": (1, 2)}, "unknown parameter 'pair'"),
        (
            "layers",
            {},
            {},
            "no parameters are declared; the cell tagged `parameters` must hold lines such as",
        ),
        ("layers", NOTEBOOK, {"seed": "1"}, "parameter seed: '1' is not a whole number"),
        ("layers", NOTEBOOK, {"seed": 1.0}, "parameter seed: 1.0 is not a whole number"),
        ("layers", NOTEBOOK, {"seed": True}, "parameter seed: True is not a whole number"),
        ("layers", NOTEBOOK, {"seed": -1}, "parameter seed: -1 is out of range"),
        (
            "layers",
            NOTEBOOK,
            {"seed": 2**32},
            "parameter seed: 4294967296 is out of range; give a whole number below",
        ),
        ("layers", NOTEBOOK, {"language": 7}, "parameter language: 7 is not text"),
        ("layers", NOTEBOOK, {"language": None}, "parameter language: None is not text"),
        ("layers", NOTEBOOK, {"overrides": "ffn"}, "parameter overrides: 'ffn' is not a mapping"),
        ("layers", NOTEBOOK, {"order": "adapt"}, "parameter order: 'adapt' is not a list"),
        ("finetune", TASK, {"task": ["tc"]}, "parameter task: ['tc'] is not text"),
    ],
)
def test_parameters_that_are_misspelt_or_of_another_type(step, declared, given, said):
    with pytest.raises(StudyError) as caught:
        studies.resolve(step, cell(declared, **given))
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", sorted(file.stem for file in (files.ROOT / "params" / "studies").glob("*.yaml"))
)
def test_the_studies_that_are_here(name, monkeypatch):
    monkeypatch.setattr(files, "PARAMS", files.ROOT / "params")
    study = studies.study(name)
    for pair in study.pairs:
        for language in pair["languages"]:
            chain = studies.chain(name, language, pair["teacher"])
            assert len({run.id for run in chain}) == len(study.order)
            for task in study.tasks:
                assert (
                    studies.scoring(chain[-1], language, task, study.task_seeds[0]).settings[
                        "epochs"
                    ]
                    > 0
                )
