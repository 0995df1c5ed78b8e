"""The embedded corpus: the generator writes it, its parts share nothing, its labels fit."""

import unicodedata
from collections import Counter
from functools import cache

import generate
import pytest

from lib import files
from lib.data import corpora, tasks
from lib.facts import Source

pytestmark = pytest.mark.slow

TARGETS = ("mlt", "slk", "swh")
SAMPLE = Source("sample")


@cache
def text(language, part="train"):
    return corpora.load(language, SAMPLE, part)


@cache
def splits(name, language):
    return tasks.load(name, language, SAMPLE).splits


def words_of(sentences):
    return {word.strip(".,?").lower() for sentence in sentences for word in sentence.split()}


def test_the_committed_files_are_what_the_generator_writes(tmp_path):
    generate.write(tmp_path)
    written, committed = (
        {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in [folder / "MANIFEST.json", *folder.rglob("*/*/*.*")]
        }
        for folder in (tmp_path, files.SAMPLE)
    )
    assert len(written) == 6 * 3 + 3 * 4 * 3 + 1 and written == committed


@pytest.mark.parametrize("language", TARGETS)
@pytest.mark.parametrize("name", generate.TASKS)
def test_reading_gives_back_what_was_drawn(language, name):
    drawn = generate.task(name, language, {"dev": generate.EXAMPLES["dev"]}, generate.SEED)
    assert splits(name, language)["dev"] == drawn["dev"]
    assert text(language, "dev") == generate.sentences(language, 200, generate.SEED, "dev")


def test_targets_and_support_languages_exist():
    assert set(TARGETS) | {"eng", "ita", "ces"} <= set(generate.LANGUAGES)


@pytest.mark.parametrize("language", generate.LANGUAGES)
def test_running_text_is_distinct_varied_and_well_formed(language):
    assert len(set(text(language))) == 5000 and len(words_of(text(language))) > 700
    assert 4 < sum(len(sentence.split()) for sentence in text(language)) / 5000 < 15
    for sentence in text(language):
        assert unicodedata.is_normalized("NFC", sentence)
        assert not set(sentence) & set("{}|_$~*=\0"), sentence
        assert not any(wrong in sentence for wrong in ("  ", " .", " ,", "- ")), sentence
        assert sentence[-1] in ".?" and not sentence[0].islower(), sentence


def test_a_small_count_begins_a_large_one_and_another_seed_draws_others():
    first = generate.sentences("slk", 50, seed=7)
    assert first == generate.sentences("slk", 80, seed=7)[:50]
    assert first != generate.sentences("slk", 50, seed=8)
    sizes = {"train": 21, "dev": 7, "test": 7}
    for name in generate.TASKS:
        assert generate.task(name, "slk", sizes, 5) != generate.task(name, "slk", sizes, 6)


def test_every_bucket_of_the_hash_belongs_to_one_part():
    buckets = sorted(bucket for share in generate.SHARES.values() for bucket in share)
    assert buckets == list(range(20))


@pytest.mark.parametrize("language", TARGETS)
def test_text_parts_and_task_splits_share_no_sentence(language):
    seen, grammar = Counter(), generate._grammar(language)
    for part in corpora.PARTS:
        seen.update(set(text(language, part)))
        labelled = {words for name in ("tc", "sa") for words, _ in splits(name, language)[part]}
        for name in ("ner", "pos"):
            for words, _ in splits(name, language)[part]:
                labelled.add(grammar.text([[word, "", ""] for word in words]))
        seen.update(labelled)
    assert max(seen.values()) == 1


@pytest.mark.parametrize("language", TARGETS)
@pytest.mark.parametrize("name", generate.TASKS)
def test_splits_have_their_sizes_without_repetition(language, name):
    found = {part: len(set(examples)) for part, examples in splits(name, language).items()}
    assert found == generate.EXAMPLES


@pytest.mark.parametrize("language", TARGETS)
def test_topics_and_sentiments_are_all_there_and_balanced(language):
    topics, sentiments = set(generate.TOPICS.values()), set(generate.SENTIMENTS)
    for name, labels in (("tc", topics), ("sa", sentiments)):
        for examples in splits(name, language).values():
            counts = Counter(label for _, label in examples)
            assert set(counts) == labels and max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("language", TARGETS)
def test_tags_are_universal_and_punctuation_is_punct(language):
    tags = set()
    for words, line in splits("pos", language)["train"]:
        assert len(words) == len(line) and line[-1] == "PUNCT"
        for word, tag in zip(words, line, strict=True):
            assert (tag == "PUNCT") == (not any(map(str.isalnum, word)))
        tags |= set(line)
    common = "ADJ ADP ADV AUX CCONJ DET NOUN NUM PART PRON PROPN PUNCT SCONJ VERB"
    assert set(common.split()) <= tags <= set(generate.UPOS.split())


@pytest.mark.parametrize("language", TARGETS)
def test_entities_are_well_formed_bio(language):
    kinds = Counter()
    for words, line in splits("ner", language)["test"]:
        assert len(words) == len(line)
        for before, tag in zip(("O", *line), line, strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:], (words, line)
            kinds[tag] += 1
    assert set(kinds) == {"O", *(f"{edge}-{kind}" for edge in "BI" for kind in generate.ENTITIES)}


@pytest.mark.parametrize("language", TARGETS)
def test_a_name_alone_does_not_tell_its_kind(language):
    kinds = {}
    for words, line in splits("ner", language)["train"]:
        for word, tag in zip(words, line, strict=True):
            if tag != "O":
                kinds.setdefault(word, set()).add(tag[2:])
    assert sum(len(of_word) > 1 for of_word in kinds.values()) >= 5


@pytest.mark.parametrize("language", TARGETS)
def test_sentiment_is_not_told_by_one_word(language):
    labels = {}
    for sentence, label in splits("sa", language)["train"]:
        for word in words_of([sentence]):
            labels.setdefault(word, Counter())[label] += 1
    category = generate._grammar(language).categories["quality"]
    quality = [row.forms[category.forms[0]] for row in category.rows]
    single = [parts[0][0] for parts in quality if len(parts) == 1]
    assert sum(len(labels[word]) == 2 for word in single if word in labels) > 5


@pytest.mark.parametrize("language", TARGETS)
def test_dev_and_test_hold_words_that_train_lacks_but_running_text_has(language):
    train, test = (
        words_of(sentence for sentence, _ in splits("tc", language)[part])
        for part in ("train", "test")
    )
    new = test - train
    assert len(new) > 20
    assert len(new & words_of(text(language))) > 0.8 * len(new)


def test_maltese_article_is_its_own_word_and_attached_in_text():
    grammar = generate._grammar("mlt")
    for article, noun, spelt in (
        ("il-", "tabib", "it-tabib"),
        ("il-", "ittra", "l-ittra"),
        ("fil-", "sptar", "fl-isptar"),
        ("għall-", "xmara", "għax-xmara"),
        ("f'", "Franza", "fi Franza"),
        ("f'", "Malta", "f'Malta"),
    ):
        assert grammar.text([[word, "", ""] for word in grammar._join(article, noun)]) == spelt
    assert grammar._join("u", "l-") == ("u", "l-") and grammar._join("ra", "it-") == ("ra", "t-")


@pytest.mark.parametrize(
    "call, said",
    [
        (
            lambda: generate.sentences("xyz", 1, 1),
            "no sample grammar for 'xyz': there are ces, eng",
        ),
        (lambda: generate.sentences("mlt", 1, 1, part="valid"), "no part 'valid'"),
        (
            lambda: generate.task("tc", "eng", {"train": 1}, 1),
            "no sample task 'tc' for 'eng': it has text only; .* mlt, slk, swh",
        ),
        (
            lambda: generate.task("qa", "mlt", {"train": 1}, 1),
            "no sample task 'qa' for 'mlt': it has tc, sa, ner, pos",
        ),
        (lambda: generate.task("tc", "mlt", {"tune": 1}, 1), "no part 'tune'"),
    ],
)
def test_what_does_not_exist_is_said(call, said):
    with pytest.raises(ValueError, match=said):
        call()


GOOD = """
tags: {ADP: in}
categories:
  animal: {tag: NOUN, classes: m f, forms: sg pl, rows: "m dog|dogs, f cow|cows"}
  sees: {tag: VERB, forms: m f, rows: he-sees|she-sees}
templates: |
  {a=animal} {sees:$a} {animal:pl} in_ADP {animal} .
"""


def test_a_small_grammar_runs_out_with_its_count(tmp_path, monkeypatch):
    (tmp_path / "toy.yaml").write_text(GOOD, encoding="utf-8")
    toy = generate.Grammar(tmp_path / "toy.yaml")
    monkeypatch.setattr(generate, "_grammar", lambda language: toy)
    monkeypatch.setattr(generate, "PATIENCE", 500)
    with pytest.raises(
        ValueError,
        match=r"99 distinct train sentences of toy asked for, the sample grammar gave \d; ask",
    ):
        generate.sentences("toy", 99, 1)


@pytest.mark.parametrize(
    "old, new, said",
    [
        (
            "{animal:pl}",
            "{plant:pl}",
            r"template '.*\{plant:pl\}.*': no category 'plant'; there are animal, sees",
        ),
        ("{animal:pl}", "{animal:dual}", "'animal' has no form 'dual'"),
        ("{sees:$a}", "{sees:$b}", "no slot is named 'b='"),
        ("{sees:$a}", "{sees:$a", "is no slot"),
        ("{animal:pl}", "{~animal}", "has no rows for some topic"),
        ("in_ADP", "on", "the word 'on' has no tag; write on_TAG"),
        ("in_ADP", "in_PREP", "'PREP' is no UPOS tag"),
        ("m dog|dogs", "dog|dogs", "category 'animal', 'dog.*': unknown class 'dog"),
        ("m dog|dogs", "m dog|dogs|doggies", "has not 2 forms"),
        ("rows: he-sees", "weather: he-sees", "unknown key 'weather'"),
        ("tag: VERB, ", "", "category 'sees'.* has no tag"),
        ("tag: VERB, ", "entity: DATE, ", "unknown entity 'DATE'"),
        ("m dog|dogs", "m {sees}", "no category 'sees'; there are none yet"),
        ("tags:", "words:", "a grammar has the keys"),
        ("forms: m f", "forms: [m, f]", "every entry is one line of text"),
        ("forms: m f", "tag: VERB", "key 'tag' given twice"),
    ],
)
def test_a_malformed_grammar_names_file_and_place(tmp_path, old, new, said):
    assert old in GOOD
    file = tmp_path / "toy.yaml"
    file.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=f"toy.yaml.*{said}|toy.yaml(.|\n)*{said}"):
        generate.Grammar(file)
