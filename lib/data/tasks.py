"""Downstream tasks: splits, labels and encoded examples, and predictions back to words (the paper's step 5).

Scores count every word of a test set: `encode` drops words beyond `max_length`, `decode` gives them back with an empty tag,
which no metric takes for right. The first sub-word of a word carries its label, the rest is ignored (-100); the authors label and
score all sub-words, which `first_subword=False` reproduces in training.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lib import facts
from lib.data import hub, readers
from lib.errors import StudyError
from lib.facts import Source
from lib.measure.metrics import NO_ANSWER

PARTS = ("train", "dev", "test")
IGNORED = -100  # the label id that PyTorch's cross-entropy leaves out
_SEED = 20250516  # of the sample that a limit takes
_SAMPLE_SIZES = {
    "train": 1000,
    "dev": 100,
    "test": 200,
}  # large enough for every label to occur in train


@dataclass(frozen=True)
class Task:
    """One task in one language. An example is (text, label) if `kind` is sequence, (words, tags), two tuples, if it is token."""

    name: str
    language: str
    kind: str
    metric: str
    labels: tuple[str, ...]
    splits: dict[str, list]
    origin: dict


def load(task: str, language: str, source: Source, limit: int = 0) -> Task:
    """Return the task with its splits train, dev and test; labels are those of train, alphabetical, `O` first.

    A limit above 0 takes that many examples of train and as many of dev, the same ones every time, a smaller limit a subset of a
    larger one; test stays whole.
    `origin` counts the texts of dev and test that stand in the whole of train too (`also_in_train`).
    Raises StudyError for an unknown task, source or language, malformed files, an empty split, or a label that train lacks.
    """
    entry = facts.fact("tasks", task)
    if limit < 0:
        raise StudyError(f"a limit of {limit} examples; give 0 for all, or a number above")
    if source.kind not in facts.SOURCES:
        raise StudyError(
            f"no source called {source.kind!r}; there are {', '.join(facts.SOURCES)}: take one of these"
        )
    if source.kind == "hub":
        splits, origin = _hub(task, entry, language)
        named = {}
    else:
        splits, origin = _local(task, entry, language, source.folder)
        named = {part: source.folder / each["file"] for part, each in origin["files"].items()}
    labels = _labels(f"{task} in {language}", entry["kind"], splits, named)
    origin = origin | {"also_in_train": _repeated(splits)}
    limits = {"train": limit, "dev": limit, "test": 0}
    splits = {part: _some(splits[part], limits[part]) for part in PARTS}
    counts = {part: len(splits[part]) for part in PARTS}
    return Task(
        task,
        language,
        entry["kind"],
        entry["metric"],
        labels,
        splits,
        {"kind": source.kind, "examples": counts, **origin},
    )


def encode(
    task: Task, split: str, tokenizer, max_length: int, first_subword: bool = True
) -> list[dict]:
    """Return one dict an example: input_ids and attention_mask, T numbers each (at most `max_length`), and labels.

    Labels are one id for a sequence task; for a token task T ids, -100 wherever nothing is asked: special tokens and, unless
    `first_subword` is off, all sub-words of a word but its first. Nothing is padded.
    Raises StudyError for an unknown split or a length the tokenizer cannot give.
    """
    examples, batch = _encoded(task, split, tokenizer, max_length)
    number = {label: place for place, label in enumerate(task.labels)}
    result = []
    for row, (_, gold) in enumerate(examples):
        if task.kind == "sequence":
            labels = number[gold]
        else:
            words = batch.word_ids(row)
            asked = (
                _first_places(words).values()
                if first_subword
                else [at for at, word in enumerate(words) if word is not None]
            )
            labels = [IGNORED] * len(words)
            for place in asked:
                labels[place] = number[gold[words[place]]]
        result.append(
            {
                "input_ids": batch["input_ids"][row],
                "attention_mask": batch["attention_mask"][row],
                "labels": labels,
            }
        )
    return result


def decode(
    task: Task, split: str, tokenizer, max_length: int, predictions: Sequence
) -> tuple[list, list]:
    """Return gold and predicted labels as `metrics.score` takes them: one label an example, or one tag for each of its words.

    predictions: a label id an example, or for a token task at least T ids an example, those of `encode`'s places (what follows,
    padding, is not read). A word is answered at its first sub-word; a word without any, lost by truncation, is answered "".
    Raises StudyError if the predictions do not fit the split.
    """
    examples, batch = _encoded(task, split, tokenizer, max_length)
    if len(predictions) != len(examples):
        raise StudyError(
            f"{len(predictions)} predictions for the {len(examples)} examples of {split}; give one for each"
        )
    gold = [answer for _, answer in examples]
    if task.kind == "sequence":
        return gold, [task.labels[int(each)] for each in predictions]
    predicted = []
    for row, (words, _) in enumerate(examples):
        if len(predictions[row]) < len(batch["input_ids"][row]):
            raise StudyError(
                f"{split} example {row + 1} has {len(batch['input_ids'][row])} tokens but {len(predictions[row])} "
                "predictions; encode and decode with the same tokenizer and max_length"
            )
        places = _first_places(batch.word_ids(row))
        predicted.append(
            tuple(
                task.labels[int(predictions[row][places[word]])] if word in places else NO_ANSWER
                for word in range(len(words))
            )
        )
    return gold, predicted


def cut_off(task: Task, split: str, tokenizer, max_length: int) -> float:
    """Share of the words of a split, 0 to 1, that `max_length` leaves without a token, against all that the tokenizer takes.

    In token tasks each of them counts as wrong, so no score is above 1 less this share; the n-gram baseline reads them all.
    """
    read, there = (
        [len(_first_places(batch.word_ids(row))) for row in range(len(examples))]
        for examples, batch in (
            _encoded(task, split, tokenizer, length)
            for length in (max_length, tokenizer.model_max_length)
        )
    )
    return 1 - sum(read) / sum(there)


def _encoded(task: Task, split: str, tokenizer, max_length: int):
    """The examples of a split and the tokenizer's encoding of them."""
    if split not in task.splits:
        raise StudyError(
            f"no split called {split!r}; {task.name} has {', '.join(task.splits)}: take one of these"
        )
    if not 3 <= max_length <= tokenizer.model_max_length:
        raise StudyError(
            f"a max_length of {max_length} tokens; this tokenizer takes 3 to {tokenizer.model_max_length}"
        )
    examples, token = task.splits[split], task.kind == "token"
    texts = [list(words) if token else words for words, _ in examples]
    return examples, tokenizer(
        texts,
        is_split_into_words=token,
        truncation=True,
        max_length=max_length,
        return_token_type_ids=False,
    )


def _first_places(words: list) -> dict[int, int]:
    """Word number -> place of its first sub-word."""
    places = {}
    for place, word in enumerate(words):
        if word is not None:
            places.setdefault(word, place)
    return places


def published(entry: dict, language: str) -> list[tuple[dict, dict]]:
    """The published forms of a task (`facts` of params/tasks.yaml) in a language: (origin, what fills the names in it), in order."""
    known = facts.fact("languages", language)
    return [
        (
            origin,
            {"revision": origin["revision"]}
            | (own if isinstance(own := known[origin["needs"]], dict) else {"config": own}),
        )
        for origin in entry["origins"]
        if origin["needs"] in known
    ]


def _labels(
    what: str, kind: str, splits: dict[str, list], files: dict[str, Path]
) -> tuple[str, ...]:
    """The labels of train, `O` first; StudyError if a split is empty or holds a label that train lacks. `files` lets it say where."""
    found = {}
    for part in PARTS:
        if not splits[part]:
            raise StudyError(
                f"{what}: the {part} split is empty; a task needs examples in {', '.join(PARTS)}"
            )
        found[part] = {
            label for _, gold in splits[part] for label in ([gold] if kind == "sequence" else gold)
        }
        missing = sorted(found[part] - found["train"])
        if missing:
            where = f"{files[part]}:{readers.line_with(files[part], missing[0])}: " if files else ""
            raise StudyError(
                f"{where}{what}: {part} has {', '.join(map(repr, missing))}, train only "
                f"{', '.join(map(repr, sorted(found['train'])))}; correct the labels or move examples to train"
            )
    if len(found["train"]) < 2:
        where = f"{files['train']}: " if files else ""
        raise StudyError(
            f"{where}{what}: train has only the label {found['train'].pop()!r}; a classifier needs two or more"
        )
    return tuple(sorted(found["train"], key=lambda label: (label != "O", label)))


def _repeated(splits: dict[str, list]) -> dict[str, int]:
    """How many examples of dev and of test have a text that train has too. Real data sets have some; the record says how many."""
    train = {text for text, _ in splits["train"]}
    return {part: sum(text in train for text, _ in splits[part]) for part in PARTS[1:]}


def _some(examples: list, limit: int) -> list:
    """`limit` of the examples in their order; all if 0."""
    order = list(range(len(examples)))
    random.Random(_SEED).shuffle(order)
    return [examples[place] for place in sorted(order[:limit])] if limit else examples


def _local(task: str, entry: dict, language: str, root: Path) -> tuple[dict, dict]:
    """Splits and origin of <root>/tasks/<folder>/<language>/{train,dev,test}.<extension>."""
    folder = root / "tasks" / entry["folder"]
    known = (
        sorted(each.name for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
    )
    if language not in known:
        raise StudyError(
            f"{folder} has no {task} data of {language!r}; it has {', '.join(known) or 'nothing'}: add the folder "
            f"{language} with train, dev and test as .{' or .'.join(entry['extensions'])}"
        )
    splits, files = {}, {}
    for part in PARTS:
        names = [f"{part}.{extension}" for extension in entry["extensions"]]
        present = [
            folder / language / name for name in names if (folder / language / name).is_file()
        ]
        if len(present) != 1:
            raise StudyError(
                f"{folder / language} needs one file {' or '.join(names)}; it has "
                f"{' and '.join(file.name for file in present) or 'none'}: {'keep one' if present else 'add it'}"
            )
        splits[part] = _read(
            present[0],
            entry["columns"] if entry["kind"] == "sequence" else None,
            entry.get("bio", False),
        )
        files[part] = readers.fingerprint(root, present[0])
    return splits, {"files": files}


def _hub(task: str, entry: dict, language: str) -> tuple[dict, dict]:
    """Splits and origin of the first published form that can be had; the record says which were passed over, and why."""
    failures = []
    for origin, names in published(entry, language):
        try:
            splits, where = (_tables if "data_set" in origin else _files)(origin, names, entry)
        except hub.Unavailable as error:
            failures.append(str(error))
            continue
        return splits, where | {"licence": origin["licence"]} | (
            {"passed_over": failures} if failures else {}
        )
    if failures:
        raise StudyError(f"{task} in {language} cannot be had: {'; nor: '.join(failures)}")
    raise StudyError(
        f"params/languages.yaml states no published {task} data for {language!r}; it would stand under "
        f"{' or '.join(dict.fromkeys(origin['needs'] for origin in entry['origins']))}. Add it, or use the local source"
    )


def _tables(origin: dict, names: dict, entry: dict) -> tuple[dict, dict]:
    """Splits from a data set of the hub."""
    name, config = (
        origin["data_set"].format(**names),
        origin["config"] and origin["config"].format(**names),
    )
    first, second = origin["columns"].values()
    splits, revision = {}, None
    for part, split in origin["parts"].items():
        rows, revision = hub.rows(name, config, split, names["revision"])
        for column in (first, second):
            if rows and column not in rows[0]:
                raise StudyError(
                    f"{name} has no column {column!r}; it has {', '.join(rows[0])}: correct params/tasks.yaml"
                )
        pairs = [(row[first], row[second]) for row in rows]
        if entry["kind"] == "token":
            splits[part] = [(tuple(words), tuple(tags)) for words, tags in pairs]
        else:
            splits[part] = _renamed([(text, str(label)) for text, label in pairs], origin, name)
    return splits, {"data_set": name, "config": config, "revision": revision}


def _files(origin: dict, names: dict, entry: dict) -> tuple[dict, dict]:
    """Splits from files at fixed addresses, fetched once."""
    urls = {
        part: origin["url"].format(part=name, **names) for part, name in origin["parts"].items()
    }
    files = {part: hub.download(url) for part, url in urls.items()}
    splits = {
        part: _read(file, origin.get("columns"), entry.get("bio", False), origin)
        for part, file in files.items()
    }
    where = {
        part: {"origin": urls[part], "sha256": readers.fingerprint(files.raw(), file)["sha256"]}
        for part, file in files.items()
    }
    return splits, {"files": where, "revision": names["revision"]}


def _read(file: Path, columns: dict | None, bio: bool, origin: dict | None = None) -> list:
    """The examples of one file, by its ending."""
    names = tuple((columns or {}).values())
    if file.suffix == ".tsv":
        return _renamed(readers.table(file, names), origin or {}, str(file))
    if file.suffix == ".csv":
        return _renamed(readers.quoted(file, tuple(origin["header"]), names), origin, str(file))
    return readers.conllu(file) if file.suffix == ".conllu" else readers.conll(file, bio)


def _renamed(pairs: list, origin: dict, say: str) -> list:
    """The examples with published labels turned into ours and those of dropped labels left out."""
    names = origin.get("label_names")
    if names:
        # a published label is its number or already its name
        unknown = sorted({label for _, label in pairs} - {*names, *names.values()})
        if unknown:
            raise StudyError(
                f"{say}: unknown labels {', '.join(map(repr, unknown))}; params/tasks.yaml names {', '.join(names)}"
            )
        pairs = [(text, names.get(label, label)) for text, label in pairs]
    return [(text, label) for text, label in pairs if label not in origin.get("drop", ())]
