"""Tokenizers: cased, of the size that is asked for, and the same in every process."""

import pytest
import toys

from lib.errors import StudyError
from lib.model import encoder, loading, vocabulary
from lib.train import teachers, tokenizers

every = pytest.mark.parametrize("family", [*toys.FAMILIES, "roberta", "modernbert"])
byte_level = pytest.mark.parametrize("family", ["roberta", "modernbert"])


def trained(family, size):
    return tokenizers.train_tokenizer(toys.sentences(), family, toys.byte_tokens(family) + size)


@every
def test_a_tokenizer_is_cased_and_no_larger_than_asked(family):
    own = trained(family, 100)
    assert 60 < len(own) - toys.byte_tokens(family) <= 100
    assert sorted(own.get_vocab().values()) == list(range(len(own)))
    loading.check_tokenizer(own, toys.config(family))
    for text in ("Ħafna żebbuġ číta", "ħafna żebbuġ Číta"):
        assert own.decode(own(text)["input_ids"], skip_special_tokens=True) == text
    assert own.unk_token_id not in [
        number for text in toys.sentences() for number in own(text)["input_ids"]
    ]


@every
def test_a_larger_vocabulary_makes_texts_shorter(family):
    lengths = [
        sum(map(len, trained(family, size)(toys.sentences())["input_ids"])) for size in (100, 150)
    ]
    assert lengths[1] < lengths[0]


@every
def test_the_same_text_gives_the_same_tokenizer(family):
    """The hash tables of the trainers have another order each time, even in one process."""
    assert len({trained(family, 160).backend_tokenizer.to_str() for _ in range(5)}) == 1


@byte_level
def test_byte_level_tokenizers_know_all_text(family):
    """No letter is unknown, not even a new one, and the spaces are a part of the tokens."""
    own = trained(family, 100)
    text = "犬 ʘ  x\n☃ mačka"
    numbers = own(text)["input_ids"]
    assert own.unk_token_id not in numbers
    assert own.decode(numbers, skip_special_tokens=True) == text
    assert [numbers[0], numbers[-1]] == [own.cls_token_id, own.sep_token_id]
    assert own(text).word_ids()[1:-1] == sorted(own(text).word_ids()[1:-1])
    assert own.mask_token_id == len(own) - 1 == own(own.mask_token)["input_ids"][1]


@byte_level
def test_the_first_merge_is_the_most_frequent_pair(family):
    own = tokenizers.train_tokenizer(["abab cab", "ab c"], family, 262)
    assert own.convert_ids_to_tokens(260) == "ab" and len(own) == 262


@byte_level
def test_a_vocabulary_without_room_for_the_bytes_is_refused(family):
    with pytest.raises(StudyError, match=r"a vocab_size of 260 was asked for; .* needs 261 tokens"):
        tokenizers.train_tokenizer(toys.sentences(), family, 260)
    assert len(tokenizers.train_tokenizer(toys.sentences(), family, 261)) == 261


@byte_level
def test_a_new_teacher_is_saved_read_and_trimmed(family, tmp_path):
    entry = {"model_type": family, "vocab_size": 400, "num_attention_heads": 2, "hidden_size": 12}
    sizes = {"num_hidden_layers": 2, "intermediate_size": 16, "max_position_embeddings": 40}
    model, own = teachers.new_teacher(toys.sentences(), entry | sizes, 1)
    encoder.save(model, own, tmp_path / "teacher", "")
    _, again = encoder.load(tmp_path / "teacher")
    texts = toys.sentences()
    assert again(texts)["input_ids"] == own(texts)["input_ids"]
    always = vocabulary.single_characters(own, texts)
    kept = vocabulary.choose(vocabulary.count(own, texts, "count"), own, 300, always)
    small = vocabulary.trim_tokenizer(again, kept)
    for text in texts:
        if set(own(text)["input_ids"]) <= set(kept.tolist()):
            assert kept[small(text)["input_ids"]].tolist() == own(text)["input_ids"]
    assert small.unk_token_id not in small("犬 ʘ")["input_ids"]


def test_an_unknown_type_of_tokenizer():
    with pytest.raises(
        StudyError,
        match="a tokenizer's model type: 'gpt2' is none of bert, xlm-roberta",
    ):
        tokenizers.train_tokenizer(toys.sentences(), "gpt2", 90)
