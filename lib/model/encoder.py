"""Encoders: load, save, count, run, and cut along named axes. The only place that knows BERT from XLM-R.

Every tensor of these models lies along a few axes: V vocabulary, H hidden size, D all heads' dimensions together, F intermediate
size, and the layers. A cut of any kind is an index along one axis; `take` applies it to every tensor that has the axis.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedConfig,
)
from transformers.initialization import no_init_weights
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import cached_file, logging

from lib import files
from lib.data import hub
from lib.errors import StudyError

logging.set_verbosity_error()  # `load` checks what transformers would only warn about
logging.disable_progress_bar()


@dataclass(frozen=True)
class Family:
    """What differs between the families: names of the encoder, of the head and of the head's parts; first position."""

    body: str
    head: str
    transform: tuple
    position_offset: bool


FAMILIES = {
    "bert": Family("bert", "cls.predictions", ("transform",), False),
    "xlm-roberta": Family("roberta", "lm_head", ("dense", "gelu", "layer_norm"), True),
}

AXES = (  # parameter name -> the axis of each dimension ("." is never cut)
    (r"word_embeddings\.weight$", "VH"),
    (r"(position|token_type)_embeddings\.weight$", ".H"),
    (r"attention\.self\.(query|key|value)\.weight$", "DH"),
    (r"attention\.self\.(query|key|value)\.bias$", "D"),
    (r"attention\.output\.dense\.weight$", "HD"),
    (r"intermediate\.dense\.weight$", "FH"),
    (r"intermediate\.dense\.bias$", "F"),
    (r"layer\.\d+\.output\.dense\.weight$", "HF"),
    (r"decoder\.weight$", "VH"),
    (r"(decoder|predictions|lm_head)\.bias$", "V"),
    (r"(transform|lm_head)\.dense\.weight$", "HH"),
    (r"(dense|LayerNorm|layer_norm)\.(weight|bias)$", "H"),
)
_SPARE = re.compile(
    r"pooler\.|seq_relationship|position_ids"
)  # parts of published checkpoints an MLM model has no place for


def family(model_or_config) -> Family:
    """The family's names; StudyError for anything but a BERT- or XLM-R-type encoder."""
    config = getattr(model_or_config, "config", model_or_config)
    if config.model_type not in FAMILIES:
        raise StudyError(
            f"a teacher of type {config.model_type!r} cannot be cut; BERT- and XLM-R-type encoders can "
            f"({', '.join(FAMILIES)}): choose such a teacher"
        )
    return FAMILIES[config.model_type]


def load(
    source: str | Path,
    revision: str | None = None,
    tokenizer_source: str | Path | None = None,
    tokenizer_revision=None,
):
    """(model, tokenizer): a masked language model in float32 on the CPU and its tokenizer, from a folder or a hub id.

    Safetensors only, no remote code. Raises StudyError for other architectures, files that cannot be had or read or that ask for code
    or pickled weights, and where a tensor is missing, left over, misshapen or not finite.
    """
    _check_plain(source, revision)
    if tokenizer_source:
        _check_plain(tokenizer_source, tokenizer_revision, weights=False)
    config = _read(AutoConfig, source, revision=revision)
    family(config)
    model, found = _read(
        AutoModelForMaskedLM,
        source,
        revision=revision,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    wrong = {
        kind: sorted(name for name in map(str, found.get(kind, ())) if not _SPARE.search(name))
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
    }
    for kind, names in wrong.items():
        if names:
            raise StudyError(
                f"{source}: {kind.replace('_', ' ')} in the weights: {', '.join(names[:5])}; the files do not fit the "
                "configuration: fetch or make the model again"
            )
    for name, tensor in model.named_parameters():
        if not torch.isfinite(tensor).all():
            raise StudyError(
                f"{source}: {name} holds values that are not finite; fetch or make the model again"
            )
    tokenizer = _read(
        AutoTokenizer, tokenizer_source or source, revision=tokenizer_revision or revision
    )
    check_tokenizer(tokenizer, model.config, tokenizer_source or source)
    tokenizer.model_max_length = min(tokenizer.model_max_length, max_tokens(config))
    return model.eval(), tokenizer


def check_tokenizer(tokenizer, config, source="the tokenizer") -> None:
    """StudyError if the tokenizer lower-cases or strips accents, is empty, lacks a special token, or does not fit the vocabulary."""
    for name in ("unk_token", "pad_token", "mask_token", "cls_token", "sep_token"):
        if getattr(tokenizer, name) is None:
            raise StudyError(f"{source}: the tokenizer has no {name}; masked training needs one")
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise StudyError(
            f"{source}: the tokenizer ({type(tokenizer).__name__}) is not one of the library `tokenizers`; choose a model "
            "with a tokenizer.json"
        )
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is not None and not normalizer.normalize_str("Ġġ").startswith("Ġġ"):
        raise StudyError(
            f"{source}: the tokenizer lower-cases or strips accents; set do_lower_case to false in its configuration"
        )
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise StudyError(
            f"{source}: the tokenizer has no pieces beside the special tokens; its files are not there: fetch or make the "
            "model again"
        )
    pieces = max(len(tokenizer), 1 + max(tokenizer.get_vocab().values()))
    if pieces > config.vocab_size:
        raise StudyError(
            f"{source}: the tokenizer has {pieces} pieces, the model {config.vocab_size} embeddings; they do not belong "
            "together: take the model's own tokenizer"
        )
    if tokenizer.pad_token_id != config.pad_token_id:
        raise StudyError(
            f"{source}: the padding token is number {tokenizer.pad_token_id} of the tokenizer and {config.pad_token_id} of "
            "the model; they do not belong together: take the model's own tokenizer"
        )


def max_tokens(config) -> int:
    """Length in tokens of the longest text the model's position embeddings can number."""
    return config.max_position_embeddings - (
        config.pad_token_id + 1 if family(config).position_offset else 0
    )


def save(model, tokenizer, folder: Path, card: str) -> None:
    """Write model, tokenizer and model card to `folder`, whole or not at all; a former content is replaced."""
    with files.whole_folder(folder) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        (part / "README.md").write_text(card, encoding="utf-8")


def made(run):
    """(model, tokenizer) that the run made; StudyError if it has not been made."""
    if not (run.folder / "config.json").exists():
        raise StudyError(
            f"the model {run.id} is not there; make it with the notebook of step {run.step!r}, or with `make study`"
        )
    return load(run.folder)


def count_parameters(config) -> int:
    """Parameters of the masked language model with this configuration, tied weights once; no weights are needed."""
    family(config)
    h, f, v = config.hidden_size, config.intermediate_size, config.vocab_size
    embeddings = (v + config.max_position_embeddings + config.type_vocab_size) * h + 2 * h
    layer = 4 * (h * h + h) + (h * f + f) + (f * h + h) + 2 * 2 * h
    head = (h * h + h) + 2 * h + v
    return embeddings + config.num_hidden_layers * layer + head


def describe(model, teacher_parameters: int | None = None) -> dict:
    """Sizes for a record: parameters, the teacher's, compression rate, embedding share, configuration."""
    config, parameters = model.config, model.num_parameters()
    names = (
        "model_type",
        "hidden_size",
        "num_hidden_layers",
        "intermediate_size",
        "num_attention_heads",
        "vocab_size",
    )
    teacher_parameters = teacher_parameters or parameters
    return {
        "parameters": parameters,
        "teacher_parameters": teacher_parameters,
        "compression_rate": 1 - parameters / teacher_parameters,
        "embedding_parameters": config.vocab_size * config.hidden_size,
        "config": {name: getattr(config, name) for name in names},
    }


def new(config, seed: int):
    """A freshly initialised masked language model; the same seed gives the same weights."""
    family(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForMaskedLM.from_config(config).float().eval()


def with_task_head(model, kind: str, labels: tuple, seed: int, pooling: str = "first"):
    """A classifier (`sequence` or `token`) on a copy of the model's encoder, with a fresh head drawn from the seed.

    pooling: what the head of a `sequence` reads, the `first` token, as is usual, or the `mean` of all tokens of the text.
    """
    auto = {
        "sequence": AutoModelForSequenceClassification,
        "token": AutoModelForTokenClassification,
    }[kind]
    config = type(model.config).from_dict(model.config.to_dict())
    config.id2label, config.label2id = (
        dict(enumerate(labels)),
        {label: i for i, label in enumerate(labels)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        result = auto.from_config(config).float()
    body = family(config).body
    missing, unexpected = getattr(result, body).load_state_dict(
        getattr(model, body).state_dict(), strict=False
    )
    if unexpected or any("pooler" not in name for name in missing):
        raise StudyError(f"the encoder does not fit the task model: {missing} {unexpected}")
    if kind == "sequence" and pooling == "mean":
        _read_mean(result)
    return result


def _read_mean(classifier) -> None:
    """Put the mean over the tokens of each text where the head reads the first one."""
    seen = {}

    def note(_, __, given):
        seen["mask"] = given["attention_mask"]

    def mean(_, given):
        weight = seen["mask"].unsqueeze(-1).to(given[0].dtype)
        return (given[0] * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True), *given[1:]

    classifier.base_model.register_forward_pre_hook(note, with_kwargs=True)
    reader = (
        getattr(classifier.base_model, "pooler", None) or classifier.classifier
    )  # XLM-R's head has the pooler's part inside
    reader.register_forward_pre_hook(mean)


def hidden_states(model, batch: dict) -> torch.Tensor:
    """Output of the encoder's last layer, (B, T, H)."""
    return getattr(model, family(model).body)(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    ).last_hidden_state


def transform(model, hidden: torch.Tensor) -> torch.Tensor:
    """The head's transform of hidden states, (..., H) -> (..., H); what the readout matrix is applied to."""
    head = model.get_submodule(family(model).head)
    for name in family(model).transform:
        hidden = nn.functional.gelu(hidden) if name == "gelu" else getattr(head, name)(hidden)
    return hidden


def readout(model) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight (V, H), bias (V,)) of the head: logits = transform(hidden) @ weight.T + bias."""
    decoder = model.get_submodule(family(model).head).decoder
    return decoder.weight, decoder.bias


def logits(model, hidden: torch.Tensor) -> torch.Tensor:
    """Vocabulary logits (..., V) of hidden states (..., H)."""
    return nn.functional.linear(transform(model, hidden), *readout(model))


def padded_logits(model, hidden: torch.Tensor) -> torch.Tensor:
    """Vocabulary logits as `logits` gives them, on a GPU followed by up to 63 that stand for nothing and are next to no probability.

    mBERT has 119,547 tokens, an odd number; a matrix of odd rows keeps a GPU from its fast products in bfloat16.
    """
    return nn.functional.linear(
        transform(model, hidden), *(padded if hidden.is_cuda else tuple)(readout(model))
    )


def padded(
    of: tuple[torch.Tensor, torch.Tensor], multiple: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    """A readout (weight (V, H), bias (V,)) with V raised to a multiple: rows of zeros, whose biases make them impossible."""
    more = -len(of[0]) % multiple
    return nn.functional.pad(of[0], (0, 0, 0, more)), nn.functional.pad(
        of[1], (0, more), value=-1e4
    )


def axes(name: str) -> str:
    """The axis of each dimension of a parameter, such as "VH" for the embeddings."""
    for pattern, letters in AXES:
        if re.search(pattern, name):
            return letters
    raise StudyError(
        f"the parameter {name!r} is not one of a BERT- or XLM-R-type masked language model"
    )


def _read(auto, source, **how):
    """What a library class makes of a folder or hub id; whatever it raises becomes one sentence."""
    return _tried(source, lambda: auto.from_pretrained(source, trust_remote_code=False, **how))


def _tried(source, call):
    """What the call gives; whatever it raises becomes one sentence."""
    try:
        return call()
    except StudyError:
        raise
    except (
        Exception
    ) as error:  # the libraries raise errors of many kinds for files that are missing or broken
        if isinstance(source, str) and isinstance(error, OSError) and not Path(source).exists():
            raise StudyError(hub.reason(f"the model {source}", str(source), error)) from error
        said = (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
        raise StudyError(
            f"{source}: cannot be read as a model ({said}); give a folder or a hub id that holds a whole one"
        ) from error


def _check_plain(source, revision, weights: bool = True) -> None:
    """StudyError if the files ask for code of their own, for a kernel from the hub, or for weights other than safetensors.

    The libraries would ask at the keyboard, or read what they trust; here none of it is opened.
    """
    config = _tried(source, lambda: PreTrainedConfig.get_config_dict(source, revision=revision)[0])
    of_tokenizer = _tried(source, lambda: get_tokenizer_config(source, revision=revision))
    for name, found in {"config.json": config, "tokenizer_config.json": of_tokenizer}.items():
        if "auto_map" in found:
            raise StudyError(
                f"{source}: {name} asks for code of its own (auto_map), which is never run; choose a model that plain "
                "transformers loads"
            )
    own = [
        key
        for key, value in config.items()
        if key == "transformers_weights" or ("attn_implementation" in key and "/" in str(value))
    ]
    if own:
        raise StudyError(
            f"{source}: config.json asks for {own[0]} {config[own[0]]!r}, which is not followed; take the line out"
        )
    if not weights:
        return
    folder = Path(source)
    if (folder / "adapter_config.json").is_file():
        raise StudyError(
            f"{source}: holds an adapter (adapter_config.json); merge it into its model and save that"
        )
    pickled = sorted(
        each.name for ending in ("*.bin", "*.pt", "*.pth", "*.ckpt") for each in folder.glob(ending)
    )
    if pickled and not [*folder.glob("*.safetensors")]:
        raise StudyError(
            f"{source}: has weights only as pickle ({pickled[0]}), which can run code and is never opened; save the model "
            "as safetensors"
        )
    index = _tried(
        source,
        lambda: cached_file(
            source,
            "model.safetensors.index.json",
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        ),
    )
    parts = (
        _tried(
            source,
            lambda: set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values()),
        )
        if index
        else ()
    )
    for part in parts:
        if not re.fullmatch(r"[\w.-]+\.safetensors", str(part)):
            raise StudyError(
                f"{source}: model.safetensors.index.json names {part!r}, which is no safetensors file beside it; fetch or "
                "make the model again"
            )


def take(model, layers=None, neurons=None, hidden=None, heads=None, vocabulary=None):
    """A new model holding the given entries of each axis; None keeps an axis as it is. The model given is not changed.

    layers: old layer numbers; neurons: (L, F') kept neurons of each old layer; hidden: kept H entries; heads: kept D entries;
    vocabulary: kept token ids. Indices are old numbers, in the order they shall have.
    """
    config = type(model.config).from_dict(model.config.to_dict())
    chosen = range(config.num_hidden_layers) if layers is None else [int(each) for each in layers]
    new_number = {old: number for number, old in enumerate(chosen)}
    config.num_hidden_layers = len(chosen)
    config.hidden_size = config.hidden_size if hidden is None else len(hidden)
    config.intermediate_size = config.intermediate_size if neurons is None else len(neurons[0])
    if vocabulary is not None:
        config.vocab_size = len(vocabulary)
        position = {int(old): number for number, old in enumerate(vocabulary)}
        config.pad_token_id = position[config.pad_token_id]
        for name in ("bos_token_id", "eos_token_id"):
            setattr(config, name, position.get(getattr(config, name)))
    tensors = {}
    for name, tensor in model.state_dict().items():
        layer = re.search(r"encoder\.layer\.(\d+)\.", name)
        old = int(layer[1]) if layer else None
        if old is not None and old not in new_number:
            continue
        kept = {
            "V": vocabulary,
            "H": hidden,
            "D": heads,
            "F": None if neurons is None or old is None else neurons[old],
        }
        for dimension, letter in enumerate(axes(name)):
            if kept.get(letter) is not None:
                tensor = tensor.index_select(
                    dimension, torch.as_tensor(kept[letter], dtype=torch.long)
                )
        tensors[
            name if old is None else name.replace(f"layer.{old}.", f"layer.{new_number[old]}.", 1)
        ] = tensor.clone()
    return holding(config, tensors)


def holding(config, tensors: dict):
    """A new masked language model in float32 of this configuration that holds these tensors, all of them and no others."""
    with (
        no_init_weights()
    ):  # drawing 178 million weights that are replaced at once takes longer than any cut
        result = AutoModelForMaskedLM.from_config(config).float()
    result.load_state_dict(tensors, strict=True)
    result.tie_weights()
    return result.eval()
