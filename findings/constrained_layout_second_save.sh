#!/usr/bin/env bash
# matplotlib 3.11.2: with layout="constrained", a figure that was drawn once before is saved with other
# coordinates than a fresh one. Saving the same unchanged figure twice gives two different SVG files.
#
# Why it matters: studies compare committed figures byte by byte. A notebook that shows a figure
# before it saves it, and a script that only saves it, write different files from the same data and
# code, although hash salt and date are fixed. The layout starts from the positions that the last
# drawing left, so it is not the same a second time. Draw the same number of times everywhere.
#
# Seen with Python 3.11: "first save and second save: 168 of 1836 lines differ"; the drawing that
# comes before may be a PNG. The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet matplotlib==3.11.2
"$folder/venv/bin/python" - <<'PYTHON'
import io

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def figure():
    result, panels = pyplot.subplots(2, 2, figsize=(8.2, 7.3), layout="constrained")
    for number, axes in enumerate(panels.flat):
        axes.plot([0.85, 1.57, 5.89], [47 + number, 52, 46], label="first")
        axes.plot([0.85, 1.57, 5.89], [38, 44, 43 + number], label="second")
        axes.set(xscale="log", xlabel="parameters (millions)", ylabel="score (%)")
        axes.set_title("a title", loc="left", pad=62)
        axes.text(0.5, 1.05, "a long slanted label", transform=axes.transAxes, rotation=60)
    handles = panels[0, 0].get_legend_handles_labels()
    result.legend(*handles, loc="outside lower center", ncols=2)
    return result


def svg(drawn):
    file = io.BytesIO()
    drawn.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue().decode().splitlines()


with matplotlib.rc_context({"svg.hashsalt": "fixed"}):
    assert svg(figure()) == svg(figure()), "two fresh figures should be saved alike"
    one = figure()
    first, second = svg(one), svg(one)
    shown = figure()
    shown.savefig(io.BytesIO(), format="png")
    after_png = svg(shown)

changed = sum(left != right for left, right in zip(first, second))
print(f"matplotlib {matplotlib.__version__}")
print(f"first save and second save: {changed} of {len(first)} lines differ")
assert changed > 0, "the behaviour has changed: a second save is now like the first"
assert after_png != first, "the behaviour has changed: a PNG before no longer matters"
PYTHON
