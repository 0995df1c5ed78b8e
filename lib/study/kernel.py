"""Notebooks run through Papermill in one kernel that stays warm: modules are imported once, not once a notebook.

Between two notebooks the namespace is emptied, so a notebook sees what it sees in a kernel of its own. What the libraries keep
inside (caches, random states) stays; the study's own code seeds every random state it uses.
"""

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from jupyter_client import KernelManager

from lib import files
from lib.errors import StudyError


@contextmanager
def warm():
    """A context that gives a function run(notebook, output, parameters); the kernel ends with the context.

    The executed copy is written cell by cell. A cell that fails raises papermill's PapermillExecutionError, or the StudyError it
    raised. The kernel is the one of this Python and talks through local sockets that no other user can reach.
    """
    import papermill
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.exceptions import PapermillExecutionError

    sockets = tempfile.TemporaryDirectory(
        prefix="kernel-"
    )  # of this kernel alone: sockets of one name would be shared by all
    manager = KernelManager(
        kernel_name="python3", transport="ipc", ip=str(Path(sockets.name) / "socket")
    )
    papermill_engines.register("warm", NBClientEngine)

    def run(notebook: Path, output: Path, parameters: dict) -> None:
        if manager.has_kernel:
            _empty(manager)
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            papermill.execute_notebook(
                str(notebook),
                str(output),
                parameters,
                engine_name="warm",
                kernel_name="python3",
                km=manager,
                progress_bar=False,
                stdout_file=sys.stdout,
                stderr_file=sys.stderr,
                cwd=str(files.ROOT),
            )
        except PapermillExecutionError as error:
            if error.ename in ("StudyError", "Unavailable"):
                raise StudyError(error.evalue) from error
            raise

    try:
        yield run
    finally:
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
        sockets.cleanup()


def _empty(manager: KernelManager) -> None:
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.execute_interactive("get_ipython().reset(new_session=True)", silent=True, timeout=60)
    client.stop_channels()
