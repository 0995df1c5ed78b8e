"""Numbers in words, and words for numbers that are missing. Differences are percentage points."""

import re

import pandas

from lib import facts

NOT_RUN = "not run"
NOT_AVAILABLE = "not available"
REFERENCE = "reference"


def language(key: str) -> str:
    """The name of a language; of one in a model of several, such as Slovak (Slovak+Swahili)."""
    known = facts.facts("languages")
    return re.sub(r"[\w.-]+", lambda part: known.get(part[0], {}).get("name", part[0]), key)


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


def gap(of: dict, reference: bool, missing: str = "no reference", digits: int = 1) -> str:
    """The difference of the statistics `of` in words: that it is the reference, or `missing`."""
    if pandas.isna(of["difference"]):
        return missing
    return REFERENCE if reference else spread(of, "difference", digits)
