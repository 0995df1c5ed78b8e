# A study as a graph: which notebook makes which record, from which others. What to run, and in which order, lib/plan.py says.
#
#   snakemake --cores all --config study=demo             run what is not done, side by side
#   snakemake --dry-run --config study=demo               show what is left
#   snakemake --executor slurm --jobs 50 --config study=paper threads=4      on a cluster (pip install snakemake-executor-plugin-slurm)
#
# threads: OpenMP threads a job gets; with 1, as many jobs run as there are cores, and none waits for another's.

import sys

from lib import paths, plan
from lib.errors import StudyError

STUDY = config.get("study", "demo")
try:
    BATCHES = plan.batches(STUDY)
except StudyError as error:
    sys.exit(str(error))
FOLDER = paths.runs() / "studies" / STUDY


rule all:
    input: FOLDER / f"{STUDY}_main_table.md",
    default_target: True


KNOWN = {}  # the states of runs, each looked up once
for batch in BATCHES:
    rule:
        name: f"{batch[0].run.step}_{batch[0].run.id}".replace(".", "_").replace("-", "_")
        input: [need.record for job in batch for need in job.needs] + plan.outdated(batch, KNOWN),
        output: [update(job.run.record) for job in batch],  # update: what is finished is never deleted
        params: ids=[job.run.id for job in batch],
        threads: config.get("threads", 1)
        message: f"{plan.NOTEBOOKS[batch[0].run.step]}: {', '.join(job.run.id for job in batch)}"
        shell: "OMP_NUM_THREADS={threads} {sys.executable} -m lib.plan make {STUDY} {params.ids}"


rule collect:
    input: [job.run.record for job in plan.jobs(STUDY)],
    output: touch(FOLDER / ".collected"),
    shell: "{sys.executable} -m lib.plan collect {STUDY}"


rule paper:  # every notebook of notebooks/paper; each writes its files where the records of the study allow it
    input: FOLDER / ".collected",
    output: FOLDER / f"{STUDY}_main_table.md",
    shell: "{sys.executable} -m lib.gallery make {STUDY} --records {FOLDER} --figures {FOLDER} > {FOLDER}/paper.log 2>&1"


onsuccess:
    print((FOLDER / f"{STUDY}_main_table.md").read_text())
    print(f"All figures and tables: {FOLDER}")
