"""Tokenizers: cased, of the size that is asked for, and the same in every process."""

import pytest
import toys

from lib.errors import StudyError
from lib.model import loading
from lib.train import tokenizers

both = pytest.mark.parametrize("family", toys.FAMILIES)


@both
def test_a_tokenizer_is_cased_and_no_larger_than_asked(family):
    own = tokenizers.train_tokenizer(toys.sentences(), family, 100)
    assert 60 < len(own) <= 100 and sorted(own.get_vocab().values()) == list(range(len(own)))
    loading.check_tokenizer(own, toys.config(family))
    for text in ("Ħafna żebbuġ číta", "ħafna żebbuġ Číta"):
        assert own.decode(own(text)["input_ids"], skip_special_tokens=True) == text
    assert own.unk_token_id not in [
        number for text in toys.sentences() for number in own(text)["input_ids"]
    ]


@both
def test_a_larger_vocabulary_makes_texts_shorter(family):
    lengths = [
        sum(
            map(
                len,
                tokenizers.train_tokenizer(toys.sentences(), family, size)(toys.sentences())[
                    "input_ids"
                ],
            )
        )
        for size in (100, 150)
    ]
    assert lengths[1] < lengths[0]


@both
def test_the_same_text_gives_the_same_tokenizer(family):
    """The hash tables of the trainers have another order each time, even in one process."""
    assert (
        len(
            {
                tokenizers.train_tokenizer(toys.sentences(), family, 160).backend_tokenizer.to_str()
                for _ in range(5)
            }
        )
        == 1
    )


def test_an_unknown_type_of_tokenizer():
    with pytest.raises(
        StudyError,
        match="a tokenizer's model type: 'gpt2' is none of bert, xlm-roberta",
    ):
        tokenizers.train_tokenizer(toys.sentences(), "gpt2", 90)
