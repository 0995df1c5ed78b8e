"""MLM training of a teacher, and its adaptation to one language (paper, step 0)."""

from pathlib import Path

from lib.measure import mlm
from lib.train import trainer


def train(
    model,
    tokenizer,
    train_sentences: list[str],
    dev_sentences: list[str],
    settings: dict,
    seed: int,
    folder: Path,
    name: str = "mlm",
) -> dict:
    """Train all weights of `model` in place on the MLM loss; returns the same as `trainer.fit`."""

    def loss(model, batch):
        return {"loss": mlm.mlm_loss(model, batch)}

    return trainer.fit(
        model, loss, tokenizer, train_sentences, dev_sentences, settings, seed, folder, name
    )
