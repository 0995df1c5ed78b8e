"""The cases. Each runs in a process of its own and returns a dict of numbers."""

import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import torch

from benchmarks import inputs, measuring, peer
from lib.measure import mlm, perplexity
from lib.model import device, encoder, ffn, mlm_head, vocabulary
from lib.train import distillation, losses

REPEATS = 3
SETTINGS = {
    "distillation_loss": "mse",
    "mlm_weight": 0.5,
    "all_positions": False,
}


def equality(family: str, size: str) -> dict:
    """The same loss on the same masks: ours against all logits in float32."""
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
                mlm_head.transform(model, encoder.hidden_states(model, batch)[where])
                for model in (small, whole)
            ]
            readouts = mlm_head.readout(small), mlm_head.readout(whole)
            result[name] = [
                value,
                *(
                    form(*given, *readouts).item()
                    for form in (losses.logit_mse, losses.logit_mse_direct)
                ),
            ]
    return {
        "values": result,
        "greatest_relative_difference": max(
            abs(found / values[0] - 1) for values in result.values() for found in values[1:]
        ),
    }


def distil_paper(family: str, size: str, text: str) -> dict:
    """Seconds and real tokens of one optimizer step (2 x 4 texts) of the paper's procedure."""
    own, whole, small = _pair(family, size)
    batches = [_here(batch) for batch in inputs.batches(own, size, 4, text == "full", whole=True)]
    needed = 4 + 7 * 4 * batches[0]["input_ids"].numel() * len(own) / 2**30
    if needed > measuring.free():
        return {"skipped": f"needs about {needed:.0f} GB of memory"}
    optimizer = _optimizer(small)

    def step():
        _step(small, optimizer, lambda batch: peer.losses(small, whole, batch), batches[:2])

    return measuring.speed(step, batches[:2], 1 if family == "xlm-roberta" else 2)


def distil_ours(
    family: str, size: str, text: str, trim_first: bool = False, precision: str = "auto"
) -> dict:
    """Seconds and real tokens of one optimizer step of 8 texts."""
    own, whole, small = _pair(family, size)
    if trim_first:
        kept = inputs.trimmed(own, size)
        own = vocabulary.trim_tokenizer(own, kept)
        whole, small = vocabulary.cut(whole, kept), vocabulary.cut(small, kept)
    rows, length, forms = 4 if text == "full" else 8, inputs.SIZES[size]["length"], []
    batches = [_here(batch) for batch in inputs.batches(own, size, rows, text == "full")]
    steps = [batches[:2], batches[2:]] if text == "full" else [[batch] for batch in batches]
    device.choose_attention(small, precision, length)
    optimizer = _optimizer(small)
    distillation_loss, turn = distillation.DistillationLoss(whole, SETTINGS), cycle(steps)

    def loss(batch):
        with device.autocast(small.config, precision):
            terms = distillation_loss(small, batch)
        forms.append(terms["gram_form"])
        return terms["loss"]

    result = measuring.speed(
        lambda: _step(small, optimizer, loss, next(turn)), batches, len(steps), len(steps[0])
    )
    bfloat16 = device.in_bfloat16(small.config, precision)
    return result | {"gram_form": torch.stack(forms).mean().item(), "bfloat16": bfloat16}


def _optimizer(model) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.train().parameters(), lr=5e-5, fused=True)


def _step(model, optimizer, loss, batches: list[dict]) -> None:
    """One optimizer step on the mean of `loss(batch)`, with clipped gradients."""
    for batch in batches:
        (loss(batch) / len(batches)).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def importance_both(family: str, size: str) -> dict:
    """Seconds a sentence of the importance of all neurons; compared on one batch, padded or not."""
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
            measuring.median(lambda loss=loss: ffn.importance(small, [tight], loss), REPEATS) / 8
        )
        if precision == "float32":
            gap = ((found - wanted).norm() / wanted.norm()).item()
    return {"seconds": result, "relative_difference": gap, "peak_gib": measuring.peak()}


def perplexity_both(family: str, size: str) -> dict:
    """Seconds and value of the pseudo-perplexity of both; ours in float32 and as `auto` chooses."""
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
        "peak_gib": measuring.peak(),
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
        "tokens": [len(own), len(kept)],
        "peak_gib": measuring.peak(),
    }


def inference(family: str, size: str, step: int, threads: int) -> dict:
    """Speed of the encoder of one step's model in float32, on 1 and 32 texts of 128 tokens."""
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
            seconds = measuring.median(
                lambda batch=batch: encoder.hidden_states(model, batch),
                10 if rows == 1 else REPEATS,
            )
        result[f"batch_{rows}"] = {
            "milliseconds": 1000 * seconds,
            "tokens_per_second": rows * length / seconds,
        }
    return result | {"parameters": model.num_parameters(), "peak_gib": measuring.peak()}


def _pair(family: str, size: str):
    own = inputs.tokenizer(family, size)
    whole = inputs.teacher(family, size, own)
    small = inputs.student(whole, size)
    return own, whole.to(device.device()).eval(), small.to(device.device()).eval()


def _here(batch: dict) -> dict:
    return {name: tensor.to(device.device()) for name, tensor in batch.items()}
