"""Baselines by hand, against scikit-learn's own pipelines, and on the embedded tasks."""

from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from lib.data import tasks
from lib.errors import StudyError
from lib.facts import Source
from lib.measure import metrics
from lib.train import baselines

pytestmark = pytest.mark.slow

SAMPLE = [(task, language) for task in ("tc", "sa", "ner", "pos") for language in ("mlt", "swh")]


def task(kind, train, dev, test, metric):
    """A task of these splits, its labels in the order `tasks.load` gives them."""
    found = {label for _, gold in train for label in ([gold] if kind == "sequence" else gold)}
    return tasks.Task(
        "toy",
        "mlt",
        kind,
        metric,
        tuple(sorted(found, key=lambda label: (label != "O", label))),
        {"train": train, "dev": dev, "test": test},
        {},
    )


def texts(*labels):
    return [(f"text {place}", label) for place, label in enumerate(labels)]


def tagged(*sentences):
    """Sentences written as "word/TAG word/TAG"."""
    pairs = [[word.split("/") for word in sentence.split()] for sentence in sentences]
    return [(tuple(word for word, _ in each), tuple(tag for _, tag in each)) for each in pairs]


def test_majority_of_labels_by_hand():
    found = baselines.answer(
        task("sequence", texts("b", "a", "b"), texts("a"), texts("b", "a", "b", "b"), "macro_f1"),
        "majority",
    )
    assert (
        found["predictions"] == ["b"] * 4
        and found["gold"] == ["b", "a", "b", "b"]
        and found["parameters"] == 1
    )
    assert found["scores"] == {
        "macro_f1": pytest.approx((2 * 3 / (4 + 3) + 0) / 2),
        "accuracy": 0.75,
    }
    assert found["dev_scores"]["accuracy"] == 0.0 and found["tried"] == [found["chosen"]] == [
        {"dev_score": 0.0}
    ]


def test_among_equal_labels_the_first_is_taken():
    assert baselines.answer(
        task("sequence", texts("b", "a"), texts("a"), texts("a"), "macro_f1"), "majority"
    )["predictions"] == ["a"]


def test_majority_of_tags_by_hand():
    train = tagged("run/NOUN run/VERB run/VERB the/DET", "fish/NOUN fish/VERB dog/NOUN cat/NOUN")
    test = tagged("the/DET run/NOUN fish/VERB whale/NOUN", "The/DET")
    found = baselines.answer(task("token", train, train, test, "accuracy"), "majority")
    # fish is as often one as the other: the first label
    # whale and The were never seen: the most frequent tag
    assert found["predictions"] == [("DET", "VERB", "NOUN", "NOUN"), ("NOUN",)]
    assert found["scores"]["accuracy"] == pytest.approx(2 / 5) and found["parameters"] == 5 + 1


def test_a_name_never_seen_is_no_name():
    """Even where most words of train are names."""
    train = tagged("Ana/B-PER Borg/I-PER", "Ana/B-PER reads/O", "Zejt/B-LOC")
    found = baselines.answer(
        task("token", train, train, tagged("Ana/B-PER Vella/I-PER reads/O"), "span_f1"), "majority"
    )
    assert found["predictions"] == [("B-PER", "O", "O")] and found["scores"]["span_f1"] == 0.0


@pytest.mark.parametrize(("name", "language"), SAMPLE)
def test_majority_on_the_embedded_tasks_is_what_counting_says(name, language):
    """Counted again with other tools; where counts are equal, any most frequent label will do."""
    data = tasks.load(name, language, Source("sample"), 80)
    found = baselines.answer(data, "majority")
    if data.kind == "sequence":
        (label,), counts = (
            set(found["predictions"]),
            Counter(label for _, label in data.splits["train"]),
        )
        assert counts[label] == max(counts.values())
        gold = [label for _, label in data.splits["test"]]
        assert found["scores"]["macro_f1"] == pytest.approx(
            f1_score(gold, found["predictions"], average="macro", zero_division=0)
        )
        return
    counts, every = (
        defaultdict(Counter),
        Counter(tag for _, tags in data.splits["train"] for tag in tags),
    )
    for words, tags in data.splits["train"]:
        for word, tag in zip(words, tags, strict=True):
            counts[word][tag] += 1
    for (words, _), answers in zip(data.splits["test"], found["predictions"], strict=True):
        for word, answer in zip(words, answers, strict=True):
            if word in counts:
                assert counts[word][answer] == max(counts[word].values())
            else:
                assert answer == ("O" if name == "ner" else every.most_common(1)[0][0])


@pytest.mark.parametrize(("name", "language"), SAMPLE)
def test_ngrams_beat_the_majority_on_the_embedded_tasks_and_twice_give_the_same(name, language):
    data = tasks.load(name, language, Source("sample"), 150)
    floor, first, second = (
        baselines.answer(data, kind) for kind in ("majority", "ngrams", "ngrams")
    )
    assert first["scores"][data.metric] > floor["scores"][data.metric] + 0.02
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert first["scores"] == metrics.score(data.metric, first["gold"], first["predictions"])
    assert first["gold"] == [gold for _, gold in data.splits["test"]]


@pytest.mark.parametrize("language", ["slk", "swh"])
def test_ngrams_of_texts_are_scikit_learns_pipeline(language):
    """The grid by hand: the first of the best by dev macro F1; two labels and seven."""
    for name in ("sa", "tc"):
        data = tasks.load(name, language, Source("sample"), 120)
        (x, y), (dev_x, dev_y), (test_x, _) = (
            zip(*data.splits[part], strict=True) for part in tasks.PARTS
        )
        results = []
        for balanced in (None, "balanced"):
            for strength in (0.1, 1, 10):
                machine = make_pipeline(
                    TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 5), sublinear_tf=True),
                    LinearSVC(C=strength, class_weight=balanced, random_state=0, max_iter=10000),
                ).fit(x, y)
                dev = f1_score(dev_y, machine.predict(dev_x), average="macro", zero_division=0)
                results.append((dev, {"strength": strength, "balanced": bool(balanced)}, machine))
        found = baselines.answer(data, "ngrams")
        assert [each["dev_score"] for each in found["tried"]] == pytest.approx(
            [dev for dev, _, _ in results]
        )
        dev, settings, machine = max(results, key=lambda result: result[0])
        assert found["chosen"] == settings | {"dev_score": pytest.approx(dev)}
        assert found["predictions"] == machine.predict(test_x).tolist()


def shape(word):
    kinds = [
        "X" if c.isupper() else "x" if c.isalpha() else "9" if c.isdigit() else c for c in word
    ]
    return "".join(kinds[:1] + [b for a, b in pairwise(kinds) if a != b])


def edges(word):
    low = word.lower()
    return {("form", low), ("start", low[:3]), ("end", low[-3:]), ("shape", shape(word))}


def runs(word):
    marked = f"<{word.lower()}>"
    return {
        marked[start:end]
        for start in range(len(marked))
        for end in range(start + 1, min(start + 5, len(marked)) + 1)
    } | edges(word)


def features(words, place, before, seen):
    """The features of a word as named numbers: the word, its two neighbours and the tag before.

    What no word of train has is left out, and each third has length one.
    """

    def third(name, found, known):
        return {f"{name} {each}": len(found & known) ** -0.5 for each in found & known}

    padded = ("", *words, "")
    return {
        **third("own", runs(words[place]), set().union(*map(runs, seen))),
        f"before {before}": 1.0,
        **third("left", edges(padded[place]), set().union(*map(edges, seen))),
        **third("right", edges(padded[place + 2]), set().union(*map(edges, seen))),
    }


def greedily(machine, known, words, seen):
    """Tags of a sentence, each chosen knowing the one before."""
    tags = []
    for place in range(len(words)):
        row = known.transform([features(words, place, tags[-1] if tags else None, seen)]).toarray()
        tags.append(str(machine.predict(row)[0]))
    return tuple(tags)


def test_ngrams_of_words_are_a_classifier_on_named_features_that_goes_from_left_to_right():
    """The same features as dictionaries, the same classifier, one word after another."""
    data = tasks.load("ner", "mlt", Source("sample"), 25)
    data.splits["test"] = data.splits["test"][:30]
    seen = {"", *(word for words, _ in data.splits["train"] for word in words)}
    rows, gold = zip(
        *[
            (features(words, place, tags[place - 1] if place else None, seen), tag)
            for words, tags in data.splits["train"]
            for place, tag in enumerate(tags)
        ],
        strict=True,
    )
    known, results = DictVectorizer(), []
    matrix = known.fit_transform(rows)
    matrix.indices, matrix.indptr = (
        matrix.indices.astype("int32"),
        matrix.indptr.astype("int32"),
    )  # what the machine takes
    for strength in (0.1, 1, 10):
        machine = LinearSVC(C=strength, random_state=0, max_iter=10000).fit(matrix, gold)
        dev = metrics.score(
            "span_f1",
            [tags for _, tags in data.splits["dev"]],
            [greedily(machine, known, words, seen) for words, _ in data.splits["dev"]],
        )
        results.append((dev["span_f1"], machine))
    found = baselines.answer(data, "ngrams")
    assert [each["dev_score"] for each in found["tried"]] == pytest.approx(
        [dev for dev, _ in results]
    )
    _, machine = max(results, key=lambda result: result[0])
    assert found["predictions"] == [
        greedily(machine, known, words, seen) for words, _ in data.splits["test"]
    ]


def test_a_label_that_no_example_has_is_never_answered():
    """A limit can leave a label out of train, even all but one."""
    data = task("token", tagged("a/X b/Y", "c/Z"), tagged("a/X"), tagged("a/X c/Z"), "accuracy")
    data.splits["train"] = tagged("a/X b/Y a/X")
    assert {tag for tags in baselines.answer(data, "ngrams")["predictions"] for tag in tags} <= {
        "X",
        "Y",
    }
    data.splits["train"] = tagged("a/Y b/Y")
    assert baselines.answer(data, "ngrams")["predictions"] == [("Y", "Y")]


def test_the_test_split_chooses_nothing():
    data = tasks.load("sa", "mlt", Source("sample"), 100)
    before = baselines.answer(data, "ngrams")
    data.splits["test"] = [(text, data.labels[0]) for text, _ in data.splits["test"]]
    after = baselines.answer(data, "ngrams")
    assert (after["chosen"], after["predictions"], after["tried"]) == (
        before["chosen"],
        before["predictions"],
        before["tried"],
    )


def test_an_unknown_kind_is_refused():
    with pytest.raises(
        StudyError, match="baseline: 'best' is none of majority, ngrams, static; take one"
    ):
        baselines.answer(
            task("sequence", texts("a", "b"), texts("a"), texts("a"), "macro_f1"), "best"
        )
