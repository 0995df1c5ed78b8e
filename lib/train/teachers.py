"""A teacher made smaller by the study's own cuts before it is pre-trained further."""

from lib.data import batches
from lib.measure import mlm
from lib.model import ffn, hidden, layers


def shaped(model, tokenizer, entry: dict, sentences: list[str], max_length: int, seed: int):
    """(model, tokenizer) with the sizes that an entry of params/models.yaml asks for beside where it is read from.

    A smaller `intermediate_size` or `hidden_size` is cut by importance and by the shared basis on a thousand of the sentences,
    fewer `num_hidden_layers` by stride. StudyError for sizes that cannot be cut.
    """
    has = model.config
    wide, inside, deep = (
        entry.get(name, getattr(has, name))
        for name in ("hidden_size", "intermediate_size", "num_hidden_layers")
    )
    if wide != has.hidden_size or inside != has.intermediate_size:
        some = batches.encode(sentences[:: max(1, len(sentences) // 1000)], tokenizer, max_length)
        some = batches.masked_batches(some, tokenizer, 64, seed)
        if inside != has.intermediate_size:
            kept = ffn.most_important(ffn.importance(model, some, mlm.mlm_loss), inside)
            model = ffn.cut(model, kept)
        if wide != has.hidden_size:
            model = hidden.start(model, wide, "shared_basis", seed, some)
    if deep != has.num_hidden_layers:
        model = layers.cut(model, deep, "stride")
    return model, tokenizer
