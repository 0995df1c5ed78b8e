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
import sys

from lib import files
from lib.errors import StudyError
from lib.study import plan, state

STUDY = str(config.get("study", "demo"))
MARKERS = files.runs() / "studies" / f".{STUDY}"
PYTHON = f"{sys.executable} -m"
try:
    BATCHES = plan.batches(STUDY)
except StudyError as error:
    sys.exit(str(error))


def marker(batch):
    """The marker file of a batch of runs."""
    digest = hashlib.sha256(" ".join(run.id for run in batch).encode()).hexdigest()[:16]
    return MARKERS / f"{batch[0].id}.{digest}"


KNOWN = {}  # states of runs, each looked up once
MAKER = {run.id: marker(batch) for batch in BATCHES for run in batch}
MARKERS.mkdir(parents=True, exist_ok=True)
for batch in BATCHES:
    if all(state.state(run, KNOWN) == state.DONE for run in batch):
        marker(batch).touch()
    else:
        marker(batch).unlink(missing_ok=True)


rule figures:  # always: what it makes depends on records, not on times
    input: [marker(batch) for batch in BATCHES],
    params: study=STUDY,
    message: "tables and figures of the study {params.study}",
    shell: "{PYTHON} lib.study collect {params.study} && {PYTHON} lib.report make {params.study}",
    default_target: True


for batch in BATCHES:
    needed = {MAKER[run.parent.id] for run in batch if run.parent} - {marker(batch)}

    rule:
        name: f"{batch[0].step}_{marker(batch).name}".replace(".", "_").replace("-", "_")
        input: [ancient(file) for file in sorted(needed)],
        output: touch(marker(batch)),
        params: ids=[run.id for run in batch],
        threads: config.get("threads", 1)
        message: f"{len(batch)} runs from {batch[0].notebook.stem}: {batch[0].id}"
        shell: "OMP_NUM_THREADS={threads} {PYTHON} lib.study make {STUDY} {params.ids}"
