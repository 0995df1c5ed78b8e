"""What a teacher has, and runs whose settings ask for more. Loads no torch."""

from types import SimpleNamespace

from lib.errors import StudyError
from lib.facts import fact
from lib.model.families import family
from lib.model.sizes import adapter_width, check_embeddings, check_hidden_size, max_tokens
from lib.study.run import Run

SPECIAL = 5  # special tokens of most tokenizers
_USUAL = {"model_type": None, "pad_token_id": 1, "max_position_embeddings": 512}
_MOST = ("num_hidden_layers", "intermediate_size", "kept_tokens", "max_length")


def of_configuration(has: dict, longest: float = 1e12, special: int = SPECIAL) -> dict:
    """Setting -> the most that it can be, in a model of this configuration; its heads and family.

    `longest` is the most tokens of a text that the tokenizer allows, `special` the number of its
    special tokens. A size that the configuration leaves out is left out here too. StudyError for a
    model of a type that cannot be cut.
    """
    if not has:
        return {}
    config = SimpleNamespace(**_USUAL | has)
    kind = family(config)
    names = ("num_hidden_layers", "intermediate_size", "hidden_size", "num_attention_heads")
    own = {kind.names.get(name, name): name for name in names}
    most = {own.get(name, name): size for name, size in has.items() if own.get(name, name) in names}
    most |= {"family": kind, "max_length": int(min(max_tokens(config), longest))}
    if kind.own_embedding_size and "embedding_size" in has:
        most["embedding_size"] = has["embedding_size"]
    return most | ({"kept_tokens": has["vocab_size"] - special} if "vocab_size" in has else {})


def of_entry(teacher: str) -> dict:
    """As `of_configuration`, from the teacher's entry in params/; empty where it says no sizes."""
    return of_configuration(fact("models", teacher).get("configuration", {}))


def check(run: Run, most: dict) -> None:
    """StudyError if a run asks for what the teacher, with these limits, or its text has not."""
    step, asked, train = run.step, run.settings, run.study.corpus["train"]
    if step in ("layers", "hidden") and 0 < train < asked["sentences"]:
        raise StudyError(
            f"{step}: {asked['sentences']} sentences were asked for; the study {run.study.name!r} "
            f"takes {train} of each language (corpus: train): ask for no more"
        )
    for name in _MOST if step != "perplexity" else ():  # which takes what fits
        if name in asked and asked[name] > most.get(name, asked[name]):
            raise StudyError(
                f"{step}: {name} {asked[name]} was asked for; the teacher has {most[name]}: ask "
                "for no more"
            )
    drawn = any(each.settings.get("layer_choice") == "random" for each in run.lineage())
    if drawn and asked.get("hidden_start") == "fitted" and asked["taught_by"] == "teacher":
        raise StudyError(
            "hidden: hidden_start fitted was asked for with taught_by teacher; random layers stand "
            "for no layers of the teacher: take shared_basis, or another layer_choice"
        )
    if step == "hidden" and {"num_attention_heads", "hidden_size"} <= set(most):
        sizes = most["num_attention_heads"], most["hidden_size"], asked["hidden_size"]
        check_hidden_size(*sizes, most["family"].rotary, asked["num_attention_heads"])
        check_embeddings(most.get("embedding_size", 0), *sizes[1:])
    own = most.get("family")
    if own and step == "layers":
        whole = asked["num_hidden_layers"] == most.get("num_hidden_layers")
        own.check_first_layer(whole or asked["layer_choice"] not in ("last_k", "stride_last"))
    if step == "finetune" and asked["method"] == "adapter":
        cuts = [each.settings["hidden_size"] for each in run.lineage() if each.step == "hidden"]
        if width := [most.get("hidden_size"), *cuts][-1]:
            adapter_width(width, asked["reduction_factor"])
        if own:
            own.check_adapter_input(asked["adapter_input"])
