"""Each kind of wrong value gives one sentence that names the place, the value and the way out."""

import math
from typing import Literal

import pytest

from lib import checks
from lib.checks import Checked, checked
from lib.errors import StudyError
from lib.study.settings import Length


class _Inner(Checked):
    count: checks.Count = 0
    choice: Literal["one", "two", "three"] = "one"


class _Outer(Checked):
    name: checks.Name
    inner: _Inner = _Inner()
    counts: dict[checks.Name, checks.Count] = {}  # noqa: RUF012 (pydantic copies it)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (checks.Count, 0),
        (checks.Count, 10**11),
        (checks.Positive, 1),
        (checks.Seed, 2**32 - 1),
        (checks.Number, 0),
        (checks.Number, 0.0),
        (checks.Rate, 1e-9),
        (checks.Rate, 3),
        (checks.Share, 0),
        (checks.Share, 1),
        (Length, 3),
        (checks.Text, "żebbuġ"),
        (checks.Name, "mlt_1.a-b"),
        (checks.Name, "a" * 100),
        (checks.Below, "a/b.c/d"),
        (checks.Repository, "owner/name"),
        (checks.Repository, "name"),
        (bool, True),
        (dict, {}),
        (list, []),
        (_Outer, {"name": "x"}),
    ],
)
def test_right_values_pass_as_they_are(kind, value):
    found = checked(kind, value, "here")
    assert (found.model_dump(exclude_unset=True) if isinstance(found, Checked) else found) == value


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (int, 1.5, "1.5 is not a whole number"),
        (int, 1.0, "1.0 is not a whole number"),
        (int, "7", "'7' is not a whole number"),
        (int, True, "True is not a whole number"),
        (int, None, "None is not a whole number"),
        (float, False, "False is not a number"),
        (float, "5e-5", "'5e-5' is not a number (YAML reads 5e-5 as text: write 5.0e-5)"),
        (float, [1], "[1] is not a number"),
        (str, 7, "7 is not text; put it in quotes"),
        (str, ["a"], "['a'] is not text"),
        (bool, 1, "1 is not true or false"),
        (bool, "no", "'no' is not true or false"),
        (dict, [], "[] is not a mapping of `key: value` pairs"),
        (list, "a", "'a' is not a list"),
        (Literal["a", "b"], "c", "'c' is none of a, b; take one of these"),
        (Literal["a", "b", "c"], 1, "1 is none of a, b, c; take one of these"),
        (checks.Count, -1, "-1 is out of range; give a number of 0 or more, below 1e12"),
        (checks.Count, 10**12, "is out of range; give a number of 0 or more, below 1e12"),
        (checks.Positive, 0, "0 is out of range; give a number above 0, below 1e12"),
        (checks.Number, -1e-9, "-1e-09 is out of range; give a number of 0 or more, below 1e12"),
        (checks.Rate, 0.0, "0.0 is out of range; give a number above 0, below 1e12"),
        (checks.Rate, math.inf, "inf is out of range; give a number"),
        (checks.Rate, math.nan, "nan is out of range; give a number"),
        (checks.Rate, 1e300, "1e+300 is out of range; give a number above 0, below 1e12"),
        (checks.Share, 1.5, "1.5 is out of range; it is a share, 0 to 1"),
        (checks.Share, -0.1, "-0.1 is out of range; it is a share, 0 to 1"),
        (checks.Share, math.nan, "nan is out of range"),
        (checks.Seed, -1, "-1 is out of range; give a whole number below 4294967296"),
        (checks.Seed, 2**32, "4294967296 is out of range; give a whole number below 4294967296"),
        (Length, 2, "2 is out of range; give a number of 3 or more, below 1e12"),
        (checks.Text, "a\x1b[31m", "'a\\x1b[31m' holds a character that cannot be printed"),
        (checks.Name, True, "True is not text (YAML reads a bare no, yes, on and off"),
        (checks.Name, 7, "7 is not text; put it in quotes"),
        (checks.Name, "../a", "'../a' cannot be a name, since it becomes part of file names"),
        (checks.Name, "a" * 101, "cannot be a name"),
        (checks.Name, "a\n", "'a\\n' cannot be a name"),
        (checks.Below, "a/../b", "'a/../b' is not a path below a folder"),
        (checks.Below, "/etc", "'/etc' is not a path below a folder"),
        (checks.Repository, "a/b/c", "'a/b/c' is not an id of the hub; write owner/name"),
        (checks.Repository, "https://x", "'https://x' is not an id of the hub"),
        (_Inner, [], "expected `key: value` pairs, got []"),
        (_Inner, None, "expected `key: value` pairs, got None"),
        (_Inner, {"size": 1}, "unknown key 'size'; it takes choice, count"),
        (_Inner, {1: 2}, "unknown key 1; it takes choice, count"),
        (_Inner, {"choice": "four"}, "choice: 'four' is none of one, two, three; take one"),
        (_Outer, {}, "name is missing; add it"),
        (_Outer, {"name": "x", "inner": {"count": 2.0}}, "inner: count: 2.0 is not a whole number"),
        (_Outer, {"name": "x", "inner": {"size": 1}}, "inner: unknown key 'size'"),
        (_Outer, {"name": "x", "counts": {"a": -1}}, "counts: a: -1 is out of range"),
        (_Outer, {"name": "x", "counts": {"a": 1, "b/c": 1}}, "counts: 'b/c' cannot be a name"),
        (dict[checks.Name, _Inner], {"a": {}, "/": {}}, "'/' cannot be a name"),
        (dict[checks.Name, _Inner], {"a": {"count": -1}}, "a: count: -1 is out of range"),
        (list[_Inner], [{}, {"size": 1}], "unknown key 'size'; it takes choice, count"),
        (list[_Inner], [{}, {"count": -1}], "count: -1 is out of range"),
    ],
)
def test_wrong_values_are_refused_in_one_sentence(kind, value, said):
    with pytest.raises(StudyError) as caught:
        checked(kind, value, "here")
    message = str(caught.value)
    assert message.startswith("here: ") and said in message and "\n" not in message
    if kind in (_Inner, _Outer):
        assert message.startswith(f"here: {said}")  # the key, and no name of a type between


def test_a_number_of_very_many_digits_is_refused():
    for kind in (checks.Count, checks.Rate, checks.Text):
        with pytest.raises(StudyError, match="here: a number of very many digits is"):
            checked(kind, 10**5000, "here")


def test_checked_values_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        checked(_Inner, {}, "here").count = 3


def test_a_message_shows_the_beginning_of_a_long_value():
    assert checks.shown("x" * 100) == repr("x" * 100)[:100] + "..."
    assert checks.shown(10**5000) == "a number of very many digits" and checks.shown("ħ") == "'ħ'"


def test_a_choice():
    checks.check_choice(2, (1, 2), "here")
    for wrong in (3, "1", None, [1], {}):
        with pytest.raises(StudyError, match=r"^here: .* is none of 1, 2; take one of these$"):
            checks.check_choice(wrong, (1, 2), "here")
