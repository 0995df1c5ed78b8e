"""Seconds, speed and memory of a call."""

import contextlib
import resource
import statistics
import sys
import time
from pathlib import Path

import torch

from lib.model import device


def speed(step, batches: list[dict], repeats: int, per_step: int | None = None) -> dict:
    """Real tokens a second of `step`, which reads `per_step` of the batches (default: all)."""
    real = sum(batch["attention_mask"].sum().item() for batch in batches)
    laid = sum(batch["attention_mask"].numel() for batch in batches)
    steps = len(batches) / (per_step or len(batches))
    forget_peak()
    seconds = median(step, repeats)
    return {
        "seconds": seconds,
        "real_tokens": real / steps,
        "real_tokens_per_second": real / steps / seconds,
        "padding": 1 - real / laid,
        "peak_gib": peak(),
    }


def median(function, repeats: int) -> float:
    """Median seconds of a call, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        _wait()
        began = time.perf_counter()
        function()
        _wait()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def _wait() -> None:
    if device.device().type == "cuda":
        torch.cuda.synchronize()


def peak() -> float:
    """Peak memory in GiB so far, or since `forget_peak`, of the GPU or else of this process."""
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


def forget_peak() -> None:
    """Measure the peak memory anew from here, where the system can."""
    if device.device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def free() -> float:
    """GiB of memory that are free."""
    if device.device().type == "cuda":
        return torch.cuda.mem_get_info()[0] / 2**30
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return float("inf")
    return int(meminfo.read_text().split("MemAvailable:")[1].split()[0]) / 2**20
