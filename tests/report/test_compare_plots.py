"""Pictures of comparisons: the numbers that are drawn, and no reliance on colour."""

import pandas
import pytest

from lib.report import compare_plots, style


def points(values, lines=("Maltese", "Slovak"), panels=("topic (%)",)):
    """Scores 10, 11, ... of each value; the first value is the study's own."""
    return pandas.DataFrame(
        [
            {
                "panel": panel,
                "line": line,
                "value": value,
                "mean": 10.0 * (1 + row) + place,
                "deviation": 0.5,
                "own": place == 0,
            }
            for panel in panels
            for row, line in enumerate(lines)
            for place, value in enumerate(values)
        ]
    )


def markers(panel, filled):
    """The markers that are drawn filled, or those that are hollow: (x, y)."""
    lines = [
        line
        for line in panel.lines
        if line.get_marker() not in ("", "None", "_", "|") and line.get_linestyle() == "None"
    ]
    return sorted(
        (float(x), float(y))
        for line in lines
        if (line.get_markerfacecolor() != "white") == filled
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    )


def test_numbers_stand_in_order_and_the_studys_own_is_filled():
    panel = compare_plots.sweep(points([0.5, 0.25, 1.0]), "share").axes[0]
    assert markers(panel, filled=True) == [(0.5, 10), (0.5, 20)]
    assert markers(panel, filled=False) == [(0.25, 11), (0.25, 21), (1.0, 12), (1.0, 22)]
    joined = [
        line
        for line in panel.lines
        if line.get_linestyle() != "None" and len(line.get_xdata()) == 3
    ]
    assert [line.get_xdata().tolist() for line in joined] == [[0.25, 0.5, 1.0]] * 2
    assert len({line.get_linestyle() for line in joined}) == 2


def test_words_stand_side_by_side_unjoined_and_do_not_hide_each_other():
    panel = compare_plots.sweep(points(["last_k", "random"]), "layers kept").axes[0]
    xs = [x for x, _ in markers(panel, True) + markers(panel, False)]
    assert len(set(xs)) == 4 and [round(x) for x in xs] == [0, 0, 1, 1]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["last_k", "random"]
    assert not any(
        line.get_linestyle() != "None" and len(line.get_xdata()) > 1
        for line in panel.lines
        if line.get_label() != "grid" and line.get_marker() == ""
    )


def test_what_is_published_is_black_and_a_logarithmic_axis_names_every_far_value():
    frame = points([800, 4000, 40000], lines=("Maltese", "published, Maltese"))
    figure = compare_plots.sweep(frame, "kept tokens", log=True)
    assert figure.axes[0].get_xscale() == "log" and figure.axes[0].get_xticks().tolist() == [
        800,
        4000,
        40000,
    ]
    assert [handle.get_color() for handle in figure.legends[0].legend_handles][:2] == [
        style.COLOURS[0],
        "#000000",
    ]
    assert len({handle.get_marker() for handle in figure.legends[0].legend_handles[:2]}) == 2


def test_lines_have_the_colour_of_their_language_in_whatever_order():
    keys = {"Maltese": "mlt", "Slovak": "slk"}
    colours = []
    for names in (("Maltese", "Slovak"), ("Slovak", "Maltese"), ("Slovak",)):
        frame = points([1, 2], lines=names)
        figure = compare_plots.sweep(frame.assign(language=frame["line"].map(keys)), "x")
        handles = figure.legends[0].legend_handles[: len(names)]
        colours.append({handle.get_label(): handle.get_color() for handle in handles})
    assert colours[0] == colours[1] and colours[2].items() <= colours[0].items()
    assert len(set(colours[0].values())) == 2


def test_without_data_there_is_no_figure():
    empty = points([1])[:0]
    assert compare_plots.sweep(empty, "x") is None
    assert compare_plots.convergence(empty, "loss") is None


def test_losses_against_steps_and_seconds():
    curves = pandas.DataFrame(
        [
            {
                "panel": "Maltese",
                "line": line,
                "step": step,
                "seconds": step * speed,
                "loss": 5.0 - step,
            }
            for line, speed in (("mse", 0.5), ("kl", 1.0))
            for step in (1, 2)
        ]
    )
    left, right = compare_plots.convergence(curves, "loss").axes
    assert [line.get_xdata().tolist() for line in left.lines] == [[1, 2], [1, 2]]
    assert [line.get_xdata().tolist() for line in right.lines] == [[0.5, 1.0], [1.0, 2.0]]
    assert len({(line.get_marker(), line.get_linestyle()) for line in left.lines}) == 2


def test_losses_have_a_legend_with_the_lines_of_all_panels():
    rows = [("Maltese", "kl", 1), ("Slovak", "kl", 1), ("Slovak", "mse", 1)]
    curves = pandas.DataFrame(rows, columns=["panel", "line", "step"]).assign(seconds=2.0, loss=3.0)
    figure = compare_plots.convergence(curves, "loss")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["kl", "mse"]
    drawn = {line.get_label(): line.get_color() for line in figure.axes[2].lines}
    assert [line.get_color() for line in legend.get_lines()] == [drawn["kl"], drawn["mse"]]


def test_a_line_may_lack_a_panel():
    """Words and numbers alike: the panel then has the other lines only."""
    for values in (["last_k", "random"], [1, 2]):
        frame = points(values, panels=("topic (%)", "sentiment (%)"))
        alone = frame[(frame["panel"] == "topic (%)") | (frame["line"] == "Slovak")]
        first, second = compare_plots.sweep(alone, "x").axes
        drawn = [len(markers(axes, True) + markers(axes, False)) for axes in (first, second)]
        assert drawn == [4, 2]


def test_same_data_same_bytes(tmp_path):
    files = [
        style.save(compare_plots.sweep(points(["a", "b"]), "x"), "figure", tmp_path / name)
        for name in "ab"
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_every_panel_has_its_place(count):
    figure = compare_plots.sweep(
        points([1, 2], panels=[f"panel {number}" for number in range(count)]), "x"
    )
    assert [axes.get_title(loc="left") for axes in figure.axes][:count] == [
        f"panel {number}" for number in range(count)
    ]
