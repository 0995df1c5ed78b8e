"""Committed figures and tables: each has its maker, is clean, and is what its maker makes of the committed records."""

import re
from xml.etree import ElementTree

import matplotlib
import papermill
import pytest

from lib import paths

MAKERS = {"_main_table.md": "main_table", "_size_against_score.svg": "size_against_score"}
FILES = sorted(file for file in paths.FIGURES.iterdir() if file.name != "README.md" and not file.name.startswith("benchmark"))


def maker(file):
    """(notebook, study) of a file in figures/."""
    for ending, name in MAKERS.items():
        if file.name.endswith(ending):
            return paths.ROOT / "notebooks" / "paper" / f"{name}.ipynb", file.name.removesuffix(ending)
    raise AssertionError(f"figures/{file.name} has no maker; name it in figures/README.md and in this test")


def test_readme_names_every_kind_of_file_and_its_maker():
    text = (paths.FIGURES / "README.md").read_text(encoding="utf-8")
    for ending, name in MAKERS.items():
        assert f"`<study>{ending}` | `notebooks/paper/{name}.ipynb`" in text
        assert (paths.ROOT / "notebooks" / "paper" / f"{name}.ipynb").exists()


def test_every_file_has_a_maker_and_a_study():
    for file in FILES:
        assert (paths.PARAMS / "studies" / f"{maker(file)[1]}.yaml").exists(), file.name


def test_files_are_clean():
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert "dc:date" not in text and not re.search(r"/(home|root|tmp|work|Users)/", text), file.name
        if file.suffix == ".svg":
            ElementTree.fromstring(text)


def test_files_are_what_their_makers_make(tmp_path):
    if not FILES:
        pytest.skip("no figures are committed yet: run the notebooks of notebooks/paper")
    for file in FILES:
        notebook, study = maker(file)
        if file.suffix == ".svg" and f"Matplotlib v{matplotlib.__version__}," not in file.read_text(encoding="utf-8"):
            continue  # another version draws other bytes
        papermill.execute_notebook(notebook, None, {"study": study, "figures_folder": str(tmp_path)}, kernel_name="python3",
                                   cwd=str(paths.ROOT), progress_bar=False)
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), f"figures/{file.name} is out of date: run {notebook.name}"


def test_the_readme_shows_the_committed_table():
    """The first table of the README is figures/mini_main_table.md, line by line, so no number stands there by hand."""
    readme = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    lines = (paths.FIGURES / "mini_main_table.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in readme.splitlines() if line in lines and line.startswith("|")] == [line for line in lines if line[:1] == "|"]
    assert "(figures/mini_size_against_score.svg)" in readme
