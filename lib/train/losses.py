"""Distillation losses between the logits of a student and of its teacher (paper, steps 1 and 3).

Logits of N positions and V tokens are Z W' + b: `student` (N, Hs) and `teacher` (N, Ht) are the
transformed hidden states Z, and a readout is the pair (W, b) of shapes (V, H) and (V,).
"""

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

CHUNK = 512  # positions whose logits `logit_kl` holds at once
# Logits that `logit_mse_direct` holds at once: on a CPU they stay in its cache.
LOGITS = {"cpu": 2**21}
_LOGITS_ELSEWHERE = 2**26
# Speed of matrix products in bfloat16 against float32; 4 to 6.5 on a CPU with AVX512-BF16.
BFLOAT16_GAIN = 4


def logit_mse(student, teacher, student_readout, teacher_readout, teacher_gram=None):
    """Mean squared gap between student and teacher logits, a scalar, from Gram matrices.

    With b the student's biases less the teacher's, the sum of squares is <Ws'Ws, Zs'Zs> -
    2 <Ws'Wt, Zs'Zt> + <Wt'Wt, Zt'Zt> + 2 b'(Ws Zs' - Wt Zt')1 + N b'b, where <A, B> is the sum of
    elementwise products. Memory is O(H^2) instead of O(N V). It is computed in float32 even under
    autocast (float64 for float64 states), the last sums in float64, because the terms cancel.
    `teacher_gram` is Wt'Wt, which never changes. Equal student and teacher give exactly zero.
    """
    return _Gram.apply(student, *student_readout, teacher, *teacher_readout, teacher_gram)


def logit_mse_direct(student, teacher, student_readout, teacher_readout):
    """The same number from the logits, a part of the vocabulary at a time.

    It has the precision of autocast. In bfloat16 the gap is rounded and not the logits, because
    both products go into one sum.
    """
    return _Direct.apply(student, *student_readout, teacher, *teacher_readout)


def direct_is_cheaper(positions: int, student_size: int, teacher_size: int, bfloat16: bool) -> bool:
    """Whether the direct form of the squared gap takes less time than the Gram form.

    For each token of the vocabulary the direct form makes N (3 Hs + Ht) products, forward and
    backward, perhaps in bfloat16; the Gram form makes 2 Hs (Hs + Ht), always in float32.
    """
    direct = positions * (3 * student_size + teacher_size)
    gram = 2 * student_size * (student_size + teacher_size)
    return direct <= (BFLOAT16_GAIN if bfloat16 else 1) * gram


def logit_kl(student, teacher, student_readout, teacher_readout, temperature: float):
    """temperature^2 * KL(teacher || student) in nats of the softened distributions, mean over N.

    Logits live for one chunk of positions; the backward pass computes them again. They are in
    float32 even under autocast: near the teacher, the rounding of bfloat16 logits is larger than
    the divergence.
    """

    def divergence(*tensors):
        with torch.autocast(student.device.type, enabled=False):
            states, taught, *readout = (tensor.float() for tensor in tensors)
            logits = nn.functional.linear(states, *readout) / temperature
            target = nn.functional.linear(taught, *teacher_readout) / temperature
            return nn.functional.kl_div(
                logits.log_softmax(-1), target.log_softmax(-1), reduction="sum", log_target=True
            )

    total = student.new_zeros((), dtype=torch.float32)
    for states, taught in zip(student.split(CHUNK), teacher.split(CHUNK), strict=True):
        total = total + checkpoint(
            divergence, states, taught, *student_readout, use_reentrant=False
        )
    return total / len(student) * temperature**2


class _Gram(torch.autograd.Function):
    """The squared gap from Gram matrices, which its derivative needs too."""

    @staticmethod
    def forward(ctx, zs, ws, bs, zt, wt, bt, gram):
        exact = torch.promote_types(zs.dtype, torch.float32)
        with torch.autocast(zs.device.type, enabled=False):
            zs, ws, bs, zt, wt, bt = (tensor.to(exact) for tensor in (zs, ws, bs, zt, wt, bt))
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
            slope = zs @ of_student - zt @ of_both + by_bias
        ctx.save_for_backward(ws, wt, states, crossed, sums, taught_sums, bias, slope)
        ctx.positions = len(zs)
        return (total / (len(zs) * len(ws))).to(exact)

    @staticmethod
    @once_differentiable
    def backward(ctx, outer):
        ws, wt, states, crossed, sums, taught_sums, bias, slope = ctx.saved_tensors
        with torch.autocast(ws.device.type, enabled=False):
            scale = 2 * outer / (ctx.positions * len(ws))
            by_weight = ws @ (states * scale)
            by_weight.addmm_(wt, crossed * -scale).addr_(bias, sums * scale)
            by_bias = (ws @ sums - wt @ taught_sums + ctx.positions * bias) * scale
        return slope * scale, by_weight, by_bias, None, None, None, None


class _Direct(torch.autograd.Function):
    """The squared gap from logits. The derivative is made beside the value, so no logit is kept."""

    @staticmethod
    def forward(ctx, zs, ws, bs, zt, wt, bt):
        place, count = zs.device.type, len(zs) * len(ws)
        mixed = torch.is_autocast_enabled(place)
        exact = torch.promote_types(zs.dtype, torch.float32)
        low = torch.get_autocast_dtype(place) if mixed else exact
        part = max(1, LOGITS.get(place, _LOGITS_ELSEWHERE) // max(1, len(zs)))
        ctx.slopes = [torch.zeros_like(tensor, dtype=exact) for tensor in (zs, ws, bs)]
        by_states, by_weight, by_bias = ctx.slopes
        wide = torch.zeros((), dtype=torch.float64, device="cpu" if place == "mps" else place)
        with torch.autocast(place, enabled=False):
            states, taught = zs.to(low), zt.to(low)
            for begin in range(0, len(ws), part):
                some = slice(begin, begin + part)
                student, teacher = (ws[some].to(low), bs[some]), (wt[some].to(low), bt[some])
                gap = _gap(states, taught, student, teacher, mixed)
                wide += torch.linalg.vector_norm(gap, dim=1, dtype=exact).to(wide).square().sum()
                by_states += gap @ student[0]
                by_weight[some] = gap.T @ states
                by_bias[some] = gap.sum(0, dtype=exact)
        for slope in ctx.slopes:
            slope *= 2 / count
        return (wide / count).to(zs.device, exact)

    @staticmethod
    @once_differentiable
    def backward(ctx, outer):
        slopes, ctx.slopes = ctx.slopes, None
        return *(slope.mul_(outer) for slope in slopes), None, None, None


def _gap(states, taught, student, teacher, mixed: bool) -> torch.Tensor:
    """Student logits less teacher logits of a part of the vocabulary; one product if `mixed`."""
    (ws, bs), (wt, bt), low = student, teacher, states.dtype
    if mixed:
        both = torch.cat([states, taught], 1)
        return nn.functional.linear(both, torch.cat([ws, -wt], 1), (bs - bt).to(low))
    gap = nn.functional.linear(states, ws, bs.to(low))
    return gap.sub_(nn.functional.linear(taught, wt, bt.to(low)))


def _inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.double() * b.double()).sum()
