"""MLM training of a teacher, and its adaptation to one language (paper, step 0)."""

from pathlib import Path

from lib.measure import mlm
from lib.train import trainer


def train(
    model, tokenizer, train, dev, settings: dict, seed: int, folder: Path, name: str = "mlm"
) -> dict:
    """Train all weights of `model` in place on the MLM loss; returns the same as `trainer.fit`."""

    def loss(model, batch):
        return {"loss": mlm.mlm_loss(model, batch)}

    return trainer.fit(model, loss, tokenizer, train, dev, settings, seed, folder, name)
