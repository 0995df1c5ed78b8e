"""The pairs of a study: a teacher, and the languages that students are made for."""

from typing import Annotated

from pydantic import AfterValidator, Discriminator, Tag

from lib.checks import Checked, Text, shown
from lib.facts import fact


def once(kind, least: int = 0):
    """The type of a list of values of this kind, no two alike and no fewer than `least`."""

    def check(values: list) -> list:
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"{shown(twice)} stands twice; keep one")
        if len(values) < least:
            raise ValueError("there is none; name one or more")
        return values

    return Annotated[list[kind], AfterValidator(check)]


def _group(languages: list[str]) -> list[str]:
    """The languages of a group in their one order."""
    if len(languages) < 2:
        raise ValueError(
            f"{shown(languages)} is no group; name two languages, or one without brackets"
        )
    return sorted(languages)


def _key_of(name: str):
    """The type of a key of params/<name>.yaml."""
    return Annotated[Text, AfterValidator(lambda key: fact(name, key) and key)]


_Language = Annotated[
    Annotated[_key_of("languages"), Tag("key")]
    | Annotated[once(_key_of("languages")), AfterValidator(_group), Tag("group")],
    Discriminator(lambda given: "group" if isinstance(given, list) else "key"),
]


class Pair(Checked):
    """A teacher, languages or groups of them with one student each, and settings of their own."""

    teacher: _key_of("models")
    languages: once(_Language, 1)
    set: dict = {}  # noqa: RUF012 (pydantic copies it)

    @property
    def groups(self) -> dict[str, list[str]]:
        """Name -> the languages of one student: slk -> [slk], or slk+swh -> [slk, swh]."""
        lists = [given if isinstance(given, list) else [given] for given in self.languages]
        return {"+".join(languages): languages for languages in lists}
