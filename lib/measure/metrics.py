"""Scores of the four downstream tasks, their spread over seeds, and an interval over test examples (the paper's step 5).

Three metrics, chosen by the task:

- `macro_f1` (topic, sentiment): the mean over labels of the F1 of each label. Labels that neither gold nor prediction
  holds are left out; a label that is never right counts 0 (scikit-learn with zero_division=0). `accuracy` stands beside it.
- `span_f1` (named entities): F1 over exact spans with their type, all types together, as seqeval counts by default:
  IOB2 read leniently, so that an I- without its B- opens a span, as in the CoNLL shared tasks. Not seqeval's strict mode.
- `accuracy` (part of speech): share of right words. `tag_span_f1` stands beside it: the authors' scripts give the tags to
  seqeval, which takes the first letter for B, I, O, E or S and the rest for a type, and so scores runs of tags, not words.

An empty prediction "" is no answer, as for a word lost by truncation: it is never right and opens no span.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import numpy
from seqeval.metrics.sequence_labeling import end_of_chunk, start_of_chunk
from sklearn.metrics import f1_score

from lib.data.tasks import NO_ANSWER
from lib.errors import StudyError

METRICS = ("macro_f1", "span_f1", "accuracy")


def score(metric: str, gold: Sequence, predicted: Sequence) -> dict[str, float]:
    """Return the scores by name, each from 0 to 1; the first is `metric` itself.

    `macro_f1`: gold and predicted are labels, one an example. `span_f1` and `accuracy`: they are sequences of tags, one
    sequence an example, one tag a word.
    Raises StudyError for an unknown metric, nothing to score, or gold and predicted of different lengths.
    Source: step 5; the authors score part of speech by `tag_span_f1` alone and with all sub-words.
    """
    _check(metric, gold, predicted)
    if metric == "macro_f1":
        labels = sorted({*gold, *predicted} - {NO_ANSWER})
        value = f1_score(
            list(gold), list(predicted), labels=labels, average="macro", zero_division=0
        )
        return {"macro_f1": float(value), "accuracy": _share_right(gold, predicted)}
    right = _share_right(
        [tag for tags in gold for tag in tags], [tag for tags in predicted for tag in tags]
    )
    spans = _f1(*_overlap(gold, predicted))
    return (
        {"span_f1": spans, "accuracy": right}
        if metric == "span_f1"
        else {"accuracy": right, "tag_span_f1": spans}
    )


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float, int]:
    """Return the mean, the sample deviation (divisor n - 1; nan for a single run) and n, in the unit of the values.

    Raises StudyError when there is no value or one of them is not a finite number.
    """
    values = [float("nan") if value is None else float(value) for value in values]
    if not values or not all(map(math.isfinite, values)):
        raise StudyError(
            f"A mean over runs needs at least one value and only finite ones; got {values}. Leave out runs "
            "without a score before averaging."
        )
    return fmean(values), stdev(values) if len(values) > 1 else float("nan"), len(values)


def interval(
    metric: str,
    gold: Sequence,
    predicted: Sequence,
    share: float = 0.95,
    rounds: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the lower and upper end (0 to 1) of the percentile bootstrap interval of `metric` over test examples.

    Examples (for tags: whole sentences) are drawn with replacement `rounds` times; `share` of the drawn scores lie inside.
    It says how far the score depends on which examples the test set holds, not on the training seed.
    Raises StudyError as `score` does, or for a share outside 0 to 1 or fewer than one round.
    Source: Efron (1979); not part of the paper.
    """
    (drawn,) = _drawn(metric, gold, [predicted], share, rounds, seed)
    low, high = numpy.quantile(drawn, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def paired_interval(
    metric: str,
    gold: Sequence,
    predicted: Sequence,
    reference: Sequence,
    share: float = 0.95,
    rounds: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the lower and upper end (-1 to 1) of the interval of `metric` of `predicted` minus that of `reference`.

    Both answer the same examples, and both are scored on each drawn test set, so what makes a test set hard for both cancels: the
    interval is narrower than two of `interval` suggest. 0 outside it: the sign of the difference does not hang on these examples.
    Raises StudyError as `interval` does.
    """
    ours, theirs = _drawn(metric, gold, [predicted, reference], share, rounds, seed)
    low, high = numpy.quantile(ours - theirs, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def _drawn(metric, gold, answers, share, rounds, seed):
    """The score of each of the `answers` on each drawn test set, (rounds,) each; all on the same test sets."""
    for predicted in answers:
        _check(metric, gold, predicted)
    if not 0 < share < 1 or rounds < 1:
        raise StudyError(
            f"An interval needs a share between 0 and 1 and at least one round; got {share} and {rounds}."
        )
    draws = numpy.random.default_rng(seed).multinomial(
        len(gold), [1 / len(gold)] * len(gold), size=rounds
    )
    return [
        _of_counts(metric, numpy.tensordot(draws, _counts(metric, gold, predicted), axes=1))
        for predicted in answers
    ]


def _of_counts(metric, counts):
    """The scores (rounds,) of counts (rounds, classes, 3)."""
    right, found, wanted = numpy.moveaxis(counts, 2, 0)  # (rounds, classes) each
    if metric == "accuracy":
        return right.sum(1) / wanted.sum(1)
    if metric == "span_f1":
        return 2 * right.sum(1) / numpy.maximum(found.sum(1) + wanted.sum(1), 1)
    return (2 * right / numpy.maximum(found + wanted, 1)).sum(1) / ((found + wanted) > 0).sum(1)


def _check(metric, gold, predicted):
    """Raise StudyError unless there is something to score and every gold item has its prediction."""
    if metric not in METRICS:
        raise StudyError(
            f"There is no metric {metric!r}; there are {', '.join(METRICS)}. Name one of them in params/tasks.yaml."
        )
    if len(gold) != len(predicted):
        raise StudyError(
            f"{metric} needs one prediction an example; got {len(gold)} gold and {len(predicted)} predicted."
        )
    if not len(gold):
        raise StudyError(f"{metric} needs at least one example; the split is empty.")
    if metric == "macro_f1":
        if any(label == NO_ANSWER for label in gold):
            raise StudyError("A gold label is empty; every example needs a label.")
        return
    for number, (tags, answers) in enumerate(zip(gold, predicted, strict=True), start=1):
        if len(tags) != len(answers):
            raise StudyError(
                f"{metric} needs one tag a word; example {number} has {len(tags)} words and {len(answers)} "
                "predicted tags. Fill words lost by truncation with an empty tag."
            )
        if NO_ANSWER in tags:
            raise StudyError(f"Example {number} has an empty gold tag; every word needs a tag.")
    if not any(len(tags) for tags in gold):
        raise StudyError(f"{metric} needs at least one word; all examples are empty.")


def _share_right(gold, predicted):
    """Share of equal items."""
    return sum(left == right for left, right in zip(gold, predicted, strict=True)) / len(gold)


def _overlap(gold, predicted):
    """Right, found and wanted spans over all examples; laid end to end with an O between them, as seqeval lays them."""
    wanted, found = (
        set(_spans([tag or "O" for tags in side for tag in (*tags, "O")]))
        for side in (gold, predicted)
    )
    return len(wanted & found), len(found), len(wanted)


def _spans(tags):
    """Spans (type, first, last) that seqeval sees; its own two rules, without its warning for each part-of-speech tag."""
    spans, first, previous = [], 0, ("O", "")
    for place, tag in enumerate(tags):
        current = tag[0], tag[1:].split("-", 1)[-1] or "_"
        borders = previous[0], current[0], previous[1], current[1]
        if end_of_chunk(*borders):
            spans.append((previous[1], first, place - 1))
        if start_of_chunk(*borders):
            first = place
        previous = current
    return spans


def _f1(right, found, wanted):
    """F1 from counts; 0 when there is nothing to find and nothing found."""
    return 2 * right / (found + wanted) if found + wanted else 0.0


def _counts(metric, gold, predicted):
    """Counts of right, found and wanted per example and class, (examples, classes, 3); spans and words form one class."""
    if metric == "macro_f1":
        classes = {
            label: place for place, label in enumerate(sorted({*gold, *predicted} - {NO_ANSWER}))
        }
        counts = numpy.zeros((len(gold), len(classes), 3))
        for row, (label, answer) in enumerate(zip(gold, predicted, strict=True)):
            counts[row, classes[label], 2] += 1
            if answer != NO_ANSWER:
                counts[row, classes[answer], 1] += 1
                counts[row, classes[answer], 0] += label == answer
        return counts
    if metric == "span_f1":
        rows = [_overlap([tags], [answers]) for tags, answers in zip(gold, predicted, strict=True)]
    else:
        rows = [
            (sum(a == b for a, b in zip(tags, answers, strict=True)), len(tags), len(tags))
            for tags, answers in zip(gold, predicted, strict=True)
        ]
    return numpy.array(rows, dtype=float)[:, None, :]
