"""Pseudo-perplexity: how well a masked language model predicts each token from all others.

The pseudo-log-likelihood of a sentence (Salazar et al. 2020; paper, step 6) masks one token at a
time and adds up the log-probabilities of the masked ones. Per token it may be compared only between
models with one vocabulary, for tokens of a small vocabulary are smaller. Per word and per character
it may be compared between vocabularies too. Three variants differ in the masked tokens:

- `single`: each token of the text alone. Special tokens are seen, never masked and never counted.
- `left_to_right`: the token and the later tokens of its word (Kauf and Ivanova 2023). With the rest
  of its word in sight a token is easy to guess, which helps a vocabulary that splits words finely.
- `authors`: as `single`, and special tokens too, one by one. `pseudo_perplexity_authors` is each
  sentence's perplexity over all its tokens divided by its words, then the mean over sentences. It
  falls as sentences grow longer. The authors' words are nltk's; here a word is a run of letters
  and digits, or one punctuation mark.

A part of the text that the vocabulary lacks is one unknown token, counts as any other and is easy
to predict. The number of unknown tokens is given.
"""

import math
import re

import torch

from lib import checks
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
    """Scores (floats) and the counts they rest on (integers), by name.

    `pseudo_perplexity`: exp of the negative mean log-likelihood per token. `bits_per_word`,
    `bits_per_character`: the negative log-likelihood to base 2; words stand between spaces, and
    spaces between words count once. The variant `left_to_right` ends these names in
    `_left_to_right`; `authors` adds `pseudo_perplexity_authors`. `cut_sentences`: the number of
    those longer than `max_length` tokens (0: the maximum), measured as far as they fit.
    Raises StudyError for an unknown variant, no or empty sentences, and an impossible length.
    """
    texts, nats = _measure(model, tokenizer, sentences, max_length, variant, precision)
    of_text = [
        [value for value, added in zip(values, text.special, strict=True) if not added]
        for values, text in zip(nats, texts, strict=True)
    ]
    counts = {
        "tokens": sum(map(len, of_text)),
        "words": sum(len(text.covered.split()) for text in texts),
        "characters": sum(len(text.covered) for text in texts),
        "sentences": len(texts),
        "unknown_tokens": sum(text.ids.count(tokenizer.unk_token_id) for text in texts),
        "cut_sentences": sum(text.cut for text in texts),
    }
    total = math.fsum(value for values in of_text for value in values)
    ending, bits = "_left_to_right" if variant == "left_to_right" else "", total / math.log(2)
    scores = {
        f"pseudo_perplexity{ending}": _exp(total / counts["tokens"]),
        f"bits_per_word{ending}": bits / counts["words"],
        f"bits_per_character{ending}": bits / counts["characters"],
    }
    if variant == "authors":
        scores["pseudo_perplexity_authors"] = _authors(texts, nats)
    return scores | counts


def token_surprisal(
    model, tokenizer, sentence: str, max_length: int = 0, variant: str = "single"
) -> list[tuple[str, float]]:
    """(token, surprisal in nats) of each token of a sentence; special ones only with `authors`."""
    texts, nats = _measure(model, tokenizer, [sentence], max_length, variant)
    tokens = tokenizer.convert_ids_to_tokens(texts[0].ids)
    pairs = zip(tokens, nats[0], strict=True)
    return [(token, value) for token, value in pairs if not math.isnan(value)]


def _measure(model, tokenizer, sentences, max_length, variant, precision="float32"):
    """The texts and the nats of each one's tokens; nan for special tokens that were not masked."""
    checks.check_choice(variant, VARIANTS, "the variant of pseudo-perplexity")
    texts = masking.encode(sentences, tokenizer, model.config, max_length)
    nats = [[math.nan] * len(text.ids) for text in texts]
    special, to_the_right = variant == "authors", variant == "left_to_right"
    with device.evaluating(model):
        for batch in masking.batches(texts, tokenizer, special, to_the_right):
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            with device.autocast(model.config, precision):
                hidden = encoder.hidden_states(model, batch)
                hidden = hidden[torch.arange(len(hidden), device=hidden.device), batch["position"]]
                values, _ = masking.judge(model, hidden, batch["gold"])
            rows = (batch["text"].tolist(), batch["position"].tolist(), values.tolist())
            for number, place, value in zip(*rows, strict=True):
                nats[number][place] = -value
    return texts, nats


def _authors(texts, nats) -> float:
    """Mean over sentences of perplexity divided by words; nltk's words differ in abbreviations."""
    values = [
        _exp(math.fsum(row) / len(row)) / max(1, len(re.findall(r"\w+|[^\w\s]", text.covered)))
        for row, text in zip(nats, texts, strict=True)
    ]
    return math.fsum(values) / len(values)


def _exp(nats: float) -> float:
    """exp, but at most the largest float, for a record holds no infinity."""
    return math.exp(min(nats, 709.0))
