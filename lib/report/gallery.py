"""The paper notebooks as one list: which of them makes which file of figures/, and one page that
shows all files.
"""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lib import files
from lib.report import frame
from lib.study.make import warm_kernel

NOTEBOOKS = files.ROOT / "notebooks" / "paper"
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
    "exports": ("export.md export.svg", "export"),
}
# of no study; `make bench` makes them
BENCHMARK = ("benchmark.md", "benchmark_growth.svg", "benchmark_recipes.svg")


def make(study: str, records: str = "", figures: str = "") -> list[str]:
    """Run the paper notebooks that have records, in one kernel, and return their names.

    With `records` the executed notebooks stay beside the figures. Files of a notebook without
    records are removed.
    """
    parameters = {"study": study, "records": records, "figures_folder": figures}
    folder = files.ROOT / figures if figures else files.FIGURES
    found = frame.records(study, records)
    there, made = {name for record in found for name in (record["step"], *record["changed"])}, []
    with warm_kernel() as execute, tempfile.TemporaryDirectory() as temporary:
        copies = folder if records and figures else Path(temporary)
        for name, (endings, needs) in MAKERS.items():
            if not needs or there & {*needs.split()}:
                execute(NOTEBOOKS / f"{name}.ipynb", copies / f"{name}.ipynb", parameters)
                made.append(name)
            else:
                for ending in endings.split():
                    (folder / f"{study}_{ending}").unlink(missing_ok=True)
    return made


def readme() -> str:
    """The text of figures/README.md: the makers with their files, and every committed figure."""
    made = {name: endings.split() for name, (endings, _) in MAKERS.items()}
    text, studies = _HEAD, dict.fromkeys(made, "<study>_")
    for name, endings in (made | {"benchmark": BENCHMARK}).items():
        shown = " ".join(f"`{studies.get(name, '')}{ending}`" for ending in endings)
        text += f"| [{name}](../notebooks/paper/{name}.ipynb) | {_title(name)} | {shown} |\n"
    text += _TAIL
    for study in sorted(file.stem for file in files.RESULTS.glob("*.jsonl")):
        text += f"\n## {study}\n"
        for name, endings in made.items():
            shown = _shown([f"{study}_{ending}" for ending in endings], f"{name}, {study}")
            text += f"\n### {_title(name)}\n{shown}" if shown else ""
    shown = _shown(BENCHMARK, "cost, and quality by recipe")
    return text + (f"\n## benchmark\n{shown}" if shown else "")


def _title(name: str) -> str:
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return cells[0]["source"][0].strip("# \n")


def _shown(names: Iterable[str], title: str) -> str:
    """A link to each page of tables that is there, then each figure."""
    there = sorted(name for name in names if (files.FIGURES / name).exists())
    tables = "".join(f"\n[Table]({name})\n" for name in there if name.endswith(".md"))
    return tables + "".join(f"\n![{title}]({name})\n" for name in there if name.endswith(".svg"))


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
