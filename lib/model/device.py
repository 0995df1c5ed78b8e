"""How a model runs: device, precision, evaluation mode."""

import contextlib
import ctypes

import torch


def device() -> torch.device:
    """The device to compute on: a CUDA GPU, an Apple GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextlib.contextmanager
def at_work(model):
    """A context in which the model is on the device to compute on; it returns afterwards."""
    home = model.device
    try:
        yield model.to(device())
    finally:
        model.to(home)


@contextlib.contextmanager
def evaluating(model):
    """A context in which the model is in evaluation mode and records no gradients."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def in_bfloat16(config, precision: str = "auto") -> bool:
    """Whether to compute in bfloat16: as `precision` says, or with `auto` where it is faster.

    It is faster on a GPU that has it, and for H >= 128 on a CPU whose matrix instructions have it
    (AMX, AVX512-BF16).
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device().type == "cuda":
        return torch.cuda.is_bf16_supported()
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return device().type == "cpu" and fast and config.hidden_size >= 128


def autocast(config, precision: str = "auto"):
    """A context for forward passes in the precision of `in_bfloat16`."""
    if in_bfloat16(config, precision):
        return torch.autocast(device().type, torch.bfloat16)
    return contextlib.nullcontext()


def choose_attention(model, precision: str, max_length: int) -> None:
    """Set the fastest attention for a training; results differ by rounding only.

    On a CPU in bfloat16 the backward pass of the library's fused attention is slow: a training step
    of 6 x 192 on sentences takes twice as long as with plain (`eager`) attention. On a GPU cuDNN's
    attention is off for the whole process: it plans anew for each length of a batch, which takes
    longer than the step.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)
    if device().type == "cpu" and max_length <= 256 and in_bfloat16(model.config, precision):
        model.set_attn_implementation("eager")


def release() -> None:
    """Give free memory back to the system, which glibc would keep.

    Batches of ever different lengths leave holes: a training of a 6 x 384 teacher held 5.7 GB after
    half an hour and used 1.3 GB of them.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such function
        ctypes.CDLL("libc.so.6").malloc_trim(0)
