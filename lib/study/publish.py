"""The finished records of a study in one file, and their scores in a table, for figures."""

import csv
import io
from pathlib import Path

from lib import files
from lib.errors import StudyError
from lib.facts import fact
from lib.study import answers, plan, records, state, steps

SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
COLUMNS = (
    *("id", "study", "language", "teacher", "step", "what", "metric", "seed"),
    *("score", "low", "high", "parameters", "compression_rate", *SIZES, "changed"),
)
_MEASURES = {"perplexity": "bits_per_character"}  # the score of a run that trains no task


def collect(study: str, partial: bool = False) -> list[dict]:
    """The records of all runs of a study; `paired` holds the paired comparisons of a task run.

    A stale record counts as missing; one whose model is gone does not. StudyError names what is
    missing, unless `partial` accepts the records that are there; there must be one.
    """
    runs, known = plan.runs(study), {}
    done = [run for run in runs if run.record.exists() and not state.outdated(run, known)]
    if len(done) < len(runs) and not (partial and done):
        missing = next(run for run in runs if run not in done)
        raise StudyError(
            f"the study {study!r} is not finished: {len(runs) - len(done)} of {len(runs)} runs "
            f"are missing, such as {missing.id}; run `make study STUDY={study}`"
        )
    found = []
    for run in done:
        paired = answers.paired(run)
        found.append(records.read(run) | ({"paired": paired} if paired else {}))
    return found


def write(study: str, folder: Path, found: list[dict]) -> None:
    """Write records to <folder>/<study>.jsonl and their scores to <folder>/<study>.csv."""
    records.write_lines(folder / f"{study}.jsonl", found)
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    for row in scores(found):
        changed = "; ".join(f"{name}={value}" for name, value in row["changed"].items())
        table.writerow({name: row[name] for name in COLUMNS} | {"changed": changed})
    files.write_whole(folder / f"{study}.csv", text.getvalue())


def restore(study: str) -> int:
    """Write the published records of runs that have none here, and return how many.

    Models and answers are not published: a model is made again before another run starts from it,
    and a run is compared in pairs only with runs that were made here.
    """
    published = records.read_lines(files.RESULTS / f"{study}.jsonl")
    found = {record["id"]: record for record in published}
    lost = [run for run in plan.runs(study) if run.id in found and not run.record.exists()]
    for run in lost:
        files.write_json(run.record, found[run.id])
    return len(lost)


def scores(found: list[dict]) -> list[dict]:
    """One row a score and language of a model, such as `slk`; of a model of two, `slk (slk+swh)`.

    `what` is the task (percent), mlm_loss (nats), similarity (0 to 1, of
    models without an MLM head) or bits_per_character.

    `step` is that of the scored model, `low` and `high` are the 95 % interval over test examples,
    `changed` are the settings that are not the study's own. `record` is the record itself. A record
    without a language has no row.
    """
    rows = []
    for record in found:
        metric, scale, model = _metric(record), 100 if record["task"] else 1, record["model"]
        low, high = [scale * end for end in record.get("interval") or ()] or (None, None)
        row = {name: record[name] for name in ("id", "study", "teacher", "seed", "changed")}
        row |= {name: model.get("config", {}).get(name) for name in SIZES}
        row |= {
            "step": model["step"],
            "what": record["task"] or metric,
            "metric": metric,
            "low": low,
            "high": high,
            "parameters": model["parameters"],
            "compression_rate": model.get("compression_rate"),
            "record": record,
        }
        for language, value in _values(record, metric).items():
            rows.append(row | {"language": language, "score": scale * value})
    return rows


def _values(record: dict, metric: str) -> dict[str, float]:
    """The language of a row -> the score; none for a record without the score or a language."""
    languages, scores = record.get("languages", []), record["scores"]
    found = {record["language"]: scores.get(metric)}
    if languages and not record["task"]:
        found = {language: scores.get(f"{metric} ({language})") for language in languages}
    group = f" ({'+'.join(languages)})" if languages else ""
    return {f"{key}{group}": one for key, one in found.items() if key and one is not None}


def _metric(record: dict) -> str:
    """The name of a record's score; empty if it has none."""
    task, step = record["task"], record["step"]
    if not task and steps.step(step).makes_model:
        return "mlm_loss" if "mlm_loss" in record["scores"] else "similarity"
    metric = fact("tasks", task)["metric"] if task else _MEASURES.get(step, "")
    if task and metric not in record["scores"]:
        raise StudyError(
            f"the record {record['id']} has no {metric}, by which {task} is judged: run it again"
        )
    return metric
