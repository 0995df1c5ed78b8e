"""The drawings of the chapters: `show` makes a figure of one or more drawings, side by side.

Every other function returns a drawing, which is a function of the axes that it draws on. Each series
has its own marker and line style, so a figure can be read without colour.
"""

import matplotlib
from matplotlib import pyplot

from lib.report.style import COLOURS, LINES, MARKERS, STYLE

GRAY = "#777777"


def show(*drawings, width: float = 7, height: float = 2.9, shared: bool = False):
    """A figure of the drawings from left to right; `shared` gives all of them the same range of y."""
    with matplotlib.rc_context(STYLE):
        figure, row = pyplot.subplots(
            1,
            len(drawings),
            figsize=(width, height),
            squeeze=False,
            sharey=shared,
            layout="constrained",
        )
        for axes, draw in zip(row[0], drawings, strict=True):
            draw(axes)
        _legend(figure, list(row[0]))
        pyplot.close(figure)
    return figure


def lines(curves: dict, x: str, y: str, *, levels=None, log="", ticks=None, zero=False, title=""):
    """One line for each curve, {x: y}; several curves of one name come as a list.

    `levels` are named horizontal lines, `log` names the logarithmic axes, `zero` lets y begin at 0.
    """

    def draw(axes):
        lone = len(curves) == 1 and not levels
        for place, (name, given) in enumerate(curves.items()):
            for run, curve in enumerate(given if isinstance(given, list) else [given]):
                axes.plot(
                    list(curve.keys()),
                    [float(value) for value in curve.values()],
                    **_style(place, "" if len(curve) > 30 else MARKERS[place]),
                    linestyle=LINES[place % len(LINES)],
                    label="_" if run or lone else name,
                )
        _levels(axes, levels or {})
        _label(axes, x, y, log, ticks, title)
        if zero:
            axes.set_ylim(bottom=0)

    return draw


def points(groups: dict, x: str, y: str, *, log=""):
    """One mark for each pair (x, y) of each group."""

    def draw(axes):
        for place, (name, pairs) in enumerate(groups.items()):
            style = _style(place, MARKERS[place]) | {"markerfacecolor": "white"}
            axes.plot(
                *zip(*pairs, strict=True),
                **style,
                linestyle="",
                label=name if len(groups) > 1 else "_",
            )
        _label(axes, x, y, log)

    return draw


def bars(heights: dict, x: str, y: str, *, levels=None, title=""):
    """One bar for each name."""

    def draw(axes):
        names = [str(name) for name in heights]
        axes.bar(
            range(len(names)),
            [float(height) for height in heights.values()],
            color=COLOURS[5],
            edgecolor="black",
            linewidth=0.6,
        )
        _levels(axes, levels or {})
        turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        step = 1 if len(names) <= 20 else 10
        _label(axes, x, y, title=title)
        axes.set_xticks(
            range(0, len(names), step),
            names[::step],
            **(turned if max(map(len, names)) > 3 else {}),
        )

    return draw


def grid(values, x: str, y: str, label: str, *, columns=None, rows=None, low=0, title=""):
    """A field for each value, the darker the larger; the rows go down."""

    def draw(axes):
        image = axes.imshow(values, cmap="Greys", vmin=low, aspect="auto")
        axes.set(xlabel=x, ylabel=y, title=title)
        if columns is not None:
            turned = any(len(str(name)) > 3 for name in columns)
            axes.set_xticks(range(len(columns)), columns, rotation=90 if turned else 0)
        if rows is not None:
            axes.set_yticks(range(len(rows)), rows)
        axes.spines[:].set_visible(True)
        axes.figure.colorbar(image, ax=axes, label=label)

    return draw


def boxes(rows: dict, x: str = "", *, ticks: dict):
    """A row of boxes under each other for each name; a box is (label, begin, end, filled)."""

    def draw(axes):
        for place, row in enumerate(rows.values()):
            for label, begin, end, filled in row:
                gap = 0.04 if end - begin < 10 else 0
                axes.barh(
                    place,
                    end - begin - 2 * gap,
                    left=begin + gap,
                    align="center",
                    height=0.7,
                    color="#DDDDDD" if filled else "white",
                    hatch="" if filled else "////",
                    edgecolor="black" if filled else GRAY,
                    linewidth=0.8,
                )
                plain = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
                look = {} if filled or not str(label) else {"bbox": plain}
                axes.text(
                    (begin + end) / 2, place, label, ha="center", va="center", fontsize=8, **look
                )
        axes.set(xlabel=x, ylim=(len(rows) - 0.4, -0.6))
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return draw


def _style(place: int, marker: str) -> dict:
    return {"color": COLOURS[place], "marker": marker, "markersize": 4, "linewidth": 1.3}


def _levels(axes, levels: dict) -> None:
    for place, (name, value) in enumerate(levels.items()):
        line = (0, ((), (6, 3), (1, 2))[place])
        axes.axhline(float(value), color=GRAY, linestyle=line, linewidth=1, label=name)


def _label(axes, x: str, y: str, log: str = "", ticks=None, title: str = "") -> None:
    more = " (logarithmic)"
    axes.set(xlabel=x + more * ("x" in log), ylabel=y + more * ("y" in log), title=title)
    for letter, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if letter in log:
            axes.set(**{f"{letter}scale": "log"})
            if max(axis.get_view_interval()) < 1e6:
                axis.set_major_formatter("{x:,g}")
    if ticks is not None:
        axes.set_xticks(list(ticks), [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()


def _legend(figure, row: list) -> None:
    """One legend for all axes where they have the same series, else one for each."""
    names = [axes.get_legend_handles_labels()[1] for axes in row]
    if len(row) > 1 and any(each != names[0] for each in names):
        for axes, labels in zip(row, names, strict=True):
            if labels:
                axes.legend(frameon=False)
    elif names[0]:
        place = "outside right center" if len(row) == 1 else "outside upper center"
        columns = 1 if len(row) == 1 else len(names[0])
        figure.legend(*row[0].get_legend_handles_labels(), loc=place, ncols=columns, frameon=False)
