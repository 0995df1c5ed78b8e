"""The paper notebooks as one list: which of them makes which file of figures/, and one page that
shows them all.
"""

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from lib import files
from lib.report import frame, pages
from lib.study.make import warm_kernel


class Maker(NamedTuple):
    """A paper notebook: the endings of its files behind the study's name, and what they show.

    It needs a record of one of the steps, or that changed one of the settings, in `needs`.
    """

    endings: str
    shows: str
    needs: str = ""


MAKERS = {
    "claims": Maker(
        "claims.md claims.svg",
        "every claim of the paper: what was measured, its interval, and a verdict",
    ),
    "main_table": Maker(
        "main_table.md",
        "every cut: parameters, compression, scores, differences to the adapted teacher",
    ),
    "size_against_score": Maker(
        "size_against_score.svg",
        "parameters against score, one panel a task, one line a language",
    ),
    "baselines": Maker(
        "baselines.md baselines.svg",
        "the student beside what is to be had more cheaply: without an encoder, without a teacher",
        "baseline hidden.hidden_start",
    ),
    "sizes": Maker(
        "sizes.md sizes.svg",
        "parameters of every model of the chain, counted from configurations, published and ours",
    ),
    "text_seen": Maker(
        "text_seen.md text_seen.svg text_adapted.svg",
        "the drop against the text that the teacher has seen: between languages, and within one "
        "adapted on less",
    ),
    "teacher_adaptation": Maker(
        "teacher_adaptation.md teacher_adaptation.svg",
        "the plain and the adapted teacher, and their students",
        "teacher",
    ),
    "student_start": Maker(
        "student_start.md student_start.svg",
        "which layers the student starts from",
        "layers.layer_choice",
    ),
    "distillation_loss": Maker(
        "distillation_loss.md distillation_loss.svg mlm_weight.svg temperature.svg convergence.svg",
        "what the student learns from, the share of the MLM loss, the temperature; losses against "
        "steps and seconds",
        "layers.distillation_loss layers.mlm_weight layers.temperature",
    ),
    "hidden_start": Maker(
        "hidden_start.md hidden_start.svg",
        "how the smaller hidden size starts",
        "hidden.hidden_start",
    ),
    "hidden_size": Maker("hidden_size.md hidden_size.svg", "how small the hidden size can be"),
    "vocabulary_size": Maker(
        "vocabulary_size.md vocabulary_size.svg", "how small the vocabulary can be"
    ),
    "adapter_factor": Maker(
        "adapter_factor.md adapter_factor.svg",
        "how narrow the task adapter can be",
        "finetune.reduction_factor",
    ),
    "order_of_cuts": Maker(
        "order_of_cuts.md order_of_cuts.svg", "the same cuts in another order", "order"
    ),
    "pseudo_perplexity": Maker(
        "pseudo_perplexity.md pseudo_perplexity.svg",
        "how surprised each model is, by token, word and character",
        "perplexity",
    ),
    "logit_lens": Maker(
        "logit_lens.md logit_lens.svg lens_curve.svg",
        "at which depth each model knows the hidden token",
        "lens",
    ),
}
BENCHMARK = ("benchmark.md", "benchmark_growth.svg")  # of no study; `make bench` makes them


def make(study: str, records: str = "", figures: str = "") -> list[str]:
    """Run the paper notebooks that have records, in one kernel, and return what each has written.

    With `records`, the executed notebooks are kept beside the figures. Files of a notebook without
    records are removed.
    """
    parameters = {"study": study, "records": records, "figures_folder": figures}
    found = frame.records(study, records)
    present = {record["step"] for record in found}
    present |= {name for record in found for name in record["changed"]}
    written = []
    with warm_kernel() as execute, tempfile.TemporaryDirectory() as folder:
        copies = files.ROOT / figures if records and figures else Path(folder)
        for name, maker in MAKERS.items():
            if maker.needs and not present & {*maker.needs.split()}:
                pages.write(study, dict.fromkeys(maker.endings.split()), figures)
                continue
            notebook = files.ROOT / "notebooks" / "paper" / f"{name}.ipynb"
            execute(notebook, copies / notebook.name, parameters)
            written.append(name)
    return written


def maker(file: Path) -> tuple[str, str] | None:
    """(notebook, study) of a file of figures/; None if no notebook makes it."""
    study, _, ending = file.name.partition("_")
    for name, entry in MAKERS.items():
        if ending in entry.endings.split():
            return name, study
    return None


def readme() -> str:
    """The text of figures/README.md: which notebook makes which file, and every committed figure."""
    text = _HEAD
    for name, entry in MAKERS.items():
        names = " ".join(f"`<study>_{ending}`" for ending in entry.endings.split())
        text += f"| [{name}](../notebooks/paper/{name}.ipynb) | {entry.shows} | {names} |\n"
    names = " ".join(f"`{name}`" for name in BENCHMARK)
    text += f"| [benchmark](../notebooks/paper/benchmark.ipynb) | {_COST} | {names} |\n{_MIDDLE}"
    made: dict = defaultdict(list)
    for file in sorted(files.FIGURES.iterdir()):
        if key := maker(file):
            made[key].append(file.name)
    for study in sorted({study for _, study in made}):
        text += f"\n## {study}\n"
        for name, entry in MAKERS.items():
            if own := made.get((name, study)):
                title = name.replace("_", " ")
                shows = entry.shows[0].upper() + entry.shows[1:]
                text += f"\n### {title}\n\n{shows}" + _shown(own, f"{title}, {study}")
    there = [name for name in BENCHMARK if (files.FIGURES / name).exists()]
    shows = _COST[0].upper() + _COST[1:]
    return text + (
        f"\n## benchmark\n\n{shows}" + _shown(there, "how the cost grows") if there else ""
    )


def _shown(names: list[str], title: str) -> str:
    """A link to each page of tables, and each figure."""
    tables = ", ".join(f"[table]({name})" for name in names if name.endswith(".md"))
    text = f" ({tables}).\n" if tables else ".\n"
    return text + "".join(f"\n![{title}]({name})\n" for name in names if name.endswith(".svg"))


_COST = "what the steps cost, against the paper's procedure"
_HEAD = """# Figures and tables

Everything here is written by a notebook of `notebooks/paper` and by nothing else. To change a file,
change its maker and run it again. This page is written by `python -m lib.report readme`. `<study>` is
the name of a study in `params/studies`. The records behind it are in `data/results/<study>.jsonl`, the
published numbers in `data/paper`.

| notebook | what it shows | files |
|---|---|---|
"""
_MIDDLE = """
A file that is missing for a study was not made because the study has no records of that kind. The
files hold no date, and the same records give the same bytes (figures: with the same version of
Matplotlib, which each names in its first lines). `tests/notebooks/test_figures.py` makes them again
and compares.

To make all for a study of your own from the records it has published, or one of a study that has run:

```
python -m lib.report make my-study
papermill notebooks/paper/main_table.ipynb data/runs/main_table.ipynb -p study demo \\
    -p records data/runs/studies/demo.jsonl -p figures_folder data/runs/studies
```
"""
