"""Progress of a training: its printed lines, its checkpoints, and its end if it diverges."""

import math
import time
from pathlib import Path

from transformers import TrainerCallback

from lib.errors import StudyError
from lib.model import device
from lib.train import checkpoints

NOTICE_SECONDS = 20  # at most this long without a printed line
DEV = ("dev_mlm_loss", "dev_gap")  # by which checkpoints are chosen
_LABELS = {"loss": "loss"} | dict.fromkeys((*DEV, "dev_score"), "on dev")


class Progress(TrainerCallback):
    """Prints the losses and the time left, marks complete checkpoints, and stops on divergence.

    A training has diverged when a loss or a weight is not finite, or when the mean of the last
    three logged losses is above twice the larger of two numbers: the first logged loss, and that of
    a model that knows nothing, `ignorant`.
    """

    def __init__(self, name: str, ignorant: float, folder: Path):
        self.name, self.folder, self.ignorant = name, folder, ignorant

    def on_train_begin(self, args, state, control, **_):
        """Go on where the checkpoint ended; its folder may have been moved since."""
        self.began = self.shown = time.monotonic()
        self.first, self.spent = state.global_step, 0.0
        if state.log_history:
            self.spent = state.log_history[-1]["seconds"]
            best = checkpoints.path(self.folder, state.best_global_step)
            state.best_model_checkpoint = str(best)

    def on_step_end(self, args, state, control, **_):
        """Log before each checkpoint, so that a resumed training has the same means."""
        control.should_log |= control.should_save

    def on_log(self, args, state, control, logs, **_):
        """Note the seconds, print a line; raises StudyError if the training has diverged."""
        now = time.monotonic()
        state.log_history[-1]["seconds"] = round(self.spent + now - self.began, 2)
        losses = {key: logs[key] for key in _LABELS if key in logs}
        if {*DEV} & {*losses} or (losses and now - self.shown > NOTICE_SECONDS):
            self.shown = now
            device.release()
            self._print(state, losses, now - self.began)
        if not all(map(math.isfinite, losses.values())):
            raise self._diverged("the loss is not finite", state)
        last = [entry["loss"] for entry in state.log_history if "loss" in entry][-3:]
        if len(last) == 3 and (mean := sum(last) / 3) > self._limit(state):
            raise self._diverged(
                f"the loss explodes (the last three logs average {mean:.3g})", state
            )

    def on_evaluate(self, args, state, control, model, **_):
        """Raise StudyError if a weight is not finite, before it is written to a checkpoint."""
        if not all(weight.isfinite().all() for weight in model.parameters()):
            raise self._diverged("a weight is not finite", state)

    def on_save(self, args, state, control, **_):
        """Mark the checkpoint as complete."""
        checkpoints.mark(self.folder, state.global_step, state.best_global_step)

    def _print(self, state, losses: dict, seconds: float) -> None:
        done, left = state.global_step - self.first, state.max_steps - state.global_step
        minutes = seconds / max(done, 1) * left / 60
        shown = ", ".join(f"{_LABELS[key]} {loss:.3f}" for key, loss in losses.items())
        place = f"{self.name}: step {state.global_step} of {state.max_steps}"
        print(f"{place}, {shown}, {minutes:.1f} min left", flush=True)

    def _limit(self, state) -> float:
        """The highest mean of logged losses of a training that has not diverged."""
        first = next(entry["loss"] for entry in state.log_history if "loss" in entry)
        return 2 * max(self.ignorant, first)

    def _diverged(self, reason: str, state) -> StudyError:
        """The error that gives the reason and names the best checkpoint, if that is good."""
        kept, best = f"no good checkpoint was written to {self.folder} yet", state.best_metric
        if best is not None and best <= self._limit(state):
            kept = f"the best checkpoint is {state.best_model_checkpoint}"
        step = state.global_step
        return StudyError(f"{self.name}: {reason} at step {step}; {kept}: lower the learning rate")
