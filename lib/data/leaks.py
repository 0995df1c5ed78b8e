"""Whether text to train on contains test examples of a task: a model may know those by heart."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise

from lib.data import corpora, tasks
from lib.facts import Source

RUN = 10  # successive words that two texts must share
SHORTEST = 5  # words; a shorter example is too common to count
# \w has no vowel signs of Hindi and no tones of Yoruba, and would cut words at each of them
_MARKS = "".join(c for c in map(chr, range(0x300, 0x20000)) if unicodedata.category(c)[0] == "M")
_WORD = re.compile(rf"[\w{_MARKS}]+")


def held(examples: Sequence[str], text: Iterable[str]) -> list[int]:
    """Return the numbers of the examples that share RUN successive words with a line of the text.

    A shorter example must be in the line whole; one of fewer than SHORTEST words never counts.
    Words are compared without case, and punctuation and spaces do not count.
    """
    runs: dict[tuple, set[int]] = {}
    for number, example in enumerate(examples):
        words = _words(example)
        size = min(RUN, len(words))
        for begin in range(len(words) - size + 1 if size >= SHORTEST else 0):
            runs.setdefault(tuple(words[begin : begin + size]), set()).add(number)
    sizes: dict[tuple, set[int]] = {}  # by the first two words, so that few runs are built
    for run in runs:
        sizes.setdefault(run[:2], set()).add(len(run))
    known: set[int] = set()
    for line in text:
        words = _words(line)
        for begin, pair in enumerate(pairwise(words)):
            for size in sizes.get(pair, ()):
                known |= runs.get(tuple(words[begin : begin + size]), set())
    return sorted(known)


def table(
    languages: Iterable[str], names: Iterable[str], source: Source, sentences: int
) -> list[tuple[str, str, int, int]]:
    """Return (language, task, number of test examples, number of them in the text) for each pair.

    names: tasks. sentences: how many the models train on; 0 for all.
    """
    rows = []
    for language in languages:
        text = corpora.load(language, source, "train", sentences)
        for name in names:
            test = tasks.load(name, language, source).splits["test"]
            examples = [words if isinstance(words, str) else " ".join(words) for words, _ in test]
            rows.append((language, name, len(examples), len(held(examples, text))))
    return rows


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
