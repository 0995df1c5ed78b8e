"""Figures of one run: its training, its cut, and what its layers predict."""

import numpy
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patches import Rectangle

from lib.report.style import COLOURS, look, panels, single

_TERMS = {
    "mlm_loss": "MLM loss, training (nats)",
    "distillation_loss": "distillation loss, training",
    "loss": "MLM loss, training (nats)",
    "dev_mlm_loss": "MLM loss, dev (nats)",
    "dev_gap": "gap to the teacher, dev",
}


def learning_curve(history: list[dict]) -> Figure:
    """Figure of a training: its loss and its terms against steps, and the measure on dev.

    `history` holds entries with `step`, and `loss`, further terms, or `dev_mlm_loss` or `dev_gap`.
    """
    terms = [term for term in _TERMS if any(term in entry for entry in history)]
    if {"mlm_loss", "distillation_loss"} & {*terms}:
        terms.remove("loss")
    with single("steps", "loss") as (figure, axes):
        for place, term in enumerate(terms):
            points = [(entry["step"], entry[term]) for entry in history if term in entry]
            style = look(place) | {"marker": "o" if term.startswith("dev_") else ""}
            del style["markersize"]
            axes.plot(*zip(*points, strict=True), label=_TERMS[term], **style)
        if terms:
            axes.legend(frameon=False)
        else:
            middle = {"ha": "center", "va": "center", "transform": axes.transAxes}
            axes.text(0.5, 0.5, "taken as it is: no training", **middle)
    return figure


def score_curve(history: list[dict], metric: str) -> Figure:
    """Figure of a task's training: score on dev (percent) by epoch; the best epoch is filled."""
    epochs = [entry["epoch"] for entry in history]
    scores = [100 * entry["dev_score"] for entry in history]
    best = scores.index(max(scores))
    dots = {"color": COLOURS[0], "marker": "o"}
    with single("epochs", f"{metric} on dev (%)") as (figure, axes):
        axes.plot(epochs, scores, linewidth=1.4, markerfacecolor="white", **dots)
        kept = f"kept: epoch {epochs[best]}"
        axes.plot(epochs[best], scores[best], linestyle="", label=kept, **dots)
        axes.legend(frameon=False)
    return figure


def importance_curve(neuron_importance, kept: int) -> Figure:
    """Figure of neuron importance (L, F), each layer sorted and in shares of its largest.

    A vertical line stands at the number of neurons that are kept.
    """
    names = ("neurons of a layer, most important first", "importance (share of the largest)")
    with single(*names) as (figure, axes):
        for layer, row in enumerate(numpy.asarray(neuron_importance)):
            row = numpy.sort(row)[::-1]
            style = look(layer) | {"linewidth": 1.2, "marker": "", "label": f"layer {layer}"}
            axes.plot(numpy.arange(1, len(row) + 1), row / row[0], **style)
        axes.axvline(kept, color="black", linewidth=0.8)
        axes.set_yscale("log")
        axes.legend(frameon=False, ncols=2, loc="lower left")
    return figure


def lens_curve(curves: dict[str, list[float]]) -> Figure | None:
    """Figure of how far each layer knows the hidden token, one line a model, from the embeddings;
    None without curves.

    `curves` maps a name to shares (0..1) by layer, such as `probability` of `logit_lens.curve`.
    """
    if not curves:
        return None
    names = ("layer (0: embeddings)", "probability of the true token (%)")
    with single(*names) as (figure, axes):
        for place, (name, shares) in enumerate(curves.items()):
            values = [100 * share for share in shares]
            axes.plot(range(len(values)), values, label=name, **look(place))
        axes.set_xticks(range(max(map(len, curves.values()))))
        axes.set_ylim(0, 108 * max(map(max, curves.values())))
        axes.legend(frameon=False)
    return figure


def lens_heatmap(seen: dict | list[dict]) -> Figure:
    """Figure of what each layer would predict, one row a layer; darker is more probable.

    `seen` is what `logit_lens.lens` returns. For one hidden token its most probable tokens stand
    side by side; for a list of hidden tokens, one column each holds the most probable token. A
    frame marks the true token.
    """
    several = isinstance(seen, list)
    views = seen if several else [seen] * len(seen["top_pieces"][0])
    ranks = [0] * len(views) if several else range(len(views))
    columns = list(zip(views, ranks, strict=True))
    shade = [[row[rank] for row in view["top_probabilities"]] for view, rank in columns]
    shade = numpy.array(shade).T
    with panels(1, 1, (0.82 * len(views) + 1.9, 0.36 * len(shade) + 1.2)) as (figure, grid):
        axes = grid[0, 0]
        options = {"cmap": "Greys", "vmin": 0, "vmax": 1, "aspect": "auto", "origin": "lower"}
        image = axes.imshow(0.8 * shade, **options)
        for column, (view, rank) in enumerate(columns):
            for layer, row in enumerate(view["top_pieces"]):
                dark, true = shade[layer, column] > 0.6, row[rank] == view["piece"]
                _token(axes, column, layer, row[rank], dark, true)
        names = [_drawable(view["piece"]) if several else str(rank + 1) for view, rank in columns]
        axes.set_xticks(range(len(names)), names, parse_math=False)
        one = f"most probable tokens in place of  {_drawable(views[0]['piece'])}"
        across = "hidden token" if several else one.replace("$", r"\$")
        axes.set(yticks=range(len(shade)), ylabel="layer (0: embeddings)", xlabel=across)
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
