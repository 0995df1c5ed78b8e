"""Every wrong request ends in one sentence, before anything is written.

The sentence says what was asked, what exists and what to do. Here: study files, requests, params/,
whole folders of data, teachers, paths and commands. The refusals of single functions are in their
own tests: files of data in test_readers, YAML in test_facts, parameters of a notebook in
test_notebook, models in test_encoder.
"""

import datetime
import gzip
import json
import lzma
import math
import os
import sys
import time

import pytest
import toys
import yaml

from lib import facts, files
from lib.data import corpora, hub, tasks
from lib.errors import StudyError
from lib.facts import Source
from lib.study import __main__ as commands
from lib.study import make, plan, publish, studies
from lib.train import distillation, pretraining, teachers

pytestmark = pytest.mark.slow

FILES = {  # what stands where in a study file (nothing: the key is gone) -> words of the refusal
    "a number as text": (
        "steps.layers.learning_rate",
        "5e-5",
        "steps: layers: learning_rate: '5e-5' is not a number (YAML reads 5e-5 as",
    ),
    "a negative rate": (
        "steps.layers.learning_rate",
        -1e-3,
        "learning_rate: -0.001 is out of range; give a number above 0",
    ),
    "a rate of nothing": (
        "steps.hidden.learning_rate",
        0,
        "learning_rate: 0 is out of range; give a number above 0",
    ),
    "an infinite rate": (
        "steps.adapt.learning_rate",
        math.inf,
        "learning_rate: inf is out of range",
    ),
    "a rate that is none": (
        "steps.adapt.learning_rate",
        math.nan,
        "learning_rate: nan is out of range",
    ),
    "half a step": ("steps.layers.steps", 0.5, "steps: layers: steps: 0.5 is not a whole number"),
    "steps as a float": ("steps.layers.steps", 1e3, "steps: 1000.0 is not a whole number"),
    "negative steps": ("steps.pretrain.steps", -5, "steps: pretrain: steps: -5 is out of range"),
    "endless steps": ("steps.pretrain.steps", 10**13, "steps: 10000000000000 is out of range"),
    "true steps": ("steps.pretrain.steps", True, "steps: True is not a whole number"),
    "an empty batch": (
        "steps.ffn.batch_size",
        0,
        "batch_size: 0 is out of range; give a number above 0",
    ),
    "no accumulation": ("steps.adapt.accumulation", 0, "accumulation: 0 is out of range"),
    "no temperature": ("steps.layers.temperature", 0.0, "temperature: 0.0 is out of range"),
    "an unknown layer choice": (
        "steps.layers.layer_choice",
        "top",
        "layer_choice: 'top' is none of last_k, first_k, stride",
    ),
    "an unknown loss": (
        "steps.hidden.distillation_loss",
        "l1",
        "distillation_loss: 'l1' is none of mse, kl, plain_kl",
    ),
    "an unknown start": (
        "steps.hidden.hidden_start",
        "pca",
        "hidden_start: 'pca' is none of truncation, truncation_across_heads, svd",
    ),
    "an unknown counting": (
        "steps.vocabulary.counting",
        "words",
        "counting: 'words' is none of count, documents",
    ),
    "an unknown precision": (
        "steps.adapt.precision",
        "fp16",
        "precision: 'fp16' is none of auto, float32, bfloat16",
    ),
    "pruning on test": ("steps.ffn.part", "test", "part: 'test' is none of train, dev"),
    "no as text": ("steps.layers.all_positions", "no", "all_positions: 'no' is not true or false"),
    "zero for false": ("steps.adapt.published", 0, "published: 0 is not true or false"),
    "more than a share": (
        "steps.layers.mlm_weight",
        1.5,
        "mlm_weight: 1.5 is out of range; it is a share, 0 to 1",
    ),
    "a setting of another step": (
        "steps.ffn.hidden_size",
        48,
        "steps: ffn: unknown key 'hidden_size'; it takes batch_size",
    ),
    "a setting missing": (
        "steps.layers.num_hidden_layers",
        None,
        "steps: layers: num_hidden_layers is missing; add it",
    ),
    "a step missing": (
        "steps.ffn",
        None,
        "steps: ffn: batch_size, intermediate_size, max_length, part, sentences is missing",
    ),
    "a step too many": (
        "steps.quantise",
        {},
        "steps: 'quantise' is none of pretrain, adapt, layers, ffn, hidden, vocabulary; take",
    ),
    "a step that is a list": (
        "steps.ffn",
        [],
        "steps: ffn: [] is not a mapping of `key: value` pairs",
    ),
    "steps that are a list": ("steps", [], "steps: [] is not a mapping of `key: value` pairs"),
    "no tokens kept": ("steps.vocabulary.kept_tokens", 0, "kept_tokens: 0 is out of range"),
    "an unknown method": (
        "finetune.method",
        "prefix",
        "finetune: method: 'prefix' is none of adapter, full",
    ),
    "half an epoch for all tasks": (
        "finetune.epochs",
        2.5,
        "finetune: epochs: 2.5 is not a whole number",
    ),
    "half an epoch": (
        "finetune.sequence.epochs",
        2.5,
        "finetune: sequence: epochs: 2.5 is not a whole number",
    ),
    "a warm-up beyond the end": (
        "finetune.token.warmup",
        2,
        "finetune: token: warmup: 2 is out of range; it is a share",
    ),
    "no epochs": ("finetune.token.epochs", None, "finetune: token: epochs is missing; add it"),
    "a half-known setting": ("finetune.sequence.lr", 1e-3, "finetune: sequence: unknown key 'lr'"),
    "token settings missing": (
        "finetune.token",
        None,
        "finetune: token: batch_size, epochs, learning_rate, max",
    ),
    "negative sentences": ("corpus.train", -1, "corpus: train: -1 is out of range"),
    "all as text": ("corpus.dev", "all", "corpus: dev: 'all' is not a whole number"),
    "another part": ("corpus.valid", 5, "corpus: unknown key 'valid'; it takes dev, test, train"),
    "an unknown source": ("source", "web", "source: 'web' is none of sample, local, hub"),
    "no source": ("source", False, "source: False is none of"),
    "an unknown teacher": (
        "pairs.0.teacher",
        "bert-large",
        "no model called 'bert-large'; params/models.yaml has toy-bert",
    ),
    "an unknown language": (
        "pairs.0.languages",
        ["mlt", "xxx"],
        "no language called 'xxx'; params/languages.yaml has mlt, slk",
    ),
    "one language, no list": ("pairs.0.languages", "mlt", "pairs: languages: 'mlt' is not a list"),
    "a pair without languages": ("pairs.0.languages", None, "pairs: languages is missing"),
    "a misspelt pair": (
        "pairs.0.language",
        "mlt",
        "pairs: unknown key 'language'; it takes languages, set, teacher",
    ),
    "a pair that is a word": (
        "pairs.0",
        "toy-bert",
        "pairs: expected `key: value` pairs, got 'toy-bert'",
    ),
    "pairs that are a mapping": ("pairs", {}, "pairs: {} is not a list"),
    "a pair's unknown step": ("pairs.0.set", {"layer": {}}, "pairs: set: 'layer' is none of p"),
    "a pair's bad setting": (
        "pairs.0.set",
        {"layers": {"steps": "5"}},
        "pairs: set: layers: steps: '5' is not a whole number",
    ),
    "a seed in words": ("seeds.chain", "one", "seeds: chain: 'one' is not a whole number"),
    "one seed, no list": ("seeds.tasks", 3, "seeds: tasks: 3 is not a list"),
    "a negative seed": ("seeds.tasks", [1, -2], "seeds: tasks: -2 is out of range"),
    "a huge seed": (
        "seeds.chain",
        2**33,
        "seeds: chain: 8589934592 is out of range; give a whole number below",
    ),
    "an unknown task": ("tasks", ["tc", "qa"], "tasks: 'qa' is none of tc, sa, ner, pos"),
    "one task, no list": ("tasks", "tc", "tasks: 'tc' is not a list"),
    "an unknown step to score": (
        "score",
        ["middle"],
        "score: 'middle' is none of pretrain, adapt, layers",
    ),
    "an order without a teacher": (
        "order",
        ["adapt", "layers"],
        "order: starts with pretrain and names each step once, got adapt, layers",
    ),
    "a step twice": (
        "order",
        ["pretrain", "ffn", "ffn"],
        "order: starts with pretrain and names each step once",
    ),
    "an unknown step": ("order", ["pretrain", "fold"], "order: 'fold' is none of pretrain, adapt"),
    "no order": ("order", [], "names each step once, got nothing"),
    "a variant of nothing": ("variants", [{"score": ["adapt"]}], "variants: set is missing"),
    "a variant's unknown setting": (
        "variants",
        [{"set": {"layers": {"width": 1}}}],
        "variants: set: layers: unknown key 'width'",
    ),
    "a variant's misspelt step": (
        "variants",
        [{"set": {}, "score": ["vocabluary"]}],
        "variants: score: 'vocabluary' is none of",
    ),
    "a variant's foreign language": (
        "variants",
        [{"set": {}, "languages": ["eng"]}],
        "variants: languages: 'eng' is none of mlt, slk",
    ),
    "a variant's unknown task": (
        "variants",
        [{"set": {}, "tasks": ["qa"]}],
        "variants: tasks: 'qa' is none of",
    ),
    "a variant's one seed": (
        "variants",
        [{"set": {}, "seeds": 1}],
        "variants: seeds: 1 is not a list",
    ),
    "an unknown measure": (
        "measure",
        {"speed": {}},
        "measure: 'speed' is none of perplexity, lens, export; take one of these",
    ),
    "a measure in a word": ("measure", {"lens": "all"}, "measure: lens: 'all' is not a mapping"),
    "a variant's unknown measure": (
        "variants",
        [{"set": {}, "measure": ["speed"]}],
        "variants: measure: 'speed' is none of perplexity, lens",
    ),
    "a variant's measure with settings": (
        "variants",
        [{"set": {}, "measure": {"lens": {"sentences": 3}}}],
        "variants: measure: {'lens': {'sentences': 3}} is not a list",
    ),
    "an unknown baseline": (
        "baselines",
        ["majority", "best"],
        "baselines: 'best' is none of majority, ngrams",
    ),
    "one baseline, no list": ("baselines", "majority", "baselines: 'majority' is not a list"),
    "half a sentence to distil on": (
        "steps.layers.sentences",
        0.5,
        "steps: layers: sentences: 0.5 is not a whole number",
    ),
    "a text of one token": (
        "steps.adapt.max_length",
        2,
        "steps: adapt: max_length: 2 is out of range; give a number of 3 or more",
    ),
    "a text longer than the teacher takes": (
        "steps.hidden.max_length",
        500,
        "hidden: max_length 500 was asked for; the teacher has 128: ask for no more",
    ),
    "a number of very many digits": (
        "steps.adapt.steps",
        10**4000,
        "steps: adapt: steps: a number of very many digits is out of range",
    ),
    "a very long word": (
        "source",
        "x" * 9999,
        "source: '" + "x" * 99 + "... is none of sample, local, hub",
    ),
    "a date for a number": (
        "seeds.chain",
        datetime.date(2026, 1, 1),
        "seeds: chain: datetime.date(2026, 1, 1) is not a whole number",
    ),
    "a list for a number": ("corpus.test", [5], "corpus: test: [5] is not a whole number"),
    "no pairs": (
        "pairs",
        [],
        "pairs: there is none; name one or more",
    ),
    "a pair of no language": (
        "pairs.0.languages",
        [],
        "pairs: languages: there is none; name one or more",
    ),
    "an adapter of no width": (
        "finetune.reduction_factor",
        97,
        "a reduction_factor of 97 leaves no adapter at a hidden size of",
    ),
    "a teacher out of the house": (
        "pairs.0.teacher",
        "../toy-bert",
        "no model called '../toy-bert'; params/models.yaml has toy-bert",
    ),
    "a language out of the house": (
        "pairs.0.languages",
        ["../../x"],
        "no language called '../../x'; params/languages.yaml has mlt, slk",
    ),
    "a folder that is a list": ("data_root", ["a"], "data_root: ['a'] is not text"),
    "a folder that cannot be": (
        "models_root",
        "a\0b",
        "models_root: 'a\\x00b' holds a character that cannot be printed; take it out",
    ),
    "a number for a title": ("title", 5, "title: 5 is not text; put it in quotes"),
    "no title": ("title", None, "title is missing; add it"),
    "a key too many": (
        "languages",
        ["mlt"],
        "unknown key 'languages'; it takes baselines, corpus, data_root",
    ),
}


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    return tmp_path_factory.mktemp("params")


@pytest.fixture(autouse=True)
def nothing_is_written(common, data, monkeypatch):
    """The study `toy`; afterwards no file may have been made."""
    toys.facts_in(common, monkeypatch)
    before = sorted(common.rglob("*"))
    yield
    assert not data.exists() and sorted(common.rglob("*")) == before


def refused(call, said):
    with pytest.raises(StudyError) as caught:
        call()
    assert said in str(caught.value) and "\n" not in str(caught.value), str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("case", FILES)
def test_study_files(case):
    place, value, said = FILES[case]
    toys.write_study(
        toys.changed(toys.STUDY | {"data_root": "a", "models_root": "b"}, place, value)
    )
    message = refused(lambda: plan.runs("toy"), said)
    assert message.startswith(
        (
            "params/studies/toy.yaml: ",
            "no model called",
            "no language called",
            "hidden: ",
            "finetune: ",
            "a reduction_factor of",  # which no other step has
        )
    )


@pytest.mark.parametrize(
    "name",
    ["nothing", "", "toy.yaml", "../toy", "Toy", "a/toy", "/toy", "toy\0", "~", None, 7, ["toy"]],
)
def test_studies_that_do_not_exist(name):
    refused(
        lambda: studies.load(name),
        f"no study called {name!r}; params/studies has toy: take one of these or add a file",
    )


@pytest.mark.parametrize("name", [".toy", "-toy", "to y", "toy;ls", "$(ls)", "žltý", "x" * 101])
def test_names_of_studies_that_could_mean_something_to_a_shell_or_a_folder(name, common):
    toys.write_study(toys.STUDY, name)
    refused(lambda: studies.load(name), "params/studies: '" + name[:90])
    (common / "studies" / f"{name}.yaml").unlink()


def chain(**given):
    return lambda: plan.chain(studies.load("toy"), **({"language": "mlt"} | given))


def scoring(language="mlt", task="tc", seed=1, overrides=None):
    model = plan.chain
    return lambda: plan.scoring(
        model(studies.load("toy"), language)[-1], language, task, seed, overrides
    )


def notebook(step, **given):
    values = {
        "study": "toy",
        "language": "mlt",
        "teacher": "",
        "seed": 1,
        "order": [],
        "overrides": {},
        "task": "tc",
        "model_step": "",
    }
    return lambda: plan.resolve(step, values | given)


REQUESTS = {
    "a language the study has not": (
        chain(language="eng"),
        "no language called 'eng'; params/studies/toy.yaml has mlt, slk, swh: take one of",
    ),
    "a language nobody has": (
        notebook("layers", language="xxx"),
        "no language called 'xxx'; params/studies/toy.yaml has mlt",
    ),
    "a language that ends early": (
        notebook("layers", language="mlt\0"),
        r"no language called 'mlt\x00'",
    ),
    "an empty language": (notebook("layers", language=""), "no language called ''"),
    "the other pair's teacher": (
        chain(teacher="toy-xlmr"),
        "no teacher for 'mlt' called 'toy-xlmr'; params/studies/toy.yaml has toy-bert: take one of",
    ),
    "an unknown teacher": (
        notebook("layers", teacher="bert"),
        "no teacher for 'mlt' called 'bert'; params/studies/toy.yaml has toy-bert: take one of",
    ),
    "an unknown teacher to train": (
        notebook("pretrain", teacher="mbert"),
        "no teacher called 'mbert'; params/studies/toy.yaml has toy-bert, toy",
    ),
    "an unknown study": (notebook("layers", study="dmeo"), "no study called 'dmeo'"),
    "an unknown task": (notebook("finetune", task="qa"), "task: 'qa' is none of tc, pos"),
    "a task the study has not": (
        scoring(task="ner"),
        "study 'toy': task: 'ner' is none of tc, pos",
    ),
    "an unknown model": (
        notebook("finetune", model_step="student"),
        "step: 'student' is none of pretrain, adapt",
    ),
    "a model beyond the order": (
        notebook("finetune", model_step="ffn", order=["pretrain", "layers"]),
        "step: 'ffn' is none of pretrain",
    ),
    "a step beyond the order": (
        notebook("ffn", order=["pretrain", "layers"]),
        "step: 'ffn' is none of pretrain, layers",
    ),
    "an unknown step in an order": (
        notebook("layers", order=["pretrain", "fold"]),
        "order: 'fold' is none of pretrain",
    ),
    "an order of numbers": (notebook("layers", order=[1, 2]), "order: 1 is none of pretrain"),
    "an order of lists": (
        notebook("layers", order=[["pretrain"]]),
        "order: ['pretrain'] is none of",
    ),
    "an order without a teacher": (
        notebook("layers", order=["layers"]),
        "order: starts with pretrain",
    ),
    "overrides of no step": (
        chain(overrides={"layer": {"steps": 1}}),
        "overrides: 'layer' is none of pretrain, adapt, layers",
    ),
    "overrides of no setting": (
        chain(overrides={"layers": {"step": 1}}),
        "overrides: layers: unknown key 'step'",
    ),
    "overrides that are a number": (
        chain(overrides={"layers": 3}),
        "overrides: layers: 3 is not a mapping of `key: value` pairs",
    ),
    "overrides of a step left out": (
        notebook("ffn", order=["pretrain", "ffn"], overrides={"layers": {"steps": 1}}),
        "overrides: 'layers' is none of pretrain, ffn; take one of these",
    ),
    "a rate as text": (
        chain(overrides={"hidden": {"learning_rate": "1e-3"}}),
        "overrides: hidden: learning_rate: '1e-3' is not a number",
    ),
    "a weight beyond one": (
        chain(overrides={"hidden": {"mlm_weight": 2}}),
        "mlm_weight: 2 is out of range; it is a share",
    ),
    "more layers than there are": (
        chain(overrides={"layers": {"num_hidden_layers": 5}}),
        "num_hidden_layers 5 was asked for; the teacher has 4",
    ),
    "no layers": (
        chain(overrides={"layers": {"num_hidden_layers": 0}}),
        "num_hidden_layers: 0 is out of range",
    ),
    "a wider FFN": (
        chain(overrides={"ffn": {"intermediate_size": 999}}),
        "intermediate_size 999 was asked for; the teacher has 384",
    ),
    "a vocabulary too large": (
        chain(overrides={"vocabulary": {"kept_tokens": 9999}}),
        "kept_tokens 9999 was asked for; the teacher has 3995",
    ),
    "heads that do not divide": (
        chain(overrides={"hidden": {"hidden_size": 50}}),
        "must be a multiple of 4 up to 96: the nearest that work are 48 and 52",
    ),
    "a larger hidden size": (
        chain(overrides={"hidden": {"hidden_size": 768}}),
        "a hidden size of 768 was asked for; 4 heads stay",
    ),
    "no reduction": (
        scoring(overrides={"finetune": {"reduction_factor": 0}}),
        "overrides: finetune: reduction_factor: 0 is out of range",
    ),
    "no epochs at all": (
        scoring(overrides={"finetune": {"epochs": 0}}),
        "overrides: finetune: epochs: 0 is out of range",
    ),
    "a kind that is a number": (
        scoring(overrides={"finetune": {"token": 3}}),
        "overrides: finetune: token: expected `key: value` pairs, got 3",
    ),
    "a measure of half a sentence": (
        notebook("lens", overrides={"lens": {"sentences": 0.5}}),
        "overrides: lens: sentences: 0.5 is not a whole number",
    ),
    "a collection of nothing": (
        lambda: publish.collect("toy"),
        "the study 'toy' is not finished: 41 of 41 runs are missing, such as multilingual",
    ),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_requests(case):
    refused(*REQUESTS[case])


def teacher(**entry):
    return lambda: teachers.load(entry, None, toys.sentences(), 1)


def new(**configuration):
    usual = {"model_type": "bert", "vocab_size": 120, "hidden_size": 24, "num_attention_heads": 4}
    return teacher(
        make="new",
        configuration={
            name: value for name, value in (usual | configuration).items() if value is not None
        },
    )


def untrained(train, **settings):
    """A training that must not begin; both kinds share the checks."""
    return lambda: train(toys.DISTIL | settings, files.data() / "checkpoints")


def adapt(settings, folder, text=None):
    text = toys.sentences() if text is None else text
    return pretraining.train(
        toys.model("bert"), toys.tokenizer("bert"), text, toys.sentences(), settings, 1, folder
    )


def distil(settings, folder):
    text, model = toys.sentences(), toys.model("bert")
    return distillation.distil(
        model, toys.model("bert"), toys.tokenizer("bert"), text, text, settings, 1, folder
    )


TEACHERS = {
    "a folder without a root": (
        teacher(make="local", folder="x"),
        "the teacher's folder x is not there; set models_root",
    ),
    "an unknown type": (
        new(model_type="gpt2"),
        "configuration: model_type: 'gpt2' is none of bert, xlm-roberta",
    ),
    "no type": (new(model_type=None), "configuration: model_type: None is none of"),
    "no vocabulary": (new(vocab_size=None), "configuration: vocab_size is missing"),
    "a misspelt size": (new(hiden_size=48), "configuration: unknown key 'hiden_size'"),
    "heads that do not divide": (
        new(hidden_size=26),
        "a hidden_size of 26 is no multiple of 4 heads",
    ),
    "no published adaptation": (
        lambda: teachers.published_adaptation({"adapted": {"mlt": {}}}, "slk"),
        "no published adaptation called 'slk'; the teacher has mlt: take one of these or set `publ",
    ),
    "nothing published at all": (
        lambda: teachers.published_adaptation({}, "slk"),
        "the teacher has none: take one of these or set `published: false`",
    ),
    "text longer than the model": (
        untrained(adapt, max_length=513),
        "a max_length of 513 tokens was asked for; the model takes 3 to 512",
    ),
    "text of special tokens only": (
        untrained(distil, max_length=2),
        "a max_length of 2 tokens was asked for",
    ),
    "no text": (
        lambda: adapt(toys.SETTINGS, files.data() / "checkpoints", []),
        "no sentences to train on; the corpus is empty",
    ),
}


@pytest.mark.parametrize("case", TEACHERS)
def test_teachers(case):
    refused(*TEACHERS[case])


def test_no_steps_are_no_training():
    """Not an error: a control."""
    for train in (adapt, distil):
        assert untrained(train, steps=0)() == {"history": [], "seconds": []}


HUB = {"make": "hub", "repository": "a/b", "revision": None, "licence": "MIT"}
PACKAGE = {
    "make": "package",
    "package": "a",
    "version": "1.0",
    "platform": "any",
    "python": "3.12",
    "file": "a/b.bin",
    "sha256": "0" * 64,
    "licence": "MIT",
}
# File of params/, key, entry -> words of the refusal. Without a key, the entry is the whole file.
FACTS = {
    "a language that is a path": (
        "languages",
        "../../x",
        {"name": "X", "script": "Latn"},
        "'../../x' cannot be a name, since it becomes",
    ),
    "a language with a slash": (
        "languages",
        "a/b",
        {"name": "X", "script": "Latn"},
        "languages.yaml: 'a/b' cannot be a name",
    ),
    "an absolute language": (
        "languages",
        "/etc",
        {"name": "X", "script": "Latn"},
        "'/etc' cannot be a name",
    ),
    "a hidden language": (
        "languages",
        ".git",
        {"name": "X", "script": "Latn"},
        "'.git' cannot be a name",
    ),
    "an empty language": ("languages", "", {"name": "X", "script": "Latn"}, "'' cannot be a name"),
    "a language of two lines": (
        "languages",
        "a\nb",
        {"name": "X", "script": "Latn"},
        r"'a\nb' cannot be a name",
    ),
    "Norwegian": (
        "languages",
        False,
        {"name": "Norwegian", "script": "Latn"},
        "False is not text (YAML reads a bare no, yes",
    ),
    "a language of digits": (
        "languages",
        12,
        {"name": "X", "script": "Latn"},
        "12 is not text; put it in quotes",
    ),
    "a language without a script": (
        "languages",
        "xyz",
        {"name": "X"},
        "params/languages.yaml: xyz: script is missing; add it",
    ),
    "a language that is a word": (
        "languages",
        "xyz",
        "X",
        "xyz: expected `key: value` pairs, got 'X'",
    ),
    "a language of nothing": (
        "languages",
        "xyz",
        None,
        "xyz: expected `key: value` pairs, got None",
    ),
    "a language of number": (
        "languages",
        "xyz",
        {"name": 5, "script": "Latn"},
        "xyz: name: 5 is not text",
    ),
    "a data set that is a path": (
        "languages",
        "xyz",
        {"name": "X", "script": "Latn", "flores": "../x"},
        "xyz: flores: '../x' cannot name published data; correct it",
    ),
    "a teacher that is a path": (
        "models",
        "../x",
        {"make": "local", "folder": "x"},
        "models.yaml: '../x' cannot be a name",
    ),
    "a teacher of nothing": (
        "models",
        "x",
        None,
        "models.yaml: x: expected `key: value` pairs, got None",
    ),
    "a teacher made in no way": (
        "models",
        "x",
        {"make": "copy"},
        "x: make: 'copy' is none of new, local, hub, package",
    ),
    "a teacher made of no word": (
        "models",
        "x",
        {"make": []},
        "x: make: [] is none of new, local, hub, package; take one of these",
    ),
    "a teacher without a folder": (
        "models",
        "x",
        {"make": "local"},
        "models.yaml: x: folder is missing; add it",
    ),
    "a folder above": (
        "models",
        "x",
        {"make": "local", "folder": "../x"},
        "x: folder: '../x' is not a path below a folder; write it as name/name",
    ),
    "a folder above, later": (
        "models",
        "x",
        {"make": "local", "folder": "a/../../x"},
        "'a/../../x' is not a path below",
    ),
    "an absolute folder": (
        "models",
        "x",
        {"make": "local", "folder": "/etc"},
        "'/etc' is not a path below a folder; write it as name/name",
    ),
    "a folder of home": (
        "models",
        "x",
        {"make": "local", "folder": "~/x"},
        "'~/x' is not a path below",
    ),
    "a repository above": (
        "models",
        "x",
        HUB | {"repository": "../x"},
        "repository: '../x' is not an id of the hu",
    ),
    "an absolute repository": (
        "models",
        "x",
        HUB | {"repository": "/etc"},
        "'/etc' is not an id of the hub; write",
    ),
    "an address": (
        "models",
        "x",
        HUB | {"repository": "https://a/b"},
        "'https://a/b' is not an id of the hub",
    ),
    "a revision of digits": (
        "models",
        "x",
        HUB | {"revision": 123},
        "revision: 123 is not text; put it in quotes",
    ),
    "an adapted path": (
        "models",
        "x",
        HUB | {"adapted": {"mlt": {"repository": "a/../b", "revision": None, "licence": "MIT"}}},
        "x: adapted: mlt: repository: 'a/../b' is not an id of the hub",
    ),
    "adapted to a word": (
        "models",
        "x",
        HUB | {"adapted": {"mlt": "a/c"}},
        "x: adapted: mlt: expected `key: value` pairs, got 'a/c'",
    ),
    "a misspelt teacher": (
        "models",
        "x",
        {"make": "local", "foldr": "x"},
        "x: unknown key 'foldr'; it takes adapted, folder, make, text",
    ),
    "a package without a checksum": (
        "models",
        "x",
        {key: value for key, value in PACKAGE.items() if key != "sha256"},
        "models.yaml: x: sha256 is missing; add it",
    ),
    "a package of another checksum": (
        "models",
        "x",
        PACKAGE | {"sha256": "md5:0"},
        "x: sha256: 'md5:0' is no sha256; write its 64 digits, 0 to 9 and a to f",
    ),
    "a checksum in capitals": (
        "models",
        "x",
        PACKAGE | {"sha256": "F" * 64},
        "is no sha256; write its 64 digits",
    ),
    "a package's absolute file": (
        "models",
        "x",
        PACKAGE | {"file": "/etc/passwd"},
        "x: file: '/etc/passwd' is not a p",
    ),
    "a package's file above": (
        "models",
        "x",
        PACKAGE | {"file": "a/../../x"},
        "x: file: 'a/../../x' is not a p",
    ),
    "a package that is an option": (
        "models",
        "x",
        PACKAGE | {"package": "--index-url"},
        "x: package: '--index-url' cannot be a name",
    ),
    "a version that is a path": (
        "models",
        "x",
        PACKAGE | {"version": "1/../../x"},
        "x: version: '1/../../x' cannot be a name",
    ),
    "a vocabulary above": (
        "models",
        "x",
        {"make": "local", "folder": "x", "vocabulary": "../v"},
        "x: unknown key 'vocabulary'; it takes adapted, folder, make, text",
    ),
    "a size of a teacher that is read": (
        "models",
        "x",
        {"make": "local", "folder": "x", "num_hidden_layers": 2},
        "x: unknown key 'num_hidden_layers'; it takes adapted, folder, make, text",
    ),
    "a size outside its configuration": (
        "models",
        "x",
        {"make": "new", "configuration": {}, "hidden_size": 8},
        "x: unknown key 'hidden_size'; it takes",
    ),
    "text that is a list": (
        "models",
        "x",
        {"make": "local", "folder": "x", "text": ["mlt"]},
        "x: text: ['mlt'] is not a mapping",
    ),
    "text in all": (
        "models",
        "x",
        {"make": "local", "folder": "x", "text": {"mlt": "all"}},
        "x: text: mlt: 'all' is not a whole number",
    ),
    "a width in words": (
        "models",
        "x",
        {"make": "new", "configuration": {"hidden_size": "96"}},
        "hidden_size: '96' is not a whole number",
    ),
    "no heads": (
        "models",
        "x",
        {"make": "new", "configuration": {"num_attention_heads": 0}},
        "num_attention_heads: 0 is out of range",
    ),
    "a task's folder above": (
        "tasks",
        "qa",
        {"kind": "token", "metric": "x", "folder": "../x", "extensions": []},
        "'../x' cannot be a na",
    ),
    "a task of no kind": (
        "tasks",
        "qa",
        {"kind": "x", "metric": "x", "folder": "x", "extensions": []},
        "kind: 'x' is none of sequence",
    ),
    "a share above one": (
        "training",
        "mlm_probability",
        15,
        "training.yaml: mlm_probability: 15 is out of range; it is a share, above 0 and up to 1",
    ),
    "nothing masked": (
        "training",
        "mlm_probability",
        0,
        "mlm_probability: 0 is out of range; it is a share, above 0 and up to 1",
    ),
    "never evaluated": (
        "training",
        "evaluations",
        0,
        "evaluations: 0 is out of range; give a number above 0",
    ),
    "an unknown constant": (
        "training",
        "wramup",
        0.1,
        "params/training.yaml: unknown key 'wramup'; it takes evaluations",
    ),
    "an empty file": (
        "languages",
        None,
        "",
        "languages.yaml: holds nothing, expected `key: value` lines",
    ),
    "a list": (
        "languages",
        None,
        "- mlt\n",
        "languages.yaml: holds ['mlt'], expected `key: value` lines",
    ),
    "a bomb": (
        "models",
        None,
        "a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b]\n",
        "models.yaml:2: the alias *a is not taken; write out what it",
    ),
    "Latin-1": (
        "languages",
        None,
        "mlt: {name: caf\xe9}\n".encode("latin-1"),
        "languages.yaml: not UTF-8 text",
    ),
}


@pytest.mark.parametrize("case", FACTS)
def test_facts(case, common):
    name, key, entry, said = FACTS[case]
    file = common / f"{name}.yaml"
    before = file.read_bytes()
    if key is None:
        file.write_bytes(entry if isinstance(entry, bytes) else entry.encode())
    else:
        toys.write_yaml(file, yaml.safe_load(before) | {key: entry})
    try:
        refused(lambda: plan.runs("toy") and facts.facts(name), said)
    finally:
        file.write_bytes(before)


def test_facts_that_are_not_there(common):
    file = common / "languages.yaml"
    before = file.read_bytes()
    for change in (file.unlink, file.mkdir):
        change()
        refused(lambda: facts.fact("languages", "mlt"), f"{file}: there is no such file")
    file.rmdir()
    file.write_bytes(before)


def text(count: int) -> str:
    return "".join(f"Sentence number {number}.\n" for number in range(count))


CORPORA = {  # name and content of the file of xyz -> words of the refusal, after the file
    "no file": (
        {},
        "corpora needs one file 'xyz' as .txt or .txt.xz or .txt.gz; it has none",
    ),
    "another language": (
        {"abc.txt": "x"},
        " needs one file 'xyz' as .txt or .txt.xz or .txt.gz; it has abc.txt",
    ),
    "two files": (
        {"xyz.txt": text(300), "xyz.txt.gz": b""},
        " needs one file 'xyz' as .txt or .txt.xz or .txt.gz; it has xyz.txt, xyz.txt.gz",
    ),
    "a folder": ({"xyz.txt": None}, " needs one file 'xyz' as"),
    "white space": ({"xyz.txt": " \n\t\n\u00a0\n"}, "xyz.txt: the file is empty"),
    "random bytes": (
        {"xyz.txt": bytes(range(256)) * 9},
        "xyz.txt:2: not UTF-8 text (byte 0x80); save the file as UTF-8",
    ),
    "NUL": (
        {"xyz.txt": text(250) + "a\0b\n"},
        "xyz.txt:251: not UTF-8 text (byte 0x00); save the file as UTF-8",
    ),
    "UTF-16": (
        {"xyz.txt": text(300).encode("utf-16")},
        "xyz.txt:1: not UTF-8 text (byte 0xff); save",
    ),
    "UTF-16 without a mark": (
        {"xyz.txt": text(300).encode("utf-16-le")},
        "xyz.txt:1: not UTF-8 text (byte 0x00)",
    ),
    "two encodings": (
        {"xyz.txt": text(300).encode() + "café".encode("latin-1")},
        "xyz.txt:301: not UTF-8 text",
    ),
    "one sentence": (
        {"xyz.txt": "One.\n"},
        "xyz.txt: 1 different lines of text; at least 200 are needed, since dev and test",
    ),
    "one sentence, often": ({"xyz.txt": "One.\n" * 999}, "xyz.txt: 1 different lines of text"),
    "few sentences": (
        {"xyz.txt": text(199)},
        "xyz.txt: 199 different lines of text; at least 200 are needed, since dev and tes",
    ),
    "one endless line": (
        {"xyz.txt": text(9) + "word " * 10_000_000},
        "xyz.txt: 10 different lines of text; at least 200",
    ),
    "half an archive": (
        {"xyz.txt.xz": lzma.compress(text(999).encode())[:-20]},
        "xyz.txt.xz: cannot be read (Compressed file ended",
    ),
    "an archive of junk inside": (
        {"xyz.txt.gz": gzip.compress(text(999).encode())[:60] + b"junk" * 99},
        "xyz.txt.gz: cannot be read (Error -3",
    ),
    "a truncated archive": (
        {"xyz.txt.gz": gzip.compress(text(999).encode())[:-9]},
        "xyz.txt.gz: cannot be read (Compressed file ended",
    ),
}


@pytest.mark.parametrize("case", CORPORA)
def test_corpora(case, tmp_path):
    files, said = CORPORA[case]
    folder = tmp_path / "root" / "corpora"
    folder.mkdir(parents=True)
    for name, content in files.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    begun = time.monotonic()
    for part in corpora.PARTS:
        assert refused(
            lambda part=part: corpora.load("xyz", Source("local", tmp_path / "root"), part), said
        ).startswith(str(folder))
    assert time.monotonic() - begun < 20


def test_text_that_is_merely_untidy_is_taken(tmp_path):
    """Repeated lines count once, a byte order mark and white space go, a paragraph is one line."""
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "xyz.txt").write_bytes(
        b"\xef\xbb\xbf" + (text(200) * 3 + "  \r\n" + "word " * 9000).encode()
    )
    parts = {part: corpora.load("xyz", Source("local", tmp_path), part) for part in corpora.PARTS}
    assert sum(map(len, parts.values())) == 201 and any(
        "Sentence number 0." in lines for lines in parts.values()
    )


def tsv(*rows):
    return "text\tlabel\n" + "".join(f"{words}\t{label}\n" for words, label in rows)


GOOD = tsv(("a", "x"), ("b", "y"))
WORDS = "Anna B-PER\nin O\nMt B-LOC\n"
TAGS = "".join(
    f"{number}\tw\t_\t{tag}" + "\t_" * 6 + "\n" for number, tag in ((1, "NOUN"), (2, "VERB"))
)
LABELLED = {  # task, and what differs from good files -> words of the refusal
    "a label of its own": (
        "sa",
        {"dev.tsv": tsv(("a", "z"), ("b", "z"))},
        "dev.tsv: has 'z', train has 'x', 'y'; a split needs examples, and labels",
    ),
    "labels of its own": (
        "sa",
        {"test.tsv": tsv(("a", "w"), ("b", "z"))},
        "test.tsv: has 'w', 'z', train has",
    ),
    "one label": (
        "sa",
        {f"{part}.tsv": tsv(("a", "x")) for part in tasks.PARTS},
        "train.tsv: has only the label 'x'; a classifier",
    ),
    "only a header": (
        "sa",
        {"test.tsv": tsv()},
        "test.tsv: has no example, train has 'x', 'y'",
    ),
    "nothing": ("sa", {"dev.tsv": ""}, "dev.tsv: the file is empty"),
    "no test": (
        "sa",
        {"test.tsv": None},
        "needs one file 'test' as .tsv or .csv; it has dev.tsv, train.tsv",
    ),
    "a comma for a tab": (
        "sa",
        {"train.tsv": "text,label\na,x\n"},
        "it has 'text,label': rename one (a .tsv has tabs between its columns, a .csv commas)",
    ),
    "another name": (
        "sa",
        {"train.tsv": "text\tanswer\na\tx\n"},
        "train.tsv:1: the header needs the column 'label' once, or one of label, category, ",
    ),
    "no header": (
        "sa",
        {"train.tsv": "a\tx\nb\ty\n"},
        "comment, content; it has 'a', 'x': rename one",
    ),
    "a row too short": (
        "sa",
        {"train.tsv": GOOD + "c\n"},
        "train.tsv:4: 1 fields where the header has 2",
    ),
    "a cell of two lines": (
        "sa",
        {"train.tsv": GOOD + '"c\nd"\tx\n'},
        "train.tsv:4: 1 fields where the header has 2",
    ),
    "a row without a label": (
        "sa",
        {"dev.tsv": GOOD + "c\t\n"},
        "dev.tsv:4: the column 'label' is empty; fill it or delete the row",
    ),
    "a table with NUL": (
        "sa",
        {"dev.tsv": GOOD + "c\0\tx\n"},
        "dev.tsv:4: not UTF-8 text (byte 0x00)",
    ),
    "a table in Latin-1": (
        "sa",
        {"dev.tsv": GOOD.encode() + b"caf\xe9\tx\n"},
        "dev.tsv:4: not UTF-8 text (byte 0xe9",
    ),
    "a spreadsheet": (
        "sa",
        {"train.tsv": b"PK\x03\x04\x14\x00\x08\x08"},
        "train.tsv:1: not UTF-8 text (byte 0x00)",
    ),
    "a tag of its own": (
        "ner",
        {"dev.txt": "in O\nB B-ORG\n"},
        "dev.txt: has 'B-ORG', train has 'B-LOC', 'B-PER', '",
    ),
    "both endings": (
        "ner",
        {"dev.conll": WORDS},
        "needs one file 'dev' as .conll or .txt; it has dev.conll, dev.txt, test.txt",
    ),
    "two columns of tags": (
        "ner",
        {"train.txt": "Anna NNP B-ORG B-PER\n"},
        "train.txt:1: of 4 columns, just one must hold entity tags in every line; column 3 does ",
    ),
    "an entity from nowhere": (
        "ner",
        {"test.txt": "in O\nMt I-LOC\nRio B-LOC\nin O\nRio B-LOC\n"},
        "test.txt:2: I-LOC continues an entity, but the tag before it ",
    ),
    "tags alone": ("ner", {"test.txt": "O\nO\n"}, "test.txt:1: expected a word and its tag"),
    "a universal tag of its own": (
        "pos",
        {"test.conllu": TAGS.replace("VERB", "ADJ").replace("NOUN", "X")},
        "test.conllu: has 'ADJ', 'X', train has 'NOUN', 'VERB'",
    ),
    "CoNLL for CoNLL-U": (
        "pos",
        {"dev.conllu": "w NOUN\n"},
        "dev.conllu:1: 1 tab-separated columns, CoNLL-U has 10",
    ),
    "an id of zero": (
        "pos",
        {"dev.conllu": TAGS.replace("1\tw", "0\tw")},
        "dev.conllu:1: the id is '0', expected 1; ids count 1, ",
    ),
    "a range alone": (
        "pos",
        {"dev.conllu": TAGS.replace("1\tw", "1-2\tw")},
        "dev.conllu:2: the id is '2', expected 1",
    ),
    "a manifest that is no JSON": (
        "sa",
        {"MANIFEST": '{"files": [\n'},
        "MANIFEST.json: not a list of files and their sources (JSONDecodeError: Expecting value",
    ),
    "a manifest of another kind": (
        "sa",
        {"MANIFEST": "{}"},
        "MANIFEST.json: not a list of files and their sources (KeyError: 'files'); i",
    ),
}


@pytest.mark.parametrize("case", LABELLED)
def test_labelled_files(case, tmp_path):
    task, changed, said = LABELLED[case]
    good, ending = {"sa": (GOOD, "tsv"), "ner": (WORDS, "txt"), "pos": (TAGS, "conllu")}[task]
    folder = tmp_path / "root" / "tasks" / facts.fact("tasks", task)["folder"] / "xyz"
    folder.mkdir(parents=True)
    for name, content in ({f"{part}.{ending}": good for part in tasks.PARTS} | changed).items():
        file = tmp_path / "root" / "MANIFEST.json" if name == "MANIFEST" else folder / name
        if content is not None:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refused(lambda: tasks.load(task, "xyz", Source("local", tmp_path / "root")), said)
    assert message.startswith(str(tmp_path / "root"))


def test_texts_of_test_that_train_has_are_counted_for_the_record(tmp_path):
    """Not an error, since published data have some; words and tags are compared by the words."""
    folder = tmp_path / "tasks" / "sentiment" / "xyz"
    folder.mkdir(parents=True)
    for part, rows in {"train": "axbycx", "dev": "dxey", "test": "axdybycyax"}.items():
        (folder / f"{part}.tsv").write_text(
            tsv(*zip(rows[::2], rows[1::2], strict=True)), encoding="utf-8"
        )
    loaded = tasks.load("sa", "xyz", Source("local", tmp_path), limit=1)
    assert loaded.origin["also_in_train"] == {"dev": 0, "test": 4}


PATHS = [
    "../../x",
    "..",
    "/etc",
    "../text/corpora/xyz",
    "xyz/../xyz",
    "",
    ".",
    "xyz.txt",
    "~",
    "*",
    "XYZ",
]


@pytest.mark.parametrize("language", PATHS)
def test_a_language_never_becomes_a_path(language, tmp_path, monkeypatch):
    """Only names that were found in the folder are opened, and no run of another can be made."""
    for folder in ("corpora", "tasks/sentiment/xyz"):
        (tmp_path / "text" / folder).mkdir(parents=True)
    (tmp_path / "text" / "corpora" / "xyz.txt").write_text(text(300), encoding="utf-8")
    (tmp_path / "x.txt").write_text(text(300), encoding="utf-8")
    source = Source("local", tmp_path / "text")
    refused(
        lambda: corpora.load(language, source, "train"),
        f"needs one file {language!r} as .txt or .txt.xz or .txt.gz; it has xyz.txt",
    )
    refused(
        lambda: corpora.describe(language, source),
        f"needs one file {language!r} as .txt or .txt.xz or .txt.gz; it has xyz.txt",
    )
    refused(lambda: tasks.load("sa", language, source), f"no folder called {language!r}; ")
    refused(
        lambda: corpora.load(language, Source("sample"), "train"), f"needs one file {language!r}"
    )
    refused(lambda: corpora.load(language, Source("hub"), "train"), "no language called")
    refused(notebook("layers", language=language), "no language called")
    refused(chain(language=language), "no language called")
    teacher = language or "/"
    refused(notebook("layers", teacher=teacher), f"no teacher for 'mlt' called {teacher!r}")


def test_addresses_stay_below_their_folder(data):
    for url in (
        "https://x/../../../etc/passwd",
        "file:///etc/passwd",
        "//etc/passwd",
        "/etc/passwd",
    ):
        refused(
            lambda url=url: hub.download(url),
            " is not the address of a file on the web; correct it in params/",
        )


def test_links_are_read_through_and_never_written_through(tmp_path, monkeypatch):
    """A link to text is read. Writing replaces a link, and its target stays as it is."""
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "locks"))
    (tmp_path / "far.txt").write_text(text(300), encoding="utf-8")
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "xyz.txt").symlink_to(tmp_path / "far.txt")
    assert len(corpora.load("xyz", Source("local", tmp_path), "dev")) == 15
    before = (tmp_path / "far.txt").read_bytes()
    (tmp_path / "record.json").symlink_to(tmp_path / "far.txt")
    files.write_json(tmp_path / "record.json", {})
    (tmp_path / "model").symlink_to(tmp_path / "corpora")
    with files.whole_folder(tmp_path / "model") as folder:
        (folder / "config.json").write_text("{}")
    assert (tmp_path / "far.txt").read_bytes() == before and (
        tmp_path / "corpora" / "xyz.txt"
    ).exists()
    assert not (tmp_path / "record.json").is_symlink() and not (tmp_path / "model").is_symlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "corpora",
        "far.txt",
        "locks",
        "model",
        "record.json",
    ]


COMMANDS = {
    "an unknown study": (
        ["status", "nothing"],
        "no study called 'nothing'; params/studies has toy",
    ),
    "a study that is a path": (["make", "../toy"], "no study called '../toy'"),
    "an unknown run": (
        ["make", "toy", "x"],
        "the study 'toy' has no run x; `python -m lib.study status toy` lists them",
    ),
    "nothing to collect": (
        ["collect", "toy"],
        "the study 'toy' is not finished: 41 of 41 runs are missing",
    ),
    "nothing to publish": (
        ["publish", "toy"],
        "the study 'toy' is not finished: 41 of 41 runs are missing",
    ),
    "a broken study": (
        ["status", "broken"],
        "params/studies/broken.yaml: title is missing; add it",
    ),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_commands_end_in_the_sentence_and_an_exit_status(case, monkeypatch, common):
    words, said = COMMANDS[case]
    if "broken" in words:
        toys.write_study(toys.changed(toys.STUDY, "title"), "broken")
    monkeypatch.setattr(sys, "argv", ["lib.study", *words])
    with pytest.raises(SystemExit) as caught:
        commands.main()
    assert str(caught.value.code).startswith(said) and "\n" not in str(caught.value.code)
    (common / "studies" / "broken.yaml").unlink(missing_ok=True)


def test_a_notebook_that_refuses_ends_the_command_with_its_sentence(tmp_path):
    """Not with the traceback of the library that ran it, which is in the executed notebook."""
    for number, line in enumerate(("raise StudyError('a sentence')", "1 / 0")):
        plain = {"cell_type": "code", "outputs": [], "execution_count": None}
        cells = [
            plain | {"id": "a", "metadata": {"tags": ["parameters"]}, "source": ""},
            plain
            | {"id": "b", "metadata": {}, "source": f"from lib.errors import StudyError\n{line}"},
        ]
        (tmp_path / f"{number}.ipynb").write_text(
            json.dumps(
                {
                    "cells": cells,
                    "metadata": {
                        "kernelspec": {
                            "name": "python3",
                            "display_name": "Python 3",
                            "language": "python",
                        }
                    },
                    "nbformat": 4,
                    "nbformat_minor": 5,
                }
            )
        )
    with make.warm_kernel() as run:
        for number, said in enumerate(
            ("0 failed: a sentence; the", "1 failed: ZeroDivisionError: ")
        ):
            copy = tmp_path / "out" / f"{number}.ipynb"
            refused(lambda copy=copy: run(tmp_path / copy.name, copy, {}), said)
            assert "Traceback" in copy.read_text(encoding="utf-8")


def test_files_that_may_not_be_read(tmp_path, common, monkeypatch):
    """What the system refuses is said in one sentence too."""
    (tmp_path / "corpora").mkdir()
    file = tmp_path / "corpora" / "xyz.txt"
    file.write_text(text(300), encoding="utf-8")
    file.chmod(0)
    if not os.access(file, os.R_OK):  # the superuser may read everything
        refused(
            lambda: corpora.load("xyz", Source("local", tmp_path), "dev"),
            "cannot be read (Permission denied); correct or replace it",
        )
