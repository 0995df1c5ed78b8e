#!/usr/bin/env bash
# peft 0.21.2: a LoRA on the word embedding of a masked language model acts on the input only. When
# it is merged, it acts on the output matrix too. The merged model gives other logits, and no
# warning says so. ensure_weight_tying=True does not help: it says that no tied modules were added.
#
# Why it matters: new tokens of a language are often learnt by a LoRA on the embedding. The input
# embedding and the output matrix of BERT, XLM-R or ModernBERT are one tensor. merge_and_unload is
# documented to give a plain model that works as the adapted one. Here the merged and saved model
# is one that was never trained and never measured. A LoRA on an untied model merges exactly.
#
# Seen with Python 3.11, torch 2.13.0 and transformers 5.23.0. The output was:
#   tied True plain: merged and adapted logits differ by 0.53 (standard deviation 0.11), warnings: none
#   tied True, ensure_weight_tying: the same difference, warning: no tied modules are added
#   tied False plain: merged and adapted logits differ by 0.00 (standard deviation 0.11), warnings: none
# The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import warnings

import peft
import torch
import transformers
from transformers import BertConfig, BertForMaskedLM

transformers.logging.set_verbosity_error()
IDS = torch.arange(5, 23).reshape(2, 9)


def merged(tied, **settings):
    """The difference that merging makes to the logits, their spread, and the warnings about ties."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = BertConfig(vocab_size=60, intermediate_size=64, tie_word_embeddings=tied, **sizes)
    model = BertForMaskedLM(config)
    one = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert one == tied, "the matrices should be one tensor exactly if the configuration ties them"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lora = peft.LoraConfig(target_modules=["word_embeddings"], **settings)
        adapted = peft.get_peft_model(model, lora).eval()
        for name, values in adapted.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(values.data, std=0.1)
        with torch.no_grad():
            before = adapted(input_ids=IDS).logits
            after = adapted.merge_and_unload()(input_ids=IDS).logits
    said = [str(warning.message) for warning in caught]
    said = [text for text in said if "tie" in text or "tying" in text or "merg" in text]
    difference, spread = float((before - after).abs().max()), float(before.std())
    print(f"tied {tied} {settings or 'plain'}: merged and adapted logits differ by {difference:.2f} "
          f"(standard deviation {spread:.2f}), warnings: {said or 'none'}")
    return difference, spread, said


print(f"peft {peft.__version__}, torch {torch.__version__}, transformers {transformers.__version__}")
difference, spread, said = merged(True)
changed = "the behaviour has changed: "
assert difference > spread, changed + "merging keeps the logits"
assert not said, changed + "there is a warning"
difference, spread, _ = merged(True, ensure_weight_tying=True)
assert difference > spread, changed + "ensure_weight_tying keeps the logits"
difference, _, _ = merged(False)
assert difference < 1e-4, "without a tie merging should keep the logits"
PYTHON
