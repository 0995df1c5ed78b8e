"""Figures of comparisons: one setting against the scores, losses against steps and seconds."""

import pandas
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from lib.report.style import dot, legend, look, looks, panels, titled

_CLOCKS = ("steps", "seconds of training")


def sweep(
    points: pandas.DataFrame, across: str, up: str = "", log: bool = False, joined: bool = False
) -> Figure | None:
    """Figure of scores by the value of one setting, one panel a `panel`, one line a `line`; None
    without points.

    `points` is what `compare.points` returns. Bars are one standard deviation. Filled markers are
    the study's own setting. Numbers stand on an axis, logarithmic with `log`, and are joined; words
    stand side by side, `joined` where they have an order. `up` names the score where the panel's
    title does not. A line whose name starts with "published" is thin and black.
    """
    if points.empty:
        return None
    names, values = (list(dict.fromkeys(points[column])) for column in ("panel", "value"))
    numeric = all(isinstance(value, int | float) for value in values)
    width = 4.1 if numeric else max(4.1, 0.75 * len(values) + 0.5)
    looks = _looks(points, numeric or joined)
    titles = [name.removesuffix(" (%)") if up else name for name in names]
    columns = {1: 1, 2: 2, 4: 2}.get(len(names), 3)
    with titled(titles, columns, (width, 2.7)) as (figure, grid):
        for axes, name in zip(grid, names, strict=True):
            here = points[points["panel"] == name].dropna(subset="mean")
            axes.set(xlabel=across, ylabel=up)
            for place, (line, style) in enumerate(looks.items()):
                part = here[here["line"] == line]
                if len(part):
                    aside = 0.16 * (place - (len(looks) - 1) / 2)
                    at = part["value"] if numeric else part["value"].map(values.index) + aside
                    _series(axes, part.assign(at=at.astype(float)), style)
            _values_axis(axes, sorted(set(here["value"])) if numeric else values, numeric, log)
            axes.margins(y=0.12)
        handles = [Line2D([], [], label=line, **style) for line, style in looks.items()]
        notes = [dot("the study's own", "black"), dot("changed")]
        legend(figure, handles + notes * (points["own"].nunique() > 1), 4)
    return figure


def convergence(curves: pandas.DataFrame, up: str) -> Figure | None:
    """Figure of a loss on dev against steps and seconds, one row a `panel`, one line a `line`; None
    without curves.

    `curves` has the columns panel, line, step, seconds and loss.
    """
    if curves.empty:
        return None
    names, lines = (list(dict.fromkeys(curves[column])) for column in ("panel", "line"))
    size = (8.2, 2.5 * len(names) + 0.6)
    with panels(len(names), 2, size, sharey="row") as (figure, grid):
        for row, name in zip(grid, names, strict=True):
            row[0].set_ylabel(up)
            for axes, unit, across in zip(row, ("step", "seconds"), _CLOCKS, strict=True):
                for line, part in curves[curves["panel"] == name].groupby("line", sort=False):
                    axes.plot(part[unit], part["loss"], label=line, **look(lines.index(line)))
                axes.set_title(name, loc="left")
                axes.set_xlabel(across)
                axes.set_xlim(left=0)
                axes.grid(axis="y")
        legend(figure, [Line2D([], [], label=line, **look(at)) for at, line in enumerate(lines)])
    return figure


def _looks(points: pandas.DataFrame, joined: bool) -> dict[str, dict]:
    """Line -> its look: that of its language; what was published is black and thin."""
    points = points if "language" in points else points.assign(language=None)
    of_line = points.groupby("line", sort=False)["language"]
    languages = of_line.first().where(of_line.nunique() == 1)
    found = dict(zip(languages.index, looks(languages), strict=True))
    for line, style in found.items():
        style |= {"color": "#000000", "linewidth": 0.9} if line.startswith("published") else {}
        style |= {} if joined else {"linestyle": ""}
    return found


def _series(axes, part: pandas.DataFrame, style: dict) -> None:
    """One line with its bars and markers; the column `at` says where each value stands."""
    line = part.sort_values("at")
    bars = line["deviation"].fillna(0) if line["deviation"].notna().any() else None
    plain = style | {"marker": "", "capsize": 2.5, "elinewidth": 0.9, "zorder": 3}
    axes.errorbar(line["at"], line["mean"], yerr=bars, **plain)
    for own, fill in ((True, style["color"]), (False, "white")):
        dots = part[part["own"] == own]
        hollow = {"linestyle": "", "markerfacecolor": fill, "zorder": 4}
        axes.plot(dots["at"], dots["mean"], **style | hollow)


def _values_axis(axes, values: list, numeric: bool, log: bool) -> None:
    if not numeric:
        words = [str(value) for value in values]
        words = [word.replace("_", "_\n") if len(word) > 14 else word for word in words]
        words = [word.replace(" > ", ",\n") for word in words]
        axes.set_xticks(range(len(values)), words, fontsize=8)
        axes.set_xlim(-0.6, len(values) - 0.4)
        return
    if log:
        axes.set_xscale("log")
        named = FuncFormatter(lambda value, _: f"{value:,.10g}")
        axes.xaxis.set(minor_locator=NullLocator(), major_formatter=named)
    axes.set_xticks(_apart(values) if log else values)
    axes.margins(x=0.08)


def _apart(values: list) -> list:
    """The values whose names do not touch on a logarithmic axis, from the largest down."""
    kept: list = []
    for value in sorted(values, reverse=True):
        width = 0.02 + 0.02 * len(f"{value:,.10g}")
        if not kept or kept[-1] / value > (max(values) / min(values)) ** width:
            kept.append(value)
    return kept[::-1]
