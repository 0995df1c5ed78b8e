"""Whatever is asked wrongly ends in one sentence that says what was asked, what exists and what to do, before anything is written.

Malformed data files stand in test_readers, test_corpora and test_tasks, malformed YAML in test_params, broken models in test_models,
misspelt parameters in test_studies. Here: study files, requests, and the facts of teachers.
"""

import math

import pytest
import toys

from lib import distillation, mlm, paths, plan, studies
from lib.errors import StudyError

FILES = {  # what stands where in a study file (nothing: the key is gone) -> words of the refusal
    "a number as text": ("steps.layers.learning_rate", "5e-5", "steps: layers: learning_rate: '5e-5' is not a number (YAML reads 5e-5 as"),
    "a negative rate": ("steps.layers.learning_rate", -1e-3, "learning_rate: -0.001 is out of range; give a number above 0"),
    "a rate of nothing": ("steps.hidden.learning_rate", 0, "learning_rate: 0 is out of range; give a number above 0"),
    "an infinite rate": ("steps.adapt.learning_rate", math.inf, "learning_rate: inf is out of range"),
    "a rate that is none": ("steps.adapt.learning_rate", math.nan, "learning_rate: nan is out of range"),
    "half a step": ("steps.layers.steps", 0.5, "steps: layers: steps: 0.5 is not a whole number"),
    "steps as a float": ("steps.layers.steps", 1e3, "steps: 1000.0 is not a whole number"),
    "negative steps": ("steps.pretrain.steps", -5, "steps: pretrain: steps: -5 is out of range"),
    "endless steps": ("steps.pretrain.steps", 10**13, "steps: 10000000000000 is out of range"),
    "true steps": ("steps.pretrain.steps", True, "steps: True is not a whole number"),
    "an empty batch": ("steps.ffn.batch_size", 0, "batch_size: 0 is out of range; give a number above 0"),
    "no accumulation": ("steps.adapt.accumulation", 0, "accumulation: 0 is out of range"),
    "no temperature": ("steps.layers.temperature", 0.0, "temperature: 0.0 is out of range"),
    "an unknown layer choice": ("steps.layers.layer_choice", "top", "layer_choice: 'top' is none of last_k, first_k, stride"),
    "an unknown loss": ("steps.hidden.distillation_loss", "l1", "distillation_loss: 'l1' is none of mse, kl, plain_kl"),
    "an unknown start": ("steps.hidden.hidden_start", "pca", "hidden_start: 'pca' is none of truncation, truncation_across_heads, svd"),
    "an unknown counting": ("steps.vocabulary.counting", "words", "counting: 'words' is none of count, documents"),
    "an unknown precision": ("steps.adapt.precision", "fp16", "precision: 'fp16' is none of auto, float32, bfloat16"),
    "pruning on test": ("steps.ffn.part", "test", "part: 'test' is none of train, dev"),
    "no as text": ("steps.layers.all_positions", "no", "all_positions: 'no' is not true or false"),
    "zero for false": ("steps.adapt.published", 0, "published: 0 is not true or false"),
    "more than a share": ("steps.layers.mlm_weight", 1.5, "mlm_weight: 1.5 is out of range; it is a share, 0 to 1"),
    "a setting of another step": ("steps.ffn.hidden_size", 48, "steps: ffn: unknown key 'hidden_size'; it takes batch_size"),
    "a setting missing": ("steps.layers.temperature", None, "steps: layers: temperature is missing; add it"),
    "a step missing": ("steps.ffn", None, "steps: ffn: batch_size, intermediate_size, max_length, part, sentences is missing"),
    "a step too many": ("steps.quantise", {}, "steps: unknown key 'quantise'; it takes adapt, ffn, hidden"),
    "a step that is a list": ("steps.ffn", [], "steps: ffn: expected `key: value` pairs, got []"),
    "steps that are a list": ("steps", [], "steps: [] is not a mapping"),
    "no tokens kept": ("steps.vocabulary.kept_tokens", 0, "kept_tokens: 0 is out of range"),
    "an unknown method": ("finetune.method", "prefix", "finetune: method: 'prefix' is none of adapter, full"),
    "epochs of no kind of task": ("finetune.epochs", 3, "finetune: unknown key 'epochs'"),
    "half an epoch": ("finetune.sequence.epochs", 2.5, "finetune: sequence: epochs: 2.5 is not a whole number"),
    "a warm-up beyond the end": ("finetune.token.warmup", 2, "finetune: token: warmup: 2 is out of range; it is a share"),
    "no patience": ("finetune.token.patience", None, "finetune: token: patience is missing"),
    "a half-known setting": ("finetune.sequence.lr", 1e-3, "finetune: sequence: unknown key 'lr'"),
    "token settings missing": ("finetune.token", None, "finetune: token is missing"),
    "negative sentences": ("corpus.train", -1, "corpus: train: -1 is out of range"),
    "all as text": ("corpus.dev", "all", "corpus: dev: 'all' is not a whole number"),
    "another part": ("corpus.valid", 5, "corpus: unknown key 'valid'; it takes dev, test, train"),
    "an unknown source": ("source", "web", "source: 'web' is none of sample, local, hub"),
    "no source": ("source", False, "source: False is none of"),
    "an unknown teacher": ("pairs.0.teacher", "bert-large", "no model called 'bert-large'; params/models.yaml has toy-bert"),
    "an unknown language": ("pairs.0.languages", ["mlt", "xxx"], "no language called 'xxx'; params/languages.yaml has mlt, slk"),
    "one language, no list": ("pairs.0.languages", "mlt", "pairs: languages: 'mlt' is not a list"),
    "a pair without languages": ("pairs.0.languages", None, "pairs: languages is missing"),
    "a misspelt pair": ("pairs.0.language", "mlt", "pairs: unknown key 'language'; it takes languages, set, teacher"),
    "a pair that is a word": ("pairs.0", "toy-bert", "pairs: expected `key: value` pairs, got 'toy-bert'"),
    "pairs that are a mapping": ("pairs", {}, "pairs: {} is not a list"),
    "a pair's unknown step": ("pairs.0.set", {"layer": {}}, "pairs: set: unknown key 'layer'"),
    "a pair's bad setting": ("pairs.0.set", {"layers": {"steps": "5"}}, "pairs: set: layers: steps: '5' is not a whole number"),
    "a seed in words": ("seeds.chain", "one", "seeds: chain: 'one' is not a whole number"),
    "one seed, no list": ("seeds.tasks", 3, "seeds: tasks: 3 is not a list"),
    "a negative seed": ("seeds.tasks", [1, -2], "seeds: tasks: -2 is out of range"),
    "a huge seed": ("seeds.chain", 2**33, "seeds: chain: 8589934592 is out of range; give a whole number below"),
    "an unknown task": ("tasks", ["tc", "qa"], "tasks: 'qa' is none of tc, sa, ner, pos"),
    "one task, no list": ("tasks", "tc", "tasks: 'tc' is not a list"),
    "an unknown step to score": ("score", ["middle"], "score: 'middle' is none of pretrain, adapt, layers"),
    "an order without a teacher": ("order", ["adapt", "layers"], "order: starts with pretrain and names each step once, got adapt, layers"),
    "a step twice": ("order", ["pretrain", "ffn", "ffn"], "order: starts with pretrain and names each step once"),
    "an unknown step": ("order", ["pretrain", "fold"], "order: 'fold' is none of pretrain, adapt"),
    "no order": ("order", [], "names each step once, got nothing"),
    "a variant of nothing": ("variants", [{"score": ["adapt"]}], "variants: set is missing"),
    "a variant's unknown setting": ("variants", [{"set": {"layers": {"width": 1}}}], "variants: set: layers: unknown key 'width'"),
    "a variant's misspelt step": ("variants", [{"set": {}, "score": ["vocabluary"]}], "variants: score: 'vocabluary' is none of"),
    "a variant's foreign language": ("variants", [{"set": {}, "languages": ["eng"]}], "variants: languages: 'eng' is none of mlt, slk"),
    "a variant's unknown task": ("variants", [{"set": {}, "tasks": ["qa"]}], "variants: tasks: 'qa' is none of"),
    "a variant's one seed": ("variants", [{"set": {}, "seeds": 1}], "variants: seeds: 1 is not a list"),
    "an unknown measure": ("measure", {"speed": {}}, "measure: unknown key 'speed'; it takes lens, perplexity"),
    "a measure without settings": ("measure", {"lens": {}}, "measure: lens: sentences is missing"),
    "an unknown baseline": ("baselines", ["majority", "best"], "baselines: 'best' is none of majority, ngrams"),
    "one baseline, no list": ("baselines", "majority", "baselines: 'majority' is not a list"),
    "half a sentence to adapt on": ("steps.adapt.sentences", 0.5, "steps: adapt: sentences: 0.5 is not a whole number"),
    "a number for a title": ("title", 5, "title: 5 is not text"),
    "no title": ("title", None, "title is missing; add it"),
    "a key too many": ("languages", ["mlt"], "unknown key 'languages'; it takes baselines, corpus, data_root"),
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
    toys.write_study(toys.changed(toys.STUDY, place, value))
    message = refused(lambda: plan.jobs("toy"), said)
    assert message.startswith(("params/studies/toy.yaml: ", "no model called", "no language called"))


@pytest.mark.parametrize("name", ["nothing", "", "toy.yaml", "../toy", "Toy"])
def test_studies_that_do_not_exist(name):
    refused(lambda: studies.study(name), f"no study called {name!r}; params/studies has toy: take one of these or add a file")


def chain(**given):
    return lambda: studies.chain("toy", **({"language": "mlt"} | given))


def scoring(language="mlt", task="tc", seed=1, overrides=None):
    return lambda: studies.scoring(studies.chain("toy", language)[-1], language, task, seed, overrides)


def notebook(step, **given):
    values = {"study": "toy", "language": "mlt", "teacher": "", "seed": 1, "order": [], "overrides": {}, "task": "tc", "model_step": ""}
    declared = {name: type(value) for name, value in values.items()}
    return lambda: studies.resolve(step, {"__annotations__": declared} | values | given)


REQUESTS = {
    "a language the study has not": (chain(language="eng"), "the study 'toy' has no language 'eng'; it has mlt, slk, swh: take one of"),
    "a language nobody has": (notebook("layers", language="xxx"), "no language called 'xxx'; params/languages.yaml has mlt"),
    "an empty language": (notebook("layers", language=""), "no language called ''"),
    "the other pair's teacher": (chain(teacher="toy-xlmr"), "does not pair the teacher 'toy-xlmr' with 'mlt' (it has 'toy-bert')"),
    "an unknown teacher": (notebook("layers", teacher="bert"), "does not pair the teacher 'bert' with 'mlt'"),
    "an unknown teacher to train": (notebook("pretrain", teacher="mbert"), "the study 'toy' has no teacher 'mbert'; it has toy-bert, toy"),
    "an unknown study": (notebook("layers", study="dmeo"), "no study called 'dmeo'"),
    "an unknown task": (notebook("finetune", task="qa"), "task: 'qa' is none of tc, pos"),
    "a task the study has not": (scoring(task="ner"), "study 'toy': task: 'ner' is none of tc, pos"),
    "an unknown model": (notebook("finetune", model_step="student"), "step: 'student' is none of pretrain, adapt"),
    "a model beyond the order": (notebook("finetune", model_step="ffn", order=["pretrain", "layers"]), "step: 'ffn' is none of pretrain"),
    "a step beyond the order": (notebook("ffn", order=["pretrain", "layers"]), "step: 'ffn' is none of pretrain, layers"),
    "an unknown step in an order": (notebook("layers", order=["pretrain", "fold"]), "order: 'fold' is none of pretrain"),
    "an order of numbers": (notebook("layers", order=[1, 2]), "order: 1 is none of pretrain"),
    "an order of lists": (notebook("layers", order=[["pretrain"]]), "order: ['pretrain'] is none of"),
    "an order without a teacher": (notebook("layers", order=["layers"]), "order: starts with pretrain"),
    "overrides of no step": (chain(overrides={"layer": {"steps": 1}}), "overrides: unknown key 'layer'; it takes adapt, ffn"),
    "overrides of no setting": (chain(overrides={"layers": {"step": 1}}), "overrides: layers: unknown key 'step'"),
    "overrides that are a number": (chain(overrides={"layers": 3}), "overrides: layers: expected `key: value` pairs, got 3"),
    "overrides of a step left out": (notebook("ffn", order=["pretrain", "ffn"], overrides={"layers": {"steps": 1}}),
                                     "overrides: unknown key 'layers'"),
    "a rate as text": (chain(overrides={"hidden": {"learning_rate": "1e-3"}}), "overrides: hidden: learning_rate: '1e-3' is not a number"),
    "a weight beyond one": (chain(overrides={"hidden": {"mlm_weight": 2}}), "mlm_weight: 2 is out of range; it is a share"),
    "more layers than there are": (chain(overrides={"layers": {"num_hidden_layers": 5}}),
                                   "num_hidden_layers 5 was asked for; the teacher has 4"),
    "no layers": (chain(overrides={"layers": {"num_hidden_layers": 0}}), "num_hidden_layers: 0 is out of range"),
    "a wider FFN": (chain(overrides={"ffn": {"intermediate_size": 999}}), "intermediate_size 999 was asked for; the teacher has 384"),
    "a vocabulary too large": (chain(overrides={"vocabulary": {"kept_tokens": 9999}}),
                               "kept_tokens 9999 was asked for; the teacher has 4000"),
    "heads that do not divide": (chain(overrides={"hidden": {"hidden_size": 50}}),
                                 "must be a multiple of 4 up to 96: the nearest that work are 48 and 52"),
    "a larger hidden size": (chain(overrides={"hidden": {"hidden_size": 768}}), "a hidden size of 768 was asked for; 4 heads stay"),
    "no reduction": (scoring(overrides={"finetune": {"reduction_factor": 0}}), "overrides: finetune: reduction_factor: 0 is out of range"),
    "epochs of no kind": (scoring(overrides={"finetune": {"epochs": 3}}), "overrides: finetune: unknown key 'epochs'"),
    "a kind that is a number": (scoring(overrides={"finetune": {"token": 3}}), "finetune: token: expected `key: value` pairs, got 3"),
    "a measure that is not asked for": (notebook("lens"), "the study 'toy' does not measure lens (sentences not given); add `measure:"),
    "a collection of nothing": (lambda: plan.collect("toy", paths.data() / "kept"), "the study 'toy' is not finished, 41 of 41 runs are"),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_requests(case):
    refused(*REQUESTS[case])


def teacher(**facts):
    return lambda: mlm.teacher(facts, None, toys.sentences(), 1)


def new(**configuration):
    usual = {"model_type": "bert", "vocab_size": 120, "hidden_size": 24, "num_attention_heads": 4}
    return teacher(make="new", configuration={name: value for name, value in (usual | configuration).items() if value is not None})


def untrained(train, **settings):
    """A training that must not begin; both kinds share the checks."""
    return lambda: train(toys.DISTIL | settings, paths.data() / "checkpoints")


def adapt(settings, folder, text=None):
    text = toys.sentences() if text is None else text
    return mlm.train(toys.model("bert"), toys.tokenizer("bert"), text, toys.sentences(), settings, 1, folder)


def distil(settings, folder):
    text, model = toys.sentences(), toys.model("bert")
    return distillation.distil(model, toys.model("bert"), toys.tokenizer("bert"), text, text, settings, 1, folder)


TEACHERS = {
    "made in no known way": (teacher(make="copy"), "no way called 'copy' to make a teacher; there are new, local, hub"),
    "a folder without a root": (teacher(make="local", folder="x"), "the teacher's folder x is not there; set models_root"),
    "an unknown type": (new(model_type="gpt2"), "configuration: model_type: 'gpt2' is none of bert, xlm-roberta"),
    "no type": (new(model_type=None), "configuration: model_type: None is none of"),
    "no vocabulary": (new(vocab_size=None), "configuration: vocab_size is missing"),
    "a misspelt size": (new(hiden_size=48), "configuration: unknown key 'hiden_size'"),
    "heads that do not divide": (new(hidden_size=26), "a hidden_size of 26 is no multiple of 4 heads"),
    "no published adaptation": (lambda: mlm.published_adaptation({"adapted": {"mlt": {}}}, "slk"),
                                "no adapted teacher is published for 'slk'; there are mlt: set `published: false`"),
    "nothing published at all": (lambda: mlm.published_adaptation({}, "slk"), "there are none"),
    "text longer than the model": (untrained(adapt, max_length=513), "a max_length of 513 tokens was asked for; the model takes 3 to 512"),
    "text of special tokens only": (untrained(distil, max_length=2), "a max_length of 2 tokens was asked for"),
    "no text": (lambda: adapt(toys.SETTINGS, paths.data() / "checkpoints", []), "no sentences to train on; the corpus is empty"),
}


@pytest.mark.parametrize("case", TEACHERS)
def test_teachers(case):
    refused(*TEACHERS[case])


def test_no_steps_are_no_training():
    """Not an error: a control."""
    for train in (adapt, distil):
        assert untrained(train, steps=0)() == {"history": [], "seconds": []}
