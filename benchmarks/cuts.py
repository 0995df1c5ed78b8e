"""`python -m benchmarks.cuts [MODEL ...]`: seconds and memory of each cut at real dimensions.

The models have random weights and the dimensions of published ones, each in a process of its own.
Memory is what a cut needs beyond the model that it cuts, its result included, as a multiple of the
model's own bytes.
"""

import subprocess
import sys
import time
from pathlib import Path

import torch
from transformers import AutoConfig

from benchmarks import measuring
from lib.model import encoder, families, ffn, hidden, layers, sizes, vocabulary
from lib.model.loading import quiet

_MODERN = {"model_type": "modernbert", "num_hidden_layers": 22, "intermediate_size": 1152}
# XLM-R large has RoBERTa large's dimensions and its own tokens, mmBERT those of its training.
# DistilBERT and ModernBERT have the library's defaults, DistilBERT with mBERT's tokens.
MODELS = {
    "XLM-R large": {
        "model_type": "xlm-roberta",
        "vocab_size": 250_002,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
    },
    "DistilBERT multilingual": {
        "model_type": "distilbert",
        "vocab_size": 119_547,
        "dim": 768,
        "n_layers": 6,
        "n_heads": 12,
        "hidden_dim": 3072,
    },
    "ModernBERT base": _MODERN | {"hidden_size": 768, "num_attention_heads": 12},
    "mmBERT small": _MODERN | {"hidden_size": 384, "num_attention_heads": 6, "vocab_size": 256_000},
    "mmBERT base": _MODERN | {"hidden_size": 768, "num_attention_heads": 12, "vocab_size": 256_000},
}
KEPT_TOKENS = 40_000


def main() -> None:
    """Print the table of the named models, or of all."""
    if sys.argv[1:2] == ["--one"]:
        return _one(sys.argv[2])
    print("model, parameters (M): cut, seconds, extra memory as a multiple of the model's bytes")
    for name in sys.argv[1:] or MODELS:
        command = [sys.executable, "-m", "benchmarks.cuts", "--one", name]
        subprocess.run(command, check=True)


def cuts(model) -> dict:
    """Name -> a call that makes a cut of about half the size."""
    config = model.config
    neurons = families.size(config, "intermediate_size") // 2
    kept = torch.arange(neurons).repeat(config.num_hidden_layers, 1)
    step = config.num_attention_heads * (2 if families.family(config).rotary else 1)
    size = config.hidden_size // 2 // step * step
    return {
        "layers": lambda: layers.cut(model, config.num_hidden_layers // 2, "first_k"),
        "ffn": lambda: ffn.cut(model, kept),
        "hidden, truncation": lambda: hidden.start(model, size, "truncation"),
        "hidden, svd": lambda: hidden.start(model, size, "svd"),
        "vocabulary": lambda: vocabulary.cut(model, torch.arange(KEPT_TOKENS).numpy()),
    }


def _one(name: str) -> None:
    entry = dict(MODELS[name])
    with quiet():
        config = AutoConfig.for_model(
            entry.pop("model_type"),
            **entry,
            **{f"{token}_token_id": 1 for token in ("pad", "bos", "eos", "cls", "sep")},
        )
        model = encoder.new(config, 0)
    whole = sizes.parameters(model)
    for cut, make in cuts(model).items():
        measuring.forget_peak()
        before, began = _resident(), time.perf_counter()
        small = make()
        seconds, extra = time.perf_counter() - began, measuring.peak() * 2**30 - before
        assert sizes.parameters(small) == sizes.count_parameters(small.config)
        del small
        row = f"{cut}, {seconds:.1f}, {extra / (4 * whole):.2f}"
        print(f"{name}, {whole / 1e6:.1f}: {row}", flush=True)


def _resident() -> int:
    """Bytes of memory that this process holds now."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


if __name__ == "__main__":
    main()
