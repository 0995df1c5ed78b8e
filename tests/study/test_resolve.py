"""Which run parameters mean, and which settings change which ids."""

import pytest
import toy_study

from lib import facts, files
from lib.errors import StudyError
from lib.study import plan, steps, studies
from lib.study import settings as settings_of
from lib.study.plan import baseline, chain, measuring, resolve, scoring

pytestmark = pytest.mark.usefixtures("toy")
STUDY = toy_study.STUDY
ORDER = tuple(STUDY["steps"])
NOTEBOOK = {"study": "toy", "language": "mlt", "teacher": "", "seed": 0, "order": []}
TASK = NOTEBOOK | {"task": "tc", "model_step": "", "overrides": {}}


def toy():
    return studies.load("toy")


def ids(language="mlt", study="toy", **given):
    return [run.id for run in chain(studies.load(study), language, **given)]


def other(step, key, value):
    """Another value that a setting may have."""
    if choices := [word for word in steps.choices(step, key) if word != value]:
        return choices[0]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + {"hidden_size": 4, "num_attention_heads": 2}.get(key, 1)
    return value / 2 + 0.1


SETTINGS = [(step, key) for step in ORDER for key in steps.step(step).settings.model_fields]


def test_a_chain_is_the_papers_steps_each_after_the_last(data):
    runs = chain(toy(), "mlt")
    assert tuple(run.step for run in runs) == ORDER == runs[-1].order
    assert [run.parent for run in runs] == [None, *runs[:-1]] and runs[-1].lineage() == runs
    assert [run.language for run in runs] == [None] + ["mlt"] * 5
    assert {run.teacher for run in runs} == {"toy-bert"}
    for run in runs:
        assert run.stated == STUDY["steps"][run.step] and run.changed == {}
        assert run.folder == data / "models" / run.id and run.notebook.exists()
        assert run.record == data / "runs" / run.step / f"{run.id}.json"
    assert [run.id.rsplit(".", 1)[0] for run in runs] == [
        "multilingual.toy-bert.pretrained",
        *(f"mlt.toy-bert.{label}" for label in ("adapted", "L2", "F64", "H48", "V500")),
    ]
    shown = str(runs[2]).splitlines()
    assert shown[0] == f"{runs[2].id}  (study toy, step layers, seed 1)"
    assert "  layer_choice: last_k" in shown and shown[-1] == f"  after: {runs[1].id}"


def test_languages_share_the_teacher_and_nothing_else():
    mlt, slk, swh = (ids(language) for language in ("mlt", "slk", "swh"))
    assert mlt[0] == slk[0] != swh[0] and not set(mlt[1:]) & set(slk[1:])
    assert swh[0].startswith("multilingual.toy-xlmr.")


def test_a_pairs_settings_and_overrides_over_them():
    assert chain(toy(), "swh")[2].settings["layer_choice"] == "stride"
    given = {"layers": {"layer_choice": "random"}, "ffn": {"sentences": 3}}
    runs = chain(toy(), "swh", overrides=given)
    assert runs[2].settings["layer_choice"] == "random"
    assert runs[3].settings == STUDY["steps"]["ffn"] | steps.LATER["ffn"] | {"sentences": 3}
    assert runs[2].changed == {"layers.layer_choice": "random"}
    assert runs[5].changed == runs[3].changed == runs[2].changed | {"ffn.sentences": 3}
    assert chain(toy(), "swh")[5].changed == {}  # a pair's settings are the study's own


@pytest.mark.parametrize(("step", "key"), SETTINGS)
def test_a_changed_setting_makes_new_runs_from_its_step_on(step, key):
    """`passes` are passes over hidden states."""
    needed = {"distillation_target": "hidden"} if key == "passes" else {}
    given = {step: needed | {key: other(step, key, toy().settings[step][key])}}
    old, new = ids(overrides={step: needed}), ids(overrides=given)
    place = ORDER.index(step)
    assert new[:place] == old[:place] and not set(new[place:]) & set(old)
    changed = chain(toy(), "mlt", overrides=given)[-1].changed
    assert changed == {f"{step}.{name}": value for name, value in given[step].items()}


@pytest.mark.parametrize("section", ["", "token"])
@pytest.mark.parametrize("name", settings_of.Finetuning.model_fields)
def test_a_changed_setting_of_a_task_makes_a_new_run(section, name):
    value = other("finetune", name, toy().settings["finetune"]["pos"][name])
    given = {"finetune": {section: {name: value}} if section else {name: value}}
    model = chain(toy(), "mlt")[-1]
    runs = {task: scoring(model, "mlt", task, 1, given) for task in ("tc", "pos")}
    changes = {task: run.id != scoring(model, "mlt", task, 1).id for task, run in runs.items()}
    differs = toy().settings["finetune"]["tc"][name] != value
    assert changes == {"tc": not section and differs, "pos": name != "pooling"}
    changed = {f"finetune.{name}": value}
    assert {task: run.changed for task, run in runs.items()} == {
        task: changed if changes[task] else {} for task in runs
    }


@pytest.mark.parametrize("step", ["perplexity", "lens"])
def test_a_changed_setting_of_a_measure_makes_a_new_run(step):
    fields = steps.step(step).settings.model_fields
    toy_study.write_study(STUDY | {"measure": {step: dict.fromkeys(fields, 9)}})
    model = chain(toy(), "mlt")[-1]
    runs = [measuring(model, "mlt", step, {step: {key: 8}}) for key in fields]
    assert len({run.id for run in [*runs, measuring(model, "mlt", step)]}) == len(fields) + 1
    assert [run.changed for run in runs] == [{f"{step}.{key}": 8} for key in fields]


def test_later_settings_at_their_former_value_are_in_no_id():
    """Also over a study with another value: `sentences: 0` is all text, as it was before."""
    former, every = ids(), {"layers": {"sentences": 0}}
    assert ids(overrides=every) == former
    toy_study.write_study(toy_study.changed(STUDY, "steps.layers.sentences", 7), "second")
    assert ids(study="second")[:2] == former[:2] and not set(ids(study="second")[2:]) & set(former)
    assert ids(study="second", overrides=every) == former
    assert ids(overrides={"layers": {"sentences": 7}}) == ids(study="second")
    changed = chain(studies.load("second"), "mlt", overrides=every)[2].changed
    assert changed == {"layers.sentences": 0}


@pytest.mark.parametrize("step", ["layers", "hidden"])
def test_no_more_text_to_distil_on_than_the_study_takes(step):
    forty = chain(toy(), "mlt", overrides={step: {"sentences": 40}})[ORDER.index(step)]
    assert forty.settings["sentences"] == 40
    said = f"{step}: 41 sentences were asked for; the study 'toy' takes 40 of each language"
    with pytest.raises(StudyError, match=said):
        chain(toy(), "mlt", overrides={step: {"sentences": 41}})
    toy_study.write_study(toy_study.changed(STUDY, "corpus.train", 0), "all")
    assert chain(studies.load("all"), "mlt", overrides={step: {"sentences": 41}})


def test_equal_settings_share_their_runs_between_studies():
    another = {"title": "another", "tasks": ["ner"], "score": ["layers"], "variants": []}
    toy_study.write_study(STUDY | another | {"seeds": {"chain": 1, "tasks": [9]}}, "second")
    first, second = chain(toy(), "mlt"), chain(studies.load("second"), "mlt")
    assert first == second and first[-1].record == second[-1].record
    toy_study.write_study(toy_study.changed(STUDY, "steps.hidden.steps", 9), "third")
    assert ids(study="third")[:4] == ids()[:4] and not set(ids(study="third")[4:]) & set(ids())


@pytest.mark.parametrize(
    ("place", "value"), [("corpus.train", 41), ("seeds.chain", 2), ("source", "local")]
)
def test_what_the_whole_study_depends_on_changes_every_run(place, value):
    toy_study.write_study(toy_study.changed(STUDY, place, value), "second")
    assert not set(ids(study="second")) & set(ids())


@pytest.mark.parametrize(
    ("name", "place", "value", "touched"),
    [
        ("training", "weight_decay", 0.02, {"pretrain", "adapt", "layers", "hidden"}),
        ("training", "evaluations", 3, {"pretrain", "adapt", "layers", "hidden"}),
        ("models", "toy-bert.text.mlt", 999, set(ORDER)),
        ("models", "toy-bert.configuration.hidden_size", 104, set(ORDER)),
        ("models", "mbert.repository", "else/where", set()),
        ("languages", "mlt.name", "Malti", set()),
    ],
)
def test_facts_that_a_result_depends_on_are_in_its_identity(
    name, place, value, touched, tmp_path, monkeypatch
):
    def identities():
        return {
            run.step: {key: value for key, value in run.identity().items() if key != "parent"}
            for run in chain(toy(), "mlt")
        }

    folder = toy_study.facts_in(tmp_path, monkeypatch)
    before, former = identities(), ids()
    toy_study.write_yaml(
        folder / f"{name}.yaml", toy_study.changed(facts.facts(name), place, value)
    )
    after = identities()
    assert {step for step in ORDER if before[step] != after[step]} == touched
    assert not set(ids()) & set(former) if touched else ids() == former


def test_where_things_lie_is_in_no_id(monkeypatch, tmp_path):
    before = ids()
    for name in ("STUDY_DATA_ROOT", "STUDY_MODELS_ROOT", "STUDY_DATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    run = chain(toy(), "mlt")[1]
    assert ids() == before and run.folder.parent == tmp_path / "STUDY_DATA" / "models"


def test_the_seed_of_a_chain_leaves_the_teacher_alone():
    old, new = ids(), ids(seed=2)
    assert old[0] == new[0] and not set(old[1:]) & set(new)
    assert [run.seed for run in chain(toy(), "mlt", seed=2)] == [1, 2, 2, 2, 2, 2]


def test_one_and_one_point_zero_are_one_setting():
    assert ids(overrides={"hidden": {"mlm_weight": 1}}) == ids(
        overrides={"hidden": {"mlm_weight": 1.0}}
    )
    model = chain(toy(), "mlt")[-1]
    whole, broken = (
        scoring(model, "mlt", "tc", 1, {"finetune": {"sequence": {"weight_decay": value}}})
        for value in (1, 1.0)
    )
    assert whole.id == broken.id


def test_another_order_of_steps():
    order = ("pretrain", "adapt", "vocabulary", "layers")
    runs = chain(toy(), "mlt", order=order)
    assert tuple(run.step for run in runs) == order and [run.id for run in runs][:2] == ids()[:2]
    assert not {run.id for run in runs[2:]} & set(ids())
    assert runs[-1].changed == {"order": "vocabulary > layers"} and runs[1].changed == {}
    own = {"order": list(order), "score": ["layers"]}
    own |= {"steps": {step: STUDY["steps"][step] for step in order}}
    toy_study.write_study(STUDY | own, "second")
    assert ids(study="second") == [run.id for run in runs]
    assert chain(studies.load("second"), "mlt")[-1].changed == {}


def test_cuts_of_the_plain_teacher_say_so():
    order = ("pretrain", "layers", "ffn")
    runs = chain(toy(), "mlt", order=order)
    assert [run.changed for run in runs] == [{}, {"teacher": "plain"}, {"teacher": "plain"}]
    assert runs[-1].parameters["order"] == list(order)


@pytest.mark.parametrize(
    ("order", "teacher"),
    [
        (ORDER, "adapt"),
        (tuple(toy_study.PLAIN["order"]), "vocabulary"),
        (("pretrain", "adapt", "vocabulary", "layers", "hidden"), "vocabulary"),
        (("pretrain", "ffn", "hidden"), "pretrain"),
    ],
)
def test_a_distillation_is_taught_by_the_model_before_or_by_the_chains_teacher(order, teacher):
    """By the same model in every study, for equal ids are one run."""
    toy_study.write_study(toy_study.PLAIN, "plain")
    for name in ("toy", "plain"):
        models = {run.step: run for run in chain(studies.load(name), "mlt", order=order)}
        assert models["hidden"].taught_by == models["hidden"].parent
        given = {"hidden": {"taught_by": "teacher"}}
        changed = chain(studies.load(name), "mlt", overrides=given, order=order)
        found = {run.step: run for run in changed}["hidden"]
        assert found.taught_by == models[teacher]
        assert found.changed["hidden.taught_by"] == "teacher"


def test_cuts_of_an_adapted_teacher_say_so_where_the_study_has_the_plain_one():
    toy_study.write_study(toy_study.PLAIN, "plain")
    study = studies.load("plain")
    assert all(run.changed == {} for run in chain(study, "mlt"))
    order = ("pretrain", "adapt", *study.order[1:])
    runs = chain(study, "mlt", order=order)
    assert tuple(run.step for run in runs) == order
    assert [run.changed for run in runs] == [{}, {}] + [{"teacher": "adapted"}] * 4
    assert runs[0] == chain(study, "mlt")[0] and not {*runs[1:]} & {*chain(study, "mlt")}
    assert runs[1].id == ids()[1] and runs[-1].parameters["order"] == list(order)
    given = {"adapt": {"steps": 9}}
    longer = chain(study, "mlt", overrides=given, order=order)
    assert longer[-1].changed == {"teacher": "adapted", "adapt.steps": 9}
    with pytest.raises(StudyError, match="overrides: 'adapt' is none of pretrain, vocabulary, la"):
        chain(study, "mlt", overrides=given)
    toy_study.write_study(toy_study.changed(toy_study.PLAIN, "steps.adapt"), "never")
    with pytest.raises(StudyError, match="study 'never': order: 'adapt' is none of pretrain, lay"):
        chain(studies.load("never"), "mlt", order=order)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layers": {"num_hidden_layers": 5}}, "layers: num_hidden_layers 5 was asked for; the te"),
        ({"ffn": {"intermediate_size": 385}}, "ffn: intermediate_size 385 was asked for; the te"),
        ({"vocabulary": {"kept_tokens": 4001}}, "vocabulary: kept_tokens 4001 was asked for; the"),
        ({"hidden": {"max_length": 129}}, "hidden: max_length 129 was asked for; the teacher has"),
        ({"hidden": {"hidden_size": 50}}, "a hidden size of 50 was asked for; 4 heads stay"),
        ({"hidden": {"hidden_size": 100}}, "a hidden size of 100 was asked for; 4 heads stay"),
        ({"prune": {}}, "overrides: 'prune' is none of pretrain, adapt"),
        ({"layers": {"depth": 3}}, "overrides: layers: unknown key 'depth'; it takes acc"),
        ({"layers": 3}, "overrides: layers: 3 is not a mapping"),
    ],
)
def test_a_cut_that_cannot_be_is_refused(given, said):
    with pytest.raises(StudyError) as caught:
        chain(toy(), "mlt", overrides=given)
    assert str(caught.value).startswith(said)


def test_scoring_runs():
    model = chain(toy(), "mlt")[-1]
    run = scoring(model, "mlt", "pos", 2)
    assert (run.step, run.task, run.seed, run.parent) == ("finetune", "pos", 2, model)
    assert run.lineage() == [*model.lineage(), run] and run.order == ORDER
    assert run.settings["epochs"] == 3 and run.settings["reduction_factor"] == 4
    assert run.id.startswith("mlt.toy-bert.pos.vocabulary.seed2.")
    overrides = {"finetune": {"reduction_factor": 8, "token": {"epochs": 5}}}
    changed = scoring(model, "mlt", "pos", 2, overrides)
    assert changed.settings == run.settings | {"reduction_factor": 8, "epochs": 5}
    assert scoring(model, "mlt", "tc", 2, overrides).settings["epochs"] == 2
    everything = {
        scoring(each, "mlt", task, seed, given).id
        for each in chain(toy(), "mlt")
        for task in ("tc", "pos")
        for seed in (1, 2)
        for given in ({}, overrides)
    }
    assert len(everything) == 6 * 8
    with pytest.raises(StudyError, match="study 'toy': task: 'ner' is none of tc, pos; take one"):
        scoring(model, "mlt", "ner", 1)


def test_a_pairs_settings_of_scoring():
    own = {"finetune": {"reduction_factor": 2, "sequence": {"epochs": 7}}}
    toy_study.write_study(toy_study.changed(STUDY, "pairs.1.set", own))
    model = chain(toy(), "swh")[-1]
    assert scoring(model, "swh", "tc", 1).settings["epochs"] == 7
    run = scoring(model, "swh", "tc", 1, {"finetune": {"sequence": {"batch_size": 3}}})
    names = ("epochs", "batch_size", "reduction_factor")
    assert [run.settings[name] for name in names] == [7, 3, 2]
    assert run.changed == {"finetune.batch_size": 3}


def test_a_tasks_settings_in_the_study_and_in_overrides():
    tc = {"epochs": 9, "learning_rate": 0.5}
    toy_study.write_study(toy_study.changed(STUDY, "finetune.tc", tc))
    model = chain(toy(), "mlt")[-1]
    names = ("epochs", "learning_rate", "batch_size")
    run = scoring(model, "mlt", "tc", 1)
    assert [run.settings[name] for name in names] == [9, 0.5, 4]
    assert scoring(model, "mlt", "pos", 1).settings["epochs"] == 3
    given = {"finetune": {"sequence": {"epochs": 1, "batch_size": 2}, "tc": {"batch_size": 3}}}
    run = scoring(model, "mlt", "tc", 1, given)
    assert [run.settings[name] for name in names] == [1, 0.5, 3]


def test_an_adapter_needs_a_dimension():
    for step, factor in ((0, 96), (-1, 48)):
        model = chain(toy(), "mlt")[step]
        assert scoring(model, "mlt", "tc", 1, {"finetune": {"reduction_factor": factor}})
        wrong = {"finetune": {"reduction_factor": factor + 1}}
        with pytest.raises(StudyError, match=f"a reduction_factor of {factor + 1} leaves no adapt"):
            scoring(model, "mlt", "tc", 1, wrong)
        assert scoring(model, "mlt", "tc", 1, {"finetune": wrong["finetune"] | {"method": "full"}})


def test_measuring_runs():
    toy_study.write_study(STUDY | {"measure": {"lens": {"sentences": 3}}})
    model = chain(toy(), "mlt")[-1]
    run = measuring(model, "mlt", "lens")
    assert (run.step, run.task, run.parent, run.seed) == ("lens", None, model, 1)
    assert run.settings == {"sentences": 3} and run.id.startswith("mlt.toy-bert.lens.vocabulary.")
    assert measuring(model, "mlt", "lens", {"lens": {"sentences": 4}}).id != run.id
    with pytest.raises(StudyError, match="'finetune' is none of perplexity, lens"):
        measuring(model, "mlt", "finetune")


@pytest.mark.parametrize("step", ["perplexity", "lens"])
def test_a_measure_that_the_study_does_not_list_can_be_asked_for(step):
    """With its default settings, or with others."""
    assert toy().measure == []
    run = resolve(step, TASK | {"model_step": "adapt"})
    assert run.parent.step == "adapt" and run.settings == toy().settings[step]
    assert run.changed == {} and "overrides" not in run.parameters
    given = {step: {"sentences": 3}}
    other = resolve(step, TASK | {"model_step": "adapt", "overrides": given})
    assert other.settings == run.settings | {"sentences": 3} and other.id != run.id
    assert other.changed == {f"{step}.sentences": 3} and other.parameters["overrides"] == given


def test_a_pairs_settings_of_a_measure():
    """They are the study's own, so a run with them changes nothing."""
    toy_study.write_study(toy_study.changed(STUDY, "pairs.1.set", {"lens": {"sentences": 7}}))
    model = chain(toy(), "swh")[-1]
    run = measuring(model, "swh", "lens")
    assert run.settings == {"sentences": 7} and run.changed == {}
    changed = measuring(model, "swh", "lens", {"lens": {"sentences": 8}}).changed
    assert changed == {"lens.sentences": 8}


def test_runs_of_baselines():
    run = baseline(toy(), "mlt", "pos", "ngrams")
    assert (run.step, run.task, run.parent, run.seed) == ("baseline", "pos", None, None)
    assert run.settings == {"kind": "ngrams", "train_limit": 20} and run.lineage() == [run]
    assert run.id.startswith("mlt.baseline.pos.ngrams.") and run.order == ()
    different = {
        baseline(toy(), language, task, kind, "", {"finetune": {"train_limit": limit}}).id
        for language in ("mlt", "swh")
        for task in ("tc", "pos")
        for kind in steps.choices("baseline", "kind")
        for limit in (0, 20)
    }
    assert len(different) == 24 and run.id in different


def test_a_baseline_depends_on_its_task_data_and_amount_only(tmp_path, monkeypatch):
    """Not on teachers, text, seeds or the training of models: different studies share it."""
    before = baseline(toy(), "mlt", "tc", "majority").id
    changed = {"seeds": {"chain": 5, "tasks": [6]}, "corpus": dict.fromkeys(STUDY["corpus"], 9)}
    second = toy_study.changed(STUDY | changed, "finetune.sequence.epochs", 9)
    toy_study.write_study(toy_study.changed(second, "pairs.0.teacher", "my-encoder"), "second")
    assert baseline(studies.load("second"), "mlt", "tc", "majority").id == before
    toy_study.write_study(STUDY | {"source": "hub"}, "third")
    assert baseline(studies.load("third"), "mlt", "tc", "majority").id != before
    folder = toy_study.facts_in(tmp_path, monkeypatch)
    training = facts.facts("training") | {"weight_decay": 0.5}
    toy_study.write_yaml(folder / "training.yaml", training)
    assert baseline(toy(), "mlt", "tc", "majority").id == before


def test_the_amount_of_a_baseline_is_that_of_its_pair():
    limited = {"set": {"finetune": {"train_limit": 5}}}
    pairs = [*STUDY["pairs"], {"teacher": "mbert", "languages": ["swh"]} | limited]
    toy_study.write_study(STUDY | {"pairs": pairs})
    runs = [
        baseline(toy(), "swh", "tc", "ngrams", teacher) for teacher in ("", "toy-xlmr", "mbert")
    ]
    assert [run.settings["train_limit"] for run in runs] == [20, 20, 5]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("mlt", "ner", "ngrams"), "study 'toy': task: 'ner' is none of tc, pos"),
        (("mlt", "tc", "best"), "study 'toy': baseline: 'best' is none of majority, ngrams"),
        (("hau", "tc", "ngrams"), "no language called 'hau'; params/studies/toy.yaml"),
        (
            ("mlt", "tc", "ngrams", "toy-xlmr"),
            "no teacher for 'mlt' called 'toy-xlmr'",
        ),
        (
            ("mlt", "tc", "ngrams", "", {"finetune": {"limit": 3}}),
            "overrides: finetune: unknown key 'limit'",
        ),
    ],
)
def test_baselines_that_do_not_exist(given, said):
    with pytest.raises(StudyError) as caught:
        baseline(toy(), *given)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("step", ORDER)
def test_a_notebooks_defaults_mean_the_studys_run(step):
    found, expected = resolve(step, NOTEBOOK), chain(toy(), "mlt")[ORDER.index(step)]
    assert found == expected and found.id == expected.id and found.changed == {}


def test_parameters_reach_the_run():
    given = {"layers": {"num_hidden_layers": 1}}
    asked = NOTEBOOK | {"language": "slk", "seed": 7, "overrides": given}
    assert resolve("ffn", asked) == chain(toy(), "slk", overrides=given, seed=7)[3]
    order = ["pretrain", "adapt", "hidden"]
    assert resolve("hidden", NOTEBOOK | {"order": order}) == chain(toy(), "mlt", order=order)[-1]
    assert resolve("pretrain", NOTEBOOK | {"teacher": "toy-xlmr"}).teacher == "toy-xlmr"
    stride = resolve("layers", NOTEBOOK | {"language": "swh", "teacher": "toy-xlmr"})
    assert stride.settings["layer_choice"] == "stride"
    models = chain(toy(), "mlt")
    assert resolve("finetune", TASK | {"seed": 2}) == scoring(models[-1], "mlt", "tc", 2)
    asked = TASK | {"model_step": "adapt", "task": "pos"}
    assert resolve("finetune", asked) == scoring(models[1], "mlt", "pos", 1)
    limit = {"finetune": {"train_limit": 3}}
    asked = TASK | {"language": "slk", "kind": "ngrams", "overrides": limit}
    assert resolve("baseline", asked) == baseline(toy(), "slk", "tc", "ngrams", "", limit)


def test_the_seed_of_a_scoring_leaves_its_model_alone():
    first, second = (resolve("finetune", TASK | {"seed": seed}) for seed in (1, 2))
    assert first.parent == second.parent and first.id != second.id


@pytest.mark.parametrize(
    ("step", "given", "said"),
    [
        ("prune", {}, "no step called 'prune'; lib/study/settings.py has pretrain, a"),
        ("adapt", {"study": "none"}, "no study called 'none'; params/studies has toy"),
        ("adapt", {"language": "xxx"}, "no language called 'xxx'; params/studies/toy.yaml has"),
        ("adapt", {"language": "hau"}, "no language called 'hau'; params/studies/toy.yaml has mlt"),
        ("adapt", {"teacher": "gpt"}, "no teacher for 'mlt' called 'gpt'; params/studies/toy.yaml"),
        ("adapt", {"seed": -1}, "parameter seed: -1 is out of range; give a whole number below"),
        ("adapt", {"seed": "one"}, "parameter seed: 'one' is not a whole number"),
        ("adapt", {"order": ["adapt"]}, "study 'toy': order: starts with pretrain and names each"),
        ("adapt", {"order": ["pretrain"]}, "study 'toy': step: 'adapt' is none of pretrain; take"),
        ("adapt", {"overrides": "ffn"}, "overrides: 'ffn' is not a mapping"),
        ("finetune", {"model_step": "lens"}, "study 'toy': step: 'lens' is none of pretrain, ada"),
        ("finetune", {"task": "qa"}, "study 'toy': task: 'qa' is none of tc, pos; take one"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(step, given, said):
    with pytest.raises(StudyError) as caught:
        resolve(step, TASK | given)
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


SAID = {  # the recipe `calibrated`, written out
    "layers": {"layer_choice": "search", "steps": 0},
    "hidden": {
        "hidden_start": "fitted",
        "taught_by": "teacher",
        "distillation_target": "hidden",
        "optimizer": "muon",
        "learning_rate": 1.5e-3,
        "steps": 800,
        "passes": 4,
    },
}
BY_NAME = {"recipe": "calibrated"}


def test_a_recipe_is_short_for_its_settings_and_no_run_names_it():
    assert ids(overrides=BY_NAME) == ids(overrides=SAID) != ids()
    last = chain(toy(), "mlt", overrides=BY_NAME)[-1]
    assert last.changed == {
        f"{step}.{name}": value for step, own in SAID.items() for name, value in own.items()
    }
    given = NOTEBOOK | {"overrides": BY_NAME}
    assert resolve("hidden", given).id == ids(overrides=SAID)[4]
    assert scoring(last, "mlt", "tc", 1, BY_NAME).id == scoring(last, "mlt", "tc", 1, SAID).id


@pytest.mark.parametrize("name", ["paper", "calibrated", "shared_basis"])
def test_a_recipe_in_a_study_a_pair_and_a_variant(name):
    """A study that names it has the same runs as one whose own settings are overridden."""
    recipe, own = {"recipe": name}, STUDY["steps"]
    expected = ids(overrides=recipe)
    bare = {step: dict(settings) for step, settings in own.items()}
    for step, settings in facts.fact("recipes", name).items():
        for setting in settings:
            bare[step].pop(setting, None)
    toy_study.write_study(STUDY | {"steps": recipe | bare}, "steps")
    assert ids(study="steps") == expected
    assert all(not run.changed for run in chain(studies.load("steps"), "mlt"))
    pair = {"teacher": "toy-bert", "languages": ["mlt"], "set": recipe}
    toy_study.write_study(STUDY | {"pairs": [pair]}, "pair")
    assert ids(study="pair") == expected
    pairs = [{"teacher": "toy-bert", "languages": ["mlt"]}]
    toy_study.write_study(STUDY | {"pairs": pairs, "variants": [{"set": recipe}]}, "variant")
    assert set(expected) <= {run.id for run in plan.runs("variant")}


def test_a_setting_beside_a_recipe_wins():
    given = BY_NAME | {"hidden": {"hidden_start": "svd"}, "finetune": {"tc": {"epochs": 9}}}
    runs = chain(toy(), "mlt", overrides=given)
    hidden, layers = runs[4].settings, runs[2].settings
    assert (hidden["hidden_start"], hidden["taught_by"], layers["steps"]) == ("svd", "teacher", 0)
    assert scoring(runs[-1], "mlt", "tc", 1, given).settings["epochs"] == 9
    toy_study.write_study(STUDY | {"steps": STUDY["steps"] | BY_NAME}, "both")
    assert chain(studies.load("both"), "mlt")[2].settings["layer_choice"] == "last_k"


def test_a_recipe_says_nothing_of_steps_that_a_study_has_not():
    order = ["pretrain", "layers", "vocabulary"]
    own = {step: STUDY["steps"][step] for step in order}
    content = STUDY | {"order": order, "score": ["layers"], "steps": own}
    toy_study.write_study(content | {"steps": own | BY_NAME}, "short")
    assert studies.load("short").chain_steps == tuple(order)
    toy_study.write_study(content, "shorter")
    assert (
        ids(study="shorter", overrides=BY_NAME)[2]
        == ids(study="shorter", overrides={"layers": SAID["layers"]})[2]
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"recipe": "best"}, "no recipe called 'best'; params/recipes.yaml has paper, calibrated"),
        ({"recipe": ["paper"]}, r"no recipe called \['paper'\]; params/recipes.yaml has paper"),
        ({"recipe": "paper", "ffn": 3}, "overrides: ffn: 3 is not a mapping"),
        ({"recipe": "paper", "fnn": {}}, "overrides: 'fnn' is none of"),
    ],
)
def test_a_recipe_that_is_none(given, said):
    with pytest.raises(StudyError, match=said):
        ids(overrides=given)
    toy_study.write_study(STUDY | {"steps": STUDY["steps"] | {"recipe": "best"}}, "wrong")
    with pytest.raises(StudyError, match="no recipe called 'best'"):
        studies.load("wrong")


def test_a_recipe_names_the_three_cuts_and_nothing_else():
    entry = {"layers": {}, "ffn": {}, "hidden": {}}
    file = files.PARAMS / "recipes.yaml"
    toy_study.write_yaml(file, {"mine": entry | {"fnn": {}}})
    with pytest.raises(StudyError, match="mine: unknown key 'fnn'; it takes ffn, hi"):
        ids(overrides={"recipe": "mine"})
    toy_study.write_yaml(file, {"mine": entry | {"ffn": {"refits": True}}})
    with pytest.raises(StudyError, match="overrides: ffn: unknown key 'refits'"):
        ids(overrides={"recipe": "mine"})
