"""Text as token ids: the order of a training, the masks, and padded batches."""

import numpy
import pytest
import torch
import toys

from lib.data import batches
from lib.errors import StudyError

both = pytest.mark.parametrize("family", toys.FAMILIES)


def test_a_schedule_passes_over_all_sentences_again_and_again():
    lengths = numpy.random.default_rng(0).integers(3, 40, 23)
    seen = batches.schedule(lengths, batches=31, batch_size=3, seed=1)
    counts = numpy.bincount(seen.ravel(), minlength=23)
    assert (
        seen.shape == (31, 3) and counts.sum() == 93 and set(counts) <= {4, 5}
    )  # four passes and one more sentence
    passes = batches.schedule(lengths, batches=23 * 4, batch_size=5, seed=1, window=23).reshape(
        4, -1
    )
    assert all((numpy.bincount(each, minlength=23) == 5).all() for each in passes)


def test_every_window_is_a_slice_of_shuffled_passes():
    order = batches.schedule([9] * 100, batches=50, batch_size=4, seed=3)  # a window is two passes
    assert (numpy.bincount(order.ravel()) == 2).all()
    first = batches.schedule([9] * 100, batches=25, batch_size=4, seed=3)
    assert sorted(first.ravel()) == list(range(100)) and first.ravel().tolist() != list(range(100))


def test_a_schedule_batches_like_lengths_in_no_order_of_length():
    lengths = numpy.random.default_rng(0).integers(3, 60, 400)
    sizes = lengths[batches.schedule(lengths, batches=50, batch_size=8, seed=1)]
    padded = lengths[numpy.random.default_rng(5).permutation(400).reshape(50, 8)].max(1).sum()
    assert (sizes.max(1) - sizes.min(1)).mean() < 3 and sizes.max(1).sum() < 0.7 * padded
    longest = sizes.max(1)
    assert (numpy.diff(longest) > 0).any() and (numpy.diff(longest) < 0).any()


def test_a_schedule_is_a_function_of_its_seed():
    first, again, other = (batches.schedule(range(50), 20, 4, seed) for seed in (1, 1, 2))
    assert (first == again).all() and not (first == other).all()


@both
def test_masks_depend_on_seed_and_number_only(family):
    own, items = (
        toys.tokenizer(family),
        [{"input_ids": ids, "number": 70 + n} for n, ids in enumerate(toys.encoded(family))],
    )

    def masked(seed, first=70):
        return batches.Masker(own, seed)([items[0] | {"number": first}, *items[1:]])["input_ids"]

    torch.manual_seed(0)
    first = masked(1)
    torch.manual_seed(1)
    assert (
        first.equal(masked(1))
        and not first.equal(masked(2))
        and not first.equal(masked(1, first=71))
    )
    masker = batches.Masker(own, 1)
    masker(items[3:])  # what was masked before does not matter
    assert masker(items)["input_ids"].equal(first)
    assert masked(2**32 - 1).shape == first.shape  # the largest seed


@both
def test_a_batch_is_padded_and_special_tokens_are_never_asked(family):
    own, encoded = toys.tokenizer(family), toys.encoded(family, 30)
    for pad_to in (0, 5, 25):
        items = [{"input_ids": ids, "number": n} for n, ids in enumerate(encoded)]
        batch = batches.Masker(own, 1, pad_to)(items)
        assert (
            batch["input_ids"].shape
            == (30, max(pad_to, max(map(len, encoded))))
            == batch["labels"].shape
        )
        for ids, row, seen, asked in zip(
            encoded,
            batch["input_ids"].tolist(),
            batch["attention_mask"].tolist(),
            batch["labels"].tolist(),
            strict=True,
        ):
            length = len(ids)
            assert seen == [1] * length + [0] * (len(row) - length) and row[length:] == [
                own.pad_token_id
            ] * (len(row) - length)
            assert asked[length:] == [-100] * (len(row) - length)
            for place, old in enumerate(ids):
                assert asked[place] in (-100, old)
                assert asked[place] == old or row[place] == old  # what is not asked is not touched
                assert old not in own.all_special_ids or asked[place] == -100


@both
def test_shares_of_masks(family):
    own = toys.tokenizer(family)
    word = [number for number in range(len(own)) if number not in own.all_special_ids]
    ids = numpy.random.default_rng(0).choice(word, (400, 100))
    items = [
        {"input_ids": [own.cls_token_id, *row, own.sep_token_id], "number": n}
        for n, row in enumerate(ids.tolist())
    ]
    batch = batches.Masker(own, 1)(items)
    asked = batch["labels"] != -100
    new, old = batch["input_ids"][asked], batch["labels"][asked]
    share = asked.sum().item() / ids.size
    masked, kept = (
        (new == own.mask_token_id).float().mean().item(),
        (new == old).float().mean().item(),
    )
    assert (
        abs(share - 0.15) < 0.006
        and abs(masked - 0.8) < 0.02
        and abs(kept - 0.1) < 0.02
        and abs(1 - masked - kept - 0.1) < 0.02
    )


@both
def test_masked_batches_hold_every_sentence_once(family):
    own, encoded = toys.tokenizer(family), toys.encoded(family, 21)
    found_batches = batches.masked_batches(encoded, own, 8, 5)
    assert [len(batch["input_ids"]) for batch in found_batches] == [8, 8, 5]
    found = [
        [new if ask == -100 else ask for new, ask, see in zip(*rows, strict=True) if see]
        for batch in found_batches
        for rows in zip(
            batch["input_ids"].tolist(),
            batch["labels"].tolist(),
            batch["attention_mask"].tolist(),
            strict=True,
        )
    ]
    assert sorted(found) == sorted(encoded) and list(map(len, found)) == sorted(map(len, encoded))
    again, other = (
        batches.masked_batches(encoded, own, 8, 5),
        batches.masked_batches(encoded, own, 8, 6),
    )
    assert all(
        a["input_ids"].equal(b["input_ids"]) for a, b in zip(found_batches, again, strict=True)
    )
    assert not all(
        a["input_ids"].equal(b["input_ids"]) for a, b in zip(found_batches, other, strict=True)
    )


def test_encode():
    own = toys.tokenizer("bert")
    ids = batches.encode(["Ħafna kotba in the garden.", "paka"], own, 5)
    assert len(ids[0]) == 5 and all(
        row[0] == own.cls_token_id and row[-1] == own.sep_token_id for row in ids
    )
    with pytest.raises(StudyError, match="no sentences to train on"):
        batches.encode([], own, 5)
    for length in (2, 513):
        with pytest.raises(
            StudyError,
            match=f"a max_length of {length} tokens was asked for; the model takes 3 to 512",
        ):
            batches.encode(["paka"], own, length)


def test_padded_rows():
    ids, own = batches.padded([[7, 8, 9], [5]], 1)
    assert ids.tolist() == [[7, 8, 9], [5, 1, 1]] and own.tolist() == [[1, 1, 1], [1, 0, 0]]
    ids, own = batches.padded([[7]], 0, 3)
    assert ids.tolist() == [[7, 0, 0]] and own.tolist() == [[1, 0, 0]]
    assert ids.dtype == own.dtype == torch.long
