"""Comparisons against a slow reference in plain Python, on records that are made up for it."""

import math
from statistics import fmean, stdev

import pandas
import pytest
import toys

from lib import facts
from lib.errors import StudyError
from lib.report import ablation_tables, ablations
from lib.study import studies

METRIC = {"tc": "macro_f1", "sa": "macro_f1", "ner": "span_f1", "pos": "accuracy"}


@pytest.fixture(autouse=True)
def places(tmp_path, data, monkeypatch):
    """The study `toy` only."""
    toys.facts_in(tmp_path, monkeypatch)


def record(
    step,
    task="",
    seed=1,
    score=0.5,
    *,
    language="mlt",
    changed=None,
    order=studies.STEPS,
    interval=None,
    sizes=(48, 500),
):
    """A record as a study notebook writes it, of the study `toy`; without a task, of the model itself."""
    chain = list(order)[: list(order).index(step) + 1]
    settings = {each: dict(toys.STUDY["steps"][each]) for each in chain}
    if task:
        kind = facts.fact("tasks", task)["kind"]
        tune = toys.STUDY["finetune"]
        settings["finetune"] = {
            key: value for key, value in tune.items() if key not in ("sequence", "token")
        } | tune[kind]
    for name, value in (changed or {}).items():
        where, key = name.split(".")
        settings[where][key] = value
    ids = [f"{language}.{each}.{'>'.join(chain[: place + 1])}" for place, each in enumerate(chain)]
    of = {
        "id": f"{language}.{step}.{task}.{seed}.{sorted((changed or {}).items())}.{'>'.join(chain)}",
        "step": "finetune" if task else step,
        "language": language,
        "teacher": "toy-bert",
        "task": task or None,
        "seed": seed,
        "model": {
            "id": ids[-1],
            "step": step,
            "parameters": 1000,
            "teacher_parameters": 2000,
            "compression_rate": 0.5,
            "config": {"hidden_size": sizes[0], "vocab_size": sizes[1]},
        },
        "settings": settings,
        "chain": ids,
        "scores": {METRIC[task]: score} if task else {"mlm_loss": score},
    }
    return of | ({"interval": list(interval)} if interval else {})


def chain_records(order=studies.STEPS, language="mlt"):
    """The models of a chain, so that the steps behind an id are known."""
    return [
        record(step, order=order, language=language)
        | {"id": f"{language}.{step}.{'>'.join(order[: place + 1])}"}
        for place, step in enumerate(order)
    ]


def frame(entries):
    return pandas.json_normalize(entries)


def only(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_scores_know_what_is_not_the_studys_own():
    found = ablations.scores(
        frame(
            [
                *chain_records(),
                record("layers", "tc", score=0.7, interval=(0.6, 0.8)),
                record("layers", "tc", changed={"layers.layer_choice": "first_k"}),
                record("layers", "tc", changed={"finetune.reduction_factor": 2}),
            ]
        ),
        "toy",
    )
    tasks = found[found["what"] == "tc"]
    assert tasks["changed"].tolist() == [
        {},
        {"layers.layer_choice": "first_k"},
        {"finetune.reduction_factor": 2},
    ]
    assert tasks[["score", "low", "high"]].iloc[0].tolist() == pytest.approx([70, 60, 80])
    assert found[found["what"] == "mlm_loss"]["changed"].tolist() == [{}] * 6


def test_the_ways_of_a_model_are_compared_like_settings():
    plain = tuple(step for step in studies.STEPS if step != "adapt")
    trimmed = ("pretrain", "adapt", "vocabulary", "layers", "ffn", "hidden")
    entries = [*chain_records(), *chain_records(plain), *chain_records(trimmed)]
    entries += [
        record("vocabulary", "pos", order=plain),
        record("hidden", "pos", order=trimmed),
        record("hidden", "pos", score=0.6),
    ]
    found = ablations.scores(frame(entries), "toy")
    found = found[found["what"] == "pos"]
    assert found["changed"].tolist() == [
        {"teacher": "plain"},
        {"order": "vocabulary > layers > ffn > hidden"},
        {},
    ]


def test_a_setting_the_study_no_longer_has_is_not_a_change():
    """The study file was edited after its records were made: what most records have is the study's own."""
    old = {"adapt.steps": 3}
    found = ablations.scores(
        frame(
            [record("layers", "tc", seed, changed=old) for seed in (1, 2)]
            + [record("layers", "tc", 3, changed=old | {"layers.layer_choice": "random"})]
        ),
        "toy",
    )
    assert found["changed"].tolist() == [{}, {}, {"layers.layer_choice": "random"}]


def test_an_optional_setting_left_out_is_its_default_and_given_it_is_a_change():
    found = ablations.scores(
        frame(
            [
                record("adapt", "tc"),
                record("adapt", "tc", score=0.4, changed={"adapt.sentences": 5}),
                record("adapt", "tc", 2, changed={"finetune.pooling": "mean"}),
            ]
        ),
        "toy",
    )
    assert found["changed"].tolist() == [{}, {"adapt.sentences": 5}, {"finetune.pooling": "mean"}]
    assert ablations.sweep(found, "adapt.sentences", at="adapt").set_index("value")[
        "difference"
    ].to_dict() == pytest.approx({0: 0, 5: -10})


def test_a_sweep_takes_one_change_at_a_time_and_pairs_by_seed():
    own, random = {1: 0.80, 2: 0.84, 3: 0.79}, {2: 0.70, 3: 0.74, 4: 0.10}
    entries = [record("layers", "tc", seed, score) for seed, score in own.items()]
    entries += [
        record("layers", "tc", seed, score, changed={"layers.layer_choice": "random"})
        for seed, score in random.items()
    ]
    entries += [
        record(
            "layers",
            "tc",
            1,
            0.99,
            changed={"layers.layer_choice": "random", "layers.mlm_weight": 0.0},
        ),
        record("hidden", "tc", 1, 0.99, changed={"layers.layer_choice": "stride"}),
    ]
    swept = ablations.sweep(
        ablations.scores(frame(entries), "toy"), "layers.layer_choice", at="layers"
    )
    assert swept["value"].tolist() == ["last_k", "random"]
    row = only(swept, value="random")
    gaps = [100 * (random[seed] - own[seed]) for seed in (2, 3)]
    assert (row["mean"], row["deviation"], row["runs"]) == pytest.approx(
        (100 * fmean(random.values()), 100 * stdev(random.values()), 3)
    )
    assert (row["difference"], row["difference_deviation"], row["pairs"]) == pytest.approx(
        (fmean(gaps), stdev(gaps), 2)
    )
    assert only(swept, value="last_k")["reference"] and not row["own"]


def test_a_given_setting_moves_the_whole_comparison():
    kl = {"layers.distillation_loss": "kl"}
    entries = [
        record("layers", "tc", 1, 0.5),
        record("layers", "tc", 1, 0.6, changed=kl),
        record("layers", "tc", 1, 0.7, changed=kl | {"layers.temperature": 4.0}),
    ]
    swept = ablations.sweep(
        ablations.scores(frame(entries), "toy"), "layers.temperature", at="layers", given=kl
    )
    assert swept[["value", "mean"]].to_numpy().tolist() == [
        [2.0, pytest.approx(60)],
        [4.0, pytest.approx(70)],
    ]
    assert only(swept, value=4.0)["difference"] == pytest.approx(10)


def test_the_model_before_the_cut_is_the_value_that_cuts_nothing():
    entries = [
        record("hidden", "tc", 1, 0.8, sizes=(48, 4000)),
        record("vocabulary", "tc", 1, 0.7),
        record("vocabulary", "tc", 1, 0.5, changed={"vocabulary.kept_tokens": 100}),
    ]
    swept = ablations.sweep(
        ablations.scores(frame(entries), "toy"),
        "vocabulary.kept_tokens",
        at="vocabulary",
        whole="hidden",
    )
    assert dict(zip(swept["value"], swept["difference"], strict=True)) == pytest.approx(
        {4000: 0, 500: -10, 100: -30}
    )
    assert swept.set_index("value")["own"].to_dict() == {4000: False, 500: True, 100: False}


def test_a_drop_is_to_the_teacher_of_the_same_chain():
    """The teacher that read less scores less itself; the drop is from there."""
    less = {"adapt.sentences": 5}
    entries = [
        record("adapt", "tc", 1, 0.8),
        record("vocabulary", "tc", 1, 0.7),
        record("layers", "tc", 1, 0.1),
        record("adapt", "tc", 1, 0.6, changed=less),
        record("vocabulary", "tc", 1, 0.3, changed=less),
        record("vocabulary", "tc", 1, 0.2, changed=less | {"hidden.hidden_size": 24}),
        record("adapt", "pos", 1, 0.9, language="slk"),
        record("vocabulary", "pos", 1, 0.5, language="slk"),
        record("adapt", score=3.0),
        record("vocabulary", score=3.5),
    ]
    scores = ablations.scores(frame(entries), "toy")
    own = ablations.drops(scores).set_index(["language", "what"])["difference"].to_dict()
    assert own == pytest.approx({("mlt", "tc"): -10, ("mlt", "mlm_loss"): 0.5, ("slk", "pos"): -40})
    swept = ablations.drops(scores, "adapt.sentences")
    assert swept[["language", "what", "value", "own"]].to_numpy().tolist() == [
        ["mlt", "tc", 0, True],
        ["mlt", "mlm_loss", 0, True],
        ["mlt", "tc", 5, False],
    ]
    assert (
        swept["difference"].tolist() == pytest.approx([-10, 0.5, -30])
        and swept["step"].eq("vocabulary").all()
    )
    assert (
        ablations.drops(scores[:0]).empty and ablations.drops(scores[:0], "adapt.sentences").empty
    )


def test_orders_are_compared_after_the_last_cut_whatever_it_was():
    other = ("pretrain", "adapt", "vocabulary", "layers", "ffn", "hidden")
    entries = [
        *chain_records(),
        *chain_records(other),
        record("vocabulary", "pos", 1, 0.6),
        record("hidden", "pos", 1, 0.9),
        record("hidden", "pos", 1, 0.7, order=other),
    ]
    swept = ablations.sweep(
        ablations.scores(frame(entries), "toy"), "order", at=list(studies.STEPS), what=["pos"]
    )
    assert swept[["mean", "difference"]].to_numpy().tolist() == [
        pytest.approx([60, 0]),
        pytest.approx([70, 10]),
    ]


def test_one_value_is_no_comparison_and_no_records_are_none():
    one = ablations.scores(frame([record("layers", "tc")]), "toy")
    none = ablations.scores(pandas.DataFrame(), "toy")
    for found in (one, none):
        swept = ablations.sweep(found, "layers.layer_choice", at="layers")
        assert swept.empty and {"mean", "difference", "own"} <= set(swept)
        assert (
            ablation_tables.table(swept, "layers kept", ["random"]).empty
            and ablation_tables.points(swept).empty
        )


def test_records_of_other_steps_teachers_and_languages_are_passed_over():
    baseline = record("adapt", "tc") | {"step": "baseline"}
    foreign = record("adapt", "tc") | {"teacher": "mbert"}
    assert ablations.scores(
        frame([baseline, foreign, record("adapt", "tc", language="swh")]), "toy"
    ).empty


def test_a_task_run_without_its_score_is_an_error():
    broken = record("layers", "tc") | {"scores": {"accuracy": 0.5}}
    with pytest.raises(StudyError, match="has no macro_f1, by which tc is judged: run it again"):
        ablations.scores(frame([broken]), "toy")


def test_words_of_a_table():
    entries = [record("layers", "tc", seed, score) for seed, score in ((1, 0.8), (2, 0.84))]
    entries += [
        record("layers", "tc", 1, 0.7, changed={"layers.layer_choice": "random"}),
        record("layers", score=3.0),
        record("layers", score=3.5, changed={"layers.layer_choice": "random"}),
    ]
    swept = ablations.sweep(
        ablations.scores(frame(entries), "toy"), "layers.layer_choice", at="layers"
    )
    table = ablation_tables.table(swept, "layers kept", ["random", "stride"])
    assert table["layers kept"].tolist() == ["last_k *", "random", "stride"] and set(
        table["published"]
    ) == {"not available"}
    assert table["tc"].tolist() == ["82.0 ± 2.8 (2)", "70.0 (1)", "not run"]
    assert table["Δ tc"].tolist() == ["reference", "\N{MINUS SIGN}10.0 (1)", "not run"]
    assert table["Δ mlm loss"].tolist() == ["reference", "+0.50 (1)", "not run"]


def test_published_numbers_stand_in_the_row_of_their_value_and_language():
    entries = [
        record(
            "vocabulary",
            "tc",
            1,
            score,
            changed={"vocabulary.kept_tokens": kept},
            language=language,
        )
        for language in ("mlt", "slk")
        for kept, score in ((100, 0.5), (500, 0.6))
    ]
    swept = ablations.sweep(
        ablations.scores(frame(entries), "toy"), "vocabulary.kept_tokens", at="vocabulary"
    )
    theirs = pandas.DataFrame([{"language": "slk", "value": 100, "published": "81.9"}])
    table = ablation_tables.table(swept, "kept tokens", published=theirs)
    assert dict(
        zip(
            zip(table["language"], table["kept tokens"], strict=True),
            table["published"],
            strict=True,
        )
    ) == {
        ("mlt", "100"): "not available",
        ("mlt", "500 *"): "not available",
        ("slk", "100"): "81.9",
        ("slk", "500 *"): "not available",
    }


def test_an_average_needs_every_task():
    given = (
        ("tc", "last_k", 0.8),
        ("pos", "last_k", 0.6),
        ("tc", "random", 0.5),
        ("pos", "random", 0.5),
        ("tc", "stride", 0.1),
    )
    entries = [
        record("layers", task, 1, score, changed={"layers.layer_choice": choice})
        for task, choice, score in given
    ]
    found = ablations.scores(frame(entries), "toy")
    swept = ablation_tables.average(ablations.sweep(found, "layers.layer_choice", at="layers"))
    means = swept[swept["what"] == "average"].set_index("value")
    assert means["mean"].to_dict() == pytest.approx({"last_k": 70, "random": 50})
    assert means.loc["random", "difference"] == pytest.approx(-20)
    assert math.isnan(means.loc["random", "deviation"])


def test_learning_curves_of_a_comparison():
    history = [{"step": 1, "loss": 9.0}, {"step": 2, "dev_mlm_loss": 4.0}]
    entries = [
        record("layers", changed={"layers.distillation_loss": loss})
        | {"history": history, "seconds": {"history": [0.5, 0.9]}}
        for loss in ("mse", "kl")
    ]
    entries.append(
        record("layers", language="slk") | {"history": history, "seconds": {"history": [0.5, 0.9]}}
    )
    runs = frame(entries)
    curves = ablation_tables.curves(
        runs, ablations.scores(runs, "toy"), "layers.distillation_loss", "layers"
    )
    assert curves.to_numpy().tolist() == [
        ["Maltese", "mse", 2, 0.9, 4.0],
        ["Maltese", "kl", 2, 0.9, 4.0],
    ]


def test_text_seen_is_published_or_our_own():
    assert ablation_tables.text_seen("mbert") == {"slk": 0.611, "swh": 0.102, "mlt": 0.047}
    assert (
        ablation_tables.text_seen("toy-bert")["mlt"] == 1000
        and ablation_tables.text_seen("mini-bert")["slk"] == math.inf
    )
