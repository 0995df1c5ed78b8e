"""The house: its rooms, which of them may import which, and how large a room, a module and a
function may be.
"""

import ast
import subprocess
import sys

import pytest

from lib import files

ORDER = (  # a module imports from earlier lines only, or from its own room
    ("errors",),
    ("files",),
    ("checks",),
    ("facts",),
    ("data",),
    ("model",),
    ("measure",),
    ("train", "export"),
    ("study",),
    ("report",),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
NEVER = {("study", "train"), ("train", "export"), ("export", "train")}
HEAVY = ("torch", "transformers", "sklearn", "datasets")
LIB = files.ROOT / "lib"
MODULES = sorted(file for file in LIB.glob("**/*.py") if file.name != "__init__.py")
METHOD = ("data/batches.py", "model/", "train/", "measure/")
MODULE_LINES, FUNCTION_LINES, PUBLIC_NAMES = 250, 40, 7
MANY_NAMES = ("files.py", "study/settings.py")  # four folders; one class of settings a step
# Today's, with seven families, BPE and the export; they may only go down, towards 6000 and 3000.
MAY_WARN = "export/traced.py"  # torch warns of shapes, which `to_onnx` compares afterwards
LIB_LINES, METHOD_LINES = 11900, 5115


def name(file):
    return file.relative_to(LIB).as_posix()


def room(dotted):
    """The room of a module such as `lib.data.hub` or `lib.errors`."""
    return dotted.split(".")[1]


def tree(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(file):
    """(dotted module of lib, line) of every import in a module, wherever it stands."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"lib/{name(file)}:{node.lineno}: a relative import"
            if node.module == "lib":
                yield from ((f"lib.{alias.name}", node.lineno) for alias in node.names)
            elif (node.module or "").startswith("lib."):
                yield node.module, node.lineno
        elif isinstance(node, ast.Import):
            found = (alias.name for alias in node.names if alias.name.startswith("lib."))
            yield from ((module, node.lineno) for module in found)


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_imports_go_one_way(file):
    own = room(f"lib.{name(file).removesuffix('.py').replace('/', '.')}")
    assert own in LEVEL, f"lib/{name(file)} is in no room; give the room its line in ORDER"
    for module, line in imported(file):
        other = room(module)
        allowed = other == own or LEVEL[other] < LEVEL[own]
        assert allowed and (own, other) not in NEVER, f"lib/{name(file)}:{line} imports {module}"


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_modules_say_what_they_are_and_silence_nothing(file):
    assert ast.get_docstring(tree(file)), f"lib/{name(file)} has no docstring"
    for node in ast.walk(tree(file)):
        bare = isinstance(node, ast.ExceptHandler) and node.type is None
        assert not bare, f"lib/{name(file)}:{node.lineno}: a bare except"
        filters = ("filterwarnings", "simplefilter", "catch_warnings")
        silent = isinstance(node, ast.Attribute) and node.attr in filters
        assert not silent or name(file) == MAY_WARN, name(file)


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_modules_and_functions_are_short(file):
    lines = file.read_text(encoding="utf-8").count("\n")
    assert lines <= MODULE_LINES, f"lib/{name(file)} has {lines} lines; split it by concept"
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= FUNCTION_LINES, f"lib/{name(file)}: {node.name} has {length} lines"
    kinds = ast.FunctionDef | ast.ClassDef
    public = [
        node.name for node in tree(file).body if isinstance(node, kinds) and node.name[0] != "_"
    ]
    if name(file) not in MANY_NAMES:
        assert len(public) <= PUBLIC_NAMES, f"lib/{name(file)} has {len(public)} public names"


def test_lib_is_thin():
    sizes = {name(file): file.read_text(encoding="utf-8").count("\n") for file in MODULES}
    method = sum(lines for file, lines in sizes.items() if file.startswith(METHOD))
    assert sum(sizes.values()) <= LIB_LINES and method <= METHOD_LINES, (
        sum(sizes.values()),
        method,
    )


def test_the_commands_and_the_reports_load_no_heavy_library():
    """So they answer at once, and a graph of jobs starts quickly."""
    reports = [f"lib.report.{file.stem}" for file in MODULES if file.parent.name == "report"]
    program = (
        "import sys, lib.study.__main__\n"
        f"print([name for name in {(*HEAVY, 'pandas', 'matplotlib')} if name in sys.modules])\n"
        f"import {', '.join(reports)}\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]", "[]"]


@pytest.mark.slow
def test_importing_changes_nothing_global():
    """Importing every module leaves torch's and transformers' global settings as they were."""
    modules = [f"lib.{name(file).removesuffix('.py').replace('/', '.')}" for file in MODULES]
    modules = [module.removesuffix(".__init__") for module in modules]
    program = (
        "import torch, transformers.utils.logging as logging\n"
        "def state():\n"
        "    return (torch.backends.cuda.cudnn_sdp_enabled(), torch.get_num_threads(),\n"
        "            logging.get_verbosity(), logging.is_progress_bar_enabled())\n"
        "before = state()\n"
        f"import {', '.join(modules)}\n"
        "assert state() == before, (before, state())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
