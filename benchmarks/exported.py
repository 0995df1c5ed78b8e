"""The finished model where it is used: torch and ONNX Runtime, 32 and 8 bits, side by side.

Each model is in a process of its own. They are asked by turns, so that a machine that does other
work too slows down all of them alike.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import AutoConfig

from lib import files
from lib.export import graph, traced
from lib.model import encoder

SIZES = {  # multilingual-e5-small and a finished student; toy is for the tests
    "full": {
        "teacher": (12, 384, 1536, 250_037),
        "student": (6, 156, 1024, 40_000),
        "shapes": ((1, 16), (1, 128), (32, 16), (32, 128)),
        "repeats": {1: 40, 32: 5},
    },
    "toy": {
        "teacher": (2, 48, 96, 900),
        "student": (1, 24, 48, 300),
        "shapes": ((1, 16), (2, 16)),
        "repeats": {1: 3, 2: 2},
    },
}
STARTS = 5


def exported(size: str, threads: int) -> dict:
    """Bytes, start and peak memory of each form of each model, and milliseconds of each shape.

    `start_ms` is the median time from a new process to its first answer, `load_ms` that from the
    file to the answer, without the imports. `milliseconds` has the median and the minimum of each
    shape, rows x tokens. `peak_mb` is measured after single texts, without batches.
    """
    with tempfile.TemporaryDirectory() as folder:
        forms = _write(Path(folder), size)
        result = {name: _starts(file, threads) for name, file in forms.items()}
        for name, found in _asked(forms, size, threads).items():
            result[name] |= found
    return {"threads": threads, "forms": result}


def _write(folder: Path, size: str) -> dict:
    """Name -> the file or the folder of each form, with random weights.

    `plain int8` is what torch and ONNX Runtime make without this project's graph.
    """
    forms = {}
    for name in ("teacher", "student"):
        layers, hidden, inside, vocabulary = SIZES[size][name]
        config = AutoConfig.for_model(
            "bert",
            num_hidden_layers=layers,
            hidden_size=hidden,
            intermediate_size=inside,
            vocab_size=vocabulary,
            num_attention_heads=12,
        )
        model = encoder.new(config, 1).base_model
        place = folder / name
        model.save_pretrained(place)
        forms[f"{name} torch"] = place
        ids = torch.randint(9, 99, (4, 32), generator=torch.Generator().manual_seed(1))
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        peaks = graph.measure_peaks(model, [batch])
        for kind, given in {"float32": None, "int8": peaks}.items():
            forms[f"{name} {kind}"] = file = place / f"{kind}.onnx"
            file.write_bytes(graph.build(model, given).SerializeToString())
        forms[f"{name} plain int8"] = file = place / "plain.onnx"
        traced.write(model, "hidden", batch, place / "whole.onnx", file)
    return forms


def _open(file: Path, threads: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.answering", str(file), str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=files.ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(files.ROOT)},
    )


def _ask(process: subprocess.Popen, line: str) -> float:
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def _starts(file: Path, threads: int) -> dict:
    """Bytes of the weights, and the times of a start."""
    whole, loading = [], []
    for _ in range(STARTS):
        began = time.perf_counter()
        with _open(file, threads) as process:
            loading.append(float(process.stdout.readline()))
            whole.append(1000 * (time.perf_counter() - began))
            process.stdin.close()
    weights = file / "model.safetensors" if file.is_dir() else file
    return {
        "bytes": weights.stat().st_size,
        "start_ms": statistics.median(whole),
        "load_ms": statistics.median(loading),
    }


def _asked(forms: dict, size: str, threads: int) -> dict:
    """Milliseconds of each shape and the peak memory, of all forms by turns."""
    processes = {name: _open(file, threads) for name, file in forms.items()}
    result = {name: {"milliseconds": {}} for name in forms}
    try:
        for process in processes.values():
            process.stdout.readline()
        for rows, tokens in SIZES[size]["shapes"]:
            times = {name: [] for name in forms}
            for _ in range(SIZES[size]["repeats"][rows] + 1):
                for name, process in processes.items():
                    times[name].append(_ask(process, f"{rows} {tokens}"))
            for name, process in processes.items():
                taken = times[name][1:]
                shape = {"median": statistics.median(taken), "minimum": min(taken)}
                result[name]["milliseconds"][f"{rows} x {tokens}"] = shape
                if rows == 1:
                    result[name]["peak_mb"] = _ask(process, "peak")
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    return result
