"""How fast an encoder reads sentences."""

import time

import torch

from lib.model import encoder
from lib.model.device import evaluating
from lib.model.sizes import max_tokens

SECONDS = 3.0  # of the processor, at most, for each model


def sentences_per_second(model, tokenizer, sentences: list[str], max_length: int = 128) -> float:
    """Sentences that the encoder reads in a second: one after another, on one thread of the CPU, in
    float32, with the tokenizer. Sentences are cut at `max_length` tokens, or at the model's own
    limit.

    It is the number of sentences that were read over the processor's time, which other programs do
    not change, after one sentence that does not count.
    """
    threads, longest = torch.get_num_threads(), min(max_length, max_tokens(model.config))
    torch.set_num_threads(1)
    try:
        with evaluating(model):
            _read(model, tokenizer, sentences[0], longest)
            count, seconds, began = 0, 0.0, time.process_time()
            while count < len(sentences) and seconds < SECONDS:
                _read(model, tokenizer, sentences[count], longest)
                count, seconds = count + 1, time.process_time() - began
        return count / seconds
    finally:
        torch.set_num_threads(threads)


def _read(model, tokenizer, sentence: str, max_length: int) -> None:
    options = {"truncation": True, "max_length": max_length, "return_tensors": "pt"}
    encoder.hidden_states(model, tokenizer(sentence, **options))
