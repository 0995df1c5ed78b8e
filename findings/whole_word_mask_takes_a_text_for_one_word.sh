#!/usr/bin/env bash
# transformers 5.23.0 with tokenizers 0.23.3: DataCollatorForLanguageModeling(whole_word_mask=True)
# takes a whole sentence for one word, if the offsets of a token hold the space before it. It then
# masks all tokens of a sentence or none.
#
# Why it matters: offsets hold the space for tokenizers such as Gemma's, which turn spaces into "▁"
# and cut no words, and for byte-level BPE with `trim_offsets: false`, as Qwen and Llama publish it.
# The collator begins a new word where the offsets have a gap. With these tokenizers there is none. So
# most sentences of a training have no label, and the others nothing that is not masked. There is no
# warning. With `trim_offsets: true`, as RoBERTa has it, words are words. `word_ids()` is right for
# byte-level BPE, and for the first kind it too says that all tokens are of word 0. One would expect
# words, or a refusal.
#
# Seen with Python 3.11 and torch 2.13.0. The output was:
#   byte-level BPE, offsets without the space: 4 words by the offsets, 4 by word_ids()
#   byte-level BPE, offsets with the space: 1 words by the offsets, 4 by word_ids()
#     of 400 sentences 345 have no label and 55 are masked as a whole
#   BPE of a whole text, as Gemma's: 1 words by the offsets, 1 by word_ids()
#     of 400 sentences 345 have no label and 55 are masked as a whole
# The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 tokenizers==0.23.3 torch==2.13.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import tokenizers
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

transformers.logging.set_verbosity_error()
TEXT, SENTENCES = "the cat eats fish", 400
SPECIAL = ["<pad>", "<s>", "</s>", "<mask>", "<unk>"]


def byte_level(trim_offsets):
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.train_from_iterator([TEXT], trainers.BpeTrainer(
        special_tokens=SPECIAL, vocab_size=300, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    ))
    return raw, processors.ByteLevel(add_prefix_space=False, trim_offsets=trim_offsets)


def whole_text():
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.normalizer = normalizers.Replace(" ", "▁")
    raw.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    raw.train_from_iterator([TEXT], trainers.BpeTrainer(
        special_tokens=SPECIAL, vocab_size=40, show_progress=False,
    ))
    raw.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")  # as in Gemma's file
    return raw, None


def show(name, raw, processor):
    ends = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    raw.post_processor = processors.Sequence([processor, ends]) if processor else ends
    own = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", mask_token="<mask>", bos_token="<s>",
        eos_token="</s>", unk_token="<unk>",
    )
    encoded = own(TEXT, return_offsets_mapping=True, return_special_tokens_mask=True)
    inside = encoded["offset_mapping"][1:-1]
    by_offsets = 1 + sum(left[1] != right[0] for left, right in zip(inside, inside[1:]))
    by_ids = len({*encoded.word_ids()} - {None})
    print(f"{name}: {by_offsets} words by the offsets, {by_ids} by word_ids()")
    collator = DataCollatorForLanguageModeling(own, whole_word_mask=True, seed=1)
    labels = collator([dict(encoded) for _ in range(SENTENCES)])["labels"][:, 1:-1] != -100
    assert labels.shape[1] > 3, "the sentence should have several tokens"
    none, whole = (~labels.any(1)).sum().item(), labels.all(1).sum().item()
    if by_offsets == 1:
        print(f"  of {SENTENCES} sentences {none} have no label and {whole} are masked as a whole")
    return by_offsets, by_ids, none + whole == SENTENCES


print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}, "
      f"torch {torch.__version__}")
changed = "the behaviour has changed: "
found = show("byte-level BPE, offsets without the space", *byte_level(True))
assert found == (4, 4, False), "words should be words here"
found = show("byte-level BPE, offsets with the space", *byte_level(False))
assert found == (1, 4, True), changed + "byte-level BPE"
found = show("BPE of a whole text, as Gemma's", *whole_text())
assert found == (1, 1, True), changed + "a tokenizer such as Gemma's"
PYTHON
