#!/usr/bin/env bash
# transformers 5.23.0: AutoTokenizer.from_pretrained(..., add_prefix_space=True) of a byte-level BPE
# read from tokenizer.json changes nothing. The tokenizer says add_prefix_space True all the same.
#
# Why it matters: ModernBERT and EuroBERT have such tokenizers. For NER and part-of-speech tags one
# gives the words one by one (is_split_into_words=True), and asks for add_prefix_space=True, so that
# each word is cut as inside a sentence: "Ġcat". Now it is cut as "cat", as at the start of a text.
# The model sees in fine-tuning other tokens than in pre-training, and the scores fall. transformers
# 4.48 and later handed the setting on to the pre-tokenizer. The saved tokenizer_config.json holds
# the setting too, so it looks right. What works is to set the pre-tokenizer oneself.
#
# Seen with Python 3.11 and tokenizers 0.23.3. The output was:
#   a whole text: ['the', 'Ġcat', 'Ġsat']
#   words, add_prefix_space=True (the attribute says True): ['the', 'cat', 'sat']
#   words, the pre-tokenizer set by hand: ['Ġthe', 'Ġcat', 'Ġsat']
# The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 tokenizers==0.23.3
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder/own" <<'PYTHON'
import sys

import tokenizers
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

transformers.logging.set_verbosity_error()
place, words = sys.argv[1], ["the", "cat", "sat"]
backend = Tokenizer(models.BPE())
backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
trainer = trainers.BpeTrainer(
    vocab_size=300, special_tokens=["<pad>"], show_progress=False,
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
)
backend.train_from_iterator(["the cat sat on the mat"] * 20, trainer)
PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>").save_pretrained(place)


def cut(tokenizer, text, **options):
    return tokenizer.convert_ids_to_tokens(tokenizer(text, **options)["input_ids"])


print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}")
tokenizer = AutoTokenizer.from_pretrained(place, add_prefix_space=True)
whole = cut(AutoTokenizer.from_pretrained(place), " ".join(words))
asked = cut(tokenizer, words, is_split_into_words=True)
plain = cut(AutoTokenizer.from_pretrained(place), words, is_split_into_words=True)
print(f"a whole text: {whole}")
print(f"words, add_prefix_space=True (the attribute says {tokenizer.add_prefix_space}): {asked}")
tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
by_hand = cut(tokenizer, words, is_split_into_words=True)
print(f"words, the pre-tokenizer set by hand: {by_hand}")
assert by_hand == ["Ġthe", "Ġcat", "Ġsat"] and by_hand[1:] == whole[1:], "by hand it should work"
assert tokenizer.add_prefix_space is True, "the tokenizer should note the setting"
assert asked == plain == ["the", "cat", "sat"], "the behaviour has changed: the setting is used"
PYTHON
