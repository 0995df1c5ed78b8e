"""A study looked at as a whole before any work: its teachers, settings, text and labels.

Nothing is made. Of a teacher on the hub the configuration and the tokenizer are fetched, never the
weights; published text and labels are fetched when they are first read.
"""

import json
from typing import NamedTuple

import numpy

from lib import facts
from lib.data import corpora, local, tasks
from lib.errors import StudyError
from lib.study import limits, state
from lib.study.run import Run

_SHOWN = 3  # errors of a study that a message names
_ANSWER = 5  # seconds that the hub has to answer


class Row(NamedTuple):
    """One thing that a study needs: what is there and where it comes from, or what is wrong."""

    what: str
    found: str
    wrong: str = ""


def before(runs: list[Run]) -> None:
    """StudyError with the first things that are wrong, if any, for those runs that are not done."""
    known: dict[str, str] = {}
    needed = {each.id: each for run in runs for each in run.lineage()}
    to_do = [run for run in needed.values() if state.state(run, known) != state.DONE]
    wrong = [row for row in table(to_do) if row.wrong]
    if wrong:
        said = [f"{row.what}: {row.wrong}" for row in wrong[:_SHOWN]]
        more = f"{len(wrong)} things are wrong: " if len(wrong) > 1 else ""
        name = to_do[0].study.name
        rest = f"; `python -m lib.study check {name}` shows all" if len(wrong) > _SHOWN else ""
        raise StudyError(f"nothing was made; {more}{'; '.join(said)}{rest}")


def table(runs: list[Run]) -> list[Row]:
    """What these runs need, each thing once: teachers, then settings, text and labels."""
    most: dict[str, dict] = {}
    tokenizers: dict = {}  # of the teachers whose files are there
    of_teachers = [run for run in runs if run.teacher]
    first = {run.teacher: run.lineage()[0] for run in of_teachers}
    rows = [_row(f"teacher {name}", _teacher, run, most, tokenizers) for name, run in first.items()]
    for run in of_teachers:
        rows.append(_row(f"settings for {run.teacher}", _settings, run, most.get(run.teacher, {})))
    texts = {(language, run.study.source): None for run in runs for language in run.languages}
    rows += [_row(f"text {language}", _text, language, source) for language, source in texts]
    there = {row.what for row in rows if row.found and not row.found.startswith("hub: ")}
    read: dict[tuple, list[Run]] = {}
    for run in (run for run in of_teachers if run.teacher in tokenizers and run.language):
        for language in (name for name in run.languages if f"text {name}" in there):
            read.setdefault((language, run.teacher), []).append(run)
    for (language, teacher), own in read.items():
        what = f"text {language} for {teacher}"
        rows.append(_row(what, _reading, own, language, tokenizers[teacher]))
    labels = {(run.task, run.language, run.study.source): None for run in runs if run.task}
    rows += [_row(f"labels {task} {name}", _labels, task, name, at) for task, name, at in labels]
    wrong = {row.what for row in rows if row.wrong}
    return [row for row in dict.fromkeys(rows) if row.wrong or row.what not in wrong]


def _row(what: str, look, *given) -> Row:
    try:
        return Row(what, look(*given))
    except StudyError as error:
        return Row(what, "", str(error))


def _teacher(first: Run, most: dict, tokenizers: dict) -> str:
    """Where a teacher comes from; `most` gets its limits and `tokenizers` its tokenizer, as far as
    they are known.
    """
    entry = facts.fact("models", first.teacher)
    if state.usable(first):
        names = ("config.json", "tokenizer_config.json")
        has, tokenizer = (json.loads((first.folder / name).read_bytes()) for name in names)
        most[first.teacher] = limits.of_configuration(has, tokenizer["model_max_length"])
        return f"made before: {first.folder}"
    if entry["make"] == "package":
        return f"package {entry['package']} {entry['version']}; its sizes are in it"
    if entry["make"] == "new":
        most[first.teacher] = limits.of_entry(first.teacher)
        return "new: it will be made and trained"
    if entry["make"] == "hub":
        _reach_hub()
        source, revision = entry["repository"], entry["revision"]
    else:
        source, revision = facts.teacher_folder(entry, first.study.models_root), None
    from lib.model import loading  # here: it takes seconds to import

    config, tokenizer = loading.described(source, loading.place(source, revision))
    own = config.to_dict() | {"vocab_size": len(tokenizer)}
    special, tokenizers[first.teacher] = len(set(tokenizer.all_special_ids)), tokenizer
    most[first.teacher] = limits.of_configuration(own, tokenizer.model_max_length, special)
    return f"{entry['make']}: {source}"


def _reach_hub() -> None:
    """StudyError unless the hub answers, or HF_HUB_OFFLINE forbids to ask.

    Its library would try again for a minute, and again for the next teacher.
    """
    import huggingface_hub.constants as constants
    from huggingface_hub import get_session

    try:
        constants.HF_HUB_OFFLINE or get_session().head(constants.ENDPOINT, timeout=_ANSWER)
    except Exception as error:  # of the library that the hub's library uses
        raise StudyError(
            f"{constants.ENDPOINT} does not answer ({error}); check the network, or set "
            "HF_HUB_OFFLINE=1 to read what was fetched before"
        ) from error


def _settings(run: Run, most: dict) -> str:
    """Whether a run's settings fit its teacher, as far as that is known."""
    limits.check(run, most)
    if run.step == "pretrain" and run.settings["steps"] and not run.languages:
        raise StudyError(
            f"pretrain: {run.settings['steps']} steps were asked for; params/models.yaml names no "
            f"text for {run.teacher}: add `text` there, or set steps to 0"
        )
    if run.step == "adapt" and run.settings["published"]:
        facts.adaptation(facts.fact("models", run.teacher), run.language)
    return "fit" if most else "not known before the teacher is there"


def _text(language: str, source: facts.Source) -> str:
    """Where the text of a language comes from, and its sentences of each part."""
    if source.kind == "hub":
        names = [corpora.config(language, data_set) for data_set in ("glotcc", "flores")]
        return f"hub: {' and '.join(names)}, fetched when it is read"
    counts = [f"{len(corpora.load(language, source, part)):,}" for part in local.PARTS]
    place = next(iter(local.corpus(language, source.folder).values()))
    return f"{source.kind}: {place}: {' + '.join(counts)} sentences"


def _reading(runs: list[Run], language: str, tokenizer) -> str:
    """How much of a language's text for these runs their teacher does not know, and whether its
    letters have room in the smallest vocabulary that is asked for.
    """
    from lib.model import vocabulary

    study = runs[0].study
    text = corpora.load(language, study.source, "train", study.corpus["train"])
    unknown = corpora.reading(text, tokenizer, tokenizer.model_max_length)["unknown_tokens"]
    sizes = [run.settings["kept_tokens"] for run in runs if run.step == "vocabulary"]
    if sizes:
        letters = vocabulary.single_characters(tokenizer, text)
        none = numpy.zeros(1 + max(tokenizer.get_vocab().values()))
        vocabulary.choose(none, tokenizer, min(sizes), letters)
    return f"{unknown:.2%} of its tokens are unknown"


def _labels(task: str, language: str, source: facts.Source) -> str:
    """Where the labels of a task come from, and its examples of each part."""
    if source.kind == "hub":
        forms = tasks.published(task, language)
        return f"hub: published in {len(forms)} forms, fetched when they are read"
    data = tasks.load(task, language, source)
    counts = [f"{len(data.splits[part]):,}" for part in local.PARTS]
    place = local.task(facts.fact("tasks", task), language, source.folder)["train"].parent
    return f"{source.kind}: {place}: {' + '.join(counts)} examples, {len(data.labels)} labels"
