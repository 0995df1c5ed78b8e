"""Pseudo-perplexity: how well a masked language model foresees each token of a text from all the others (paper, step 6).

The pseudo-log-likelihood of a sentence (Salazar et al. 2020) hides one token at a time and adds up the log-probabilities of the
hidden ones. What it is divided by decides what may be compared:

- per token, the usual number, only between models with one vocabulary: a token of a small vocabulary is a smaller thing;
- per word and per character between vocabularies too, since these counts do not depend on the tokenizer.

Three variants say what is hidden:

- `single`: each token of the text alone; special tokens are seen, never hidden, never counted.
- `left_to_right`: the token and the later pieces of its word (Kauf and Ivanova 2023). In `single` a piece is guessed with the rest
  of its word in sight, which is easy; a vocabulary that cuts words finely gets this help more often. This variant gives none.
- `authors`: as `single`, special tokens also hidden one by one. Beside the numbers of `single`, the authors' own, named
  `pseudo_perplexity_authors`: of each sentence the perplexity over all its tokens, special ones too, divided by its words; then the
  mean over sentences. It falls as sentences grow longer. Their words are nltk's; here a word is a run of letters and digits, or
  one mark of punctuation.

A piece the vocabulary lacks is one `unknown` token and counts as any other: it is easy to foresee. Their number is given.
"""

import math
import re

import torch

from lib.errors import StudyError
from lib.measure import masking
from lib.model import device, encoder

VARIANTS = ("single", "left_to_right", "authors")


def pseudo_perplexity(
    model,
    tokenizer,
    sentences: list[str],
    max_length: int = 0,
    variant: str = "single",
    precision: str = "float32",
) -> dict:
    """How surprising the sentences are to the model, as named numbers (floats) and what they rest on (whole numbers).

    `pseudo_perplexity`: exp of the negative mean log-likelihood per token. `bits_per_word`, `bits_per_character`: the negative
    log-likelihood to base 2, per word (what stands between spaces) and per character (spaces between words counted once).
    The variant `left_to_right` has these with `_left_to_right` behind the name; `authors` adds `pseudo_perplexity_authors`.
    `tokens`, `words`, `characters`, `sentences`; `unknown_tokens`; `cut_sentences`: those longer than `max_length` tokens (0: as many
    as the model takes), of which only the part that fits is measured and counted.
    `precision` is float32, bfloat16 (faster on many machines, and rounded more), or auto, as in training.
    Raises StudyError for an unknown variant, no sentences, an empty one, and a length the model cannot take.
    """
    texts, nats = _measure(model, tokenizer, sentences, max_length, variant, precision)
    own = [
        [value for value, special in zip(values, text.special, strict=True) if not special]
        for values, text in zip(nats, texts, strict=True)
    ]
    counts = {
        "tokens": sum(map(len, own)),
        "words": sum(len(text.covered.split()) for text in texts),
        "characters": sum(len(text.covered) for text in texts),
        "sentences": len(texts),
        "unknown_tokens": sum(text.ids.count(tokenizer.unk_token_id) for text in texts),
        "cut_sentences": sum(text.cut for text in texts),
    }
    total = math.fsum(value for values in own for value in values)
    ending = "_left_to_right" if variant == "left_to_right" else ""
    bits = total / math.log(2)
    scores = {
        "pseudo_perplexity": _exp(total / counts["tokens"]),
        "bits_per_word": bits / counts["words"],
        "bits_per_character": bits / counts["characters"],
    }
    scores = {name + ending: value for name, value in scores.items()}
    if variant == "authors":
        each = [
            _exp(math.fsum(values) / len(values)) / _nltk_like_words(text.covered)
            for values, text in zip(nats, texts, strict=True)
        ]
        scores["pseudo_perplexity_authors"] = math.fsum(each) / len(each)
    return scores | counts


def token_surprisal(
    model, tokenizer, sentence: str, max_length: int = 0, variant: str = "single"
) -> list[tuple[str, float]]:
    """(piece, nats) of each token of one sentence in order: how surprising it is. Special tokens only with `authors`."""
    texts, nats = _measure(model, tokenizer, [sentence], max_length, variant)
    pieces = tokenizer.convert_ids_to_tokens(texts[0].ids)
    return [
        (piece, value)
        for piece, value in zip(pieces, nats[0], strict=True)
        if not math.isnan(value)
    ]


@torch.inference_mode()
def _measure(model, tokenizer, sentences, max_length, variant, precision="float32"):
    """The encoded texts and, of each, the nats of its tokens; nan where a special token was not asked for."""
    if variant not in VARIANTS:
        raise StudyError(
            f"no pseudo-perplexity {variant!r}; there are {', '.join(VARIANTS)}: take one of these"
        )
    texts = masking.encode(sentences, tokenizer, model.config, max_length)
    nats = [[math.nan] * len(text.ids) for text in texts]
    was_training = model.training
    model.eval()
    for batch in masking.batches(
        texts, tokenizer, variant == "authors", variant == "left_to_right"
    ):
        here = {name: tensor.to(model.device) for name, tensor in batch.items()}
        with device.autocast(model.config, precision):
            hidden = encoder.hidden_states(model, here)
            hidden = hidden[torch.arange(len(hidden), device=hidden.device), here["position"]]
            values, _ = masking.judge(model, hidden, here["gold"])
        for number, place, value in zip(
            batch["text"].tolist(), batch["position"].tolist(), values.tolist(), strict=True
        ):
            nats[number][place] = -value
    model.train(was_training)
    return texts, nats


def _nltk_like_words(text: str) -> int:
    """Words and marks of punctuation; nltk differs in abbreviations and contractions."""
    return max(1, len(re.findall(r"\w+|[^\w\s]", text)))


def _exp(nats: float) -> float:
    """exp, and the largest float where that is larger still: a record holds no infinity."""
    return math.exp(min(nats, 709.0))
