"""Files of params/studies are checked as a whole; mistakes are named with their file and key."""

from pathlib import Path

import pytest
import toy_study

from lib import files
from lib.checks import checked
from lib.errors import StudyError
from lib.study import steps, studies

pytestmark = pytest.mark.usefixtures("toy")
STUDY = toy_study.STUDY


def test_a_study_holds_what_its_file_says_and_all_settings():
    study = studies.load("toy")
    assert (study.name, study.title, study.source.kind) == ("toy", "a toy", "sample")
    assert study.order == steps.names("teacher", "cut") and study.score == ["adapt", "vocabulary"]
    assert study.corpus == STUDY["corpus"] and study.tasks == ["tc", "pos"]
    assert (study.seeds.chain, study.seeds.tasks) == (1, [1, 2])
    assert study.baselines == study.measure == study.variants == []
    assert study.settings["ffn"] == STUDY["steps"]["ffn"] | steps.LATER["ffn"]
    assert study.settings["layers"] == STUDY["steps"]["layers"] | steps.LATER["layers"]
    assert set(study.settings) == {*study.order, "finetune", "perplexity", "lens", "export"}


def test_steps_beside_the_order_have_settings_and_only_variants_take_them():
    with_adapt = ["pretrain", "adapt", *toy_study.PLAIN["order"][1:]]
    variant = {"set": {"adapt": {"steps": 3}}, "order": with_adapt, "score": ["adapt", "layers"]}
    toy_study.write_study(toy_study.PLAIN | {"variants": [variant]})
    study = studies.load("toy")
    assert study.order == tuple(toy_study.PLAIN["order"])
    assert study.chain_steps == steps.names("teacher", "cut")
    assert study.settings["adapt"] == STUDY["steps"]["adapt"]
    assert study.variants[0].order == with_adapt
    toy_study.write_study(toy_study.changed(toy_study.PLAIN, "steps.adapt"))
    assert "adapt" not in studies.load("toy").chain_steps
    given = {"adapt": {"steps": 3}}
    with pytest.raises(StudyError, match="here: 'adapt' is none of pretrain, layers"):
        studies.override(studies.load("toy"), studies.load("toy").settings, given, "here")
    toy_study.write_study(toy_study.PLAIN | {"score": ["adapt"]}, "other")
    with pytest.raises(StudyError, match="score: 'adapt' is none of pretrain, vocabulary, layers"):
        studies.load("other")
    toy_study.write_study(toy_study.PLAIN | {"score": ["adapt"], "variants": [variant]}, "other")
    assert studies.load("other").score == ["adapt"]


@pytest.mark.parametrize(
    ("order", "reference"),
    [
        (["pretrain", "adapt", "layers", "vocabulary"], "adapt"),
        (["pretrain", "vocabulary", "layers", "ffn"], "vocabulary"),
        (["pretrain", "adapt", "vocabulary", "hidden"], "vocabulary"),
        (["pretrain", "vocabulary", "adapt", "hidden"], "adapt"),
        (["pretrain", "layers", "vocabulary"], "pretrain"),
        (["pretrain"], "pretrain"),
    ],
)
def test_students_are_compared_with_the_last_model_that_no_cut_has_changed(order, reference):
    toy_study.write_study(STUDY | {"order": order, "score": ["pretrain"]})
    assert studies.reference(studies.load("toy").order) == reference


def test_defaults_of_settings_may_be_left_out():
    short = toy_study.changed(STUDY, "steps.layers.temperature")
    for name in ("precision", "accumulation"):
        short = toy_study.changed(short, f"steps.pretrain.{name}")
    for name in ("patience", "max_steps", "warmup", "weight_decay"):
        short = toy_study.changed(short, f"finetune.token.{name}")
    toy_study.write_study(short, "short")
    of_short, of_toy = studies.load("short").settings, studies.load("toy").settings
    assert of_short["pretrain"] == of_toy["pretrain"] | {"precision": "auto"}
    assert of_short["layers"] == of_toy["layers"] and of_short["finetune"] == of_toy["finetune"]


def test_settings_of_a_measure_have_defaults_whether_the_study_measures_it_or_not():
    default = studies.load("toy").settings
    assert default["perplexity"] == steps.merged("perplexity", {}, {}, "here")
    assert default["lens"] == steps.merged("lens", {}, {}, "here")
    toy_study.write_study(STUDY | {"measure": {"perplexity": {"sentences": 5}}})
    study = studies.load("toy")
    assert study.measure == ["perplexity"]
    assert study.settings["perplexity"] == default["perplexity"] | {"sentences": 5}
    assert study.settings["lens"] == default["lens"]
    toy_study.write_study(STUDY | {"measure": {"lens": None, "perplexity": {}}})
    study = studies.load("toy")
    assert study.measure == ["lens", "perplexity"] and study.settings == default


def test_a_changed_file_is_read_again_and_an_equal_one_is_not():
    first = studies.load("toy")
    assert studies.load("toy") is first
    toy_study.write_study(STUDY | {"title": "another"})
    assert studies.load("toy").title == "another"


def test_where_things_lie_comes_from_the_environment_or_the_file(monkeypatch, tmp_path):
    rooted = STUDY | {"source": "local", "data_root": "../there", "models_root": "/models"}
    toy_study.write_study(rooted)
    study = studies.load("toy")
    assert study.source.folder == files.ROOT.parent / "there"
    assert str(study.models_root) == "/models"
    monkeypatch.setenv("STUDY_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("STUDY_MODELS_ROOT", str(tmp_path / "models"))
    study = studies.load("toy")
    assert (study.source.root, study.models_root) == (tmp_path / "data", tmp_path / "models")
    monkeypatch.setenv("STUDY_SOURCE", "hub")
    assert studies.load("toy").source.kind == "hub"
    monkeypatch.setenv("STUDY_SOURCE", "web")
    with pytest.raises(StudyError, match="STUDY_SOURCE: 'web' is none of sample, local, hub; take"):
        studies.load("toy")


def test_a_pair_is_found_by_its_language_and_teacher():
    toy_study.write_study(
        STUDY | {"pairs": [*STUDY["pairs"], {"teacher": "mbert", "languages": ["swh"]}]}
    )
    study = studies.load("toy")
    assert study.pair("swh").teacher == study.pair(None, "toy-xlmr").teacher == "toy-xlmr"
    assert study.pair("swh", "mbert").languages == ["swh"] and study.pair(None) is study.pairs[0]
    for asked, said in (
        (("hau",), "no language called 'hau'; params/studies/toy.yaml has mlt, slk, swh: take"),
        (("swh", "xlm-r"), "no teacher for 'swh' called 'xlm-r'; params/studies/toy.yaml has toy"),
        ((None, "xlm-r"), "no teacher called 'xlm-r'; params/studies/toy.yaml has toy-bert, toy-x"),
        (("mlt", "toy-xlmr"), "no teacher for 'mlt' called 'toy-xlmr'; .* has toy-bert: take one"),
    ):
        with pytest.raises(StudyError, match=said):
            study.pair(*asked)


@pytest.mark.parametrize("name", ["nothing", "", "../toy", None, ["toy"], "languages"])
def test_a_study_that_is_not_there_names_those_that_are(name):
    with pytest.raises(StudyError, match=r"no study called .*; params/studies has toy: take one"):
        studies.load(name)


WRONG = {
    "title": (7, "title: 7 is not text"),
    "author": ("me", "unknown key 'author'; it takes baselines, corpus, data_root, finetune"),
    "seeds": (None, "seeds is missing; add it"),
    "source": ("web", "source: 'web' is none of sample, local, hub; take one of these"),
    "corpus": ({"train": 3, "dev": 1}, "corpus: test is missing; add it"),
    "corpus.train": ("3", "corpus: train: '3' is not a whole number"),
    "seeds.chain": (2**32, "seeds: chain: 4294967296 is out of range"),
    "seeds.tasks": (1, "seeds: tasks: 1 is not a list"),
    "pairs": ([], "pairs: there is none; name one or more"),
    "pairs.0.languages": ([], "pairs: languages: there is none; name one or more"),
    "pairs.0.set": ({"ffn": {"size": 3}}, "pairs: set: ffn: unknown key 'size'; it takes batch"),
    "pairs.1.set": ({"prune": {}}, "pairs: set: 'prune' is none of pretrain, adapt, la"),
    "order": (["adapt"], "order: starts with pretrain and names each step once, got adapt"),
    "steps": ({"prune": {}}, "steps: 'prune' is none of pretrain, adapt, layers"),
    "steps.ffn": (None, "steps: ffn: batch_size, intermediate_size, max_length, part, sentences"),
    "steps.ffn.part": ("all", "steps: ffn: part: 'all' is none of train, dev; take one of these"),
    "steps.adapt.steps": (1.5, "steps: adapt: steps: 1.5 is not a whole number"),
    "steps.adapt.max_length": (2, "steps: adapt: max_length: 2 is out of range; give a number of"),
    "steps.hidden.learning_rate": (
        "5e-5",
        "steps: hidden: learning_rate: '5e-5' is not a number (YAML reads 5e-5 as text: write",
    ),
    "finetune.method": (None, "finetune: sequence: method is missing; add it"),
    "finetune.token.epochs": (0, "finetune: token: epochs: 0 is out of range"),
    "finetune.tc": ({"epoch": 9}, "finetune: tc: unknown key 'epoch'"),
    "score": (["prune"], "score: 'prune' is none of pretrain, adapt, layers"),
    "tasks": (["qa"], "tasks: 'qa' is none of tc, sa, ner, pos; take one of these"),
    "baselines": (
        ["best"],
        "baselines: 'best' is none of majority, ngrams, static; take one of these",
    ),
    "measure": (
        {"speed": {}},
        "measure: 'speed' is none of perplexity, lens, export; take one of these",
    ),
    "variants": ([{}], "variants: set is missing; add it"),
}
MEASURES = [
    ({"perplexity": {"max_length": 2}}, "perplexity: max_length: 2 is out of range; give a number"),
    ({"lens": {"sentences": "many"}}, "lens: sentences: 'many' is not a whole number"),
    ({"lens": 3}, "lens: 3 is not a mapping"),
]
VARIANTS = [
    ({"tasks": ["qa"]}, "variants: tasks: 'qa' is none of tc, sa, ner, pos"),
    ({"languages": ["hau"]}, "variants: languages: 'hau' is none of mlt, slk, swh"),
    ({"score": ["lens"]}, "variants: score: 'lens' is none of pretrain, adapt, layers"),
    ({"order": ["prune"]}, "variants: order: 'prune' is none of pretrain, adapt, layers"),
    ({"set": {"ffn": {"part": 1}}}, "variants: set: ffn: part: 1 is none of train, dev"),
    (
        {"measure": ["speed"]},
        "variants: measure: 'speed' is none of perplexity, lens, export; take one",
    ),
    ({"measure": {"lens": {}}}, "variants: measure: {'lens': {}} is not a list"),
    ({"seeds": [-1]}, "variants: seeds: -1 is out of range; give a whole number below"),
]


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        *((place, value, said) for place, (value, said) in WRONG.items()),
        *(("measure", value, f"measure: {said}") for value, said in MEASURES),
        *(("variants", [{"set": {}} | variant], said) for variant, said in VARIANTS),
    ],
)
def test_a_mistake_is_named_with_its_file_and_key(place, value, said):
    toy_study.write_study(toy_study.changed(STUDY, place, value))
    with pytest.raises(StudyError) as caught:
        studies.load("toy")
    assert str(caught.value).startswith(f"params/studies/toy.yaml: {said}")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("pairs.0.teacher", "gpt", "no model called 'gpt'; params/models.yaml has toy-bert"),
        ("pairs.0.languages", ["xxx"], "no language called 'xxx'; params/languages.yaml has mlt"),
    ],
)
def test_a_fact_that_is_missing_is_named_with_its_file(place, value, said):
    toy_study.write_study(toy_study.changed(STUDY, place, value))
    with pytest.raises(StudyError, match=said):
        studies.load("toy")


def test_overrides_are_checked_and_change_nothing_else():
    study = studies.load("toy")
    given = {"layers": {"num_hidden_layers": 3}, "lens": {"sentences": 9}}
    settings = studies.override(study, study.settings, given, "here")
    assert settings["layers"] == study.settings["layers"] | {"num_hidden_layers": 3}
    assert settings["lens"] == {"sentences": 9}
    different = {step for step in study.settings if settings[step] != study.settings[step]}
    assert different == {"layers", "lens"} and study.settings == studies.load("toy").settings
    with pytest.raises(StudyError, match="here: 'size' is none of pretrain"):
        studies.override(study, study.settings, {"size": {}}, "here")


@pytest.mark.parametrize(
    ("order", "accepted"),
    [
        (["pretrain"], True),
        (["pretrain", "vocabulary", "adapt"], True),
        ([], False),
        (["adapt", "pretrain"], False),
        (["pretrain", "adapt", "adapt"], False),
        (["pretrain", "finetune"], False),
    ],
)
def test_an_order_starts_with_the_teacher_and_names_a_step_once(order, accepted):
    if accepted:
        assert checked(studies.Order, order, "here") == order
    else:
        with pytest.raises(StudyError, match=r"^here: "):
            checked(studies.Order, order, "here")


def test_roots_are_seen_from_the_repository_and_the_environment_wins(monkeypatch, tmp_path):
    monkeypatch.delenv("A_ROOT", raising=False)
    assert studies._root(None, "A_ROOT") is None and studies._root("", "A_ROOT") is None
    assert studies._root("../x", "A_ROOT") == files.ROOT.parent / "x" and studies._root(
        "/y", "A_ROOT"
    ) == Path("/y")
    monkeypatch.setenv("A_ROOT", str(tmp_path))
    assert studies._root("../x", "A_ROOT") == tmp_path.resolve() == studies._root(None, "A_ROOT")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_ROOT", "own data")  # it counts from where the command was typed
    assert studies._root("../x", "A_ROOT") == (tmp_path / "own data").resolve()
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("A_ROOT", "~/own")
    assert studies._root(None, "A_ROOT") == Path("/home/me/own")
    monkeypatch.delenv("A_ROOT")
    assert studies._root("~/own", "A_ROOT") == Path("/home/me/own")
    assert studies._root("~nobody-of-this-name/own", "A_ROOT").name == "own"
