"""Examples of a task as token ids, and predictions back to words (the paper's step 5).

Scores count every word of a test set. The encoder sees no word beyond `max_length`, and no word of
which the tokenizer makes no token, such as a lone soft hyphen. `decode` gives these words
NO_ANSWER, which is always wrong; `cut_off` is their share. The first subword of a word carries its
label. The authors label and score all subwords; `first_subword=False` reproduces that in training.
"""

from collections.abc import Sequence

from lib import checks
from lib.data.batches import check_length
from lib.data.tasks import NO_ANSWER, Task
from lib.data.words import word_ids
from lib.errors import StudyError

IGNORED = -100  # the label id that PyTorch's cross-entropy leaves out


def encode(
    task: Task, split: str, tokenizer, max_length: int, first_subword: bool = True
) -> list[dict]:
    """Return input_ids, attention_mask and labels of each example: T <= `max_length`, no padding.

    labels: one id for a sequence task, T ids for a token task. They are -100 at special tokens
    and, with `first_subword`, at all subwords of a word but its first.
    Raises StudyError for an unknown split, a split without a token, and a length that the tokenizer
    does not take.
    """
    examples, batch = _encoded(task, split, tokenizer, max_length)
    ids = {label: number for number, label in enumerate(task.labels)}
    result = []
    for row, (_, gold) in enumerate(examples):
        if task.kind == "sequence":
            labels = ids[gold]
        else:
            labels = [IGNORED] * len(batch["input_ids"][row])
            for word, tag in enumerate(gold):
                if tokens := batch.word_to_tokens(row, word):
                    end = tokens.start + 1 if first_subword else tokens.end
                    labels[tokens.start : end] = [ids[tag]] * (end - tokens.start)
        result.append({key: batch[key][row] for key in batch} | {"labels": labels})
    return result


def decode(
    task: Task, split: str, tokenizer, max_length: int, predictions: Sequence
) -> tuple[list, list]:
    """Return gold and predicted labels: one for each example, or one for each of its words.

    predictions: one label id for each example of a sequence task; for a token task at least T ids,
    at the places of `encode` (padding behind them is not read). The prediction of a word is that
    of its first subword, and NO_ANSWER for a word without one.
    """
    examples, batch = _encoded(task, split, tokenizer, max_length)
    gold = [answer for _, answer in examples]
    if task.kind == "sequence":
        return gold, [task.labels[int(prediction)] for prediction in predictions]
    predicted = []
    for row, ((words, _), ids) in enumerate(zip(examples, predictions, strict=True)):
        tokens = [batch.word_to_tokens(row, word) for word in range(len(words))]
        tags = (task.labels[int(ids[own.start])] if own else NO_ANSWER for own in tokens)
        predicted.append(tuple(tags))
    return gold, predicted


def cut_off(task: Task, split: str, tokenizer, max_length: int) -> float:
    """Return the share of a split's words, 0 to 1, that the encoder does not see.

    In a token task these are words of the data set, and no accuracy is above 1 less this share. In
    a sequence task they are the tokenizer's words, and only `max_length` hides any. The n-gram
    baseline reads all words.
    """
    examples, batch = _encoded(task, split, tokenizer, max_length)
    texts = [text for text, _ in examples]
    rows = [row.word_ids for row in batch.encodings]
    if task.kind == "sequence":
        rows = word_ids(texts, batch.encodings, tokenizer)
        whole = tokenizer(texts, verbose=False).encodings
        texts = [{*row} - {None} for row in word_ids(texts, whole, tokenizer)]
    seen = sum(len({*row} - {None}) for row in rows)
    return 1 - seen / sum(map(len, texts))


def _encoded(task: Task, split: str, tokenizer, max_length: int):
    """The examples of a split and their encoding by the tokenizer."""
    checks.check_choice(split, task.splits, f"split of {task.name}")
    check_length(max_length, tokenizer.model_max_length)
    examples, token = task.splits[split], task.kind == "token"
    batch = tokenizer(
        [_as_in_text(words, tokenizer) if token else words for words, _ in examples],
        is_split_into_words=token,
        truncation=True,
        max_length=max_length,
        return_token_type_ids=False,
    )
    if all(len(ids) <= tokenizer.num_special_tokens_to_add() for ids in batch["input_ids"]):
        raise StudyError(
            f"{task.name}: the tokenizer makes no token of any text of the split {split}; correct "
            "the texts, or choose another tokenizer"
        )
    return examples, batch


def _as_in_text(words: tuple, tokenizer) -> list[str]:
    """The words, with the space before each that some tokenizers make a part of its first token."""
    space = "" if tokenizer.tokenize(" a") == tokenizer.tokenize("a") else " "
    return [*words[:1], *(space + word for word in words[1:])]
