"""A notebook that is really executed, and ended with SIGKILL once a checkpoint is complete."""

import os
import signal
import subprocess
import sys
import time

import yaml

from lib import files

LONGEST = 240  # seconds until the first checkpoint


def kill_at_a_checkpoint(notebook, parameters, work, folder):
    """Start a notebook of `notebooks` with papermill; kill it at the first checkpoint in `work`.

    Its executed copy lies in `folder`.
    """
    words = ["papermill", f"notebooks/{notebook}.ipynb", str(folder / "killed.ipynb")]
    words += ["-k", "python3", "-y", yaml.safe_dump(parameters)]
    begun = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=files.ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + LONGEST
    while not list(work.glob("**/checkpoint-*/complete")) and time.monotonic() < until:
        assert begun.poll() is None, "the notebook ended before its first checkpoint was seen"
        time.sleep(0.01)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
