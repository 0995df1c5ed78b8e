"""How the cost of one distillation step grows with each size."""

import torch
from transformers import AutoConfig

from benchmarks import cases, measuring
from lib.model import device, encoder
from lib.train import losses


def growth(size: str) -> dict:
    """Seconds of a distillation step, and of its products at the measured rate of matrices."""
    base = {"tokens": 512, "vocab_size": 30_000, "hidden_size": 384, "num_hidden_layers": 6}
    if size == "toy":
        base = {"tokens": 64, "vocab_size": 500, "hidden_size": 24, "num_hidden_layers": 2}
    config = AutoConfig.for_model("bert", hidden_size=base["hidden_size"])
    mixed = device.in_bfloat16(config)
    rates = {
        kind: _rate(kind, 96 if size == "toy" else 2048) for kind in (torch.float32, torch.bfloat16)
    }
    points = []
    for axis, value in [
        (axis, int(value * factor)) for axis, value in base.items() for factor in (0.5, 1, 2, 4)
    ]:
        entry = base | {axis: value}
        points.append({"axis": axis, "value": value, **_growth_point(entry, rates, mixed)})
    return {
        "base": base,
        "rates_gflops": {str(kind).split(".")[1]: rate / 1e9 for kind, rate in rates.items()},
        "bfloat16": mixed,
        "points": points,
    }


def _growth_point(entry, rates, mixed) -> dict:
    n, v, h, layers = (
        entry[name] for name in ("tokens", "vocab_size", "hidden_size", "num_hidden_layers")
    )
    config = AutoConfig.for_model(
        "bert",
        vocab_size=v,
        hidden_size=h,
        num_hidden_layers=layers,
        num_attention_heads=12,
        intermediate_size=4 * h,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    place = device.device()
    whole = encoder.new(config, 1).to(place)
    small = encoder.take(whole.cpu(), layers=range(layers // 2)).to(place).train()
    whole.to(place).requires_grad_(False)
    device.choose_attention(small, "auto", 64)
    ids = torch.randint(5, v, (n // 32, 32), device=place)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    direct = losses.direct_is_cheaper(n, h, h, mixed)
    form = losses.logit_mse_direct if direct else losses.logit_mse
    gram = None if direct else encoder.readout(whole)[0].T @ encoder.readout(whole)[0]

    def step():
        with device.autocast(config):
            with torch.inference_mode():
                taught = encoder.transform(whole, encoder.hidden_states(whole, batch)).flatten(0, 1)
            given = encoder.transform(small, encoder.hidden_states(small, batch)).flatten(0, 1)
            extra = () if direct else (gram,)
            loss = form(given, taught, encoder.readout(small), encoder.readout(whole), *extra)
        loss.backward()
        small.zero_grad()

    layer = 2 * n * 12 * h * h + 4 * n * 32 * h
    passes = layer * layers + 3 * layer * (layers // 2)
    loss = 8 * n * v * h if direct else 8 * v * h * h
    fast = rates[torch.bfloat16 if mixed else torch.float32]
    ideal = passes / fast + loss / (fast if direct else rates[torch.float32])
    return {
        "seconds": measuring.median(step, cases.REPEATS),
        "ideal_seconds": ideal,
        "gflop": (passes + loss) / 1e9,
        "gram_form": not direct,
    }


def _rate(kind, width: int) -> float:
    """Multiplications and additions a second of one square matrix product."""
    left, right = (torch.randn(width, width, device=device.device()).to(kind) for _ in range(2))
    return 2 * width**3 / measuring.median(lambda: left @ right, 5)
