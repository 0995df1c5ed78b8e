"""Runs are made once, in a warm kernel with an empty namespace for each notebook."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest

from lib import files
from lib.errors import StudyError
from lib.study import make, plan, records, state, studies
from lib.study.plan import chain

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(toy):
    """The first runs of the toy study: a chain and two scores."""
    models = chain(studies.load("toy"), "mlt")
    scores = [run for run in plan.runs("toy") if run.parent == models[-1]]
    return [*models, *scores[:2]]


def test_a_study_is_made_once(runs, executed, capsys):
    make.make(runs)
    assert executed == runs and {state.state(run) for run in runs} == {state.DONE}
    said = [
        f"{number} of {len(runs)}: {run.notebook.stem}: {run.id}"
        for number, run in enumerate(runs, 1)
    ]
    assert capsys.readouterr().out.splitlines() == said
    make.make(runs)
    assert executed == runs and capsys.readouterr().out == ""


def test_what_is_missing_or_stale_is_made_again_and_only_that(runs, executed):
    make.make(runs)
    executed.clear()
    (runs[4].folder / "config.json").unlink()
    make.make(runs)
    assert executed == [runs[4]]  # its record is equal, so what came after it stays
    executed.clear()
    files.write_json(runs[2].record, records.read(runs[2]) | {"scores": {"mlm_loss": 3.0}})
    make.make(runs)
    assert executed == runs[3:4]  # made again, it is equal to before but for its parent
    executed.clear()
    files.write_json(runs[1].record, records.read(runs[1]) | {"made": {"parent": "0" * 64}})
    make.make(runs)
    assert executed == runs[1:2]


# Makes the first run of the toy study; the notebook's execution is a line in a log and the record.
MAKER = """
import sys, time
from contextlib import contextmanager
from pathlib import Path
sys.path.insert(0, "tests")
import toy_study
from lib.study import make, plan

@contextmanager
def warm_kernel():
    def execute(notebook, copy, parameters):
        with open(sys.argv[1], "a") as log:
            log.write("executed\\n")
        time.sleep(0.5)
        toy_study.finish(run)
    yield execute

make.warm_kernel = warm_kernel
run = plan.runs("toy")[0]
print("ready", flush=True)
sys.stdin.readline()
make.make([run])
"""


def test_two_processes_that_make_one_run_execute_it_once(toy, tmp_path):
    run = plan.runs("toy")[0]
    environment = os.environ | {"STUDY_PARAMS": str(files.PARAMS), "STUDY_DATA": str(toy)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", MAKER, str(tmp_path / "log")],
            cwd=files.ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert (tmp_path / "log").read_text() == "executed\n" and state.state(run) == state.DONE
    assert sum(f"waiting: another process is making {run.id}" in text for text in said) == 1


def notebook(folder, name, *cells):
    """Write a notebook whose first cell holds its parameters."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    cells[0]["metadata"]["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(content, folder / name)
    return folder / name


def printed(file) -> list[str]:
    """What the cells of an executed notebook printed."""
    return [
        output["text"]
        for cell in nbformat.read(file, 4)["cells"]
        for output in cell.get("outputs", [])
        if output.get("name") == "stdout"
    ]


def test_notebooks_of_one_kernel_share_libraries_and_nothing_else(tmp_path):
    first = notebook(tmp_path, "1.ipynb", "x: int = 1", "import csv\ncsv.mark = x\nkept = 1")
    second = notebook(
        tmp_path,
        "2.ipynb",
        "x: int = 2",
        "import csv, os\nprint('kept' in globals(), csv.mark, x, sorted(__annotations__), len(In))"
        "\nprint(os.getcwd())",
    )
    with make.warm_kernel() as execute:
        execute(first, tmp_path / "new" / "out1.ipynb", {"x": 7})
        execute(second, tmp_path / "out2.ipynb", {})
    assert printed(tmp_path / "out2.ipynb") == [f"False 7 2 ['x'] 3\n{files.ROOT}\n"]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("raise StudyError('said so; do this.')", "said so; do this"),
        ("raise StudyError('mlt.run.1: said so')", "said so"),
        ("assert 1 > 2, 'it did not help; lower the rate'", "it did not help; lower the rate"),
        ("raise ValueError('first\\nsecond')", "ValueError: first"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "its process ended without a message, as when the system has no memory left",
        ),
    ],
)
def test_a_failing_cell_ends_in_the_run_the_reason_and_the_notebook(tmp_path, cell, reason):
    place, copy = tmp_path / "in", tmp_path / "out" / "mlt.run.1.ipynb"
    place.mkdir()
    cells = ("x: int = 1", f"from lib.errors import StudyError\n{cell}", "print('never')")
    with make.warm_kernel() as execute, pytest.raises(StudyError) as caught:
        execute(notebook(place, "1.ipynb", *cells), copy, {})
    assert str(caught.value) == f"mlt.run.1 failed: {reason}; the executed notebook: {copy}"
    assert printed(copy) == [] and cell in nbformat.read(copy, 4)["cells"][-2]["source"]


def test_two_kernels_at_once_do_not_hear_each_other(tmp_path):
    count = notebook(
        tmp_path,
        "count.ipynb",
        "name: str = ''",
        "import time\nfor _ in range(20):\n    time.sleep(0.02)\nprint(name)",
    )

    def work(name):
        with make.warm_kernel() as execute:
            for turn in range(2):
                execute(count, tmp_path / f"{name}{turn}.ipynb", {"name": name})
        return [printed(tmp_path / f"{name}{turn}.ipynb") for turn in range(2)]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, "ab")) == [[["a\n"], ["a\n"]], [["b\n"], ["b\n"]]]


def test_the_kernel_ends_with_its_context(tmp_path):
    first = notebook(tmp_path, "1.ipynb", "x: int = 1", "import os\nprint(os.getpid())")
    with make.warm_kernel() as execute:
        execute(first, tmp_path / "out.ipynb", {})
    (text,) = printed(tmp_path / "out.ipynb")
    with pytest.raises(ProcessLookupError):
        os.kill(int(text), 0)


def test_names_that_look_like_numbers_stay_text(tmp_path):
    names = {"study": "007", "language": "nan", "teacher": "2024", "task": "1e5", "other": "no"}
    cells = "\n".join(f'{name}: str = ""' for name in names)
    first = notebook(tmp_path, "1.ipynb", cells, "print(study, language, teacher, task, other)")
    with make.warm_kernel() as execute:
        execute(first, tmp_path / "out.ipynb", names)
    assert printed(tmp_path / "out.ipynb") == ["007 nan 2024 1e5 no\n"]


def test_a_relative_folder_counts_from_where_the_command_was_typed(tmp_path, monkeypatch):
    """The notebook runs in the repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDY_DATA", "made here")
    cell = "from lib import files\nprint(files.data())"
    first = notebook(tmp_path, "1.ipynb", 'x: str = ""', cell)
    with make.warm_kernel() as execute:
        execute(first, tmp_path / "out.ipynb", {})
    assert printed(tmp_path / "out.ipynb") == [f"{tmp_path / 'made here'}\n"]


def test_a_kernel_has_the_environment_that_it_is_given(tmp_path):
    cell = "import os\nfrom lib import files\nprint(files.data(), os.environ.get('HOME'))"
    first = notebook(tmp_path, "1.ipynb", 'x: str = ""', cell)
    given = {name: value for name, value in os.environ.items() if name != "HOME"}
    with make.warm_kernel(given | {"STUDY_DATA": str(tmp_path / "there")}) as execute:
        execute(first, tmp_path / "out.ipynb", {})
    assert printed(tmp_path / "out.ipynb") == [f"{tmp_path / 'there'} None\n"]
