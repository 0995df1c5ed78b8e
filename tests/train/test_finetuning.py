"""Fine-tuning on toy tasks that can be learnt, and against itself under the same seed."""

import copy
import random

import pytest
import torch
import toys
from safetensors import safe_open
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertTokenizer,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
)

from lib.data import encoding, tasks
from lib.errors import StudyError
from lib.measure import metrics
from lib.model import task_head
from lib.train import checkpoints, finetuning, progress
from lib.train.adapters import add_adapters
from lib.train.finetuning import collate, draw_task_weights, finetune_task, predict

pytestmark = pytest.mark.slow

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "max_position_embeddings": 24,
    "pad_token_id": 1,
    "initializer_range": 0.1,
}
FAMILIES = {
    "bert": (BertConfig, BertForSequenceClassification, BertForTokenClassification),
    "xlmr": (
        XLMRobertaConfig,
        XLMRobertaForSequenceClassification,
        XLMRobertaForTokenClassification,
    ),
}
LABELS = {"sequence": ("left", "right"), "token": ("NOUN", "VERB", "ADP")}
METRIC = {"sequence": "macro_f1", "token": "accuracy"}
SETTINGS = {
    "epochs": 6,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "weight_decay": 0.01,
    "warmup": 0.05,
    "max_steps": 0,
    "patience": 0,
    "max_length": 20,
    "first_subword": True,
    "precision": "auto",
}
WORDS = "abcdefghijklmnopqrstuvwxyzABCDEFGHI"
TOKENIZER = BertTokenizer(
    vocab={
        token: number
        for number, token in enumerate(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
    },
    do_lower_case=False,
    model_max_length=20,
)


def toy(family="bert", kind="token", seed=0, **changes):
    """A tiny random task model of a family."""
    config, *kinds = FAMILIES[family]
    torch.manual_seed(seed)
    return kinds[kind == "token"](config(**{**SIZES, **changes}, num_labels=len(LABELS[kind])))


def examples(kind, count, seed):
    """Sentences of words of one letter.

    The tag of a word is its place in WORDS modulo 3; the label of a sentence is its half of WORDS.
    """
    chance, result = random.Random(seed), []
    for _ in range(count):
        half, length = chance.randrange(2), chance.randint(3, 9)
        low, high = ((0, 16), (17, 34))[half] if kind == "sequence" else (0, 8)
        places = [chance.randint(low, high) for _ in range(length)]
        words, tags = [WORDS[at] for at in places], [LABELS["token"][at % 3] for at in places]
        sequence = (" ".join(words), LABELS["sequence"][half])
        result.append(sequence if kind == "sequence" else (tuple(words), tuple(tags)))
    return result


def task(kind="token", train=64):
    splits = {
        split: examples(kind, count, seed)
        for split, count, seed in (("train", train, 1), ("dev", 20, 2), ("test", 30, 3))
    }
    return tasks.Task("toy", "mlt", kind, METRIC[kind], LABELS[kind], splits, {})


def run(model, data=None, seed=1, **changes):
    return finetune_task(model, data or task(), TOKENIZER, SETTINGS | changes, seed)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", METRIC)
def test_a_learnable_task_is_learnt_and_the_encoder_stays_bit_for_bit(family, kind):
    model = add_adapters(toy(family, kind, hidden_dropout_prob=0.0), 2)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    result = run(model, task(kind, train=128), epochs=16)
    assert result["scores"][METRIC[kind]] > 0.85  # chance: a half or a third
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name]) != weight.requires_grad, name
    assert result["trainable_parameters"] == sum(
        weight.numel() for weight in model.parameters() if weight.requires_grad
    )
    assert not model.training


def test_the_whole_encoder_can_be_trained():
    model = toy(kind="sequence")
    before = model.bert.encoder.layer[0].attention.self.query.weight.clone()
    assert run(model, task("sequence"), learning_rate=2e-3)["scores"]["macro_f1"] > 0.9
    assert not torch.equal(model.bert.encoder.layer[0].attention.self.query.weight, before)


def test_a_rate_for_another_width_is_scaled_to_the_models():
    """A rate meant for twice the width is doubled; meant for this width, it is itself."""
    found = []
    for changes in (
        {"learning_rate": 2e-3},
        {"learning_rate": 1e-3, "base_width": 2 * toy().config.hidden_size},
        {"learning_rate": 2e-3, "base_width": toy().config.hidden_size},
        {"learning_rate": 1e-3},
    ):
        found.append(run(toy(hidden_dropout_prob=0.0), **changes)["history"])
    assert found[0] == found[1] == found[2] != found[3]


def test_the_head_has_its_own_rate_and_the_encoder_keeps_its(tmp_path):
    """Every weight is in one group; those of the head have the factor times the rate."""
    model, data = toy(), task()
    trainers = {
        factor: finetuning.TaskTrainer(
            model, data, TOKENIZER, SETTINGS | {"head_rate": factor}, 1, tmp_path
        )
        for factor in (1.0, 20.0)
    }
    head = {id(weight) for weight in model.classifier.parameters()}
    for factor, trainer in trainers.items():
        rates = {
            id(weight): group["lr"]
            for group in trainer.create_optimizer().param_groups
            for weight in group["params"]
        }
        assert rates.keys() == {id(weight) for weight in model.parameters()}
        for weight, rate in rates.items():
            assert rate == pytest.approx(1e-2 * (factor if weight in head else 1))


def test_history_and_best_epoch_agree_and_the_model_holds_its_weights():
    data, model = task(), add_adapters(toy(), 4)
    result = run(model, data, learning_rate=0.05)
    curve = [entry["dev_score"] for entry in result["history"]]
    assert [entry["epoch"] for entry in result["history"]] == [1, 2, 3, 4, 5, 6]
    assert set(result["history"][0]) == {"epoch", "train_loss", "dev_score"}
    assert len(result["seconds"]) == 6
    assert result["best_epoch"] == 1 + curve.index(max(curve))
    assert result["dev_scores"]["accuracy"] == max(curve)
    for split, scores in (("dev", result["dev_scores"]), ("test", result["scores"])):
        encoded = encoding.encode(data, split, TOKENIZER, 20)
        pairs = [
            (best, label)
            for item, ids in zip(encoded, predict(model, encoded), strict=True)
            for best, label in zip(ids, item["labels"], strict=True)
            if label != -100
        ]
        assert scores["accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert metrics.score("accuracy", result["gold"], result["predictions"]) == result["scores"]


def scripted(monkeypatch, values, seen=None, model=None):
    """Let the dev scores of the epochs be `values`; `seen` collects the weights of each epoch."""
    left = iter(values)

    def score(*_):
        if seen is not None:
            seen.append({name: weight.clone() for name, weight in model.named_parameters()})
        return {"accuracy": next(left)}

    monkeypatch.setattr(finetuning, "score", score)


def test_an_early_best_epoch_is_kept_though_training_goes_on(monkeypatch):
    model, seen = add_adapters(toy(), 4), []
    scripted(monkeypatch, [0.1, 0.8, 0.8, 0.3, 0.2, 0.1, 0.5], seen, model)
    assert run(model)["best_epoch"] == 2
    assert all(torch.equal(weight, seen[1][name]) for name, weight in model.named_parameters())
    assert not all(torch.equal(seen[1][name], seen[5][name]) for name in seen[1])


@pytest.mark.parametrize("family", toys.EVERY)
def test_the_best_epoch_comes_back_in_every_family(family, monkeypatch):
    encoder = toys.model(family, num_hidden_layers=2)
    model, seen = task_head.with_task_head(encoder, "token", LABELS["token"], 1), []
    scripted(monkeypatch, [0.8, 0.3, 0.5], seen, model)
    finetune_task(model, task(), toys.tokenizer(family), SETTINGS | {"epochs": 2}, 1)
    assert all(torch.equal(weight, seen[0][name]) for name, weight in model.named_parameters())
    assert not all(torch.equal(seen[0][name], seen[1][name]) for name in seen[0])


@pytest.mark.parametrize("kind", METRIC)
def test_same_seed_same_scores_other_seed_other_run(kind):
    model = toy(kind=kind)

    def scored(seed, stirred):
        candidate = copy.deepcopy(model)
        draw_task_weights(candidate, stirred)  # a head the caller happened to have
        torch.manual_seed(stirred)
        result = run(add_adapters(candidate, 4), task(kind), seed, epochs=3)
        result["seconds"] = len(result["seconds"])
        return result

    first, again, other = scored(1, 10), scored(1, 11), scored(2, 10)
    assert first == again
    assert first["history"] != other["history"]


def test_the_seed_reaches_head_and_adapters_alone():
    model = add_adapters(toy("bert", "sequence"), 4)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    draw_task_weights(model, 1)
    first = {name: weight.clone() for name, weight in model.named_parameters()}
    draw_task_weights(model, 2)
    for name, weight in model.named_parameters():
        drawn = weight.requires_grad and name.endswith("weight") and ".up." not in name
        assert torch.equal(weight, first[name]) != drawn, name
        assert not (drawn and torch.equal(before[name], first[name]))
        if weight.requires_grad and not drawn:
            assert not weight.any(), name


def test_steps_are_capped_and_patience_stops(monkeypatch):
    assert len(run(add_adapters(toy(), 4), max_steps=9)["history"]) == 2  # 8 steps an epoch
    scripted(monkeypatch, [0.5] * 9)
    result = run(add_adapters(toy(), 4), patience=2)
    assert (len(result["history"]), result["best_epoch"]) == (3, 1)


def test_progress_is_told_only_when_it_takes_long(monkeypatch, capsys):
    run(add_adapters(toy(), 4), epochs=1)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(progress, "NOTICE_SECONDS", -1)
    result = run(add_adapters(toy(), 4), epochs=2)
    lines = capsys.readouterr().out.splitlines()
    for number, (line, epoch) in enumerate(zip(lines, result["history"], strict=True), 1):
        numbers = f"loss {epoch['train_loss']:.3f}, on dev {epoch['dev_score']:.3f}"
        assert line == f"toy: step {8 * number} of 16, {numbers}, 0.0 min left"


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_do_not_depend_on_batching_or_order(family):
    model, data = toy(family), task()
    data.splits["test"] = examples("token", 70, 4)
    sentences = encoding.encode(data, "test", TOKENIZER, 20)
    model.eval()
    alone = [
        model(input_ids=torch.tensor([item["input_ids"]])).logits.argmax(-1)[0].tolist()
        for item in sentences
    ]
    assert predict(model, sentences, "float32") == alone


def test_collate_pads_ids_mask_and_labels():
    batch = collate(
        [
            {"input_ids": [2, 9, 3], "attention_mask": [1, 1, 1], "labels": [-100, 0, -100]},
            {"input_ids": [2, 3], "attention_mask": [1, 1], "labels": [-100, -100]},
        ],
        1,
    )
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "input_ids": [[2, 9, 3], [2, 3, 1]],
        "attention_mask": [[1, 1, 1], [1, 1, 0]],
        "labels": [[-100, 0, -100], [-100, -100, -100]],
    }


def test_words_lost_by_truncation_count_as_wrong():
    sentence = (tuple("abcdef"), ("NOUN", "VERB", "NOUN", "VERB", "NOUN", "VERB"))
    data = task()
    data.splits.update({split: [sentence] * 8 for split in tasks.PARTS})
    # three of six words remain
    result = run(add_adapters(toy(), 4), data, max_length=5, epochs=30)
    assert result["scores"]["accuracy"] == 0.5
    predictions = [tuple(row) for row in result["predictions"]]
    assert predictions == [("NOUN", "VERB", "NOUN", "", "", "")] * 8


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(
        StudyError, match=r"toy: the loss is not finite at step 8; .*: lower the learning"
    ):
        run(add_adapters(toy(), 4), learning_rate=1e30)


class Killed(BaseException):
    """What nothing catches, as a kill."""


DEATHS = {  # what is called, the call that ends it, and the epochs that are complete then
    "while training": (finetuning.TaskTrainer, "compute_loss", 23, 2),
    "while scoring": (finetuning, "score", 5, 4),
    "while a checkpoint is written": (checkpoints, "mark", 4, 3),
}


@pytest.mark.parametrize("killed", DEATHS)
def test_killed_and_begun_again_it_ends_as_if_undisturbed(
    killed, tmp_path, data, monkeypatch, capsys
):
    """Dropout, order of the data, optimizer and best epoch are those of one training."""
    owner, name, last, epochs = DEATHS[killed]
    original, calls = getattr(owner, name), []

    def dying(*given, **named):
        calls.append(name)
        if len(calls) == last:
            raise Killed
        return original(*given, **named)

    def train(folder=None):
        model = add_adapters(toy(), 4)
        model.bert.encoder.layer[0].output.adapter.up.weight.requires_grad_(False)
        result = finetune_task(model, task(), TOKENIZER, SETTINGS, 1, folder)
        return result | {"seconds": len(result["seconds"])}, model.state_dict()

    whole, weights = train()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, dying)
        train(tmp_path / "c")
    for number in (epochs, SETTINGS["epochs"]):  # then nothing is left to train
        again, same = train(tmp_path / "c")
        assert again == whole and all(same[name].equal(weights[name]) for name in weights)
        assert f"resumed after step {8 * number}\n" in capsys.readouterr().out
    kept = list((tmp_path / "c").glob("checkpoint-*/model.safetensors"))
    with safe_open(kept[0], "pt") as file:
        trained = {name for name in file.keys() if "adapter" not in name}  # noqa: SIM118
    assert len(kept) == 2 and trained == {"classifier.weight", "classifier.bias"}


def test_a_training_that_patience_ended_is_not_trained_further(tmp_path, data, monkeypatch):
    scores = iter([0.5, 0.4, 0.3, 0.9])
    monkeypatch.setattr(finetuning, "score", lambda *_: {"accuracy": next(scores)})
    changes = SETTINGS | {"patience": 2}
    first = finetune_task(toy(), task(), TOKENIZER, changes, 1, tmp_path / "c")
    assert [entry["dev_score"] for entry in first["history"]] == [0.5, 0.4, 0.3]
    scores = iter([0.9])
    again = finetune_task(toy(), task(), TOKENIZER, changes, 1, tmp_path / "c")
    assert again["history"] == first["history"] and again["best_epoch"] == 1
