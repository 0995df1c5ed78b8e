"""The types of encoders that can be cut: where their parts lie, and along which axes.

A new type is one entry of FAMILIES; CONTRIBUTING.md says how to write it. Loads no torch.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from lib.errors import StudyError


class Family(NamedTuple):
    """One type of encoder, as a masked language model.

    Paths of modules start at the encoder (`layers`, `final_norm`), at one of its layers
    (`attention_output`, `query`, `ffn_...`, `norms`), or at the whole model (`transform`).
    """

    layers: str  # the list of layers
    query: str  # the first rows of this matrix give the queries, D of them
    attention_output: str  # the matrix that writes into the residual stream
    ffn_input: str
    ffn_output: str
    ffn_end: str  # the module whose result is added to the residual stream
    norms: tuple[str, str]  # of the attention and of the FFN
    transform: tuple[str, ...]  # the head before its output matrix
    axes: tuple[tuple[str, str], ...]  # parameter name -> its axes, as lib.model.axes reads them
    final_norm: str = ""  # where norms stand before attention and FFN: the one after the last layer
    first_layer_stays: bool = False  # the library builds the first layer with other parts
    second_bias: bool = False  # the head has its own, which an untied output matrix does not share
    own_embedding_size: bool = False  # which a matrix leads to the hidden size
    pooler: bool = False  # the library's plain encoder has one, which no step here trains
    position_offset: bool = False  # position numbers start behind the padding token's id
    names: Mapping[str, str] = MappingProxyType({})  # sizes that the configuration calls otherwise
    tokens: str = "unigram"  # the kind of tokenizer of a new model

    @property
    def gated(self) -> bool:
        """Whether a neuron has two rows of the FFN's input matrix: its activation and its gate."""
        return any("G" in letters for _, letters in self.axes)

    @property
    def rotary(self) -> bool:
        """Whether positions turn pairs of a head's dimensions, so that no table holds them."""
        return not any("P" in letters for _, letters in self.axes)

    def check_first_layer(self, stays: bool) -> None:
        """StudyError if a first layer that the library builds with other parts does not stay."""
        if self.first_layer_stays and not stays:
            raise StudyError(
                "the teacher's first layer has to stay, because transformers builds it with other "
                "parts: take first_k, stride, first_last_k or search"
            )

    def check_adapter_input(self, adapter_input: str) -> None:
        """StudyError if adapters would read a norm that the layers do not have."""
        if self.final_norm and adapter_input == "layer_norm":
            raise StudyError(
                "adapter_input layer_norm was asked for; the teacher has no norm after the sum of "
                "feed-forward part and residual: take ffn"
            )


_BERT = Family(
    layers="encoder.layer",
    query="attention.self.query",
    attention_output="attention.output.dense",
    ffn_input="intermediate.dense",
    ffn_output="output.dense",
    ffn_end="output.dropout",
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    transform=("cls.predictions.transform",),
    second_bias=True,
    pooler=True,
    tokens="wordpiece",
    axes=(
        (r"word_embeddings\.weight$", "VE"),
        (r"position_embeddings\.weight$", "PE"),
        (r"token_type_embeddings\.weight$", ".E"),
        (r"embeddings\.LayerNorm\.(weight|bias)$", "E"),
        (r"embeddings_project\.weight$", "HE"),
        (r"embeddings_project\.bias$", "H"),
        (r"attention\.self\.(query|key|value)\.weight$", "DH"),
        (r"attention\.self\.(query|key|value)\.bias$", "D"),
        (r"attention\.output\.dense\.weight$", "HD"),
        (r"intermediate\.dense\.weight$", "FH"),
        (r"intermediate\.dense\.bias$", "F"),
        (r"layer\.\d+\.output\.dense\.weight$", "HF"),
        (r"layer\.\d+\..*output\.(dense|LayerNorm)\.(weight|bias)$", "H"),
        (r"(decoder|generator_lm_head)\.weight$", "VE"),
        (r"(decoder|predictions|lm_head)\.bias$", "V"),
        (r"(transform|lm_head|generator_predictions)\.dense\.weight$", "EH"),
        (r"(dense|LayerNorm|layer_norm)\.(weight|bias)$", "E"),
    ),
)
_ROBERTA = _BERT._replace(
    transform=("lm_head.dense", "gelu", "lm_head.layer_norm"),
    position_offset=True,
    tokens="unigram",
)

FAMILIES = {
    "bert": _BERT,
    "xlm-roberta": _ROBERTA,
    "roberta": _ROBERTA._replace(tokens="byte-level BPE"),
    "camembert": _ROBERTA,
    "electra": _BERT._replace(
        transform=("generator_predictions",),
        second_bias=False,
        own_embedding_size=True,
        pooler=False,
    ),
    "distilbert": Family(
        layers="transformer.layer",
        query="attention.q_lin",
        attention_output="attention.out_lin",
        ffn_input="ffn.lin1",
        ffn_output="ffn.lin2",
        ffn_end="ffn",
        norms=("sa_layer_norm", "output_layer_norm"),
        transform=("vocab_transform", "activation", "vocab_layer_norm"),
        names={
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
        },
        tokens="wordpiece",
        axes=(
            (r"word_embeddings\.weight$", "VH"),
            (r"position_embeddings\.weight$", "PH"),
            (r"(q|k|v)_lin\.weight$", "DH"),
            (r"(q|k|v)_lin\.bias$", "D"),
            (r"out_lin\.weight$", "HD"),
            (r"lin1\.weight$", "FH"),
            (r"lin1\.bias$", "F"),
            (r"lin2\.weight$", "HF"),
            (r"vocab_projector\.weight$", "VH"),
            (r"vocab_projector\.bias$", "V"),
            (r"vocab_transform\.weight$", "HH"),
            (r"(out_lin|lin2|vocab_transform)\.bias$", "H"),
            (r"(layer_norm|LayerNorm)\.(weight|bias)$", "H"),
        ),
    ),
    "modernbert": Family(
        layers="layers",
        query="attn.Wqkv",
        attention_output="attn.Wo",
        ffn_input="mlp.Wi",
        ffn_output="mlp.Wo",
        ffn_end="mlp",
        norms=("attn_norm", "mlp_norm"),
        final_norm="final_norm",
        first_layer_stays=True,
        transform=("head",),
        tokens="byte-level BPE",
        axes=(
            (r"tok_embeddings\.weight$", "VH"),
            (r"Wqkv\.weight$", "QH"),
            (r"Wqkv\.bias$", "Q"),
            (r"attn\.Wo\.weight$", "HD"),
            (r"mlp\.Wi\.weight$", "GH"),
            (r"mlp\.Wi\.bias$", "G"),
            (r"mlp\.Wo\.weight$", "HF"),
            (r"decoder\.weight$", "VH"),
            (r"decoder\.bias$", "V"),
            (r"head\.dense\.weight$", "HH"),
            (r"(Wo|head\.dense)\.bias$", "H"),
            (r"norm\.(weight|bias)$", "H"),
        ),
    ),
}
_REFUSED = {
    "deberta-v2": "its attention reads relative positions through the same matrices as the text, "
    "from a table that all layers share, which these cuts do not know"
}


def family(config) -> Family:
    """The family of a configuration; StudyError for a type that cannot be cut."""
    if config.model_type not in FAMILIES:
        reason = f": {_REFUSED[config.model_type]}" if config.model_type in _REFUSED else ""
        raise StudyError(
            f"a teacher of type {config.model_type!r} cannot be cut{reason}; encoders of the types "
            f"{', '.join(FAMILIES)} can: choose such a teacher"
        )
    return FAMILIES[config.model_type]


def size(config, name: str):
    """A size of a configuration, such as "hidden_size", whatever its family calls it."""
    return getattr(config, family(config).names.get(name, name))


def embedding_size(config) -> int:
    """The length of a token's vector, which is the hidden size but for families with their own."""
    own = family(config).own_embedding_size
    return config.embedding_size if own else size(config, "hidden_size")


def has_head(config) -> bool:
    """Whether the model has a trained MLM head: encoders are published without one too."""
    return not any(name.endswith("Model") for name in config.architectures or ())
