"""Each form of published data, read from a local server at the revisions in params/."""

import hashlib
import json
import shutil
import subprocess
import sys
from functools import cache

import hub_server
import pytest
import toys
from hub_files import FLORES, archive_of, environment_for, params_for, parquet

from lib import facts
from lib.data import hub
from lib.errors import StudyError

pytestmark = pytest.mark.slow
TOPICS = ["travel", "sports", "travel"]
CONLLU = (
    "# sent_id = 1\n1\tDar\tdar\tNOUN\t_\t_\t0\troot\t_\t_\n2\tsabiħa\t_\tADJ\t_\t_\t1\t_\t_\t_\n\n"
    * 2
).encode()
TWO_COLUMNS = b"Nyumba NOUN\nkubwa ADJ\n\nAnakuja VERB\n"
TWEETS = b"tweet\tlabel\nnzuri sana\tpositive\nmbaya kabisa\tnegative\nni kesho\tneutral\n"
CSV = b'0,"kiesh, \nkiesh"\n1,tajjeb\n'

CHILD = """
import json, sys, time
from pathlib import Path
from lib import facts, files
from lib.data import corpora, hub, tasks
from lib.errors import StudyError
files.PARAMS = Path(sys.argv[1])
time.sleep = lambda seconds: None  # the libraries wait between their attempts
source, said = facts.Source("hub"), {}
for name, expression in json.load(sys.stdin).items():
    if "encoder." in expression or "teachers." in expression:  # slow imports
        from lib.model import encoder
        from lib.train import teachers
    try:
        value = eval(expression)
        if isinstance(value, tasks.Task):
            value = {key: getattr(value, key) for key in ("labels", "splits", "origin")}
        said[name] = value
    except StudyError as error:
        said[name] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


def repositories():
    import datasets

    tags = datasets.ClassLabel(names=["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"])
    entities = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(tags)}
    )
    topic = parquet(
        {"index_id": [1, 2, 3], "category": TOPICS, "text": ["triq", "ballun", "baħar"]}
    )
    names = parquet(
        {"tokens": [["Ġanni", "Borg", "mar"], ["ra", "Malta"]], "ner_tags": [[1, 2, 0], [0, 5]]},
        entities,
    )
    feeling = parquet({"text": ["zlé", "dobré"], "label": [0, 1]})

    def set_of(folder, content, config):
        card = {part: f"{folder}/{part}.parquet" for part in ("train", "validation", "test")}
        head = (
            f"---\nconfigs:\n- config_name: {config}\n  data_files:\n"
            + "".join(f"  - split: {part}\n    path: {file}\n" for part, file in card.items())
            + "---\n"
        )
        return {"README.md": head.encode()} | dict.fromkeys(card.values(), content)

    documents = parquet(
        {"content": [f"Dokument {n}\nbi tnejn" for n in range(50)], "num-sents": [2] * 50}
    )
    return {
        "Davlan/sib200": set_of("data", topic, "mlt_Latn"),
        "unimelb-nlp/wikiann": set_of("mt", names, "mt"),
        "DGurgurov/slovak_sa": set_of("data", feeling, "default"),
        "DGurgurov/maltese_sa": {"README.md": b"closed"},
        "openlanguagedata/flores_plus": {"README.md": b"closed"},
        "some/script": {"script.py": b"raise SystemExit('remote code ran')"},
        "cis-lmu/GlotCC-V1": {
            "README.md": b"---\nconfigs:\n- config_name: mlt-Latn\n"
            b"  data_files: v1.0/mlt-Latn/*.parquet\n---\n",
            "v1.0/mlt-Latn/mlt-Latn_0.parquet": documents,
        },
    }


@cache  # a gzip holds the time it was made
def archive():
    return archive_of(
        {
            f"{split}/mlt_Latn.{split}": f"L-ewwel {split}.\nIt-tieni.\nIt-tielet.\n"
            for split in ("dev", "devtest")
        }
    )


def raw_files(flores):
    ud, pos = (
        facts.fact("languages", "mlt")["ud"]["revision"],
        facts.fact("tasks", "pos")["origins"][1]["revision"],
    )
    sentiment = facts.fact("tasks", "sa")["origins"]
    files = {FLORES: flores}
    for part in ("train", "dev", "test"):
        files[f"UniversalDependencies/UD_Maltese-MUDT/{ud}/mt_mudt-ud-{part}.conllu"] = CONLLU
        files[f"masakhane-io/masakhane-pos/{pos}/data/swa/{part}.txt"] = TWO_COLUMNS
        files[
            f"jerbarnes/typology_of_crosslingual/{sentiment[1]['revision']}/data/sentiment/mt/{part}.csv"
        ] = CSV
        files[
            f"afrisenti-semeval/afrisent-semeval-2023/{sentiment[2]['revision']}/data/swa/{part}.tsv"
        ] = TWEETS
    return files


def ask(folder, address, flores, questions, **environment):
    """What the expressions give in a process of its own that sees only the stand-in."""
    params_for(folder, address, flores)
    env = environment_for(folder, address, **environment)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)],
        input=json.dumps(questions),
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder, flores = tmp_path_factory.mktemp("hub"), archive()
    asked = [
        "tc.mlt",
        "tc.slk",
        "ner.mlt",
        "sa.slk",
        "sa.mlt",
        "sa.swh",
        "pos.mlt",
        "pos.swh",
        "pos.slk",
        "ner.hau",
    ]
    load = {name: f"tasks.load(*{name.split('.')}, source)" for name in asked}
    with hub_server.serving(
        repositories(), raw_files(flores), ("DGurgurov/maltese_sa", "openlanguagedata/flores_plus")
    ) as address:
        first = ask(
            folder,
            address,
            flores,
            load
            | {
                "script": "hub.rows('some/script', None, 'train', None, [])",
                "absent": "hub.rows('no/such', None, 'train', None, [])",
                "gated": "hub.rows('DGurgurov/maltese_sa', None, 'train', None, [])",
                "config": "hub.rows('Davlan/sib200', 'xxx_Latn', 'train', None, [])",
                "file": f"hub.download('{address}/raw/no/such.txt')",
                "checksum": f"hub.download('{address}/raw/{FLORES}', '0' * 64)",
                "documents": "corpora.load('mlt', source, 'train', 7)",
                "all": "len(corpora.load('mlt', source, 'train'))",
                "dev": "corpora.load('mlt', source, 'dev')",
                "test": "corpora.load('mlt', source, 'test', 2)",
                "origin": "corpora.describe('mlt', source)",
                "code": "corpora.load('slk', source, 'dev')",
            },
        )
        shutil.rmtree(
            folder
            / "data"
            / "raw"
            / address.removeprefix("http://").replace(":", "_")
            / "raw"
            / "nllb"
        )
        second = ask(
            folder,
            address,
            flores,
            {
                "model": "encoder.load('google-bert/bert-base-multilingual-cased')",
                "documents": "corpora.load('mlt', source, 'train', 7)",
                "commit": "hub.commit('cis-lmu/GlotCC-V1', 'mlt-Latn')",
                "tc.mlt": "tasks.load('tc', 'mlt', source)",
                "dev": "corpora.load('mlt', source, 'dev')",
                "sa.swh": "tasks.load('sa', 'swh', source)",
                "never": "hub.rows('no/such', None, 'train', None, [])",
            },
            HF_HUB_OFFLINE="1",
        )
    return {"online": first, "offline": second}


def test_hub_tables(said):
    topic, names, feeling = (said["online"][key] for key in ("tc.mlt", "ner.mlt", "sa.slk"))
    assert topic["labels"] == ["sports", "travel"] and topic["splits"]["dev"][1] == [
        "ballun",
        "sports",
    ]
    assert topic["origin"]["revision"] == facts.fact("tasks", "tc")["origins"][0]["revision"]
    assert (
        topic["origin"]["examples"] == {"train": 3, "dev": 3, "test": 3}
        and "passed_over" not in topic["origin"]
    )
    assert names["labels"] == ["O", "B-LOC", "B-PER", "I-PER"]
    assert names["splits"]["test"][0] == [["Ġanni", "Borg", "mar"], ["B-PER", "I-PER", "O"]]
    assert feeling["splits"]["train"] == [["zlé", "negative"], ["dobré", "positive"]]
    assert feeling["origin"]["revision"] == facts.fact("languages", "slk")["sentiment"]["revision"]


def test_raw_files(said):
    assert said["online"]["pos.mlt"]["splits"]["train"][0] == [["Dar", "sabiħa"], ["NOUN", "ADJ"]]
    assert said["online"]["pos.swh"]["splits"]["dev"] == [
        [["Nyumba", "kubwa"], ["NOUN", "ADJ"]],
        [["Anakuja"], ["VERB"]],
    ]
    assert (
        said["online"]["pos.mlt"]["origin"]["files"]["dev"]["sha256"]
        == hashlib.sha256(CONLLU).hexdigest()
    )


def test_fallback_is_recorded(said):
    gated, absent = said["online"]["sa.mlt"], said["online"]["sa.swh"]
    assert gated["splits"]["dev"] == [["kiesh, \nkiesh", "negative"], ["tajjeb", "positive"]]
    assert "accept its terms at" in gated["origin"]["passed_over"][0]
    assert absent["splits"]["test"] == [
        ["nzuri sana", "positive"],
        ["mbaya kabisa", "negative"],
    ]  # neutral is left out
    assert "swahili_sa" in absent["origin"]["passed_over"][0]


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("script", ["scripts are no longer supported", "local source"]),
        ("absent", ["no/such", "Unavailable"]),
        ("gated", ["accept its terms", "hf auth login"]),
        ("config", ["xxx_Latn", "params/"]),
        ("file", ["could not be fetched", "404"]),
        ("checksum", ["expected 000", "StudyError"]),
        ("tc.slk", ["Davlan/sib200", "nor: http"]),
        ("pos.slk", ["sk_snk", "404"]),
        ("ner.hau", ["wikiann", "'hau'"]),
        ("code", ["slk_Latn.dev", "params/languages.yaml"]),
    ],
)
def test_refusals_are_one_sentence(said, question, parts):
    assert isinstance(said["online"][question], str) and "\n" not in said["online"][question]
    assert all(part in said["online"][question] for part in parts), said["online"][question]


def test_corpora(said):
    online = said["online"]
    assert (
        online["documents"] == [f"Dokument {n}\nbi tnejn" for n in range(7)] and online["all"] == 50
    )
    assert online["dev"] == ["L-ewwel dev.", "It-tieni.", "It-tielet."] and online["test"] == [
        "L-ewwel devtest.",
        "It-tieni.",
    ]
    assert (
        online["origin"]["train"]["revision"] == hub_server.COMMIT
    )  # none is pinned: the commit that serves today is recorded
    assert online["origin"]["dev"]["sha256"] == hashlib.sha256(archive()).hexdigest()


def test_offline(said):
    offline = said["offline"]
    assert offline["tc.mlt"] == said["online"]["tc.mlt"]
    assert "HF_HUB_OFFLINE" in offline["never"] and "\n" not in offline["never"]
    assert "FLORES-200 is not available" in offline["dev"] and "HF_HUB_OFFLINE" in offline["dev"]
    assert "HF_HUB_OFFLINE" in offline["model"] and "\n" not in offline["model"]
    assert (
        offline["documents"] == said["online"]["documents"]
        and offline["commit"] == hub_server.COMMIT
    )  # pinned by the first use
    assert offline["sa.swh"]["splits"] == said["online"]["sa.swh"]["splits"]


ENDS = (".parquet", ".conllu", ".tar.gz", ".safetensors")
FAULTS = {
    "down": ("http://127.0.0.1:9", ""),
    "truncated": ("", "truncated"),
    "stalled": ("", "stalled"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_on_the_way_is_one_sentence_with_a_remedy(tmp_path, fault):
    """Data sets whole and streamed, plain files and models; nothing half-read is kept."""
    files = raw_files(archive())
    toys.tokenizer("bert").save_pretrained(tmp_path / "tokenizer")
    served = repositories() | {
        "google-bert/bert-base-multilingual-cased": {
            "config.json": json.dumps(
                {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
            ).encode(),
            "model.safetensors": bytes(4000),
        }
        | {file.name: file.read_bytes() for file in (tmp_path / "tokenizer").iterdir()}
    }
    asked = {
        "table": "hub.rows('Davlan/sib200', 'mlt_Latn', 'train', 'a' * 40, [])",
        "text": "corpora.load('mlt', source, 'train', 7)",
        "file": "tasks.load('pos', 'mlt', source)",
        "model": "encoder.load('google-bert/bert-base-multilingual-cased', 'b' * 40)",
    }
    address, kind = FAULTS[fault]
    if fault == "stalled":  # the libraries come back many times, each time until the timeout
        asked = {"file": asked["file"]}
    with hub_server.serving(served, files, faults=dict.fromkeys(ENDS, kind)) as standing:
        said = ask(
            tmp_path,
            address or standing,
            archive(),
            asked,
            HF_HUB_DOWNLOAD_TIMEOUT="1",
            HF_HUB_ETAG_TIMEOUT="1",
        )
    for question, sentence in said.items():
        assert isinstance(sentence, str) and "\n" not in sentence, (question, sentence)
        assert any(
            word in sentence for word in ("check the network", "fetch or make the model again")
        ), (question, sentence)
    kept = [
        file
        for file in (tmp_path / "data").rglob("*")
        if file.is_file() and not file.name.endswith((".lock", ".txt"))
    ]
    assert not kept


@pytest.mark.slow
def test_a_slow_hub_is_waited_for(tmp_path):
    with hub_server.serving(
        repositories(), raw_files(archive()), faults={"README.md": "slow", ".conllu": "slow"}
    ) as address:
        said = ask(
            tmp_path,
            address,
            archive(),
            {
                "text": "corpora.load('mlt', source, 'train', 2)",
                "pos": "tasks.load('pos', 'mlt', source)",
            },
        )
    assert said["text"] == ["Dokument 0\nbi tnejn", "Dokument 1\nbi tnejn"] and said["pos"][
        "labels"
    ] == ["ADJ", "NOUN"]


def test_changed_columns_are_named(tmp_path):
    served = repositories()
    changed = parquet({"text": ["triq"] * 3, "topic": TOPICS})
    served["Davlan/sib200"] = {
        name: changed if name.endswith("parquet") else content
        for name, content in served["Davlan/sib200"].items()
    }
    served["cis-lmu/GlotCC-V1"]["v1.0/mlt-Latn/mlt-Latn_0.parquet"] = parquet(
        {"document": ["Dokument"] * 9}
    )
    with hub_server.serving(served, raw_files(archive())) as address:
        said = ask(
            tmp_path,
            address,
            archive(),
            {
                "streamed": "corpora.load('mlt', source, 'train', 7)",
                "whole": "corpora.load('mlt', source, 'train')",
                "task": "tasks.load('tc', 'mlt', source)",
            },
        )
    assert (
        said["streamed"] == said["whole"]
        and "no column called 'content'; cis-lmu/GlotCC-V1 has document" in said["whole"]
    )
    assert (
        "no column called 'category'; Davlan/sib200 has text, topic: take one of these or correct"
        in said["task"]
    )


def test_models_that_cannot_be_had_say_how_to_get_them(tmp_path):
    served = {
        "google-bert/bert-base-multilingual-cased": {"config.json": b"{}"},
        "DGurgurov/mbert_mlt-latn": {"config.json": b"{}"},
    }
    asked = {
        "gated": "encoder.load('google-bert/bert-base-multilingual-cased')",
        "absent": "encoder.load('no/such')",
        "adapted": "teachers.published_adaptation(facts.fact('models', 'mbert'), 'slk')",
        "closed": "teachers.published_adaptation(facts.fact('models', 'mbert'), 'mlt')",
    }
    with hub_server.serving(served, {}, gated=tuple(served)) as address:
        said = ask(tmp_path, address, archive(), asked)
    assert (
        "the model google-bert/bert-base-multilingual-cased is gated" in said["gated"]
        and "hf auth login" in said["gated"]
    )
    assert "the model no/such could not be read" in said["absent"] and "params/" in said["absent"]
    assert "DGurgurov/mbert_slk-latn could not be read" in said["adapted"]
    assert said["adapted"].endswith("set `published: false` to adapt the teacher here")
    assert "is gated" in said["closed"] and "`published: false`" in said["closed"]
    assert not any("\n" in each for each in said.values())


def test_a_pinned_commit_needs_no_network():
    assert hub.commit("no/such", None, "a" * 40) == "a" * 40


def test_checksum_of_a_present_file(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    file = tmp_path / "raw" / "host" / "a.txt"
    file.parent.mkdir(parents=True)
    file.write_text("text", encoding="utf-8")
    assert hub.download("https://host/a.txt", hashlib.sha256(b"text").hexdigest()) == file
    with pytest.raises(StudyError, match="has the sha256"):
        hub.download("https://host/a.txt", "0" * 64)
