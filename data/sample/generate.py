"""The generator of the embedded corpus: text and exactly labelled tasks from small grammars.

    python data/sample/generate.py        writes corpora/, tasks/ and easy_english/ again

The corpus stands in for the paper's GlotCC text and its four tasks in the study `demo`. A study
reads only the files that this program has written. A grammar is grammar/<language>.yaml:

* `categories`: words for the same position. A row is one word or several, `form|form|form` where
  it inflects, and `word_TAG` where its tag is not the category's. A first column names the class
  (gender, noun class) that other words agree with. Rows are listed under `rows`, or under the
  topics or the sentiment that they belong to.
* `templates`: one sentence a line. `{person}` draws a row, `{p=person:acc}` names it and takes a
  form, `{p:gen}` uses the same row again, and `{was:$p}` takes the form with the name of p's
  class. `{~event}` draws from another topic (or the other sentiment) than the sentence's. A row
  may contain slots of categories above it; `{man:*}` there takes the form asked of the row itself.
* `tags`: the tags of words that templates spell out. `joins`: spellings that depend on the next
  word, as [pattern of the two words, replacement]. `attach`: the pattern of words that are written
  together with the next one.

Splits are disjoint by a stable hash: crc32 of the sentence modulo 20 decides the part that it may
be in (see SHARES). So text and task data never share a sentence, and neither do two splits,
whatever the seeds. About one row in six of each larger category is never in a task's train split:
dev and test have words that are new to the task.
"""

import json
import random
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import yaml

FOLDER = Path(__file__).resolve().parent
LANGUAGES = tuple(sorted(file.stem for file in (FOLDER / "grammar").glob("*.yaml")))
SEED = 20250516
SENTENCES = {"train": 5000, "dev": 200, "test": 200}
EXAMPLES = {"train": 1000, "dev": 100, "test": 200}
EASY = {"train": 20_000, "dev": 1000, "test": 3000}  # sentences that the easy ones are taken from
EASY_WORDS = 220
TOPICS = {
    "science": "science/technology",
    "travel": "travel",
    "politics": "politics",
    "sports": "sports",
    "health": "health",
    "entertainment": "entertainment",
    "geography": "geography",
}
SENTIMENTS = ("positive", "negative")
ENTITIES = ("PER", "LOC", "ORG")
UPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
TASKS = ("tc", "sa", "ner", "pos")
SHARES = {
    "text.train": range(0, 10),
    "text.dev": range(10, 11),
    "text.test": range(11, 12),
    "task.train": range(12, 16),
    "task.dev": range(16, 18),
    "task.test": range(18, 20),
}
CLOSING = frozenset(".,:;?!")
PATIENCE = 20_000  # draws without a new sentence after which the grammar counts as used up


def sentences(language: str, count: int, seed: int, part: str = "train") -> list[str]:
    """Return `count` distinct sentences of running text: the first ones of any larger count.

    Raises ValueError for an unknown language or part (train, dev, test), and for more sentences
    than the grammar has.
    """
    grammar, share = _grammar(language), _share("text", part)
    rng = random.Random(f"text.{language}.{part}.{seed}")
    found = {}
    for _ in _until(found, count, f"{part} sentences of {language}"):
        sentence = grammar.draw(
            rng, grammar.templates, _pick(rng, list(TOPICS)), _pick(rng, SENTIMENTS)
        )
        text = grammar.text(sentence.words)
        if zlib.crc32(text.encode()) % 20 in share:
            found[text] = None
    return list(found)


def task(task: str, language: str, sizes: dict[str, int], seed: int) -> dict[str, list]:
    """Return the examples by split: (text, label) for tc and sa, (words, tags) for ner and pos.

    sizes: the number of distinct examples of each split. Labels are the topic names of SIB-200,
    or positive and negative, in equal numbers; tags are BIO of PER, LOC and ORG, or UPOS.
    Raises ValueError for an unknown task, language or split.
    """
    grammar = _grammar(language)
    if task not in TASKS or task not in grammar.tasks:
        raise ValueError(
            f"no sample task '{task}' for '{language}': it has "
            f"{', '.join(grammar.tasks) or 'text only'}; languages with tasks: "
            f"{', '.join(code for code in LANGUAGES if _grammar(code).tasks)}"
        )
    return {split: _examples(grammar, task, split, size, seed) for split, size in sizes.items()}


def easy_english() -> dict[str, list[str]]:
    """The English sentences of each part that need only the most frequent words of the train part.

    They are the text of the chapters in notebooks/learn, where a toy model learns them in seconds.
    """
    parts = {part: sentences("eng", count, 1, part) for part, count in EASY.items()}
    words = Counter(word for sentence in parts["train"] for word in re.findall(r"\w+", sentence))
    frequent = {word for word, _ in words.most_common(EASY_WORDS)}
    return {
        part: [text for text in texts if frequent.issuperset(re.findall(r"\w+", text))]
        for part, texts in parts.items()
    }


def _examples(grammar: "Grammar", task: str, split: str, size: int, seed: int) -> list:
    share = _share("task", split)
    rng = random.Random(f"{task}.{grammar.language}.{split}.{seed}")
    found = {}
    for _ in _until(found, size, f"{split} examples of {task} in {grammar.language}"):
        topic, sentiment = _pick(rng, list(TOPICS)), _pick(rng, SENTIMENTS)
        if task == "tc":
            topic = list(TOPICS)[len(found) % len(TOPICS)]
        if task == "sa":
            sentiment = SENTIMENTS[len(found) % 2]
        every = task == "pos" or (task == "ner" and rng.random() < 0.15)
        templates = grammar.templates if every else grammar.suited[task]
        sentence = grammar.draw(rng, templates, topic, sentiment, held_back=split == "train")
        text = grammar.text(sentence.words)
        if zlib.crc32(text.encode()) % 20 not in share or (
            task == "tc" and sentence.topics() != {topic}
        ):
            continue
        words, tags, entities = zip(*sentence.words, strict=True)
        found.setdefault(
            text,
            {
                "tc": (text, TOPICS[topic]),
                "sa": (text, sentiment),
                "ner": (words, entities),
                "pos": (words, tags),
            }[task],
        )
    examples = list(found.values())
    return sorted(
        examples, key=lambda _: rng.random()
    )  # shuffled, the same in every version of Python


def _share(kind: str, part: str) -> range:
    if f"{kind}.{part}" not in SHARES:
        raise ValueError(f"no part '{part}' in the sample corpus: ask for train, dev or test")
    return SHARES[f"{kind}.{part}"]


def _until(found: dict, count: int, what: str):
    """Yield until `found` holds `count` entries; ValueError when it no longer grows."""
    size, idle = 0, 0
    while len(found) < count:
        idle = idle + 1 if len(found) == size else 0
        size = len(found)
        if idle > PATIENCE:
            raise ValueError(
                f"{count} distinct {what} asked for, the sample grammar gave {size}; ask for fewer"
            )
        yield


def _pick(rng: random.Random, items):
    return items[
        int(rng.random() * len(items))
    ]  # as Random.choice, but the same in every version of Python


class Slot(NamedTuple):
    category: str  # or the name of a row drawn earlier
    form: str  # "": the first, "*": that of the row around, "%s": filled with the class of `agree`
    agree: str | None
    bind: str | None
    other: bool


class Row(NamedTuple):
    labels: frozenset  # topics or sentiment; empty: fits all
    noun_class: str
    forms: dict  # form -> tuple of Slot or (word, tag)


@dataclass
class Category:
    name: str
    forms: list[str]
    classes: list[str]
    entity: str
    kind: str = ""  # "topic", "sentiment" or ""
    rows: list[Row] = field(default_factory=list)
    pools: dict = field(default_factory=dict)  # (label, other, held_back) -> rows


class Sentence:
    """A drawn sentence: `words` is a list of [word, UPOS tag, BIO tag]."""

    def __init__(self, rng: random.Random, topic: str, sentiment: str, held_back: bool):
        self.rng, self.held_back = rng, held_back
        self.labels = {"topic": topic, "sentiment": sentiment, "": ""}
        self.words, self.named, self.cues, self.drawn = [], {}, [], set()

    def topics(self) -> frozenset:
        """The topics that all topical words have in common; empty without any."""
        return frozenset.intersection(*self.cues) if self.cues else frozenset()

    def expand(self, parts: tuple, form: str, categories: dict[str, Category]) -> None:
        """Append the words of a template or a row, which is asked for in `form`."""
        for part in parts:
            if (
                len(part) > 2 and part.bind
            ):  # named rows first: an adjective may stand before its noun
                self.named[part.bind] = self._choose(part, categories)
        for part in parts:
            if len(part) == 2:
                self.words.append([*part, "O"])
                continue
            category, row = self.named.get(part.bind or part.category) or self._choose(
                part, categories
            )
            wanted = form if part.form == "*" else part.form or category.forms[0]
            if part.agree:
                wanted = wanted % self.named[part.agree][1].noun_class
            start = len(self.words)
            self.expand(row.forms[wanted], wanted, categories)
            if category.entity:
                for i in range(start, len(self.words)):
                    self.words[i][2] = ("B-" if i == start else "I-") + category.entity

    def _choose(self, slot: Slot, categories: dict[str, Category]) -> tuple[Category, Row]:
        """A row for the slot, in larger categories one that the sentence does not have yet."""
        category = categories[slot.category]
        pool = category.pools[self.labels[category.kind], slot.other, self.held_back]
        row = _pick(self.rng, pool)
        while len(pool) > 9 and id(row) in self.drawn:
            row = _pick(self.rng, pool)
        self.drawn.add(id(row))
        if category.kind == "topic" and row.labels and not slot.other:
            self.cues.append(row.labels)
        return category, row


class Grammar:
    """A language's grammar. Loading checks that each slot leads to rows and each word has a tag."""

    def __init__(self, file: Path):
        self.file, self.language = file, file.stem
        facts = _read(file)
        self._require_shape(facts)
        self.tasks = tuple(facts.get("tasks", ()))
        self.attach = re.compile(facts.get("attach") or "(?!)")
        self.joins = [(re.compile(pattern), new) for pattern, new in facts.get("joins", ())]
        self.tags = {
            str(word): tag for tag, words in facts["tags"].items() for word in words.split()
        }
        self.joined, self.attached = {}, {}
        self.categories = {}
        for name, entry in facts["categories"].items():
            self.categories[name] = self._category(name, entry)
        self.templates = [
            self._template(line.strip()) for line in facts["templates"].splitlines() if line.strip()
        ]
        self.suited = {
            "tc": self._having(lambda c, slot: c.kind == "topic" and not slot.other),
            "sa": self._having(lambda c, slot: c.kind == "sentiment"),
            "ner": self._having(lambda c, slot: c.entity),
        }

    def draw(self, rng, templates, topic: str, sentiment: str, held_back: bool = False) -> Sentence:
        """A random sentence of the topic and the sentiment.

        `held_back` leaves out the rows that no train split has.
        """
        sentence = Sentence(rng, topic, sentiment, held_back)
        sentence.expand(_pick(rng, templates), "", self.categories)
        words = sentence.words
        for i in (
            range(len(words) - 2, -1, -1) if self.joins else ()
        ):  # from the end: dwar il- + ittra, then u + l-
            pair = words[i][0], words[i + 1][0]
            words[i][0], words[i + 1][0] = self.joined.get(pair) or self._join(*pair)
        words[0][0] = words[0][0][0].upper() + words[0][0][1:]
        return sentence

    def text(self, words: list) -> str:
        """The words as running text, without spaces before punctuation or after attached words."""
        text = words[0][0]
        for (before, _, _), (word, _, _) in pairwise(words):
            text += word if word in CLOSING or self._attached(before) else f" {word}"
        return text

    def _attached(self, word: str) -> bool:
        if word not in self.attached:
            self.attached[word] = bool(self.attach.fullmatch(word))
        return self.attached[word]

    def _join(self, first: str, second: str) -> tuple[str, str]:
        """The two words as they are spelt side by side."""
        pair = f"{first} {second}"
        for pattern, new in self.joins:
            pair = pattern.sub(new, pair)
        self.joined[first, second] = tuple(pair.split(" "))
        return self.joined[first, second]

    def _category(self, name: str, entry: dict) -> Category:
        where = f"category '{name}'"
        keys = {"tag", "forms", "classes", "entity"}
        category = Category(
            name,
            entry.get("forms", "base").split(),
            entry.get("classes", "").split(),
            entry.get("entity", ""),
        )
        self._require(
            category.entity in ("", *ENTITIES), f"{where}: unknown entity '{category.entity}'"
        )
        for key, text in ((k, v) for k, v in entry.items() if k not in keys):
            labels = frozenset() if key == "rows" else frozenset(key.split())
            kind = (
                "topic"
                if labels <= set(TOPICS)
                else "sentiment"
                if labels <= set(SENTIMENTS)
                else ""
            )
            self._require(
                kind and (not labels or category.kind in ("", kind)),
                f"{where}: unknown key '{key}'",
            )
            category.kind = kind if labels else category.kind
            for row in text.split(", "):
                category.rows.append(
                    self._row(category, labels, row.strip(), entry.get("tag"), f"{where}, '{row}'")
                )
        self._fill(category)
        return category

    def _fill(self, category: Category) -> None:
        """Set the rows by label; train splits lack one row in six of a large category."""
        rows = category.rows
        kept = [row for row in rows if len(rows) < 10 or zlib.crc32(repr(row.forms).encode()) % 6]
        for label in {"topic": TOPICS, "sentiment": SENTIMENTS, "": ("",)}[category.kind]:
            for other in (False, True):
                every = [r for r in rows if (label not in r.labels if other else label in r.labels)]
                every += [] if other else [r for r in rows if not r.labels]
                every = [r for r in every if r.labels] if other else every
                category.pools[label, other, False] = every
                category.pools[label, other, True] = [r for r in every if r in kept] or every

    def _row(
        self, category: Category, labels: frozenset, text: str, tag: str | None, where: str
    ) -> Row:
        tokens = text.split()
        noun_class = tokens.pop(0) if category.classes else ""
        self._require(
            not category.classes or noun_class in category.classes,
            f"{where}: unknown class '{noun_class}'",
        )
        self._require(tokens, f"{where}: no word")
        columns = [self._token(token, category.forms, tag, where) for token in tokens]
        forms = {
            form: tuple(column[i] for column in columns) for i, form in enumerate(category.forms)
        }
        self._check(forms[category.forms[0]], where, category.forms)
        return Row(labels, noun_class, forms)

    def _template(self, line: str) -> tuple:
        where = f"template '{line}'"
        parts = tuple(self._token(token, [""], None, where)[0] for token in line.split())
        self._check(parts, where)
        return parts

    def _token(self, token: str, forms: list[str], tag: str | None, where: str) -> list:
        """One entry for each form: a Slot, or (word, tag)."""
        if "{" in token or "}" in token:
            slot = re.fullmatch(
                r"\{(~?)(?:(\w+)=)?(\w+)(?::([\w*]*)(?:\$(\w+)([\w.]*))?)?\}", token
            )
            self._require(slot, f"{where}: '{token}' is no slot")
            other, bind, name, form, agree, rest = slot.groups()
            form = f"{form}%s{rest}" if agree else form or ""
            return [Slot(name, form, agree, bind, bool(other))] * len(forms)
        words, _, own = token.partition("_")
        words = words.split("|")
        self._require(
            len(words) in (1, len(forms)), f"{where}: '{token}' has not {len(forms)} forms"
        )
        return [
            (word, self._tag(word, own or tag, bool(own), where))
            for word in (words * len(forms) if len(words) == 1 else words)
        ]

    def _tag(self, word: str, tag: str | None, own: bool, where: str) -> str:
        """The word's own tag, else the one listed for it, else its category's."""
        listed = (
            self.tags.get(word)
            or self.tags.get(word.lower())
            or (None if any(map(str.isalnum, word)) else "PUNCT")
        )
        found = tag if own else listed or tag
        self._require(
            word and found,
            f"{where}: the word '{word}' has no tag; write {word}_TAG or list it under tags",
        )
        self._require(found in UPOS.split(), f"{where}: '{found}' is no UPOS tag")
        return found

    def _check(self, parts: tuple, where: str, outer: list[str] = ()) -> None:
        """Check that each slot leads to rows and forms, of categories above only (no circles)."""
        slots = [part for part in parts if isinstance(part, Slot)]
        named = {slot.bind: self.categories.get(slot.category) for slot in slots if slot.bind}
        for slot in slots:
            name, category = (
                slot.category,
                named.get(slot.category) or self.categories.get(slot.category),
            )
            self._require(
                category,
                f"{where}: no category '{name}'; there are "
                f"{', '.join(self.categories) or 'none yet'}",
            )
            self._require(
                not slot.agree or named.get(slot.agree),
                f"{where}: no slot is named '{slot.agree}='",
            )
            forms = (
                [slot.form % c for c in named[slot.agree].classes] if slot.agree else [slot.form]
            )
            for form in outer if slot.form == "*" and outer else forms:
                self._require(
                    not form or form in category.forms, f"{where}: '{name}' has no form '{form}'"
                )
            full = all(
                rows for (_, other, _), rows in category.pools.items() if other == slot.other
            )
            self._require(full, f"{where}: '{name}' has no rows for some topic or sentiment")

    def _require_shape(self, facts) -> None:
        known, needed = (
            {"name", "tasks", "attach", "joins", "tags", "categories", "templates"},
            {"tags", "categories", "templates"},
        )
        self._require(
            isinstance(facts, dict) and needed <= set(facts) <= known,
            f"a grammar has the keys {', '.join(sorted(known))}; "
            f"needed are {', '.join(sorted(needed))}",
        )
        self._require(
            set(facts.get("tasks", ())) <= set(TASKS), f"tasks are some of {', '.join(TASKS)}"
        )
        for name, entry in facts["categories"].items():
            self._require(
                isinstance(entry, dict) and all(isinstance(text, str) for text in entry.values()),
                f"category '{name}': every entry is one line of text, rows are separated by ', '",
            )

    def _having(self, wanted) -> list:
        def reaches(parts) -> bool:
            slots = [p for p in parts if isinstance(p, Slot) and p.category in self.categories]
            return any(
                wanted(c, slot) or any(reaches(row.forms[c.forms[0]]) for row in c.rows)
                for slot in slots
                for c in [self.categories[slot.category]]
            )

        return [parts for parts in self.templates if reaches(parts)]

    def _require(self, truth, problem: str) -> None:
        if not truth:
            raise ValueError(f"{self.file}: {problem}")


class _Loader(yaml.SafeLoader):
    """YAML in which a key given twice is an error."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key '{twice[0]}' given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _read(file: Path) -> dict:
    try:
        return yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: not readable as YAML: {error}") from error


@cache
def _grammar(language: str) -> Grammar:
    if language not in LANGUAGES:
        raise ValueError(
            f"no sample grammar for '{language}': there are {', '.join(LANGUAGES)}; "
            f"to add one write grammar/{language}.yaml"
        )
    return Grammar(FOLDER / "grammar" / f"{language}.yaml")


def write(folder: Path) -> None:
    """Write the whole corpus below `folder`, in the layout of a local data folder."""
    for language in LANGUAGES:
        for part, count in SENTENCES.items():
            _lines(
                folder / "corpora" / language / f"{part}.txt",
                sentences(language, count, SEED, part),
            )
        for name in _grammar(language).tasks:
            for part, examples in task(name, language, EXAMPLES, SEED).items():
                file = folder / "tasks" / FOLDERS[name] / language / part
                _lines(file.with_suffix(ENDINGS[name]), LAYOUTS[name](examples))
    for part, texts in easy_english().items():
        _lines(folder / "easy_english" / f"{part}.txt", texts)
    source = {
        "licence": "MIT",
        "repository": "this repository",
        "commit": "data/sample/generate.py",
    }
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*/*/*.*"))
    entries = [{"file": name, "sources": [source]} for name in names]
    listed = ",\n".join(json.dumps(entry) for entry in entries)
    (folder / "MANIFEST.json").write_text(f'{{"files": [\n{listed}\n]}}\n', encoding="utf-8")


def _lines(file: Path, lines) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _conll(examples: list):
    for words, tags in examples:
        yield from (f"{word} {tag}" for word, tag in zip(words, tags, strict=True))
        yield ""


def _conllu(examples: list):
    for words, tags in examples:
        rows = enumerate(zip(words, tags, strict=True), start=1)
        yield from (f"{place}\t{word}\t_\t{tag}" + "\t_" * 6 for place, (word, tag) in rows)
        yield ""


FOLDERS = {"tc": "topic", "sa": "sentiment", "ner": "ner", "pos": "pos"}
ENDINGS = {"tc": ".tsv", "sa": ".tsv", "ner": ".txt", "pos": ".conllu"}
LAYOUTS = {
    "tc": lambda examples: ["text\tcategory", *("\t".join(each) for each in examples)],
    "sa": lambda examples: ["text\tlabel", *("\t".join(each) for each in examples)],
    "ner": _conll,
    "pos": _conllu,
}


if __name__ == "__main__":
    write(FOLDER)
