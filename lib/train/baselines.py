"""Baselines without an encoder: a model has to score higher (beside step 5).

There are three, on the same splits, labels and measures as fine-tuning. `majority` answers the most
frequent label, for words the most frequent tag of each word form. `ngrams` is a linear classifier
(support vectors, each label against the rest) on character n-grams, `static` the same on the
teacher's input vectors of tokens. The dev score alone chooses the regularisation. Nothing is
random: the same data give the same answers.
"""

import functools
import itertools
import time
from collections import Counter
from collections.abc import Sequence

import numpy

from lib.checks import check_choice
from lib.data.tasks import Task
from lib.measure.metrics import score
from lib.train import features

KINDS = ("majority", "ngrams", "static")
STRENGTHS = (0.1, 1.0, 10.0)  # scikit-learn's C, the strongest regularisation first


def answer(task: Task, kind: str, teacher: tuple | None = None) -> dict:
    """Return the test scores (0 to 1) of a baseline, one of KINDS, on a task of `tasks.load`.

    `static` needs `teacher`, the pair (model, tokenizer).

    Keys: `scores` and `dev_scores` (of `metrics.score`), `tried` (an entry for each candidate: its
    settings and `dev_score`), `chosen` (the first entry with the best dev score), `parameters`
    (numbers stored), `gold` and `predictions` of the test split, and `seconds`. The n-grams answer
    words one after another, each knowing the answer before. Raises StudyError for an unknown kind.
    """
    check_choice(kind, KINDS, "baseline")
    began, tried = time.monotonic(), []
    if kind == "majority":
        candidates = [_majority(task)]
    elif kind == "ngrams":
        candidates = _linear(task, features.ngrams(task), tag_before=task.kind == "token")
    else:
        table = teacher[0].get_input_embeddings().weight.numel()
        candidates = _linear(task, features.static(task, *teacher), table)
    for settings, parameters, answers in candidates:
        dev = score(task.metric, _gold(task, "dev"), answers("dev"))
        tried.append((settings | {"dev_score": dev[task.metric]}, dev, parameters, answers))
    chosen, dev, parameters, answers = max(tried, key=lambda each: each[0]["dev_score"])
    gold, predictions = _gold(task, "test"), answers("test")
    return {
        "scores": score(task.metric, gold, predictions),
        "dev_scores": dev,
        "tried": [settings for settings, *_ in tried],
        "chosen": chosen,
        "parameters": parameters,
        "gold": gold,
        "predictions": predictions,
        "seconds": round(time.monotonic() - began, 3),
    }


def _gold(task: Task, part: str) -> list:
    return [label for _, label in task.splits[part]]


def _majority(task: Task):
    """The candidate (settings, numbers stored, answers of a part).

    A text gets the most frequent label of train, a word the most frequent tag of its form. Forms
    that train does not have get O, or the most frequent tag where there is no O.
    """
    of_words, counts, every = task.kind == "token", {}, Counter()
    for text, gold in task.splits["train"]:
        every.update(gold if of_words else [gold])
        for word, tag in zip(text, gold, strict=True) if of_words else ():
            counts.setdefault(word, Counter())[tag] += 1
    known = {word: _most(tags, task.labels) for word, tags in counts.items()}
    other = "O" if of_words and "O" in task.labels else _most(every, task.labels)

    def answers(part):
        if not of_words:
            return [other] * len(task.splits[part])
        return [tuple(known.get(word, other) for word in words) for words, _ in task.splits[part]]

    return {}, len(known) + 1, answers


def _most(counts: Counter, labels: Sequence[str]) -> str:
    """The most frequent label; among equals the first of `labels`."""
    return max(labels, key=lambda label: (counts[label], -labels.index(label)))


def _linear(task: Task, rows: dict, table: int = 0, tag_before: bool = False):
    """Candidates (settings, numbers stored, answers of a part) of a linear classifier on `rows`.

    For macro F1 there are also those with the examples of rare labels weighted up. `table` numbers
    are stored beside the weights. With `tag_before` the classifier knows the tag before each word.
    """
    from scipy.sparse import csr_matrix, hstack

    count, train = len(task.labels), rows["train"]
    number = {label: place for place, label in enumerate(task.labels)}
    gold = _gold(task, "train") if task.kind == "token" else [[tag] for tag in _gold(task, "train")]
    gold = [[number[tag] for tag in tags] for tags in gold]
    if tag_before:
        before = [tag for tags in gold for tag in (count, *tags)[:-1]]
        places = (numpy.ones(len(before)), (range(len(before)), before))
        train = hstack([train, csr_matrix(places, (len(before), count + 1))], "csr")
    gold = [tag for tags in gold for tag in tags]
    for balanced in (False, True) if task.metric == "macro_f1" else (False,):
        for strength in STRENGTHS:
            settings = {"strength": strength, "balanced": balanced}
            weights = _fitted(train, gold, settings, count)
            answers = functools.partial(_answers, task, rows, weights)
            yield settings, weights.size + table, answers


def _fitted(rows, gold: Sequence[int], settings: dict, labels: int):
    """Weights (features + 1, labels) of the linear classifier, the last row its constants."""
    from sklearn.svm import LinearSVC

    result = numpy.zeros((rows.shape[1] + 1, labels))
    # a label without examples (the limit of examples can leave it out) is never answered
    result[-1] = -numpy.inf
    if len(set(gold)) == 1:
        result[-1, gold[0]] = 0.0
        return result
    classifier = LinearSVC(
        C=settings["strength"],
        class_weight="balanced" if settings["balanced"] else None,
        random_state=0,
        max_iter=10000,
    )
    classifier.fit(rows, gold)
    weights = numpy.hstack([classifier.coef_, classifier.intercept_[:, None]]).T
    if weights.shape[1] == 1:  # two labels
        weights = numpy.hstack([-weights, weights])
    result[:, classifier.classes_] = weights
    return result


def _answers(task: Task, rows: dict, weights: numpy.ndarray, part: str) -> list:
    """The labels of the texts; or the tags of each sentence, from left to right.

    Where the weights are more than the features, the others are those of the tag before, and the
    tag before is the one just answered.
    """
    features = rows[part].shape[1]
    sums, by_tag_before = rows[part] @ weights[:features] + weights[-1], weights[features:-1]
    if task.kind == "sequence":
        return [task.labels[best] for best in sums.argmax(1)]
    result, of_words = [], iter(sums)
    for words, _ in task.splits[part]:
        last, tags = len(task.labels), []
        for of_word in itertools.islice(of_words, len(words)):
            last = int((of_word + by_tag_before[last] if len(by_tag_before) else of_word).argmax())
            tags.append(task.labels[last])
        result.append(tuple(tags))
    return result
