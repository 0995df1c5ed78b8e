"""The look of the study's figures, and how they are written: legible without colour, and the same
bytes from the same data.

Every series has its colour (Okabe and Ito's palette), its marker or hatch, and its line style. A
file has no date, fixed identifiers, and letters drawn as outlines.
"""

import io
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib import facts, files

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":", "-.")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "svg.hashsalt": "lib.plots",
    "svg.fonttype": "path",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "figure.dpi": 110,
}


@contextmanager
def panels(rows: int, columns: int, size: tuple[float, float], **options):
    """Yield a figure of this size in inches and its axes, an array (rows, columns)."""
    options |= {"squeeze": False, "layout": "constrained"}
    with matplotlib.rc_context(STYLE):
        figure, grid = pyplot.subplots(rows, columns, figsize=size, **options)
        yield figure, grid
        pyplot.close(figure)


@contextmanager
def titled(titles: list[str], columns: int, size: tuple[float, float], pad: float | None = None):
    """Yield a figure and its axes: one panel of this size in inches a title, `columns` in a row."""
    rows = -(-len(titles) // columns)
    with panels(rows, columns, (size[0] * columns, size[1] * rows + 0.5)) as (figure, grid):
        for axes in grid.flat[len(titles) :]:
            axes.set_axis_off()
        for axes, title in zip(grid.flat, titles, strict=False):
            axes.set_title(title, loc="left", pad=pad)
            axes.grid(axis="y")
        yield figure, grid.flat[: len(titles)]


def look(place: int) -> dict:
    """Colour, marker and line of the series at this place."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 5,
        "linestyle": LINES[place % len(LINES)],
        "linewidth": 1.4,
    }


def looks(languages: Iterable) -> list[dict]:
    """The looks of series that are each of a language of params/languages.yaml (None: of none).

    A language has one colour in all figures, and one marker unless another series has it already.
    """
    known, found = [*facts.facts("languages")], []
    for place, language in enumerate(languages):
        key = str(language).partition(" ")[0]  # of a model of several: slk (slk+swh)
        at = known.index(key) if key in known else place
        taken = [one["marker"] for one in found]
        shapes = [look(at + further) for further in range(len(MARKERS))]
        free = [shape for shape in shapes if shape["marker"] not in taken] or shapes
        found.append(free[0] | {"color": look(at)["color"]})
    return found


def dot(label: str, fill: str = "white") -> Line2D:
    """The entry of a legend that says what a marker means, hollow or filled, in any colour."""
    look = {"linestyle": "", "marker": "o", "color": "black", "markerfacecolor": fill}
    return Line2D([], [], label=label, **look)


def legend(figure: Figure, handles: list, columns: int = 0) -> None:
    """Name the series below the figure, side by side or in this many columns."""
    columns = min(columns or len(handles), len(handles))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def save(figure: Figure, name: str, folder: Path | None = None) -> Path:
    """File <name>.svg in `folder` (figures/ when not given) that `figure` was written to."""
    file, content = Path(folder or files.FIGURES) / f"{name}.svg", io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(content, format="svg", metadata={"Date": None, "Title": name})
    files.write_whole(file, content.getvalue())
    return file
