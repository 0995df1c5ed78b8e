"""Growth: the grown teacher gives what the small one gave, its copies learn to differ, new pieces start from the old ones."""

import pytest
import torch
import toys
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers import models as pieces
from transformers import BertTokenizer

from lib import growth, models, teachers, training
from lib.errors import StudyError

both = pytest.mark.parametrize("family", toys.FAMILIES)


def batch(family):
    return training.masked_batches(toys.encoded(family, 8), toys.tokenizer(family), 8, 1)[0]


def logits(model, given):
    with torch.no_grad():
        return model(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).logits


@both
@pytest.mark.parametrize("sizes", [(48, 20), (24, 60), (72, 40)])
def test_a_wider_model_gives_the_same_logits(family, sizes):
    small = toys.model(family)
    before, large = toys.bits(small), growth.wider(small, *sizes, seed=3)
    assert (large.config.hidden_size, large.config.intermediate_size) == sizes and large.config.num_attention_heads == 4
    assert large.num_parameters() == models.count_parameters(large.config) > small.num_parameters()
    torch.testing.assert_close(logits(large, batch(family)), logits(small, batch(family)), rtol=1e-4, atol=1e-4)
    assert toys.same(toys.bits(small), before)
    assert toys.same(toys.bits(large), toys.bits(growth.wider(small, *sizes, seed=3)))
    assert not toys.same(toys.bits(large), toys.bits(growth.wider(small, *sizes, seed=4)))


@both
def test_training_tells_the_copies_apart(family):
    """Copies that are read alike would get the same gradient for ever; the noise in what reads them is what parts them."""
    large = growth.wider(toys.model(family), 48, 40, seed=1)
    dense = getattr(large, models.family(large).body).encoder.layer[1].intermediate.dense
    assert torch.equal(dense.bias[0::2], dense.bias[1::2])
    by_bias, by_weight = torch.autograd.grad(training.mlm_loss(large, batch(family)), (dense.bias, dense.weight))
    assert (by_bias[0::2] - by_bias[1::2]).abs().min() > 1e-6
    assert torch.linalg.matrix_rank(by_weight) > 2


@both
def test_a_deeper_model_repeats_each_layer_silenced(family):
    small = toys.model(family)
    large, given = growth.deeper(small, 8), batch(family)
    assert large.config.num_hidden_layers == 8 and large.num_parameters() == models.count_parameters(large.config)
    old, new = (getattr(each, models.family(each).body).encoder.layer for each in (small, large))
    for number in range(4):
        assert toys.same(toys.bits(new[2 * number]), toys.bits(old[number]))
        added = new[2 * number + 1]
        assert torch.equal(added.attention.self.query.weight, old[number].attention.self.query.weight)
        stream = torch.randn(2, 3, 24, generator=torch.Generator().manual_seed(1))
        twice = added.output.LayerNorm(added.attention.output.LayerNorm(stream))
        found = added(stream)
        torch.testing.assert_close(found[0] if isinstance(found, tuple) else found, twice)
    assert not torch.equal(logits(large, given), logits(small, given))


def wordpiece(names):
    return BertTokenizer(vocab={name: number for number, name in enumerate(names)}, do_lower_case=False, strip_accents=False,
                         model_max_length=40)


def test_a_new_vocabulary_starts_from_the_pieces_of_the_old():
    model, old = toys.model("bert"), toys.tokenizer("bert")
    table = old.get_vocab()
    usual = sorted(set(table) - set(old.all_special_tokens))[:60]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *usual, "mačkapes", "##mačka", "猫"]
    new = wordpiece(names)
    own, biases = models.readout(model)
    changed = growth.with_vocabulary(model, old, new, seed=1)
    weight, bias = models.readout(changed)
    assert weight.shape == (len(names), 24) and weight is changed.bert.embeddings.word_embeddings.weight
    for number, name in enumerate(names[:65]):
        assert torch.equal(weight[number], own[table[name]]) and torch.equal(bias[number], biases[table[name]])
    spelt = [table[piece] for piece in old.tokenize("mačkapes")]
    assert growth.made_of("mačkapes", table) == spelt and len(spelt) > 1
    torch.testing.assert_close(weight[65], own[spelt].mean(0))
    inside = growth.made_of("##mačka", table)
    assert "".join(old.convert_ids_to_tokens(inside)) == "##" + "##".join(p.removeprefix("##") for p in old.convert_ids_to_tokens(inside))
    torch.testing.assert_close(bias[66], biases[inside].mean())
    assert growth.made_of("猫", table) == [] and bias[67] == biases.min() and weight[67].std() > 0
    same = growth.with_vocabulary(model, old, old, seed=1)
    assert torch.equal(logits(same, batch("bert")), logits(model, batch("bert")))


def test_cutting_is_the_tokenizers_own():
    table = toys.tokenizer("bert").get_vocab()
    own = Tokenizer(pieces.WordPiece(table, unk_token="[UNK]"))
    own.normalizer, own.pre_tokenizer = normalizers.NFC(), pre_tokenizers.WhitespaceSplit()
    for word in {word for each in toys.sentences() for word in each.split()}:
        ids = own.encode(word).ids
        assert growth.made_of(word, table) == ([] if table["[UNK]"] in ids else ids)


def test_what_cannot_be_grown():
    model = toys.model("bert")
    with pytest.raises(StudyError, match="a hidden_size of 36 was asked for; the teacher has 24 and grows by whole numbers only"):
        growth.wider(model, 36, 20, 1)
    with pytest.raises(StudyError, match="a num_hidden_layers of 6 was asked for; the teacher has 4"):
        growth.deeper(model, 6)
    with pytest.raises(StudyError, match="both are WordPiece; one of these two is not"):
        growth.with_vocabulary(toys.model("xlm-roberta"), toys.tokenizer("xlm-roberta"), toys.tokenizer("bert"), 1)


def test_a_teacher_takes_the_shape_of_its_entry(tmp_path):
    """Grown in all directions and given a vocabulary; cut in all directions; and neither leaves it as it is."""
    model, own = toys.model("bert"), toys.tokenizer("bert")
    (tmp_path / "pieces").mkdir()
    names = own.convert_ids_to_tokens(range(len(own)))
    (tmp_path / "pieces" / "other.txt").write_text("\n".join([*names, "kissa"]) + "\n", encoding="utf-8")
    grown = {"hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 8, "vocabulary": "pieces/other.txt"}
    large, new = teachers.shaped(model, own, grown, [], 16, 1, tmp_path)
    assert {name: getattr(large.config, name) for name in list(grown)[:3]} == {name: grown[name] for name in list(grown)[:3]}
    assert large.config.vocab_size == len(new) == len(own) + 1 and new.convert_tokens_to_ids("kissa") == len(own)
    assert new.model_max_length == own.model_max_length
    small, kept = teachers.shaped(model, own, {"hidden_size": 16, "intermediate_size": 10, "num_hidden_layers": 2}, toys.sentences(), 16, 1)
    assert (small.config.hidden_size, small.config.intermediate_size, small.config.num_hidden_layers) == (16, 10, 2) and kept is own
    same, kept = teachers.shaped(model, own, {}, [], 16, 1)
    assert same is model and kept is own
    with pytest.raises(StudyError, match=r"the vocabulary pieces/none\.txt is not there; set data_root"):
        teachers.read_vocabulary("pieces/none.txt", None, 40)
    for wrong, said in ((b"a\nb\na\n", "the piece 'a' stands on more than one line"), (b"\xff\n", "not UTF-8 text")):
        (tmp_path / "pieces" / "wrong.txt").write_bytes(wrong)
        with pytest.raises(StudyError, match=said):
            teachers.read_vocabulary("pieces/wrong.txt", tmp_path, 40)
    (tmp_path / "pieces" / "bare.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"bare.*the tokenizer has"):
        teachers.read_vocabulary("pieces/bare.txt", tmp_path, 40)
