"""Published numbers; tables in Markdown; pages of them, and how these and figures are written."""

import math

import pandas

from lib import facts, files
from lib.checks import entry_of
from lib.report import style
from lib.report.words import NOT_RUN

NOTHING = "This study has no records of this kind, so there is nothing to show."


def published(name: str) -> pandas.DataFrame:
    """The published numbers of data/paper/<name>.csv; the column `source` says their origin."""
    known = {file.stem: file for file in sorted(files.PAPER.glob("*.csv"))}
    return pandas.read_csv(entry_of(known, name, "published numbers", "data/paper", "add a file"))


def text_seen(teacher: str) -> dict[str, float]:
    """Language -> amount of its text in the teacher's pre-training: in GB where it is published, in
    sentences for a teacher of ours (inf: all there are).
    """
    entry = facts.fact("models", teacher)
    if "text" in entry:
        return {language: float(count) or math.inf for language, count in entry["text"].items()}
    seen = published("pretraining_text")
    seen = seen[(seen["stage"] == "pre-training") & (seen["teacher"] == teacher)]
    return dict(zip(seen["language"], seen["amount"].astype(float), strict=True))


def by_task(rows: pandas.DataFrame, keys: list[str]) -> pandas.DataFrame:
    """One row a group of `keys`, which are its index; one column a task with its last `text`."""
    texts = rows.groupby([*keys, "what"], observed=True)["text"].last()
    texts = texts.unstack("what", fill_value=NOT_RUN)
    return texts[[task for task in facts.facts("tasks") if task in texts]]


def to_markdown(frame: pandas.DataFrame, left: int = 1) -> str:
    """`frame` as a Markdown table without its index, its first `left` columns set flush left."""
    rows = [[*frame.columns], *frame.itertuples(index=False, name=None)]
    rows = [[" ".join(str(cell).replace("|", "\\|").split()) for cell in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    rules = ["-" * width if at < left else f"{':':->{width}}" for at, width in enumerate(widths)]
    sides = ["<" if at < left else ">" for at in range(len(widths))]
    text = ""
    for row in [rows[0], rules, *rows[1:]]:
        cells = zip(row, sides, widths, strict=True)
        text += f"| {' | '.join(f'{cell:{side}{width}}' for cell, side, width in cells)} |\n"
    return text


def page(study: str, notebook: str, title: str, parts: dict) -> str:
    """A page with one table a part; "" when no part has rows.

    `parts` maps a heading to a data frame of text.
    """
    made = f"Made by `notebooks/paper/{notebook}.ipynb`, which explains the columns."
    parts = {heading: frame for heading, frame in parts.items() if len(frame)}
    tables = [f"## {heading}\n\n{to_markdown(frame)}" for heading, frame in parts.items()]
    return "\n".join([f"# {title}: study {study}\n", f"{made}\n", *tables]) if tables else ""


def write(study: str, contents: dict, folder: str = "") -> str:
    """Write pages and figures to `folder` (figures/ when empty) and return the files' names.

    `contents` maps the ending of a file's name to its text or figure. Where there is none, no file
    is left.
    """
    place = files.ROOT / folder if folder else files.FIGURES
    named = {f"{study}_{ending}": content for ending, content in contents.items()}
    for name, content in named.items():
        if not content:
            (place / name).unlink(missing_ok=True)
        elif isinstance(content, str):
            files.write_whole(place / name, content)
        else:
            style.save(content, name.removesuffix(".svg"), place)
    return ", ".join(name for name, content in named.items() if content) or NOTHING
