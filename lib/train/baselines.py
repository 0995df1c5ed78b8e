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
from lib.train import static

KINDS = ("majority", "ngrams", "static")
STRENGTHS = (0.1, 1.0, 10.0)  # scikit-learn's C, the strongest regularisation first
LONGEST = 5  # characters of the longest n-gram


def answer(task: Task, kind: str, teacher: tuple | None = None) -> dict:
    """Return the test scores (0 to 1) of a baseline, one of KINDS, on a task of `tasks.load`.

    `static` needs `teacher`, the pair (model, tokenizer).

    Keys: `scores` and `dev_scores` (of `metrics.score`), `tried` (an entry for each candidate: its
    settings and `dev_score`), `chosen` (the first entry with the best dev score), `parameters`
    (numbers stored), `gold` and `predictions` of the test split, and `seconds`. Words are answered
    one after another, each knowing the answer before. Raises StudyError for an unknown kind.
    """
    check_choice(kind, KINDS, "baseline")
    began, best, tried = time.monotonic(), None, []
    candidates = {
        ("majority", "sequence"): _majority_of_labels,
        ("majority", "token"): _majority_of_tags,
        ("ngrams", "sequence"): _texts,
        ("ngrams", "token"): _words,
    }.get((kind, task.kind)) or functools.partial(_static, teacher=teacher)
    for settings, parameters, answers in candidates(task):
        dev = score(task.metric, _gold(task, "dev"), answers("dev"))
        tried.append(settings | {"dev_score": dev[task.metric]})
        if best is None or dev[task.metric] > best[0][task.metric]:
            best = dev, tried[-1], parameters, answers
    dev, chosen, parameters, answers = best
    gold, predictions = _gold(task, "test"), answers("test")
    return {
        "scores": score(task.metric, gold, predictions),
        "dev_scores": dev,
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
    label = _most(Counter(_gold(task, "train")), task.labels)
    yield {}, 1, lambda part: [label] * len(task.splits[part])


def _majority_of_tags(task: Task):
    """One candidate: the most frequent tag of each word form of train.

    Other forms get O, or the most frequent tag where there is no O.
    """
    counts, all_tags = {}, Counter()
    for words, tags in task.splits["train"]:
        all_tags.update(tags)
        for word, tag in zip(words, tags, strict=True):
            counts.setdefault(word, Counter())[tag] += 1
    known = {word: _most(tags, task.labels) for word, tags in counts.items()}
    other = "O" if "O" in task.labels else _most(all_tags, task.labels)

    def answers(part):
        return [tuple(known.get(word, other) for word in words) for words, _ in task.splits[part]]

    yield {}, len(known) + 1, answers


def _candidates(metric: str) -> list[dict]:
    """Settings to choose from; for macro F1 also with the examples of rare labels weighted up."""
    return [
        {"strength": strength, "balanced": balanced}
        for balanced in ((False, True) if metric == "macro_f1" else (False,))
        for strength in STRENGTHS
    ]


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


def _static(task: Task, teacher: tuple):
    """Candidates on the teacher's input vectors; each word is answered on its own."""
    rows, of_words = static.features(task, *teacher), task.kind == "token"
    table = teacher[0].get_input_embeddings().weight.numel()
    gold = [tag for tags in _gold(task, "train") for tag in (tags if of_words else [tags])]
    gold = [task.labels.index(tag) for tag in gold]
    for settings in _candidates(task.metric):
        weights = _fitted(rows["train"], gold, settings, len(task.labels))

        def answers(part, weights=weights):
            best = (rows[part] @ weights[:-1] + weights[-1]).argmax(1)
            found = iter([task.labels[label] for label in best])
            if not of_words:
                return [*found]
            return [tuple(itertools.islice(found, len(tags))) for tags in _gold(task, part)]

        yield settings, weights.size + table, answers


def _texts(task: Task):
    """Candidates for texts: n-grams of 1 to 5 characters inside words, weighted by tf-idf."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = {part: [text for text, _ in examples] for part, examples in task.splits.items()}
    ngrams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, LONGEST), sublinear_tf=True)
    ngrams.fit(texts["train"])
    rows = {part: ngrams.transform(texts[part]) for part in texts}
    gold = [task.labels.index(label) for label in _gold(task, "train")]
    for settings in _candidates(task.metric):
        weights = _fitted(rows["train"], gold, settings, len(task.labels))

        def answers(part, weights=weights):
            sums = rows[part] @ weights[:-1] + weights[-1]
            return [task.labels[best] for best in sums.argmax(1)]

        yield settings, weights.size, answers


def _words(task: Task):
    """Candidates for words: n-grams of the word, edges of its neighbours, the tag before."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizers = [
        CountVectorizer(analyzer=features, binary=True, dtype=numpy.float64)
        for features in (_ngrams, _edges)
    ]
    forms = sorted({word for words, _ in task.splits["train"] for word in words} | {""})
    for vectorizer in vectorizers:
        vectorizer.fit(forms)
    rows = {part: _word_rows(task.splits[part], *vectorizers) for part in task.splits}
    number = {label: place for place, label in enumerate(task.labels)}
    sentences = [[number[tag] for tag in tags] for tags in _gold(task, "train")]
    gold = [tag for tags in sentences for tag in tags]
    before = [tag for tags in sentences for tag in (len(number), *tags)[:-1]]
    places = (numpy.ones(len(before)), (range(len(before)), before))
    before = csr_matrix(places, (len(before), len(number) + 1))
    for settings in _candidates(task.metric):
        weights = _fitted(hstack([rows["train"], before], "csr"), gold, settings, len(number))

        def answers(part, weights=weights):
            return _greedy(task, part, rows[part], weights)

        yield settings, weights.size, answers


def _greedy(task: Task, part: str, rows, weights) -> list[tuple[str, ...]]:
    """The tags of each sentence, from left to right; the tag before is the one just answered."""
    count, result = len(task.labels), []
    sums, by_tag_before = iter(rows @ weights[: -count - 2] + weights[-1]), weights[-count - 2 : -1]
    for words, _ in task.splits[part]:
        last, tags = count, []
        for _ in words:
            last = int((next(sums) + by_tag_before[last]).argmax())
            tags.append(task.labels[last])
        result.append(tuple(tags))
    return result


def _word_rows(examples: list, inner, outer):
    """One row a word: the edges of the word before, its n-grams, the edges of the word after."""
    from scipy.sparse import hstack
    from sklearn.preprocessing import normalize

    forms = sorted({word for words, _ in examples for word in words} | {""})
    number = {form: place for place, form in enumerate(forms)}
    inner, outer = normalize(inner.transform(forms)), normalize(outer.transform(forms))
    padded = [[number[word] for word in ("", *words, "")] for words, _ in examples]
    left, here, right = (
        [place for row in padded for place in row[start : len(row) - 2 + start]]
        for start in (0, 1, 2)
    )
    return hstack([outer[left], inner[here], outer[right]], "csr")


def _ngrams(word: str) -> list[str]:
    """Features of a word: every n-gram of up to 5 characters, its ends marked, and its edges."""
    marked = f"<{word.lower()}>"
    return [
        marked[begin : begin + length]
        for length in range(1, LONGEST + 1)
        for begin in range(len(marked) - length + 1)
    ] + _edges(word)


def _edges(word: str) -> list[str]:
    """Features of a neighbour: its form, its first and last three characters, its shape."""
    low = word.lower()
    return [f"form {low}", f"start {low[:3]}", f"end {low[-3:]}", f"shape {_shape(word)}"]


def _shape(word: str) -> str:
    """The kinds of the characters in turn: X capital, x letter, 9 digit, else the character."""
    kinds = [
        "X" if c.isupper() else "x" if c.isalpha() else "9" if c.isdigit() else c for c in word
    ]
    return "".join(kind for kind, _ in itertools.groupby(kinds))
