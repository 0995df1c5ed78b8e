"""Models of both families: counts, axes, cuts, task heads, and files that load or are refused."""

import csv
import json
import shutil

import pytest
import torch
import toys
from safetensors.torch import load_file, save_file
from tokenizers import normalizers
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging

from lib import files
from lib.errors import StudyError
from lib.model import axes, encoder, loading, mlm_head, sizes, task_head

PUBLISHED = list(csv.DictReader((files.PAPER / "parameters.csv").open(encoding="utf-8")))
pytestmark = pytest.mark.parametrize("family", toys.FAMILIES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A saved model of each family."""
    folder = tmp_path_factory.mktemp("models")
    for name in toys.FAMILIES:
        encoder.save(toys.model(name), toys.tokenizer(name), folder / name, "# card\n")
    return folder


@pytest.fixture
def copied(folders, tmp_path, family):
    """A copy of a saved model that a test may break."""
    return shutil.copytree(folders / family, tmp_path / "copy")


def test_published_counts_follow_from_the_configurations(family):
    teacher, extra = {
        "bert": ("mbert", {"type_vocab_size": 2}),
        "xlm-roberta": ("xlm-r", {"max_position_embeddings": 514, "type_vocab_size": 1}),
    }[family]
    rows = [row for row in PUBLISHED if row["teacher"] == teacher]
    assert len(rows) == 9
    for row in rows:
        values = {
            name: int(row[name])
            for name in ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
        }
        assert sizes.count_parameters(
            AutoConfig.for_model(family, num_attention_heads=12, **values, **extra)
        ) == int(row["parameters"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_hidden_layers": 1},
        {"hidden_size": 16},
        {"intermediate_size": 7},
        {"vocab_size": 301},
        {"max_position_embeddings": 9},
        {"num_attention_heads": 2},
        {"type_vocab_size": 3},
    ],
)
def test_counts_are_those_of_real_models(family, changes):
    model = encoder.new(toys.config(family, **changes), 0)
    distinct = {tensor.data_ptr(): tensor.numel() for tensor in model.parameters()}
    assert sizes.count_parameters(model.config) == model.num_parameters() == sum(distinct.values())


def test_axes_name_every_dimension_of_every_parameter(family):
    model = toys.model(family)
    config = model.config
    lengths = {
        "V": config.vocab_size,
        "P": config.max_position_embeddings,
        "H": config.hidden_size,
        "D": config.hidden_size,
        "F": config.intermediate_size,
    }
    for name, tensor in model.state_dict().items():
        letters = axes.axes(name, config)
        assert len(letters) == tensor.dim(), name
        assert all(
            letter == "." or lengths[letter] == size
            for letter, size in zip(letters, tensor.shape, strict=True)
        ), name
    with pytest.raises(StudyError, match=r"classifier\.weight"):
        axes.axes("classifier.weight", config)


def everything(config):
    neurons = torch.arange(config.intermediate_size).repeat(config.num_hidden_layers, 1)
    return {
        "layers": range(config.num_hidden_layers),
        "neurons": neurons,
        "hidden": torch.arange(config.hidden_size),
        "heads": torch.arange(config.hidden_size).view(config.num_attention_heads, -1),
        "vocabulary": range(config.vocab_size),
    }


@pytest.mark.parametrize("axis", ["layers", "neurons", "hidden", "heads", "vocabulary", "all"])
def test_keeping_everything_changes_nothing(family, axis):
    model, batch = toys.model(family), toys.batch(family)
    before, kept = toys.bits(model), everything(model.config)
    result = axes.take(model, **(kept if axis == "all" else {axis: kept[axis]}))
    assert toys.same(toys.bits(result), before) and toys.same(toys.bits(model), before)
    assert (
        result(**batch).logits.equal(model(**batch).logits)
        and result.config.to_dict() == model.config.to_dict()
    )
    assert not {t.data_ptr() for t in result.parameters()} & {
        t.data_ptr() for t in model.parameters()
    }
    assert result.num_parameters() == model.num_parameters() and not result.training


@pytest.mark.parametrize("axis", ["neurons", "hidden", "heads", "vocabulary"])
def test_an_axis_in_another_order_is_the_same_function(family, axis):
    """Every tensor that has the axis must be permuted, and each along the right dimension."""
    model, batch = toys.model(family), toys.batch(family)
    config, shuffle = model.config, torch.Generator().manual_seed(1)

    def order(count):
        return torch.randperm(count, generator=shuffle)

    width = config.hidden_size // config.num_attention_heads
    kept = {
        "neurons": torch.stack(
            [order(config.intermediate_size) for _ in range(config.num_hidden_layers)]
        ),
        "hidden": order(config.hidden_size),
        "heads": torch.stack(
            [head * width + torch.arange(width) for head in order(config.num_attention_heads)]
        ),
        "vocabulary": torch.cat([torch.arange(5), 5 + order(config.vocab_size - 5)]),
    }[axis]  # position ids hang on the padding's id
    result, logits = axes.take(model, **{axis: kept}), model(**batch).logits
    if axis == "vocabulary":
        new_id = torch.argsort(kept)
        assert result.config.pad_token_id == new_id[config.pad_token_id]
        batch, logits = (
            batch | {"input_ids": new_id[batch["input_ids"]], "labels": None},
            logits[..., kept],
        )
    assert torch.allclose(result(**batch).logits, logits, atol=1e-4)


def test_cuts_do_not_change_the_model_given(family):
    model = toys.model(family)
    before, config = toys.bits(model), model.config.to_dict()
    cut = axes.take(
        model,
        layers=[1, 3],
        neurons=torch.arange(9).repeat(4, 1),
        hidden=range(8),
        heads=torch.arange(8).view(4, 2),
        vocabulary=range(50),
    )
    with torch.no_grad():
        for tensor in cut.parameters():
            tensor.zero_()
    assert toys.same(toys.bits(model), before) and model.config.to_dict() == config
    assert cut.num_parameters() == sizes.count_parameters(cut.config) < model.num_parameters()
    assert mlm_head.readout(cut)[0] is cut.get_input_embeddings().weight  # still tied


def test_parts_of_the_forward_pass_are_the_model(family):
    model, batch = toys.model(family), toys.batch(family)
    hidden = encoder.hidden_states(model, batch)
    weight, bias = mlm_head.readout(model)
    logits = model(**batch).logits
    assert torch.allclose(mlm_head.logits(model, hidden), logits, atol=1e-5)
    assert torch.allclose(mlm_head.transform(model, hidden) @ weight.T + bias, logits, atol=1e-5)


def test_new_is_a_function_of_the_seed(family):
    config, state = toys.config(family), torch.get_rng_state()
    first = toys.bits(encoder.new(config, 5))
    assert torch.get_rng_state().equal(state)
    torch.manual_seed(99)
    assert toys.same(first, toys.bits(encoder.new(config, 5))) and not toys.same(
        first, toys.bits(encoder.new(config, 6))
    )


def test_longest_text(family):
    model = toys.model(family)
    longest = sizes.max_tokens(model.config)
    ids = torch.full((1, longest + 1), 7)
    model(input_ids=ids[:, :-1])
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=ids)


def test_describe(family):
    model = toys.model(family)
    said = sizes.describe(model, 4 * model.num_parameters())
    assert said["compression_rate"] == 0.75 and said["parameters"] == model.num_parameters()
    assert said["config"]["hidden_size"] == 24 and said["config"]["model_type"] == family
    assert sizes.describe(model)["compression_rate"] == 0


@pytest.mark.parametrize("kind", ["sequence", "token"])
def test_a_task_head_sits_on_a_copy_of_the_encoder(family, kind):
    model, batch = toys.model(family), toys.batch(family)
    before, labels = toys.bits(model), ("one", "two", "three")
    first, again, other = (
        task_head.with_task_head(model, kind, labels, seed) for seed in (1, 1, 2)
    )
    assert toys.same(toys.bits(first), toys.bits(again)) and not toys.same(
        toys.bits(first), toys.bits(other)
    )
    assert first.config.id2label == dict(enumerate(labels)) and first.config.num_labels == 3
    assert encoder.hidden_states(first.eval(), batch).equal(encoder.hidden_states(model, batch))
    with torch.no_grad():
        for tensor in first.parameters():
            tensor.zero_()
    assert toys.same(toys.bits(model), before) and "one" not in model.config.id2label.values()


def test_a_head_can_read_the_mean_of_the_tokens(family):
    """Against the head's own layers on a mean taken sentence by sentence, without padding."""
    model, batch, labels = toys.model(family), toys.batch(family), ("one", "two")
    del batch["labels"]
    first, mean = (
        task_head.with_task_head(model, "sequence", labels, 1, pooling).eval()
        for pooling in ("first", "mean")
    )
    assert toys.same(toys.bits(first), toys.bits(mean))
    states, expected = encoder.hidden_states(model, batch), []
    for row, mask in zip(states, batch["attention_mask"], strict=True):
        pooled = row[: mask.sum()].mean(0).view(1, 1, -1)
        expected.append(
            first.classifier(first.bert.pooler(pooled))
            if family == "bert"
            else first.classifier(pooled)
        )
    assert torch.allclose(mean(**batch).logits, torch.cat(expected), atol=1e-5)
    assert not torch.allclose(mean(**batch).logits, first(**batch).logits, atol=1e-3)


def test_saved_and_loaded_unchanged(family, folders):
    model, batch = toys.model(family), toys.batch(family)
    loaded, tokenizer = encoder.load(folders / family)
    assert toys.same(toys.bits(loaded), toys.bits(model)) and loaded(**batch).logits.equal(
        model(**batch).logits
    )
    assert tokenizer.get_vocab() == toys.tokenizer(family).get_vocab()
    assert (
        tokenizer(toys.sentences())["input_ids"]
        == toys.tokenizer(family)(toys.sentences())["input_ids"]
    )
    assert tokenizer.model_max_length == sizes.max_tokens(model.config)
    assert (folders / family / "README.md").read_text() == "# card\n"


def test_what_is_saved_loads_without_lib(family, folders):
    model, batch = toys.model(family), toys.batch(family)
    plain = AutoModelForMaskedLM.from_pretrained(folders / family).eval()
    assert plain(**batch).logits.equal(model(**batch).logits)
    assert AutoTokenizer.from_pretrained(folders / family).tokenize(
        "Ħafna kotba."
    ) == toys.tokenizer(family).tokenize("Ħafna kotba.")


def test_a_failed_save_leaves_the_old_model(family, copied, monkeypatch):
    def fail(folder):
        raise OSError("disk full")

    before = {file.name: file.read_bytes() for file in copied.iterdir()}
    broken = AutoTokenizer.from_pretrained(copied)
    monkeypatch.setattr(broken, "save_pretrained", fail)
    with pytest.raises(OSError, match="disk full"):
        encoder.save(toys.model(family, seed=9), broken, copied, "other")
    assert {file.name: file.read_bytes() for file in copied.iterdir()} == before and [
        *copied.parent.iterdir()
    ] == [copied]


def test_half_precision_files_and_spare_parts_of_published_checkpoints_load(family, copied):
    tensors = {
        name: tensor.half() for name, tensor in load_file(copied / "model.safetensors").items()
    }
    body = {"bert": "bert", "xlm-roberta": "roberta"}[family]
    save_file(
        tensors | {f"{body}.pooler.dense.weight": torch.ones(2, 2)},
        copied / "model.safetensors",
        metadata={"format": "pt"},
    )
    model, _ = encoder.load(copied)
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    assert toys.same(
        toys.bits(model),
        {name: t.half().float() for name, t in toys.bits(toys.model(family)).items()},
    )


def test_fewer_tokens_than_embeddings_are_fine_more_are_not(family, tmp_path):
    size = len(toys.tokenizer(family))
    encoder.save(
        toys.model(family, vocab_size=size + 9), toys.tokenizer(family), tmp_path / "more", ""
    )
    assert encoder.load(tmp_path / "more")[0].config.vocab_size == size + 9
    encoder.save(
        toys.model(family, vocab_size=size - 1), toys.tokenizer(family), tmp_path / "fewer", ""
    )
    with pytest.raises(StudyError, match=f"has {size} tokens, the model {size - 1} embeddings"):
        encoder.load(tmp_path / "fewer")


def tensors(change):
    """A way to break a saved model: change its tensors."""

    def breaks(folder):
        found = load_file(folder / "model.safetensors")
        change(found, next(name for name in found if "layer.1.output.dense.weight" in name))
        save_file(found, folder / "model.safetensors", metadata={"format": "pt"})

    return breaks


def json_file(name, **values):
    """A way to break a saved model: change values of a JSON file."""

    def breaks(folder):
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return breaks


BROKEN = {
    "a tensor missing": (
        tensors(lambda found, name: found.pop(name)),
        r"missing keys in the weights: .*layer\.1\.output\.dense\.weight",
    ),
    "the embeddings missing": (
        tensors(
            lambda found, name: [found.pop(each) for each in list(found) if "word_emb" in each]
        ),
        r"missing keys in the weights: .*word_embeddings",
    ),
    "the output bias missing": (
        tensors(
            lambda found, name: [
                found.pop(each)
                for each in ("cls.predictions.bias", "lm_head.bias")
                if each in found
            ]
        ),
        "missing keys",
    ),
    "a tensor too many": (
        tensors(lambda found, name: found.update(extra=torch.ones(2))),
        "unexpected keys in the weights: extra",
    ),
    "a tensor misshapen": (
        tensors(lambda found, name: found.update({name: found[name][:3].clone()})),
        r"mismatched keys.*layer\.1",
    ),
    "NaN": (
        tensors(lambda found, name: found[name].view(-1)[:1].fill_(torch.nan)),
        "layer.1.output.dense.weight holds values that are",
    ),
    "infinity": (
        tensors(lambda found, name: found[name].view(-1)[:1].fill_(torch.inf)),
        "holds values that are not finite",
    ),
    "a layer more": (
        json_file("config.json", num_hidden_layers=5),
        r"missing keys in the weights: .*layer\.4",
    ),
    "a layer fewer": (
        json_file("config.json", num_hidden_layers=3),
        r"unexpected keys in the weights: .*layer\.3",
    ),
    "another vocabulary": (
        json_file("config.json", vocab_size=500),
        r"mismatched keys.*word_embeddings",
    ),
    "heads that do not divide": (
        json_file("config.json", num_attention_heads=5),
        "multiple of the number of attention heads",
    ),
    "GPT-2": (
        json_file("config.json", model_type="gpt2"),
        "'gpt2' cannot be cut; encoders of the types bert, xlm-roberta, ",
    ),
    "DeBERTa": (
        json_file("config.json", model_type="deberta-v2"),
        "'deberta-v2' cannot be cut: its attention reads relative positions .*roberta, camembert",
    ),
    "unknown type": (json_file("config.json", model_type="cuttlefish"), "`cuttlefish`"),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "has no model.safetensors; it holds README.md, config.json, tokenizer.json",
    ),
    "cut weights": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 20),
        "cannot be read as a model",
    ),
    "no configuration": (
        lambda folder: (folder / "config.json").unlink(),
        "cannot be read as a model",
    ),
    "cut configuration": (
        lambda folder: (folder / "config.json").write_text("{"),
        "cannot be read as a model .*JSON",
    ),
    "nothing": (shutil.rmtree, "cannot be read as a model"),
    "no mask token": (
        json_file("tokenizer_config.json", mask_token=None),
        "the tokenizer has no mask_token",
    ),
    "no tokens": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        "no tokens beside the special ones",
    ),
    "cut tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_text('{"model": '),
        "cannot be read as a model",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_models_are_refused(family, case, copied):
    breaks, said = BROKEN[case]
    breaks(copied)
    with pytest.raises(StudyError, match=said) as caught:
        encoder.load(copied)
    assert "\n" not in str(caught.value)


def test_an_uncased_vocabulary_is_not_sent_to_a_switch_that_cannot_help(family, copied):
    if family != "bert":
        pytest.skip("only this family's class can lower-case")
    json_file("tokenizer_config.json", do_lower_case=True)(copied)
    file = copied / "tokenizer.json"
    state = json.loads(file.read_text(encoding="utf-8"))
    names = {token: token for token in state["model"]["vocab"] if token == token.lower()}
    names |= {added["content"]: added["content"] for added in state["added_tokens"]}
    vocab = state["model"]["vocab"]
    state["model"]["vocab"] = {names.get(token, f"##z{n}z"): n for token, n in vocab.items()}
    file.write_text(json.dumps(state), encoding="utf-8")
    with pytest.raises(StudyError, match="has no capitals: choose a cased model"):
        encoder.load(copied)


@pytest.mark.parametrize("changes", [{"do_lower_case": True}, {"strip_accents": True}])
def test_a_tokenizer_that_changes_letters_is_refused(family, changes, copied):
    if family == "bert":
        json_file("tokenizer_config.json", **changes)(copied)
        with pytest.raises(
            StudyError, match="lower-cases or strips accents; set do_lower_case to false"
        ):
            encoder.load(copied)
    else:  # this family's class has no such switch; its normaliser is a file's
        tokenizer = AutoTokenizer.from_pretrained(copied)
        tokenizer.backend_tokenizer.normalizer = (
            normalizers.Lowercase()
            if "do_lower_case" in changes
            else normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
        )
        with pytest.raises(StudyError, match="lower-cases or strips accents"):
            loading.check_tokenizer(tokenizer, toys.config(family))


def test_loading_and_saving_leave_the_librarys_messages_as_they_were(family, folders, tmp_path):
    logging.set_verbosity_info()
    try:
        model, tokenizer = encoder.load(folders / family)
        encoder.save(model, tokenizer, tmp_path / "again", "")
        with pytest.raises(StudyError):
            encoder.load(tmp_path / "absent")
        assert logging.get_verbosity() == logging.INFO and logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity_warning()
