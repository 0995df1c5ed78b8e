"""The training loop: optimizer steps, and MLM trainings that resume exactly after a kill.

The order of the sentences and every mask are functions of the seed and of the position in the
training. What else is random, dropout, is kept in the checkpoints.
"""

import gc
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from lib import facts
from lib.data import batches
from lib.measure import mlm
from lib.model import device
from lib.train import checkpoints
from lib.train.progress import Progress

WORKERS = {"cuda": 2}  # processes that mask batches ahead, by type of device
LOGS = 40  # points of a learning curve


class Optimizer:
    """AdamW with clipped gradients and a linear schedule.

    The learning rate rises from 0 during `warmup` steps, then falls linearly to 0 at the last step.
    Biases and the weights of LayerNorm, which are vectors, do not decay.
    """

    def __init__(self, model, learning_rate: float, weight_decay: float, steps: int, warmup: int):
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        matrices, vectors = (
            [weight for weight in self.weights if (weight.dim() > 1) is matrix]
            for matrix in (True, False)
        )
        decay, none = {"weight_decay": weight_decay}, {"weight_decay": 0.0}
        groups = [{"params": matrices} | decay, {"params": vectors} | none]
        self.adam = torch.optim.AdamW(groups, fused=True)
        self.peak, self.steps, self.warmup = learning_rate, steps, warmup
        self.max_norm = facts.facts("training")["max_grad_norm"]

    def learning_rate(self, step: int) -> float:
        """Learning rate of the step with this number, from 0."""
        if step < self.warmup:
            return self.peak * (step / self.warmup)
        return self.peak * max(0.0, (self.steps - step) / max(1, self.steps - self.warmup))

    def update(self, step: int, loss: Callable, batches: list[dict]) -> tuple[list, torch.Tensor]:
        """Make a step on the mean of `loss(batch)`.

        Returns each batch's share of the mean, and the norm of the gradient before clipping.
        """
        shares = []
        for batch in batches:
            share = loss(batch) / len(batches)
            share.backward()
            shares.append(share.detach())
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.max_norm)
        for group in self.adam.param_groups:
            group["lr"] = self.learning_rate(step)
        self.adam.step()
        self.adam.zero_grad()
        return shares, norm


def prepare(model, precision: str, max_length: int, seed: int) -> None:
    """Make the model ready to train on the device to compute on; seed dropout."""
    if device.device().type == "cuda":
        gc.collect()  # an earlier training in this process may still hold memory of the GPU
        torch.cuda.empty_cache()
        # cuDNN plans its attention anew for each length of a batch: slower than the step
        torch.backends.cuda.enable_cudnn_sdp(False)
    torch.manual_seed(seed)
    device.choose_attention(model, precision, max_length)
    model.to(device.device()).train()


def on_device(batch: dict) -> dict:
    """The batch on the device to compute on."""
    return {name: tensor.to(device.device(), non_blocking=True) for name, tensor in batch.items()}


def fit(
    model, loss, tokenizer, train, dev, settings: dict, seed: int, folder: Path, name: str
) -> dict:
    """Train `model` on sentences in place; it keeps the weights of the lowest MLM loss on dev.

    Returns {"history": the learning curve, "seconds": the time of each of its points}.
    `loss(model, batch)` returns {"loss": scalar to minimise, further terms to log}. Killed and
    called again with the same arguments, it goes on after the newest checkpoint in `folder`, which
    the caller removes. Without steps the model stays as it is.
    Raises StudyError if the training diverges.
    """
    if not settings["steps"]:
        return {"history": [], "seconds": []}
    training = _Training(model, loss, tokenizer, train, dev, settings, seed, folder, name)
    training.run()
    progress = training.progress
    checkpoints.load_weights(checkpoints.path(folder, progress.best["step"]), model)
    model.eval().to("cpu")
    return {"history": progress.history, "seconds": progress.seconds}


class _Training:
    """One MLM training or distillation."""

    def __init__(self, model, loss, tokenizer, train, dev, settings, seed, folder, name):
        fixed, self.steps = facts.facts("training"), settings["steps"]
        length = settings["max_length"]
        self.model, self.loss, self.settings, self.folder = model, loss, settings, Path(folder)
        self.encoded = batches.encode(train, tokenizer, length)
        encoded_dev = batches.encode(dev, tokenizer, length)
        self.dev = batches.masked_batches(encoded_dev, tokenizer, 64, 0)
        pad_to = length if settings.get("all_positions") else 0
        self.masker = batches.Masker(tokenizer, seed, pad_to)
        self.seed, self.interval = seed, max(1, self.steps // fixed["evaluations"])
        prepare(model, settings["precision"], length, seed)
        warmup, decay = int(fixed["warmup"] * self.steps), fixed["weight_decay"]
        self.optimizer = Optimizer(model, settings["learning_rate"], decay, self.steps, warmup)
        self.progress = Progress(name, self.steps, model.config.vocab_size, self.folder)

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, to the end."""
        done, checkpoint = checkpoints.newest(self.folder) or (0, None)
        loader = iter(self._loader(done))  # draws a random number, so it comes before `load_state`
        if checkpoint:
            print(f"resumed after step {done}")
            self.progress.resume(done, checkpoints.load_progress(checkpoint))
            checkpoints.load_weights(checkpoint, self.model)
            checkpoints.load_state(checkpoint, self.optimizer.adam)
        total, logged = torch.zeros((), device=self.model.device), done
        for step in range(done + 1, self.steps + 1):
            some = [next(loader) for _ in range(self.settings["accumulation"])]
            shares, norm = self.optimizer.update(step - 1, self._loss, some)
            total = sum(shares, total)
            scored = step % self.interval == 0 or step == self.steps
            if scored or step % max(1, self.steps // LOGS) == 0:
                entry = {"loss": total.item() / (step - logged), "grad_norm": norm.item()}
                rate = self.optimizer.learning_rate(step - 1)
                self.progress.log(step, entry | {"learning_rate": rate})
                total, logged = torch.zeros_like(total), step
            if scored:
                scores = mlm.score_mlm(self.model, self.dev, self.settings["precision"])
                self.progress.score(step, scores, self.model)
                state = self.progress.state()
                checkpoints.save(self.folder, step, self.model, self.optimizer.adam, state)

    def _loss(self, batch: dict) -> torch.Tensor:
        batch = on_device(batch)
        with device.autocast(self.model.config, self.settings["precision"]):
            terms = self.loss(self.model, batch)
        loss = terms.pop("loss")
        values = {name: value.detach() for name, value in terms.items()}
        self.progress.note(values | {"padding": 1 - batch["attention_mask"].float().mean()})
        return loss

    def _loader(self, done: int) -> DataLoader:
        """The masked batches after the first `done` steps."""
        size, count = self.settings["batch_size"], self.steps * self.settings["accumulation"]
        order = batches.schedule([len(ids) for ids in self.encoded], count, size, self.seed)
        rows = range(done * self.settings["accumulation"], count)
        kind = device.device().type
        return DataLoader(
            batches.Scheduled(self.encoded, order),
            batch_sampler=[range(row * size, (row + 1) * size) for row in rows],
            collate_fn=self.masker,
            num_workers=WORKERS.get(kind, 0),
            pin_memory=kind == "cuda",
        )
