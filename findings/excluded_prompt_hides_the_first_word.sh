#!/usr/bin/env bash
# sentence-transformers 6.2.0: pooling with include_prompt=False also leaves out the first token of
# the text, if the tokenizer joins the last space of the prompt with it. Nothing says so.
#
# Why it matters: prompts end in a space ("query: "). A byte-level BPE, as of RoBERTa, ModernBERT
# or EuroBERT, gives a space at the end a token of its own, but not a space before a word. The
# library cuts the prompt alone and counts its tokens. In the whole text the prompt has one token
# less, so the count goes one token into the text. The first word, often the one that names the
# topic, has no part in the mean. A text of one word is only its end marker. One would expect that
# each token of the text counts. A tokenizer that drops spaces, such as WordPiece, is right.
#
# Seen with Python 3.11, torch 2.13.0, transformers 5.23.0 and tokenizers 0.23.3. The output was:
#   the whole text: ['[CLS]', 'query', ':', 'Ġred', 'Ġfish', '[SEP]']
#   the vector is the mean of ['Ġfish', '[SEP]']
#   with the space moved to the text, it is the mean of ['Ġred', 'Ġfish', '[SEP]']
# The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 tokenizers==0.23.3 \
  sentence-transformers==6.2.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - "$folder/model" <<'PYTHON'
import sys

import numpy
import sentence_transformers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

transformers.logging.set_verbosity_error()
place = sys.argv[1]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
trainer = trainers.BpeTrainer(
    vocab_size=400, special_tokens=["<pad>", "[CLS]", "[SEP]"], show_progress=False,
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
)
tokenizer.train_from_iterator(["query: red fish", "query: green bird"] * 20, trainer)
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
)
special = {"pad_token": "<pad>", "cls_token": "[CLS]", "sep_token": "[SEP]"}
PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(place)
torch.manual_seed(0)
sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
config = BertConfig(vocab_size=tokenizer.get_vocab_size(), intermediate_size=32, **sizes)
BertModel(config).save_pretrained(place)
model = SentenceTransformer(
    modules=[Transformer(place), Pooling(16, "mean", include_prompt=False)], device="cpu"
)
whole = tokenizer.encode("query: red fish")
with torch.no_grad():
    states = BertModel.from_pretrained(place).eval()(torch.tensor([whole.ids]))
states = states.last_hidden_state[0].numpy()


def averaged(prompt, text):
    """The tokens whose mean is the vector of the text."""
    vector = model.encode([text], prompt=prompt)[0]
    for start in range(len(states)):
        if numpy.abs(states[start:].mean(0) - vector).max() < 1e-4:
            return whole.tokens[start:]
    return None


print(f"sentence-transformers {sentence_transformers.__version__}")
print(f"the whole text: {whole.tokens}")
found = averaged("query: ", "red fish")
print(f"the vector is the mean of {found}")
control = averaged("query:", " red fish")
print(f"with the space moved to the text, it is the mean of {control}")
assert control == ["Ġred", "Ġfish", "[SEP]"], "the prompt alone should be left out"
assert found == ["Ġfish", "[SEP]"], "the behaviour has changed: the first word counts"
PYTHON
