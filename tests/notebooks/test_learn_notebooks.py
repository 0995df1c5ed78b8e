"""The chapters of notebooks/learn: short, closed by three questions, run from top to bottom."""

import re

import nbformat
import papermill
import pytest

from lib import files
from lib.data import readers

pytestmark = pytest.mark.slow

CHAPTERS = sorted((files.ROOT / "notebooks" / "learn").glob("*.ipynb"))
chapters = pytest.mark.parametrize("chapter", CHAPTERS, ids=[file.stem for file in CHAPTERS])


@chapters
def test_chapter_is_short_and_closes_with_three_questions(chapter):
    cells = nbformat.read(chapter, 4).cells
    assert len(cells) <= 35
    assert [cell.cell_type for cell in cells[-2:]] == ["code", "markdown"]
    questions = cells[-1].source
    assert re.findall(r"^\*\*(\d)\.\*\* ", questions, flags=re.MULTILINE) == ["1", "2", "3"]
    assert questions.count("<details><summary>Solution</summary>") == 3
    assert questions.count("</details>") == 3


@chapters
def test_chapter_imports_in_one_cell(chapter):
    code = [cell.source for cell in nbformat.read(chapter, 4).cells if cell.cell_type == "code"]
    importing = [re.search(r"^\s*(import|from) ", source, flags=re.MULTILINE) for source in code]
    assert importing[0] and not any(importing[1:])


@chapters
def test_chapter_runs_from_top_to_bottom(chapter, data):
    papermill.execute_notebook(
        chapter, None, kernel_name="python3", cwd=str(chapter.parent), progress_bar=False
    )


def test_the_easy_text_has_few_words_and_parts_that_share_no_sentence():
    folder = files.SAMPLE / "easy_english"
    parts = [readers.lines(folder / f"{part}.txt") for part in ("train", "dev", "test")]
    sentences = [sentence for part in parts for sentence in part]
    assert len(set(sentences)) == len(sentences) > 3000
    assert len({word for sentence in sentences for word in re.findall(r"\w+", sentence)}) <= 220
