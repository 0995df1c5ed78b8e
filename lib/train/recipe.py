"""The rules of the notebook `compress`: the sizes of a student, the settings of its cuts, and the
steps that fit into a time.
"""

import random
import time

from lib import facts, files
from lib.data import batches
from lib.errors import StudyError
from lib.measure import mlm
from lib.model import axes, device, families, sizes
from lib.train import distillation, optimizers

STUDY = "e5"  # its settings count, where a recipe says nothing
DEV = (
    100  # sentences that judge a distillation; with more, a short one would judge most of its time
)
UPDATES = 250  # at least, of a fine-tuning; about what the study's smaller tasks have
TRIAL = 20  # seconds, at most, in which the time of a step is measured


def student_sizes(config, wanted: dict[str, int]) -> dict[str, int]:
    """The sizes of a student: those `wanted`, and for each 0 the rule.

    The rule is half the layers, two thirds of the feed-forward network, and the largest multiple of
    the heads below 0.6 of the hidden size (of twice the heads with rotary positions): for
    multilingual-e5-small the sizes of the study. Raises StudyError for a size that the teacher
    cannot give.
    """
    heads, rotary = config.num_attention_heads, families.family(config).rotary
    names, step = ("num_hidden_layers", "intermediate_size", "hidden_size"), heads * (1 + rotary)
    layers, inside, hidden = (families.size(config, name) for name in names)
    below = max(1, hidden * 6 // 10 // step) * step
    below -= step if below == families.embedding_size(config) != hidden else 0  # no size to take
    rule = (-(-layers // 2), max(1, inside * 2 // 3), below)
    result = {name: wanted[name] or size for name, size in zip(names, rule, strict=True)}
    for name, largest in zip(names[:2], (layers, inside), strict=True):
        if not 1 <= result[name] <= largest:
            raise StudyError(
                f"{name}: {result[name]} was asked for; the teacher has {largest}: take 1 to that, "
                "or 0 for the rule"
            )
    sizes.check_hidden_size(heads, hidden, result["hidden_size"], rotary)
    sizes.check_embeddings(families.embedding_size(config), hidden, result["hidden_size"])
    return result


def study() -> dict:
    """The study whose settings count, as its file has them."""
    return facts.read_yaml(files.PARAMS / "studies" / f"{STUDY}.yaml")


def settings(step: str, teacher, recipe: str) -> dict:
    """The settings of a cut in the study, with those of an entry of params/recipes.yaml in their
    place, and with the target of distillation that this teacher allows. Logits have no `passes`.
    """
    own = study()["steps"][step] | facts.fact("recipes", recipe)[step]
    target = "logits" if families.has_head(teacher.config) else "hidden"
    defaults = {"accumulation": 1, "precision": "auto", "mlm_weight": 0.5}
    defaults |= {"distillation_loss": "mse", "all_positions": False, "refit": False}
    defaults |= {"passes": 0, "optimizer": "adamw"}
    longest = min(own["max_length"], sizes.max_tokens(teacher.config))
    allowed = {"distillation_target": target, "max_length": longest}
    return defaults | own | allowed | ({"passes": 0} if target == "logits" else {})


def seconds_of(minutes: float, cuts: dict[str, bool], recipe: str) -> dict[str, float]:
    """Seconds of each distillation whose cut is made: the shares are those of the recipe's steps,
    or of the study's if the recipe trains after none of these cuts.
    """
    own = study()["steps"]
    of_study = {step: own[step]["steps"] for step, made in cuts.items() if made}
    steps = {
        step: facts.fact("recipes", recipe)[step].get("steps", of_study[step]) for step in of_study
    }
    steps = steps if any(steps.values()) else of_study
    return {step: 60 * minutes * count / sum(steps.values()) for step, count in steps.items()}


def tuning(kind: str, examples: int, config, epochs: int = 0) -> dict:
    """The settings of a fine-tuning in the study, for a number of training examples.

    Without a number of epochs there are as many as make UPDATES updates, and 3 or more.
    """
    finetune = study()["finetune"]
    own = {"base_width": finetune["base_width"]} | finetune[kind]
    epochs = epochs or max(3, -(-UPDATES * own["batch_size"] // examples))
    own |= {"first_subword": True, "precision": "auto", "max_steps": 0, "patience": 0}
    return own | {"epochs": epochs, "max_length": min(own["max_length"], sizes.max_tokens(config))}


def steps_within(
    seconds: float, student, teacher, tokenizer, train, dev, settings: dict, seed: int
) -> int:
    """Optimizer steps of a distillation that fit into a time, with its judgements on dev.

    A copy of the student makes the first steps, and their time is measured. At least as many steps
    as there are judgements are given; none for no time.
    """
    if not seconds:
        return 0
    student, evaluations = axes.take(student), facts.facts("training")["evaluations"]
    train = train[: distillation.SENTENCES]
    encoded, encoded_dev = (
        batches.encode(text, tokenizer, settings["max_length"]) for text in (train, dev)
    )
    masked = batches.masked_batches(encoded, tokenizer, settings["batch_size"], seed)
    random.Random(seed).shuffle(masked)
    masked_dev = batches.masked_batches(encoded_dev, tokenizer, 64, 0)
    alone = settings | {"passes": 0}
    loss = distillation.loss_between(student, teacher, tokenizer, train, alone, seed)
    reading = _reading(loss, student, encoded, settings)
    device.choose_attention(student, settings["precision"], settings["max_length"])
    with device.at_work(student):
        optimizer, times = optimizers.new(student, settings), []
        for batch in masked[:1] + masked:  # the first one warms up
            began = time.monotonic()
            batch = {name: tensor.to(student.device) for name, tensor in batch.items()}
            with device.autocast(student.config, settings["precision"]):
                loss(student, batch)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.monotonic() - began)
            if len(times) > 3 and sum(times) > TRIAL:
                break
        began = time.monotonic()
        getattr(loss, "judge", mlm.score_mlm)(student, masked_dev, settings["precision"])
        judging = evaluations * (time.monotonic() - began)
    step = sum(times[1:]) / len(times[1:]) + reading
    return max(evaluations, int((seconds - judging) / step))


def _reading(loss, student, encoded: list[list[int]], settings: dict) -> float:
    """The part of a step's seconds in which the teacher reads, before the first step, texts that
    the student reads several times."""
    if not settings["passes"]:
        return 0.0
    began = time.monotonic()
    loss.keep(student, encoded, settings["precision"])
    one = (time.monotonic() - began) / len(encoded)
    return one * settings["batch_size"] / settings["passes"]
