"""The recipe of `compress`: sizes by the rule, shares of the time, and steps that fit into it."""

import pytest
import toys
from transformers import BertConfig

from lib.errors import StudyError
from lib.model import encoder, families, hidden
from lib.train import distillation, recipe

ASKED = {"num_hidden_layers": 0, "intermediate_size": 0, "hidden_size": 0}


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "width", "expected"),
    [
        (12, 384, 12, 1536, (6, 1024, 228)),  # multilingual-e5-small: the sizes of its study
        (12, 768, 12, 3072, (6, 2048, 456)),  # mBERT: sizes of the paper
        (3, 8, 4, 10, (2, 6, 4)),
        (1, 4, 4, 1, (1, 1, 4)),
    ],
)
def test_sizes_by_the_rule(layers, hidden, heads, width, expected):
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=width,
    )
    assert tuple(recipe.student_sizes(config, ASKED).values()) == expected


def test_the_size_of_the_embeddings_is_refused():
    with pytest.raises(StudyError, match="12 was asked for, which is the size of the embeddings"):
        recipe.student_sizes(toys.config("electra generator"), ASKED | {"hidden_size": 12})


@pytest.mark.parametrize("family", toys.EVERY)
def test_the_rule_gives_sizes_that_every_family_can_have(family):
    model = toys.model(family)
    found = recipe.student_sizes(model.config, ASKED)
    others = {"electra generator": 8}  # its embeddings have 12, which no hidden size may be
    size = 8 if "modern" in family else others.get(family, 12)  # of 4 heads, or of their pairs
    assert found == {"num_hidden_layers": 2, "intermediate_size": 13, "hidden_size": size}
    small = hidden.start(model, found["hidden_size"], "truncation")
    assert families.size(small.config, "hidden_size") == found["hidden_size"]


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("num_hidden_layers", 5, "5 was asked for; the teacher has 4"),
        ("intermediate_size", -1, "-1 was asked for; the teacher has 20"),
        ("hidden_size", 10, "the nearest that work are 8 and 12"),
    ],
)
def test_sizes_that_the_teacher_cannot_give(name, size, said):
    config = toys.config("bert")
    assert recipe.student_sizes(config, ASKED | {"intermediate_size": 7})["intermediate_size"] == 7
    with pytest.raises(StudyError, match=said):
        recipe.student_sizes(config, ASKED | {name: size})


def test_the_time_is_shared_as_the_steps_of_the_study():
    steps = {step: recipe.study()["steps"][step]["steps"] for step in ("layers", "hidden")}
    both = recipe.seconds_of(8, {"layers": True, "hidden": True}, "paper")
    assert sum(both.values()) == 480 and both["hidden"] / both["layers"] == pytest.approx(
        steps["hidden"] / steps["layers"]
    )
    assert recipe.seconds_of(8, {"layers": False, "hidden": True}, "paper") == {"hidden": 480}
    assert recipe.seconds_of(8, {"layers": False, "hidden": False}, "paper") == {}
    one = recipe.seconds_of(8, {"layers": True, "hidden": True}, "calibrated")
    assert one == {"layers": 0, "hidden": 480}
    assert recipe.seconds_of(8, {"layers": True, "hidden": False}, "calibrated") == {"layers": 480}


@pytest.mark.parametrize("head", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_steps_grow_with_the_time_and_change_nothing(head):
    teacher = toys.model("bert") if head else encoder.without_head(toys.model("bert"))
    tokenizer, lines = toys.tokenizer("bert"), toys.sentences(60)
    settings = recipe.settings("layers", teacher, "paper") | {"batch_size": 4}
    assert settings["distillation_target"] == ("logits" if head else "hidden")
    assert settings["max_length"] == 40
    student, before = toys.model("bert", 1), toys.bits(toys.model("bert", 1))
    how = student, teacher, tokenizer, lines, lines[:10], settings, 1
    short, long = (recipe.steps_within(seconds, *how) for seconds in (5, 50))
    assert recipe.steps_within(0, *how) == 0 and recipe.steps_within(1e-6, *how) == 4
    assert 2 * short < long and toys.same(toys.bits(student), before)


def test_the_time_of_a_step_is_that_of_a_step(monkeypatch):
    """With steps of a second and judgements of half a second, ten minus two of these leave eight
    steps.
    """
    clock = [0.0]
    monkeypatch.setattr(recipe.time, "monotonic", lambda: clock[0])

    class Loss:
        def __call__(self, student, batch):
            clock[0] += 1
            return {"loss": encoder.hidden_states(student, batch).sum()}

        def judge(self, student, masked, precision):
            clock[0] += 0.5

    monkeypatch.setattr(distillation, "loss_between", lambda *_: Loss())
    teacher, lines = encoder.without_head(toys.model("bert")), toys.sentences(60)
    settings = recipe.settings("hidden", teacher, "paper") | {
        "batch_size": 4,
        "precision": "float32",
    }
    how = toys.model("bert"), teacher, toys.tokenizer("bert"), lines, lines[:9], settings, 1
    assert recipe.steps_within(10, *how) == 8


def test_epochs_follow_the_number_of_examples():
    config = toys.config("bert")
    assert recipe.tuning("token", 96, config)["epochs"] == 42  # 250 updates of 16
    assert recipe.tuning("sequence", 701, config)["epochs"] == 6
    assert recipe.tuning("sequence", 10**6, config)["epochs"] == 3
    assert recipe.tuning("sequence", 701, config, 9)["epochs"] == 9
    assert recipe.tuning("sequence", 701, config)["max_length"] == 40
