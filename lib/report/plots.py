"""Figures of one run: its training, and what its layers predict."""

import numpy
import pandas
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patches import Rectangle

from lib.report.style import COLOURS, look, panels

_TERMS = {
    "mlm_loss": "MLM loss, training (nats)",
    "distillation_loss": "distillation loss, training",
    "loss": "MLM loss, training (nats)",
    "dev_mlm_loss": "MLM loss, dev (nats)",
    "dev_gap": "gap to the teacher, dev",
    "dev_score": "score, dev (0 to 1)",
}


def learning_curve(history: list[dict]) -> Figure:
    """Figure of a training: its loss and its terms against steps, or by epoch, and the measure on
    dev.

    `history` holds entries with `step` or `epoch`, and any of `loss`, its terms, `dev_mlm_loss`,
    `dev_gap` and `dev_score`.
    """
    table = pandas.DataFrame(history)
    terms = [term for term in _TERMS if term in table]
    if {"mlm_loss", "distillation_loss"} & {*terms}:
        terms.remove("loss")
    clock, up = ("epoch", "score") if "epoch" in table else ("step", "loss")
    with panels(1, 1, (6, 2.8)) as (figure, [[axes]]):
        axes.set(xlabel=f"{clock}s", ylabel=up)
        for place, term in enumerate(terms):
            points = table.dropna(subset=term)
            style = look(place) | {"marker": "o" if term.startswith("dev_") else ""}
            del style["markersize"]
            axes.plot(points[clock], points[term], label=_TERMS[term], **style)
        if terms:
            axes.legend(frameon=False)
        else:
            middle = {"ha": "center", "va": "center", "transform": axes.transAxes}
            axes.text(0.5, 0.5, "taken as it is: no training", **middle)
    return figure


def lens_curve(curves: dict[str, list[float]]) -> Figure | None:
    """Figure of how far each layer knows the hidden token, one line a model, from the embeddings;
    None without curves.

    `curves` maps a name to shares (0..1) by layer, such as `probability` of `logit_lens.curve`.
    """
    if not curves:
        return None
    with panels(1, 1, (6, 2.8)) as (figure, [[axes]]):
        axes.set(xlabel="layer (0: embeddings)", ylabel="probability of the true token (%)")
        for place, (name, shares) in enumerate(curves.items()):
            values = [100 * share for share in shares]
            axes.plot(range(len(values)), values, label=name, **look(place))
        axes.set_xticks(range(max(map(len, curves.values()))))
        axes.set_ylim(0, 108 * max(map(max, curves.values())))
        axes.legend(frameon=False)
    return figure


def lens_heatmap(views: list[dict]) -> Figure:
    """Figure of what each layer finds most probable for each hidden token, one row a layer, one
    column a token; darker is more probable.

    `views` are what `logit_lens.lens` returns. A frame marks the true token.
    """
    shade = numpy.array([[row[0] for row in view["top_probabilities"]] for view in views]).T
    with panels(1, 1, (0.82 * len(views) + 1.9, 0.36 * len(shade) + 1.2)) as (figure, [[axes]]):
        options = {"cmap": "Greys", "vmin": 0, "vmax": 1, "aspect": "auto", "origin": "lower"}
        image = axes.imshow(0.8 * shade, **options)
        for column, view in enumerate(views):
            for layer, (token, *_) in enumerate(view["top_pieces"]):
                dark, true = shade[layer, column] > 0.6, token == view["piece"]
                _token(axes, column, layer, token, dark, true)
        names = [_drawable(view["piece"]) for view in views]
        axes.set_xticks(range(len(names)), names, parse_math=False)
        axes.set(yticks=range(len(shade)), ylabel="layer (0: embeddings)", xlabel="hidden token")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        ticks = {"boundaries": numpy.linspace(0, 0.8, 81), "ticks": [0, 0.2, 0.4, 0.6, 0.8]}
        bar = figure.colorbar(image, ax=axes, label="probability (%)", **ticks)
        bar.set_ticklabels(["0", "25", "50", "75", "100"])
    return figure


def _token(axes, column: int, layer: int, token: str, dark: bool, true: bool) -> None:
    """Write a token into its cell, smaller and cut short where it is long; frame the true one."""
    token = token if len(token) <= 12 else f"{token[:11]}…"
    font = {"size": min(8.5, 72 / max(len(token), 1)), "weight": "bold" if true else "normal"}
    place = {"ha": "center", "va": "center", "color": "white" if dark else "black"}
    axes.text(column, layer, _drawable(token), parse_math=False, **font, **place)
    if true:
        corner = (column - 0.46, layer - 0.44)
        frame = {"fill": False, "edgecolor": COLOURS[1], "linewidth": 2}
        axes.add_patch(Rectangle(corner, 0.92, 0.88, **frame))


def _drawable(token: str) -> str:
    """The token with an empty box for each letter that the font does not have."""
    letters = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(letter if ord(letter) in letters else "▯" for letter in token)
