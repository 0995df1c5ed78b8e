"""Kill a study again and again, start it again each time, and compare the result with a whole run.

    python tests/soak.py                           50 kills of a toy study, minutes
    python tests/soak.py --study demo --kills 50 --within 60    the demo itself, killed more often
    python tests/soak.py --snakemake               through Snakemake instead of lib.study

SIGKILL comes at random moments, every other time as soon as a file or folder is being written. The
moments lie within the first six tenths of the study's time, or within the seconds of `--within`. A
study that ends before all kills are spent is begun anew; this is a round. At the end of each round,
the records (without their section `made`) and every file of the models are compared with those of
an undisturbed study. Nothing but empty lock files may be left beside them. The exit status is 1 if
anything differs.
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
from toy_study import STUDY

ROOT = Path(__file__).resolve().parent.parent
TOY = STUDY | {
    "pairs": [{"teacher": "toy-bert", "languages": ["mlt"]}],
    "seeds": {"chain": 1, "tasks": [1]},
    "score": ["vocabulary"],
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
    """The words that start a study."""
    if not snakemake:
        return [sys.executable, "-m", "lib.study", "make", study]
    config = ["--config", f"study={study}", "threads=1"]
    return [sys.executable, "-m", "snakemake", "--cores", "2", *config]


def environment(data: Path, params: Path) -> dict[str, str]:
    """The environment of a study that lies in `data`."""
    return os.environ | {
        "STUDY_DATA": str(data),
        "STUDY_PARAMS": str(params),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "TOKENIZERS_PARALLELISM": "false",
    }


def start(words: list[str], data: Path, params: Path) -> subprocess.Popen:
    """A process in a group of its own, which writes what it prints beside the folder `data`."""
    with open(data.with_suffix(".log"), "a") as log:
        return subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment(data, params),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def made(data: Path) -> dict[str, object]:
    """Path -> lasting part of each record, and checksum of each file of the models."""
    from lib.study import records

    result = {
        str(file.relative_to(data)): records.lasting(json.loads(file.read_text(encoding="utf-8")))
        for file in sorted((data / "runs").glob("*/*.json"))
    }
    return result | {
        str(file.relative_to(data)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted((data / "models").glob("[!.]*/*"))
        if file.is_file()
    }


def leftovers(data: Path) -> list[str]:
    """Parts, former folders and checkpoints: no finished study holds any of them."""
    return [
        str(path.relative_to(data))
        for path in data.rglob(".*")
        if path.name.endswith((".part", ".old", ".checkpoints"))
    ]


def soak(kills: int, folder: Path, study="toy", snakemake=False, seed=0, within=0.0) -> list[dict]:
    """One row a round: kills, seconds, files compared, what differs and what is left over.

    The first row is the undisturbed study. A kill comes at most `within` seconds after a start; 0
    takes six tenths of the undisturbed study's.
    """
    chance, words = random.Random(seed), command(study, snakemake)
    params = toy_params(folder / "params") if study == "toy" else ROOT / "params"
    rows: list[dict] = []
    whole: dict[str, object] = {}
    spent = 0
    while not rows or spent < kills:
        data, begun = folder / f"round{len(rows)}", time.monotonic()
        data.mkdir()
        limit = kills - spent if rows else 0
        longest = within or (0.6 * rows[0]["seconds"] if rows else 0)
        moments = [chance.uniform(longest / 6, longest) for _ in range(limit)]
        here = finish(words, data, params, moments)
        now = made(data)
        whole = whole or now
        spent += here
        row = {
            "round": len(rows),
            "kills": here,
            "seconds": time.monotonic() - begun,
            "compared": len(now),
            "different": sorted(
                key for key in whole.keys() | now.keys() if whole.get(key) != now.get(key)
            ),
            "left": leftovers(data),
        }
        rows.append(row)
        print_row(row)
    return rows


def finish(words: list[str], data: Path, params: Path, moments: list[float]) -> int:
    """Start a study until it ends well; each start is killed after its moment. Returns the kills.

    Every other kill waits for a moment when a file or folder is being written.
    """
    for number, moment in enumerate(moments):
        running = start(words, data, params)
        if not killed(running, moment, data if number % 2 else None):
            break
    else:
        number, running = len(moments), start(words, data, params)
    if running.wait():
        sys.exit(f"a start that was not killed failed; see {data.with_suffix('.log')}")
    return number


def killed(running: subprocess.Popen, after: float, writing: Path | None) -> bool:
    """Kill the process and its group after some seconds; whether it still ran.

    With `writing`, the kill comes at the next moment when something there is half-written.
    """
    until = time.monotonic() + after
    while time.monotonic() < until or (writing and not half_written(writing)):
        if running.poll() is not None:
            return False
        time.sleep(0.002 if writing else 0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    return True


def half_written(data: Path) -> bool:
    """Whether a part or a checkpoint lies in the folder."""
    return any(
        name.endswith(".part") or name.startswith("checkpoint-")
        for folder in ("models", "runs")
        for _, folders, files in os.walk(data / folder)
        for name in (*folders, *files)
    )


def print_row(row: dict) -> None:
    """Print a row of the table."""
    values = [row["round"], row["kills"], round(row["seconds"]), row["compared"]]
    values += [", ".join(row[key]) or "nothing" for key in ("different", "left")]
    print(f"| {' | '.join(map(str, values))} |", flush=True)


def main() -> None:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--study", default="toy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snakemake", action="store_true")
    parser.add_argument("--within", type=float, default=0.0, metavar="SECONDS")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    print("| round | kills | seconds | files compared | different | left over |")
    print("|--:|--:|--:|--:|---|---|")
    rows = soak(asked.kills, folder, asked.study, asked.snakemake, asked.seed, asked.within)
    bad = [row for row in rows if row["different"] or row["left"]]
    kills = sum(row["kills"] for row in rows)
    print(f"{kills} kills in {len(rows) - 1} rounds; {len(bad)} rounds differ from the first")
    if bad:
        sys.exit(f"the files of all rounds are in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
