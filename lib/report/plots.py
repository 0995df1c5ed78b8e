"""Pictures of the study: deterministic, and legible without colour.

Every series has its colour (Okabe and Ito's palette), its marker or hatch, and its line style, so that a picture can be read
in black and white. The same data give the same bytes: no date, fixed identifiers, letters drawn as outlines.
"""

import matplotlib
import numpy
import pandas
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from sklearn.isotonic import isotonic_regression

from lib import facts
from lib.report.style import COLOURS
from lib.report.style import FILLS as _FILLS
from lib.report.style import HATCHES as _HATCHES
from lib.report.style import LINES as _LINES
from lib.report.style import MARKERS as _MARKERS
from lib.report.style import STYLE as _STYLE
from lib.report.style import save as save  # what draws also saves
from lib.report.style import single as _single

_LABEL_GAP = 0.05  # of a panel's width, between the names of two models
_STEPS = {
    "adapt": "teacher",
    "layers": "layers",
    "ffn": "FFN",
    "hidden": "hidden",
    "vocabulary": "vocabulary",
}


def size_against_score(cells: pandas.DataFrame, tasks: dict[str, str] | None = None) -> Figure:
    """Figure of parameters (millions, logarithmic) against score (percent), one panel a task, one line a language.

    `cells` is what `tables.cells` returns; `tasks` maps each task to its panel's title (params/tasks.yaml when not given).
    A line joins the models of the usual chain by size, from the adapted teacher down; bars are one deviation over the runs.
    Hollow markers off the line are the teacher before adaptation and models made or trained with other settings. Panels
    stand in one row a teacher (one teacher: two columns); a panel without runs says so. Above it stand the names of the models.
    """
    names = facts.facts("languages")
    tasks = tasks or {task: entry["name"] for task, entry in facts.facts("tasks").items()}
    teachers = list(dict.fromkeys(cells["teacher"])) or [""]
    styles = {language: place for place, language in enumerate(dict.fromkeys(cells["language"]))}
    columns = len(tasks) if len(teachers) > 1 else min(2, len(tasks))
    rows = -(-len(teachers) * len(tasks) // columns)
    with matplotlib.rc_context(_STYLE):
        figure, grid = pyplot.subplots(
            rows,
            columns,
            figsize=(4.1 * columns, 3.4 * rows + 0.5),
            squeeze=False,
            layout="constrained",
        )
        panels = [(teacher, task) for teacher in teachers for task in tasks]
        for axes, (teacher, task) in zip(grid.flat, panels, strict=False):
            part = cells[
                (cells["teacher"] == teacher) & (cells["task"] == task) & (cells["runs"] > 0)
            ]
            _panel(axes, part, styles)
            axes.set_title(
                tasks[task] if len(teachers) == 1 else f"{tasks[task]}, {teacher}",
                loc="left",
                pad=62,
            )
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        handles = [
            _line(None, [], [], place, names.get(language, {}).get("name", language))
            for language, place in styles.items()
        ]
        hollow = Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markerfacecolor="white",
            color="black",
            label="not adapted, or other settings",
        )
        notes = [hollow]
        if any(text.get_text().startswith("H ") for axes in grid.flat for text in axes.texts):
            notes.append(Line2D([], [], linestyle="", label="H hidden size, V vocabulary"))
        if handles:
            figure.legend(
                handles=[*handles, *notes],
                loc="outside lower center",
                ncols=len(handles) + len(notes),
                frameon=False,
            )
        pyplot.close(figure)
    return figure


def parameter_bars(parts: pandas.DataFrame) -> Figure:
    """Figure of where parameters sit: one panel a `teacher`, one bar a `model`, one stretch a `part`, in millions.

    `parts` has the columns teacher, model, part and parameters; order of appearance is order of drawing.
    """
    teachers, names = list(dict.fromkeys(parts["teacher"])), list(dict.fromkeys(parts["part"]))
    rows = max(parts[parts["teacher"] == teacher]["model"].nunique() for teacher in teachers)
    with matplotlib.rc_context(_STYLE):
        figure, grid = pyplot.subplots(
            1,
            len(teachers),
            figsize=(4.6 * len(teachers), 0.34 * rows + 1.3),
            squeeze=False,
            sharex=True,
            layout="constrained",
        )
        for axes, teacher in zip(grid.flat, teachers, strict=True):
            table = (
                parts[parts["teacher"] == teacher].pivot_table(
                    "parameters", "model", "part", "sum", sort=False
                )[names]
                / 1e6
            )
            left = numpy.zeros(len(table))
            for place, name in enumerate(names):
                axes.barh(
                    table.index,
                    table[name],
                    left=left,
                    label=name,
                    color=_FILLS[place],
                    hatch=_HATCHES[place],
                    edgecolor="black",
                    linewidth=0.6,
                    height=0.72,
                )
                left += table[name].to_numpy()
            for place, total in enumerate(left):
                axes.annotate(
                    f"{total:.1f}", (total, place), (4, 0), textcoords="offset points", va="center"
                )
            axes.invert_yaxis()
            axes.margins(x=0.12)
            axes.set(title=teacher, xlabel="parameters (millions)")
            axes.tick_params(axis="y", length=0)
        figure.legend(
            *grid.flat[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=len(names),
            frameon=False,
        )
        pyplot.close(figure)
    return figure


def learning_curve(history: list[dict]) -> Figure:
    """Figure of a training: its loss and the terms of it against steps, and the MLM loss on the dev sentences.

    `history` is what a training returns: entries with `step`, and `loss`, further terms, or `dev_mlm_loss`.
    """
    terms = {
        "mlm_loss": "MLM loss, training (nats)",
        "distillation_loss": "distillation loss, training",
        "loss": "MLM loss, training (nats)",
        "dev_mlm_loss": "MLM loss, dev (nats)",
    }
    found = [key for key in terms if any(key in entry for entry in history)]
    if "mlm_loss" in found:
        found.remove("loss")
    with _single("steps", "loss") as (figure, axes):
        for place, key in enumerate(found):
            points = [(entry["step"], entry[key]) for entry in history if key in entry]
            axes.plot(
                *zip(*points, strict=True),
                color=COLOURS[place],
                linestyle=_LINES[place % len(_LINES)],
                linewidth=1.4,
                marker="o" if key == "dev_mlm_loss" else "",
                label=terms[key],
            )
        if found:
            axes.legend(frameon=False)
        else:
            axes.text(
                0.5,
                0.5,
                "taken as it is: no training",
                ha="center",
                va="center",
                transform=axes.transAxes,
            )
    return figure


def score_curve(history: list[dict], metric: str) -> Figure:
    """Figure of a task's training: its score on dev (percent) by epoch; the best epoch is filled."""
    with _single("epochs", f"{metric} on dev (%)") as (figure, axes):
        epochs, scores = (
            [entry["epoch"] for entry in history],
            [100 * entry["dev_score"] for entry in history],
        )
        best = scores.index(max(scores))
        axes.plot(
            epochs, scores, color=COLOURS[0], linewidth=1.4, marker="o", markerfacecolor="white"
        )
        axes.plot(
            epochs[best],
            scores[best],
            color=COLOURS[0],
            marker="o",
            linestyle="",
            label=f"kept: epoch {epochs[best]}",
        )
        axes.legend(frameon=False)
    return figure


def importance_curve(neuron_importance, kept: int) -> Figure:
    """Figure of neuron importance (L, F), each layer sorted and in shares of its largest; an upright line at what is kept."""
    with _single(
        "neurons of a layer, most important first", "importance (share of the largest)"
    ) as (figure, axes):
        for layer, row in enumerate(numpy.asarray(neuron_importance)):
            row = numpy.sort(row)[::-1]
            axes.plot(
                numpy.arange(1, len(row) + 1),
                row / row[0],
                color=COLOURS[layer % len(COLOURS)],
                linestyle=_LINES[layer % len(_LINES)],
                linewidth=1.2,
                label=f"layer {layer}",
            )
        axes.axvline(kept, color="black", linewidth=0.8)
        axes.set_yscale("log")
        axes.legend(frameon=False, ncols=2, loc="lower left")
    return figure


def coverage_curve(token_count, kept: int) -> Figure:
    """Figure of the share of a text (percent) that its k most frequent pieces make up; an upright line at what is kept."""
    share = 100 * numpy.cumsum(numpy.sort(token_count)[::-1]) / numpy.sum(token_count)
    with _single("most frequent pieces (logarithmic)", "share of the text (%)") as (figure, axes):
        axes.plot(numpy.arange(1, len(share) + 1), share, color=COLOURS[0], linewidth=1.6)
        axes.axvline(kept, color="black", linewidth=0.8)
        axes.set_xscale("log")
    return figure


def _panel(axes, part: pandas.DataFrame, styles: dict) -> None:
    """Draw the scored models of one teacher and task."""
    if part.empty:
        axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center")
        axes.set(xticks=[], yticks=[])
        return
    axes.set(xscale="log", xlabel="parameters (millions)", ylabel=f"{_metric(part)} (%)")
    usual = (part["variant"] == "") & (part["setup"] == "") & (part["step"] != "pretrain")
    for language, place in styles.items():
        mine = part["language"] == language
        line = part[mine & usual].sort_values("parameters", ascending=False)
        _line(axes, line["parameters"] / 1e6, line["mean"], place, language, line["deviation"])
        other = part[mine & ~usual]
        axes.plot(
            other["parameters"] / 1e6,
            other["mean"],
            linestyle="",
            marker=_MARKERS[place],
            color=COLOURS[place],
            markerfacecolor="white",
            zorder=4,
        )
    axes.margins(x=0.08, y=0.1)
    axes.xaxis.set(
        major_locator=LogLocator(subs=(1, 2, 3, 5, 7)),
        minor_locator=NullLocator(),
        major_formatter=FuncFormatter(lambda value, _: f"{value:g}"),
    )
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    _name_sizes(axes, part[usual])


def _line(axes, sizes, scores, place: int, label: str, deviations=None):
    """One language's line with its bars; without axes, a sample of it for the legend."""
    look = {
        "color": COLOURS[place],
        "marker": _MARKERS[place],
        "linestyle": _LINES[place % len(_LINES)],
        "markersize": 5,
        "linewidth": 1.4,
        "label": label,
    }
    if axes is None:
        return Line2D([], [], **look)
    return axes.errorbar(
        sizes, scores, yerr=deviations, capsize=2.5, elinewidth=0.9, zorder=3, **look
    )


def _name_sizes(axes, part: pandas.DataFrame) -> None:
    """Name the models above the panel, each over its largest; sizes only where a step has several, names apart where models are close.

    Vocabularies within 5 % of one another are one: languages differ by the characters that are always kept.
    """
    part = part.sort_values("vocab_size")
    part = part.assign(cut=(part["vocab_size"].pct_change() > 0.05).cumsum())
    part["cut"] = part["cut"].where(part["step"] == "vocabulary", -1)
    several = part[part["step"].isin(["hidden", "vocabulary"])]["hidden_size"].nunique() > 1
    trimmed = part[part["step"] == "vocabulary"]["cut"].nunique() > 1
    models = []
    for (step, hidden, _), group in part.groupby(["step", "hidden_size", "cut"]):
        text = _STEPS[step]
        if step == "vocabulary" and (several or trimmed):
            text = (
                f"H {hidden:.0f}, V {group['vocab_size'].max():,.0f}"
                if several
                else f"{text} {group['vocab_size'].max():,.0f}"
            )
        elif step == "hidden" and several:
            text += f" {hidden:.0f}"
        models.append((group["parameters"].max() / 1e6, text))
    models.sort()
    axes.autoscale_view()
    ends = axes.transAxes.inverted().transform(
        axes.transData.transform([(where, 1) for where, _ in models])
    )[:, 0]
    gaps = _LABEL_GAP * numpy.arange(len(models))
    places = isotonic_regression(ends - gaps) + gaps  # the nearest places that are a gap apart
    for (where, text), end, place in zip(models, ends, places, strict=True):
        axes.axvline(where, color="#BBBBBB", linewidth=0.6, linestyle=(0, (1, 2)), zorder=0)
        axes.plot(
            [end, place],
            [1, 1.04],
            transform=axes.transAxes,
            color="#BBBBBB",
            linewidth=0.6,
            clip_on=False,
            zorder=0,
        )
        axes.text(
            place,
            1.05,
            text,
            transform=axes.transAxes,
            rotation=60,
            ha="left",
            va="bottom",
            fontsize=7,
            rotation_mode="anchor",
        )


def _metric(part: pandas.DataFrame) -> str:
    return " / ".join(name.replace("_f1", " F1") for name in dict.fromkeys(part["metric"]))


def lens_heatmap(seen: dict | list[dict]) -> Figure:
    """Figure of what each layer would predict: one row a layer, 0 (the embeddings) lowest; darker is more probable.

    `seen` is what `logit_lens.lens` returns: for one hidden token its most probable pieces side by side; for several tokens of a
    sentence, one column each with the most probable piece. A framed piece is the true one.
    """
    several = isinstance(seen, list)
    views = seen if several else [seen] * len(seen["top_pieces"][0])
    ranks = [0] * len(views) if several else range(len(views))
    shade = numpy.array(
        [
            [row[rank] for row in view["top_probabilities"]]
            for view, rank in zip(views, ranks, strict=True)
        ]
    ).T
    with matplotlib.rc_context(_STYLE):
        figure, axes = pyplot.subplots(
            figsize=(0.82 * len(views) + 1.9, 0.36 * len(shade) + 1.2), layout="constrained"
        )
        image = axes.imshow(
            0.8 * shade, cmap="Greys", vmin=0, vmax=1, aspect="auto", origin="lower"
        )
        for column, (view, rank) in enumerate(zip(views, ranks, strict=True)):
            for layer, row in enumerate(view["top_pieces"]):
                _piece(
                    axes,
                    column,
                    layer,
                    row[rank],
                    dark=shade[layer, column] > 0.6,
                    true=row[rank] == view["piece"],
                )
        names = (
            [_drawable(view["piece"]) for view in views]
            if several
            else [str(rank + 1) for rank in ranks]
        )
        axes.set_xticks(range(len(names)), names, parse_math=False)
        axes.set(
            yticks=range(len(shade)),
            ylabel="layer (0: embeddings)",
            xlabel="hidden token"
            if several
            else f"most probable pieces in place of  {_drawable(seen['piece'])}".replace(
                "$", r"\$"
            ),
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(
            image,
            ax=axes,
            label="probability (%)",
            boundaries=numpy.linspace(0, 0.8, 81),
            ticks=[0, 0.2, 0.4, 0.6, 0.8],
        )
        bar.set_ticklabels(["0", "25", "50", "75", "100"])
        pyplot.close(figure)
    return figure


def lens_curve(
    curves: dict[str, list[float]], quantity: str = "probability of the true token (%)"
) -> Figure:
    """Figure of how far each layer knows the hidden token: one line a model, from layer 0 (the embeddings) to its last.

    `curves` maps a name to shares (0..1) by layer, such as the `probability` of `logit_lens.curve`.
    """
    with _single("layer (0: embeddings)", quantity) as (figure, axes):
        for place, (name, values) in enumerate(curves.items()):
            axes.plot(
                range(len(values)),
                [100 * value for value in values],
                color=COLOURS[place % len(COLOURS)],
                linewidth=1.4,
                marker=_MARKERS[place % len(_MARKERS)],
                linestyle=_LINES[place % len(_LINES)],
                markersize=5,
                label=name,
            )
        axes.set_xticks(range(max(map(len, curves.values()))))
        axes.set_ylim(0, 108 * max(map(max, curves.values())))
        axes.legend(frameon=False)
    return figure


def _piece(axes, column: int, layer: int, piece: str, dark: bool, true: bool) -> None:
    """Write a piece into its cell, smaller and cut short where it is long; frame the true one."""
    piece = piece if len(piece) <= 12 else f"{piece[:11]}…"
    axes.text(
        column,
        layer,
        _drawable(piece),
        ha="center",
        va="center",
        color="white" if dark else "black",
        parse_math=False,
        fontsize=min(8.5, 72 / max(len(piece), 1)),
        fontweight="bold" if true else "normal",
    )
    if true:
        axes.add_patch(
            pyplot.Rectangle(
                (column - 0.46, layer - 0.44),
                0.92,
                0.88,
                fill=False,
                edgecolor=COLOURS[1],
                linewidth=2,
            )
        )


def _drawable(piece: str) -> str:
    """The piece with an empty box for each letter that the font does not have."""
    letters = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(letter if ord(letter) in letters else "▯" for letter in piece)
