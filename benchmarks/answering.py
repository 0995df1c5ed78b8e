"""A process that holds one model file and answers: milliseconds of calls, and its peak memory.

`python -m benchmarks.answering FILE THREADS`. FILE is an ONNX file, or a folder of transformers. It
prints the milliseconds from its start with the file to its first answer. Then each line `ROWS
TOKENS` gets the milliseconds of one call, and the line `peak` the peak memory in MB so far. With an
ONNX file it imports no torch.
"""

import resource
import sys
import time
from pathlib import Path

import numpy


def _torch(folder: str, threads: int):
    """A function of token ids (B, T): the hidden states of a folder's model in torch."""
    import torch
    from transformers import AutoModel

    torch.set_num_threads(threads)
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()

    def answer(ids):
        ids = torch.from_numpy(ids)
        with torch.inference_mode():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))

    return answer


def _onnx(file: str, threads: int):
    """A function of token ids (B, T): the output of an ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
    return lambda ids: session.run(None, {"input_ids": ids, "attention_mask": numpy.ones_like(ids)})


def _peak() -> float:
    """Peak memory in MB; on Linux not by `getrusage`, which begins with that of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1000
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main(file: str, threads: str) -> None:
    """Answer the lines of the standard input."""
    began = time.perf_counter()
    answer = (_onnx if file.endswith(".onnx") else _torch)(file, int(threads))
    answer(numpy.full((1, 16), 9))
    print(1000 * (time.perf_counter() - began), flush=True)
    for line in sys.stdin:
        if line.strip() == "peak":
            print(_peak(), flush=True)
            continue
        rows, tokens = map(int, line.split())
        ids = numpy.random.default_rng(0).integers(9, 99, (rows, tokens))
        began = time.perf_counter()
        answer(ids)
        print(1000 * (time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
