"""Attention by plain products against the library's own, on padded and unpadded batches of both families."""

import pytest
import torch
import toys
from torch import nn

from lib import attention, models, training


def outcome(model, batch, way):
    """Hidden states at real positions and the gradient of a loss on them, when the model attends in that way."""
    model.set_attn_implementation(way)
    model.zero_grad()
    hidden = models.hidden_states(model, batch)[batch["attention_mask"].bool()]
    hidden.float().square().mean().backward()
    return hidden.detach(), torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])


def padded(batch, padding):
    """The batch with `padding` more padded positions at the end of each text, and one text cut to three tokens."""
    mask = nn.functional.pad(batch["attention_mask"], (0, padding))
    mask[0, 3:] = 0
    return {"input_ids": nn.functional.pad(batch["input_ids"], (0, padding), value=1), "attention_mask": mask}


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
@pytest.mark.parametrize("padding", [0, 5])
def test_the_same_as_the_librarys(kind, padding):
    model, batch = toys.model(kind).train(), padded(toys.batch(kind), padding)
    for way in ("eager", "sdpa"):
        for one, other in zip(outcome(model, batch, attention.NAME), outcome(model, batch, way), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_nothing_padded_and_padding_is_never_read():
    model, batch = toys.model("bert"), toys.batch("bert")
    model.set_attn_implementation(attention.NAME)
    whole = {"input_ids": batch["input_ids"], "attention_mask": torch.ones_like(batch["input_ids"])}
    alone = models.hidden_states(model, whole)
    wide = {name: nn.functional.pad(each, (0, 7), value=value) for (name, each), value in zip(whole.items(), (5, 0), strict=True)}
    torch.testing.assert_close(models.hidden_states(model, wide)[:, : alone.shape[1]], alone, rtol=1e-4, atol=1e-6)


def test_in_bfloat16_as_near_as_the_librarys():
    model, batch = toys.model("bert").train(), padded(toys.batch("bert"), 4)
    exact = outcome(model, batch, "eager")[0]
    with torch.autocast("cpu", torch.bfloat16):
        far = {way: (outcome(model, batch, way)[0].float() - exact).abs().mean() for way in ("eager", attention.NAME)}
    assert far[attention.NAME] < 1.5 * far["eager"]


def test_dropout_of_shares_reaches_training_only():
    parts = [torch.randn(2, 3, 4, 5) for _ in range(3)]
    module = nn.Identity().train()
    torch.manual_seed(0)
    dropped = attention.attend(module, *parts, None, dropout=0.5)[0]
    plain = attention.attend(module, *parts, None)[0]
    assert not torch.allclose(dropped, plain)
    torch.testing.assert_close(attention.attend(module.eval(), *parts, None, dropout=0.5)[0], plain)


def test_saved_models_do_not_know_of_it(tmp_path):
    model = toys.model("bert")
    training.choose_attention(model, "bfloat16", 64)
    assert model.config._attn_implementation == (attention.NAME if training.device().type == "cpu" else "sdpa")
    models.save(model, toys.tokenizer("bert"), tmp_path / "model", "")
    assert attention.NAME not in (tmp_path / "model" / "config.json").read_text()
    assert models.load(tmp_path / "model")[0].config._attn_implementation == "sdpa"
