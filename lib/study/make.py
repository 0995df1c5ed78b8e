"""Runs are made by executing their notebooks in one warm kernel, which imports libraries once.

Between two notebooks the kernel's namespace is emptied, so a notebook sees what it sees in a kernel
of its own. What libraries keep inside stays; the project's own code seeds every random state that
it uses.
"""

import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from lib import files
from lib.errors import StudyError
from lib.study import state
from lib.study.run import Run

_READY = 60  # seconds that a kernel has to answer
_NO_HISTORY = ["--HistoryManager.hist_file=:memory:"]


def make(runs: list[Run]) -> None:
    """Make the runs that are not done, in their order; `clear` those that are."""
    with warm_kernel() as execute:
        for number, run in enumerate(runs, 1):
            with files.alone(files.runs() / "making" / run.id, f"making {run.id}"):
                if state.state(run) != state.DONE:
                    print(f"{number} of {len(runs)}: {run.notebook.stem}: {run.id}", flush=True)
                    execute(run.notebook, run.record.with_suffix(".ipynb"), run.parameters)
    clear(runs)


def clear(runs: list[Run]) -> None:
    """Remove the checkpoints of runs that are done, which a kill after a record leaves."""
    for run in runs:
        if run.checkpoints.exists():
            with files.alone(run.checkpoints, f"making {run.id}"):
                if state.state(run) == state.DONE:
                    shutil.rmtree(run.checkpoints, ignore_errors=True)


@contextmanager
def warm_kernel(environment: dict[str, str] | None = None):
    """Yield a function execute(notebook, copy, parameters); its kernel ends with the context.

    The executed copy is written cell by cell. A failing cell becomes a StudyError that names the
    run, the reason and the copy. The kernel talks through sockets of this user alone. It has the
    variables of `environment`, or else those of this process.
    """
    from jupyter_client import AsyncKernelManager  # a blocking one never hears of a death
    from jupyter_core.utils import run_sync

    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        address = str(Path(folder) / "socket")
        manager = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=address)

        def execute(notebook, copy, parameters):
            if manager.has_kernel:
                _empty(manager)
            else:
                run_sync(manager.start_kernel)(
                    cwd=str(files.ROOT),
                    env=environment or files.environment(),
                    extra_arguments=_NO_HISTORY,
                )
            _execute(manager, notebook, copy, parameters)

        try:
            yield execute
        finally:
            if manager.has_kernel:
                run_sync(manager.shutdown_kernel)(now=True)


def _execute(manager, notebook: Path, copy: Path, parameters: dict) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            str(notebook),
            str(copy),
            parameters,
            kernel_name="python3",
            km=manager,
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            cwd=str(files.ROOT),
        )
    except PapermillExecutionError as error:
        ours = error.ename in ("StudyError", "Unavailable", "AssertionError")
        reason = error.evalue.strip() if ours else f"{error.ename}: {error.evalue.strip()}"
        raise _failed(copy, reason.split("\n")[0]) from error
    except DeadKernelError as error:
        reason = "its process ended without a message, as when the system has no memory left"
        raise _failed(copy, reason) from error


def _failed(copy: Path, reason: str) -> StudyError:
    reason = reason.removeprefix(f"{copy.stem}: ").rstrip(".")
    return StudyError(f"{copy.stem} failed: {reason}; the executed notebook: {copy}")


def _empty(manager) -> None:
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=_READY)
    client.execute_interactive("get_ipython().reset(new_session=True)", silent=True, timeout=_READY)
    client.stop_channels()
