"""The parameters of a notebook, from the source of its cells."""

import ast

from lib.checks import checked
from lib.errors import StudyError

_TYPES = {kind.__name__: kind for kind in (str, int, float, bool, list, dict, object)}


def parameters(history: list[str]) -> dict:
    """Name -> value of the parameters, from the source of the executed cells in their order.

    The parameters cell holds only lines such as `language: str = "mlt"`. Papermill's begins with `#
    Parameters`. Of cells that were executed again, the last execution counts.
    """
    values: dict = {}
    types: dict = {}
    for source in history:
        if declared := _declared(source):
            types = {name: kind for name, (kind, _) in declared.items()}
            values = {name: value for name, (_, value) in declared.items()}
        elif source.startswith("# Parameters\n"):
            values |= _injected(source)
    if not types:
        raise StudyError(
            "no parameters were found; run the cell tagged `parameters`, which holds lines such as "
            '`language: str = "mlt"`, and then this cell'
        )
    for name, value in values.items():
        if name not in types:
            raise StudyError(f"unknown parameter {name!r}; this notebook takes {', '.join(types)}")
        if types[name] is str and not isinstance(value, str):
            raise StudyError(
                f"parameter {name}: {value!r} is not text; put it in quotes, or give it to "
                f"papermill as `-r {name} TEXT`, which keeps text as it is typed"
            )
        if types[name] is bool and isinstance(value, str):
            raise StudyError(
                f"parameter {name}: {value!r} is text; give it to papermill as `-p {name} True`, "
                "or False, with a capital"
            )
        checked(types[name], value, f"parameter {name}")
    return values


def _declared(source: str) -> dict[str, tuple]:
    """Name -> (type, value) of a parameters cell; empty for any other cell, such as `%time`."""
    try:
        return {
            line.target.id: (_TYPES[ast.unparse(line.annotation)], ast.literal_eval(line.value))
            for line in ast.parse(source).body
        }
    except (SyntaxError, AttributeError, KeyError, ValueError):
        return {}


def _injected(source: str) -> dict:
    """Name -> value of the cell that Papermill injected; StudyError for a value such as NaN."""
    values = {}
    for line in ast.parse(source).body:
        try:
            values[line.targets[0].id] = ast.literal_eval(line.value)
        except ValueError:
            raise StudyError(
                f"parameter {line.targets[0].id}: {ast.unparse(line.value)} is no value that a "
                "parameter can have; give a number, true, false, a list or a mapping, or text with "
                "papermill's option -r"
            ) from None
    return values
