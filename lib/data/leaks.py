"""Whether text to train on holds what a task is tested on: a language model may know such examples by heart (beside steps 0 to 5).

python -m lib.leaks mini        for each language and task of a study: test examples, and how many stand in its text
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise

from lib.data import corpora, tasks
from lib.errors import StudyError
from lib.study import studies

RUN = 10  # successive words that two texts must share
SHORTEST = 5  # words; a shorter example says too little to be known again


def held(examples: Sequence[str], text: Iterable[str]) -> list[int]:
    """Numbers of the examples that share RUN successive words with a line of the text, or stand in it whole where they are shorter.

    Words are compared without case; punctuation and spaces do not count. Examples of fewer than SHORTEST words are never found.
    """
    runs: dict[tuple, set[int]] = {}
    for number, example in enumerate(examples):
        words = _words(example)
        size = min(RUN, len(words))
        for begin in range(len(words) - size + 1 if size >= SHORTEST else 0):
            runs.setdefault(tuple(words[begin : begin + size]), set()).add(number)
    sizes: dict[tuple, set[int]] = {}
    for run in runs:
        sizes.setdefault(run[:2], set()).add(len(run))
    found: set[int] = set()
    for line in text:
        words = _words(line)
        for begin, pair in enumerate(pairwise(words)):
            for size in sizes.get(pair, ()):
                found |= runs.get(tuple(words[begin : begin + size]), set())
    return sorted(found)


def table(study: str) -> list[tuple[str, str, int, int]]:
    """(language, task, test examples, those that `held` finds in the study's text to train on) for all of a study."""
    plan = studies.study(study)
    rows = []
    for language in dict.fromkeys(each for pair in plan.pairs for each in pair["languages"]):
        text = corpora.load(language, plan.source, "train", plan.corpus["train"])
        for task in plan.tasks:
            test = tasks.load(task, language, plan.source).splits["test"]
            examples = [each if isinstance(each, str) else " ".join(each) for each, _ in test]
            rows.append((language, task, len(examples), len(held(examples, text))))
    return rows


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def main() -> None:
    """Command line; see the head of this module."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.leaks", description="Test examples that stand in the text to train on."
    )
    parser.add_argument("study")
    try:
        for language, task, count, known in table(parser.parse_args().study):
            print(f"{language} {task:3} {count:6,} test examples, {known:,} in the text")
    except StudyError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
