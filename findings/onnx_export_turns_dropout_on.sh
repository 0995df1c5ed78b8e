#!/usr/bin/env bash
# torch 2.13.0: torch.onnx.export(..., dynamo=False) of a small wrapper around a model puts the model
# into training mode when it is done. Dropout is on from then on, without a warning.
#
# Why it matters: a transformers model returns an object, so people wrap it to return the logits
# only. The model is in evaluation mode, but a new wrapper is in training mode, as every new module
# is. The exporter remembers the wrapper's mode alone, and gives it to all modules inside. One would
# expect that an export changes nothing. Instead all scores after it are computed with dropout: they
# are worse, and differ from call to call. A comparison of the file with the model then blames the
# file, which is right. The wrapper's own eval() before the export prevents it.
#
# Seen with Python 3.11, transformers 5.23.0 and onnx 1.23.2. The output was:
#   before: training False, two calls differ by 0.0000
#   after the export of a new wrapper: training True, two calls differ by 0.2442
#   after the export of a wrapper in eval mode: training False, two calls differ by 0.0000
# The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 onnx==1.23.2
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import sys

import torch
import transformers
from transformers import BertConfig, BertForMaskedLM

transformers.logging.set_verbosity_error()


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        return self.model(input_ids=input_ids).logits


def difference(model):
    with torch.no_grad():
        return float((model(IDS).logits - model(IDS).logits).abs().max())


def show(when, model):
    found = difference(model)
    print(f"{when}: training {model.training}, two calls differ by {found:.4f}")
    return model.training, found


torch.manual_seed(0)
IDS = torch.randint(5, 60, (2, 9))
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
model = BertForMaskedLM(BertConfig(vocab_size=60, intermediate_size=64, **sizes)).eval()
print(f"torch {torch.__version__}, transformers {transformers.__version__}")
settings = {"dynamo": False, "input_names": ["input_ids"], "opset_version": 17}
assert show("before", model) == (False, 0.0), "evaluation mode should have no dropout"
torch.onnx.export(Logits(model), (IDS,), f"{sys.argv[1]}/new.onnx", **settings)
training, found = show("after the export of a new wrapper", model)
assert training and found > 0.01, "the behaviour has changed: the model keeps its mode"
model.eval()
torch.onnx.export(Logits(model).eval(), (IDS,), f"{sys.argv[1]}/eval.onnx", **settings)
kept = show("after the export of a wrapper in eval mode", model)
assert kept == (False, 0.0), "with the wrapper in eval mode the model should keep its mode"
PYTHON
