"""A study of one's own, whose teacher, text and labels lie in a folder, and changes of it."""

import sys

import toy_study
import toys
from changes import values

from lib.study import __main__ as commands

TEXT = "".join(f"Sentence number {number}.\n" for number in range(300))
TABLE = "text\tcategory\na\tx\nb\ty\n"
TREE = "1\tw\t_\tNOUN" + "\t_" * 6 + "\n2\tw\t_\tVERB" + "\t_" * 6 + "\n"
TUNE = toy_study.STUDY["finetune"]
VOCABULARY = len(toys.tokenizer("bert"))
STUDY = toy_study.STUDY | {  # it fits toys.model: 4 layers, 24 dimensions, 4 heads, 40 positions
    "source": "local",
    "pairs": [{"teacher": "my-encoder", "languages": ["mlt"]}],
    "steps": toy_study.STUDY["steps"]
    | {
        "pretrain": toy_study.SETTINGS | {"steps": 0},
        "ffn": toy_study.STUDY["steps"]["ffn"] | {"intermediate_size": 12},
        "hidden": toy_study.DISTIL | {"hidden_size": 16, "hidden_start": "truncation"},
        "vocabulary": {"kept_tokens": VOCABULARY - 5, "counting": "documents"},
    },
}


def command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["lib.study", *words])
    commands.main()


def study(place: str, value=None):
    """A change of the study file; without a value the key goes."""
    return lambda own: toy_study.write_study(
        toy_study.changed(STUDY | {"data_root": str(own), "models_root": str(own)}, place, value)
    )


def config(**changes):
    """Other values in the teacher's configuration."""
    return values("my-encoder/config.json", **changes)
