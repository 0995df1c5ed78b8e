"""Published numbers, and tables in Markdown."""

import math

import pandas

from lib import facts, files
from lib.errors import StudyError


def published(name: str) -> pandas.DataFrame:
    """The published numbers of data/paper/<name>.csv; the column `source` says their origin."""
    known = sorted(file.stem for file in files.PAPER.glob("*.csv"))
    if name not in known:
        raise StudyError(
            f"no published numbers called {name!r}; data/paper has {', '.join(known)}: take one of "
            "these"
        )
    return pandas.read_csv(files.PAPER / f"{name}.csv")


def text_seen(teacher: str) -> dict[str, float]:
    """Language -> amount of its text in the teacher's pre-training: in GB where it is published, in
    sentences for a teacher of ours (inf: all there are).
    """
    entry = facts.fact("models", teacher)
    if "text" in entry:
        return {language: float(count) or math.inf for language, count in entry["text"].items()}
    seen = published("pretraining_text")
    seen = seen[(seen["stage"] == "pre-training") & (seen["teacher"] == teacher)]
    return dict(zip(seen["language"], seen["amount"].astype(float), strict=True))


def to_markdown(frame: pandas.DataFrame, left: int = 1) -> str:
    """`frame` as a Markdown table without its index, its first `left` columns set flush left."""
    lines = [list(frame.columns), *frame.itertuples(index=False, name=None)]
    lines = [[" ".join(str(value).replace("|", "\\|").split()) for value in line] for line in lines]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * (width - (place >= left)) for place, width in enumerate(widths)]
    lines.insert(1, [line + ":" * (place >= left) for place, line in enumerate(rule)])
    text = ""
    for line in lines:
        cells = zip(line, widths, strict=True)
        padded = (
            f"{cell:{'<>'[place >= left]}{width}}" for place, (cell, width) in enumerate(cells)
        )
        text += f"| {' | '.join(padded)} |\n"
    return text
