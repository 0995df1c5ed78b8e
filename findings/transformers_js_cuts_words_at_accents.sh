#!/usr/bin/env bash
# @huggingface/tokenizers 0.2.0, the tokenizer of transformers.js 4.3.2: the pre-tokenizer `Whitespace`
# takes only the letters a to z as letters. It cuts words at every other letter, without a warning.
#
# Why it matters: `Whitespace` is the pre-tokenizer of the first example in the documentation of
# tokenizers, so many tokenizers have it. Its rule is the pattern \w+|[^\w\s]+. In Python and Rust \w
# is a letter of any script. The JavaScript library uses the pattern without the flag that says so.
# English text gives the same ids, so a test with English text passes. A Slovak or Maltese word falls
# apart at each of its own letters. The model gets tokens in a page that it did not get in training.
# `BertPreTokenizer`, and `Split` with the same pattern, are read alike.
#
# Seen with Python 3.11, tokenizers 0.23.3 and Node 20. The output was, among others:
#   Whitespace, 'dom, žltý'
#     tokenizers (Python)      ['dom', ',', 'žltý']
#     @huggingface/tokenizers  ['dom', ',', 'ž', 'l', '##t', 'ý']
# The script fails when this is no longer so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tokenizers==0.23.3
npm install --silent --ignore-scripts --no-audit --no-fund @huggingface/tokenizers@0.2.0
cat > ids.mjs <<'NODE'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";
const { texts, files } = JSON.parse(readFileSync(0, "utf8"));
const read = (file) => {
  const tokenizer = new Tokenizer(JSON.parse(readFileSync(file, "utf8")), {});
  return texts.map((text) => tokenizer.encode(text).tokens);
};
console.log(JSON.stringify(files.map(read)));
NODE
venv/bin/python - <<'PYTHON'
import json
import subprocess

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

TEXTS = ["the red fish", "Žilina je krásna", "dom, žltý"]
words = ["the", "red", "fish", "je", "Žilina", "krásna", "dom", "žltý", ","]
letters = sorted(set("".join(words)))
pieces = ["[UNK]", *words, *letters, *(f"##{letter}" for letter in letters)]
vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
rules = {
    "Whitespace": pre_tokenizers.Whitespace(),
    "BertPreTokenizer": pre_tokenizers.BertPreTokenizer(),
    "Split": pre_tokenizers.Split(Regex(r"\w+|[^\w\s]+"), "removed", invert=True),
}
python = {}
for name, rule in rules.items():
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = rule
    tokenizer.save(f"{name}.json")
    python[name] = [tokenizer.encode(text).tokens for text in TEXTS]
given = json.dumps({"texts": TEXTS, "files": [f"{name}.json" for name in rules]})
done = subprocess.run(["node", "ids.mjs"], input=given, capture_output=True, text=True, check=True)
javascript = dict(zip(rules, json.loads(done.stdout), strict=True))
for name in rules:
    for number, text in enumerate(TEXTS):
        print(f"{name}, {text!r}\n  tokenizers (Python)      {python[name][number]}")
        print(f"  @huggingface/tokenizers  {javascript[name][number]}")
assert python["Whitespace"][1] == ["Žilina", "je", "krásna"], "each word should be one token"
for name in ("BertPreTokenizer", "Split"):
    assert python[name] == javascript[name] == python["Whitespace"], f"{name} should be alike"
assert javascript["Whitespace"][0] == python["Whitespace"][0], "English should be alike"
changed = "the behaviour has changed: "
assert javascript["Whitespace"][1] != python["Whitespace"][1], changed + "Slovak is alike"
assert javascript["Whitespace"][1][0] == "Ž", changed + "the word is cut elsewhere"
PYTHON
