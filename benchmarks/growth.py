"""How the cost of one distillation step grows with each size."""

import torch
from transformers import AutoConfig

from benchmarks import cases, measuring
from lib.model import axes, device, encoder, mlm_head
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


def _growth_point(sizes: dict, rates: dict, mixed: bool) -> dict:
    tokens, vocab_size, hidden_size, layers = sizes.values()
    direct = losses.direct_is_cheaper(tokens, hidden_size, hidden_size, mixed)
    layer = 2 * tokens * 12 * hidden_size**2 + 4 * tokens * 32 * hidden_size
    passes = layer * layers + 3 * layer * (layers // 2)
    loss = 8 * vocab_size * hidden_size * (tokens if direct else hidden_size)
    fast = rates[torch.bfloat16 if mixed else torch.float32]
    return {
        "seconds": measuring.median(_step(sizes, direct), cases.REPEATS),
        "ideal_seconds": passes / fast + loss / (fast if direct else rates[torch.float32]),
        "gflop": (passes + loss) / 1e9,
        "gram_form": not direct,
    }


def _step(sizes: dict, direct: bool):
    """A function that makes one distillation step of models of these sizes."""
    config = AutoConfig.for_model(
        "bert",
        **{name: size for name, size in sizes.items() if name != "tokens"},
        num_attention_heads=12,
        intermediate_size=4 * sizes["hidden_size"],
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    teacher = encoder.new(config, 1)
    student = axes.take(teacher, layers=range(sizes["num_hidden_layers"] // 2))
    teacher.to(device.device()).requires_grad_(False)
    student.to(device.device()).train()
    device.choose_attention(student, "auto", 64)
    ids = torch.randint(5, sizes["vocab_size"], (sizes["tokens"] // 32, 32), device=teacher.device)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    weight = mlm_head.readout(teacher)[0]
    form, gram = losses.logit_mse_direct, ()
    if not direct:
        form, gram = losses.logit_mse, (weight.T @ weight,)

    def states(model):
        return mlm_head.transform(model, encoder.hidden_states(model, batch)).flatten(0, 1)

    def step():
        with device.autocast(config):
            with torch.inference_mode():
                taught = states(teacher)
            readouts = mlm_head.readout(student), mlm_head.readout(teacher)
            loss = form(states(student), taught, *readouts, *gram)
        loss.backward()
        student.zero_grad()

    return step


def _rate(kind, width: int) -> float:
    """Multiplications and additions a second of one square matrix product."""
    left, right = (torch.randn(width, width, device=device.device()).to(kind) for _ in range(2))
    return 2 * width**3 / measuring.median(lambda: left @ right, 5)
