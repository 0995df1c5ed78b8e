"""Fine-tuning on toy tasks that can be learnt, against itself under the same seed, and against a bare loop."""

import copy
import math
import random

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
)

from lib.data import tasks
from lib.errors import StudyError
from lib.measure import metrics
from lib.train.adapters import add_adapters
from lib.train.finetuning import (
    FinetuneTrainer,
    collate,
    draw_task_weights,
    finetune,
    finetune_task,
    predict,
)

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
}


def toy(family="bert", kind="token", seed=0, **changes):
    """A tiny random task model of a family."""
    config, *kinds = FAMILIES[family]
    torch.manual_seed(seed)
    return kinds[kind == "token"](config(**{**SIZES, **changes}, num_labels=len(LABELS[kind])))


def items(kind, count, seed):
    """Sentences of word ids: the tag of a word is its id modulo 3; the label of a sentence says which half its ids are from."""
    chance, result = random.Random(seed), []
    for _ in range(count):
        label, length = chance.randrange(2), chance.randint(3, 9)
        low, high = ((4, 21), (22, 39))[label] if kind == "sequence" else (4, 13)
        ids = [2] + [chance.randint(low, high) for _ in range(length)] + [3]
        tags = [-100] + [each % 3 for each in ids[1:-1]] + [-100]
        result.append(
            {
                "input_ids": ids,
                "attention_mask": [1] * len(ids),
                "labels": label if kind == "sequence" else tags,
            }
        )
    return result


def data(kind, train=64):
    return {"train": items(kind, train, 1), "dev": items(kind, 20, 2), "test": items(kind, 30, 3)}


def run(model, folder, kind="token", seed=1, encoded=None, **changes):
    return finetune(
        model, encoded or data(kind), LABELS[kind], METRIC[kind], SETTINGS | changes, seed, folder
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", METRIC)
def test_a_learnable_task_is_learnt_and_the_encoder_stays_bit_for_bit(family, kind, tmp_path):
    model = add_adapters(toy(family, kind, hidden_dropout_prob=0.0), 2)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    result = run(model, tmp_path, kind, encoded=data(kind, train=128), epochs=16)
    assert result["scores"][METRIC[kind]] > 0.85  # chance: a half or a third
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name]) != weight.requires_grad, name
    assert result["trainable_parameters"] == sum(
        weight.numel() for weight in model.parameters() if weight.requires_grad
    )
    assert not model.training and not list(tmp_path.iterdir())


def test_the_whole_encoder_can_be_trained(tmp_path):
    model = toy(kind="sequence")
    before = model.bert.encoder.layer[0].attention.self.query.weight.clone()
    assert run(model, tmp_path, "sequence", learning_rate=2e-3)["scores"]["macro_f1"] > 0.9
    assert not torch.equal(model.bert.encoder.layer[0].attention.self.query.weight, before)


def test_a_rate_for_another_width_is_scaled_to_the_models(tmp_path):
    """A rate meant for twice the width is doubled; meant for this width, it is itself."""
    found = []
    for changes in (
        {"learning_rate": 2e-3},
        {"learning_rate": 1e-3, "base_width": 2 * toy().config.hidden_size},
        {"learning_rate": 2e-3, "base_width": toy().config.hidden_size},
        {"learning_rate": 1e-3},
    ):
        found.append(run(toy(hidden_dropout_prob=0.0), tmp_path, **changes)["history"])
    assert found[0] == found[1] == found[2] != found[3]


def test_history_and_best_epoch_agree_and_the_model_holds_its_weights(tmp_path):
    encoded, model = data("token"), add_adapters(toy(), 4)
    result = run(model, tmp_path, encoded=encoded, learning_rate=0.05)
    curve = [entry["dev_score"] for entry in result["history"]]
    assert [entry["epoch"] for entry in result["history"]] == [1, 2, 3, 4, 5, 6]
    assert set(result["history"][0]) == {"epoch", "train_loss", "dev_score"}
    assert result["best_epoch"] == 1 + curve.index(max(curve))
    assert result["dev_scores"]["accuracy"] == max(curve)
    for split, scores in (("dev", result["dev_scores"]), ("test", result["scores"])):
        pairs = [
            (LABELS["token"][best], LABELS["token"][label])
            for item, ids in zip(encoded[split], predict(model, encoded[split]), strict=True)
            for best, label in zip(ids, item["labels"], strict=True)
            if label != -100
        ]
        assert scores["accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert metrics.score("accuracy", result["gold"], result["predictions"]) == result["scores"]


def test_an_early_best_epoch_is_kept_though_training_goes_on(tmp_path, monkeypatch):
    model, seen = add_adapters(toy(), 4), []

    def planned(self, *_, **__):
        seen.append(
            {name: weight.detach().clone() for name, weight in self.model.named_parameters()}
        )
        monkeypatch.setattr(
            "lib.finetuning.score",
            lambda *_: {"accuracy": [0.1, 0.8, 0.8, 0.3, 0.2, 0.1, 0.5][len(seen) - 1]},
        )
        return evaluate(self)

    evaluate = FinetuneTrainer.evaluate
    monkeypatch.setattr(FinetuneTrainer, "evaluate", planned)
    assert run(model, tmp_path)["best_epoch"] == 2
    assert all(torch.equal(weight, seen[1][name]) for name, weight in model.named_parameters())
    assert not all(torch.equal(seen[1][name], seen[5][name]) for name in seen[1])


@pytest.mark.parametrize("kind", METRIC)
def test_same_seed_same_scores_other_seed_other_run(kind, tmp_path):
    model = toy(kind=kind)

    def scored(seed, stirred):
        candidate = copy.deepcopy(model)
        draw_task_weights(candidate, stirred)  # a head the caller happened to have
        torch.manual_seed(stirred)
        result = run(add_adapters(candidate, 4), tmp_path, kind, seed, epochs=3)
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


def first_gradients(batch_size, accumulation, folder, monkeypatch):
    """Gradients of the first optimiser step over 16 sentences, without clipping."""
    model, caught = toy(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), {}
    encoded = data("token", train=16)
    for item in encoded["train"]:  # as many labels in each half, so that both means weigh the same
        item["labels"] = [-100, *item["labels"][1:4], *[-100] * (len(item["labels"]) - 4)]

    def catch(self, trained):
        caught.update(
            {
                name: weight.grad.clone()
                for name, weight in trained.named_parameters()
                if weight.grad is not None
            }
        )
        return torch.tensor(0.0)

    monkeypatch.setattr(FinetuneTrainer, "_clip_grad_norm", catch)
    run(
        add_adapters(model, 4),
        folder,
        encoded=encoded,
        batch_size=batch_size,
        accumulation=accumulation,
        epochs=1,
    )
    return caught


def test_accumulation_does_not_multiply_the_gradient(tmp_path, monkeypatch):
    whole, halves = (first_gradients(*sizes, tmp_path, monkeypatch) for sizes in ((16, 1), (8, 2)))
    assert set(whole) == set(halves) and any(
        gradient.abs().max() > 1e-3 for gradient in whole.values()
    )
    for name, gradient in whole.items():
        torch.testing.assert_close(halves[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_steps_are_capped_and_patience_stops(tmp_path, monkeypatch):
    assert (
        len(run(add_adapters(toy(), 4), tmp_path, max_steps=9)["history"]) == 2
    )  # 8 steps an epoch
    monkeypatch.setattr("lib.finetuning.score", lambda *_: {"accuracy": 0.5})
    result = run(add_adapters(toy(), 4), tmp_path, patience=2)
    assert (len(result["history"]), result["best_epoch"]) == (3, 1)


def test_progress_is_told_only_when_it_takes_long(tmp_path, monkeypatch, capsys):
    run(add_adapters(toy(), 4), tmp_path, epochs=1)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("lib.finetuning.NOTICE_SECONDS", 0)
    run(add_adapters(toy(), 4), tmp_path, epochs=2)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch 1: loss ") and second.endswith(", 0.0 min left")


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_do_not_depend_on_batching_or_order(family):
    model, sentences = toy(family), items("token", 70, 4)
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


def test_words_lost_by_truncation_count_as_wrong(tmp_path, word_tokenizer):
    splits = {
        split: [(tuple("abcdef"), ("NOUN", "VERB", "NOUN", "VERB", "NOUN", "VERB"))] * 8
        for split in tasks.PARTS
    }
    task = tasks.Task("pos", "mlt", "token", "accuracy", ("NOUN", "VERB", "ADP"), splits, {})
    settings = SETTINGS | {
        "max_length": 5,
        "first_subword": True,
        "epochs": 30,
    }  # three of six words remain
    result = finetune_task(add_adapters(toy(), 4), task, word_tokenizer, settings, 1, tmp_path)
    assert result["scores"]["accuracy"] == 0.5
    assert [tuple(row) for row in result["predictions"]] == [
        ("NOUN", "VERB", "NOUN", "", "", "")
    ] * 8


@pytest.fixture
def word_tokenizer():
    """A BERT tokenizer of single letters."""
    from transformers import BertTokenizer

    pieces = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", *"abcdef"]
    return BertTokenizer(
        vocab={piece: place for place, piece in enumerate(pieces)},
        do_lower_case=False,
        model_max_length=24,
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs and batch_size of at least 1"),
        ({"learning_rate": 0}, "learning_rate above 0"),
        ({"warmup": 1.0}, "below 1"),
        ({"learning_rate": 1e30}, "not finite"),
    ],
)
def test_bad_settings_are_refused(changes, words, tmp_path):
    with pytest.raises(StudyError, match=words):
        run(add_adapters(toy(), 4), tmp_path, **changes)


def test_what_cannot_be_trained_is_refused(tmp_path):
    model = add_adapters(toy(), 4)
    with pytest.raises(StudyError, match="nothing for dev"):
        run(model, tmp_path, encoded=data("token") | {"dev": []})
    with pytest.raises(StudyError, match="patience not given"):
        finetune(
            model,
            data("token"),
            LABELS["token"],
            "accuracy",
            {k: v for k, v in SETTINGS.items() if k != "patience"},
            1,
            tmp_path,
        )
    with pytest.raises(StudyError, match="3 labels and the task 2"):
        finetune(model, data("token"), ("NOUN", "VERB"), "accuracy", SETTINGS, 1, tmp_path)
    with pytest.raises(StudyError, match="No weight of the model is trainable"):
        run(toy().requires_grad_(False), tmp_path)
    assert math.isfinite(sum(weight.abs().sum().item() for weight in model.parameters()))
