# A study as a graph of batches of runs, made side by side on one machine or on a cluster.
#
#   snakemake --cores all --config study=demo             make what is not done
#   snakemake --dry-run --config study=demo               show what is left
#   snakemake --executor slurm --jobs 50 --config study=paper threads=4      on a cluster
#                                         (pip install snakemake-executor-plugin-slurm)
#
# threads: OpenMP threads of a job. With 1, as many jobs run as there are cores, and none disturbs another.
#
# lib/study/state.py alone decides what is done. A batch that is done has a marker file, another has none; Snakemake
# only looks whether the marker is there.

import hashlib
import resource
import shlex
import sys
import time

from snakemake.cli import parse_config

from lib import files
from lib.errors import StudyError
from lib.study import check, plan, state

# Snakemake reads the name 007 as the number 7, and 1e5 or nan as others: the study is the one whose name it reads so.
GIVEN = str(config.get("study", "demo"))
NAMES = [file.stem for file in sorted((files.PARAMS / "studies").glob("*.yaml"))]
ALIKE = [name for name in NAMES if str(parse_config([f"study={name}"])["study"]) == GIVEN]
if len(ALIKE) > 1:
    sys.exit(f"Snakemake takes the studies {' and '.join(ALIKE)} for one; rename one, or use `python -m lib.study make`")
STUDY = ALIKE[0] if ALIKE else GIVEN
FOLDER = files.runs() / "studies"
MARKERS = FOLDER / f".{STUDY}"
BEGAN = time.monotonic()
if {"{", "}"} & {*str(FOLDER)}:
    sys.exit(f"Snakemake takes the braces in {FOLDER} for its own; rename the folder, or use `python -m lib.study make`")
PYTHON = f"{shlex.quote(sys.executable)} -m"
try:
    BATCHES = plan.batches(STUDY)
    if workflow.is_main_process and not workflow.dryrun:
        check.before([run for batch in BATCHES for run in batch])
    with files.room(MARKERS):
        MARKERS.mkdir(parents=True, exist_ok=True)
except StudyError as error:
    sys.exit(str(error))


def marker(batch):
    """The marker file of a batch of runs."""
    digest = hashlib.sha256(" ".join(run.id for run in batch).encode()).hexdigest()[:16]
    return MARKERS / f"{batch[0].id}.{digest}"


def errors(batch):
    """The file of what the process of a batch said on its standard error."""
    return marker(batch).with_suffix(".log")


KNOWN = {}  # states of runs, each looked up once
MAKER = {run.id: marker(batch) for batch in BATCHES for run in batch}
for batch in BATCHES:
    if workflow.is_main_process:
        errors(batch).unlink(missing_ok=True)
    if all(state.state(run, KNOWN) == state.DONE for run in batch):
        marker(batch).touch()
    else:
        marker(batch).unlink(missing_ok=True)


rule figures:  # always: what it makes depends on records, not on times
    input: [marker(batch) for batch in BATCHES],
    message: f"tables and figures of the study {STUDY}"
    default_target: True
    shell:
        "{PYTHON} lib.study collect {STUDY} && {PYTHON} lib.report make {STUDY} "
        "--records {FOLDER:q}/{STUDY}.jsonl --figures {FOLDER:q}/{STUDY} > {FOLDER:q}/{STUDY}.log 2>&1 "
        "|| (cat {FOLDER:q}/{STUDY}.log >&2; exit 1)"


for batch in BATCHES:
    needed = {MAKER[run.parent.id] for run in batch if run.parent} - {marker(batch)}

    rule:
        name: f"{batch[0].step}_{marker(batch).name}".replace(".", "_").replace("-", "_")
        input: [ancient(file) for file in sorted(needed)],
        output: touch(marker(batch)),
        log: errors(batch),
        params: ids=[run.id for run in batch],
        threads: config.get("threads", 1)
        message: f"{len(batch)} runs from {batch[0].notebook.stem}: {batch[0].id}"
        shell:
            "OMP_NUM_THREADS={threads} {PYTHON} lib.study make {STUDY} {params.ids} "
            "2> {log:q} || (cat {log:q} >&2; exit 1)"


onsuccess:
    minutes = (time.monotonic() - BEGAN) / 60
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print((FOLDER / STUDY / f"{STUDY}_main_table.md").read_text(encoding="utf-8"))
    print(f"{minutes:.1f} minutes; the largest of up to {workflow.cores} processes took {largest:.1f} GiB.")
    print(f"All tables and figures: {FOLDER / STUDY}. The models: {files.models()}.")
    print("Next: look at the tables, or open notebooks/paper with `make lab`; each model's README.md shows how to load it.")


onerror:
    print(f"The study {STUDY} stopped; what is done stays done. Why:")
    for batch in BATCHES:
        if not marker(batch).exists() and errors(batch).exists():
            print(*errors(batch).read_text(encoding="utf-8").splitlines()[-1:])
    print("Correct it and run the same command again: it goes on from here.")
