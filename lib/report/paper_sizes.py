"""The models of the paper's table of sizes, counted from their configurations."""

from types import SimpleNamespace

import pandas

from lib.model.sizes import count_parameters
from lib.report.tables import published
from lib.study.publish import SIZES

PARTS = ["vocabulary", "layers", "rest"]
_FAMILIES = {
    "mbert": {"model_type": "bert", "max_position_embeddings": 512, "type_vocab_size": 2},
    "xlm-r": {"model_type": "xlm-roberta", "max_position_embeddings": 514, "type_vocab_size": 1},
}


def counted() -> pandas.DataFrame:
    """The published sizes with the counted parameters: `ours`, and its three PARTS.

    The vocabulary is the embedding rows, shared with the output, and the output bias. The rest is
    positions, norms and the head's transform.
    """
    paper = published("parameters")
    rows = []
    for row in paper.to_dict("records"):
        sizes = {name: row[name] for name in SIZES} | _FAMILIES[row["teacher"]]
        sizes["architectures"] = None
        ours, one, none = (
            count_parameters(SimpleNamespace(**sizes | {"num_hidden_layers": count}))
            for count in (row["num_hidden_layers"], 1, 0)
        )
        vocabulary = row["vocab_size"] * (row["hidden_size"] + 1)
        layers = row["num_hidden_layers"] * (one - none)
        rows.append([ours, vocabulary, layers, ours - vocabulary - layers])
    return paper.assign(**pandas.DataFrame(rows, columns=["ours", *PARTS]))
