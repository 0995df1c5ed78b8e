"""The files by which sentence-transformers reads a folder: mean over the tokens, then length 1."""

import json
from pathlib import Path

_MODES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
_PARTS = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}


def write(folder: Path, hidden_size: int, longest: int) -> None:
    """Add the files to the folder of an encoder.

    The vectors of sentence-transformers are then those of `hidden_states.sentence_vectors`, divided
    by their length. `longest` is the most tokens of a text.
    """
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": path,
            "type": f"sentence_transformers.models.{name}",
        }
        for number, (path, name) in enumerate(_PARTS.items())
    ]
    modes = {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in _MODES}
    content = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": longest, "do_lower_case": False},
        "config_sentence_transformers.json": {"similarity_fn_name": "cosine"},
        "1_Pooling/config.json": {"word_embedding_dimension": hidden_size} | modes,
    }
    for path in _PARTS:
        (folder / path).mkdir(exist_ok=True)
    for name, values in content.items():
        (folder / name).write_text(json.dumps(values, indent=1), encoding="utf-8")
