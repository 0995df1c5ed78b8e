"""Knowledge distillation: a student learns to give the teacher's logits (paper, steps 1 and 3).

total = mlm_weight * mlm_loss + (1 - mlm_weight) * distillation_loss. Teacher and student read the
same masked batch.
"""

from pathlib import Path

import torch

from lib.errors import StudyError
from lib.measure import mlm
from lib.model import device, encoder
from lib.train import losses, trainer


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
            taught = encoder.transform(self.teacher, taught)
        states = encoder.transform(student, hidden[where])
        gap, form = self._compare(states, taught, encoder.readout(student))
        loss = weight * mlm_loss + (1 - weight) * gap
        return form | {"mlm_loss": mlm_loss, "distillation_loss": gap, "loss": loss}

    def _compare(self, states, taught, readout) -> tuple[torch.Tensor, dict]:
        """The distillation loss of the settings, and {"gram_form": 1 or 0} for the squared gap.

        The squared gap takes the cheaper of its two forms.
        """
        kind, taught_readout = self.settings["distillation_loss"], encoder.readout(self.teacher)
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


def distil(
    student, teacher, tokenizer, train, dev, settings: dict, seed: int, folder: Path, name="distil"
) -> dict:
    """Train `student` in place to give the teacher's logits; returns the same as `trainer.fit`.

    The learning curve holds mlm_loss and distillation_loss apart.
    Raises StudyError if the vocabularies differ.
    """
    sizes = student.config.vocab_size, teacher.config.vocab_size
    if sizes[0] != sizes[1]:
        raise StudyError(
            f"student and teacher must share one vocabulary; they have {sizes[0]} and {sizes[1]} "
            "tokens: trim both or none"
        )
    loss = DistillationLoss(teacher, settings)
    return trainer.fit(student, loss, tokenizer, train, dev, settings, seed, folder, name)
