"""What the chapters share: an easy English text, and a toy teacher that learns it in seconds."""

import tempfile
from contextlib import redirect_stdout

from lib import files
from lib.data import batches, readers
from lib.measure import mlm
from lib.train import pretraining, teachers

SIZES = {
    "model_type": "bert",
    "vocab_size": 500,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 32,
    "type_vocab_size": 1,
    "initializer_range": 0.05,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
SETTINGS = {
    "steps": 300,
    "batch_size": 32,
    "accumulation": 1,
    "max_length": SIZES["max_position_embeddings"],
    "learning_rate": 4e-3,
    "precision": "float32",
}


def text() -> dict[str, list[str]]:
    """The easy English sentences of the parts train, dev and test, which share no sentence."""
    folder = files.SAMPLE / "easy_english"
    return {part: readers.lines(folder / f"{part}.txt") for part in ("train", "dev", "test")}


def teacher(train: list[str], dev: list[str], settings: dict | None = None, **sizes):
    """(model, tokenizer, history): a toy teacher trained on the sentences, and its learning curve.

    `settings` changes SETTINGS, and `sizes` changes SIZES.
    """
    model, tokenizer = teachers.new_teacher(train, SIZES | sizes, seed=1)
    changed = SETTINGS | (settings or {})
    result = quiet(pretraining.train, model, tokenizer, train, dev, changed, 1)
    return model, tokenizer, result["history"]


def quiet(train, *arguments):
    """What `train(*arguments, folder)` returns; its checkpoints and its progress lines are dropped.

    A progress line holds the time left, so it would differ from run to run.
    """
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(None):
        return train(*arguments, folder)


def masked(sentences: list[str], tokenizer, batch_size: int = 64, seed: int = 1) -> list[dict]:
    """Batches of all sentences with masks that depend on the seed only."""
    encoded = batches.encode(sentences, tokenizer, tokenizer.model_max_length)
    return batches.masked_batches(encoded, tokenizer, batch_size, seed)


def loss(model, masked_batches: list[dict]) -> float:
    """Mean MLM loss of the batches in nats."""
    return mlm.score_mlm(model, masked_batches)["mlm_loss"]


def dev_curve(history: list[dict]) -> dict[int, float]:
    """The MLM loss on the dev sentences by training step."""
    return {entry["step"]: entry["dev_mlm_loss"] for entry in history if "dev_mlm_loss" in entry}
