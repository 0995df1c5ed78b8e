"""Scores of the four downstream tasks, and their spread over seeds and test examples (step 5).

The task chooses one of three metrics:

- `macro_f1` (topic, sentiment): the mean over labels of the F1 of each label. Labels that neither
  gold nor predictions hold are left out; a label that is never right counts 0, as in scikit-learn
  with zero_division=0. `accuracy` stands beside it.
- `span_f1` (named entities): F1 over exact spans with their type, all types together, as seqeval
  counts by default: IOB2 read leniently, so that an I- without its B- opens a span.
- `accuracy` (part of speech): share of right words. `tag_span_f1` stands beside it: the authors'
  scripts give the tags to seqeval, which reads the first letter as B, I, O, E or S and the rest as
  a type, and so scores runs of tags, not words.

A prediction of "" is no answer, as for a word that the encoder does not see: it is never right and
opens no span.
"""

from collections.abc import Sequence

import numpy

from lib import checks
from lib.data.tasks import NO_ANSWER
from lib.errors import StudyError

METRICS = ("macro_f1", "span_f1", "accuracy")


def score(metric: str, gold: Sequence, predicted: Sequence) -> dict[str, float]:
    """The scores by name, each from 0 to 1; the first is `metric` itself.

    `macro_f1`: gold and predicted are labels, one an example. `span_f1` and `accuracy`: they are
    sequences of tags, one sequence an example, one tag a word. Raises StudyError for an unknown
    metric, nothing to score, or gold and predicted of different lengths.
    """
    _check(metric, gold, predicted)
    value = _of_all(metric, gold, predicted)
    if metric == "accuracy":
        return {"accuracy": value, "tag_span_f1": _of_all("span_f1", gold, predicted)}
    if metric == "macro_f1":
        gold, predicted = ([[label] for label in side] for side in (gold, predicted))
    return {metric: value, "accuracy": _of_all("accuracy", gold, predicted)}


def interval(
    metric: str,
    gold: Sequence,
    predicted: Sequence,
    reference: Sequence | None = None,
    rounds: int = 1000,
) -> tuple[float, float]:
    """Lower and upper end (0 to 1) of the 95 % bootstrap interval of `metric` over test examples.

    Examples (for tags: whole sentences) are drawn with replacement, `rounds` test sets with the
    seed 0. The interval shows how far the score depends on the choice of the test examples, not on
    the training seed. With the predictions of a `reference` it is that of the difference to them
    (-1 to 1): both are scored on each drawn test set, so the difficulty of a test set cancels out.
    Raises StudyError as `score` does. Source: Efron (1979); not in the paper.
    """
    sides = [predicted] if reference is None else [predicted, reference]
    for side in sides:
        _check(metric, gold, side)
    draws = numpy.random.default_rng(0).multinomial(
        len(gold), [1 / len(gold)] * len(gold), size=rounds
    )
    counts = (_counts(metric, gold, side) for side in sides)
    drawn, *others = (_value(metric, numpy.tensordot(draws, count, axes=1)) for count in counts)
    # Computed and not typed as 0.025 and 0.975: these differ in the last digit.
    low, high = numpy.quantile(drawn - sum(others), [(1 - 0.95) / 2, (1 + 0.95) / 2])
    return float(low), float(high)


def _of_all(metric, gold, predicted) -> float:
    """The score of all examples together."""
    if metric == "span_f1":  # seqeval lays the examples end to end with an O between them
        gold, predicted = (
            [[tag for tags in side for tag in (*tags, "O")]] for side in (gold, predicted)
        )
    return float(_value(metric, _counts(metric, gold, predicted).sum(0)))


def _check(metric, gold, predicted):
    """StudyError unless there is something to score and every gold item has its prediction."""
    checks.check_choice(metric, METRICS, "the metric of a task")
    if len(gold) != len(predicted):
        raise StudyError(
            f"{metric} needs one prediction an example; got {len(gold)} gold and {len(predicted)} "
            "predicted."
        )
    if metric == "macro_f1":
        gold, predicted = ([[label] for label in side] for side in (gold, predicted))
    if not any(len(tags) for tags in gold):
        raise StudyError(f"{metric} needs at least one label or word; the split is empty.")
    for number, (tags, answers) in enumerate(zip(gold, predicted, strict=True), start=1):
        if len(tags) != len(answers):
            raise StudyError(
                f"{metric} needs one tag a word; example {number} has {len(tags)} words and "
                f"{len(answers)} predicted tags. Fill lost words with an empty tag."
            )
        if NO_ANSWER in tags:
            raise StudyError(f"Example {number} has an empty gold label; give each its label.")


def _counts(metric, gold, predicted) -> numpy.ndarray:
    """Counts of right, predicted and gold items, (examples, classes, 3).

    Labels are the classes of `macro_f1`; all spans, or all words, form one class.
    """
    pairs = list(zip(gold, predicted, strict=True))
    if metric == "span_f1":
        spans = [(_spans(tags), _spans(answers)) for tags, answers in pairs]
        rows = [(len(wanted & found), len(found), len(wanted)) for wanted, found in spans]
        return numpy.array(rows, dtype=float)[:, None, :]
    if metric == "accuracy":
        rights = [sum(a == b for a, b in zip(*pair, strict=True)) for pair in pairs]
        rows = [(right, len(tags), len(tags)) for right, tags in zip(rights, gold, strict=True)]
        return numpy.array(rows, dtype=float)[:, None, :]
    labels = sorted({*gold, *predicted} - {NO_ANSWER})
    wanted, found = (
        numpy.array([[item == label for label in labels] for item in side], dtype=float)
        for side in (gold, predicted)
    )
    return numpy.stack([wanted * found, found, wanted], axis=2)


def _value(metric, counts: numpy.ndarray) -> numpy.ndarray:
    """The scores (...) of counts (..., classes, 3)."""
    right, found, wanted = numpy.moveaxis(counts, -1, 0)  # (..., classes) each
    if metric == "accuracy":
        return right.sum(-1) / numpy.maximum(wanted.sum(-1), 1)
    if metric == "span_f1":
        return 2 * right.sum(-1) / numpy.maximum(found.sum(-1) + wanted.sum(-1), 1)
    used = found + wanted
    return (2 * right / numpy.maximum(used, 1)).sum(-1) / (used > 0).sum(-1)


def _spans(tags) -> set[tuple[str, int, int]]:
    """Spans (type, first, last) by the two rules of seqeval.

    Its own function for spans would warn of every part-of-speech tag. The import takes seconds.
    """
    from seqeval.metrics.sequence_labeling import end_of_chunk, start_of_chunk

    spans, first, previous = set(), 0, ("O", "")
    for place, tag in enumerate([*(tag or "O" for tag in tags), "O"]):
        current = tag[0], tag[1:].split("-", 1)[-1] or "_"
        borders = previous[0], current[0], previous[1], current[1]
        if end_of_chunk(*borders):
            spans.add((previous[1], first, place - 1))
        if start_of_chunk(*borders):
            first = place
        previous = current
    return spans
