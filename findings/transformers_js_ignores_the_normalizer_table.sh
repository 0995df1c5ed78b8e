#!/usr/bin/env bash
# @huggingface/tokenizers 0.2.0, the tokenizer of transformers.js 4.3.2, does not read the table of a
# `Precompiled` normalizer. It has one fixed rule for all of them. The ids differ, without a warning.
#
# Why it matters: SentencePiece writes its normalisation into this table. A tokenizer trained with
# case folding (nmt_nfkc_cf, as for uncased models) cuts "Ahoj" as "ahoj" in Python. In a browser it
# does not: the word is unknown to the model. A model that was right in Python is wrong in a page.
# Also, the zero width joiner of emoji and of Sinhala becomes a space, whatever the table says; and
# the normalizer `Nmt`, which tokenizers has for the same rules, is refused. What both read alike is
# a sequence of `Replace`, `NFKC` and `Lowercase`.
#
# Seen with Python 3.11, tokenizers 0.23.3, sentencepiece 0.2.3 and Node 20. The script fails when
# this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.1
npm install --silent --ignore-scripts --no-audit --no-fund @huggingface/tokenizers@0.2.0
cat > ids.mjs <<'NODE'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";
const { texts, files } = JSON.parse(readFileSync(0, "utf8"));
const read = (file) => {
  try {
    const tokenizer = new Tokenizer(JSON.parse(readFileSync(file, "utf8")), {});
    return texts.map((text) => tokenizer.encode(text).tokens);
  } catch (error) {
    return error.message;
  }
};
console.log(JSON.stringify(files.map(read)));
NODE
venv/bin/python - <<'PYTHON'
import json
import subprocess
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

TEXTS = ["Ahoj", "a\u200db", "km²"]
PIECES = ["<s>", "</s>", "<unk>", "▁", "▁ahoj", "▁a", "▁b", "b", "\u200d", "▁km", "2"]


def table(rule):
    """The table that SentencePiece writes for one of its own rules."""
    Path("text.txt").write_text("one two three\nfour five six\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input="text.txt", model_prefix=rule, vocab_size=25, hard_vocab_limit=False,
        normalization_rule_name=rule, minloglevel=2,
    )
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(Path(f"{rule}.model").read_bytes())
    return model.normalizer_spec.precompiled_charsmap


def saved(name, normalizer):
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in PIECES], unk_id=2))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
    tokenizer.save(f"{name}.json")
    return [tokenizer.encode(text).tokens for text in TEXTS]


spelt_out = [normalizers.Replace("\u200d", " "), normalizers.NFKC(), normalizers.Lowercase()]
spelt_out.append(normalizers.Replace(Regex(" {2,}"), " "))
rules = {
    "nmt_nfkc": normalizers.Precompiled(table("nmt_nfkc")),
    "nmt_nfkc_cf": normalizers.Precompiled(table("nmt_nfkc_cf")),
    "Nmt": normalizers.Nmt(),
    "spelt_out": normalizers.Sequence(spelt_out),
}
python = {name: saved(name, rule) for name, rule in rules.items()}
given = json.dumps({"texts": TEXTS, "files": [f"{name}.json" for name in rules]})
done = subprocess.run(["node", "ids.mjs"], input=given, capture_output=True, text=True, check=True)
javascript = dict(zip(rules, json.loads(done.stdout), strict=True))
for name in rules:
    print(f"{name}\n  tokenizers (Python)      {python[name]}\n  @huggingface/tokenizers  {javascript[name]}")
changed = "the behaviour has changed: "
assert python["nmt_nfkc_cf"][0] == ["▁ahoj"], "the table should fold case"
assert javascript["nmt_nfkc_cf"] == javascript["nmt_nfkc"], changed + "the table is read"
assert javascript["nmt_nfkc_cf"][0] != ["▁ahoj"], changed + "case is folded"
assert python["nmt_nfkc"][1] != javascript["nmt_nfkc"][1], changed + "the joiner is kept"
assert python["nmt_nfkc"][2] == javascript["nmt_nfkc"][2] == ["▁km", "2"], "the plain case is alike"
assert javascript["Nmt"] == "Unknown Normalizer type: Nmt", changed + "Nmt is known"
assert python["spelt_out"] == javascript["spelt_out"], "spelt out, both should be alike"
PYTHON
