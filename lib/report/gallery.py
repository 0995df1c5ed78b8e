"""The paper notebooks as one list: which of them makes which file of figures/, made together and shown on one page.

    python -m lib.gallery make mini        run all paper notebooks on data/results/mini, into figures/, and write figures/README.md
    python -m lib.gallery make mini --records FOLDER --figures FOLDER       elsewhere; keeps the executed notebooks there too
    python -m lib.gallery readme           write figures/README.md

A notebook writes its files where the records of the study allow it. Where there are none of its kind it says NOTHING and writes nothing.
"""

import argparse
import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from lib import files
from lib.report import style, tables
from lib.study import kernel

NOTHING = "This study has no records of this kind, so there is nothing to show."
MAKERS = {  # notebook: the endings of its files behind the study's name, and what they show
    "claims": (
        ("claims.md", "claims.svg"),
        "every claim of the paper: what was measured, its interval, and a verdict",
    ),
    "main_table": (
        ("main_table.md",),
        "every cut: parameters, compression, scores, differences to the adapted teacher",
    ),
    "size_against_score": (
        ("size_against_score.svg",),
        "parameters against score, one panel a task, one line a language",
    ),
    "floors": (
        ("floors.md", "floors.svg"),
        "the student beside what is to be had more cheaply: without an encoder, without a teacher",
    ),
    "sizes": (
        ("sizes.md", "sizes.svg"),
        "parameters of every model of the chain, counted from configurations, published and ours",
    ),
    "text_seen": (
        ("text_seen.md", "text_seen.svg", "text_adapted.svg"),
        "the drop against the text that the teacher has seen: between languages, and within one adapted on less",
    ),
    "teacher_adaptation": (
        ("teacher_adaptation.md", "teacher_adaptation.svg"),
        "the plain and the adapted teacher, and their students",
    ),
    "student_start": (
        ("student_start.md", "student_start.svg"),
        "which layers the student starts from",
    ),
    "distillation_loss": (
        (
            "distillation_loss.md",
            "distillation_loss.svg",
            "mlm_weight.svg",
            "temperature.svg",
            "convergence.svg",
        ),
        "what the student learns from, the share of the MLM loss, the temperature; losses against steps and seconds",
    ),
    "hidden_start": (("hidden_start.md", "hidden_start.svg"), "how the smaller hidden size starts"),
    "hidden_size": (("hidden_size.md", "hidden_size.svg"), "how small the hidden size can be"),
    "vocabulary_size": (
        ("vocabulary_size.md", "vocabulary_size.svg"),
        "how small the vocabulary can be",
    ),
    "adapter_factor": (
        ("adapter_factor.md", "adapter_factor.svg"),
        "how narrow the task adapter can be",
    ),
    "order_of_cuts": (("order_of_cuts.md", "order_of_cuts.svg"), "the same cuts in another order"),
    "pseudo_perplexity": (
        ("pseudo_perplexity.md", "pseudo_perplexity.svg"),
        "how surprised each model is, by token, word and character",
    ),
    "logit_lens": (
        ("logit_lens.md", "logit_lens.svg", "lens_curve.svg"),
        "at which depth each model knows the hidden token",
    ),
}
BENCHMARK = (
    "benchmark.md",
    "benchmark_growth.svg",
)  # of no study: notebooks/paper/benchmark.ipynb makes them, by `make bench`


def page(study: str, name: str, title: str, parts: dict, notes: str = "") -> str:
    """A page for figures/ with one table a part; "" when no part has rows. `parts` maps a heading to a data frame of text."""
    parts = {heading: frame for heading, frame in parts.items() if len(frame)}
    if not parts:
        return ""
    head = [
        f"# {title}: study {study}\n",
        f"Made by `notebooks/paper/{name}.ipynb`, which explains the columns.\n",
    ]
    body = [
        text
        for heading, frame in parts.items()
        for text in (f"## {heading}\n", tables.to_markdown(frame))
    ]
    return "\n".join([*head, *body, *([f"{notes}\n"] if notes else [])])


def write(
    study: str, name: str, page: str, drawings: dict[str, Figure | None], folder: Path
) -> str:
    """Write a notebook's page and drawings (ending -> figure) to `folder` and return their names; without a page none is left there."""
    files = [folder / f"{study}_{ending}" for ending in MAKERS[name][0]]
    if not page:
        for file in files:
            file.unlink(missing_ok=True)
        return f"{name}: {NOTHING}"
    files.write_whole(files[0], page)
    for ending, figure in drawings.items():
        if figure is None:
            (folder / f"{study}_{ending}.svg").unlink(missing_ok=True)
        else:
            style.save(figure, f"{study}_{ending}", folder)
    return ", ".join(file.name for file in files if file.exists())


def make(
    study: str,
    records: Path | None = None,
    figures: Path | None = None,
    names: list[str] | None = None,
) -> list[Path]:
    """Run the paper notebooks (all, or those named) on a study, in one kernel, and return the files that are there then."""
    figures = Path(figures or files.FIGURES)
    given = {"study": study, "figures_folder": str(figures)} | (
        {"records_folder": str(records)} if records else {}
    )
    with kernel.warm() as run, tempfile.TemporaryDirectory() as copies:
        for name in names or MAKERS:
            run(
                files.ROOT / "notebooks" / "paper" / f"{name}.ipynb",
                (figures if records else Path(copies)) / f"{name}.ipynb",
                given,
            )
    return [
        file
        for name in names or MAKERS
        for ending in MAKERS[name][0]
        if (file := figures / f"{study}_{ending}").exists()
    ]


def maker(file: Path) -> tuple[str, str] | None:
    """(notebook, study) of a file of figures/, or None if no notebook makes it."""
    for name, (endings, _) in MAKERS.items():
        for ending in endings:
            if file.name.endswith(f"_{ending}"):
                return name, file.name.removesuffix(f"_{ending}")
    return None


def readme() -> str:
    """The text of figures/README.md: which notebook makes which file, and every committed drawing."""
    here = sorted(file for file in files.FIGURES.iterdir() if maker(file))
    lines = [_HEAD]
    for name, (endings, shows) in MAKERS.items():
        files = " ".join(f"`<study>_{ending}`" for ending in endings)
        lines.append(f"| [{name}](../notebooks/paper/{name}.ipynb) | {shows} | {files} |\n")
    files = " ".join(f"`{name}`" for name in BENCHMARK)
    lines.append(
        f"| [benchmark](../notebooks/paper/benchmark.ipynb) | what the steps cost, against the paper's procedure | {files} |\n"
    )
    lines.append(_MIDDLE)
    for study in sorted({maker(file)[1] for file in here}):
        lines.append(f"\n## {study}\n")
        for name, (_, shows) in MAKERS.items():
            own = [file for file in here if maker(file) == (name, study)]
            if own:
                pages = ", ".join(f"[table]({file.name})" for file in own if file.suffix == ".md")
                lines.append(
                    f"\n### {name.replace('_', ' ')}\n\n{shows[0].upper()}{shows[1:]}{f' ({pages})' if pages else ''}.\n"
                )
                lines += [
                    f"\n![{name.replace('_', ' ')}, {study}]({file.name})\n"
                    for file in own
                    if file.suffix == ".svg"
                ]
    drawn = [name for name in BENCHMARK if (files.FIGURES / name).exists()]
    if drawn:
        lines.append(
            "\n## benchmark\n\nWhat the steps cost, against the paper's procedure ([table](benchmark.md)).\n"
        )
        lines += [f"\n![how the cost grows]({name})\n" for name in drawn if name.endswith("svg")]
    return "".join(lines)


_HEAD = """# Figures and tables

Everything here is written by a notebook of `notebooks/paper` and by nothing else; to change a file, change its maker and run it again.
This page is written by `python -m lib.gallery readme`. `<study>` is the name of a study in `params/studies`; the records behind it lie
in `data/results/<study>`, the published numbers in `data/paper`.

| notebook | what it shows | files |
|---|---|---|
"""
_MIDDLE = """
A file that is missing for a study was not made because the study has no records of that kind. The files hold no date, and the same records
give the same bytes (pictures: with the same version of Matplotlib, which each names in its first lines). `tests/test_figures.py` makes
them again and compares.

To make all for a study of your own from the records it has published, or one of a study that has run:

```
python -m lib.gallery make my-study
papermill notebooks/paper/main_table.ipynb data/runs/main_table.ipynb -p study demo \\
    -p records_folder data/runs/studies/demo -p figures_folder data/runs/studies/demo
```
"""


def main() -> None:
    """Command line; see the head of this module."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.gallery", description="The paper notebooks and their files."
    )
    parser.add_argument("action", choices=("make", "readme"))
    parser.add_argument("study", nargs="?", help="with make: a study of params/studies")
    parser.add_argument(
        "--records", type=Path, help="folder of its records; data/results/<study> when not given"
    )
    parser.add_argument("--figures", type=Path, help="folder to write to; figures/ when not given")
    given = parser.parse_args()
    if given.action == "make" and not given.study:
        parser.error("name the study to make figures of")
    if given.action == "make":
        print(
            "\n".join(
                str(file)
                for file in make(
                    given.study,
                    given.records and given.records.resolve(),
                    given.figures and given.figures.resolve(),
                )
            )
        )
    if given.action == "readme" or given.figures is None:
        files.write_whole(files.FIGURES / "README.md", readme())


if __name__ == "__main__":
    main()
