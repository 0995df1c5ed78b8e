"""python -m benchmarks [--size toy] [--only NAME] [--folder FOLDER]: run every case in a process of its own, write one record.

The record is written anew after every case, so a kill loses one case. `--only` runs the cases whose name begins so and puts them in place
of those in the record there is.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from lib import files
from lib.model import device
from lib.study import records

FAMILIES = ("bert", "xlm-roberta")


def plan(size: str, threads: int) -> dict:
    """Name -> (function of benchmarks.cases, its arguments)."""
    found = {}
    for family in FAMILIES:
        given = {"family": family, "size": size}
        found[f"{family} equality"] = ("equality", given)
        found[f"{family} trimming"] = ("trimming", given)
        for text in ("sentences", "full"):
            found[f"{family} distil paper {text}"] = ("distil_paper", given | {"text": text})
            found[f"{family} distil ours {text}"] = ("distil_ours", given | {"text": text})
        found[f"{family} distil ours sentences trimmed first"] = (
            "distil_ours",
            given | {"text": "sentences", "trim_first": True},
        )
        found[f"{family} distil ours sentences float32"] = (
            "distil_ours",
            given | {"text": "sentences", "precision": "float32"},
        )
    found["bert importance"] = ("importance_both", {"family": "bert", "size": size})
    found["bert perplexity"] = ("perplexity_both", {"family": "bert", "size": size})
    for step in range(5):
        for number in sorted({1, threads}):
            found[f"bert inference {step} {number}"] = (
                "inference",
                {"family": "bert", "size": size, "step": step, "threads": number},
            )
    found["growth"] = ("growth", {"size": size})
    return found


def main() -> None:
    """Run the benchmark, or one case of it when called as `case`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", choices=("full", "toy"), default="full")
    parser.add_argument("--only", default="", help="cases whose name begins so")
    parser.add_argument("--folder", type=Path, default=files.RESULTS / "benchmark")
    parser.add_argument("--case", help="used by the benchmark itself")
    asked = parser.parse_args()
    if asked.case:
        return _case(json.loads(asked.case))
    from benchmarks import inputs

    threads, kind = int(os.environ.get("BENCH_THREADS") or os.cpu_count()), device.device().type
    file, began = asked.folder / f"{kind}.json", time.monotonic()
    about = {
        "size": asked.size,
        "device": _name(kind),
        "threads": threads,
        "inputs": inputs.where_from(),
    }
    former = (
        json.loads(file.read_text(encoding="utf-8"))
        if asked.only and file.exists()
        else about | {"results": {}, "minutes": 0}
    )
    if any(former[key] != value for key, value in about.items()):
        sys.exit(
            f"{file} was measured elsewhere or on other text; run the whole benchmark, without --only"
        )
    results = former["results"]
    for name, (function, given) in plan(asked.size, threads).items():
        if name.startswith(asked.only):
            results[name] = _run(function, given, threads)
            spent = time.monotonic() - began
            print(f"{spent:6.0f} s  {name}: {json.dumps(results[name])[:300]}", flush=True)
            minutes = round(former["minutes"] + spent / 60, 1)
            files.write_json(
                file,
                about
                | {"results": results, "minutes": minutes, "environment": records.environment()},
            )
    print(f"written: {file.name}")


def _run(function: str, given: dict, threads: int) -> dict:
    """What the case gives, or why it gave nothing."""
    count = str(given.get("threads", threads))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--case", json.dumps([function, given])],
        capture_output=True,
        text=True,
        cwd=files.ROOT,
        env=os.environ | {"OMP_NUM_THREADS": count, "PYTHONPATH": str(files.ROOT)},
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or "killed").splitlines()[-1]
        return {"failed": last if done.returncode > 0 else "killed, most likely for want of memory"}
    return json.loads(done.stdout.splitlines()[-1])


def _case(asked: list) -> None:
    from benchmarks import cases, inputs

    function, given = asked
    if given.get("family") and inputs.tokenizer(given["family"], given["size"]) is None:
        result = {
            "skipped": "mBERT's vocabulary is not in the data root (tokenizers/mbert-cased-vocab.txt)"
        }
    else:
        result = getattr(cases, function)(**given)
    print(json.dumps(result))


def _name(kind: str) -> str:
    if kind == "cuda":
        import torch

        return torch.cuda.get_device_name()
    file = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":")[1].strip()
            for line in file.read_text().splitlines()
            if line.startswith("model name")
        ]
        if file.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
