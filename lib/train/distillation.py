"""Knowledge distillation: a student learns to give the teacher's logits (paper, steps 1 and 3).

total = mlm_weight * mlm_loss + (1 - mlm_weight) * distillation_loss. Teacher and student read the same masked batch.
"""

from pathlib import Path

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from lib.errors import StudyError
from lib.measure import mlm
from lib.model import encoder
from lib.train import trainer

CHUNK = 512  # positions whose logits are held at once by the losses that need them
LOGITS = {
    "cpu": 2**21
}  # logits held at once by the direct squared gap, so that they stay in the cache of a CPU
LOGITS_ELSEWHERE = 2**26
BFLOAT16_GAIN = 4  # matrix products in bfloat16 against float32, where bfloat16 is chosen: 4 to 6.5 on a CPU with AVX512-BF16


def logit_mse(
    student: torch.Tensor,
    teacher: torch.Tensor,
    student_readout,
    teacher_readout,
    teacher_gram=None,
) -> torch.Tensor:
    """Mean squared gap between student and teacher logits over N positions and V tokens, a scalar, without forming logits.

    `student` (N, Hs) and `teacher` (N, Ht) are transformed hidden states, the readouts (weight (V, H), bias (V,)). With Z the
    states, W the weights and b the student's biases less the teacher's, the sum of squares is <Ws'Ws, Zs'Zs> - 2 <Ws'Wt, Zs'Zt> +
    <Wt'Wt, Zt'Zt> + 2 b'(Ws Zs' - Wt Zt')1 + N b'b, <A, B> the sum of elementwise products. Memory is O(H^2) instead of O(N V).
    Computed in float32 whatever surrounds it (float64 of float64 states), the last sums in float64: the terms cancel.
    `teacher_gram` is Wt'Wt, which never changes. With equal student and teacher it is exactly zero.
    """
    return _Gram.apply(student, *student_readout, teacher, *teacher_readout, teacher_gram)


def logit_mse_direct(student, teacher, student_readout, teacher_readout) -> torch.Tensor:
    """The same number from the logits themselves, a part of the vocabulary at a time, in the precision of the autocast around it.

    In bfloat16 both products go into one sum before it is rounded, so that the gap is rounded and not the logits.
    """
    return _Direct.apply(student, *student_readout, teacher, *teacher_readout)


def direct_is_cheaper(positions: int, student_size: int, teacher_size: int, bfloat16: bool) -> bool:
    """Whether the direct form of the squared gap takes less time than the Gram form.

    Per token of the vocabulary the direct form multiplies and adds N (3 Hs + Ht) times, forward and backward, and may do so in
    bfloat16; the Gram form 2 Hs (Hs + Ht) times, always in float32.
    """
    gain = BFLOAT16_GAIN if bfloat16 else 1
    return positions * (3 * student_size + teacher_size) <= gain * 2 * student_size * (
        student_size + teacher_size
    )


def logit_kl(
    student, teacher, student_readout, teacher_readout, temperature: float
) -> torch.Tensor:
    """temperature^2 * KL(teacher || student) in nats of the temperature-softened distributions, mean over positions."""

    def divergence(s, t):
        return nn.functional.kl_div(
            (s / temperature).log_softmax(-1),
            (t / temperature).log_softmax(-1),
            reduction="sum",
            log_target=True,
        )

    return (
        _in_chunks(divergence, student, teacher, student_readout, teacher_readout) * temperature**2
    )


class DistillationTrainer(trainer.MaskedTrainer):
    """Minimises mlm_weight * mlm_loss + (1 - mlm_weight) * distillation_loss; the teacher only gives its logits."""

    def __init__(self, student, teacher, *given, **named):
        super().__init__(student, *given, **named)
        self.teacher = teacher.to(self.args.device).eval().requires_grad_(False)
        self.settings, self.gram = given[3], None

    def loss(self, model, batch):
        settings, hidden = self.settings, encoder.hidden_states(model, batch)
        own = mlm.mlm_loss(model, batch, hidden)
        if settings["mlm_weight"] == 1:
            return {"loss": own, "mlm_loss": own}
        where = (
            torch.ones_like(batch["attention_mask"])
            if settings["all_positions"]
            else batch["attention_mask"]
        )
        with torch.inference_mode():
            taught = encoder.transform(
                self.teacher, encoder.hidden_states(self.teacher, batch)[where.bool()]
            )
        gap = self.gap(
            encoder.transform(model, hidden[where.bool()]),
            taught,
            encoder.readout(model),
            encoder.readout(self.teacher),
        )
        weight = settings["mlm_weight"]
        return {
            "loss": weight * own + (1 - weight) * gap,
            "mlm_loss": own,
            "distillation_loss": gap,
        }

    def gap(self, student, teacher, student_readout, teacher_readout) -> torch.Tensor:
        """The distillation loss of the settings; the squared gap takes the cheaper of its two forms."""
        kind = self.settings["distillation_loss"]
        if kind != "mse":
            return logit_kl(
                student,
                teacher.clone(),
                student_readout,
                teacher_readout,  # clone: checkpoints keep no inference tensor
                self.settings["temperature"] if kind == "kl" else 1.0,
            )
        direct = direct_is_cheaper(
            len(student),
            student.shape[1],
            teacher.shape[1],
            torch.is_autocast_enabled(student.device.type),
        )
        self.note(gram_form=float(not direct))
        if direct:
            return logit_mse_direct(student, teacher, student_readout, teacher_readout)
        if self.gram is None:
            weight = teacher_readout[0].detach().float()
            self.gram = weight.T @ weight
        return logit_mse(student, teacher, student_readout, teacher_readout, self.gram)


def distil(
    student,
    teacher,
    tokenizer,
    train_sentences,
    dev_sentences,
    settings: dict,
    seed: int,
    folder: Path,
    name: str = "distil",
) -> dict:
    """Train `student` in place to give the teacher's logits, keeping the weights with the lowest MLM loss on dev.

    Returns {"history", "seconds"} as `training.fit`; the history holds mlm_loss and distillation_loss apart. Killed and called
    again with the same arguments, it goes on in `folder`. No steps leave the student as it is.
    Raises StudyError if the vocabularies differ or mlm_weight is above 1.
    """
    if student.config.vocab_size != teacher.config.vocab_size:
        raise StudyError(
            f"student and teacher must share one vocabulary; they have {student.config.vocab_size} and "
            f"{teacher.config.vocab_size} tokens: trim both or none"
        )
    if settings["mlm_weight"] > 1:
        raise StudyError(f"mlm_weight is a share, 0 to 1; got {settings['mlm_weight']}")
    if not settings["steps"]:
        return {"history": [], "seconds": []}
    return trainer.fit(
        DistillationTrainer(
            student,
            teacher,
            tokenizer,
            train_sentences,
            dev_sentences,
            settings,
            seed,
            folder,
            name,
        )
    )


class _Gram(torch.autograd.Function):
    """The squared gap from Gram matrices. Its derivative needs them too, and no more products than the value."""

    @staticmethod
    def forward(ctx, zs, ws, bs, zt, wt, bt, gram):
        with torch.autocast(zs.device.type, enabled=False):
            wide, ctx.kinds = (
                torch.float64 if zs.dtype == torch.float64 else torch.float32,
                [each.dtype for each in (zs, ws, bs)],
            )
            zs, ws, bs, zt, wt, bt = (each.to(wide) for each in (zs, ws, bs, zt, wt, bt))
            gram = wt.T @ wt if gram is None else gram
            of_student, of_both, bias = ws.T @ ws, wt.T @ ws, bs - bt
            states, crossed, sums, taught_sums = zs.T @ zs, zt.T @ zs, zs.sum(0), zt.sum(0)
            by_bias, taught_by_bias = bias @ ws, bias @ wt
            total = (
                _inner(of_student, states)
                - 2 * _inner(of_both, crossed)
                + _inner(gram, zt.T @ zt)
                + 2 * (_inner(sums, by_bias) - _inner(taught_sums, taught_by_bias))
                + len(zs) * _inner(bias, bias)
            )
            ctx.size = len(zs) * len(ws)
            slope = zs @ of_student - zt @ of_both + by_bias if ctx.needs_input_grad[0] else None
            ctx.save_for_backward(ws, wt, states, crossed, sums, taught_sums, bias, slope)
            ctx.positions = len(zs)
            return (total / ctx.size).to(wide)

    @staticmethod
    @once_differentiable
    def backward(ctx, outer):
        ws, wt, states, crossed, sums, taught_sums, bias, slope = ctx.saved_tensors
        by_states = by_weight = by_readout_bias = None
        with torch.autocast(ws.device.type, enabled=False):
            scale = 2 * outer / ctx.size
            if ctx.needs_input_grad[0]:
                by_states = slope * scale
            if ctx.needs_input_grad[1]:
                by_weight = (
                    (ws @ (states * scale)).addmm_(wt, crossed * -scale).addr_(bias, sums * scale)
                )
            if ctx.needs_input_grad[2]:
                by_readout_bias = (ws @ sums - wt @ taught_sums + ctx.positions * bias) * scale
        found = (by_states, by_weight, by_readout_bias)
        return (
            *(
                each if each is None else each.to(kind)
                for each, kind in zip(found, ctx.kinds, strict=True)
            ),
            None,
            None,
            None,
            None,
        )


class _Direct(torch.autograd.Function):
    """The squared gap from logits. The derivative is made beside the value, so no logit is kept or computed twice."""

    @staticmethod
    def forward(ctx, zs, ws, bs, zt, wt, bt):
        device = zs.device.type
        mixed = torch.is_autocast_enabled(device)
        exact = torch.promote_types(zs.dtype, torch.float32)
        low = torch.get_autocast_dtype(device) if mixed else exact
        part = max(1, LOGITS.get(device, LOGITS_ELSEWHERE) // max(1, len(zs)))
        ctx.slopes = [
            torch.zeros_like(each, dtype=exact) if wanted else None
            for each, wanted in zip((zs, ws, bs), ctx.needs_input_grad, strict=False)
        ]
        by_states, by_weight, by_bias = ctx.slopes
        scale, total = (
            2 / (len(zs) * len(ws)),
            torch.zeros((), dtype=torch.float64, device="cpu" if device == "mps" else device),
        )
        with torch.autocast(device, enabled=False):
            states, taught, both = (
                zs.to(low),
                zt.to(low),
                torch.cat([zs.to(low), zt.to(low)], 1) if mixed else None,
            )
            for begin in range(0, len(ws), part):
                some = slice(begin, begin + part)
                weight = ws[some].to(low)
                if mixed:
                    readout = torch.cat([weight, -wt[some].to(low)], 1)
                    gap = nn.functional.linear(both, readout, (bs[some] - bt[some]).to(low))
                else:
                    gap = nn.functional.linear(states, weight, bs[some].to(low))
                    gap -= nn.functional.linear(taught, wt[some].to(low), bt[some].to(low))
                total += torch.linalg.vector_norm(gap, dim=1, dtype=exact).to(total).square().sum()
                if by_states is not None:
                    by_states += gap @ weight
                if by_weight is not None:
                    by_weight[some] = gap.T @ states
                if by_bias is not None:
                    by_bias[some] = gap.sum(0, dtype=exact)
        for slope in filter(torch.is_tensor, ctx.slopes):
            slope *= scale
        ctx.kinds = [each.dtype for each in (zs, ws, bs)]
        return (total / (len(zs) * len(ws))).to(zs.device, exact)

    @staticmethod
    @once_differentiable
    def backward(ctx, outer):
        slopes, ctx.slopes = ctx.slopes, None
        found = (
            each if each is None else each.mul_(outer).to(kind)
            for each, kind in zip(slopes, ctx.kinds, strict=True)
        )
        return *found, None, None, None


def _inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.double() * b.double()).sum()


def _in_chunks(function, student, teacher, student_readout, teacher_readout) -> torch.Tensor:
    """Mean over positions of function(student logits, teacher logits); logits live for one chunk, forward and backward."""

    def one(s, t, weight, bias):
        return function(
            nn.functional.linear(s, weight, bias).float(),
            nn.functional.linear(t, *teacher_readout).float(),
        )

    total = student.new_zeros((), dtype=torch.float32)
    for s, t in zip(student.split(CHUNK), teacher.split(CHUNK), strict=True):
        total = total + checkpoint(one, s, t, *student_readout, use_reentrant=False)
    return total / len(student)
