"""Notebooks in a warm kernel: one import for many, an empty namespace for each, and no crosstalk between kernels."""

from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
from papermill.exceptions import PapermillExecutionError

from lib.study import kernel


def notebook(folder, name, *cells):
    content = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    content["cells"] = [nbformat.v4.new_code_cell(cell) for cell in cells]
    content["cells"][0]["metadata"]["tags"] = ["parameters"]
    nbformat.write(content, folder / name)
    return folder / name


def shown(file):
    return [
        output["text"]
        for cell in nbformat.read(file, 4)["cells"]
        for output in cell.get("outputs", [])
        if "text" in output
    ]


def test_the_namespace_is_empty_and_the_modules_are_warm(tmp_path):
    first = notebook(
        tmp_path, "first.ipynb", "x: int = 1", "import sys, csv\ncsv.mark = x\nkept = 1"
    )
    second = notebook(
        tmp_path,
        "second.ipynb",
        "x: int = 2",
        "import csv\nprint('kept' in globals(), csv.mark, x, sorted(__annotations__))",
    )
    with kernel.warm() as run:
        run(first, tmp_path / "out1.ipynb", {"x": 7})
        run(second, tmp_path / "out2.ipynb", {})
    assert shown(tmp_path / "out2.ipynb") == ["False 7 2 ['x']\n"]


def test_a_failing_cell_raises_and_is_seen_in_the_copy(tmp_path):
    broken = notebook(tmp_path, "broken.ipynb", "x: int = 1", "raise ValueError('said so')")
    with kernel.warm() as run, pytest.raises(PapermillExecutionError, match="said so"):
        run(broken, tmp_path / "out.ipynb", {})
    assert "said so" in (tmp_path / "out.ipynb").read_text(encoding="utf-8")


def test_two_kernels_at_once_do_not_hear_each_other(tmp_path):
    count = notebook(
        tmp_path,
        "count.ipynb",
        "name: str = ''",
        "import time\nfor _ in range(20):\n    time.sleep(0.02)\nprint(name)",
    )

    def work(name):
        with kernel.warm() as run:
            for turn in range(2):
                run(count, tmp_path / f"{name}{turn}.ipynb", {"name": name})
        return [shown(tmp_path / f"{name}{turn}.ipynb") for turn in range(2)]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, "ab")) == [[["a\n"], ["a\n"]], [["b\n"], ["b\n"]]]
