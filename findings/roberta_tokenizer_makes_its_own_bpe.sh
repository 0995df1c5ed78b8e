#!/usr/bin/env bash
# transformers 5.23.0: a tokenizer.json with tokenizer_class RobertaTokenizer is read without its
# normalizer, its pre-tokenizer and its ignore_merges, and without a warning. Other ids come out.
#
# Why it matters: a model fits its tokenizer only if the ids stay the same. The class takes tokens
# and merges from the file and makes all the rest itself: a plain byte-level BPE, whose
# add_prefix_space is taken from tokenizer_config.json alone. Read such a folder with
# PreTrainedTokenizerFast, which takes the file as it is.
#
# Seen with Python 3.11 and tokenizers 0.23.3. The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 tokenizers==0.23.3
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import sys
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

transformers.logging.set_verbosity_error()
SPECIAL = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def written(name, normalizer=None, prefix_space=False, ignore_merges=False):
    """A folder with a byte-level BPE of two merges and one word that no merges give."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL.values(), *alphabet, "ab", "Ġa", "word"]
    numbers = {token: number for number, token in enumerate(tokens)}
    raw = Tokenizer(models.BPE(numbers, [("Ġ", "a"), ("a", "b")], ignore_merges=ignore_merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    raw.decoder = decoders.ByteLevel()
    if normalizer:
        raw.normalizer = normalizer
    place = Path(sys.argv[1], name)
    PreTrainedTokenizerFast(tokenizer_object=raw, **SPECIAL).save_pretrained(place)
    settings = SPECIAL | {"tokenizer_class": "RobertaTokenizer"}
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    return place


print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}")
cases = {
    "nothing else": ({}, "ab", True),
    "a lower-casing normalizer": ({"normalizer": normalizers.Lowercase()}, "AB", False),
    "add_prefix_space in its pre-tokenizer": ({"prefix_space": True}, "ab", False),
    "ignore_merges": ({"ignore_merges": True}, "word", False),
}
for number, (name, (settings, text, expected)) in enumerate(cases.items()):
    place = written(str(number), **settings)
    file = Tokenizer.from_file(str(place / "tokenizer.json")).encode(text, add_special_tokens=False)
    auto = AutoTokenizer.from_pretrained(place)
    plain = PreTrainedTokenizerFast.from_pretrained(place)
    print(f"with {name}, {text!r}: the file says {file.tokens}, AutoTokenizer {auto.tokenize(text)}")
    assert type(auto).__name__ == "RobertaTokenizer", "the behaviour has changed: another class"
    assert plain.tokenize(text) == file.tokens, "PreTrainedTokenizerFast should follow the file"
    same = auto.tokenize(text) == file.tokens
    assert same == expected, "the behaviour has changed: the class follows the file now"
PYTHON
