#!/usr/bin/env bash
# transformers 5.23.0 with tokenizers 0.23.3: train_new_from_iterator of a Unigram tokenizer with
# byte fallback gives one without it. The 256 byte tokens are gone, and so is the setting.
#
# Why it matters: with byte fallback no text is unknown: a letter without a token becomes its bytes.
# train_new_from_iterator is documented to train "a new tokenizer ... with the same defaults (in terms
# of special tokens or tokenization pipeline) as the current one". People use it to fit a tokenizer to
# another language. The new tokenizer silently loses every letter that its text did not have: the
# letter becomes <unk>, and decoding does not bring it back. With BPE the setting stays in the file,
# but its byte tokens are gone, so it does nothing. The decoder still holds ByteFallback, so the file
# looks right. One would expect the bytes in the new vocabulary.
#
# Seen with Python 3.11. The output was:
#   Unigram before: byte_fallback True, 256 byte tokens, 'až' is cut as ['▁', 'a', '<0xC5>', '<0xBE>']
#   Unigram after: byte_fallback False, 0 byte tokens, 'až' is cut as ['▁', 'a', '<unk>']
#   BPE after: byte_fallback True, 0 byte tokens, 'až' is cut as ['▁', 'a', '<unk>']
# The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 tokenizers==0.23.3
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import json

import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

transformers.logging.set_verbosity_error()
BYTES = [f"<0x{number:02X}>" for number in range(256)]
TEXT = "až"
pieces = ["<unk>", "▁", "a", "b", *BYTES]
vocabularies = {
    "Unigram": models.Unigram(
        [(piece, -20.0 if piece in BYTES else -2.0) for piece in pieces], 0, byte_fallback=True
    ),
    "BPE": models.BPE(
        {piece: number for number, piece in enumerate(pieces)}, [],
        unk_token="<unk>", byte_fallback=True,
    ),
}


def show(when, tokenizer):
    inside = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    count = sum(piece in tokenizer.get_vocab() for piece in BYTES)
    ids = tokenizer(TEXT)["input_ids"]
    cut, again = tokenizer.convert_ids_to_tokens(ids), tokenizer.decode(ids)
    print(f"{when}: byte_fallback {inside['byte_fallback']}, {count} byte tokens, "
          f"{TEXT!r} is cut as {cut} and decoded as {again!r}")
    return inside["byte_fallback"], count, tokenizer.unk_token_id in ids, again


print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}")
changed = "the behaviour has changed: "
for name, model in vocabularies.items():
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Metaspace()]
    )
    old = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    before = show(f"{name} before", old)
    assert before == (True, 256, False, TEXT), "byte fallback should know every letter"
    new = old.train_new_from_iterator(["ab ba", "bab aab"] * 20, 300, show_progress=False)
    setting, count, unknown, again = show(f"{name} after", new)
    assert count == 0, changed + "the byte tokens are kept"
    assert unknown and again != TEXT, changed + "the letter is known"
    assert setting == (name == "BPE"), changed + "the setting"
    kept = json.loads(new.backend_tokenizer.to_str())["decoder"]["decoders"][0]
    assert kept == {"type": "ByteFallback"}, changed + "the decoder"
PYTHON
