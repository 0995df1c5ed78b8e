"""Figures of sizes: parameters against scores, and where parameters are."""

import numpy
import pandas
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lib import facts
from lib.report import words
from lib.report.frame import TEACHER
from lib.report.style import dot, legend, looks, panels, titled
from lib.study import steps

_GAP = 0.05  # of a panel's width, between the names of two models
_FILLS = ("#0072B2", "#E69F00", "#F0F0F0", "#56B4E9", "#D55E00")
_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\")
_DOTTED = {"color": "#BBBBBB", "linewidth": 0.6, "zorder": 0}


def size_against_score(cells: pandas.DataFrame) -> Figure:
    """Figure of parameters (millions) against score, one panel a task, one line a language.

    `cells` is what `main_table.cells` returns. A line joins the study's own models by size, from
    the teacher down; bars are one standard deviation. Hollow markers are the teacher before
    adaptation and models with other settings.
    """
    tasks = {task: entry["name"] for task, entry in facts.facts("tasks").items()}
    teachers, languages = (list(dict.fromkeys(cells[key])) for key in ("teacher", "language"))
    styles = dict(zip(languages, looks(languages), strict=True))
    names = [(teacher, task) for teacher in teachers or [""] for task in tasks]
    several = len(teachers) > 1
    titles = [tasks[task] + f", {teacher}" * several for teacher, task in names]
    before = cells["step"].isin(steps.names("teacher")) & (cells["role"] == "")
    own = (cells["variant"] == "") & (cells["tuning"] == "") & ~before
    scored = cells.assign(own=own)[cells["runs"] > 0]
    columns = len(tasks) if several else min(2, len(tasks))
    with titled(titles, columns, (4.1, 3.4), pad=62) as (figure, grid):
        for axes, (teacher, task) in zip(grid, names, strict=True):
            here = (scored["teacher"] == teacher) & (scored["task"] == task)
            _panel(axes, scored[here], styles)
        handles = [
            Line2D([], [], label=words.language(key), **style)
            for key, style in styles.items()
            if key in {*scored["language"]}
        ]
        notes = [dot("not adapted, or other settings")] * (not scored["own"].all())
        if any(text.get_text().startswith("H ") for axes in grid for text in axes.texts):
            notes.append(Line2D([], [], linestyle="", label="H hidden size, V vocabulary"))
        if handles:
            legend(figure, handles + notes)
    return figure


def parameter_bars(parts: pandas.DataFrame) -> Figure:
    """Figure of where parameters are, one panel a `teacher`, one bar a `model` with its `part`s.

    `parts` has the columns teacher, model, part and parameters; all are drawn in their order.
    """
    teachers, names = (list(dict.fromkeys(parts[column])) for column in ("teacher", "part"))
    rows = parts.groupby("teacher")["model"].nunique().max()
    size = (4.6 * len(teachers), 0.34 * rows + 1.3)
    with panels(1, len(teachers), size, sharex=True) as (figure, grid):
        for axes, teacher in zip(grid.flat, teachers, strict=True):
            part = parts[parts["teacher"] == teacher]
            table = part.pivot_table("parameters", "model", "part", "sum", sort=False)[names] / 1e6
            ends = table.cumsum(axis=1)
            for name, fill, hatch in zip(names, _FILLS, _HATCHES, strict=False):
                look = {"color": fill, "hatch": hatch, "edgecolor": "black", "linewidth": 0.6}
                left = ends[name] - table[name]
                bars = axes.barh(table.index, table[name], 0.72, left, label=name, **look)
            axes.bar_label(bars, ends[name].map("{:.1f}".format), padding=4)
            axes.invert_yaxis()
            axes.margins(x=0.12)
            axes.set(title=teacher, xlabel="parameters (millions)")
            axes.tick_params(axis="y", length=0)
        legend(figure, grid[0, 0].get_legend_handles_labels()[0])
    return figure


def _panel(axes, part: pandas.DataFrame, styles: dict) -> None:
    """Draw the scored models of one teacher and task."""
    if part.empty:
        axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center")
        axes.set(xticks=[], yticks=[])
        return
    metrics = [name.replace("_f1", " F1") for name in dict.fromkeys(part["metric"])]
    axes.set(xscale="log", xlabel="parameters (millions)", ylabel=f"{' / '.join(metrics)} (%)")
    part = part.assign(millions=part["parameters"] / 1e6)
    own = part["own"]
    for language, style in styles.items():
        mine = part["language"] == language
        line = part[mine & own].sort_values("parameters", ascending=False)
        bars = {"yerr": line["deviation"], "capsize": 2.5, "elinewidth": 0.9, "zorder": 3}
        axes.errorbar(line["millions"], line["mean"], label=language, **bars, **style)
        other = part[mine & ~own]
        hollow = {"linestyle": "", "markerfacecolor": "white", "zorder": 4}
        hollow |= {key: style[key] for key in ("marker", "color")}
        axes.plot(other["millions"], other["mean"], **hollow)
    axes.margins(x=0.08, y=0.1)
    named = FuncFormatter(lambda value, _: f"{value:g}")
    axes.xaxis.set(major_locator=LogLocator(subs=(1, 2, 3, 5, 7)), minor_locator=NullLocator())
    axes.xaxis.set(major_formatter=named)
    if own.any():
        _name_models(axes, part[own])


def _name_models(axes, part: pandas.DataFrame) -> None:
    """Write the names of the models above the panel, each over its largest, a gap apart."""
    from sklearn.isotonic import isotonic_regression  # here: it takes a second to import

    models = _named(part)
    axes.autoscale_view()
    corners = axes.transData.transform([(size, 1) for size, _ in models])
    ends = axes.transAxes.inverted().transform(corners)[:, 0]
    gaps = _GAP * numpy.arange(len(models))
    places = isotonic_regression(ends - gaps) + gaps  # the nearest places that are a gap apart
    across = {"transform": axes.transAxes}
    for (size, text), end, place in zip(models, ends, places, strict=True):
        axes.axvline(size, linestyle=(0, (1, 2)), **_DOTTED)
        axes.plot([end, place], [1, 1.04], clip_on=False, **_DOTTED, **across)
        slanted = {"rotation": 60, "rotation_mode": "anchor", "fontsize": 7}
        axes.text(place, 1.05, text, ha="left", va="bottom", **slanted, **across)


def _named(part: pandas.DataFrame) -> list[tuple[float, str]]:
    """Size in millions and name of the models, by size; a name says sizes where a step has several.

    Vocabularies within 5 % of one another are one: languages differ by the characters always kept.
    """
    trimmed = (part["step"] == "vocabulary") & (part["role"] != TEACHER)
    sizes = numpy.sort(part["vocab_size"].unique())
    borders = sizes[1:][sizes[1:] / sizes[:-1] - 1 > 0.05]
    cut = pandas.Series(numpy.searchsorted(borders, part["vocab_size"], "right"), part.index)
    part = part.assign(cut=cut.where(trimmed, -1))
    several = part[part["step"].isin(["hidden", "vocabulary"])]["hidden_size"].nunique() > 1
    models = []
    for (step, hidden, _), group in part.groupby(["step", "hidden_size", "cut"]):
        text, vocabulary = steps.step(step).short or step, f"{group['vocab_size'].max():,.0f}"
        if (group["role"] == TEACHER).all():
            text = "teacher"
        elif step == "vocabulary" and several:
            text = f"H {hidden:.0f}, V {vocabulary}"
        elif step == "vocabulary" and part.loc[trimmed, "cut"].nunique() > 1:
            text += f" {vocabulary}"
        elif step == "hidden" and several:
            text += f" {hidden:.0f}"
        models.append((group["millions"].max(), text))
    return sorted(models)
