#!/usr/bin/env bash
# model2vec 0.10.0 and sentence-transformers 6.2.0 read one folder of static vectors, and give other
# vectors to each text with an unknown word. model2vec leaves unknown words out;
# sentence-transformers puts the vector of [UNK] into the mean. Neither says so.
#
# Why it matters: model2vec writes `modules.json` into the folder, so that sentence-transformers can
# read it. Small static models are trained and measured in one library and used
# in the other. Words that the vocabulary lacks are frequent in a trimmed vocabulary and in small
# languages. Search then compares vectors of two kinds. A text of unknown words alone is the zero
# vector here and a full vector there. And StaticEmbedding.from_model2vec leaves out the
# normalisation that the folder's config.json asks for, so its dot products are not cosines.
#
# Seen with Python 3.11, torch 2.13.0 and transformers 5.23.0. The output was:
#   'red fish': largest difference 0.00; length 1.00 in model2vec, 1.00 in sentence-transformers, 1.45
#     in StaticEmbedding.from_model2vec
#   'red zebra fish': largest difference 0.46; ...
#   'zebra': largest difference 0.73; length 0.00 in model2vec, 1.00 in sentence-transformers, ...
# The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 tokenizers==0.23.3 \
  sentence-transformers==6.2.0 model2vec==0.10.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - "$folder/static" <<'PYTHON'
import sys

import model2vec
import numpy
import sentence_transformers
from model2vec import StaticModel
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

place, texts = sys.argv[1], ["red fish", "red zebra fish", "zebra"]
words = ["[PAD]", "[UNK]", "red", "green", "fish", "bird"]
vocabulary = {word: number for number, word in enumerate(words)}
tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
vectors = numpy.random.default_rng(0).normal(size=(len(words), 8)).astype(numpy.float32)
StaticModel(vectors=vectors, tokenizer=tokenizer, normalize=True).save_pretrained(place)
print(f"model2vec {model2vec.__version__}, sentence-transformers {sentence_transformers.__version__}")
one = StaticModel.from_pretrained(place).encode(texts)
two = SentenceTransformer(place, device="cpu").encode(texts)
module = StaticEmbedding.from_model2vec(place)
three = SentenceTransformer(modules=[module], device="cpu").encode(texts)
changed = "the behaviour has changed: "
for number, text in enumerate(texts):
    lengths = [float(numpy.linalg.norm(each[number])) for each in (one, two, three)]
    print(f"{text!r}: largest difference {numpy.abs(one[number] - two[number]).max():.2f}; length "
          f"{lengths[0]:.2f} in model2vec, {lengths[1]:.2f} in sentence-transformers, "
          f"{lengths[2]:.2f} in StaticEmbedding.from_model2vec")
assert numpy.allclose(one[0], two[0], atol=1e-5), "a text of known words should be alike in both"
assert numpy.allclose(one[0], one[1], atol=1e-5), changed + "model2vec counts unknown words"
assert not numpy.allclose(two[0], two[1], atol=0.05), changed + "unknown words are left out"
assert not one[2].any() and numpy.linalg.norm(two[2]) > 0.9, changed + "an unknown text"
length = float(numpy.linalg.norm(three[0]))
assert abs(length - 1) > 0.05, changed + "from_model2vec normalises"
PYTHON
