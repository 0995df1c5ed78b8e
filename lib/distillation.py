"""Knowledge distillation: a student learns to give the teacher's logits (paper, steps 1 and 3).

total = mlm_weight * mlm_loss + (1 - mlm_weight) * distillation_loss. Teacher and student read the same masked batch.
"""

from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lib import models, training
from lib.errors import StudyError

CHUNK = 512  # positions whose logits are held at once by the losses that need them


def logit_mse(student: torch.Tensor, teacher: torch.Tensor, student_readout, teacher_readout, teacher_gram=None) -> torch.Tensor:
    """Mean squared gap between student and teacher logits over N positions and V tokens, a scalar, without forming logits.

    `student` (N, Hs) and `teacher` (N, Ht) are transformed hidden states, the readouts (weight (V, H), bias (V,)). With Z the
    states and W the weights, each with its bias as a last column (of ones for Z), the sum of squares is
    <Ws'Ws, Zs'Zs> - 2 <Ws'Wt, Zs'Zt> + <Wt'Wt, Zt'Zt>, <A, B> the sum of elementwise products. Memory is O(H^2) instead of O(N V).
    Computed in float32 whatever surrounds it, the last sums in float64: the terms cancel. `teacher_gram` is Wt'Wt, which never
    changes. With equal student and teacher it is exactly zero.
    """
    with torch.autocast(student.device.type, enabled=False):
        zs, zt = _with_one(student), _with_one(teacher)
        ws, wt = _stack(student_readout), _stack(teacher_readout)
        gram = wt.T @ wt if teacher_gram is None else teacher_gram
        total = (_inner(ws.T @ ws, zs.T @ zs) - 2 * _inner(ws.T @ wt, zs.T @ zt) + _inner(gram, zt.T @ zt))
        return (total / (len(zs) * len(ws))).float()


def logit_mse_direct(student, teacher, student_readout, teacher_readout) -> torch.Tensor:
    """The same number from the logits themselves, in chunks of positions; cheaper when there are fewer positions than H."""
    return _in_chunks(lambda s, t: (s - t).square().sum(), student, teacher, student_readout, teacher_readout) / len(student_readout[0])


def logit_kl(student, teacher, student_readout, teacher_readout, temperature: float) -> torch.Tensor:
    """temperature^2 * KL(teacher || student) in nats of the temperature-softened distributions, mean over positions."""
    def divergence(s, t):
        return nn.functional.kl_div((s / temperature).log_softmax(-1), (t / temperature).log_softmax(-1), reduction="sum",
                                    log_target=True)
    return _in_chunks(divergence, student, teacher, student_readout, teacher_readout) * temperature**2


class DistillationTrainer(training.MaskedTrainer):
    """Minimises mlm_weight * mlm_loss + (1 - mlm_weight) * distillation_loss; the teacher only gives its logits."""

    def __init__(self, student, teacher, *given, **named):
        super().__init__(student, *given, **named)
        self.teacher = teacher.to(self.args.device).eval().requires_grad_(False)
        self.settings, self.gram = given[3], None
        training.choose_attention(self.teacher, self.precision, self.settings["max_length"])

    def loss(self, model, batch):
        settings, hidden = self.settings, models.hidden_states(model, batch)
        mlm = training.mlm_loss(model, batch, hidden)
        if settings["mlm_weight"] == 1:
            return {"loss": mlm, "mlm_loss": mlm}
        where = torch.ones_like(batch["attention_mask"]) if settings["all_positions"] else batch["attention_mask"]
        with torch.no_grad():
            taught = models.transform(self.teacher, models.hidden_states(self.teacher, batch)[where.bool()])
        gap = self.gap(models.transform(model, hidden[where.bool()]), taught, models.readout(model), models.readout(self.teacher))
        weight = settings["mlm_weight"]
        return {"loss": weight * mlm + (1 - weight) * gap, "mlm_loss": mlm, "distillation_loss": gap}

    def gap(self, student, teacher, student_readout, teacher_readout) -> torch.Tensor:
        """The distillation loss of the settings; the squared gap takes the cheaper of its two forms."""
        kind = self.settings["distillation_loss"]
        if kind == "mse" and len(student) <= student.shape[1]:
            return logit_mse_direct(student, teacher, student_readout, teacher_readout)
        if kind == "mse":
            if self.gram is None:
                wide = _stack(teacher_readout)
                self.gram = wide.T @ wide
            return logit_mse(student, teacher, student_readout, teacher_readout, self.gram)
        return logit_kl(student, teacher, student_readout, teacher_readout,
                        self.settings["temperature"] if kind == "kl" else 1.0)


def distil(student, teacher, tokenizer, train_sentences, dev_sentences, settings: dict, seed: int, folder: Path,
           name: str = "distil") -> dict:
    """Train `student` in place to give the teacher's logits, keeping the weights with the lowest MLM loss on dev.

    Returns {"history", "seconds"} as `training.fit`; the history holds mlm_loss and distillation_loss apart. Killed and called
    again with the same arguments, it goes on in `folder`. No steps leave the student as it is.
    Raises StudyError if the vocabularies differ or mlm_weight is above 1.
    """
    if student.config.vocab_size != teacher.config.vocab_size:
        raise StudyError(f"student and teacher must share one vocabulary; they have {student.config.vocab_size} and "
                         f"{teacher.config.vocab_size} tokens: trim both or none")
    if settings["mlm_weight"] > 1:
        raise StudyError(f"mlm_weight is a share, 0 to 1; got {settings['mlm_weight']}")
    if not settings["steps"]:
        return {"history": [], "seconds": []}
    return training.fit(DistillationTrainer(student, teacher, tokenizer, train_sentences, dev_sentences, settings, seed, folder, name))


def _with_one(states: torch.Tensor) -> torch.Tensor:
    return torch.cat([states.float(), states.new_ones(len(states), 1, dtype=torch.float32)], 1)


def _stack(readout) -> torch.Tensor:
    weight, bias = readout
    return torch.cat([weight.float(), bias.float()[:, None]], 1)


def _inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.double() * b.double()).sum()


def _in_chunks(function, student, teacher, student_readout, teacher_readout) -> torch.Tensor:
    """Mean over positions of function(student logits, teacher logits); logits live for one chunk, forward and backward."""
    def one(s, t, weight, bias):
        return function(nn.functional.linear(s, weight, bias).float(), nn.functional.linear(t, *teacher_readout).float())
    total = student.new_zeros((), dtype=torch.float32)
    for s, t in zip(student.split(CHUNK), teacher.split(CHUNK), strict=True):
        total = total + checkpoint(one, s, t, *student_readout, use_reentrant=False)
    return total / len(student)
