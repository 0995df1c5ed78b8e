"""Tasks: labels, limits, encodings checked against a slow walk over sub-words, and every word counted."""

import json
import re

import pytest
import transformers

from lib import facts
from lib.data import tasks
from lib.data.tasks import Task
from lib.errors import StudyError
from lib.facts import Source
from lib.measure import metrics

PIECES = ["a", "b", "c", "d", "x", "##a", "##b", "##c", "##d"]


def wordpiece():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {piece: number for number, piece in enumerate(special + PIECES)}
    return transformers.BertTokenizer(vocab=vocab, do_lower_case=False, model_max_length=32)


def unigram():
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "▁b", "▁", *"abcdx", "<mask>"]
    return transformers.XLMRobertaTokenizer(
        vocab=[(piece, -float(number)) for number, piece in enumerate(pieces)], model_max_length=32
    )


TOKENIZERS = {"WordPiece": wordpiece, "Unigram": unigram}


def token_task(examples, labels=("O", "B-PER", "I-PER")):
    return Task("ner", "xyz", "token", "span_f1", labels, {"test": examples}, {})


EXAMPLES = [
    (("abcd", "a", "bc"), ("B-PER", "I-PER", "O")),
    (("x", "a b", "dd", "cccc"), ("O", "B-PER", "O", "O")),
]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("first", [True, False])
def test_encode_against_a_slow_walk(name, first):
    tokenizer, task = TOKENIZERS[name](), token_task(EXAMPLES)
    for encoded, (words, tags) in zip(
        tasks.encode(task, "test", tokenizer, 32, first), EXAMPLES, strict=True
    ):
        ids, labels = [tokenizer.cls_token_id], [-100]
        for word, tag in zip(words, tags, strict=True):
            pieces = tokenizer(word, add_special_tokens=False)[
                "input_ids"
            ]  # one word at a time, by itself
            ids += pieces
            labels += [task.labels.index(tag)] + [-100 if first else task.labels.index(tag)] * (
                len(pieces) - 1
            )
        assert encoded == {
            "input_ids": [*ids, tokenizer.sep_token_id],
            "labels": [*labels, -100],
            "attention_mask": [1] * (len(ids) + 1),
        }


@pytest.mark.parametrize("name", TOKENIZERS)
def test_decode_gives_back_what_was_labelled(name):
    tokenizer, task = TOKENIZERS[name](), token_task(EXAMPLES)
    for first in (True, False):
        answers = [
            [max(label, 0) for label in each["labels"]] + [1, 1]
            for each in tasks.encode(task, "test", tokenizer, 32, first)
        ]
        gold, predicted = tasks.decode(
            task, "test", tokenizer, 32, answers
        )  # two places of padding are not read
        assert gold == predicted == [tags for _, tags in EXAMPLES]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_lost_words_count_as_wrong(name):
    tokenizer = TOKENIZERS[name]()
    task = token_task([(("a",) * 6, ("B-PER",) * 6), (("a", "\u200b", "a"), ("O", "O", "B-PER"))])
    encoded = tasks.encode(task, "test", tokenizer, 5)
    assert all(len(each["input_ids"]) <= 5 for each in encoded)
    answers = [[max(label, 0) for label in each["labels"]] for each in encoded]
    gold, predicted = tasks.decode(task, "test", tokenizer, 5, answers)
    assert [len(tags) for tags in predicted] == [6, 3] == [len(tags) for tags in gold]
    kept = sum(tag != "" for tag in predicted[0])
    assert kept == sum(label != -100 for label in encoded[0]["labels"]) == 3
    assert predicted[0] == ("B-PER",) * 3 + ("",) * 3
    assert metrics.score("accuracy", gold[:1], predicted[:1])["accuracy"] == 3 / 6
    assert metrics.score("span_f1", gold[:1], predicted[:1])["span_f1"] == pytest.approx(
        2 * 3 / (6 + 3)
    )


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_share_of_words_cut_off(name):
    tokenizer = TOKENIZERS[name]()
    task = token_task([(("a",) * 6, ("O",) * 6), (("a", "b"), ("O", "O"))])
    assert tasks.cut_off(task, "test", tokenizer, 5) == pytest.approx(
        3 / 8
    )  # three words and the special tokens
    assert tasks.cut_off(task, "test", tokenizer, 32) == 0
    text = tasks.Task("tc", "xyz", "sequence", "macro_f1", ("x",), {"test": [("a a a a", "x")]}, {})
    assert tasks.cut_off(text, "test", tokenizer, 4) == 0.5


def test_a_word_without_sub_words():
    tokenizer, task = (
        wordpiece(),
        token_task([(("a", "\u200b", "b"), ("O", "O", "B-PER"))]),
    )  # the normaliser drops a zero-width space
    encoded = tasks.encode(task, "test", tokenizer, 32)
    assert encoded[0]["labels"] == [-100, 0, 1, -100]
    assert tasks.decode(task, "test", tokenizer, 32, [[0, 0, 1, 0]])[1] == [("O", "", "B-PER")]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_sequence(name):
    tokenizer = TOKENIZERS[name]()
    task = Task(
        "sa",
        "xyz",
        "sequence",
        "macro_f1",
        ("bad", "good"),
        {"dev": [("a b a b a b a", "good"), ("c", "bad")]},
        {},
    )
    encoded = tasks.encode(task, "dev", tokenizer, 6)
    assert [each["labels"] for each in encoded] == [1, 0] and len(encoded[0]["input_ids"]) == 6
    assert encoded[1]["input_ids"] == tokenizer("c")["input_ids"] and set(encoded[1]) == {
        "input_ids",
        "attention_mask",
        "labels",
    }
    assert tasks.decode(task, "dev", tokenizer, 6, [1, 1]) == (["good", "bad"], ["good", "good"])


def test_encode_refusals():
    tokenizer, task = wordpiece(), token_task(EXAMPLES)
    for call, said in [
        (lambda: tasks.encode(task, "dev", tokenizer, 9), "no split called 'dev'"),
        (lambda: tasks.encode(task, "test", tokenizer, 33), "takes 3 to 32"),
        (lambda: tasks.encode(task, "test", tokenizer, 2), "takes 3 to 32"),
        (
            lambda: tasks.decode(task, "test", tokenizer, 9, [[0] * 9]),
            "1 predictions for the 2 examples",
        ),
        (lambda: tasks.decode(task, "test", tokenizer, 9, [[0], [0]]), "example 1 has"),
    ]:
        with pytest.raises(StudyError, match=said):
            call()


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
        tasks.load("sa", "xyz", source, limit=2, test_limit=3),
    )
    assert [len(some.splits[part]) for part in tasks.PARTS] == [10, 10, 9]
    assert [len(fewer.splits[part]) for part in tasks.PARTS] == [
        2,
        2,
        3,
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
            {"train": ("a", "b"), "dev": ("c", "a"), "test": ("a",)},
            "dev has 'c', train only 'a', 'b'",
        ),
        ({"train": ("a", "b"), "dev": ("a",), "test": ("d", "c")}, "test has 'c', 'd', train only"),
        ({"train": ("a", "a"), "dev": ("a",), "test": ("a",)}, "only the label 'a'"),
        ({"train": ("a", "b"), "dev": ("a",), "test": ()}, r"test\.tsv: holds no example"),
        ({"train": ("a", "b"), "dev": ("a",)}, r"needs one file test\.tsv; it has none"),
    ],
)
def test_refused_files(tmp_path, files, said):
    source = put(
        tmp_path, **{f"sentiment__{part}_tsv": rows(*labels) for part, labels in files.items()}
    )
    with pytest.raises(StudyError, match=said):
        tasks.load("sa", "xyz", source)


@pytest.mark.parametrize(
    ("task", "language", "kind", "limit", "said"),
    [
        ("qa", "xyz", "local", 0, "'qa'; params/tasks.yaml has tc, sa, ner, pos"),
        ("sa", "slk", "local", 0, "no sa data of 'slk'; it has xyz"),
        ("tc", "xyz", "local", 0, "it has nothing"),
        ("sa", "../xyz", "local", 0, "no sa data of '../xyz'"),
        ("sa", "xyz", "web", 0, "'web'"),
        ("sa", "xyz", "local", -1, "limits of -1"),
        ("ner", "xyz", "local", 0, "train.conll and train.txt"),
    ],
)
def test_refused_requests(tmp_path, task, language, kind, limit, said):
    root = put(
        tmp_path, sentiment__train_tsv=rows("a"), ner__train_txt="a O\n", ner__train_conll="a O\n"
    ).root
    with pytest.raises(StudyError, match=re.escape(said)):
        tasks.load(task, language, Source(kind, root), limit)


def test_a_split_emptied_by_dropping_labels():
    with pytest.raises(StudyError, match="the dev split is empty"):
        tasks._labels(
            "sa in xyz",
            "sequence",
            {"train": [("x", "a"), ("y", "b")], "dev": [], "test": [("x", "a")]},
            {},
        )


@pytest.mark.parametrize("task", ["tc", "sa", "ner", "pos"])
def test_sample(task):
    loaded = tasks.load(task, "mlt", Source("sample"), limit=40, test_limit=20)
    assert [len(loaded.splits[part]) for part in tasks.PARTS] == [40, 40, 20]
    assert loaded.metric == facts.fact("tasks", task)["metric"] in metrics.METRICS
    assert loaded.labels[0] == "O" or "O" not in loaded.labels


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
