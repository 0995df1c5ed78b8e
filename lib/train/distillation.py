"""Knowledge distillation: a student learns to give what its teacher gives (paper, steps 1 and 3).

With the target `logits`, total = mlm_weight * mlm_loss + (1 - mlm_weight) * distillation_loss.
Teacher and student read the same masked batch. The target `hidden` is ours, for teachers without an
MLM head: the hidden states of all layers at all real positions of the text as it is.
"""

from pathlib import Path

import torch

from lib.data import batches
from lib.errors import StudyError
from lib.measure import hidden_states, mlm
from lib.model import device, encoder, mlm_head
from lib.model.families import has_head
from lib.train import losses, trainer

SENTENCES = 1000  # of the training text, from which the directions of a narrower student are found


class DistillationLoss:
    """The loss of a student against a teacher, which only gives its logits and stays as it is."""

    def __init__(self, teacher, settings: dict):
        self.teacher = teacher.to(device.device()).eval().requires_grad_(False)
        self.settings, self.gram = settings, None

    def __call__(self, student, batch: dict) -> dict:
        """{"loss", "mlm_loss", "distillation_loss"}, scalars; the squared gap adds "gram_form"."""
        weight, hidden = self.settings["mlm_weight"], encoder.hidden_states(student, batch)
        mlm_loss = mlm.mlm_loss(student, batch, hidden)
        if weight == 1:
            return {"loss": mlm_loss, "mlm_loss": mlm_loss}
        where = batch["attention_mask"].bool()
        if self.settings["all_positions"]:
            where = torch.ones_like(where)
        with torch.inference_mode():
            taught = encoder.hidden_states(self.teacher, batch)[where]
            taught = mlm_head.transform(self.teacher, taught)
        states = mlm_head.transform(student, hidden[where])
        gap, form = self._compare(states, taught, mlm_head.readout(student))
        loss = weight * mlm_loss + (1 - weight) * gap
        return form | {"mlm_loss": mlm_loss, "distillation_loss": gap, "loss": loss}

    def _compare(self, states, taught, readout) -> tuple[torch.Tensor, dict]:
        """The distillation loss of the settings, and {"gram_form": 1 or 0} for the squared gap.

        The squared gap takes the cheaper of its two forms.
        """
        kind, taught_readout = self.settings["distillation_loss"], mlm_head.readout(self.teacher)
        if kind != "mse":
            temperature = self.settings["temperature"] if kind == "kl" else 1.0
            # a copy, because the backward pass cannot keep a tensor of the inference mode
            taught = taught.clone()
            return losses.logit_kl(states, taught, readout, taught_readout, temperature), {}
        mixed = torch.is_autocast_enabled(states.device.type)
        if losses.direct_is_cheaper(len(states), states.shape[1], taught.shape[1], mixed):
            gap = losses.logit_mse_direct(states, taught, readout, taught_readout)
            return gap, {"gram_form": torch.zeros(())}
        if self.gram is None:
            weight = taught_readout[0].detach().float()
            self.gram = weight.T @ weight
        gap = losses.logit_mse(states, taught, readout, taught_readout, self.gram)
        return gap, {"gram_form": torch.ones(())}


class HiddenLoss:
    """The gap between the hidden states of a student and of its teacher, half of it at the last
    layer and half at the layers below.

    The gap of a layer is the sum of squared differences over the teacher's sum of squared
    deviations from its mean: 1 for a student that always gives the mean. Layer i of a student's l
    learns layer i * L / l of the teacher's L, rounded. A student of a smaller hidden size learns
    the teacher's states in the directions `bases`, one matrix (H, H') a layer.
    """

    ignorant = 1.0  # the gap of a student that knows nothing

    def __init__(self, teacher, bases: list[torch.Tensor] | None = None):
        place = device.device()
        self.teacher = teacher.to(place).eval().requires_grad_(False)
        self.bases = None if bases is None else [basis.to(place) for basis in bases]
        self.kept = {}  # the ids of a text -> what its teacher gives, (l, T, H') in bfloat16

    def keep(self, student, encoded: list[list[int]], precision: str) -> None:
        """Let the teacher read these texts now. Later batches of them need no pass of it."""
        texts = sorted({*map(tuple, encoded)}, key=lambda ids: (len(ids), ids))
        for begin in range(0, len(texts), 64):
            some = texts[begin : begin + 64]
            ids, attention = batches.padded(some, self.teacher.config.pad_token_id or 0)
            batch = {"input_ids": ids, "attention_mask": attention}
            batch = {name: tensor.to(self.teacher.device) for name, tensor in batch.items()}
            with device.autocast(student.config, precision):
                taught = self._read(batch, student.config.num_hidden_layers)
            parts = torch.stack(taught).bfloat16().cpu().split([*map(len, some)], dim=1)
            self.kept |= {ids: part.clone() for ids, part in zip(some, parts, strict=True)}

    def __call__(self, student, batch: dict) -> dict:
        """{"loss", "distillation_loss"}, the same scalar."""
        gap = _gap(*self.parts(student, batch).unbind(1))
        return {"loss": gap, "distillation_loss": gap}

    def judge(self, student, masked: list[dict], precision: str) -> dict:
        """{"gap"} over all batches, a number."""
        total = 0
        with device.evaluating(student):
            for batch in masked:
                batch = {name: tensor.to(student.device) for name, tensor in batch.items()}
                with device.autocast(student.config, precision):
                    total = total + self.parts(student, batch).cpu().double()
        return {"gap": float(_gap(*total.unbind(1)))}

    def parts(self, student, batch: dict) -> torch.Tensor:
        """Squared differences and the teacher's squared deviations of each layer, (l, 2)."""
        batch, result = hidden_states.unmasked(batch), []
        given = _states(student, batch)
        for states, taught in zip(given, self._taught(batch, len(given)), strict=True):
            spread = (taught - taught.mean(0)).square().sum()
            result.append(torch.stack([(states - taught).square().sum(), spread]))
        return torch.stack(result)

    def _taught(self, batch: dict, layers: int):
        """The teacher's states at the real positions, as a student of so many layers learns them:
        kept ones if all texts of the batch are kept.
        """
        if self.kept:
            lengths = batch["attention_mask"].sum(1).tolist()
            rows = zip(batch["input_ids"].tolist(), lengths, strict=True)
            kept = [self.kept.get(tuple(ids[:length])) for ids, length in rows]
            if all(states is not None for states in kept):
                return torch.cat(kept, dim=1).to(batch["input_ids"].device).float()
        return self._read(batch, layers)

    def _read(self, batch: dict, layers: int) -> list[torch.Tensor]:
        """What the teacher gives now."""
        taught = _lessons(self.teacher, batch, layers)
        if self.bases is None:
            return taught
        return [states @ basis for states, basis in zip(taught, self.bases, strict=True)]


@torch.no_grad()
def bases(student, teacher, masked: list[dict]) -> list[torch.Tensor]:
    """For each layer of a narrower student, the directions (H, H') of the teacher's hidden states
    that it learns.

    They are the strongest on the masked batches, turned among themselves to where the states of the
    untrained student are (orthogonal Procrustes).
    """
    size = student.config.hidden_size
    squares, crossed = 0, 0
    for batch in map(hidden_states.unmasked, masked):
        given = _states(student, batch)
        lessons = _lessons(teacher, batch, len(given))
        pairs = [(s.double(), t.double()) for s, t in zip(given, lessons, strict=True)]
        squares = squares + torch.stack([taught.T @ taught for _, taught in pairs])
        crossed = crossed + torch.stack([taught.T @ states for states, taught in pairs])
    result = []
    for of_teacher, of_both in zip(squares, crossed, strict=True):
        strongest = torch.linalg.eigh(of_teacher).eigenvectors[:, -size:]
        left, _, right = torch.linalg.svd(strongest.T @ of_both)
        result.append((strongest @ left @ right).float())
    return result


def _gap(errors: torch.Tensor, spreads: torch.Tensor) -> torch.Tensor:
    """The gap of all layers from the sums of each, (l,)."""
    gaps = errors / spreads
    return gaps[-1] if len(gaps) == 1 else (gaps[-1] + gaps[:-1].mean()) / 2


def _states(student, batch: dict) -> list[torch.Tensor]:
    """The states of each layer at the real positions, (N, H') in float32."""
    where = batch["attention_mask"].bool()
    return [states[where].float() for states in encoder.all_hidden_states(student, batch)[1:]]


def _lessons(teacher, batch: dict, layers: int) -> list[torch.Tensor]:
    """The teacher's states that each of a student's `layers` learns, (N, H) in float32."""
    with torch.inference_mode():
        states = _states(teacher, batch)
    ratio = len(states) / layers
    return [states[round(layer * ratio) - 1] for layer in range(1, layers + 1)]


def distil(
    student, teacher, tokenizer, train, dev, settings: dict, seed: int, folder: Path, name="distil"
) -> dict:
    """Train `student` in place to give what the teacher gives; returns the same as `trainer.fit`.

    The learning curve holds mlm_loss and distillation_loss apart. Raises StudyError as
    `loss_between`.
    """
    train = chosen(train, settings)
    loss = loss_between(student, teacher, tokenizer, train, settings, seed)
    return trainer.fit(student, loss, tokenizer, train, dev, settings, seed, folder, name)


def chosen(train: list[str], settings: dict) -> list[str]:
    """The sentences that a training reads: the first ones, as `sentences` and `passes` say."""
    train = train[: settings.get("sentences") or None]
    if not settings.get("passes"):
        return train
    read = settings["steps"] * settings["batch_size"] * settings["accumulation"]
    return train[: -(-read // settings["passes"])]


def loss_between(student, teacher, tokenizer, train, settings: dict, seed: int):
    """The loss of the settings for a student that has not begun to train.

    Raises StudyError if the vocabularies differ, and for logits without an MLM head.
    """
    sizes = student.config.vocab_size, teacher.config.vocab_size
    if sizes[0] != sizes[1]:
        raise StudyError(
            f"student and teacher must share one vocabulary; they have {sizes[0]} and {sizes[1]} "
            "tokens: trim both or none"
        )
    if settings.get("distillation_target") == "hidden":
        turned = None
        if student.config.hidden_size != teacher.config.hidden_size:
            encoded = batches.encode(train[:SENTENCES], tokenizer, settings["max_length"])
            sample = batches.masked_batches(encoded, tokenizer, 64, seed)
            turned = bases(student, teacher, sample)
        loss = HiddenLoss(teacher, turned)
        if settings.get("passes"):
            encoded = batches.encode(train, tokenizer, settings["max_length"])
            loss.keep(student, encoded, settings["precision"])
        return loss
    if has_head(teacher.config):
        return DistillationLoss(teacher, settings)
    raise StudyError(
        "the teacher has no MLM head and gives no logits; set distillation_target: hidden, or "
        "adapt the teacher first, which fits a head"
    )
