"""The look of the study's figures, and how they are written: legible without colour, and the same
bytes from the same data.

Every series has its colour (Okabe and Ito's palette), its marker or hatch, and its line style. A
file has no date, fixed identifiers, and letters drawn as outlines.
"""

import io
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.figure import Figure

from lib import files

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


def look(place: int) -> dict:
    """Colour, marker and line of the series at this place."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 5,
        "linestyle": LINES[place % len(LINES)],
        "linewidth": 1.4,
    }


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
