"""The rules that every value given from outside must pass, and their errors in plain words.

The types (Text, Count, Rate, ...) are for the fields of a `Checked` class.
"""

import functools
import re
from collections.abc import Callable, Iterable
from datetime import date
from string import Template
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    model_validator,
)

from lib.errors import StudyError

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"  # a name is part of run ids, and so of file names
_adapter = functools.cache(TypeAdapter)  # one of a kind takes a moment to build
_SHOWN = 100  # characters of a wrong value that a message shows


def shown(value) -> str:
    """The value as a message shows it: its beginning, if it is long."""
    if isinstance(value, int) and abs(value) >= 10**_SHOWN:
        return "a number of very many digits"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _only(kind: type, allowed: Callable[[Any], Any], said: str):
    """The type of a value of this kind that `allowed` accepts; `said` goes on after another one."""

    def check(value, as_kind):
        if not allowed(found := as_kind(value)):
            raise ValueError(f"{shown(value)} {said}")
        return found

    return Annotated[kind, WrapValidator(check)]


def within(kind: type, allowed: Callable[[Any], bool], hint: str):
    """The type of a number of this kind that `allowed` accepts; `hint` says which these are."""
    return _only(kind, allowed, f"is out of range; {hint}")


def one_of(choices: Callable[[], Iterable]):
    """The type of a value that is one of the choices, which are looked up when it is checked."""
    return Annotated[Any, AfterValidator(lambda value: _one_of(value, choices()))]


def _one_of(value, choices):
    if value not in list(choices):
        names = ", ".join(map(str, choices))
        raise ValueError(f"{shown(value)} is none of {names}; take one of these")
    return value


def _like(pattern: str, said: str):
    return _only(str, re.compile(pattern).fullmatch, said)


Text = _only(str, str.isprintable, "holds a character that cannot be printed; take it out")
Fillable = _only(str, lambda text: Template(text).is_valid(), "has a $ without a name; write $$")
Name = _like(
    _NAME,
    "cannot be a name, since it becomes part of file names; take letters a to z and digits, after "
    "the first also . _ -, 100 at most",
)
Below = _like(f"{_NAME}(/{_NAME})*", "is not a path below a folder; write it as name/name")
Repository = _like(f"{_NAME}(/{_NAME})?", "is not an id of the hub; write owner/name")
Sha256 = _like("[0-9a-f]{64}", "is no sha256; write its 64 digits, 0 to 9 and a to f")
_OR_MORE, _ABOVE = (f"give a number {lowest}, below 1e12" for lowest in ("of 0 or more", "above 0"))
Count = within(int, lambda number: 0 <= number < 1e12, _OR_MORE)
Positive = within(int, lambda number: 0 < number < 1e12, _ABOVE)
Seed = within(int, lambda number: 0 <= number < 2**32, f"give a whole number below {2**32}")
Number = within(float, lambda number: 0 <= number < 1e12, _OR_MORE)
Rate = within(float, lambda number: 0 < number < 1e12, _ABOVE)
Share = within(float, lambda number: 0 <= number <= 1, "it is a share, 0 to 1")


class Checked(BaseModel):
    """A mapping with known keys and types; only whole numbers are converted, to floats."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given):
        if isinstance(given, dict) and cls.model_config["extra"] == "forbid":
            for key in (key for key in given if key not in cls.model_fields):
                known = ", ".join(sorted(cls.model_fields))
                raise ValueError(f"unknown key {shown(key)}; it takes {known}")
        return given


def checked(kind, value, where: str):
    """`value` as a Checked class or annotation; StudyError names the place and the mistake."""
    try:
        return _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    wrong = [error for error in errors if error["type"] != "missing"]
    first = (wrong or errors)[0]
    if isinstance(error := first.get("ctx", {}).get("error"), StudyError):
        raise error  # of another file, which it names
    way, said = first["loc"], _said(first)
    if not wrong:
        way = way[:-1]
        missing = sorted(error["loc"][-1] for error in errors if error["loc"][:-1] == way)
        said = f"{', '.join(missing)} is missing; add it"
    elif way[-1:] == ("[key]",):  # which the message shows
        way = way[:-2]
    keys = [str(part) for part in way if not isinstance(part, int)]  # a position in a list is none
    raise StudyError(f"{': '.join([where, *keys])}: {said}")


_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "dict": "a mapping of `key: value` pairs",
    "list": "a list",
}


def _said(error: dict) -> str:
    """One of pydantic's errors in the words of this project."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":  # of a validator of this project
        return str(context["error"])
    if kind == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ")
        return f"{shown(value)} is none of {choices}; take one of these"
    if kind == "model_type":
        return f"expected `key: value` pairs, got {shown(value)}"
    if kind.removesuffix("_type") in _TYPES:
        hint = ""
        if kind == "float_type" and isinstance(value, str):
            hint = " (YAML reads 5e-5 as text: write 5.0e-5)"
        if kind == "string_type" and isinstance(value, bool):
            hint = " (YAML reads a bare no, yes, on and off as a truth value)"
        if kind == "string_type" and isinstance(value, (int, float, date)):
            hint += "; put it in quotes"
        return f"{shown(value)} is not {_TYPES[kind.removesuffix('_type')]}{hint}"
    return f"{shown(value)} cannot be taken ({error['msg']})"


def check_choice(value, choices, where: str) -> None:
    """StudyError unless the value is one of the choices."""
    try:
        _one_of(value, choices)
    except ValueError as error:
        raise StudyError(f"{where}: {error}") from None


def entry_of(entries: dict, key, what: str, place: str, missing: str = "add an entry"):
    """The entry with this key; StudyError says which `place` has, and what to do if it is none."""
    if key not in list(entries):
        raise StudyError(
            f"no {what} called {shown(key)}; {place} has {', '.join(map(str, entries)) or 'none'}: "
            f"take one of these or {missing}"
        )
    return entries[key]
