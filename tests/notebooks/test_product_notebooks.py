"""The notebooks `compress` and `label`, really executed at toy size: by command, killed, twice, and
with bad input.
"""

import re
import shutil

import nbformat
import pytest
import torch
import toys
from killing import kill_at_a_checkpoint
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

from lib import files
from lib.data import corpora, tasks
from lib.errors import StudyError
from lib.export import onnx
from lib.facts import Source
from lib.measure import hidden_states, metrics
from lib.model import encoder, families
from lib.study import make
from lib.train import baselines, teachers

pytestmark = pytest.mark.slow
NOTEBOOKS = files.ROOT / "notebooks"
CONFIGURATION = {
    "vocab_size": 900,
    "hidden_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 60,
    "max_position_embeddings": 66,
    "initializer_range": 0.2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
SMALLER = {"num_hidden_layers": 2, "intermediate_size": 40, "hidden_size": 24}  # by the rule


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Two teachers, an encoder without a head and a masked language model, and two texts."""
    folder = tmp_path_factory.mktemp("given")
    lines = {code: corpora.load(code, Source("sample"), "train", 300) for code in ("slk", "ces")}
    for code, text in lines.items():
        (folder / f"{code}.txt").write_text("\n".join(text), encoding="utf-8")
    for family in toys.FAMILIES:
        configuration = {"model_type": family} | CONFIGURATION
        model, tokenizer = teachers.new_teacher(
            [line for text in lines.values() for line in text], configuration, 1
        )
        model = encoder.without_head(model) if family == "bert" else model
        encoder.save(model, tokenizer, folder / family, "")
    return folder


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """Executes a notebook with parameters, in one kernel; returns the executed cells."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_DATA", str(tmp_path_factory.mktemp("data")))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        copy = tmp_path_factory.mktemp("copies") / "out.ipynb"
        with make.warm_kernel() as execute:

            def run(notebook, **parameters):
                execute(notebook, copy, parameters)
                return nbformat.read(copy, 4).cells

            yield run


@pytest.fixture(scope="module")
def student(given, kernel):
    """The folder of a student of two languages, of which every cell was executed twice."""
    notebook = nbformat.read(NOTEBOOKS / "compress.ipynb", 4)
    notebook.cells = [each for cell in notebook.cells for each in doubled(cell)]
    nbformat.write(notebook, given / "twice.ipynb")
    text = {code: str(given / f"{code}.txt") for code in ("slk", "ces")}
    parameters = {"teacher": str(given / "bert"), "text": text, "minutes": 0.02}
    parameters["recipe"] = "calibrated"
    kernel(given / "twice.ipynb", out=str(given / "small"), **parameters)
    return given / "small"


def doubled(cell):
    """The cell, and once more if it is code that takes no parameters."""
    if cell.cell_type != "code" or "parameters" in cell.metadata.get("tags", []):
        return [cell]
    return [cell, nbformat.from_dict(cell | {"id": f"{cell['id']}-again"})]


@pytest.mark.parametrize("family", ["distilbert", "electra generator", "modernbert"])
def test_teachers_of_other_families_become_students_and_classifiers(family, given, kernel):
    folder, text = given / family.replace(" ", "-"), given / "toy.txt"
    encoder.save(toys.model(family), toys.tokenizer(family), folder, "")
    text.write_text("\n".join(toys.sentences(200)), encoding="utf-8")
    out = given / f"{folder.name}-small"
    kernel(
        NOTEBOOKS / "compress.ipynb",
        teacher=str(folder),
        text=str(text),
        out=str(out),
        minutes=0.02,
    )
    model = AutoModelForMaskedLM.from_pretrained(out)
    assert families.size(model.config, "num_hidden_layers") == 2
    assert families.size(model.config, "hidden_size") < toys.SIZES["hidden_size"]
    exact = onnx.load(out, "float32", 1)
    batch = AutoTokenizer.from_pretrained(out)(
        toys.sentences()[:2], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        wanted = model.base_model(**batch).last_hidden_state
    real, found = batch["attention_mask"].bool(), exact(**batch).last_hidden_state
    assert torch.allclose(found[real], wanted[real], atol=1e-4)
    small = onnx.load(out, "int8", 1)(**batch).last_hidden_state
    assert torch.cosine_similarity(small[real], wanted[real]).mean() > 0.9
    labels, finished = given / "toy.tsv", given / f"{folder.name}-classifier"
    rows = [f"{text}\t{'long' if len(text) > 30 else 'short'}" for text in toys.sentences(200)]
    labels.write_text("\n".join(["text\tlabel", *rows]), encoding="utf-8")
    parameters = {"model": str(out), "labels": str(labels), "out": str(finished), "epochs": 1}
    kernel(NOTEBOOKS / "label.ipynb", **parameters)
    classifier = AutoModelForSequenceClassification.from_pretrained(finished)
    with torch.no_grad():
        logits = classifier(**batch).logits
    assert torch.allclose(onnx.load(finished, "float32", 1)(**batch).logits, logits, atol=1e-4)


def snippets(folder):
    """The Python code of a card."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_two_languages_in_one_student(given, student):
    model = AutoModel.from_pretrained(student, add_pooling_layer=False)
    assert {name: getattr(model.config, name) for name in SMALLER} == SMALLER
    tokenizer = AutoTokenizer.from_pretrained(student)
    whole = AutoTokenizer.from_pretrained(given / "bert")
    assert len(tokenizer) == model.config.vocab_size < len(whole)
    for code in ("slk", "ces"):
        line = (given / f"{code}.txt").read_text(encoding="utf-8").split("\n")[0]
        assert tokenizer.unk_token_id not in tokenizer(line)["input_ids"]
    card = (student / "README.md").read_text(encoding="utf-8")
    assert "language: [slk, ces]" in card and f"{model.num_parameters():,} parameters" in card
    for code in ("slk", "ces"):
        assert f"| {code}.txt | {files.sha256(given / f'{code}.txt')} | {code} | 270 |" in card
    assert "agreement slk" in card and "agreement ces" in card and str(given) not in card
    assert "- recipe: calibrated" in card
    assert not student.with_name("small.work").exists()


@pytest.mark.parametrize("library", ["transformers", "onnxruntime", "sentence_transformers"])
def test_the_code_of_the_card_runs(student, library):
    """Sentence vectors of each form are those of the others, in 8 bits nearly."""
    pytest.importorskip(library)
    (code,) = (code for code in snippets(student) if re.match(rf"(from|import) {library}\b", code))
    names = {"folder": student, "texts": ["Mačka spí.", "Pes v zahradě štěká celý den."]}
    exec(code, names)
    vectors = torch.as_tensor(names["vectors"])
    if library != "sentence_transformers":
        weight = names["inputs"]["attention_mask"]
        weight = torch.as_tensor(weight).unsqueeze(-1)
        vectors = (vectors * weight).sum(1) / weight.sum(1)
    model, tokenizer = encoder.load(student)
    wanted = hidden_states.sentence_vectors(model, tokenizer, names["texts"], precision="float32")
    cosine = torch.cosine_similarity(vectors.double(), wanted)
    assert vectors.shape == wanted.shape and cosine.min() > (
        0.95 if library == "onnxruntime" else 0.9999
    )


def test_only_the_vocabulary_is_one_parameter(given, kernel):
    """A masked language model keeps its predictions for tokens that stay."""
    out, text = given / "words", [str(given / "slk.txt")]
    kernel(
        NOTEBOOKS / "compress.ipynb",
        teacher=str(given / "xlm-roberta"),
        text=text,
        out=str(out),
        only_vocabulary=True,
        licence="CC0",
    )
    models = [AutoModelForMaskedLM.from_pretrained(place) for place in (given / "xlm-roberta", out)]
    tokenizers = [AutoTokenizer.from_pretrained(place) for place in (given / "xlm-roberta", out)]
    line = (given / "slk.txt").read_text(encoding="utf-8").split("\n")[0]
    old, new = (tok(line, return_tensors="pt") for tok in tokenizers)
    kept = tokenizers[0].convert_tokens_to_ids(
        tokenizers[1].convert_ids_to_tokens(range(len(tokenizers[1])))
    )
    assert [kept[each] for each in new["input_ids"][0]] == old["input_ids"][0].tolist()
    logits = models[0](**old).logits[..., kept], models[1](**new).logits
    torch.testing.assert_close(*logits, rtol=0, atol=1e-4)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "- stated: CC0" in card and "pipeline_tag: fill-mask" in card and "MLM loss" in card
    assert models[1].config.num_hidden_layers == CONFIGURATION["num_hidden_layers"]


def test_a_killed_command_goes_on_where_it_was(given, kernel, tmp_path):
    """SIGKILL while distilling; the same request then takes the finished stage and the checkpoint,
    and another request is refused.
    """
    out, work = tmp_path / "small", tmp_path / "small.work"
    parameters = {"teacher": str(given / "xlm-roberta"), "text": str(given / "slk.txt")}
    parameters |= {"out": str(out), "minutes": 0.1, "recipe": "paper"}
    kill_at_a_checkpoint("compress", parameters, work, tmp_path)
    assert not out.exists()
    with pytest.raises(StudyError, match="holds stages of another request \\(minutes\\)"):
        kernel(NOTEBOOKS / "compress.ipynb", **parameters | {"minutes": 0.2})
    cells = kernel(NOTEBOOKS / "compress.ipynb", **parameters)
    said = "".join(each.get("text", "") for cell in cells for each in cell.get("outputs", ()))
    assert "the stage vocabulary was finished before" in said and "resumed after step" in said
    assert AutoModelForMaskedLM.from_pretrained(out).config.hidden_size == SMALLER["hidden_size"]
    assert not work.exists()


def test_a_killed_training_of_labels_goes_on_after_its_last_epoch(given, kernel, tmp_path):
    """Other labels in the same file are another request."""
    labels, out = tmp_path / "topics.tsv", tmp_path / "topics"
    rows = (files.SAMPLE / "tasks/topic/slk/train.tsv").read_text(encoding="utf-8").split("\n")
    labels.write_text("\n".join(rows[:400]), encoding="utf-8")
    parameters = {"model": str(given / "bert"), "labels": str(labels), "out": str(out)}
    parameters |= {"epochs": 40}
    kill_at_a_checkpoint("label", parameters, tmp_path / "topics.work", tmp_path)
    labels.write_text("\n".join(rows[:300]), encoding="utf-8")
    with pytest.raises(StudyError, match="holds stages of another request \\(labels\\)"):
        kernel(NOTEBOOKS / "label.ipynb", **parameters)
    labels.write_text("\n".join(rows[:400]), encoding="utf-8")
    cells = kernel(NOTEBOOKS / "label.ipynb", **parameters)
    said = "".join(each.get("text", "") for cell in cells for each in cell.get("outputs", ()))
    assert "resumed after step" in said and not (tmp_path / "topics.work").exists()
    assert AutoModelForSequenceClassification.from_pretrained(out).config.num_labels == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": ""}, "is no path"),
        ({"text": "nowhere.txt"}, "nowhere.txt: cannot be read"),
        ({"minuets": 5}, "unknown parameter 'minuets'"),
        ({"minutes": -1.0}, "-1.0 is out of range"),
        ({"recipe": "best"}, "no recipe called 'best'; params/recipes.yaml has paper, calibrated"),
        ({"hidden_size": 30}, "a hidden size of 30 was asked for"),
        ({"teacher": "nobody/nothing"}, "nobody/nothing is not in the cache"),
        ({"teacher": "toy-bert"}, "no teacher 'toy-bert'"),
        ({"out": "GIVEN"}, "is not a new or empty folder"),
        ({"text": "OTHER"}, "of the tokens are unknown"),
    ],
)
def test_bad_input_stops_before_any_work(given, kernel, tmp_path, changes, message):
    other = tmp_path / "other.txt"
    other.write_text("\n".join(f"ሰላም ለዓለም {n}" for n in range(400)), encoding="utf-8")
    places = {"GIVEN": str(given), "OTHER": str(other)}
    changes = {name: places.get(value, value) for name, value in changes.items()}
    usual = {"teacher": str(given / "bert"), "text": str(given / "slk.txt")}
    usual["out"] = str(tmp_path / "small")
    with pytest.raises(StudyError, match=message):
        kernel(NOTEBOOKS / "compress.ipynb", **usual | changes)
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


@pytest.mark.parametrize("form", ["text", "entities", "words"])
def test_a_finished_model_of_labels(student, kernel, tmp_path, form):
    """Plain transformers loads it; its own answers have the score that the card shows, beside that
    of the n-grams.
    """
    name = {"text": "topic", "entities": "ner", "words": "pos"}[form]
    labels, out = tmp_path / "labels", tmp_path / "finished"
    shutil.copytree(files.SAMPLE / "tasks" / name / "slk", labels)
    for file in labels.iterdir():  # fewer examples
        lines = file.read_text(encoding="utf-8").split("\n")
        file.write_text("\n".join(lines[:600]) + "\n\n", encoding="utf-8")
    kernel(
        NOTEBOOKS / "label.ipynb", model=str(student), labels=str(labels), out=str(out), epochs=2
    )
    task, tokenizer = tasks.of_files(labels), AutoTokenizer.from_pretrained(out)
    assert task.name == form
    classes = {"sequence": AutoModelForSequenceClassification}
    model = classes.get(task.kind, AutoModelForTokenClassification).from_pretrained(out).eval()
    answers = []
    for example, _ in task.splits["test"]:
        split = task.kind == "token"
        batch = tokenizer(
            list(example) if split else example,
            is_split_into_words=split,
            truncation=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            best = model(**batch).logits[0].argmax(-1)
        if split:
            words = batch.word_ids(0)
            places = [words.index(n) if n in words else None for n in range(len(example))]
            answers.append(
                tuple("" if at is None else model.config.id2label[int(best[at])] for at in places)
            )
        else:
            answers.append(model.config.id2label[int(best)])
    gold = [answer for _, answer in task.splits["test"]]
    score = 100 * metrics.score(task.metric, gold, answers)[task.metric]
    ngrams = 100 * baselines.answer(task, "ngrams")["scores"][task.metric]
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"| model | {score:.4g} |" in card and f"| character n-grams | {ngrams:.4g} |" in card
    for code in snippets(out):
        exec(code, {"folder": out, "texts": ["Mačka spí."]})
    pipe = {"sequence": "text-classification", "token": "token-classification"}[task.kind]
    for answer in pipeline(pipe, model=str(out))("Mačka spí."):
        assert answer.get("label", answer.get("entity")) in task.labels
