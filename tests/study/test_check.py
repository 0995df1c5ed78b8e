"""A study is looked at as a whole before any work, and each mistake is one clear sentence."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
import toy_study
import toys
import yaml
from changes import file
from own_study import STUDY, TABLE, TEXT, TREE, TUNE, VOCABULARY, command, config, study

from lib import facts, files
from lib.data import corpora
from lib.model.families import FAMILIES
from lib.study import check, notebook, plan, studies

LONGER = {kind: TUNE[kind] | {"max_length": 41} for kind in ("sequence", "token")}


MISTAKES = {  # what is changed in a good study -> words of the refusal
    "more layers": (
        study("steps.layers.num_hidden_layers", 5),
        "settings for my-encoder: layers: num_hidden_layers 5 was asked for; the teacher has 4: as",
    ),
    "heads that do not divide": (
        study("steps.hidden.hidden_size", 18),
        "a hidden size of 18 was asked for; 4 heads stay, so it must be a multiple of 4 up to 24",
    ),
    "a larger hidden size": (study("steps.hidden.hidden_size", 28), "hidden size of 28 was asked"),
    "a wider FFN": (
        study("steps.ffn.intermediate_size", 21),
        "ffn: intermediate_size 21 was asked for; the teacher has 20",
    ),
    "tokens that are special": (
        study("steps.vocabulary.kept_tokens", VOCABULARY - 4),
        f"kept_tokens {VOCABULARY - 4} was asked for; the teacher has {VOCABULARY - 5}",
    ),
    "text that is too long": (
        study("steps.hidden.max_length", 41),
        "hidden: max_length 41 was asked for; the teacher has 40",
    ),
    "a task of too long text": (
        study("finetune.sequence", LONGER["sequence"]),
        "finetune: max_length 41 was asked for; the teacher has 40",
    ),
    "a task of too many words": (
        study("finetune.token", LONGER["token"]),
        "finetune: max_length 41 was asked for; the teacher has 40",
    ),
    "an adapter of no width": (
        lambda own: toy_study.write_study(
            STUDY
            | {"data_root": str(own), "models_root": str(own)}
            | {"score": ["adapt"], "finetune": TUNE | {"reduction_factor": 25}}
        ),
        "a reduction_factor of 25 leaves no adapter at a hidden size of 24; take 1 to 24",
    ),
    "a variant of more layers": (
        study("variants", [{"set": {"layers": {"num_hidden_layers": 9}}, "score": ["layers"]}]),
        "layers: num_hidden_layers 9 was asked for; the teacher has 4",
    ),
    "an adaptation nobody published": (
        study("steps.adapt.published", True),
        "no published adaptation called 'mlt'; the teacher has none: take one of these or set",
    ),
    "a tokenizer of shorter text": (
        lambda own: (
            study("steps.adapt.max_length", 31)(own),
            (own / "my-encoder" / "tokenizer_config.json").write_text(
                json.dumps(
                    json.loads((own / "my-encoder" / "tokenizer_config.json").read_text())
                    | {"model_max_length": 30}
                )
            ),
        ),
        "adapt: max_length 31 was asked for; the teacher has 30",
    ),
    "a training on no text": (
        study("steps.pretrain.steps", 8),
        "pretrain: 8 steps were asked for; params/models.yaml names no text for my-encoder: add `t",
    ),
    "no folder of teachers": (
        study("models_root"),
        "teacher my-encoder: the teacher's folder my-encoder is not there; set models_root",
    ),
    "another folder of teachers": (
        study("models_root", "/nowhere"),
        "the teacher's folder /nowhere/my-encoder is not there; set models_root",
    ),
    "a broken configuration": (
        file("my-encoder/config.json", "{"),
        "my-encoder: cannot be read as a model",
    ),
    "a decoder": (config(model_type="gpt2"), "a teacher of type 'gpt2' cannot be cut"),
    "fewer embeddings than tokens": (config(vocab_size=50), "tokens, the model 50 embeddings"),
    "code of its own": (config(auto_map={"AutoModel": "x.Y"}), "asks for code of its own"),
    "a pickle": (
        lambda own: (own / "my-encoder" / "model.safetensors").rename(
            own / "my-encoder" / "pytorch_model.bin"
        ),
        "has weights only as pickle (pytorch_model.bin)",
    ),
    "a row of three fields": (
        file("tasks/topic/mlt/dev.tsv", TABLE + "a\tb\tc\n"),
        "labels tc mlt: {own}/tasks/topic/mlt/dev.tsv:4: 3 fields where the header",
    ),
    "no label of train": (
        file("tasks/topic/mlt/test.tsv", TABLE.split("\n")[0] + "\nc\tz\n"),
        "test.tsv: has 'z', train has 'x', 'y'",
    ),
    "no test": (file("tasks/pos/mlt/test.conllu"), "needs one file 'test' as .conllu"),
    "no text": (file("corpora/mlt.txt"), "text mlt: {own}/corpora needs one file 'mlt' as .txt"),
    "too little text": (file("corpora/mlt.txt", "One.\n"), "1 different lines of text; at least"),
    "text in Latin-1": (
        file("corpora/mlt.txt", TEXT.encode() + b"caf\xe9\n"),
        "mlt.txt:301: not UTF-8 text (byte 0xe9); save the file as UTF-8",
    ),
    "no folder of text": (
        study("data_root"),
        "the local source needs a folder; give it as data_ro",
    ),
    "another folder of text": (
        study("data_root", "/nowhere"),
        "text mlt: /nowhere/corpora needs one file 'mlt'",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_stops_the_study_before_any_work(case, own, executed, monkeypatch, capsys):
    change, said = MISTAKES[case]
    change(own)
    with pytest.raises(SystemExit) as caught:
        command(monkeypatch, "make", "toy")
    message = str(caught.value.code)
    assert message.startswith("nothing was made; ") and "\n" not in message
    assert said.replace("{own}", str(own)) in message and executed == []
    assert not files.models().exists() and capsys.readouterr().out == ""
    with pytest.raises(SystemExit) as caught:
        command(monkeypatch, "check", "toy")
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WRONG")]
    assert any(said.split(": ", 1)[-1].replace("{own}", str(own)) in line for line in wrong)
    assert str(caught.value.code).startswith(f"{len(wrong)} of ")


def test_a_good_study_is_one_table_and_is_made(own, executed, monkeypatch, capsys):
    command(monkeypatch, "check", "toy")
    lines = capsys.readouterr().out.splitlines()
    text = corpora.load("mlt", facts.Source("local", own), "train", STUDY["corpus"]["train"])
    ids = [token for line in text for token in toys.tokenizer("bert")(line)["input_ids"][1:-1]]
    unknown = toys.tokenizer("bert").unk_token_id
    assert [" ".join(line.split()) for line in lines] == [
        f"ok teacher my-encoder local: {own}/my-encoder",
        "ok settings for my-encoder fit",
        f"ok text mlt local: {own}/corpora/mlt.txt: 270 + 15 + 15 sentences",
        f"ok text mlt for my-encoder {ids.count(unknown) / len(ids):.2%} of its tokens are unknown",
        f"ok labels tc mlt local: {own}/tasks/topic/mlt: 2 + 2 + 2 examples, 2 labels",
        f"ok labels pos mlt local: {own}/tasks/pos/mlt: 1 + 1 + 1 examples, 2 labels",
    ]
    runs = plan.runs("toy")
    command(monkeypatch, "make", "toy")
    said = capsys.readouterr().out.splitlines()[-1]
    assert executed == runs and said.startswith(f"{len(runs)} runs of toy are done. Models: ")


def test_several_mistakes_are_named_at_once(own, executed, monkeypatch):
    for change in ("more layers", "no text", "no test", "a row of three fields"):
        MISTAKES[change][0](own)
    with pytest.raises(SystemExit) as caught:
        command(monkeypatch, "make", "toy")
    message = str(caught.value.code)
    assert message.startswith("nothing was made; 4 things are wrong: settings for my-encoder: lay")
    assert "text mlt" in message and message.count("labels") == 1 and executed == []
    assert message.endswith("; `python -m lib.study check toy` shows all")


def test_what_is_done_needs_nothing(own, executed, monkeypatch, capsys):
    """Neither text nor labels nor a teacher are needed to read a finished study."""
    command(monkeypatch, "make", "toy")
    shutil.rmtree(own)
    command(monkeypatch, "make", "toy")
    plan.runs("toy")[2].record.unlink()
    with pytest.raises(SystemExit, match=r"nothing was made; .*corpora needs one file 'mlt'"):
        command(monkeypatch, "make", "toy")


def test_a_made_teacher_says_its_own_sizes(own, saved, executed):
    """Also where it came from a package, of which nothing is known before."""
    first = plan.runs("toy")[0]
    toy_study.finish(first)
    shutil.copytree(saved / "xlm-roberta", first.folder, dirs_exist_ok=True)
    shutil.rmtree(own / "my-encoder")
    limit = {}
    assert check._teacher(first, limit, {}) == f"made before: {first.folder}"
    tokens = len(toys.tokenizer("xlm-roberta"))
    assert limit["my-encoder"].pop("family") is FAMILIES["xlm-roberta"]
    assert limit["my-encoder"] == {
        "num_hidden_layers": 4,
        "intermediate_size": 20,
        "hidden_size": 24,
        "num_attention_heads": 4,
        "max_length": 38,  # two of 40 positions stand before the first token
        "kept_tokens": tokens - 5,
    }


@pytest.mark.parametrize(
    ("teacher", "overrides", "said"),
    [
        ("toy-xlmr", {"adapt": {"max_length": 129}}, "max_length 129 was asked for; .* has 128"),
        ("toy-bert", {"vocabulary": {"kept_tokens": 3996}}, "3996 was asked for; .* has 3995"),
    ],
)
def test_places_and_tokens_that_are_taken_do_not_count(toy, teacher, overrides, said):
    language = "swh" if teacher == "toy-xlmr" else "mlt"
    with pytest.raises(facts.StudyError, match=said):
        plan.chain(studies.load("toy"), language, teacher, overrides)
    ((step, settings),) = overrides.items()
    one_less = {step: {name: value - 1 for name, value in settings.items()}}
    assert plan.chain(studies.load("toy"), language, teacher, one_less)


def test_a_hub_is_not_asked_offline_and_a_language_needs_names_there(toy, executed, monkeypatch):
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    pair = {"teacher": "mbert", "languages": ["slk", "eng"]}
    toy_study.write_study(toy_study.STUDY | {"source": "hub", "pairs": [pair]})
    rows = {row.what: row for row in check.table(plan.runs("toy"))}
    assert "is not in the cache and HF_HUB_OFFLINE forbids" in rows["teacher mbert"].wrong
    assert rows["text slk"].found == "hub: slk-Latn and slk_Latn, fetched when it is read"
    assert "no published pos data for 'eng'" in rows["labels pos eng"].wrong
    assert "has no `glotcc` for 'eng'" in rows["text eng"].wrong
    with pytest.raises(SystemExit, match="nothing was made"):
        command(monkeypatch, "make", "toy")
    assert executed == []


def test_a_hub_that_does_not_answer_is_said_at_once(toy, monkeypatch):
    """Its own library would try again for a minute for each teacher."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    pair = {"teacher": "mbert", "languages": ["slk"]}
    toy_study.write_study(toy_study.STUDY | {"source": "hub", "pairs": [pair]})
    begun = time.monotonic()
    rows = {row.what: row for row in check.table(plan.runs("toy"))}
    assert rows["teacher mbert"].wrong.startswith("http://127.0.0.1:9 does not answer (")
    assert "HF_HUB_OFFLINE=1" in rows["teacher mbert"].wrong and time.monotonic() - begun < 20


def test_a_notebook_whose_parents_are_missing_looks_first_and_says_how_many(
    own, executed, monkeypatch, capsys
):
    import IPython

    run = plan.runs("toy")[3]
    words = {"study": "toy", "language": "mlt"}
    monkeypatch.setattr(IPython, "get_ipython", lambda: type("S", (), {"user_ns": {"In": []}}))
    monkeypatch.setattr(notebook, "parameters", lambda _: words)
    kept = (own / "corpora" / "mlt.txt").read_bytes()
    (own / "corpora" / "mlt.txt").unlink()
    with pytest.raises(facts.StudyError, match="nothing was made; text mlt"):
        notebook.begin("ffn")
    (own / "corpora" / "mlt.txt").write_bytes(kept)
    capsys.readouterr()
    assert notebook.begin("ffn") == run and executed == run.lineage()[:-1]
    assert capsys.readouterr().out.splitlines() == [
        f"{run.id} starts from {run.parent.id}; 3 runs are made first",
        *(
            f"{number} of 3: {each.notebook.stem}: {each.id}"
            for number, each in enumerate(run.lineage()[:-1], 1)
        ),
    ]


def snakemake(data, *words) -> subprocess.CompletedProcess:
    """A whole call of Snakemake on the study 007."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *words, "--config", "study=007"],
        cwd=files.ROOT,
        env=os.environ | {"STUDY_PARAMS": str(files.PARAMS), "STUDY_DATA": str(data)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_snakemake_takes_a_study_called_007_and_stops_before_any_work(own, tmp_path):
    """Of which it reads the name as the number 7."""
    shutil.copy(files.PARAMS / "studies" / "toy.yaml", files.PARAMS / "studies" / "007.yaml")
    data = tmp_path / "a place"
    done = snakemake(data, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert len([*(data / "runs" / "studies").glob(".007")]) == 1
    (own / "corpora" / "mlt.txt").unlink()
    done = snakemake(data, "--cores", "1")
    assert done.returncode == 1
    said = f"nothing was made; text mlt: {own}/corpora needs one file 'mlt' as .txt or .txt.xz or"
    assert done.stderr.splitlines()[-1].startswith(said) and not (data / "models").exists()
    shutil.copy(files.PARAMS / "studies" / "toy.yaml", files.PARAMS / "studies" / "7.yaml")
    done = snakemake(data, "--dry-run")
    assert "Snakemake takes the studies 007 and 7 for one; rename one, or use" in done.stderr


@pytest.mark.slow
def test_the_last_lines_of_a_failed_study_name_the_run_the_reason_and_the_notebook(own, tmp_path):
    content = STUDY | {"data_root": str(own), "models_root": str(own), "score": []}
    content = toy_study.changed(content, "steps.adapt.learning_rate", 1e9)
    toy_study.write_study(content, "007")
    done = snakemake(tmp_path / "data", "--cores", "1")
    assert done.returncode == 1
    _, run, *_ = plan.runs("007")
    copy = tmp_path / "data" / "runs" / "adapt" / f"{run.id}.ipynb"
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{run.id} failed: ")]
    assert line.endswith(f"; the executed notebook: {copy}") and copy.exists()
    assert "lower the learning rate" in line and "Traceback" not in "".join(lines)


@pytest.mark.slow
def test_the_demo_is_checked_in_seconds_without_a_heavy_library(data):
    code = (
        "import sys; sys.argv = ['x', 'check', 'demo']; from lib.study.__main__ import main; main()"
        "; print({'torch', 'transformers'} & {*sys.modules})"
    )
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=files.ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines.pop() == "set()" and all(line.startswith("ok ") for line in lines)
    text = {
        *yaml.safe_load((files.ROOT / "params" / "models.yaml").read_text())["toy-bert"]["text"]
    }
    assert {line.split()[2] for line in lines if line.split()[1] == "text"} == text
    assert time.monotonic() - begun < 20  # 1.5 seconds on a machine that does nothing else


def test_the_steps_of_the_readme_for_a_language_of_ones_own_can_be_followed(
    data, tmp_path, monkeypatch, capsys
):
    readme = (files.ROOT / "README.md").read_text(encoding="utf-8")
    steps = readme[readme.index("## Your own language") : readme.index("## Where things are")]
    contents = {
        "corpora": TEXT * 4,  # each line is numbered below, so all are different
        "topic": TABLE,
        "sentiment": TABLE.replace("category", "label"),
        "ner": "Ana B-PER\nate O\n\n",
        "pos": TREE,
    }
    named = re.findall(r"^ +(my-data/\S+)", steps, flags=re.MULTILINE)
    for name in named:
        kind = next(kind for kind in contents if kind in name)
        for part in ("train", "dev", "test") if "{train,dev,test}" in name else ("",):
            if kind == "corpora" and part:
                continue  # the other form of the same text
            place = re.sub(r"\{.*\}", part, name.replace("<language>", "xyz"))
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            lines = contents[kind].splitlines(keepends=True)
            text = "".join(f"{n} {line}" for n, line in enumerate(lines))
            (tmp_path / place).write_text(text if kind == "corpora" else contents[kind])
    assert len(named) == 6
    for name in re.findall(r"`(params/\S+)`", steps):
        assert name == "params/studies/my-study.yaml" or (files.ROOT / name).is_file(), name
    params = shutil.copytree(files.ROOT / "params", tmp_path / "params")
    monkeypatch.setattr(files, "PARAMS", params)
    languages = params / "languages.yaml"
    languages.write_text(languages.read_text("utf-8") + "\nxyz: {name: Xyz, script: Latn}\n")
    template = (params / "studies" / "template.yaml").read_text(encoding="utf-8")
    own = template.replace("languages: [mlt]", "languages: [xyz]")
    own = own.replace("tasks: [tc]", "tasks: [tc, sa, ner, pos]")
    (params / "studies" / "my-study.yaml").write_text(own, encoding="utf-8")
    monkeypatch.setenv("STUDY_DATA_ROOT", str(tmp_path / "my-data"))
    command(monkeypatch, "check", "my-study")
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 7 and all(row.startswith("ok") for row in rows), rows
    assert sum("text xyz" in row and "1,080 + 60 + 60 sentences" in row for row in rows) == 1
