#!/usr/bin/env bash
# transformers 5.23.0: a saved XLMRobertaTokenizer with a normalizer of its own, such as NFKC, is read
# back without it, and without a warning. tokenizer.json still holds it.
#
# Why it matters: a model fits its tokenizer only if the ids stay the same after saving and reading.
# With NFKC the tokenizer cuts "km²" as "km2"; read again, it does not. The class builds its
# tokenizer anew; of the file's normalizers it takes SentencePiece's table (`Precompiled`) alone.
# Save such a tokenizer as PreTrainedTokenizerFast, which keeps the file as it is.
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
from tokenizers import normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, XLMRobertaTokenizer

transformers.logging.set_verbosity_error()
TEXT = "km²"
pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁km", "k", "m", "2", "<mask>"]


def saved_and_read(tokenizer, name):
    place = Path(sys.argv[1], name)
    tokenizer.save_pretrained(place)
    kept = json.loads((place / "tokenizer.json").read_text())["normalizer"]
    return kept, AutoTokenizer.from_pretrained(place)


def show(what, tokenizer):
    normalizer = tokenizer.backend_tokenizer.normalizer
    print(f"{what}: {normalizer}, {TEXT!r} is cut as {tokenizer.tokenize(TEXT)}")
    return tokenizer(TEXT)["input_ids"]


print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}")
rules = {
    "NFKC": normalizers.NFKC(),
    "a sequence of NFKC and Replace": normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace("  ", " ")]
    ),
}
for number, (name, rule) in enumerate(rules.items()):
    own = XLMRobertaTokenizer(vocab=[(piece, -1.0) for piece in pieces])
    own.backend_tokenizer.normalizer = rule
    before = show(f"XLMRobertaTokenizer with {name}", own)
    kept, again = saved_and_read(own, f"own{number}")
    print(f"  tokenizer.json holds {kept}")
    after = show("  read again", again)
    assert own.unk_token_id not in before and kept, "it should be saved with its normalizer"
    assert type(again) is type(own), "it should be read as the same class"
    dropped = again.backend_tokenizer.normalizer is None
    assert dropped and own.unk_token_id in after, "the behaviour has changed: it is kept now"

    special = own.special_tokens_map
    plain = PreTrainedTokenizerFast(tokenizer_object=own.backend_tokenizer, **special)
    _, again = saved_and_read(plain, f"plain{number}")
    same = show("  saved as PreTrainedTokenizerFast and read again", again) == before
    assert same, "the behaviour has changed: PreTrainedTokenizerFast drops the normalizer too"
PYTHON
