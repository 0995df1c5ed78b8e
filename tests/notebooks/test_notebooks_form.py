"""The form of the notebooks: what keeps them readable, rerunnable, and their parameters visible to
Papermill.
"""

import ast
import io
import json
import re
import tokenize
from functools import cache

import nbformat
import pytest

from lib import files

FILES = sorted((files.ROOT / "notebooks").glob("**/*.ipynb"))
TYPES = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict}
TYPES["object"] = object  # what may be of several types; the notebook checks it
PRODUCT = "notebooks"  # the folder of the notebooks that make a model without a study
ABSOLUTE = re.compile(
    r"(?<![\w.:/<])/(home|root|tmp|work|usr|opt|mnt|media|content|kaggle|Users|private|var)/|\b[A-Za-z]:\\\\?Users"
)
pytestmark = pytest.mark.parametrize(
    "file", FILES, ids=[f"{file.parent.name}/{file.stem}" for file in FILES]
)


def code(file):
    """The code cells of a notebook."""
    return [cell for cell in nbformat.read(file, 4).cells if cell.cell_type == "code"]


@cache
def names(module):
    """The names that a module defines or imports."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {name.asname or name.name for name in node.names}
    return found


def tagged(file):
    """The cells tagged `parameters`."""
    return [
        cell
        for cell in nbformat.read(file, 4).cells
        if "parameters" in cell.metadata.get("tags", [])
    ]


def test_valid_with_stable_cell_ids_and_a_plain_kernel(file):
    notebook = nbformat.read(file, 4)
    nbformat.validate(notebook)
    assert (
        notebook.metadata["kernelspec"]["name"] == "python3"
        and notebook.metadata["language_info"]["name"] == "python"
    )
    ids = [cell["id"] for cell in notebook.cells]
    assert len(set(ids)) == len(ids) and all(
        re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-\d\d", each) for each in ids
    ), ids


def test_starts_with_one_title(file):
    cells = nbformat.read(file, 4).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    prose = [
        re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
        for cell in cells
        if cell.cell_type == "markdown"
    ]
    assert sum(len(re.findall(r"^# ", text, flags=re.MULTILINE)) for text in prose) == 1


def test_short_cells_and_prose_between_them(file):
    cells = nbformat.read(file, 4).cells
    for cell in code(file):
        assert cell.source.strip() and len(cell.source.splitlines()) <= 25, cell["id"]
    kinds = "".join(cell.cell_type[0] for cell in cells)
    assert "ccc" not in kinds


def test_code_is_plain_python_without_filters_or_paths(file):
    for cell in code(file):
        ast.parse(cell.source)  # no `!`, no `%`
        assert not re.search(r"filterwarnings|simplefilter|catch_warnings", cell.source), cell["id"]


def test_no_absolute_paths(file):
    notebook = nbformat.read(file, 4)
    for cell in notebook.cells:
        texts = [cell.source]
        for output in cell.get("outputs", []):
            data = {
                kind: text for kind, text in output.get("data", {}).items() if kind != "image/png"
            }
            texts.append(json.dumps([output.get("text", ""), data, output.get("traceback", "")]))
        for text in texts:
            assert not ABSOLUTE.search(text), f"{cell['id']}: {ABSOLUTE.search(text)[0]}"
    assert "papermill" not in notebook.metadata and not ABSOLUTE.search(
        json.dumps(notebook.metadata)
    )


def test_parameters(file):
    """Typed literals, each explained; Papermill loses what is computed, untyped, or explained with
    an equals sign.
    """
    expected = {"study": {1}, "paper": {1}, "learn": {0, 1}, PRODUCT: {1}}[file.parent.name]
    assert len(tagged(file)) in expected
    for cell in tagged(file):
        assert cell.cell_type == "code"
        comments = {
            token.start[0]: token.string
            for token in tokenize.generate_tokens(io.StringIO(cell.source).readline)
            if token.type == tokenize.COMMENT
        }
        for line in ast.parse(cell.source).body:
            assert isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name), (
                ast.unparse(line)
            )
            assert line.value is not None and line.lineno == line.end_lineno, ast.unparse(line)
            assert isinstance(line.annotation, ast.Name) and line.annotation.id in TYPES, (
                ast.unparse(line)
            )
            assert isinstance(ast.literal_eval(line.value), TYPES[line.annotation.id]), ast.unparse(
                line
            )
            comment = comments.get(line.lineno, "")
            assert len(comment) > 3 and "=" not in comment, f"{line.target.id}: {comment!r}"


def test_study_notebooks_define_nothing(file):
    if file.parent.name not in ("study", PRODUCT):
        return
    for cell in code(file):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), (
                cell["id"]
            )


def test_outputs_are_committed_exactly_where_they_are_cheap(file):
    """Notebooks that make models are bare; the others were run, in order and without an error."""
    cells = code(file)
    if file.parent.name in ("study", PRODUCT):
        assert not any(cell.outputs or cell.execution_count for cell in cells)
        return
    if file.parent.name == "paper" and not any(files.RESULTS.glob("*/*.json")):
        pytest.skip(
            "no study is published in data/results yet, so the paper notebooks have nothing to show"
        )
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), (
        "run it from the top"
    )
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs and not any(
        output.output_type == "error" or output.get("name") == "stderr" for output in outputs
    )


def test_every_name_that_is_taken_from_lib_exists(file):
    nodes = [node for cell in code(file) for node in ast.walk(ast.parse(cell.source))]
    modules = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lib":
            for name in node.names:
                place = files.ROOT.joinpath(*node.module.split("."), f"{name.name}.py")
                if place.is_file():
                    modules[name.asname or name.name] = names(place)
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            there = modules.get(node.value.id, {node.attr})
            assert node.attr in there, f"lib's {node.value.id} has no {node.attr}"
