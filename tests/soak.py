"""Kill a study again and again, start it again each time, and compare what it leaves with an undisturbed run.

    python tests/soak.py                           50 kills of a toy study, minutes
    python tests/soak.py --study demo --kills 20   the demo itself
    python tests/soak.py --snakemake               through Snakemake instead of lib.plan

SIGKILL comes at random moments, every other time as soon as a file or folder is being written. A study that ends before all kills
are spent is begun anew. At the end of each round its records (without their section `made`) and every file of its models are compared
with the undisturbed ones, and nothing but empty lock files may be left beside them. Exit status 1 if anything differs.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
MLM = {
    "steps": 24,
    "batch_size": 4,
    "accumulation": 1,
    "max_length": 16,
    "learning_rate": 0.003,
    "precision": "float32",
}
DISTIL = MLM | {
    "distillation_loss": "mse",
    "mlm_weight": 0.5,
    "temperature": 2.0,
    "all_positions": False,
}
TUNE = {
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 0.003,
    "max_length": 16,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "max_steps": 0,
    "patience": 0,
}
TOY = {
    "title": "a toy",
    "source": "sample",
    "corpus": {"train": 60, "dev": 20, "test": 20},
    "pairs": [{"teacher": "toy-bert", "languages": ["mlt"]}],
    "seeds": {"chain": 1, "tasks": [1]},
    "tasks": ["tc", "pos"],
    "score": ["vocabulary"],
    "steps": {
        "pretrain": MLM,
        "adapt": MLM | {"published": False},
        "layers": DISTIL | {"num_hidden_layers": 2, "layer_choice": "last_k"},
        "ffn": {
            "intermediate_size": 64,
            "sentences": 20,
            "batch_size": 8,
            "max_length": 16,
            "part": "train",
        },
        "hidden": DISTIL | {"hidden_size": 48, "hidden_start": "truncation"},
        "vocabulary": {"kept_tokens": 300, "counting": "documents"},
    },
    "finetune": {
        "method": "adapter",
        "reduction_factor": 4,
        "adapter_input": "ffn",
        "first_subword": True,
        "train_limit": 24,
        "precision": "float32",
        "sequence": TUNE,
        "token": TUNE,
    },
}


def toy_params(folder: Path) -> Path:
    """A params folder with one study, `toy`, whose teacher learns from a few hundred sentences."""
    shutil.copytree(ROOT / "params", folder)
    shutil.rmtree(folder / "studies")
    (folder / "studies").mkdir()
    (folder / "studies" / "toy.yaml").write_text(json.dumps(TOY), encoding="utf-8")
    models = yaml.safe_load((folder / "models.yaml").read_text(encoding="utf-8"))
    models["toy-bert"]["text"] = {"mlt": 200, "slk": 100}
    models["toy-bert"]["configuration"] |= {"vocab_size": 600}
    (folder / "models.yaml").write_text(json.dumps(models), encoding="utf-8")
    return folder


def command(study: str, snakemake: bool) -> list[str]:
    if snakemake:
        return [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            "2",
            "--config",
            f"study={study}",
            "threads=1",
        ]
    return [sys.executable, "-m", "lib.plan", "make", study]


def start(words: list[str], data: Path, params: Path) -> subprocess.Popen:
    environment = os.environ | {
        "STUDY_DATA": str(data),
        "STUDY_PARAMS": str(params),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "TOKENIZERS_PARALLELISM": "false",
    }
    log = open(data.with_suffix(".log"), "a")  # noqa: SIM115  it belongs to the process
    return subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def found(data: Path) -> dict[str, object]:
    """What a study has made: its records without `made`, and a checksum of every file of its models."""
    from lib.study import records

    made = {
        str(file.relative_to(data)): records.lasting(json.loads(file.read_text(encoding="utf-8")))
        for file in sorted((data / "runs").glob("*/*.json"))
    }
    return made | {
        str(file.relative_to(data)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted((data / "models").glob("[!.]*/*"))
        if file.is_file()
    }


def leftovers(data: Path) -> list[str]:
    """Parts, former folders, checkpoints: what no finished study should hold. Lock files are empty and stay."""
    return [
        str(each.relative_to(data))
        for each in data.rglob(".*")
        if each.name.endswith((".part", ".old", ".checkpoints"))
    ]


def soak(
    kills: int,
    study: str = "toy",
    snakemake: bool = False,
    seed: int = 0,
    folder: Path | None = None,
) -> list[dict]:
    """One row a round: kills, seconds, records compared, what differs, what is left over. The first row is the undisturbed run."""
    place, chance = Path(folder or tempfile.mkdtemp(prefix="soak-")), random.Random(seed)
    params = toy_params(place / "params") if study == "toy" else ROOT / "params"
    words, begun = command(study, snakemake), time.monotonic()
    (place / "whole").mkdir()
    if start(words, place / "whole", params).wait():
        sys.exit(f"the undisturbed run failed; see {place / 'whole.log'}")
    length, wanted = time.monotonic() - begun, found(place / "whole")
    rows = [
        {
            "round": 0,
            "kills": 0,
            "while writing": 0,
            "seconds": round(length),
            "compared": len(wanted),
            "different": [],
            "left": [],
        }
    ]
    spent = 0
    while spent < kills:
        data = place / f"round{len(rows)}"
        data.mkdir()
        row = {"round": len(rows), "kills": 0, "while writing": 0}
        begun = time.monotonic()
        while True:
            running = start(words, data, params)
            writing = bool(spent % 2)
            if spent < kills and killed(
                running, chance.uniform(0.1, 0.6) * length, data if writing else None
            ):
                spent, row["kills"], row["while writing"] = (
                    spent + 1,
                    row["kills"] + 1,
                    row["while writing"] + writing,
                )
                continue
            if running.wait():
                sys.exit(f"a run that was not killed failed; see {data.with_suffix('.log')}")
            break
        now = found(data)
        rows.append(
            row
            | {
                "seconds": round(time.monotonic() - begun),
                "compared": len(now),
                "left": leftovers(data),
                "different": sorted(
                    key for key in wanted.keys() | now.keys() if wanted.get(key) != now.get(key)
                ),
            }
        )
        print_row(rows[-1])
    if folder is None and not any(row["different"] or row["left"] for row in rows):
        shutil.rmtree(place)
    return rows


def killed(running: subprocess.Popen, after: float, writing: Path | None) -> bool:
    """Kill the process and its group after some seconds; with `writing`, then at the next moment something is half-written there."""
    until = time.monotonic() + after
    while time.monotonic() < until or (writing and not parts(writing)):
        if running.poll() is not None:
            return False
        time.sleep(0.002 if writing else 0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    return True


def parts(data: Path) -> bool:
    return any(
        name.endswith(".part") or name.startswith("checkpoint-")
        for folder in ("models", "runs")
        if (data / folder).is_dir()
        for _, folders, files in os.walk(data / folder)
        for name in (*folders, *files)
        if not name.endswith(".lock")
    )


def print_row(row: dict) -> None:
    print(
        f"| {row['round']} | {row['kills']} | {row['while writing']} | {row['seconds']} | {row['compared']} | "
        f"{', '.join(row['different']) or 'nothing'} | {', '.join(row['left']) or 'nothing'} |",
        flush=True,
    )


def main() -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(
        description="Kill a study again and again and compare what it leaves."
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--study", default="toy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snakemake", action="store_true")
    given = parser.parse_args()
    print(
        "| round | kills | while writing | seconds | files compared | different | left over |\n|--:|--:|--:|--:|--:|---|---|"
    )
    rows = soak(given.kills, given.study, given.snakemake, given.seed)
    bad = [row for row in rows if row["different"] or row["left"]]
    print(
        f"{sum(row['kills'] for row in rows)} kills in {len(rows) - 1} rounds; {len(bad)} rounds differ from the undisturbed run"
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
