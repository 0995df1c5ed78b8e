"""Records of the benchmark -> tables and the figure of notebooks/paper/benchmark.ipynb."""

import json
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.figure import Figure

from lib.report import plots

NOT_RUN = "not run"
NAMES = {"bert": "mBERT", "xlm-roberta": "XLM-R"}
TEXTS = {"sentences": "sentences", "full": "texts of 512 tokens"}


def read(folder: Path) -> dict:
    """The records by device, cpu before cuda."""
    return {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(folder.glob("*.json"))
    }


def machine(record: dict) -> str:
    """One line about where and on what a record was made."""
    given = record["inputs"]
    return (
        f"{record['device']}, {record['threads']} threads, torch {record['environment']['torch']}; text: {given['text']}; "
        f"mBERT's vocabulary: {given['mbert_vocabulary']}; {record['minutes']} minutes"
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
        for family, name in NAMES.items():
            results = record["results"]
            rows += [
                (
                    device,
                    f"{name}: losses of one batch",
                    _number(results, f"{family} equality", "greatest_relative_difference"),
                ),
                *(
                    (
                        device,
                        f"{name}: counted tokens, {counting}",
                        "equal"
                        if _at(results, f"{family} trimming", counting, "equal")
                        else NOT_RUN,
                    )
                    for counting in ("count", "documents")
                ),
            ]
        rows.append(
            (
                device,
                "mBERT: importance of neurons",
                _number(results, "bert importance", "relative_difference"),
            )
        )
        rows.append(
            (
                device,
                "mBERT: pseudo-perplexity",
                _number(results, "bert perplexity", "relative_difference"),
            )
        )
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


def growth(record: dict | None) -> Figure | None:
    """Figure of seconds a step against tokens, vocabulary, hidden size and layers, with the ideal; None without a record."""
    points = _at((record or {}).get("results", {}), "growth", "points")
    if not points:
        return None
    names = {
        "tokens": "tokens a step",
        "vocab_size": "vocabulary",
        "hidden_size": "hidden size",
        "num_hidden_layers": "layers of the teacher",
    }
    with matplotlib.rc_context(
        {
            "font.size": 9,
            "svg.hashsalt": "lib.plots",
            "svg.fonttype": "path",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.dpi": 110,
        }
    ):
        figure, panels = pyplot.subplots(1, 4, figsize=(10, 2.9), sharey=True, layout="constrained")
        for axes, (axis, name) in zip(panels, names.items(), strict=True):
            some = [each for each in points if each["axis"] == axis]
            values = [each["value"] for each in some]
            axes.plot(
                values,
                [each["seconds"] for each in some],
                marker="o",
                color=plots.COLOURS[0],
                label="measured",
            )
            axes.plot(
                values,
                [each["ideal_seconds"] for each in some],
                marker="s",
                linestyle="--",
                color=plots.COLOURS[1],
                label="ideal",
            )
            gram = [each for each in some if each["gram_form"]]
            axes.plot(
                [each["value"] for each in gram],
                [each["seconds"] for each in gram],
                "o",
                markersize=10,
                fillstyle="none",
                color="black",
                label="Gram form",
            )
            axes.set(xscale="log", yscale="log", xlabel=name)
            axes.set_xticks(values, [f"{value:,}" for value in values])
            axes.minorticks_off()
        panels[0].set_ylabel("seconds a step")
        panels[0].legend(frameon=False)
        pyplot.close(figure)
    return figure


def save(figure: Figure, file: Path) -> None:
    """Write the figure as SVG, the same bytes for the same record."""
    with matplotlib.rc_context({"svg.hashsalt": "lib.plots", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None})


def _rows(results: dict):
    for family, name in NAMES.items():
        for text, said in TEXTS.items():
            theirs, ours = f"{family} distil paper {text}", f"{family} distil ours {text}"
            yield _pair(
                results,
                f"{name}, distillation, {said}: real tokens/s",
                (theirs, "real_tokens_per_second"),
                (ours, "real_tokens_per_second"),
            )
            yield _pair(
                results,
                f"{name}, distillation, {said}: peak memory (GiB)",
                (theirs, "peak_gib"),
                (ours, "peak_gib"),
                down=True,
            )
        theirs = f"{family} distil paper sentences", "real_tokens_per_second"
        yield _pair(
            results,
            f"{name}, distillation, sentences, float32: real tokens/s",
            theirs,
            (f"{family} distil ours sentences float32", theirs[1]),
        )
        for unit, key, down in (
            ("real tokens/s", theirs[1], False),
            ("peak memory (GiB)", "peak_gib", True),
        ):
            yield _pair(
                results,
                f"{name}, distillation, sentences, vocabulary trimmed first: {unit}",
                (theirs[0], key),
                (f"{family} distil ours sentences trimmed first", key),
                down=down,
            )
        for counting in ("count", "documents"):
            yield _pair(
                results,
                f"{name}, tokens counted ({counting}): MB/s",
                (f"{family} trimming", counting, "paper_mb_per_second"),
                (f"{family} trimming", counting, "mb_per_second"),
            )
        parts = [
            _number(results, f"{family} trimming", part)
            for part in ("tokenizer_seconds", "model_seconds")
        ]
        yield (
            f"{name}, tokenizer trimmed, model trimmed, after counting: s",
            "",
            ", ".join(dict.fromkeys(parts)),
            "",
        )
    for precision in ("float32", "auto"):
        yield _pair(
            results,
            f"mBERT, importance of neurons, {precision}: s a sentence",
            ("bert importance", "seconds", "paper"),
            ("bert importance", "seconds", precision),
            down=True,
        )
    for precision in ("float32", "auto"):
        yield _pair(
            results,
            f"mBERT, pseudo-perplexity, {precision}: s",
            ("bert perplexity", "measured", "paper", "seconds"),
            ("bert perplexity", "measured", precision, "seconds"),
            down=True,
        )


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
