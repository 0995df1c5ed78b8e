"""Text of one language or of several: files given by their paths, or the corpora of a source."""

import itertools
from pathlib import Path

from lib import checks, files
from lib.data import corpora, readers
from lib.errors import StudyError
from lib.facts import Source


def read(text) -> dict[str, dict]:
    """language -> {"train", "dev", "test": lines; "files": name and sha256 of each}.

    `text` is a path, a list of paths of one language, or a mapping from a language to one of these.
    A line that an earlier language has too is left out, so no test line is trained on. Raises
    StudyError for anything else, and for files that cannot be read or hold too little.
    """
    named, seen, result = text if isinstance(text, dict) else {"text": text}, set(), {}
    for language, given in named.items():
        checks.checked(checks.Name, language, "text")
        paths = given if isinstance(given, list) else [given]
        if not paths or not all(isinstance(path, str) and path for path in paths):
            raise StudyError(
                f"text: {given!r} is no path; give a file of sentences, a list of them, or for "
                "several languages a mapping such as {slk: a.txt, ces: b.txt}"
            )
        paths = [Path(path).expanduser() for path in paths]
        every = [line for path in paths for line in readers.lines(path)]
        lines = [line for line in every if line not in seen]
        seen.update(lines)
        prints = [{"file": path.name, "sha256": files.sha256(path.resolve())} for path in paths]
        where = ", ".join(map(str, paths))
        where += ", less the lines of the languages before" if len(lines) < len(every) else ""
        result[language] = corpora.split(lines, where) | {"files": prints}
    if not result:
        raise StudyError("text: no language is named; give a mapping such as {slk: a.txt}")
    return result


def load(languages: list[str], source: Source, part: str, limit: int = 0) -> list[str]:
    """What `corpora.load` returns and raises; of several languages as `balanced` takes them.

    `limit` counts for each language. What another language holds out is left out of `train`, and
    its test sentences are left out of `dev` too. So `test` is that of each language alone.
    """
    if len(languages) == 1:
        return corpora.load(*languages, source, part, limit)
    checks.check_choice(part, corpora.PARTS, "part")
    later = corpora.PARTS[corpora.PARTS.index(part) + 1 :]
    held_out = {
        language: {line for name in later for line in corpora.load(language, source, name)}
        for language in languages
    }
    read = {}
    for language in languages:
        others = set().union(*(held_out[other] for other in languages if other != language))
        lines = corpora.load(language, source, part, limit)
        read[language] = {part: [line for line in lines if line not in others]}
    return balanced(read, part)


def describe(languages: list[str], source: Source) -> dict:
    """The origin of the text for the record; of several languages, language -> origin."""
    origins = {language: corpora.describe(language, source) for language in languages}
    return origins if len(languages) > 1 else origins[languages[0]]


def by_language(languages: list[str], text: list[str], measure, *rest) -> dict:
    """measure(text, *rest), name -> value; of several languages also `name (language)` of each.

    `text` is what `load` returned. In the value of one language each sentence counts once.
    """
    result = measure(text, *rest)
    for place, language in enumerate(languages if len(languages) > 1 else ()):
        own = [*dict.fromkeys(text[place :: len(languages)])]
        result |= {f"{name} ({language})": value for name, value in measure(own, *rest).items()}
    return result


def balanced(read: dict[str, dict], part: str) -> list[str]:
    """The lines of a part in turns, as many of each language; a shorter text is repeated."""
    of_languages = [language[part] for language in read.values()]
    longest = max(map(len, of_languages))
    repeated = [itertools.islice(itertools.cycle(lines), longest) for lines in of_languages]
    return [line for row in zip(*repeated, strict=True) for line in row]
