"""Records of the benchmark -> tables and the figure of notebooks/paper/benchmark.ipynb."""

import json
from pathlib import Path

from matplotlib.figure import Figure

from lib.report import style as looks
from lib.report.style import COLOURS, panels
from lib.report.words import NOT_RUN

NAMES = {"bert": "mBERT", "xlm-roberta": "XLM-R"}
SIZES = {
    "tokens": "tokens a step",
    "vocab_size": "vocabulary",
    "hidden_size": "hidden size",
    "num_hidden_layers": "layers of the teacher",
}
MEASURES = {  # of a student in the benchmark of recipes, and how a table says it
    "mean": lambda value: f"{100 * value:.1f}",
    "similarity": lambda value: f"{value:.2f}".removeprefix("0"),
}
_SHOWN = "1 x 128"  # the shape whose ratio is shown
TEXTS = {"sentences": "sentences", "full": "texts of 512 tokens"}


def read(folder: Path) -> dict:
    """The records by device, cpu before cuda."""
    return {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(folder.glob("*.json"))
    }


def machine(record: dict) -> str:
    """One line about where and on what a record was made."""
    inputs, made = record["inputs"], record["environment"]
    commits = ", ".join(dict.fromkeys(record["commits"].values()))
    return (
        f"{record['device']}, {record['threads']} threads, torch {made['torch']}, code of commit "
        f"{commits}; text: {inputs['text']}; mBERT's vocabulary: {inputs['mbert_vocabulary']}; "
        f"{record['minutes']:.0f} minutes"
    )


def table(found: dict) -> str:
    """Markdown table: what, the paper's procedure, ours, ratio; one section a device."""
    rows = []
    for device, record in (found or {"cpu": {"results": {}}}).items():
        rows += [(device, *row) for row in _rows(record["results"])]
    return _markdown(("on", "what", "paper's procedure", "here", "ratio"), rows)


def equality(found: dict) -> str:
    """Markdown table of the greatest relative difference between both procedures."""
    rows = []
    for device, record in found.items():
        results = record["results"]
        lines = []
        for family, name in NAMES.items():
            losses = _number(results, f"{family} equality", "greatest_relative_difference")
            lines.append((f"{name}: losses of one batch", losses))
            for counting in ("count", "documents"):
                equal = _at(results, f"{family} trimming", counting, "equal")
                lines.append((f"{name}: counted tokens, {counting}", "equal" if equal else NOT_RUN))
        for case, said in (
            ("importance", "importance of neurons"),
            ("perplexity", "pseudo-perplexity"),
        ):
            difference = _number(results, f"bert {case}", "relative_difference")
            lines.append((f"mBERT: {said}", difference))
        rows += [(device, *line) for line in lines]
    return _markdown(("on", "what", "difference"), rows or [("cpu", "everything", NOT_RUN)])


def inference(found: dict) -> str:
    """Markdown table of latency, throughput, memory and file size of each step's model."""
    rows = []
    for device, record in found.items():
        for name, one in record["results"].items():
            if " inference " in name and "file_mb" in one:
                rows.append(
                    (
                        device,
                        one["model"],
                        one["threads"],
                        f"{one['file_mb']:,.0f}",
                        f"{one['batch_1']['milliseconds']:,.1f}",
                        f"{one['batch_32']['tokens_per_second']:,.0f}",
                        f"{one['peak_gib']:.2f}",
                    )
                )
    names = (
        "on",
        "model",
        "threads",
        "file (MB)",
        "batch 1 (ms)",
        "batch 32 (tokens/s)",
        "peak memory (GiB)",
    )
    return _markdown(names, rows or [("cpu", NOT_RUN, "", "", "", "", "")])


def exported(found: dict) -> str:
    """Markdown table of a teacher and a finished student in each form, with one and two threads.

    Times are medians. `ratio` is how many times faster one text of 128 tokens is than with the
    teacher in torch, in the same run.
    """
    rows, shapes = [], []
    for device, record in found.items():
        for name, one in record["results"].items():
            forms = one.get("forms", {}) if name.startswith("exported ") else {}
            for form, measured in forms.items():
                times, whole = measured["milliseconds"], forms["teacher torch"]["milliseconds"]
                shapes = [*times]
                rows.append(
                    (
                        device,
                        one["threads"],
                        form,
                        f"{measured['bytes'] / 1e6:,.1f}",
                        f"{measured['start_ms'] / 1000:.2f}",
                        f"{measured['peak_mb']:,.0f}",
                        *(f"{times[shape]['median']:,.1f}" for shape in shapes),
                        f"{whole[_SHOWN]['median'] / times[_SHOWN]['median']:,.1f}",
                    )
                )
    names = ("on", "threads", "model", "file (MB)", "start (s)", "peak memory (MB)")
    names += (*(f"{shape} (ms)" for shape in shapes), "ratio")
    return _markdown(names, rows or [("cpu", NOT_RUN, *[""] * 5)])


def growth(record: dict | None) -> Figure | None:
    """Figure of seconds a step against each size, with the ideal; None without a record."""
    points = _at((record or {}).get("results", {}), "growth", "points")
    if not points:
        return None
    with panels(1, 4, (10, 2.9), sharey=True) as (figure, grid):
        for axes, (axis, name) in zip(grid[0], SIZES.items(), strict=True):
            _panel(axes, [point for point in points if point["axis"] == axis])
            axes.set_xlabel(name)
        grid[0, 0].set_ylabel("seconds a step")
        grid[0, 0].legend(frameon=False)
    return figure


def recipes(found: dict) -> str:
    """Markdown table of students by recipe: the seconds, and both measures of a student before the
    last training and at the end.

    `paper's end` is the share of the paper's seconds until a student of this hidden size is as good
    as the paper's.
    """
    rows = []
    for device, record in found.items():
        for width, by_recipe in _students(record).items():
            for name, points in by_recipe.items():
                start = next(point for point in points if point["stage"] == "hidden, cut")
                cells = [f"{points[-1]['seconds']:,.0f}"]
                for measure, said in MEASURES.items():
                    cells += [said(point["scores"][measure]) for point in (start, points[-1])]
                    cells.append(_reached(points, by_recipe.get("paper"), measure))
                rows.append((device, width, name, *cells))
        for teacher in _teacher(record):
            cells = [[said(teacher[measure]), ""] for measure, said in MEASURES.items()]
            rows.append((device, "", "teacher", "", "", *cells[0], "", *cells[1]))
    names = ["on", "hidden size", "recipe", "seconds"]
    for measure in ("mean score", "similarity"):
        names += [f"{measure} before", f"{measure} at the end", "paper's end"]
    return _markdown(tuple(names), rows or [("cpu", NOT_RUN, *[""] * 8)])


def _reached(points: list[dict], papers: list[dict] | None, measure: str) -> str:
    """The share of the paper's seconds after which its last value is reached in the final size."""
    if not papers:
        return NOT_RUN
    end = papers[-1]["scores"][measure]
    final = [point for point in points if point["stage"].startswith("hidden")]
    good = [point["seconds"] for point in final if point["scores"][measure] >= end]
    return f"{good[0] / papers[-1]['seconds']:.2f}" if good else "not reached"


def _teacher(record: dict) -> list[dict]:
    """The scores of the one teacher of all recipes; none without a record of them."""
    results = record["results"].values()
    return [one["teacher"] for one in results if "students" in one][:1]


def _students(record: dict | None) -> dict[str, dict[str, list[dict]]]:
    """Hidden size -> recipe -> points."""
    result = {}
    for name, one in (record or {}).get("results", {}).items():
        for width, student in one.get("students", {}).items():
            recipe = name.removeprefix("recipe ")
            result.setdefault(width, {})[recipe] = student["points"]
    return result


def race(record: dict | None) -> Figure | None:
    """Figure of the mean score against seconds, a panel a hidden size; None without a record."""
    students = _students(record)
    if not students:
        return None
    (taught,) = _teacher(record)
    with panels(2, len(students), (10, 6), sharex="col", sharey="row") as (figure, grid):
        for column, (width, by_recipe) in zip(grid.T, students.items(), strict=True):
            for axes, measure in zip(column, MEASURES, strict=True):
                for number, (name, points) in enumerate(by_recipe.items()):
                    seconds = [point["seconds"] for point in points]
                    values = [point["scores"][measure] for point in points]
                    axes.plot(seconds, values, label=name, **looks.look(number))
                axes.axhline(taught[measure], color="black", linestyle=":", label="teacher")
            column[0].set_title(f"hidden size {width}")
            column[1].set_xlabel("seconds of work")
        for axes, name in zip(grid[:, 0], ("mean score", "similarity"), strict=True):
            axes.set_ylabel(name)
        grid[1, -1].legend(frameon=False, loc="lower right")
    return figure


def _panel(axes, points: list[dict]) -> None:
    values = [point["value"] for point in points]
    for number, (key, style) in enumerate(
        {"seconds": ("o", "-", "measured"), "ideal_seconds": ("s", "--", "ideal")}.items()
    ):
        marker, line, label = style
        seconds = [point[key] for point in points]
        look = {"marker": marker, "linestyle": line, "color": COLOURS[number]}
        axes.plot(values, seconds, label=label, **look)
    gram = [(point["value"], point["seconds"]) for point in points if point["gram_form"]]
    look = {"markersize": 10, "fillstyle": "none", "color": "black", "label": "Gram form"}
    axes.plot(*(zip(*gram, strict=True) if gram else ([], [])), "o", **look)
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(values, [f"{value:,}" for value in values])
    axes.minorticks_off()


def _rows(results: dict):
    speed, memory = "real_tokens_per_second", "peak_gib"
    for family, name in NAMES.items():
        say, case = f"{name}, distillation", f"{family} distil"
        for text, of_texts in TEXTS.items():
            theirs, ours = f"{case} paper {text}", f"{case} ours {text}"
            label = f"{say}, {of_texts}"
            yield _pair(results, f"{label}: real tokens/s", (theirs, speed), (ours, speed))
            label += ": peak memory (GiB)"
            yield _pair(results, label, (theirs, memory), (ours, memory), down=True)
        theirs, ours = f"{case} paper sentences", f"{case} ours sentences"
        label = f"{say}, sentences, float32: real tokens/s"
        yield _pair(results, label, (theirs, speed), (f"{ours} float32", speed))
        label, ours = f"{say}, sentences, vocabulary trimmed first", f"{ours} trimmed first"
        yield _pair(results, f"{label}: real tokens/s", (theirs, speed), (ours, speed))
        label += ": peak memory (GiB)"
        yield _pair(results, label, (theirs, memory), (ours, memory), down=True)
        case = f"{family} trimming"
        for counting in ("count", "documents"):
            theirs, ours = ((case, counting, f"{whose}mb_per_second") for whose in ("paper_", ""))
            yield _pair(results, f"{name}, tokens counted ({counting}): MB/s", theirs, ours)
        parts = [_number(results, case, part) for part in ("tokenizer_seconds", "model_seconds")]
        label = f"{name}, tokenizer trimmed, model trimmed, after counting: s"
        yield label, "", ", ".join(dict.fromkeys(parts)), ""
    for label, unit, *place in (
        ("importance of neurons", "s a sentence", "bert importance", "seconds", "{}"),
        ("pseudo-perplexity", "s", "bert perplexity", "measured", "{}", "seconds"),
    ):
        for precision in ("float32", "auto"):
            theirs, ours = (tuple(key.format(way) for key in place) for way in ("paper", precision))
            said = f"mBERT, {label}, {precision}: {unit}"
            yield _pair(results, said, theirs, ours, down=True)


def _pair(results: dict, said: str, theirs: tuple, ours: tuple, down: bool = False) -> tuple:
    left, right = _at(results, *theirs), _at(results, *ours)
    ratio = f"{left / right if down else right / left:,.1f}" if left and right else NOT_RUN
    return said, _number(results, *theirs), _number(results, *ours), ratio


def _number(results: dict, *place: str) -> str:
    value = _at(results, *place)
    if value is None:
        case = results.get(place[0], {})
        return case.get("skipped") or case.get("failed") or NOT_RUN
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _at(results: dict, *place: str):
    for key in place:
        results = results.get(key) if isinstance(results, dict) else None
    return results


def _markdown(names: tuple, rows: list) -> str:
    lines = [names, ("---",) * len(names), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"
