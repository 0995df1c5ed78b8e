"""What a task yields without an encoder: the score a model has to beat before its score says anything about it (beside step 5).

Two answers, from the same splits, labels and measures as fine-tuning: `majority` knows the most frequent label, for words the most
frequent tag of each word form; `ngrams` is a linear classifier (support vectors, each label against the rest) on runs of characters.
How strongly it is regularised is chosen by the dev score alone. Nothing is drawn: the same data give the same answers.
"""

import time
from collections import Counter
from collections.abc import Sequence

import numpy
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from lib.data.tasks import Task
from lib.errors import StudyError
from lib.measure.metrics import score
from lib.study.studies import BASELINES

STRENGTHS = (0.1, 1.0, 10.0)  # scikit-learn's C, the strongest regularisation first
LONGEST = 5  # characters of the longest run


def answer(task: Task, kind: str) -> dict:
    """Return the test scores (0 to 1) of the baseline `kind`, majority or ngrams, on a task of `tasks.load`.

    Keys: `scores` and `dev_scores` (of `metrics.score`), `tried` (one entry a candidate: its settings and `dev_score`), `chosen`
    (the first entry with the best dev score), `parameters` (numbers stored), `gold` and `predictions` of the test split, as
    `metrics.interval` takes them, and `seconds`. Words are answered one after another, each knowing the answer to the one before.
    Raises StudyError for an unknown kind.
    """
    if kind not in BASELINES:
        raise StudyError(
            f"no baseline called {kind!r}; there are {', '.join(BASELINES)}: take one of these"
        )
    began, best, tried = time.monotonic(), None, []
    maker = (
        (_majority_of_labels if task.kind == "sequence" else _majority_of_tags)
        if kind == "majority"
        else (_texts if task.kind == "sequence" else _words)
    )
    for settings, parameters, answers in maker(task):
        found = score(task.metric, _gold(task, "dev"), answers("dev"))
        tried.append(settings | {"dev_score": found[task.metric]})
        if best is None or found[task.metric] > best[0][task.metric]:
            best = found, tried[-1], parameters, answers
    found, chosen, parameters, answers = best
    gold, predictions = _gold(task, "test"), answers("test")
    return {
        "scores": score(task.metric, gold, predictions),
        "dev_scores": found,
        "tried": tried,
        "chosen": chosen,
        "parameters": parameters,
        "gold": gold,
        "predictions": predictions,
        "seconds": round(time.monotonic() - began, 3),
    }


def _gold(task: Task, part: str) -> list:
    return [label for _, label in task.splits[part]]


def _most(counts: Counter, labels: Sequence[str]) -> str:
    """The most frequent label; among equals the first of `labels`."""
    return max(labels, key=lambda label: (counts[label], -labels.index(label)))


def _majority_of_labels(task: Task):
    """One candidate: the most frequent label of train, whatever the text."""
    usual = _most(Counter(_gold(task, "train")), task.labels)
    yield {}, 1, lambda part: [usual] * len(task.splits[part])


def _majority_of_tags(task: Task):
    """One candidate: the most frequent tag of each word form of train; for other forms O, or without it the most frequent tag."""
    forms, all_tags = {}, Counter()
    for words, tags in task.splits["train"]:
        all_tags.update(tags)
        for word, tag in zip(words, tags, strict=True):
            forms.setdefault(word, Counter())[tag] += 1
    usual = {word: _most(counts, task.labels) for word, counts in forms.items()}
    other = "O" if "O" in task.labels else _most(all_tags, task.labels)
    yield (
        {},
        len(usual) + 1,
        lambda part: [
            tuple(usual.get(word, other) for word in words) for words, _ in task.splits[part]
        ],
    )


def _candidates(metric: str):
    """Settings to choose from; where rare labels count as much as frequent ones, also with their examples weighted up."""
    return [
        {"strength": strength, "balanced": balanced}
        for balanced in ((False, True) if metric == "macro_f1" else (False,))
        for strength in STRENGTHS
    ]


def _fitted(rows, gold: Sequence[int], settings: dict, labels: int):
    """Weights (features + 1, labels) of the linear classifier, the last row its constants."""
    result = numpy.zeros((rows.shape[1] + 1, labels))
    result[
        -1
    ] = -numpy.inf  # a label that no example has (a limit can leave it out) is never answered
    if len(set(gold)) == 1:
        result[-1, gold[0]] = 0.0
        return result
    machine = LinearSVC(
        C=settings["strength"],
        class_weight="balanced" if settings["balanced"] else None,
        random_state=0,
        max_iter=10000,
    )
    machine.fit(rows, gold)
    weights = numpy.hstack([machine.coef_, machine.intercept_[:, None]]).T
    result[:, machine.classes_] = (
        numpy.hstack([-weights, weights]) if weights.shape[1] == 1 else weights
    )
    return result


def _texts(task: Task):
    """Candidates on texts: runs of 1 to 5 characters inside words, by tf-idf."""
    runs = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(1, LONGEST), sublinear_tf=True, dtype=numpy.float64
    )
    rows = {"train": runs.fit_transform([text for text, _ in task.splits["train"]])}
    rows |= {
        part: runs.transform([text for text, _ in task.splits[part]]) for part in ("dev", "test")
    }
    gold = [task.labels.index(label) for label in _gold(task, "train")]
    for settings in _candidates(task.metric):
        weights = _fitted(rows["train"], gold, settings, len(task.labels))

        def answers(part, weights=weights):
            return [
                task.labels[best] for best in (rows[part] @ weights[:-1] + weights[-1]).argmax(1)
            ]

        yield settings, weights.size, answers


def _words(task: Task):
    """Candidates on words: the characters of a word, form and ending of its neighbours, the tag before it."""
    own, near = (
        CountVectorizer(analyzer=pieces, binary=True, dtype=numpy.float64)
        for pieces in (_runs, _edges)
    )
    forms = sorted({word for words, _ in task.splits["train"] for word in words} | {""})
    own.fit(forms)
    near.fit(forms)
    rows = {part: _word_rows(task.splits[part], own, near) for part in task.splits}
    number = {label: place for place, label in enumerate(task.labels)}
    gold = [number[tag] for tags in _gold(task, "train") for tag in tags]
    before = [
        number[tag] if place else len(number)
        for tags in _gold(task, "train")
        for place, tag in enumerate((None, *tags[:-1]))
    ]
    before = csr_matrix(
        (numpy.ones(len(before)), (range(len(before)), before)), (len(before), len(number) + 1)
    )
    for settings in _candidates(task.metric):
        weights = _fitted(hstack([rows["train"], before], "csr"), gold, settings, len(number))

        def answers(part, weights=weights):
            return _greedy(task, part, rows[part], weights)

        yield settings, weights.size, answers


def _greedy(task: Task, part: str, rows, weights) -> list[tuple[str, ...]]:
    """The tags of each sentence, from left to right; the tag before is the one just answered."""
    tags, result = len(task.labels), []
    places, after = iter(rows @ weights[: -tags - 2] + weights[-1]), weights[-tags - 2 : -1]
    for words, _ in task.splits[part]:
        last, found = tags, []
        for _ in words:
            last = int((next(places) + after[last]).argmax())
            found.append(task.labels[last])
        result.append(tuple(found))
    return result


def _word_rows(examples: list, own: CountVectorizer, near: CountVectorizer):
    """One row a word: its own features and those of the word before and after it, each third of length one."""
    forms = sorted({word for words, _ in examples for word in words} | {""})
    number = {form: place for place, form in enumerate(forms)}
    inner, outer = normalize(own.transform(forms)), normalize(near.transform(forms))
    padded = [[number[word] for word in ("", *words, "")] for words, _ in examples]
    left, here, right = (
        [place for row in padded for place in row[start : len(row) - 2 + start]]
        for start in (0, 1, 2)
    )
    return hstack([outer[left], inner[here], outer[right]], "csr")


def _runs(word: str) -> list[str]:
    """Features of a word: every run of up to 5 characters, its ends marked, the whole form, its shape."""
    marked = f"<{word.lower()}>"
    return [
        marked[at : at + length]
        for length in range(1, LONGEST + 1)
        for at in range(len(marked) - length + 1)
    ] + _edges(word)


def _edges(word: str) -> list[str]:
    """Features of a neighbour: its form, its first and last three characters, its shape."""
    low = word.lower()
    return [f"form {low}", f"start {low[:3]}", f"end {low[-3:]}", f"shape {_shape(word)}"]


def _shape(word: str) -> str:
    """A letter for each kind of character in turn: X capital, x other letter, 9 digit, else the character; repeats are dropped."""
    kinds = [
        "X" if each.isupper() else "x" if each.isalpha() else "9" if each.isdigit() else each
        for each in word
    ]
    return "".join(
        kind for place, kind in enumerate(kinds) if not place or kind != kinds[place - 1]
    )
