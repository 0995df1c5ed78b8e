"""Speed is a number of sentences over the time that they took, on one thread."""

import pytest
import torch
import toys

from lib.measure import speed


@pytest.mark.parametrize("limit", [100.0, 5.0])
def test_sentences_over_their_time(monkeypatch, limit):
    """With two seconds a sentence: all ten of them, or those until the limit is reached."""
    clock, threads, read = [0.0], torch.get_num_threads(), []
    monkeypatch.setattr(speed.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(speed, "SECONDS", limit)
    whole = speed._read

    def slowly(model, tokenizer, sentence, max_length):
        whole(model, tokenizer, sentence, max_length)
        read.append((sentence, torch.get_num_threads()))
        clock[0] += 2

    monkeypatch.setattr(speed, "_read", slowly)
    sentences = toys.sentences(10)
    found = speed.sentences_per_second(toys.model("bert"), toys.tokenizer("bert"), sentences, 20)
    assert found == 0.5 and torch.get_num_threads() == threads
    counted = 10 if limit == 100 else 3
    assert read == [(each, 1) for each in [sentences[0], *sentences[:counted]]]


def test_a_sentence_longer_than_the_positions_is_cut():
    sentence = " ".join(toys.sentences(40))
    assert len(toys.tokenizer("bert")(sentence)["input_ids"]) > 128
    assert speed.sentences_per_second(toys.model("bert"), toys.tokenizer("bert"), [sentence]) > 0
