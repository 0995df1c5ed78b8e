#!/usr/bin/env bash
# transformers 5.23.0: after the first call with output_hidden_states=True, a layer that is put into
# the model is missing in `hidden_states`. The list is shorter by one, without a warning.
#
# Why it matters: layers are removed, replaced and wrapped when a model is compressed or gets
# adapters. A distillation loss that pairs the hidden states of student and teacher by their number
# then compares the wrong layers. The hidden states are collected by hooks, which are put on the
# layers once, at the first such call. A new layer has none. A model that was never asked before is
# right, so the same code gives another list when somebody has only looked at the model earlier.
# One would expect one state for the embeddings and one for each layer, always. In transformers 4
# the encoder filled the list itself.
#
# Seen with Python 3.11 and torch 2.13.0. The output was, for three layers:
#   never asked before the change: 4 hidden states
#   asked before the change: 3 hidden states, the output of the new layer is not among them
#   asked before the change: state number 2 is that of number 3: True
# The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import copy

import torch
import transformers
from transformers import BertConfig, BertModel

transformers.logging.set_verbosity_error()
torch.manual_seed(0)
IDS = torch.randint(5, 60, (2, 9))
sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
config = BertConfig(vocab_size=60, intermediate_size=64, **sizes)
asked, never = BertModel(config).eval(), BertModel(config).eval()
never.load_state_dict(asked.state_dict())
other = BertModel(config).eval().encoder.layer[1]


def states(model):
    with torch.no_grad():
        return model(IDS, output_hidden_states=True)


print(f"torch {torch.__version__}, transformers {transformers.__version__}")
assert len(states(asked).hidden_states) == 4, "three layers should give four hidden states"
for model in (never, asked):
    model.encoder.layer[1] = copy.deepcopy(other)
right, wrong = states(never), states(asked)
same = torch.equal(right.last_hidden_state, wrong.last_hidden_state)
assert same, "both models should compute the same"
print(f"never asked before the change: {len(right.hidden_states)} hidden states")
new = right.hidden_states[2]
listed = any(torch.equal(new, state) for state in wrong.hidden_states)
print(f"asked before the change: {len(wrong.hidden_states)} hidden states, the output of the new "
      f"layer is {'' if listed else 'not '}among them")
assert len(right.hidden_states) == 4, "a model never asked should list all layers"
changed = "the behaviour has changed: the new layer is listed"
assert len(wrong.hidden_states) == 3 and not listed, changed
moved = torch.equal(wrong.hidden_states[2], right.hidden_states[3])
print(f"asked before the change: state number 2 is that of number 3: {moved}")
assert moved, "the behaviour has changed: the numbers fit"
PYTHON
