"""Text as token ids, and masked batches of them: what a masked language model is trained and measured on.

The order of the sentences and every mask are functions of (seed, position in the training), not of a random state that has to
survive: a training killed and resumed sees what an undisturbed one sees.
"""

import numpy
import torch
from torch.utils.data import Dataset
from transformers import DataCollatorForLanguageModeling

from lib import facts
from lib.errors import StudyError


def encode(sentences: list[str], tokenizer, max_length: int) -> list[list[int]]:
    """Token ids of each sentence with special tokens, cut at `max_length` tokens.

    Raises StudyError for no sentences, and for a length the model cannot take.
    """
    if not sentences:
        raise StudyError("no sentences to train on; the corpus is empty")
    if not 3 <= max_length <= tokenizer.model_max_length:
        raise StudyError(
            f"a max_length of {max_length} tokens was asked for; the model takes 3 to {tokenizer.model_max_length}"
        )
    return tokenizer(
        sentences, truncation=True, max_length=max_length, return_attention_mask=False
    )["input_ids"]


def schedule(lengths, batches: int, batch_size: int, seed: int, window: int = 50) -> numpy.ndarray:
    """Sentence numbers (batches, batch_size): shuffled passes over all sentences, with sentences of like length batched together.

    Inside windows of `window` batches sentences are sorted by length and the batches then shuffled, so little is padded.
    """
    lengths, random = numpy.asarray(lengths), numpy.random.default_rng(seed)
    passes = -(-batches * batch_size // len(lengths))
    order = numpy.concatenate([random.permutation(len(lengths)) for _ in range(passes)])[
        : batches * batch_size
    ]
    rows = []
    for begin in range(0, len(order), window * batch_size):
        part = order[begin : begin + window * batch_size]
        part = part[numpy.argsort(lengths[part], kind="stable")].reshape(-1, batch_size)
        rows.append(part[random.permutation(len(part))])
    return numpy.concatenate(rows)


class Scheduled(Dataset):
    """The training laid out in advance: item k is the k-th sentence seen, with its number k."""

    def __init__(self, encoded: list[list[int]], order: numpy.ndarray):
        self.encoded, self.order = encoded, order.reshape(-1)

    def __len__(self):
        return len(self.order)

    def __getitem__(self, number):
        return {"input_ids": self.encoded[self.order[number]], "number": number}


class Masker(DataCollatorForLanguageModeling):
    """Items -> padded, masked batch: input_ids, attention_mask, labels, each (B, T); labels -100 where nothing is predicted.

    The masks depend on the seed and the first item's number only. `pad_to` pads to a fixed length, as the authors' scripts do.
    """

    def __init__(self, tokenizer, seed: int, pad_to: int = 0):
        super().__init__(
            tokenizer,
            **{
                name: facts.facts("training")[name]
                for name in ("mlm_probability", "mask_replace_prob", "random_replace_prob")
            },
        )
        self.first_seed, self.pad_to, self.special = (
            seed,
            pad_to,
            torch.tensor(tokenizer.all_special_ids),
        )

    def __call__(self, items, return_tensors=None):
        length = max(self.pad_to, max(len(item["input_ids"]) for item in items))
        ids = torch.full((len(items), length), self.tokenizer.pad_token_id)
        attention = torch.zeros_like(ids)
        for row, item in enumerate(items):
            ids[row, : len(item["input_ids"])] = torch.tensor(item["input_ids"])
            attention[row, : len(item["input_ids"])] = 1
        mixed = numpy.random.SeedSequence((self.first_seed, items[0]["number"])).generate_state(
            1
        )  # torch reads 32 bits of a seed only
        self.generator = torch.Generator().manual_seed(int(mixed[0]))
        ids, labels = self.torch_mask_tokens(ids, torch.isin(ids, self.special))
        return {"input_ids": ids, "attention_mask": attention, "labels": labels}


def masked_batches(encoded, tokenizer, batch_size: int, seed: int) -> list[dict]:
    """All sentences once, in batches of like length, with fixed masks: for importance and evaluation."""
    masker, order = (
        Masker(tokenizer, seed),
        sorted(range(len(encoded)), key=lambda i: len(encoded[i])),
    )
    items = [{"input_ids": encoded[i], "number": k} for k, i in enumerate(order)]
    return [masker(items[k : k + batch_size]) for k in range(0, len(items), batch_size)]
