"""Pictures of comparisons: one setting against the scores, losses against steps and seconds, layers against probability.

They share the look of `plots`: markers, line styles and hatches beside colour, so that all can be read in black and white.
"""

import math

import matplotlib
import numpy
import pandas
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from lib.report.style import COLOURS, LINES, MARKERS, STYLE


def sweep(
    points: pandas.DataFrame, across: str, up: str = "", log: bool = False, joined: bool = False
) -> Figure:
    """Figure of scores by the value of one setting: one panel a `panel`, one line a `line`, bars of one deviation.

    `points` is what `ablations.points` returns, or has its columns panel, line, value, mean, deviation and own. Filled markers are
    the study's own setting, hollow ones another. Numbers stand on an axis (logarithmic with `log`) and are joined; words stand side by
    side, joined where they have an order (`joined`). `up` names the score where the panel's title does not. A line whose name
    starts with "published" is thin and black.
    """
    panels, names = list(dict.fromkeys(points["panel"])), list(dict.fromkeys(points["line"]))
    columns = {0: 1, 1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    rows = -(-len(panels) // columns) or 1
    numeric = bool(len(points)) and all(isinstance(value, int | float) for value in points["value"])
    values = sorted(set(points["value"])) if numeric else list(dict.fromkeys(points["value"]))
    width = 4.1 if numeric else max(4.1, 0.75 * len(values) + 0.5)
    with matplotlib.rc_context(STYLE):
        figure, grid = pyplot.subplots(
            rows,
            columns,
            figsize=(width * columns, 2.7 * rows + 0.5),
            squeeze=False,
            layout="constrained",
        )
        for axes, panel in zip(grid.flat, panels, strict=False):
            here = points[points["panel"] == panel].dropna(subset="mean")
            axes.set_title(panel.removesuffix(" (%)") if up else panel, loc="left")
            axes.set(xlabel=across, ylabel=up)
            for place, name in enumerate(names):
                _series(
                    axes,
                    here[here["line"] == name],
                    look(place, name, numeric or joined),
                    values,
                    numeric,
                    0.16 * (place - (len(names) - 1) / 2),
                )
            _values_axis(axes, sorted(set(here["value"])) if numeric else values, numeric, log)
            axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
            axes.margins(y=0.12)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        if panels:
            handles = [
                Line2D([], [], label=name, **look(place, name, numeric or joined))
                for place, name in enumerate(names)
            ]
            handles += _fills() if points["own"].nunique() > 1 else []
            figure.legend(
                handles=handles,
                loc="outside lower center",
                ncols=min(4, len(handles)),
                frameon=False,
            )
        else:
            grid.flat[0].text(0.5, 0.5, "not run", ha="center", va="center")
        pyplot.close(figure)
    return figure


def convergence(curves: pandas.DataFrame, up: str) -> Figure:
    """Figure of a loss on dev against steps and against seconds: one row a `panel`, one line a `line`.

    `curves` has the columns panel, line, step, seconds and loss.
    """
    panels, names = list(dict.fromkeys(curves["panel"])), list(dict.fromkeys(curves["line"]))
    with matplotlib.rc_context(STYLE):
        figure, grid = pyplot.subplots(
            len(panels) or 1,
            2,
            figsize=(8.2, 2.5 * (len(panels) or 1) + 0.6),
            squeeze=False,
            sharey="row",
            layout="constrained",
        )
        for row, panel in zip(grid, panels, strict=False):
            for axes, unit in zip(row, ("step", "seconds"), strict=True):
                for place, name in enumerate(names):
                    part = curves[(curves["panel"] == panel) & (curves["line"] == name)]
                    if len(part):
                        axes.plot(part[unit], part["loss"], label=name, **look(place, name, True))
                axes.set_title(panel, loc="left")
                axes.set(
                    xlabel={"step": "steps", "seconds": "seconds of training"}[unit],
                    ylabel=up if unit == "step" else "",
                )
                axes.set_xlim(left=0)
                axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        if panels:
            figure.legend(
                *grid.flat[0].get_legend_handles_labels(),
                loc="outside lower center",
                ncols=len(names),
                frameon=False,
            )
        pyplot.close(figure)
    return figure


def lens_grid(
    curves: dict[str, dict[str, list[float]]], quantity: str = "probability of the true token (%)"
) -> Figure:
    """Figure of what each layer of each model knows: one panel a language, one row a model, one column a layer from 0, the embeddings.

    `curves` maps a panel's title to model -> shares (0..1) by layer; darker is more.
    """
    deepest = max(len(row) for models in curves.values() for row in models.values())
    tallest = max(map(len, curves.values()))
    most = max(max(row) for models in curves.values() for row in models.values())
    with matplotlib.rc_context(STYLE):
        figure, grid = pyplot.subplots(
            1,
            len(curves),
            figsize=((0.5 * deepest + 1.5) * len(curves) + 0.6, 0.34 * tallest + 1.2),
            squeeze=False,
            layout="constrained",
        )
        for axes, (title, models) in zip(grid.flat, curves.items(), strict=True):
            shade = numpy.full((len(models), deepest), math.nan)
            for place, row in enumerate(models.values()):
                shade[place, : len(row)] = row
                for layer, value in enumerate(row):
                    axes.text(
                        layer,
                        place,
                        f"{100 * value:.0f}",
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="white" if value > 0.6 * most else "black",
                    )
            axes.imshow(0.85 * shade, cmap="Greys", vmin=0, vmax=most, aspect="auto")
            axes.set_yticks(range(len(models)), models)
            axes.set(
                title=title,
                xlabel="layer (0: embeddings)",
                xticks=range(deepest),
                ylim=(tallest - 0.5, -0.5),
            )
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        figure.suptitle(quantity, fontsize=9)
        pyplot.close(figure)
    return figure


def forest(effects: pandas.DataFrame) -> Figure:
    """Figure of effects with their 95 % intervals, one row each, zero marked; filled where the interval leaves zero out.

    `effects` has the columns claim, effect, low and high, in one unit.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            figsize=(8.2, 0.34 * len(effects) + 1.0), layout="constrained"
        )
        for place, row in enumerate(effects.to_dict("records")):
            clear = row["low"] > 0 or row["high"] < 0
            axes.plot(
                [row["low"], row["high"]],
                [place, place],
                color=COLOURS[0],
                linewidth=1.2,
                marker="|",
                markersize=7,
            )
            axes.plot(
                row["effect"],
                place,
                color=COLOURS[0],
                marker="o",
                markerfacecolor=COLOURS[0] if clear else "white",
                zorder=3,
            )
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(effects)), effects["claim"])
        axes.invert_yaxis()
        axes.margins(y=0.6 / max(len(effects), 1))
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("effect in points; the claim holds right of zero")
        pyplot.close(figure)
    return figure


def look(place: int, name: str, joined: bool) -> dict:
    """Colour, marker and line of the series at this place; what was published is black and thin."""
    paper = name.startswith("published")
    return {
        "color": "#000000" if paper else COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 5,
        "linestyle": LINES[place % len(LINES)] if joined else "",
        "linewidth": 0.9 if paper else 1.4,
    }


def _series(
    axes, part: pandas.DataFrame, style: dict, values: list, numeric: bool, aside: float
) -> None:
    """One line, or one row of markers moved a little to the side, so that no two hide each other."""
    if part.empty:
        return
    at = numpy.array(
        part["value"].tolist()
        if numeric
        else [values.index(value) + aside for value in part["value"]],
        dtype=float,
    )
    order = numpy.argsort(at)
    bars = (
        part["deviation"].fillna(0).to_numpy()[order] if part["deviation"].notna().any() else None
    )
    axes.errorbar(
        at[order],
        part["mean"].to_numpy()[order],
        yerr=bars,
        capsize=2.5,
        elinewidth=0.9,
        zorder=3,
        **style | {"marker": ""},
    )
    for own, fill in ((True, style["color"]), (False, "white")):
        mask = (part["own"] == own).to_numpy()
        axes.plot(
            at[mask],
            part["mean"].to_numpy()[mask],
            zorder=4,
            **style | {"linestyle": "", "markerfacecolor": fill},
        )


def _values_axis(axes, values: list, numeric: bool, log: bool) -> None:
    if not numeric:
        axes.set_xticks(
            range(len(values)),
            [
                str(value)
                .replace("_", "_\n" if len(str(value)) > 14 else "_")
                .replace(" > ", ",\n")
                for value in values
            ],
            fontsize=8,
        )
        axes.set_xlim(-0.6, len(values) - 0.4)
        return
    if log:
        axes.set_xscale("log")
        axes.xaxis.set(
            minor_locator=NullLocator(),
            major_formatter=FuncFormatter(lambda value, _: f"{value:,.10g}"),
        )
        axes.set_xticks(_apart(values))
    else:
        axes.set_xticks(values)
    axes.margins(x=0.08)


def _apart(values: list) -> list:
    """The values that can be named on a logarithmic axis without touching, from the largest down."""
    kept: list = []
    for value in sorted(values, reverse=True):
        if not kept or kept[-1] / value > (max(values) / min(values)) ** (
            0.02 + 0.02 * len(f"{value:,.10g}")
        ):
            kept.append(value)
    return kept[::-1]


def _fills() -> list[Line2D]:
    common = {"linestyle": "", "marker": "o", "color": "black"}
    return [
        Line2D([], [], label="the study's own", **common),
        Line2D([], [], label="changed", markerfacecolor="white", **common),
    ]
