"""Pages of tables in Markdown, and how they and figures are written to the folder of figures."""

from pathlib import Path

from lib import files
from lib.report import style
from lib.report.tables import to_markdown

NOTHING = "This study has no records of this kind, so there is nothing to show."


def page(study: str, notebook: str, title: str, parts: dict) -> str:
    """A page with one table a part; "" when no part has rows.

    `parts` maps a heading to a data frame of text.
    """
    text = [
        f"# {title}: study {study}\n",
        f"Made by `notebooks/paper/{notebook}.ipynb`, which explains the columns.\n",
    ]
    for heading, frame in parts.items():
        if len(frame):
            text += [f"## {heading}\n", to_markdown(frame)]
    return "\n".join(text) if len(text) > 2 else ""


def write(study: str, contents: dict, folder: str = "") -> str:
    """Write pages and figures to `folder` (figures/ when empty) and return the files' names.

    `contents` maps the ending of a file's name to its text or figure. Where there is none, no file
    is left.
    """
    place = files.ROOT / folder if folder else files.FIGURES
    names = []
    for ending, content in contents.items():
        file = Path(place / f"{study}_{ending}")
        if not content:
            file.unlink(missing_ok=True)
            continue
        if isinstance(content, str):
            files.write_whole(file, content)
        else:
            style.save(content, file.stem, place)
        names.append(file.name)
    return ", ".join(names) or NOTHING
