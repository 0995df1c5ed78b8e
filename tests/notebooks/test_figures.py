"""Committed figures and tables: each has its maker, is clean, and is what its maker makes of the
committed records.
"""

import re
from xml.etree import ElementTree

import matplotlib
import pandas
import pytest

from lib import facts, files
from lib.report import frame, gallery, tables

pytestmark = pytest.mark.slow

FILES = sorted(
    file for file in files.FIGURES.iterdir() if file.name not in ("README.md", *gallery.BENCHMARK)
)
ENDINGS = [ending for endings, _ in gallery.MAKERS.values() for ending in endings.split()]
STUDIES = sorted({file.name.partition("_")[0] for file in FILES})


def test_every_paper_notebook_is_in_the_gallery_and_no_other():
    notebooks = (files.ROOT / "notebooks" / "paper").glob("*.ipynb")
    assert {*gallery.MAKERS, "benchmark"} == {file.stem for file in notebooks}


def test_the_gallery_is_up_to_date_and_shows_every_file():
    text = (files.FIGURES / "README.md").read_text(encoding="utf-8")
    assert text == gallery.readme(), "run `python -m lib.report readme`"
    for file in FILES:
        assert f"({file.name})" in text, file.name


def test_every_file_has_a_maker_and_a_study():
    for file in FILES:
        study, _, ending = file.name.partition("_")
        assert ending in ENDINGS, f"figures/{file.name} has no maker; name it in gallery.MAKERS"
        assert (files.PARAMS / "studies" / f"{study}.yaml").exists(), file.name


def test_files_are_clean():
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert "dc:date" not in text, file.name
        assert not re.search(r"/(home|root|tmp|work|Users)/", text), file.name
        if file.suffix == ".svg":
            ElementTree.fromstring(text)


@pytest.mark.parametrize("study", STUDIES)
def test_files_are_what_their_makers_make(study, tmp_path):
    """All notebooks of a study in one kernel: the same files, and no more, of the same bytes."""
    gallery.make(study, figures=str(tmp_path))
    committed = {file.name: file for file in FILES if file.name.startswith(f"{study}_")}
    assert {file.name for file in tmp_path.iterdir()} == set(committed)
    drawn_here = f"Matplotlib v{matplotlib.__version__},"
    for name, file in committed.items():
        if file.suffix == ".md" or drawn_here in file.read_text(encoding="utf-8"):
            same = (tmp_path / name).read_bytes() == file.read_bytes()
            assert same, f"figures/{name} is out of date: `python -m lib.report make {study}`"


def test_published_scores_of_words_are_of_all_words():
    """A word beyond max_length counts as wrong; where a record says how many were, few were."""
    known = [
        record
        for file in files.RESULTS.glob("*.jsonl")
        for record in frame.records(file.stem)
        if record["step"] == "finetune" and record.get("cut_off") is not None
    ]
    of_words = [
        record for record in known if facts.fact("tasks", record["task"])["kind"] == "token"
    ]
    assert of_words
    for record in of_words:
        message = (
            f"{record['id']}: {record['cut_off']:.1%} of the words were cut off; raise max_length"
        )
        assert record["cut_off"] < 0.01, message


def test_without_records_nothing_is_written_and_former_files_are_removed(tmp_path):
    (tmp_path / "toy_claims.md").write_text("old")
    contents = {"claims.md": "", "claims.svg": None}
    assert tables.write("toy", contents, str(tmp_path)) == tables.NOTHING
    assert not [*tmp_path.iterdir()]


def test_a_page_is_its_tables_and_nothing_without_rows():
    table = pandas.DataFrame({"a": ["x"], "b": ["1"]})
    assert tables.page("toy", "claims", "Claims", {"Verdicts": table[:0]}) == ""
    page = tables.page("toy", "claims", "Claims", {"Verdicts": table, "None": table[:0]})
    assert page.startswith("# Claims: study toy\n\nMade by `notebooks/paper/claims.ipynb`")
    assert "## Verdicts\n\n| a   |" in page and "## None" not in page
