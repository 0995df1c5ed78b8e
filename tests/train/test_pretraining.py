"""MLM training of a toy teaches it, in every matrix."""

import pytest
import torch
import toys

from lib.data import batches
from lib.measure import mlm
from lib.model import device, mlm_head
from lib.train import pretraining

both = pytest.mark.parametrize(
    "family", ["bert", pytest.param("xlm-roberta", marks=pytest.mark.slow)]
)


@both
def test_training_teaches(family, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))
    model, own = toys.model(family), toys.tokenizer(family)
    before, dev = toys.bits(model), batches.masked_batches(toys.encoded(family, 60), own, 64, 0)
    start = mlm.score_mlm(model, dev)["mlm_loss"]
    settings = toys.SETTINGS | {"steps": 12, "batch_size": 16}
    learned = pretraining.train(
        model, own, toys.sentences(), toys.sentences(), settings, 1, tmp_path, "toy"
    )
    assert mlm.score_mlm(model, dev)["mlm_loss"] < start - 0.5
    assert not any(
        before[name].equal(tensor) for name, tensor in toys.bits(model).items() if tensor.dim() == 2
    )  # every matrix learns
    assert mlm_head.readout(model)[0] is model.get_input_embeddings().weight
    assert {"step", "loss", "learning_rate", "grad_norm"} <= set(learned["history"][0])
