"""Figures are written as files of the project are: whole or not at all."""

import pytest
from matplotlib.figure import Figure

from lib.report import style


def test_a_figure_that_cannot_be_drawn_leaves_the_old_file(tmp_path):
    with style.panels(1, 1, (3, 2)) as (figure, _):
        file = style.save(figure, "curve", tmp_path)
    before = file.read_bytes()
    broken = Figure()
    broken.text(0.5, 0.5, r"$\frac$")
    with pytest.raises(ValueError, match="frac"):
        style.save(broken, "curve", tmp_path)
    assert file.read_bytes() == before and b"</svg>" in before
    assert [path.name for path in tmp_path.iterdir()] == ["curve.svg"]


def test_a_language_has_one_colour_and_its_lines_are_told_apart_without_it():
    """Whatever stands beside it, also in a model of two languages."""
    alone, [_, beside, group] = style.looks(["slk"]), style.looks(["mlt", "slk", "slk (slk+swh)"])
    assert alone[0]["color"] == beside["color"] == group["color"] and alone == [beside]
    assert beside["marker"] != group["marker"] and beside["linestyle"] != group["linestyle"]
    many = style.looks([None] * 9)
    assert len({one["marker"] for one in many[:7]}) == 7 and len(many) == 9
    assert style.looks(["not a language"]) == [style.look(0)]
