"""The paper notebooks as one list: which of them makes which file of figures/, and one page that
shows all files.
"""

import json
import tempfile
from pathlib import Path

from lib import files
from lib.report import frame
from lib.study.make import warm_kernel

MAKERS = {  # notebook: endings of its files; it needs a record of this step, or with this change
    "claims": ("claims.md claims.svg", ""),
    "main_table": ("main_table.md", ""),
    "size_against_score": ("size_against_score.svg", ""),
    "baselines": ("baselines.md baselines.svg", "baseline hidden.hidden_start"),
    "sizes": ("sizes.md sizes.svg", ""),
    "text_seen": ("text_seen.md text_seen.svg text_read.svg", ""),
    "teacher_adaptation": ("teacher_adaptation.md teacher_adaptation.svg", "teacher"),
    "student_start": ("student_start.md student_start.svg", "layers.layer_choice"),
    "distillation_loss": (
        "distillation_loss.md distillation_loss.svg mlm_weight.svg temperature.svg convergence.svg",
        "layers.distillation_loss layers.mlm_weight layers.temperature",
    ),
    "hidden_start": ("hidden_start.md hidden_start.svg", "hidden.hidden_start"),
    "hidden_size": ("hidden_size.md hidden_size.svg", ""),
    "vocabulary_size": ("vocabulary_size.md vocabulary_size.svg", ""),
    "adapter_factor": ("adapter_factor.md adapter_factor.svg", "finetune.reduction_factor"),
    "order_of_cuts": ("order_of_cuts.md order_of_cuts.svg", "order"),
    "pseudo_perplexity": ("pseudo_perplexity.md pseudo_perplexity.svg", "perplexity"),
    "logit_lens": ("logit_lens.md logit_lens.svg lens_curve.svg", "lens"),
}
BENCHMARK = ("benchmark.md", "benchmark_growth.svg")  # of no study; `make bench` makes them


def make(study: str, records: str = "", figures: str = "") -> list[str]:
    """Run the paper notebooks that have records, in one kernel, and return their names.

    With `records` the executed notebooks stay beside the figures. Files of a notebook without
    records are removed.
    """
    parameters = {"study": study, "records": records, "figures_folder": figures}
    folder = files.ROOT / figures if figures else files.FIGURES
    found = frame.records(study, records)
    there = {name for record in found for name in (record["step"], *record["changed"])}
    wanted = [name for name, (_, needs) in MAKERS.items() if not needs or there & {*needs.split()}]
    for name in MAKERS.keys() - set(wanted):
        for ending in MAKERS[name][0].split():
            (folder / f"{study}_{ending}").unlink(missing_ok=True)
    with warm_kernel() as execute, tempfile.TemporaryDirectory() as temporary:
        copies = folder if records and figures else Path(temporary)
        for name in wanted:
            execute(_notebook(name), copies / f"{name}.ipynb", parameters)
    return wanted


def maker(file: Path) -> tuple[str, str] | None:
    """(notebook, study) of a file of figures/; None if no notebook makes it."""
    study, _, ending = file.name.partition("_")
    for name, (endings, _) in MAKERS.items():
        if ending in endings.split():
            return name, study
    return None


def readme() -> str:
    """The text of figures/README.md: the makers with their files, and every committed figure."""
    made: dict[tuple, list] = {}
    for file in sorted(files.FIGURES.iterdir()):
        made.setdefault(maker(file), []).append(file.name)
    text = _HEAD
    for name in [*MAKERS, "benchmark"]:
        endings = [f"<study>_{ending}" for ending in MAKERS.get(name, ("",))[0].split()]
        names = " ".join(f"`{file}`" for file in endings or BENCHMARK)
        text += f"| [{name}](../notebooks/paper/{name}.ipynb) | {_title(name)} | {names} |\n"
    text += _TAIL
    for study in sorted({key[1] for key in made if key}):
        text += f"\n## {study}\n"
        for name in MAKERS:
            if (name, study) in made:
                text += f"\n### {_title(name)}\n" + _shown(made[name, study], f"{name}, {study}")
    drawn = [name for name in BENCHMARK if (files.FIGURES / name).exists()]
    return text + f"\n## benchmark\n{_shown(drawn, 'how the cost grows')}" if drawn else text


def _notebook(name: str) -> Path:
    return files.ROOT / "notebooks" / "paper" / f"{name}.ipynb"


def _title(name: str) -> str:
    cells = json.loads(_notebook(name).read_text(encoding="utf-8"))["cells"]
    return cells[0]["source"][0].strip("# \n")


def _shown(names: list[str], title: str) -> str:
    """A link to each page of tables, then each figure."""
    tables = "".join(f"\n[Table]({name})\n" for name in names if name.endswith(".md"))
    return tables + "".join(f"\n![{title}]({name})\n" for name in names if name.endswith(".svg"))


_HEAD = """# Figures and tables

Only the notebooks of `notebooks/paper` write these files. To change a file, change its notebook and
run it again. `python -m lib.report readme` writes this page. `<study>` is the name of a study in
`params/studies`, with records in `data/results/<study>.jsonl`. Published numbers are in
`data/paper`.

| notebook | question | files |
|---|---|---|
"""
_TAIL = """
A study without records of a kind has no such file. The files hold no date. The same records give
the same bytes (figures: with the same version of Matplotlib, which each names in its first lines).
`tests/notebooks/test_figures.py` makes them again and compares.

To make all files for the published records of a study of your own, or one file elsewhere:

```
python -m lib.report make my-study
papermill notebooks/paper/main_table.ipynb data/runs/main_table.ipynb -p study demo \\
    -p records data/runs/studies/demo.jsonl -p figures_folder data/runs/studies
```
"""
