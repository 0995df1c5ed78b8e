"""`python -m benchmarks [PART ...]`: run every case in a process of its own and write one record.

Killed and started again on the same commit and machine, it goes on with the next case. The
published record is replaced when all cases are done. With parts of names, such as `exported`, only
these cases are run, and the others stay as they were published.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.recipes import RECIPES
from lib import files
from lib.model import device
from lib.study import records

FAMILIES = ("bert", "xlm-roberta")


def plan(size: str, threads: int) -> dict:
    """Name -> (function of benchmarks.cases, exported or growth, its arguments)."""
    cases = {}
    for family in FAMILIES:
        toy = {"family": family, "size": size}
        ours = f"{family} distil ours"
        cases[f"{family} equality"] = ("equality", toy)
        cases[f"{family} trimming"] = ("trimming", toy)
        for text in ("sentences", "full"):
            cases[f"{family} distil paper {text}"] = ("distil_paper", toy | {"text": text})
            cases[f"{ours} {text}"] = ("distil_ours", toy | {"text": text})
        sentences = toy | {"text": "sentences"}
        cases[f"{ours} sentences trimmed first"] = ("distil_ours", sentences | {"trim_first": True})
        cases[f"{ours} sentences float32"] = ("distil_ours", sentences | {"precision": "float32"})
    bert = {"family": "bert", "size": size}
    cases["bert importance"] = ("importance_both", bert)
    cases["bert perplexity"] = ("perplexity_both", bert)
    for step in range(5):
        for number in sorted({1, threads}):
            arguments = bert | {"step": step, "threads": number}
            cases[f"bert inference {step} {number}"] = ("inference", arguments)
    for number in (1, 2):
        cases[f"exported {number}"] = ("exported", {"size": size, "threads": number})
    for name in RECIPES:
        cases[f"recipe {name}"] = ("recipe", {"size": size, "name": name, "threads": 1})
    cases["growth"] = ("growth", {"size": size})
    return cases


def main() -> None:
    """Run the benchmark, or one case of it when called with a case."""
    names = sys.argv[1:]
    if names and names[0].startswith("["):
        return _case(*json.loads(names[0]))
    from benchmarks import inputs

    threads, kind = os.cpu_count(), device.device().type
    file = files.RESULTS / "benchmark" / f"{kind}.json"
    part = files.runs() / f"benchmark-{kind}.json"
    about = {
        "size": "full",
        "device": _name(kind),
        "threads": threads,
        "inputs": inputs.where_from(),
        "environment": records.environment(),
    }
    wanted = {
        name: case
        for name, case in plan("full", threads).items()
        if not names or any(each in name for each in names)
    }
    published = json.loads(file.read_text(encoding="utf-8")) if names and file.exists() else {}
    _check(names, wanted, published, about)
    record = json.loads(part.read_text(encoding="utf-8")) if part.exists() else {}
    if not record.items() >= about.items():
        record = about | {"minutes": 0.0, "commits": {}, "results": {}}
    before, began = record["minutes"], time.monotonic()
    for name, (function, arguments) in wanted.items():
        if name not in record["results"]:
            result = record["results"][name] = _run(function, arguments, threads)
            record["minutes"] = round(before + (time.monotonic() - began) / 60, 1)
            record["commits"][name] = about["environment"]["commit"]
            files.write_json(part, record)
            print(f"{record['minutes']:6.1f} min  {name}: {json.dumps(result)[:300]}", flush=True)
    record["minutes"] += published.get("minutes", 0)
    for section in ("commits", "results"):
        record[section] = published.get(section, {}) | record[section]
    files.write_json(file, record)
    part.unlink()
    print(f"written: {file.name}")


def _check(names: list[str], wanted: dict, published: dict, about: dict) -> None:
    """End with one sentence if no case has such a name, or if the published record, which new
    cases would join, was made on another machine or with other versions.
    """
    if not wanted:
        sys.exit(
            f"no case has {' or '.join(names)} in its name; run `python -m benchmarks` for all"
        )
    if not published:
        return
    own, now = published["environment"], about["environment"]
    other = [name for name in ("device", "threads", "inputs") if published[name] != about[name]]
    other += [name for name in now if name != "commit" and own.get(name) != now[name]]
    if other:
        sys.exit(
            f"the published record was made with another {', '.join(dict.fromkeys(other))}; run "
            "`make bench`, which measures all cases anew"
        )


def _run(function: str, arguments: dict, threads: int) -> dict:
    """The result of a case, or the reason why there is none."""
    count = str(arguments.get("threads", threads))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", json.dumps([function, arguments])],
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


def _case(function: str, arguments: dict) -> None:
    from benchmarks import cases, exported, growth, inputs, recipes

    family, size = arguments.get("family"), arguments["size"]
    if family and inputs.tokenizer(family, size) is None:
        missing = "mBERT's vocabulary is not in the data root (tokenizers/mbert-cased-vocab.txt)"
        result = {"skipped": missing}
    else:
        rooms = {"growth": growth, "exported": exported, "recipe": recipes}
        room = rooms.get(function, cases)
        result = getattr(room, function)(**arguments)
    print(json.dumps(result))


def _name(kind: str) -> str:
    if kind == "cuda":
        import torch

        return torch.cuda.get_device_name()
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
