"""Exported models: equal to torch, small in 8 bits, and loaded by what they are made for."""

import builtins
import importlib
import json
import sys

import numpy
import onnx as onnx_package
import pytest
import torch
import toys
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForMultipleChoice,
)

from lib.data.batches import padded
from lib.errors import StudyError
from lib.export import graph, nodes, onnx, traced
from lib.measure import hidden_states
from lib.model import encoder, task_head
from lib.train import adapters, finetuning

both = pytest.mark.parametrize("family", toys.FAMILIES)
TEXTS = toys.sentences()
KINDS = [("sequence", "first"), ("sequence", "mean"), ("token", "first")]


def classifier(family, kind, pooling="first"):
    """A toy classifier whose answers differ from text to text."""
    model = toys.model(family)
    model = task_head.with_task_head(model, kind, ("a", "b", "c"), 3, pooling)
    with torch.no_grad():
        for part in adapters.task_head(model):
            for weight in part.parameters():
                weight.mul_(8)
    return model.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An exported toy encoder of each family, with what was measured."""
    folder = tmp_path_factory.mktemp("exported")
    return {
        family: (
            folder / family,
            onnx.to_onnx(toys.model(family), toys.tokenizer(family), folder / family, TEXTS),
        )
        for family in toys.FAMILIES
    }


@both
def test_an_encoder_is_the_same_in_float32_and_near_in_8_bits(family, folders):
    folder, report = folders[family]
    model, batch = toys.model(family), hidden_states.unmasked(toys.batch(family))
    with torch.no_grad():
        wanted = encoder.hidden_states(model, batch)
    real = batch["attention_mask"].bool()
    assert not real.all()  # padding is masked
    for precision, most in {"float32": 1e-5, "int8": 0.5}.items():
        found = encoder.hidden_states(onnx.load(folder, precision, 1), batch)
        assert (found - wanted)[real].abs().max() < most
    assert report["difference"] < 1e-5 and report["kind"] == "hidden"
    assert 0.99 < report["smallest_cosine"] <= report["cosine"] < 1 and "warning" not in report
    assert report == json.loads((folder / "export.json").read_text())


@both
def test_padding_changes_nothing_wherever_it_is(family, folders):
    """Padding before the text moves BERT's positions and no one's in XLM-R."""
    exact = onnx.load(folders[family][0], "float32", 1)
    ids, mask = padded(
        [[*row] for row in toys.encoded(family, 3)], toys.tokenizer(family).pad_token_id, 30
    )
    alone = encoder.hidden_states(
        exact, {"input_ids": ids[:1, mask[0].bool()], "attention_mask": mask[:1, mask[0].bool()]}
    )
    among = encoder.hidden_states(exact, {"input_ids": ids, "attention_mask": mask})[
        :1, mask[0].bool()
    ]
    assert torch.allclose(alone, among, atol=1e-5)
    before = {"input_ids": ids.flip(1), "attention_mask": mask.flip(1)}
    with torch.no_grad():
        wanted = encoder.hidden_states(toys.model(family), before)
    found = encoder.hidden_states(exact, before)
    assert torch.allclose(
        found[before["attention_mask"].bool()], wanted[before["attention_mask"].bool()], atol=1e-5
    )


@both
@pytest.mark.parametrize(("kind", "pooling"), KINDS)
def test_task_models_give_their_logits(family, kind, pooling, tmp_path):
    model, tokenizer = classifier(family, kind, pooling), toys.tokenizer(family)
    report = onnx.to_onnx(model, tokenizer, tmp_path / "out", TEXTS, "a card")
    assert report["kind"] == kind and report["difference"] < 1e-4
    assert 0 <= report["same_answers"] <= 1
    assert (tmp_path / "out" / "README.md").read_text() == "a card"
    rows = toys.encoded(family, 8)
    items = [{"input_ids": ids, "labels": [0] * len(ids) if kind == "token" else 0} for ids in rows]
    exported = onnx.load(tmp_path / "out", "float32", 1)
    assert exported.config.id2label == {0: "a", 1: "b", 2: "c"}
    predicted = finetuning.predict(model, items, "float32")
    assert finetuning.predict(exported, items, "float32") == predicted


@both
def test_weights_are_beside_a_task_model_only_if_transformers_reads_them_right(family, tmp_path):
    tokenizer, batch = toys.tokenizer(family), toys.batch(family)
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    for pooling in ("first", "mean"):
        model, folder = classifier(family, "sequence", pooling), tmp_path / pooling
        onnx.to_onnx(model, tokenizer, folder, TEXTS)
        assert (folder / "model.safetensors").exists() == (pooling == "first")
    read = AutoModelForSequenceClassification.from_pretrained(tmp_path / "first").eval()
    with torch.no_grad():
        wanted = classifier(family, "sequence")(**batch).logits
        assert torch.allclose(read(**batch).logits, wanted)


def values(folder, precision):
    model = onnx_package.load(folder / onnx.FILES[precision])
    return [onnx_package.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]


@both
def test_8_bits_hold_every_matrix_and_the_embeddings(family, folders):
    """Only scales, biases, norms and the few neurons of each layer are not in 8 bits."""
    config = toys.model(family).config
    large = [each for each in values(folders[family][0], "int8") if each.ndim == 2]
    whole = [each for each in large if each.dtype == numpy.int8]
    assert (config.vocab_size, config.hidden_size) in {each.shape for each in whole}
    assert len(whole) == 2 + 7 * config.num_hidden_layers
    others = [each for each in large if each.dtype != numpy.int8 and min(each.shape) > 1]
    assert {min(each.shape) for each in others} == {nodes.IN_FLOAT}
    tables = {
        (config.vocab_size, config.hidden_size),
        (config.max_position_embeddings, config.hidden_size),
    }
    for each in whole:
        assert abs(each.astype(int)).max() == (127 if each.shape in tables else 64)


def test_no_pair_of_products_overflows_16_bits(folders):
    """As processors without VNNI add them: two products of an unsigned and a signed byte."""
    whole = onnx_package.load(folders["bert"][0] / onnx.FILES["int8"])
    tensors = {each.name: each for each in whole.graph.initializer}
    used = [node.input[1] for node in whole.graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert len(used) == 7 * toys.SIZES["num_hidden_layers"]
    for name in used:
        weight = onnx_package.numpy_helper.to_array(tensors[name]).astype(int)
        assert abs(2 * 255 * weight).max() < 2**15


def test_a_neuron_far_above_the_others_costs_nothing():
    """What ruins the scales of a trained encoder; without its own place in float32 it costs."""
    model, batch = (
        toys.model("bert", num_hidden_layers=1),
        hidden_states.unmasked(toys.batch("bert")),
    )
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    (layer,) = model.base_model.encoder.layer
    with torch.no_grad():
        layer.intermediate.dense.bias[3] = 300.0
        layer.output.dense.weight[:, 3] /= 100
        wanted = encoder.hidden_states(model, given)
    (peak,) = graph.measure_peaks(model, [given])
    assert peak["neurons"].argmax() == 3 and peak["neurons"][3] > 250
    last = peak | {"neurons": -peak["neurons"]}
    errors = [error(graph.build(model, [each]), given, wanted) for each in (peak, last)]
    assert errors[0] < 0.05 and errors[0] < errors[1] / 4


def error(model, given, wanted):
    """The greatest error at real positions, as a share of the greatest value."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
    real = given["attention_mask"].bool()
    return float((torch.from_numpy(found) - wanted)[real].abs().max() / wanted[real].abs().max())


@both
def test_the_tokenizer_is_one_that_all_libraries_know(family, folders):
    folder = folders[family][0]
    written = json.loads((folder / "tokenizer_config.json").read_text())
    known = ("PreTrainedTokenizerFast", "XLMRobertaTokenizer", "BertTokenizer")
    assert written["tokenizer_class"] in known
    again = AutoTokenizer.from_pretrained(folder)
    assert again(TEXTS)["input_ids"] == toys.tokenizer(family)(TEXTS)["input_ids"]
    assert set(again(TEXTS)) == {"input_ids", "attention_mask"}


@both
def test_sentence_transformers_gives_our_vectors(family, folders):
    """With the package if it is there; else its files say: mean, then length 1."""
    folder = folders[family][0]
    modules = json.loads((folder / "modules.json").read_text())
    assert [each["path"] for each in modules] == ["", "1_Pooling", "2_Normalize"]
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert pooling.pop("word_embedding_dimension") == 24
    assert [name for name, on in pooling.items() if on] == ["pooling_mode_mean_tokens"]
    assert json.loads((folder / "sentence_bert_config.json").read_text())[
        "max_seq_length"
    ] == 38 + 2 * (family == "bert")
    package = pytest.importorskip("sentence_transformers")
    found = package.SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    model, tokenizer = encoder.load(folder)
    wanted = hidden_states.sentence_vectors(model, tokenizer, TEXTS, 38, "float32")
    wanted = torch.nn.functional.normalize(wanted).numpy()
    assert numpy.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("case", ["file", "other", "ours"])
def test_other_files_are_not_written_over(case, tmp_path):
    folder = tmp_path / "out"
    given = toys.model("bert"), toys.tokenizer("bert"), folder, TEXTS
    if case == "ours":
        onnx.to_onnx(*given)
        onnx.to_onnx(*given)
        return
    (folder if case == "file" else tmp_path).mkdir(exist_ok=True)
    if case == "file":
        (folder / "thesis.txt").write_text("all of it")
    else:
        folder.write_text("a file")
    with pytest.raises(
        StudyError, match="holds other files, which would be lost; name a new folder"
    ):
        onnx.to_onnx(*given)
    assert not (tmp_path / "out" / "onnx").exists()


def refused(model, tmp_path, said, texts=TEXTS):
    with pytest.raises(StudyError, match=said):
        onnx.to_onnx(model, toys.tokenizer("bert"), tmp_path / "out", texts)
    assert [each.name for each in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("family", sorted(set(toys.EVERY) - set(toys.FAMILIES)))
def test_every_encoder_is_written_and_is_the_same_in_float32(family, tmp_path):
    model, folder = toys.model(family, num_hidden_layers=2), tmp_path / "out"
    report = onnx.to_onnx(model, toys.tokenizer(family), folder, TEXTS)
    assert report["difference"] < 1e-4 and report["smallest_cosine"] < 1
    again, batch = AutoModel.from_pretrained(folder).eval(), toys.batch(family)
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        wanted = encoder.hidden_states(model, batch)
        assert torch.allclose(again(**batch).last_hidden_state, wanted, atol=1e-5)
    small = [(each.dtype, each.shape) for each in values(folder, "int8") if each.ndim == 2]
    table = model.base_model.get_input_embeddings().weight.shape
    assert {numpy.dtype("int8"), numpy.dtype("uint8")} & {kind for kind, of in small if of == table}
    large = sum(each.size for each in values(folder, "int8") if each.dtype == numpy.float32)
    assert large < sum(each.size for each in values(folder, "float32")) / 3


@pytest.mark.parametrize("kind", ["sequence", "token"])
@pytest.mark.parametrize("family", ["distilbert", "electra generator", "modernbert"])
def test_task_models_of_other_families_give_their_logits(family, kind, tmp_path):
    small = toys.model(family, num_hidden_layers=2)
    model = task_head.with_task_head(small, kind, ("a", "b", "c"), 3)
    report = onnx.to_onnx(model, toys.tokenizer(family), tmp_path / "out", TEXTS)
    assert report["kind"] == kind and report["difference"] < 1e-4
    assert 0 <= report["same_answers"] <= 1
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_windows_and_positions_hold_for_texts_longer_than_the_recorded_ones(tmp_path):
    """Torch records an export on short texts; ModernBERT's local layers see four tokens."""
    model = toys.model("modernbert").eval()
    paths = [tmp_path / "exact.onnx", tmp_path / "small.onnx"]
    ids, mask = padded([[5, 6, 7], [8, 9]], model.config.pad_token_id)
    attention = model.config._attn_implementation
    short = {"input_ids": ids, "attention_mask": mask}
    traced.write(model.base_model, "hidden", short, *paths)
    assert model.config._attn_implementation == attention
    long = {"input_ids": torch.arange(30)[None] % 40 + 5}
    long["attention_mask"] = torch.ones_like(long["input_ids"])
    with torch.no_grad():
        wanted = model.base_model(**long).last_hidden_state
    found = onnx.Onnx(paths[0], model.config, 1)(**long).last_hidden_state
    assert torch.allclose(found, wanted, atol=1e-5)


def test_an_activation_that_the_graph_does_not_know_is_exported_by_torch(tmp_path):
    model = toys.model("bert", hidden_act="silu")
    assert not graph.writes(model.config) and graph.writes(toys.config("bert"))
    report = onnx.to_onnx(model, toys.tokenizer("bert"), tmp_path / "out", TEXTS)
    assert report["difference"] < 1e-4


def test_an_operation_without_an_export_is_named(tmp_path, data):
    class Bessel(torch.nn.Module):
        def forward(self, inputs):
            return torch.special.bessel_j0(inputs)

    model = toys.model("distilbert")
    for layer in model.base_model.transformer.layer:
        layer.ffn.activation = Bessel()
    refused(model, tmp_path, r"has no ONNX export \(.*bessel_j0.*\); use the files of transformers")


def test_a_model_that_one_file_cannot_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx.sizes, "parameters", lambda model: 2**29)
    with pytest.raises(StudyError, match="the model has 2 GB or more, which one ONNX file cannot"):
        onnx.to_onnx(toys.model("bert"), toys.tokenizer("bert"), tmp_path / "out", TEXTS)


def test_the_head_of_electra_has_its_own_activation(tmp_path):
    report = onnx.to_onnx(
        classifier("electra", "sequence"), toys.tokenizer("electra"), tmp_path / "out", TEXTS
    )
    assert report["difference"] < 1e-4


def test_what_has_no_export_is_refused_and_leaves_nothing(tmp_path, data):
    adapted = adapters.add_adapters(classifier("bert", "token"), 4, "ffn")
    refused(
        adapted, tmp_path, r"the part .*adapter.* has no export; adapters have none: fine-tune all"
    )
    refused(
        BertForMultipleChoice(toys.config("bert")),
        tmp_path,
        "the task head of BertForMultipleChoice has no export",
    )
    refused(
        toys.model("bert"), tmp_path, "1 texts were given; the check needs 2 or more", TEXTS[:1]
    )
    refused(
        toys.model("bert"),
        tmp_path,
        "of the tokens are unknown",
        ["日本語 の 文章", "漢字 です"] * 9,
    )


def test_a_file_that_differs_from_torch_is_not_kept(tmp_path, data, monkeypatch):
    monkeypatch.setattr(graph, "_FAR", -1.0)  # a mask that does not hold
    refused(toys.model("bert"), tmp_path, "differs from the model by .* nothing was written")


def test_8_bits_that_lose_much_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "_GREATEST", 1)
    report = onnx.to_onnx(toys.model("bert"), toys.tokenizer("bert"), tmp_path / "out", TEXTS)
    assert report["cosine"] < 0.99 and report["warning"].startswith("8 bits lose much: cosine 0.")


def test_a_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *given, **options):
        if name.split(".")[0] == "onnxruntime":
            raise ImportError(name, name="onnxruntime")
        return real(name, *given, **options)

    monkeypatch.delitem(sys.modules, "lib.export.onnx")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        StudyError, match="needs the package 'onnxruntime', which is not installed; run"
    ):
        importlib.import_module("lib.export.onnx")


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"model.onnx is not there; export the model"):
        onnx.load(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"none")
    with pytest.raises(StudyError, match=r"cannot run it .*; export the model again"):
        onnx.session(tmp_path / "model.onnx")
