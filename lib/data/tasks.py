"""Downstream tasks: examples, labels and splits, and where they come from (the paper's step 5)."""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lib import checks, facts, files
from lib.data import conll, hub, local, readers
from lib.data.local import PARTS
from lib.errors import StudyError
from lib.facts import Source

NO_ANSWER = ""  # the predicted tag of a word that the model does not see; no metric counts it right
_SEED = 20250516  # of the examples that a limit selects


@dataclass(frozen=True)
class Task:
    """A task in a language.

    An example is (text, label) if `kind` is sequence, and (words, tags) if it is token.
    """

    name: str
    language: str
    kind: str
    metric: str
    labels: tuple[str, ...]
    splits: dict[str, list]
    origin: dict


def load(task: str, language: str, source: Source, limit: int = 0) -> Task:
    """Return a task with train, dev and test. Its labels are those of train, sorted, `O` first.

    Labels that only dev or test have stand behind them: no model can learn them, and they count as
    wrong. A printed line and `labels_not_in_train` of the origin say how many there are.

    A limit above 0 selects that many examples of train and as many of dev, always the same ones; a
    smaller limit selects a subset. Test stays whole. `origin`, for the record, also counts the
    texts of dev and test that are in the whole of train (`also_in_train`).
    Raises StudyError for an unknown task, source or language, malformed files, an empty split, or
    one that has no label of train.
    """
    entry = facts.fact("tasks", task)
    checks.check_choice(source.kind, facts.SOURCES, "source")
    if limit < 0:
        raise StudyError(f"a limit of {limit} examples; give 0 for all, or a number above")
    if source.kind == "hub":
        splits, origin = _published(task, entry, language)
        names = {part: f"{task} in {language}: {part}" for part in PARTS}
    else:
        names = local.task(entry, language, source.folder)
        splits = {part: _read(file, entry) for part, file in names.items()}
        prints = {part: local.fingerprint(source.folder, file) for part, file in names.items()}
        origin = {"files": prints}
    labels, not_in_train = _labels(entry["kind"], splits, names)
    train = {text for text, _ in splits["train"]}
    origin["also_in_train"] = {
        part: sum(text in train for text, _ in splits[part]) for part in ("dev", "test")
    }
    origin |= {"labels_not_in_train": not_in_train} if not_in_train else {}
    splits = {part: _some(splits[part], limit if part != "test" else 0) for part in PARTS}
    counts = {part: len(splits[part]) for part in PARTS}
    origin = {"kind": source.kind, "examples": counts, **origin}
    return Task(task, language, entry["kind"], entry["metric"], labels, splits, origin)


FORMS = {"text": "tc", "entities": "ner", "words": "pos"}  # of a user's labels: the task like it


def of_files(labels: str | Path, form: str = "") -> Task:
    """Return the task of a folder with train, dev and test, or of one file, which is split.

    form: one of FORMS, or by the file: a table has labels of texts, and words have entities where a
    tag such as B-LOC is found. A printed line says which. Of one file a tenth each becomes dev and
    test; examples with the same text stay together. Raises StudyError for files that are not there,
    malformed, or do not fit the form.
    """
    if not labels:
        raise StudyError("labels: none are named; give a folder or a file")
    labels = Path(labels).expanduser()
    like = {name: facts.fact("tasks", task) for name, task in FORMS.items()}
    endings = list(dict.fromkeys(end for entry in like.values() for end in entry["extensions"]))
    named = dict.fromkeys(PARTS, labels)
    if labels.is_dir():
        named = {part: local.only(labels, part, endings) for part in PARTS}
    first = named["train"]
    if not form:
        table, words = first.suffix in (".tsv", ".csv"), first.suffix == ".conllu"
        form = "text" if table else "words" if words or not conll.entities(first) else "entities"
        print(f"{first}: read as labels of the form {form!r}", flush=True)
    checks.check_choice(form, FORMS, "form of the labels")
    kind, metric, endings = (like[form][name] for name in ("kind", "metric", "extensions"))
    wrong = [file for file in named.values() if file.suffix[1:] not in endings]
    if wrong:
        raise StudyError(f"{wrong[0]}: {form} is read from .{' or .'.join(endings)}; name it so")
    how = {"kind": kind, "columns": {"text": "text", "label": "label"}, "bio": form == "entities"}
    read = {file: _read(file, how) for file in named.values()}
    splits = _split(read[first]) if len(read) == 1 else dict(zip(PARTS, read.values(), strict=True))
    found, _ = _labels(kind, splits, named)
    origin = [{"file": file.name, "sha256": files.sha256(file.resolve())} for file in read]
    return Task(form, "", kind, metric, found, splits, {"files": origin})


def _split(examples: list) -> dict[str, list]:
    """Train, dev and test of examples; those with one text stay together."""
    texts = list(dict.fromkeys(text for text, _ in examples))
    random.Random(_SEED).shuffle(texts)
    held = len(texts) // 10
    part = dict.fromkeys(texts, "train") | dict.fromkeys(texts[:held], "dev")
    part |= dict.fromkeys(texts[held : 2 * held], "test")
    return {name: [each for each in examples if part[each[0]] == name] for name in PARTS}


def published(task: str, language: str) -> list[tuple[dict, dict]]:
    """Return the published forms of a task in a language: (origin, values of the names in it).

    The order is that of preference. Raises StudyError if there is none.
    """
    known, forms = facts.fact("languages", language), []
    origins = facts.fact("tasks", task)["origins"]
    for origin in origins:
        if origin["needs"] in known:
            value = known[origin["needs"]]
            names = value if isinstance(value, dict) else {"config": value}
            forms.append((origin, {"revision": origin["revision"]} | names))
    if not forms:
        raise StudyError(
            f"params/languages.yaml has no published {task} data for {language!r}; add "
            f"{' or '.join(origin['needs'] for origin in origins)}, or use the local source"
        )
    return forms


def _labels(kind: str, splits: dict[str, list], names: dict) -> tuple[tuple, dict[str, int]]:
    """The labels, those of train first, and how many golds of each split train does not have.

    `names` are files or words for the splits, to be printed and for errors.
    """
    only_there, counts, count_of = set(), {}, {}
    for part in PARTS:
        golds = [[gold] if kind == "sequence" else gold for _, gold in splits[part]]
        count_of[part] = Counter(label for gold in golds for label in gold)
    train = count_of["train"]
    if len(train) < 2:
        has = f"only the label {min(train)!r}" if train else "no example"
        raise StudyError(f"{names['train']}: has {has}; a classifier needs two labels")
    for part, found in count_of.items():
        unknown = sorted(found.keys() - train.keys())
        said = f"{names[part]}: has {', '.join(map(repr, unknown)) or 'no example'}, train has"
        if not found or (unknown and not found.keys() & train.keys() - {"O"}):
            raise StudyError(
                f"{said} {', '.join(map(repr, sorted(train)))}; a split needs examples, and labels "
                "of train"
            )
        if unknown:
            counts[part] = sum(found[label] for label in unknown)
            print(f"{said} not: {counts[part]} of {found.total()} golds count as wrong", flush=True)
            only_there.update(unknown)
    first = sorted(train, key=lambda label: (label != "O", label))
    return (*first, *sorted(only_there)), counts


def _some(examples: list, limit: int) -> list:
    """`limit` of the examples in their order; all if 0."""
    order = list(range(len(examples)))
    random.Random(_SEED).shuffle(order)
    return [examples[place] for place in sorted(order[:limit])] if limit else examples


def _published(task: str, entry: dict, language: str) -> tuple[dict, dict]:
    """Splits and origin of the first published form that is available."""
    failures = []
    for origin, names in published(task, language):
        try:
            load_form = _tables if "data_set" in origin else _files
            splits, where = load_form(entry | origin, names)
        except hub.Unavailable as error:
            failures.append(str(error))
            continue
        passed_over = {"passed_over": failures} if failures else {}
        return splits, where | {"licence": origin["licence"]} | passed_over
    raise StudyError(f"{task} in {language} is not available: {'; nor: '.join(failures)}")


def _tables(form: dict, names: dict) -> tuple[dict, dict]:
    """Splits and origin of a data set of the hub."""
    name = form["data_set"].format(**names)
    config = form["config"] and form["config"].format(**names)
    columns, splits = list(form["columns"].values()), {}
    for part, split in form["parts"].items():
        rows = hub.rows(name, config, split, names["revision"], columns)
        if form["kind"] == "token":
            splits[part] = [(tuple(map(readers.nfc, words)), tuple(tags)) for words, tags in rows]
        else:
            pairs = [(readers.nfc(text), str(label)) for text, label in rows]
            splits[part] = _renamed(pairs, form, name)
    revision = hub.commit(name, config, names["revision"])
    return splits, {"data_set": name, "config": config, "revision": revision}


def _files(form: dict, names: dict) -> tuple[dict, dict]:
    """Splits and origin of files at fixed addresses, fetched once."""
    urls = {part: form["url"].format(part=name, **names) for part, name in form["parts"].items()}
    fetched = {part: hub.download(url) for part, url in urls.items()}
    splits = {part: _read(file, form) for part, file in fetched.items()}
    where = {
        part: {"origin": urls[part], "sha256": files.sha256(file)} for part, file in fetched.items()
    }
    return splits, {"files": where, "revision": names["revision"]}


def _read(file: Path, form: dict) -> list:
    """The examples of one file by its ending; `form` has the names of its columns and labels."""
    if form["kind"] == "sequence":
        columns, header = tuple(form["columns"].values()), tuple(form.get("header", ()))
        return _renamed(readers.table(file, columns, header), form, str(file))
    return conll.conllu(file) if file.suffix == ".conllu" else conll.conll(file, form["bio"])


def _renamed(pairs: list, form: dict, where: str) -> list:
    """The examples with published labels as ours, and without those of dropped labels."""
    names = form.get("label_names")
    if names:  # a published label is its number or already its name
        unknown = sorted({label for _, label in pairs} - {*names, *names.values()})
        if unknown:
            raise StudyError(
                f"{where}: unknown labels {', '.join(map(repr, unknown))}; params/tasks.yaml names "
                f"{', '.join(names)}"
            )
        pairs = [(text, names.get(label, label)) for text, label in pairs]
    return [(text, label) for text, label in pairs if label not in form.get("drop", ())]
