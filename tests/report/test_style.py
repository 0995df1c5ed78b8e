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
