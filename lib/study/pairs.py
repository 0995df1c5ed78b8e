"""The pairs of a study: a teacher, and the languages that students are made for."""

from typing import Annotated

from pydantic import AfterValidator, WrapValidator

from lib.checks import Checked, Text, shown
from lib.facts import fact


def once(kind, least: int = 0):
    """The type of a list of values of this kind, no two alike and no fewer than `least`."""

    def check(values: list) -> list:
        if len(values) < least:
            raise ValueError("there is none; name one or more")
        return _different(values)

    return Annotated[list[kind], AfterValidator(check)]


def _different(values: list) -> list:
    """The values; ValueError if two are alike."""
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{shown(value)} stands twice; keep one")
    return values


def _group(given, language):
    """A language, or the languages of a group in their one order."""
    if not isinstance(given, list):
        return language(given)
    if len(given) < 2:
        raise ValueError(f"{shown(given)} is no group; name two languages, or one without brackets")
    return sorted(_different([language(one) for one in given]))


def _key_of(name: str):
    """The type of a key of params/<name>.yaml."""
    return Annotated[Text, AfterValidator(lambda key: fact(name, key) and key)]


class Pair(Checked):
    """A teacher, languages or groups of them with one student each, and settings of their own."""

    teacher: _key_of("models")
    languages: once(Annotated[_key_of("languages"), WrapValidator(_group)], 1)
    set: dict = {}  # noqa: RUF012 (pydantic copies it)

    @property
    def groups(self) -> dict[str, list[str]]:
        """Name -> the languages of one student: slk -> [slk], or slk+swh -> [slk, swh]."""
        lists = [given if isinstance(given, list) else [given] for given in self.languages]
        return {"+".join(languages): languages for languages in lists}
