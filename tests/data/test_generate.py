"""The embedded corpus: same text everywhere, splits that share nothing, labels that follow from the grammar."""

import os
import subprocess
import sys
import unicodedata
from collections import Counter

import generate as sample
import pytest

from lib.errors import StudyError
from lib.files import ROOT

TARGETS = ("mlt", "slk", "swh")
SIZES = {"train": 210, "dev": 70, "test": 70}


def words_of(sentences):
    return {word.strip(".,?").lower() for sentence in sentences for word in sentence.split()}


@pytest.fixture(scope="module", params=sample.LANGUAGES)
def many(request):
    return request.param, sample.sentences(request.param, 20_000, seed=1)


def test_targets_and_support_languages_exist():
    assert set(TARGETS) | {"eng", "ita", "ces"} <= set(sample.LANGUAGES)


def test_twenty_thousand_distinct_sentences_of_several_hundred_words(many):
    language, sentences = many
    assert len(set(sentences)) == 20_000
    assert len(words_of(sentences)) > 700, language
    assert 4 < sum(len(sentence.split()) for sentence in sentences) / 20_000 < 15


def test_running_text_is_well_formed(many):
    for text in many[1][:5000]:
        assert unicodedata.is_normalized("NFC", text)
        assert not set(text) & set("{}|_$~*=\0"), text
        assert "  " not in text and " ." not in text and " ," not in text and "- " not in text, text
        assert text[-1] in ".?" and not text[0].islower(), text


def test_repeatable_and_a_small_count_begins_a_large_one():
    first = sample.sentences("slk", 300, seed=7)
    assert (
        first == sample.sentences("slk", 300, seed=7) == sample.sentences("slk", 500, seed=7)[:300]
    )
    assert first != sample.sentences("slk", 300, seed=8)


def test_another_process_with_other_hashes_draws_the_same():
    program = "from lib import sample; print(sample.sentences('swh', 50, 3), sample.task('ner', 'slk', {'dev': 20}, 3))"
    drawn = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(drawn) == 1


def test_every_bucket_of_the_hash_belongs_to_one_part():
    assert sorted(bucket for share in sample.SHARES.values() for bucket in share) == list(range(20))


@pytest.mark.parametrize("language", TARGETS)
def test_text_parts_and_task_splits_share_no_sentence(language):
    seen = Counter()
    grammar = sample._grammar(language)
    for part in ("train", "dev", "test"):
        seen.update(
            set(
                sample.sentences(language, 1500, 1, part) + sample.sentences(language, 500, 2, part)
            )
        )
        texts = {
            text
            for name in ("tc", "sa")
            for text, _ in sample.task(name, language, {part: 300}, 3)[part]
        }
        for words, _ in sample.task("pos", language, {part: 300}, 4)[part]:
            texts.add(grammar.text([[word, "", ""] for word in words]))
        seen.update(texts)
    assert max(seen.values()) == 1


@pytest.mark.parametrize("language", TARGETS)
@pytest.mark.parametrize("name", sample.TASKS)
def test_splits_have_the_sizes_asked_for_and_are_repeatable(language, name):
    splits = sample.task(name, language, SIZES, seed=5)
    assert {split: len(set(examples)) for split, examples in splits.items()} == SIZES
    assert splits == sample.task(name, language, SIZES, seed=5)
    assert splits != sample.task(name, language, SIZES, seed=6)


@pytest.mark.parametrize("language", TARGETS)
def test_topics_and_sentiments_are_all_there_and_balanced(language):
    for name, labels in (("tc", set(sample.TOPICS.values())), ("sa", set(sample.SENTIMENTS))):
        for examples in sample.task(name, language, SIZES, seed=1).values():
            counts = Counter(label for _, label in examples)
            assert set(counts) == labels and max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("language", TARGETS)
def test_tags_are_universal_and_punctuation_is_punct(language):
    tags = set()
    for words, line in sample.task("pos", language, {"train": 1500}, seed=1)["train"]:
        assert len(words) == len(line) and line[-1] == "PUNCT"
        assert all(
            (tag == "PUNCT") == (not any(map(str.isalnum, word)))
            for word, tag in zip(words, line, strict=True)
        )
        tags |= set(line)
    assert tags <= set(sample.UPOS)
    assert tags >= {
        "ADJ",
        "ADP",
        "ADV",
        "AUX",
        "CCONJ",
        "DET",
        "NOUN",
        "NUM",
        "PART",
        "PRON",
        "PROPN",
        "PUNCT",
        "SCONJ",
        "VERB",
    }


@pytest.mark.parametrize("language", TARGETS)
def test_entities_are_well_formed_bio(language):
    kinds = Counter()
    for words, line in sample.task("ner", language, {"test": 400}, seed=1)["test"]:
        assert len(words) == len(line)
        for before, tag in zip(("O", *line), line, strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:], (words, line)
            kinds[tag] += 1
    assert set(kinds) == {"O", *(f"{edge}-{kind}" for edge in "BI" for kind in sample.ENTITIES)}


@pytest.mark.parametrize("language", TARGETS)
def test_a_name_alone_does_not_tell_its_kind(language):
    kinds = {}
    for words, line in sample.task("ner", language, {"train": 1500}, seed=1)["train"]:
        for word, tag in zip(words, line, strict=True):
            if tag != "O":
                kinds.setdefault(word, set()).add(tag[2:])
    assert sum(len(found) > 1 for found in kinds.values()) >= 5


@pytest.mark.parametrize("language", TARGETS)
def test_sentiment_is_not_told_by_one_word(language):
    labels = {}
    for text, label in sample.task("sa", language, {"train": 1500}, seed=1)["train"]:
        for word in words_of([text]):
            labels.setdefault(word, Counter())[label] += 1
    category = sample._grammar(language).categories["quality"]
    quality = [row.forms[category.forms[0]] for row in category.rows]
    single = [parts[0][0] for parts in quality if len(parts) == 1]
    assert sum(len(labels[word]) == 2 for word in single if word in labels) > 5


@pytest.mark.parametrize("language", TARGETS)
def test_dev_and_test_hold_words_that_train_lacks_but_running_text_has(language):
    splits = sample.task("tc", language, {"train": 3000, "test": 400}, seed=1)
    train, test = (words_of(text for text, _ in splits[split]) for split in ("train", "test"))
    new = test - train
    assert len(new) > 20
    assert len(new & words_of(sample.sentences(language, 8000, seed=1))) > 0.8 * len(new)


def test_maltese_article_is_its_own_word_and_attached_in_text():
    grammar = sample._grammar("mlt")
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
        (lambda: sample.sentences("xyz", 1, 1), "no sample grammar for 'xyz': there are ces, eng"),
        (lambda: sample.sentences("mlt", 1, 1, part="valid"), "no part 'valid'"),
        (
            lambda: sample.task("tc", "eng", {"train": 1}, 1),
            "no sample task 'tc' for 'eng': it has text only; .* mlt, slk, swh",
        ),
        (
            lambda: sample.task("qa", "mlt", {"train": 1}, 1),
            "no sample task 'qa' for 'mlt': it has tc, sa, ner, pos",
        ),
        (lambda: sample.task("tc", "mlt", {"tune": 1}, 1), "no part 'tune'"),
    ],
)
def test_what_does_not_exist_is_said(call, said):
    with pytest.raises(StudyError, match=said):
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
    toy = sample.Grammar(tmp_path / "toy.yaml")
    monkeypatch.setattr(sample, "_grammar", lambda language: toy)
    monkeypatch.setattr(sample, "PATIENCE", 500)
    with pytest.raises(
        StudyError,
        match=r"99 distinct train sentences of toy asked for, the sample grammar gave \d; ask for fewer",
    ):
        sample.sentences("toy", 99, 1)


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
    with pytest.raises(StudyError, match=f"toy.yaml.*{said}|toy.yaml(.|\n)*{said}"):
        sample.Grammar(file)
