"""The look of the study's pictures, and how they are written: deterministic, and legible without colour.

Every series has its colour (Okabe and Ito's palette), its marker or hatch, and its line style, so that a picture can be read
in black and white. The same data give the same bytes: no date, fixed identifiers, letters drawn as outlines.
"""

from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.figure import Figure

from lib import files

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)  # Okabe and Ito (2008)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":", "-.")
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\")
FILLS = ("#0072B2", "#E69F00", "#F0F0F0", "#56B4E9", "#D55E00")
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
def single(across: str, up: str):
    """A figure with one pair of axes, named."""
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(6, 2.8), layout="constrained")
        axes.set(xlabel=across, ylabel=up)
        yield figure, axes
        pyplot.close(figure)


def save(figure: Figure, name: str, folder: Path | None = None) -> Path:
    """File `name`.svg that `figure` was written to, in `folder` (figures/ when not given); same data, same bytes."""
    file = Path(folder or files.FIGURES) / f"{name}.svg"
    file.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, format="svg", metadata={"Date": None, "Title": name})
    return file
