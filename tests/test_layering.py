"""The floors of the house: an import goes down, never up or sideways."""

import ast

import pytest

from lib import files

FLOORS = (
    ("errors", "attention"),
    ("paths",),
    ("params", "records", "metrics", "readers", "sample", "hub", "kernel", "style"),
    ("models", "studies", "corpora", "tasks"),
    ("training", "masking"),
    (
        "layers",
        "pruning",
        "hidden",
        "vocabulary",
        "growth",
        "mlm",
        "distillation",
        "adapters",
        "finetuning",
        "baselines",
        "perplexity",
        "logit_lens",
        "cards",
        "answers",
        "leaks",
    ),
    ("tables", "plots", "ablation_plots", "ablations", "results", "freshness", "teachers"),
    ("ablation_tables",),
    ("floors",),
    ("plan", "claims", "gallery"),
    ("repeat",),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
MODULES = sorted(file.stem for file in (files.ROOT / "lib").glob("*.py") if file.stem != "__init__")


def tree(name):
    return ast.parse((files.ROOT / "lib" / f"{name}.py").read_text(encoding="utf-8"))


def imported(name):
    """Modules of lib that a module imports, wherever in it, with the line."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ImportFrom) and node.module == "lib":
            yield from ((each.name, node.lineno) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lib."):
            yield node.module.split(".")[1], node.lineno
        elif isinstance(node, ast.Import):
            yield from (
                (each.name.split(".")[1], node.lineno)
                for each in node.names
                if each.name.startswith("lib.")
            )
        assert not (isinstance(node, ast.ImportFrom) and node.level), (
            f"lib/{name}.py:{node.lineno}: a relative import"
        )


def test_every_module_has_its_floor():
    assert set(MODULES) == set(FLOOR), (
        "give a new module its floor in FLOORS, take a removed one out"
    )


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    for other, line in imported(name):
        assert FLOOR[other] < FLOOR[name], (
            f"lib/{name}.py:{line}: imports {other}, which does not stand below"
        )


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_are_and_silence_nothing(name):
    assert ast.get_docstring(tree(name))
    for node in ast.walk(tree(name)):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), (
            f"lib/{name}.py:{node.lineno}: a bare except"
        )
        assert not (
            isinstance(node, ast.Attribute)
            and node.attr in ("filterwarnings", "simplefilter", "catch_warnings")
        )
