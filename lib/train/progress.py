"""The learning curve of a training; a training that diverges stops."""

import math
import time
from pathlib import Path

from lib.errors import StudyError
from lib.model import device
from lib.train import checkpoints

NOTICE_SECONDS = 20  # at most this long without a printed line


class Progress:
    """The learning curve so far, and its best point on dev, `best` ({"step", "dev_mlm_loss"}).

    A training has diverged when a loss or a weight is not finite, or when the mean of the last
    three logged losses is above twice the larger of two numbers: the first logged loss, and ln V,
    the loss of a model that gives every token the same probability.
    """

    def __init__(self, name: str, steps: int, vocab_size: int, folder: Path):
        self.name, self.steps, self.folder = name, steps, folder
        self.uniform_loss = math.log(vocab_size)
        self.history, self.seconds, self.best = [], [], {}
        self.first, self.spent, self.parts = 0, 0.0, {}
        self.began = self.shown = time.monotonic()

    def resume(self, step: int, state: dict) -> None:
        """Go on after `step` with what `state` returned then."""
        self.history, self.seconds, self.best = (
            state[name] for name in ("history", "seconds", "best")
        )
        self.first, self.spent = step, self.seconds[-1]

    def state(self) -> dict:
        """The learning curve as a checkpoint keeps it."""
        return {"history": self.history, "seconds": self.seconds, "best": self.best}

    def note(self, values: dict) -> None:
        """Remember named values of one batch; the next `log` holds their means."""
        for name, value in values.items():
            total, count = self.parts.get(name, (0.0, 0))
            self.parts[name] = (total + value, count + 1)

    def log(self, step: int, entry: dict) -> None:
        """Append a training loss and the means of the noted values to the curve.

        Raises StudyError if the training has diverged.
        """
        means = {
            name: round(float(total / count), 6) for name, (total, count) in self.parts.items()
        }
        self.parts = {}
        self._append(step, entry | means)
        losses = [point["loss"] for point in self.history if "loss" in point]
        mean = sum(losses[-3:]) / 3
        if len(losses) >= 3 and mean > self._limit():
            change = f"it was {losses[0]:.3g} at first, the last three logs average {mean:.3g}"
            raise self._diverged(f"the loss explodes ({change})", step)

    def score(self, step: int, scores: dict, model) -> None:
        """Append dev scores to the curve; StudyError if one of them or a weight is not finite."""
        names = ("mlm_loss", "mlm_accuracy")
        self._append(step, {f"dev_{name}": scores[name] for name in names})
        if not all(weight.isfinite().all() for weight in model.parameters()):
            raise self._diverged("a weight is not finite", step)
        if not self.best or scores["mlm_loss"] < self.best["dev_mlm_loss"]:
            self.best = {"step": step, "dev_mlm_loss": scores["mlm_loss"]}

    def _append(self, step: int, entry: dict) -> None:
        now = time.monotonic()
        self.history.append(entry | {"step": step})
        self.seconds.append(round(self.spent + now - self.began, 2))
        if "dev_mlm_loss" in entry or now - self.shown > NOTICE_SECONDS:
            self.shown = now
            device.release()
            left = (now - self.began) / max(step - self.first, 1) * (self.steps - step) / 60
            labels = {"loss": "loss", "dev_mlm_loss": "on dev"}
            losses = [f"{labels[key]} {entry[key]:.3f}" for key in labels if key in entry]
            place = f"{self.name}: step {step} of {self.steps}"
            print(f"{place}, {', '.join(losses)}, {left:.1f} min left", flush=True)
        if not all(math.isfinite(entry.get(key, 0.0)) for key in ("loss", "dev_mlm_loss")):
            raise self._diverged("the loss is not finite", step)

    def _limit(self) -> float:
        """The highest mean of logged losses of a training that has not diverged."""
        first = next(point["loss"] for point in self.history if "loss" in point)
        return 2 * max(self.uniform_loss, first)

    def _diverged(self, reason: str, step: int) -> StudyError:
        """The error that gives the reason and names the best checkpoint."""
        kept = f"no good checkpoint was written to {self.folder} yet"
        if self.best and self.best["dev_mlm_loss"] <= self._limit():
            kept = f"the best checkpoint is {checkpoints.path(self.folder, self.best['step'])}"
        return StudyError(f"{self.name}: {reason} at step {step}; {kept}: lower the learning rate")
