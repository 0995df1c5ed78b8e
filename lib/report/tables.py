"""Published numbers, and numbers and tables in words. Differences are percentage points."""

import math

import pandas

from lib import facts, files
from lib.errors import StudyError

NOT_RUN = "not run"
NOT_AVAILABLE = "not available"
REFERENCE = "reference"


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


def word(value) -> str:
    """A setting in words, such as 40,000 and 0.25 and last_k."""
    plain = isinstance(value, bool) or not isinstance(value, int | float)
    return str(value) if plain else f"{value:,.10g}"


def number(value: float, digits: int = 1, signed: bool = False, missing: str = "") -> str:
    """A number with a true minus sign; `missing` instead of nan."""
    if pandas.isna(value):
        return missing
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def spread(of: dict, name: str = "mean", digits: int = 1) -> str:
    """`mean ± standard deviation (runs)` of the statistics `of`; the same of the `difference`."""
    deviation, count = ("deviation", "runs") if name == "mean" else (f"{name}_deviation", "pairs")
    text = number(of[name], digits, signed=name != "mean")
    text += "" if pandas.isna(of[deviation]) else f" ± {of[deviation]:.{digits}f}"
    return text + (f" ({of[count]})" if of[count] else " (unpaired)")


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
