"""Text as token ids and as masked batches, for training and measuring a masked language model.

The order of the sentences and all masks depend on (seed, position in the training) only, not on a
random state. So a training that was killed and resumed sees the batches of one that was not.
"""

import numpy
import torch
from torch.utils.data import Dataset
from transformers import DataCollatorForLanguageModeling

from lib import facts
from lib.errors import StudyError


def encode(sentences: list[str], tokenizer, max_length: int) -> list[list[int]]:
    """Return the token ids of each sentence with special tokens, cut at `max_length` tokens.

    Raises StudyError without sentences, and for a length that the model does not take.
    """
    if not sentences:
        raise StudyError("no sentences to train on; the corpus is empty")
    check_length(max_length, tokenizer.model_max_length)
    encoded = tokenizer(
        sentences, truncation=True, max_length=max_length, return_attention_mask=False
    )
    return encoded["input_ids"]


def check_length(max_length: int, longest: int) -> None:
    """StudyError unless texts may be cut at `max_length` tokens: 3 to the `longest` text."""
    if not 3 <= max_length <= longest:
        raise StudyError(
            f"a max_length of {max_length} tokens was asked for; the model takes 3 to {longest}"
        )


def padded(rows: list[list[int]], value: int, length: int = 0) -> tuple:
    """Return two tensors (B, T): the rows, with `value` behind the shorter ones, and 1 or 0 for
    their own places and those behind. T is the longest row, or `length` if that is more.
    """
    length = max(length, *map(len, rows))
    ids = torch.tensor([[*row, *[value] * (length - len(row))] for row in rows])
    lengths = torch.tensor([[len(row)] for row in rows])
    return ids, (torch.arange(length) < lengths).long()


def schedule(lengths, batches: int, batch_size: int, seed: int, window: int = 50) -> numpy.ndarray:
    """Return sentence numbers (batches, batch_size): shuffled passes over all sentences.

    Each `window` batches are sorted by length and then shuffled, so that little is padded.
    """
    lengths, random = numpy.asarray(lengths), numpy.random.default_rng(seed)
    total = batches * batch_size
    passes = -(-total // len(lengths))
    order = numpy.concatenate([random.permutation(len(lengths)) for _ in range(passes)])[:total]
    rows = []
    for begin in range(0, total, window * batch_size):
        part = order[begin : begin + window * batch_size]
        part = part[numpy.argsort(lengths[part], kind="stable")].reshape(-1, batch_size)
        rows.append(part[random.permutation(len(part))])
    return numpy.concatenate(rows)


class Scheduled(Dataset):
    """A whole training in order: item k is the k-th sentence, with its number k."""

    def __init__(self, encoded: list[list[int]], order: numpy.ndarray):
        self.encoded, self.order = encoded, order.reshape(-1)

    def __len__(self):
        return len(self.order)

    def __getitem__(self, number):
        return {"input_ids": self.encoded[self.order[number]], "number": number}


class Masker(DataCollatorForLanguageModeling):
    """Makes a padded, masked batch of items: input_ids, attention_mask and labels, each (B, T).

    labels are -100 where nothing is predicted. The masks depend on the seed and the first item's
    number only. `pad_to` pads to a fixed length, as the authors' scripts do.
    """

    def __init__(self, tokenizer, seed: int, pad_to: int = 0):
        names = ("mlm_probability", "mask_replace_prob", "random_replace_prob")
        settings = facts.facts("training")
        super().__init__(tokenizer, **{name: settings[name] for name in names})
        self.first_seed, self.pad_to = seed, pad_to
        self.special = torch.tensor(tokenizer.all_special_ids)

    def __call__(self, items, return_tensors=None):
        rows = [item["input_ids"] for item in items]
        ids, attention = padded(rows, self.tokenizer.pad_token_id, self.pad_to)
        mixed = numpy.random.SeedSequence((self.first_seed, items[0]["number"]))
        seed = int(mixed.generate_state(1)[0])  # torch reads only 32 bits of a seed
        self.generator = torch.Generator().manual_seed(seed)
        ids, labels = self.torch_mask_tokens(ids, torch.isin(ids, self.special))
        return {"input_ids": ids, "attention_mask": attention, "labels": labels}


def masked_batches(encoded, tokenizer, batch_size: int, seed: int) -> list[dict]:
    """Return all sentences once, in batches of similar length with fixed masks, for measuring."""
    masker = Masker(tokenizer, seed)
    items = [*Scheduled(encoded, numpy.argsort([len(ids) for ids in encoded], kind="stable"))]
    return [masker(items[begin : begin + batch_size]) for begin in range(0, len(items), batch_size)]
