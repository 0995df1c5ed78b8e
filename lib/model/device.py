"""Where to compute, and in which precision."""

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
    """A context in which the model lies on the device to compute on; afterwards it lies where it lay."""
    home = model.device
    try:
        yield model.to(device())
    finally:
        model.to(home)


def in_bfloat16(config, precision: str = "auto") -> bool:
    """Whether to compute in bfloat16: as `precision` says; `auto` where that is faster: a GPU that has it, or a CPU whose matrix
    instructions do (AMX, AVX512-BF16) with H >= 128."""
    if precision != "auto":
        return precision == "bfloat16"
    if device().type == "cuda":
        return torch.cuda.is_bf16_supported()
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return device().type == "cpu" and fast and config.hidden_size >= 128


def autocast(config, precision: str = "auto"):
    """A context for forward passes in the precision of `in_bfloat16`."""
    return (
        torch.autocast(device().type, torch.bfloat16)
        if in_bfloat16(config, precision)
        else contextlib.nullcontext()
    )


def choose_attention(model, precision: str, max_length: int) -> None:
    """Let a model that is trained attend in the way that is fastest; the result is the same but for rounding.

    On a CPU in bfloat16 the backward pass of the library's fused attention is slow: a training step of 6 x 192 on sentences
    takes twice as long as with its plain (`eager`) one. Elsewhere the library's own choice stands.
    """
    if device().type == "cpu" and max_length <= 256 and in_bfloat16(model.config, precision):
        model.set_attn_implementation("eager")


def release() -> None:
    """Give memory that is free back to the system; glibc keeps it.

    Batches of ever different lengths leave holes: a training of a 6 x 384 teacher held 5.7 GB after half an hour, of which it used 1.3.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library: nothing to do
        ctypes.CDLL("libc.so.6").malloc_trim(0)
