#!/usr/bin/env bash
# tokenizers 0.23.3: if the ids of a vocabulary have a gap, add_tokens gives a new token the id of a
# token that is there. Two tokens then share one row of the embedding, without a warning.
#
# Why it matters: who trims a vocabulary and keeps the old ids, so that the model need not change,
# gets such gaps. Some published vocabularies have them too. A new id is the number of tokens, not
# the highest id plus one. It is free only if there is no gap. The text with the old token is then
# decoded as the new one, training the new token changes the old one, and len(tokenizer) is too
# small for the embedding. Asking for the old token's id still gives the same number, so each check
# of one token alone passes. One would expect the first id that is free, or an error.
#
# Seen with Python 3.11 and transformers 5.23.0. The output was:
#   without a gap: red 1, fish 2, new 3 (the last one was added); 'fish' is decoded as 'fish'; len 4
#   with a gap: red 1, fish 3, new 3 (the last one was added); 'fish' is decoded as 'new'; len 4
# The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 tokenizers==0.23.3
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

transformers.logging.set_verbosity_error()


def added(name, vocabulary):
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    place = Path(sys.argv[1], name)
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]").save_pretrained(place)
    tokenizer = AutoTokenizer.from_pretrained(place)
    assert tokenizer.decode(tokenizer("fish")["input_ids"]) == "fish", "it should be read as saved"
    assert tokenizer.add_tokens(["new"]) == 1, "one token should be added"
    ids = {word: tokenizer(word)["input_ids"] for word in ("red", "fish", "new")}
    again = tokenizer.decode(ids["fish"])
    shown = ", ".join(f"{word} {found[0]}" for word, found in ids.items())
    print(f"{name}: {shown} (the last one was added); 'fish' is decoded as {again!r}; "
          f"len {len(tokenizer)}")
    return ids, again


print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}")
ids, again = added("without a gap", {"[UNK]": 0, "red": 1, "fish": 2})
assert ids == {"red": [1], "fish": [2], "new": [3]} and again == "fish", "each should have its id"
ids, again = added("with a gap", {"[UNK]": 0, "red": 1, "fish": 3})
changed = "the behaviour has changed: "
assert ids["new"] == ids["fish"] == [3], changed + "the new token has an id of its own"
assert again == "new", changed + "the old token is decoded as itself"
PYTHON
