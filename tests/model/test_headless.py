"""Encoders that were published without an MLM head, and folders of sentence-transformers."""

import json
import re
import shutil
import subprocess
import sys

import hub_server
import pytest
import torch
import toys
from hub_files import environment_for
from safetensors.torch import load_file, save_file
from tokenizers import normalizers
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast, XLMRobertaTokenizer

from lib import facts
from lib.errors import StudyError
from lib.model import axes, encoder, families, loading, mlm_head, sizes, task_head

both = pytest.mark.parametrize("family", toys.FAMILIES)
HEAD = {"bert": "cls.predictions", "xlm-roberta": "lm_head"}
CLASSES = {"bert": "BertModel", "xlm-roberta": "XLMRobertaModel"}


def publish(family, folder, tokenizer=None, **changes):
    """A random encoder with a pooler and without a head, written by the library alone."""
    config = toys.config(family, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = AutoModel.from_config(config).eval()
        for tensor in model.parameters():
            if tensor.dim() == 1:
                torch.nn.init.normal_(tensor, 0.5, 0.2)
    model.save_pretrained(folder)
    (tokenizer or toys.tokenizer(family)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    for name in toys.FAMILIES:
        publish(name, folder / name)
    return folder


@pytest.fixture
def copied(folders, tmp_path, family):
    """A copy of a published encoder that a test may change."""
    return shutil.copytree(folders / family, tmp_path / "copy")


def states(family, folder_or_model):
    """Hidden states of the toy sentences; of a folder, as the library alone reads it."""
    batch = toys.batch(family)
    with torch.no_grad():
        if isinstance(folder_or_model, torch.nn.Module):
            return encoder.hidden_states(folder_or_model, batch)
        model = AutoModel.from_pretrained(folder_or_model).float().eval()
        return model(batch["input_ids"], batch["attention_mask"]).last_hidden_state


def change(file, **values):
    """Change values of a JSON file; None as a value is written as null."""
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@both
def test_it_is_the_librarys_encoder_with_a_head_of_zeros(family, folders):
    model, tokenizer = encoder.load(folders / family)
    assert model.config.architectures == [CLASSES[family]] and not model.training
    assert not families.has_head(model.config) and families.has_head(toys.model(family).config)
    assert states(family, model).equal(states(family, folders / family))
    weight, bias = mlm_head.readout(model)
    assert (
        weight is model.get_input_embeddings().weight and weight.count_nonzero() and not bias.any()
    )
    head = dict(model.get_submodule(HEAD[family]).named_parameters())
    assert head and not any(part.any() for part in head.values() if part is not weight)
    assert tokenizer.get_vocab() == toys.tokenizer(family).get_vocab()


@both
def test_a_head_that_is_not_there_is_not_counted(family, folders):
    model, _ = encoder.load(folders / family)
    tensors = load_file(folders / family / "model.safetensors")
    count = sum(tensor.numel() for name, tensor in tensors.items() if "pooler" not in name)
    said = sizes.describe(model)
    assert sizes.parameters(model) == sizes.count_parameters(model.config) == count
    assert said["parameters"] == said["teacher_parameters"] == count and said["mlm_head"] is False
    whole = toys.model(family)
    assert sizes.describe(whole)["mlm_head"] and sizes.parameters(whole) == whole.num_parameters()
    h, v = model.config.hidden_size, model.config.vocab_size
    assert sizes.parameters(whole) - count == h * h + h + 2 * h + v


@both
def test_saved_it_is_an_encoder_again(family, folders, tmp_path):
    first, tokenizer = encoder.load(folders / family)
    encoder.save(first, tokenizer, tmp_path / "saved", "# card\n")
    expected = states(family, folders / family)
    second, again = encoder.load(tmp_path / "saved")
    assert states(family, tmp_path / "saved").equal(expected)
    assert states(family, second).equal(expected)
    assert toys.same(toys.bits(second), toys.bits(first))
    texts = toys.sentences()
    assert again(texts)["input_ids"] == tokenizer(texts)["input_ids"]
    encoder.save(second, again, tmp_path / "twice", "# card\n")
    for name in ("config.json", "model.safetensors"):
        written = [(tmp_path / saved / name).read_bytes() for saved in ("saved", "twice")]
        assert written[0] == written[1]
    about = json.loads((tmp_path / "twice" / "config.json").read_text())
    assert about["architectures"] == [CLASSES[family]]


@both
def test_cuts_keep_that_there_is_no_head(family, folders, tmp_path):
    model, tokenizer = encoder.load(folders / family)
    neurons = torch.arange(9).repeat(4, 1)
    cut = axes.take(
        model, layers=[0, 3], neurons=neurons, hidden=range(8), heads=torch.arange(8).view(4, 2)
    )
    assert not families.has_head(cut.config)
    assert sizes.parameters(cut) == sizes.count_parameters(cut.config) < sizes.parameters(model)
    encoder.save(cut, tokenizer, tmp_path / "cut", "")
    assert states(family, tmp_path / "cut").equal(states(family, cut))
    assert states(family, axes.take(model)).equal(states(family, model))


@both
def test_outputs_are_hidden_states_without_a_head_and_logits_with_one(family, folders):
    batch, (bare, _) = toys.batch(family), encoder.load(folders / family)
    assert mlm_head.outputs(bare, batch).equal(states(family, bare))
    whole = toys.model(family)
    assert torch.allclose(mlm_head.outputs(whole, batch), whole(**batch).logits, atol=1e-5)
    layers = encoder.all_hidden_states(bare, batch)
    assert len(layers) == bare.config.num_hidden_layers + 1
    assert layers[-1].equal(states(family, bare))


@both
def test_a_task_head_sits_on_it(family, folders):
    model, batch = encoder.load(folders / family)[0], toys.batch(family)
    tuned = task_head.with_task_head(model, "sequence", ("one", "two"), 1).eval()
    assert encoder.hidden_states(tuned, batch).equal(states(family, model))


@both
@pytest.mark.parametrize("kept", ["bias", "layer norm", "dense"])
def test_a_part_of_a_head_is_refused(family, kept, tmp_path):
    """It was left out by mistake: an encoder without a head has none of it."""
    encoder.save(toys.model(family), toys.tokenizer(family), tmp_path / "model", "")
    head = HEAD[family]
    own = {
        "bias": r"\.bias$(?<!dense\.bias)(?<!orm\.bias)",
        "layer norm": r"\.(LayerNorm|layer_norm)\.",
        "dense": r"\.dense\.",
    }[kept]
    file = tmp_path / "model" / "model.safetensors"
    tensors = {
        name: tensor
        for name, tensor in load_file(file).items()
        if not name.startswith(f"{head}.") or re.search(own, name)
    }
    assert 0 < sum(name.startswith(f"{head}.") for name in tensors) < 4
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(StudyError, match=rf"missing keys in the weights: {re.escape(head)}\."):
        encoder.load(tmp_path / "model")


@both
def test_a_tensor_of_the_encoder_must_be_there(family, copied):
    file = copied / "model.safetensors"
    tensors = load_file(file)
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(StudyError, match=r"missing keys .*layer\.1\.output\.dense\.weight"):
        encoder.load(copied)


@both
def test_half_precision_becomes_float32(family, copied):
    file = copied / "model.safetensors"
    halves = {name: tensor.half() for name, tensor in load_file(file).items()}
    save_file(halves, file, metadata={"format": "pt"})
    change(copied / "config.json", dtype="float16")
    model, _ = encoder.load(copied)
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    body = model.base_model.state_dict()
    assert all(body[name].equal(halves[name].float()) for name in body) and len(body) > 60


@both
def test_more_embeddings_than_tokens(family, tmp_path):
    rows = len(toys.tokenizer(family)) + 35
    publish(family, tmp_path / "more", vocab_size=rows)
    model, tokenizer = encoder.load(tmp_path / "more")
    assert model.config.vocab_size == rows == len(tokenizer) + 35
    assert states(family, model).equal(states(family, tmp_path / "more"))


@pytest.mark.parametrize(("family", "value"), [("bert", 7), ("bert", None), ("xlm-roberta", None)])
def test_the_padding_of_the_tokenizer_counts_where_nothing_hangs_on_the_published_id(
    family, value, copied
):
    expected = states(family, copied)
    change(copied / "config.json", pad_token_id=value)
    model, tokenizer = encoder.load(copied)
    assert model.config.pad_token_id == tokenizer.pad_token_id == toys.config(family).pad_token_id
    assert states(family, model).equal(expected)
    longest = sizes.max_tokens(model.config)
    assert (
        encoder.hidden_states(
            model,
            {"input_ids": torch.full((1, longest), 9), "attention_mask": torch.ones(1, longest)},
        )
        .isfinite()
        .all()
    )


def test_an_encoder_of_the_bert_type_with_the_tokens_of_xlm_roberta(tmp_path):
    """As multilingual-e5-small: the configuration pads with 0, the tokenizer with 1."""
    tokenizer = toys.tokenizer("xlm-roberta")
    publish("bert", tmp_path / "e5", tokenizer, vocab_size=len(tokenizer), pad_token_id=0)
    model, loaded = encoder.load(tmp_path / "e5")
    assert model.config.pad_token_id == loaded.pad_token_id == 1
    batch = toys.batch("xlm-roberta")
    plain = AutoModel.from_pretrained(tmp_path / "e5").eval()
    with torch.no_grad():
        expected = plain(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    assert encoder.hidden_states(model, batch).equal(expected)


@pytest.mark.parametrize("family", ["xlm-roberta"])
def test_positions_of_xlm_roberta_hang_on_the_published_padding(family, copied):
    change(copied / "config.json", pad_token_id=0)
    with pytest.raises(StudyError, match="their padding tokens have the ids 1 and 0: take the mod"):
        encoder.load(copied)


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


def modules(folder, path):
    (folder / "modules.json").write_text(json.dumps([MODULES[0] | {"path": path}, MODULES[1]]))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')


@both
@pytest.mark.parametrize("inside", ["", "0_Transformer"])
def test_a_folder_of_sentence_transformers(family, inside, folders, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(folders / family, folder / inside)
    modules(folder, inside)
    model, tokenizer = encoder.load(folder)
    assert states(family, model).equal(states(family, folders / family))
    assert tokenizer.get_vocab() == toys.tokenizer(family).get_vocab()
    other, _ = encoder.load(folders / family, tokenizer_source=folder)
    assert toys.same(toys.bits(other), toys.bits(model))


@both
@pytest.mark.parametrize("part", ["adapter_config.json", "pytorch_model.bin", "config.json"])
def test_the_subfolder_is_checked_like_a_folder(family, part, folders, tmp_path):
    folder = tmp_path / "model" / "0_Transformer"
    shutil.copytree(folders / family, folder)
    modules(folder.parent, folder.name)
    if part == "config.json":
        change(folder / part, auto_map={"AutoConfig": "evil.Config"})
    else:
        (folder / part).write_text("{}")
        (folder / "model.safetensors").unlink()
    said = {"adapter_config.json": "holds an adapter", "pytorch_model.bin": "only as pickle"}
    with pytest.raises(StudyError, match=said.get(part, "asks for code of its own")):
        encoder.load(folder.parent)


@pytest.mark.parametrize("family", ["bert"])
@pytest.mark.parametrize("path", ["../x", "/etc", "a/b", "..", ".", "~", None, 5, ["a"]])
def test_modules_lead_only_to_a_subfolder(family, path, copied):
    shutil.copytree(copied, copied.parent / "x")
    modules(copied, path)
    with pytest.raises(StudyError) as caught:
        encoder.load(copied)
    assert f"modules.json names the folder {path!r}; correct it" in str(caught.value)


@pytest.mark.parametrize("family", ["bert"])
@pytest.mark.parametrize("content", ["[", "5", "{}", '{"a": 1}', "[{}]", '["a"]'])
def test_modules_that_are_none(family, content, copied):
    (copied / "modules.json").write_text(content)
    if content == "{}":  # nothing is named, so the encoder is the folder itself
        assert encoder.load(copied)
    else:
        with pytest.raises(StudyError, match="cannot be read as a model") as caught:
            encoder.load(copied)
        assert "\n" not in str(caught.value)


def test_a_tokenizer_without_a_class_is_that_of_its_file(tmp_path):
    """For a model of the BERT type the library would make a WordPiece tokenizer of the tokens."""
    own = toys.tokenizer("xlm-roberta")
    folder = publish("bert", tmp_path / "model", own, vocab_size=len(own))
    file = folder / "tokenizer_config.json"
    named = json.loads(file.read_text())
    del named["tokenizer_class"]
    file.write_text(json.dumps(named))
    expected = own(toys.sentences())["input_ids"]
    assert AutoTokenizer.from_pretrained(folder)(toys.sentences())["input_ids"] != expected
    assert loading.tokenizer(folder, {})(toys.sentences())["input_ids"] == expected
    model, tokenizer = encoder.load(folder)
    encoder.save(model, tokenizer, tmp_path / "saved", "")
    for read in (AutoTokenizer.from_pretrained(tmp_path / "saved"), tokenizer):
        assert read(toys.sentences())["input_ids"] == expected
        assert read.pad_token_id == 1 and read.mask_token == "<mask>"


def test_a_tokenizer_that_changes_when_it_is_saved_is_refused(tmp_path):
    """The library forgets the normaliser of this class (findings/), but not that of the other."""
    tokenizer = XLMRobertaTokenizer(vocab=toys.tokenizer("xlm-roberta")._vocab)
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    model, folder = toys.model("xlm-roberta"), tmp_path / "model"
    with pytest.raises(StudyError, match=r"\(XLMRobertaTokenizer\) gives other ids when it is sav"):
        encoder.save(model, tokenizer, folder, "")
    assert not list(tmp_path.iterdir())
    special = tokenizer.special_tokens_map
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **special)
    encoder.save(model, plain, folder, "")
    assert encoder.load(folder)[1]("²Ｈ")["input_ids"] == tokenizer("2H")["input_ids"]


CHILD = """
import json, sys, time
import torch
from lib import facts
from lib.data import hub
from lib.errors import StudyError
from lib.model import encoder, families
from lib.train import teachers
time.sleep = lambda seconds: None  # the libraries wait between their attempts
said, text = {}, json.load(sys.stdin)
for name in sys.argv[1:]:
    try:
        if "/" in name:
            model, tokenizer = encoder.load(name, "b" * 40)
        else:
            entry = facts.fact("models", name) | {"revision": "main"}
            model, tokenizer = teachers.load(entry, None, [], 1)
            origin = hub.weights(entry)
        batch = tokenizer(text, padding=True, return_tensors="pt")
        with torch.no_grad():
            states = encoder.hidden_states(model, batch).tolist()
        head = families.has_head(model.config)
        said[name] = {"ids": batch["input_ids"].tolist(), "states": states, "head": head}
        said[name] |= {"origin": origin}
    except StudyError as error:
        said[name] = str(error)
print(json.dumps(said))
"""
TEXT = toys.sentences()[:6]
LAYOUTS = {  # teacher of params/models.yaml -> family of its tokenizer, folder, class of the tokens
    "e5-small-hub": ("xlm-roberta", "", "XLMRobertaTokenizer"),
    "labse": ("bert", None, "BertTokenizer"),
    "minilm": ("xlm-roberta", "0_Transformer", None),
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """What the teachers give when the stand-in serves them, then without it, and their folders."""
    place, folders, served = tmp_path_factory.mktemp("hub"), {}, {}
    for name, (tokens, inside, tokens_class) in LAYOUTS.items():
        folder = place / name
        folders[name] = folder / (inside or "")
        own = toys.tokenizer(tokens)
        publish("bert", folders[name], own, vocab_size=len(own) + 7, pad_token_id=0)
        change(folders[name] / "tokenizer_config.json", tokenizer_class=tokens_class)
        if inside is not None:
            modules(folder, inside)
        served[facts.fact("models", name)["repository"]] = content(folder)
    bare = content(folders["labse"])
    weights = bare.pop("model.safetensors")
    served["only/pickle"] = bare | {"pytorch_model.bin": b"pickle"}
    way = json.dumps([MODULES[0] | {"path": "../x"}]).encode()
    served["out/side"] = bare | {"model.safetensors": weights, "modules.json": way}

    def ask(address, **more):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *LAYOUTS, "only/pickle", "out/side"],
            input=json.dumps(TEXT),
            env=environment_for(place, address, **more),
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    with hub_server.serving(served, {}) as address:
        online = ask(address)
    return {"online": online, "offline": ask(address, HF_HUB_OFFLINE="1"), "folders": folders}


def content(folder):
    """Path -> bytes of the files below a folder."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("time", ["online", "offline"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_of_the_hub_is_read_and_then_needs_no_network(name, time, hub):
    said, own = hub[time][name], toys.tokenizer(LAYOUTS[name][0])
    batch = own(TEXT, padding=True, return_tensors="pt")
    with torch.no_grad():
        plain = AutoModel.from_pretrained(hub["folders"][name]).eval()
        expected = plain(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    assert said["ids"] == batch["input_ids"].tolist() and said["head"] is False
    assert torch.tensor(said["states"]).equal(expected)
    assert said["origin"]["revision"] == hub_server.COMMIT


@pytest.mark.slow
@pytest.mark.parametrize("time", ["online", "offline"])
def test_what_the_hub_must_not_serve(time, hub):
    said = hub[time]
    reason = "HF_HUB_OFFLINE forbids" if time == "offline" else "not appear to have a file named"
    assert reason in said["only/pickle"] and "\n" not in said["only/pickle"]
    assert "modules.json names the folder '../x'; correct it" in said["out/side"]
