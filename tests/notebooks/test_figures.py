"""Committed figures and tables: each has its maker, is clean, and is what its maker makes of the committed records."""

import re
from xml.etree import ElementTree

import matplotlib
import pandas
import pytest

from lib import facts, files
from lib.report import gallery
from lib.study import records

FILES = sorted(
    file for file in files.FIGURES.iterdir() if file.name not in ("README.md", *gallery.BENCHMARK)
)
STUDIES = sorted({found[1] for file in FILES if (found := gallery.maker(file))})


def test_every_paper_notebook_is_in_the_gallery_and_no_other():
    assert {*gallery.MAKERS, "benchmark"} == {
        file.stem for file in (files.ROOT / "notebooks" / "paper").glob("*.ipynb")
    }


def test_the_gallery_is_up_to_date_and_shows_every_drawing():
    text = (files.FIGURES / "README.md").read_text(encoding="utf-8")
    assert text == gallery.readme(), "run `python -m lib.gallery readme`"
    for file in FILES:
        assert f"({file.name})" in text, file.name


def test_every_file_has_a_maker_and_a_study():
    for file in FILES:
        assert gallery.maker(file), f"figures/{file.name} has no maker; name it in lib/gallery.py"
        assert (files.PARAMS / "studies" / f"{gallery.maker(file)[1]}.yaml").exists(), file.name


def test_files_are_clean():
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert "dc:date" not in text and not re.search(r"/(home|root|tmp|work|Users)/", text), (
            file.name
        )
        if file.suffix == ".svg":
            ElementTree.fromstring(text)


@pytest.mark.parametrize("study", STUDIES)
def test_files_are_what_their_makers_make(study, tmp_path):
    """All notebooks in one kernel, each study once; the same files, and no more, of the same bytes."""
    own = [file for file in FILES if gallery.maker(file)[1] == study]
    names = list(dict.fromkeys(gallery.maker(file)[0] for file in own))
    made = gallery.make(study, figures=tmp_path, names=names)
    assert {file.name for file in made} == {file.name for file in own}
    for file in own:
        if file.suffix == ".svg" and f"Matplotlib v{matplotlib.__version__}," not in file.read_text(
            encoding="utf-8"
        ):
            continue  # another version draws other bytes
        same = (tmp_path / file.name).read_bytes() == file.read_bytes()
        assert same, f"figures/{file.name} is out of date: `python -m lib.gallery make {study}`"


def test_published_scores_of_words_are_of_all_words():
    """A word beyond max_length counts as wrong; where a record says how many were, it was next to none."""
    known = [
        record
        for folder in files.RESULTS.iterdir()
        for record in records.load(folder).to_dict("records")
        if record.get("step") == "finetune" and pandas.notna(record.get("cut_off"))
    ]
    of_words = [
        record for record in known if facts.fact("tasks", record["task"])["kind"] == "token"
    ]
    assert of_words
    for record in of_words:
        assert record["cut_off"] < 0.01, (
            f"{record['id']}: {record['cut_off']:.1%} of the words were cut off; raise max_length"
        )


def test_a_study_without_records_makes_nothing_and_what_was_there_goes(tmp_path):
    (tmp_path / "toy_claims.md").write_text("old")
    said = gallery.write("toy", "claims", "", {"claims": None}, tmp_path)
    assert said == f"claims: {gallery.NOTHING}" and not [*tmp_path.iterdir()]


def test_a_page_is_its_tables_and_nothing_without_rows():
    frame = pandas.DataFrame({"a": ["x"], "b": ["1"]})
    assert gallery.page("toy", "claims", "Claims", {"Verdicts": frame.iloc[:0]}) == ""
    page = gallery.page("toy", "claims", "Claims", {"Verdicts": frame, "None": frame.iloc[:0]})
    assert (
        page.startswith("# Claims: study toy\n\nMade by `notebooks/paper/claims.ipynb`")
        and "## Verdicts\n\n| a   |" in page
    )
    assert "## None" not in page


def test_the_readme_shows_the_committed_table():
    """The first tables of the README are those of figures/mini_main_table.md before its variants, so no number stands there by hand."""
    readme = (files.ROOT / "README.md").read_text(encoding="utf-8")
    lines = (
        (files.FIGURES / "mini_main_table.md")
        .read_text(encoding="utf-8")
        .partition("\n## Variants")[0]
        .splitlines()
    )
    assert [line for line in readme.splitlines() if line in lines and line.startswith("|")] == [
        line for line in lines if line[:1] == "|"
    ]
    assert "(figures/mini_size_against_score.svg)" in readme
