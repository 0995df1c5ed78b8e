"""The chapters of notebooks/learn, executed from top to bottom as a reader would."""

import papermill
import pytest

from lib import files

CHAPTERS = sorted((files.ROOT / "notebooks" / "learn").glob("*.ipynb"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.stem for chapter in CHAPTERS])
def test_chapter_runs_from_top_to_bottom(chapter, data):
    papermill.execute_notebook(
        chapter, None, kernel_name="python3", cwd=str(chapter.parent), progress_bar=False
    )
