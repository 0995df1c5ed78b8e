"""The cases. Each runs in a process of its own and gives a flat dict of numbers; `benchmarks.__main__` collects them."""

import contextlib
import resource
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch

from benchmarks import inputs, peer
from lib.measure import mlm, perplexity
from lib.model import device, encoder, ffn, vocabulary
from lib.train import distillation

REPEATS = 3
SETTINGS = {
    "steps": 1000,
    "accumulation": 1,
    "learning_rate": 5e-5,
    "distillation_loss": "mse",
    "mlm_weight": 0.5,
    "temperature": 2.0,
    "all_positions": False,
}


def equality(family: str, size: str) -> dict:
    """The same loss on the same masks: ours against all logits in float32, over all positions and without padding."""
    own, whole, small = _pair(family, size)
    batch = _here(inputs.batches(own, size, 1, whole=True, count=1)[0])
    with torch.no_grad():
        gap = (
            small(**batch).logits
            - whole(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        )
        each, real = gap.square().mean(-1), batch["attention_mask"].bool()
        wanted = {"all positions": each.mean().item(), "without padding": each[real].mean().item()}
        del gap
        result = {"mlm": [small(**batch).loss.item(), mlm.mlm_loss(small, batch).item()]}
        for name, value in wanted.items():
            where = torch.ones_like(real) if name == "all positions" else real
            given = [
                encoder.transform(model, encoder.hidden_states(model, batch)[where])
                for model in (small, whole)
            ]
            readouts = encoder.readout(small), encoder.readout(whole)
            result[name] = [
                value,
                *(
                    form(*given, *readouts).item()
                    for form in (distillation.logit_mse, distillation.logit_mse_direct)
                ),
            ]
    return {
        "values": result,
        "greatest_relative_difference": max(
            abs(found / values[0] - 1) for values in result.values() for found in values[1:]
        ),
    }


def distil_paper(family: str, size: str, text: str) -> dict:
    """Seconds and real tokens of one optimizer step (2 batches of 4 texts) of the paper's procedure."""
    own, whole, small = _pair(family, size)
    batches = [_here(batch) for batch in inputs.batches(own, size, 4, text == "full", whole=True)]
    needed = 7 * 4 * batches[0]["input_ids"].numel() * len(own) / 2**30
    if needed + 4 > _free():
        return {"skipped": f"needs about {needed + 4:.0f} GB of memory"}
    optimizer = torch.optim.AdamW(small.parameters(), lr=5e-5, fused=True)

    def step():
        for batch in batches[:2]:
            (peer.losses(small, whole, batch) / 2).backward()
        torch.nn.utils.clip_grad_norm_(small.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    small.train()
    whole.eval()
    return _speed(step, batches[:2], 1 if family == "xlm-roberta" else 2)


def distil_ours(
    family: str, size: str, text: str, trim_first: bool = False, precision: str = "auto"
) -> dict:
    """Seconds and real tokens of one optimizer step of 8 texts."""
    own, whole, small = _pair(family, size)
    if trim_first:
        kept = inputs.trimmed(own, size)
        own = vocabulary.trim_tokenizer(own, kept)
        whole, small = vocabulary.cut(whole, kept), vocabulary.cut(small, kept)
    settings = SETTINGS | {
        "batch_size": 8,
        "max_length": inputs.SIZES[size]["length"],
        "precision": precision,
    }
    with tempfile.TemporaryDirectory() as folder:
        trainer = distillation.DistillationTrainer(
            small,
            whole,
            own,
            list(inputs.text()[:400]),
            list(inputs.text()[:8]),
            settings,
            1,
            Path(folder),
            "benchmark",
        )
    batches = [
        _here(batch)
        for batch in inputs.batches(own, size, 4 if text == "full" else 8, text == "full")
    ]
    optimizer, model = trainer.create_optimizer(), trainer.model
    parts = [batches[:2], batches[2:]] if text == "full" else [[batch] for batch in batches]
    turn = iter(parts * 20)

    def step():
        some = next(turn)
        for batch in some:
            (trainer.compute_loss(model, batch) / len(some)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    model.train()
    result = _speed(step, batches, len(parts), per_step=len(parts[0]))
    total, number = trainer.parts["gram_form"]
    return result | {
        "gram_form": total / number,
        "bfloat16": device.in_bfloat16(model.config, precision),
    }


def importance_both(family: str, size: str) -> dict:
    """Seconds a sentence of the importance of all neurons of the student, batches of 8: ours in float32 and as `auto` chooses.

    Both are compared on one batch, padded or not.
    """
    own, _, small = _pair(family, size)
    padded, tight = (
        _here(inputs.batches(own, size, 8, whole=whole, count=1)[0]) for whole in (True, False)
    )
    inside = tight["labels"].shape[1]
    same = padded | {
        "labels": torch.full_like(padded["labels"], -100),
        "input_ids": padded["input_ids"].clone(),
    }
    same["labels"][:, :inside], same["input_ids"][:, :inside] = tight["labels"], tight["input_ids"]
    began = time.perf_counter()
    wanted = peer.importance(small, [same])
    result = {"paper": (time.perf_counter() - began) / 8}
    small.zero_grad()
    for precision in ("float32", "auto"):

        def loss(model, batch, precision=precision):
            with device.autocast(model.config, precision):
                return mlm.mlm_loss(model, batch)

        found = ffn.importance(small, [tight], loss)
        result[precision] = (
            _median(lambda loss=loss: ffn.importance(small, [tight], loss), REPEATS) / 8
        )
        if precision == "float32":
            gap = ((found - wanted).norm() / wanted.norm()).item()
    return {"seconds": result, "relative_difference": gap, "peak_gib": _peak()}


def perplexity_both(family: str, size: str) -> dict:
    """Tokens a second of the pseudo-perplexity of both, values first; ours in float32 and as `auto` chooses."""
    own = inputs.tokenizer(family, size)
    model = inputs.teacher(family, size, own).to(device.device()).eval()
    lengths = {each: len(own(each)["input_ids"]) for each in inputs.text()[:300]}
    texts = sorted(
        (each for each, length in lengths.items() if length <= inputs.SIZES[size]["length"]),
        key=lengths.get,
    )
    texts = texts[len(texts) // 2 - 2 : len(texts) // 2 + 2]  # of middling length
    began = time.perf_counter()
    value = peer.pseudo_perplexity(model, own, texts)
    result = {"paper": {"value": value, "seconds": time.perf_counter() - began}}
    for precision in ("float32", "auto"):
        perplexity.pseudo_perplexity(model, own, texts[:1], precision=precision)
        began = time.perf_counter()
        found = perplexity.pseudo_perplexity(model, own, texts, precision=precision)
        result[precision] = {
            "value": found["pseudo_perplexity"],
            "seconds": time.perf_counter() - began,
        }
    result["tokens"] = found["tokens"]
    return {
        "measured": result,
        "relative_difference": abs(result["float32"]["value"] / value - 1),
        "peak_gib": _peak(),
    }


def trimming(family: str, size: str) -> dict:
    """MB a second of counting in both ways, the same counts first; seconds of the cut itself."""
    own = inputs.tokenizer(family, size)
    lines = list(inputs.text())
    some, result = (
        lines[:: max(1, len(lines) // 4000)],
        {"megabytes": sum(len(line.encode()) for line in lines) / 1e6},
    )
    part = sum(len(line.encode()) for line in some) / 1e6
    for counting in ("count", "documents"):
        began = time.perf_counter()
        wanted = peer.count(own, some, counting)
        theirs = time.perf_counter() - began
        found = vocabulary.count(own, some, counting)
        same = found.sum() == sum(wanted.values()) and all(
            found[number] == often for number, often in wanted.items()
        )
        began = time.perf_counter()
        counts = vocabulary.count(own, lines, counting)
        result[counting] = {
            "paper_mb_per_second": part / theirs,
            "mb_per_second": result["megabytes"] / (time.perf_counter() - began),
            "equal": bool(same),
        }
    began = time.perf_counter()
    always = vocabulary.single_characters(own, lines)
    result["single_characters_seconds"] = time.perf_counter() - began
    model = inputs.teacher(family, size, own)
    began = time.perf_counter()
    kept = vocabulary.choose(counts, own, max(inputs.SIZES[size]["kept"], len(always)), always)
    vocabulary.trim_tokenizer(own, kept)
    middle = time.perf_counter()
    vocabulary.cut(model, kept)
    return result | {
        "tokenizer_seconds": middle - began,
        "model_seconds": time.perf_counter() - middle,
        "pieces": [len(own), len(kept)],
        "peak_gib": _peak(),
    }


def inference(family: str, size: str, step: int, threads: int) -> dict:
    """Milliseconds and tokens a second of the encoder of one step's model, 1 and 32 texts of 128 tokens, float32; file size, memory."""
    torch.set_num_threads(threads)
    own = inputs.tokenizer(family, size)
    made = inputs.steps(inputs.teacher(family, size, own), own, size)
    name, model = next(islice(made, step, None))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        megabytes = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        model = type(model).from_pretrained(folder).to(device.device()).eval()
    length, result = (
        min(128, inputs.SIZES[size]["length"]),
        {"model": name, "threads": threads, "file_mb": megabytes},
    )
    for rows in (1, 32):
        ids = torch.randint(10, model.config.vocab_size, (rows, length), device=model.device)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.inference_mode():
            seconds = _median(
                lambda batch=batch: encoder.hidden_states(model, batch),
                10 if rows == 1 else REPEATS,
            )
        result[f"batch_{rows}"] = {
            "milliseconds": 1000 * seconds,
            "tokens_per_second": rows * length / seconds,
        }
    return result | {"parameters": model.num_parameters(), "peak_gib": _peak()}


def growth(size: str) -> dict:
    """Seconds of one distillation step around one point, and of its products at the measured matrix rate."""
    base = {"tokens": 512, "vocab_size": 30_000, "hidden_size": 384, "num_hidden_layers": 6}
    if size == "toy":
        base = {"tokens": 64, "vocab_size": 500, "hidden_size": 24, "num_hidden_layers": 2}
    from transformers import AutoConfig

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
    from transformers import AutoConfig

    n, v, h, layers_ = (
        entry[name] for name in ("tokens", "vocab_size", "hidden_size", "num_hidden_layers")
    )
    config = AutoConfig.for_model(
        "bert",
        vocab_size=v,
        hidden_size=h,
        num_hidden_layers=layers_,
        num_attention_heads=12,
        intermediate_size=4 * h,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    place = device.device()
    whole = encoder.new(config, 1).to(place)
    small = encoder.take(whole.cpu(), layers=range(layers_ // 2)).to(place).train()
    whole.to(place).requires_grad_(False)
    device.choose_attention(small, "auto", 64)
    ids = torch.randint(5, v, (n // 32, 32), device=place)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    direct = distillation.direct_is_cheaper(n, h, h, mixed)
    form = distillation.logit_mse_direct if direct else distillation.logit_mse
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
    passes = layer * layers_ + 3 * layer * (layers_ // 2)
    loss = 8 * n * v * h if direct else 8 * v * h * h
    fast = rates[torch.bfloat16 if mixed else torch.float32]
    ideal = passes / fast + loss / (fast if direct else rates[torch.float32])
    return {
        "seconds": _median(step, REPEATS),
        "ideal_seconds": ideal,
        "gflop": (passes + loss) / 1e9,
        "gram_form": not direct,
    }


def _pair(family: str, size: str):
    own = inputs.tokenizer(family, size)
    whole = inputs.teacher(family, size, own)
    small = inputs.student(whole, size)
    return own, whole.to(device.device()).eval(), small.to(device.device()).eval()


def _here(batch: dict) -> dict:
    return {name: tensor.to(device.device()) for name, tensor in batch.items()}


def _speed(step, batches: list[dict], repeats: int, per_step: int | None = None) -> dict:
    """Real tokens a second of `step`, which reads `per_step` of the batches (all when not given), after one step to warm up."""
    real = sum(batch["attention_mask"].sum().item() for batch in batches)
    laid = sum(batch["attention_mask"].numel() for batch in batches)
    steps = len(batches) / (per_step or len(batches))
    _forget_peak()
    seconds = _median(step, repeats)
    return {
        "seconds": seconds,
        "real_tokens": real / steps,
        "real_tokens_per_second": real / steps / seconds,
        "padding": 1 - real / laid,
        "peak_gib": _peak(),
    }


def _median(function, repeats: int) -> float:
    """Median seconds of a call, after one that is not counted."""
    found = []
    for _ in range(repeats + 1):
        _wait()
        began = time.perf_counter()
        function()
        _wait()
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])


def _rate(kind, width: int) -> float:
    """Multiplications and additions a second of one square matrix product."""
    left, right = (torch.randn(width, width, device=device.device()).to(kind) for _ in range(2))
    return 2 * width**3 / _median(lambda: left @ right, 5)


def _wait() -> None:
    if device.device().type == "cuda":
        torch.cuda.synchronize()


def _peak() -> float:
    """Greatest memory used so far, or since `_forget_peak`, GiB: of the GPU where there is one, else of this process."""
    if device.device().type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    if sys.platform == "linux":
        return (
            int(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0])
            / 2**20
        )
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024)
        / 2**30
    )


def _forget_peak() -> None:
    """Begin to measure the greatest memory anew, where the system can."""
    if device.device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _free() -> float:
    """GiB that can still be had."""
    if device.device().type == "cuda":
        return torch.cuda.mem_get_info()[0] / 2**30
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return float("inf")
    return int(meminfo.read_text().split("MemAvailable:")[1].split()[0]) / 2**20
