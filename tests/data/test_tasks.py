"""Tasks: labels, limits, files and refusals."""

import json
import re

import pytest
import toys

from lib import facts
from lib.data import encoding, tasks
from lib.errors import StudyError
from lib.facts import Source
from lib.measure import metrics
from lib.train import baselines


def put(root, **files):
    """Files of xyz under `root`, named task__part_ending."""
    for name, content in files.items():
        place, ending = name.rsplit("_", 1)
        folder, part = place.split("__")
        file = root / "tasks" / folder / "xyz" / f"{part}.{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return Source("local", root)


def rows(*labels):
    return "text\tlabel\n" + "".join(f"text {n}\t{label}\n" for n, label in enumerate(labels))


def test_local_labels_and_limits(tmp_path):
    source = put(
        tmp_path,
        sentiment__train_tsv=rows(*["good", "bad", "mixed"] * 10),
        sentiment__dev_tsv=rows(*["bad"] * 12),
        sentiment__test_tsv=rows(*["good"] * 9),
    )
    whole = tasks.load("sa", "xyz", source)
    assert whole.labels == ("bad", "good", "mixed") and whole.splits["train"][0] == (
        "text 0",
        "good",
    )
    assert whole.origin["examples"] == {"train": 30, "dev": 12, "test": 9} and str(
        tmp_path
    ) not in json.dumps(whole.origin)
    assert whole.origin["files"]["dev"]["file"] == "tasks/sentiment/xyz/dev.tsv"
    some, fewer = (
        tasks.load("sa", "xyz", source, limit=10),
        tasks.load("sa", "xyz", source, limit=2),
    )
    assert [len(some.splits[part]) for part in tasks.PARTS] == [10, 10, 9]
    assert [len(fewer.splits[part]) for part in tasks.PARTS] == [
        2,
        2,
        9,
    ] and fewer.labels == whole.labels  # labels of the whole train
    assert some.splits == tasks.load("sa", "xyz", source, limit=10).splits
    for part in tasks.PARTS:
        assert set(fewer.splits[part]) <= set(some.splits[part]) <= set(whole.splits[part])
        assert some.splits[part] == [
            each for each in whole.splits[part] if each in some.splits[part]
        ]


def test_local_token_tasks(tmp_path):
    text = "Anna B-PER\nin O\nMt B-LOC\nOak I-LOC\n"
    source = put(
        tmp_path,
        ner__train_txt=text,
        ner__dev_conll="x O\n",
        ner__test_txt=text,
        pos__train_conll="a NOUN\nb ADJ\n",
        pos__dev_conll="a NOUN\n",
        pos__test_conllu="1\ta\t_\tADJ" + "\t_" * 6 + "\n",
    )
    assert tasks.load("ner", "xyz", source).labels == ("O", "B-LOC", "B-PER", "I-LOC")
    pos = tasks.load("pos", "xyz", source)
    assert (
        pos.labels == ("ADJ", "NOUN")
        and pos.splits["test"] == [(("a",), ("ADJ",))]
        and pos.metric == "accuracy"
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"train": ("a", "b"), "dev": ("c", "c"), "test": ("a",)},
            r"dev\.tsv: has 'c', train has 'a', 'b'; a split needs",
        ),
        (
            {"train": ("a", "b"), "dev": ("a",), "test": ("d", "c")},
            r"test\.tsv: has 'c', 'd', train has",
        ),
        (
            {"train": ("a", "a"), "dev": ("a",), "test": ("a",)},
            r"train\.tsv: has only the label 'a'",
        ),
        ({"train": ("a", "b"), "dev": ("a",), "test": ()}, r"test\.tsv: has no example"),
        (
            {"train": ("a", "b"), "dev": ("a",)},
            r"needs one file 'test' as \.tsv or \.csv; it has dev\.tsv, train\.tsv",
        ),
    ],
)
def test_refused_files(tmp_path, files, said):
    source = put(
        tmp_path, **{f"sentiment__{part}_tsv": rows(*labels) for part, labels in files.items()}
    )
    with pytest.raises(StudyError, match=said):
        tasks.load("sa", "xyz", source)


def test_labels_that_only_test_has_count_as_wrong(tmp_path, capsys):
    """Nothing is refused or edited; the record and a line say how many; the others keep their
    numbers.
    """
    source = put(
        tmp_path,
        sentiment__train_tsv=rows("b", "c"),
        sentiment__dev_tsv=rows("b"),
        sentiment__test_tsv=rows("a", "b", "a", "d"),
    )
    task = tasks.load("sa", "xyz", source)
    assert task.labels == ("b", "c", "a", "d")
    assert [label for _, label in task.splits["test"]] == ["a", "b", "a", "d"]
    assert task.origin["labels_not_in_train"] == {"test": 3}
    assert "test.tsv: has 'a', 'd', train has not: 3 of 4 golds count as wrong" in (
        capsys.readouterr().out
    )
    for kind in ("majority", "ngrams"):  # of four examples the second can be right
        found = baselines.answer(task, kind)
        assert found["scores"]["accuracy"] <= 0.25 and not {"a", "d"} & set(found["predictions"])
    encoded = encoding.encode(task, "test", toys.tokenizer("bert"), 16)  # as fine-tuning does
    assert [item["labels"] for item in encoded] == [2, 0, 2, 3]
    tags = "x B-PER\ny O\n"
    source = put(tmp_path, ner__train_txt=tags, ner__dev_txt=tags, ner__test_txt=tags + "z B-LOC\n")
    task = tasks.load("ner", "xyz", source)
    assert task.labels == ("O", "B-PER", "B-LOC")
    assert task.origin["labels_not_in_train"] == {"test": 1}
    assert "labels_not_in_train" not in tasks.load("ner", "mlt", Source("sample")).origin
    put(tmp_path, ner__test_txt="x O\nz B-LOC\n")  # O alone is no common ground
    with pytest.raises(
        StudyError, match=r"test\.txt: has 'B-LOC', train has 'B-PER', 'O'; a split"
    ):
        tasks.load("ner", "xyz", source)


@pytest.mark.parametrize(
    ("task", "language", "kind", "limit", "said"),
    [
        ("qa", "xyz", "local", 0, "'qa'; params/tasks.yaml has tc, sa, ner, pos"),
        (
            "sa",
            "slk",
            "local",
            0,
            "has xyz: take one of these or add one with train, dev and test as .tsv or .csv",
        ),
        ("tc", "xyz", "local", 0, "no folder called 'xyz'; "),
        ("sa", "../xyz", "local", 0, "no folder called '../xyz'"),
        ("sa", "xyz", "web", 0, "source: 'web' is none of"),
        ("sa", "xyz", "local", -1, "a limit of -1"),
        (
            "ner",
            "xyz",
            "local",
            0,
            "one file 'train' as .conll or .txt; it has train.conll, train.txt",
        ),
    ],
)
def test_refused_requests(tmp_path, task, language, kind, limit, said):
    root = put(
        tmp_path, sentiment__train_tsv=rows("a"), ner__train_txt="a O\n", ner__train_conll="a O\n"
    ).root
    with pytest.raises(StudyError, match=re.escape(said)):
        tasks.load(task, language, Source(kind, root), limit)


def test_a_split_emptied_by_dropping_labels():
    splits = {"train": [("x", "a"), ("y", "b")], "dev": [], "test": [("x", "a")]}
    with pytest.raises(StudyError, match="sa in xyz: dev: has no example, train has 'a', 'b'"):
        tasks._labels("sequence", splits, {part: f"sa in xyz: {part}" for part in splits})


@pytest.mark.parametrize("task", ["tc", "sa", "ner", "pos"])
def test_sample(task):
    loaded = tasks.load(task, "mlt", Source("sample"), limit=40)
    assert [len(loaded.splits[part]) for part in tasks.PARTS] == [40, 40, 200]
    assert loaded.metric == facts.fact("tasks", task)["metric"] in metrics.METRICS
    assert loaded.labels[0] == "O" or "O" not in loaded.labels


@pytest.mark.slow
def test_shared_tasks(shared):
    listed = [
        entry
        for entry in json.loads((shared / "data" / "MANIFEST.json").read_text())["files"]
        if entry["kind"] == "task" and entry["split"] in tasks.PARTS
    ]
    names = {entry["folder"]: task for task, entry in facts.facts("tasks").items()}
    source, counts = Source("local", shared / "data"), {}
    for task, language in {(names[entry["task"]], entry["language"]) for entry in listed}:
        loaded = tasks.load(task, language, source)
        counts |= {(task, language, part): len(loaded.splits[part]) for part in tasks.PARTS}
        assert all(file["licence"] for file in loaded.origin["files"].values())
        if task == "ner":
            assert loaded.labels[0] == "O"
        if task == "pos":
            assert 14 <= len(loaded.labels) <= 17
    assert counts == {
        (names[entry["task"]], entry["language"], entry["split"]): entry["items"]
        for entry in listed
    }
    assert len(counts) == 4 * 3 * 3


@pytest.mark.parametrize("language", ["mlt", "slk", "swh"])
@pytest.mark.parametrize("task", ["tc", "sa", "ner", "pos"])
def test_the_sample_has_every_label_in_train(task, language):
    loaded = tasks.load(task, language, Source("sample"), limit=400)
    assert {part: len(examples) for part, examples in loaded.splits.items()} == {
        "train": 400,
        "dev": 100,
        "test": 200,
    }


def test_examples_are_in_nfc_from_every_source(tmp_path, monkeypatch):
    """Texts, words and labels of files; texts and words of the hub."""
    far, near = "z\u0307ebbug\u0307", "żebbuġ"  # letters and their dots apart; together
    parts = {
        f"sentiment__{part}_tsv": f"text\tlabel\n{form}\t{form}\nx\ty\n"
        for part, form in (("train", far), ("dev", near), ("test", far))
    }
    task = tasks.load("sa", "xyz", put(tmp_path, **parts))
    assert task.splits == {part: [(near, near), ("x", "y")] for part in tasks.PARTS}
    assert task.labels == ("y", near)
    monkeypatch.setattr(tasks.hub, "commit", lambda *_: "0" * 40)
    pairs = [[[far, "x"], ["B-PER", "O"]]]
    monkeypatch.setattr(tasks.hub, "rows", lambda *_: pairs)
    words = tasks.load("ner", "mlt", Source("hub")).splits["train"]
    assert words == [((near, "x"), ("B-PER", "O"))]
    pairs[:] = [[far, "travel"], ["x", "sports"]]
    assert tasks.load("tc", "mlt", Source("hub")).splits["test"][0] == (near, "travel")


BIO = "Ana B-PER\nlives O\nin O\nRome B-LOC\n\n"
POS = "Ana PROPN\nlives VERB\n\n"


@pytest.mark.parametrize(
    ("ending", "content", "form", "kind", "metric", "labels"),
    [
        ("tsv", rows("good", "bad"), "text", "sequence", "macro_f1", ("bad", "good")),
        ("csv", "sentence,class\na b,x\nc,y\n", "text", "sequence", "macro_f1", ("x", "y")),
        ("conll", BIO, "entities", "token", "span_f1", ("O", "B-LOC", "B-PER")),
        ("txt", POS, "words", "token", "accuracy", ("PROPN", "VERB")),
    ],
)
def test_labels_in_a_folder_say_what_they_are_for(
    tmp_path, capsys, ending, content, form, kind, metric, labels
):
    for part in tasks.PARTS:
        (tmp_path / f"{part}.{ending}").write_text(content, encoding="utf-8")
    task = tasks.of_files(tmp_path)
    assert (task.name, task.kind, task.metric, task.labels) == (form, kind, metric, labels)
    assert f"read as labels of the form {form!r}" in capsys.readouterr().out
    assert tasks.of_files(tmp_path, form).splits == task.splits
    assert [each["file"] for each in task.origin["files"]] == [
        f"{part}.{ending}" for part in tasks.PARTS
    ]


def test_one_file_of_labels_is_split_without_leaks(tmp_path):
    """A tenth of the different texts each; all examples of one text are on one side."""
    file = tmp_path / "all.tsv"
    lines = [f"text {n % 50}\t{'good' if n % 2 else 'bad'}" for n in range(120)]
    file.write_text("text\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")
    task = tasks.of_files(file)
    texts = {part: {text for text, _ in task.splits[part]} for part in tasks.PARTS}
    assert [len(texts[part]) for part in tasks.PARTS] == [40, 5, 5]
    assert not texts["train"] & (texts["dev"] | texts["test"]) and not texts["dev"] & texts["test"]
    assert sum(map(len, task.splits.values())) == 120
    assert tasks.of_files(file).splits == task.splits


@pytest.mark.parametrize(
    ("name", "content", "form", "said"),
    [
        ("a.tsv", "text\tlabel\nx\ty\n", "", "has only the label 'y'; a classifier needs two la"),
        ("a.tsv", "text\tlabel\nx\ty\nz\tw\n", "", "has no example, train has 'w', 'y'; a split"),
        ("a.tsv", rows("good", "bad"), "words", "words is read from .conllu or .conll or .txt"),
        ("a.tsv", rows("good", "bad"), "tags", "'tags' is none of text, entities, words"),
        ("a.txt", "Ana B-PER\nlives nowhere\n", "", "'nowhere' is not an entity tag"),
        ("a.pdf", "x", "text", "text is read from .tsv or .csv; name it so"),
        ("nothing.tsv", None, "", "nothing.tsv: cannot be read"),
    ],
)
def test_labels_that_cannot_be_read(tmp_path, name, content, form, said):
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match=said):
        tasks.of_files(tmp_path / name, form)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="needs one file 'train' as"):
        tasks.of_files(tmp_path / "empty")
