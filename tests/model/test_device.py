"""Precision and attention of a training."""

import pytest
import torch
import toys

from lib.model import device


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))


def test_precision():
    config = toys.config("bert")
    for precision, enabled in (("float32", False), ("bfloat16", True)):
        with device.autocast(config, precision):
            assert torch.is_autocast_enabled("cpu") is enabled


def test_attention_of_a_training():
    """Plain attention for short text in bfloat16 on a CPU; cuDNN's attention is off."""
    for precision, length, attention in (
        ("bfloat16", 256, "eager"),
        ("bfloat16", 257, "sdpa"),
        ("float32", 16, "sdpa"),
    ):
        model = toys.model("bert")
        device.choose_attention(model, precision, length)
        assert model.config._attn_implementation == attention
    assert not torch.backends.cuda.cudnn_sdp_enabled()
