"""The page of examples/browser gives the answers of Python: its module in Node, and the page itself
in Chromium without a window. The models are toys that lib/export wrote.
"""

import functools
import itertools
import json
import re
import shutil
import subprocess
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy
import pytest
import torch
import toys
import websocket
from seqeval.metrics.sequence_labeling import get_entities
from tokenizers import Regex, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lib import files
from lib.export import onnx
from lib.model import task_head

EXAMPLE = files.ROOT / "examples" / "browser"
KINDS = {"topic": "sequence", "entities": "token"}
LABELS = {"topic": ("animals", "food", "trees"), "entities": ("O", "B-LOC", "I-LOC", "B-PER")}
WORDS = [  # of sentences that fit into 38 tokens, the least that a toy reads
    re.findall(r"[^\W_]+|\S", sentence) for sentence in toys.sentences() if len(sentence) < 28
]
# what a normaliser and a split at white space change, and what only a tokenizer's rules keep
HARD = [
    "12 km²,  ﬁne:\u00a0½ Ｈaġa",
    "a\u200db\u200bc\x07e",
    "z\u030cebbug\u0307",
    "～a～",
]
HARD += ["</s> mačka <mask>", "👩\u200d💻 spí", "…", " ", "tab\tnew\nline"]
SPACES = "a\x85b\ufeffc"  # one is white space in Python alone, one in JavaScript alone
SCRIPT = """
import { readFileSync } from "node:fs";
import { env } from "@huggingface/transformers";
import { entities, load, topic } from "./answers.mjs";
const { root, texts, long } = JSON.parse(readFileSync(0, "utf8"));
Object.assign(env, { allowRemoteModels: false, localModelPath: root });
const parts = { topic: await load("topic", "topic"), entities: await load("entities", "entities") };
const result = { ids: texts.map((text) => parts.topic.tokenizer.encode(text)) };
result.topic = [];
result.entities = [];
for (const text of [...texts, long]) {
  result.topic.push(await topic(parts.topic, text));
  result.entities.push(await entities(parts.entities, text));
}
console.log(JSON.stringify(result));
"""


def _tokenizer(kind: str):
    """A toy tokenizer, or one with the normaliser that XLM-R's readers give it."""
    if kind in toys.FAMILIES:
        return toys.tokenizer(kind)
    xlm_roberta = toys.tokenizer("xlm-roberta")
    result = PreTrainedTokenizerFast(
        tokenizer_object=type(xlm_roberta.backend_tokenizer).from_str(
            xlm_roberta.backend_tokenizer.to_str()
        ),
        **xlm_roberta.special_tokens_map,
    )
    rules = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    result.backend_tokenizer.normalizer = normalizers.Sequence(rules)
    return result


@pytest.fixture(scope="module", params=[*toys.FAMILIES, "nmt"])
def models(request, tmp_path_factory) -> Path:
    """A folder with `topic` and `entities`, two exported task models."""
    root = tmp_path_factory.mktemp("models")
    body = toys.model(request.param if request.param in toys.FAMILIES else "xlm-roberta")
    for seed, (name, kind) in enumerate(KINDS.items(), 2):
        model = task_head.with_task_head(body, kind, LABELS[name], seed, "mean")
        for weight in model.classifier.parameters():
            weight.data.normal_(std=0.3, generator=torch.Generator().manual_seed(seed))
        onnx.to_onnx(model, _tokenizer(request.param), root / name, toys.sentences()[:12])
    return root


def needs(*programs: str) -> None:
    """Skip where a program or the page's packages are missing."""
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"the program {program} is not installed")
    if not (EXAMPLE / "node_modules").is_dir():
        pytest.skip("the packages of the page are missing; run `npm ci` in examples/browser")


def wanted_topic(root: Path, text: str) -> dict:
    """Label -> probability, by ONNX Runtime in Python."""
    tokenizer = AutoTokenizer.from_pretrained(root / "topic")
    batch = tokenizer([text], return_tensors="pt", truncation=True)
    model = onnx.load(root / "topic", "int8", 1)
    shares = model(batch["input_ids"], batch["attention_mask"]).logits.softmax(-1)[0].tolist()
    return dict(zip(LABELS["topic"], shares, strict=True))


def wanted_entities(root: Path, words: list[str]) -> list[tuple]:
    """(label, first word, last word), by ONNX Runtime in Python; the words fit into the model."""
    tokenizer = AutoTokenizer.from_pretrained(root / "entities")
    batch = tokenizer([words], return_tensors="pt", is_split_into_words=True)
    model = onnx.load(root / "entities", "int8", 1)
    best = model(batch["input_ids"], batch["attention_mask"]).logits.argmax(-1)[0].tolist()
    first = {}
    for place, word in enumerate(batch.word_ids(0)):
        first.setdefault(word, place)
    return get_entities([LABELS["entities"][best[first[word]]] for word in range(len(words))])


def test_node_gives_the_answers_of_python(models):
    needs("node")
    tokenizer = AutoTokenizer.from_pretrained(models / "topic")
    texts = [" ".join(words) for words in WORDS] + HARD
    texts += [SPACES] if tokenizer.backend_tokenizer.normalizer else []
    long = "  ".join(["il-qattus jorqod"] * 40)
    given = json.dumps({"root": f"{models}/", "texts": texts, "long": long})
    command = ["node", "--input-type=module", "--eval", SCRIPT]
    done = subprocess.run(
        command, input=given, cwd=EXAMPLE, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])

    assert found["ids"] == [tokenizer(text)["input_ids"] for text in texts]
    firsts = []
    for text, labels in zip([*texts, long], found["topic"], strict=True):
        shares = [each["probability"] for each in labels]
        assert shares == sorted(shares, reverse=True)
        firsts.append(shares[0])
        wanted = wanted_topic(models, text)
        assert {each["label"]: each["probability"] for each in labels} == pytest.approx(
            wanted, abs=1e-3
        )
    assert max(firsts) - min(firsts) > 0.01, "the answers hang on the text"
    kinds = set()
    for words, answer in zip(WORDS, found["entities"], strict=False):
        text, places = " ".join(words), numpy.cumsum([0] + [len(word) + 1 for word in words])
        wanted = [
            (label, int(places[first]), int(places[last]) + len(words[last]))
            for label, first, last in wanted_entities(models, words)
        ]
        assert [(each["label"], each["start"], each["end"]) for each in answer["found"]] == wanted
        assert answer["read"] == len(text)
        kinds |= {label for label, *_ in wanted}
    assert kinds, "no sentence has an entity, so nothing was compared"
    assert 20 < found["entities"][-1]["read"] < len(long), "the model reads 38 or 40 tokens"


class _Files(SimpleHTTPRequestHandler):
    """The files of the page, with the models of another folder in the place of its own."""

    def __init__(self, models, *arguments):
        self.models = models
        super().__init__(*arguments, directory=EXAMPLE)

    def translate_path(self, path):
        if path.startswith("/models/"):
            return str(self.models / path.removeprefix("/models/"))
        return super().translate_path(path)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def address(models):
    """Where a file server gives the page with the models."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, models))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def browser(tmp_path):
    """A function that opens an address in Chromium and gives the values of JavaScript expressions,
    once the condition, an expression too, holds.
    """
    needs("chromium")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    options.append(f"--user-data-dir={tmp_path / 'profile'}")
    with subprocess.Popen(["chromium", *options, "about:blank"], stderr=subprocess.PIPE) as process:
        line = next(line for line in process.stderr if b"DevTools listening" in line)
        port = re.search(rb"127\.0\.0\.1:(\d+)", line)[1].decode()
        with urlopen(f"http://127.0.0.1:{port}/json") as answer:
            tab = next(each for each in json.load(answer) if each["type"] == "page")
        socket = websocket.create_connection(tab["webSocketDebuggerUrl"], suppress_origin=True)
        numbers = itertools.count()

        def call(method: str, **options):
            number = next(numbers)
            socket.send(json.dumps({"id": number, "method": method, "params": options}))
            while (answer := json.loads(socket.recv())).get("id") != number:
                pass
            return answer["result"]

        def value(expression: str):
            found = call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]
            return found.get("value")

        def look(address: str, condition: str, *expressions: str) -> list:
            call("Page.navigate", url=address)
            end = time.monotonic() + 120
            while not value(condition):
                assert time.monotonic() < end, value("document.body.innerText")
                time.sleep(0.1)
            return [value(expression) for expression in expressions]

        yield look
        socket.close()
        process.terminate()
        process.stderr.read()


@pytest.mark.slow
@pytest.mark.parametrize("models", ["nmt"], indirect=True)
def test_the_page_answers_in_a_browser(models, address, browser):
    words = max(WORDS, key=lambda words: len(wanted_entities(models, words)))
    words = [*words, "<", "b", ">"]
    shares, marks = browser(
        f"{address}?{urlencode({'text': ' '.join(words)})}",
        "document.querySelectorAll('.facts:not(:empty)').length === 2",
        _listed(
            "#topic li", "[x.children[0].textContent, x.querySelector('.bar span').style.width]"
        ),
        _listed("mark", "[x.firstChild.textContent, x.lastChild.textContent]"),
    )
    found = {label: float(width.rstrip("%")) / 100 for label, width in shares}
    assert found == pytest.approx(wanted_topic(models, " ".join(words)), abs=1e-3)
    entities = wanted_entities(models, words)
    wanted = [[" ".join(words[first : last + 1]), label] for label, first, last in entities]
    assert wanted and marks == wanted


@pytest.mark.slow
@pytest.mark.parametrize("models", ["nmt"], indirect=True)
def test_the_page_says_what_is_missing(models, address, browser):
    notes = _listed(".note", "x.textContent")
    ready = f"{notes}.filter((note) => !note.startsWith('Loading')).length === 2"
    (found,) = browser(f"{address}?entities=models/other", ready, notes)
    assert found[0] == "Type a sentence."
    assert found[1].startswith("No model is in models/other.")


def _listed(elements: str, expression: str) -> str:
    """JavaScript that gives the value of an expression of `x` for each of the elements."""
    return f"[...document.querySelectorAll({elements!r})].map((x) => {expression})"
