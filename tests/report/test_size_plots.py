"""Figures: the numbers that are drawn, the same bytes twice, and no reliance on colour."""

from xml.etree import ElementTree

import numpy
import pandas
import pytest

from lib.report import size_plots, style

TASKS = ("tc", "sa", "ner", "pos")
STEPS = {"pretrain": 17.2e6, "adapt": 17.2e6, "layers": 11.8e6, "hidden": 3.9e6}


def cells(languages=("mlt", "slk", "swh"), teachers=("ours",)):
    """Scored models of each language; part of speech was not run."""
    rows = [
        {
            "language": language,
            "teacher": teacher,
            "step": step,
            "hidden_size": 156,
            "vocab_size": 9000,
            "variant": "",
            "tuning": "",
            "role": "teacher" if step == "adapt" else "",
            "task": task,
            "parameters": size,
            "metric": "macro_f1",
            "mean": 50.0 + 5 * place - number,
            "deviation": 1.0,
            "runs": 3 * (task == "tc"),
        }
        for teacher in teachers
        for place, language in enumerate(languages)
        for number, (step, size) in enumerate(STEPS.items())
        for task in TASKS
    ]
    return pandas.DataFrame(rows)


def parts():
    """Two models of two parts."""
    return pandas.DataFrame(
        [
            {"teacher": "ours", "model": model, "part": part, "parameters": count}
            for model, part, count in (
                ("big", "body", 3e6),
                ("big", "head", 1e6),
                ("small", "body", 2e6),
                ("small", "head", 1e6),
            )
        ]
    )


def points(line):
    """The drawn points (x, y) of a line."""
    return numpy.column_stack([line.get_xdata(), line.get_ydata()]).astype(float)


def test_lines_hold_the_scores_from_the_adapted_teacher_down():
    panel = size_plots.size_against_score(cells()).axes[0]
    assert (
        panel.get_xscale() == "log"
        and "millions" in panel.get_xlabel()
        and "%" in panel.get_ylabel()
    )
    line = next(bars for bars in panel.containers if bars.get_label() == "slk")[0]
    numpy.testing.assert_allclose(points(line), [(17.2, 54), (11.8, 53), (3.9, 52)])


def test_languages_differ_by_marker_and_line_style_not_by_colour_alone():
    figure = size_plots.size_against_score(cells())
    looks = [
        (bars[0].get_marker(), bars[0].get_linestyle(), bars[0].get_color())
        for bars in figure.axes[0].containers
    ]
    assert len(looks) == 3 and all(len(set(column)) == 3 for column in zip(*looks, strict=True))


def test_models_off_the_usual_chain_are_hollow_and_off_the_line():
    frame = cells(("mlt",))
    frame.loc[frame["step"] == "layers", "variant"] = "layers.layer_choice first_k"
    panel = size_plots.size_against_score(frame).axes[0]
    numpy.testing.assert_allclose(points(panel.containers[0][0])[:, 0], [17.2, 3.9])
    hollow = [line for line in panel.lines if line.get_markerfacecolor() == "white"]
    numpy.testing.assert_allclose(points(hollow[0])[:, 0], [17.2, 11.8])


def test_the_legend_names_hollow_markers_only_where_one_is_drawn():
    """Pretrained models are hollow; those that were not run are not drawn."""
    hollow = "not adapted, or other settings"
    frame = cells(("mlt", "slk"))
    frame.loc[frame["language"] == "slk", "runs"] = 0
    for part, names in (
        (frame, ["Maltese", hollow]),
        (frame[frame["step"] != "pretrain"], ["Maltese"]),
        (frame.assign(runs=frame["runs"].where(frame["step"] != "pretrain", 0)), ["Maltese"]),
    ):
        (legend,) = size_plots.size_against_score(part).legends
        assert [text.get_text() for text in legend.get_texts()] == names


def test_a_line_begins_at_the_teacher_wherever_its_chain_has_it():
    """The trimmed teacher is the first point and has that name; the one before is hollow."""
    frame = cells(("mlt",)).replace({"step": {"adapt": "vocabulary"}})
    frame.loc[frame["step"] == "vocabulary", "parameters"] = 15e6
    panel = size_plots.size_against_score(frame).axes[0]
    numpy.testing.assert_allclose(points(panel.containers[0][0])[:, 0], [15, 11.8, 3.9])
    hollow = [line for line in panel.lines if line.get_markerfacecolor() == "white"]
    numpy.testing.assert_allclose(points(hollow[0])[:, 0], [17.2])
    assert [text.get_text() for text in panel.texts] == ["hidden", "layers", "teacher"]


def test_models_of_nearly_one_size_have_names_that_stand_apart_in_order():
    frame = cells(("mlt", "slk"))
    student = frame[frame["step"] == "hidden"]
    students = [
        student.assign(step="vocabulary", vocab_size=size, parameters=size * 400)
        for size in (9000, 9100, 800)
    ]
    hidden = student.assign(hidden_size=162, parameters=4e6)
    panel = size_plots.size_against_score(pandas.concat([frame, *students, hidden])).axes[0]
    names = {text.get_text(): text.get_position()[0] for text in panel.texts}
    assert list(names) == [
        "H 156, V 800",
        "H 156, V 9,100",
        "hidden 156",
        "hidden 162",
        "layers",
        "teacher",
    ]
    assert min(numpy.diff(list(names.values()))) > 0.049
    alone = size_plots.size_against_score(pandas.concat([frame, students[0]])).axes[0]
    assert [text.get_text() for text in alone.texts] == [
        "vocabulary",
        "hidden",
        "layers",
        "teacher",
    ]


@pytest.mark.parametrize("teachers", [("ours",), ("ours", "theirs")])
def test_panels_without_runs_say_so(teachers):
    figure = size_plots.size_against_score(cells(teachers=teachers))
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert len(texts) == len(TASKS) * len(teachers)
    assert [texts[place] == ["not run"] for place in range(len(TASKS))] == [False, True, True, True]


def test_the_legend_explains_hollow_markers_only_where_there_are_some():
    hollow, frame = "not adapted, or other settings", cells()
    for drawn, explained in ((frame, True), (frame[frame["step"] != "pretrain"], False)):
        [legend] = size_plots.size_against_score(drawn).legends
        assert (hollow in [text.get_text() for text in legend.get_texts()]) == explained


def test_no_records_still_give_a_figure(tmp_path):
    assert style.save(size_plots.size_against_score(cells().iloc[:0]), "empty", tmp_path).exists()


def test_bars_add_up_and_differ_by_hatch():
    panel = size_plots.parameter_bars(parts()).axes[0]
    ends = [bar.get_x() + bar.get_width() for bar in panel.patches]
    numpy.testing.assert_allclose(ends, [3, 2, 4, 3])
    assert [text.get_text() for text in panel.texts] == ["4.0", "3.0"]
    assert len({bar.get_hatch() for bar in panel.patches}) == 2


def test_same_data_same_bytes(tmp_path):
    first = style.save(
        size_plots.size_against_score(cells()), "figure", tmp_path / "a"
    ).read_bytes()
    assert (
        style.save(size_plots.size_against_score(cells()), "figure", tmp_path / "b").read_bytes()
        == first
    )


def test_a_saved_figure_is_clean_svg(tmp_path):
    text = style.save(size_plots.parameter_bars(parts()), "bars", tmp_path).read_text(
        encoding="utf-8"
    )
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert "dc:date" not in text and "<text" not in text
