"""Tables against a slow reference in plain Python, and the published numbers against what they follow from."""

import json
import math
from statistics import fmean, stdev

import pandas
import pytest

from lib import facts, files
from lib.errors import StudyError
from lib.report import tables
from lib.study import records, studies

METRICS = {"tc": "macro_f1", "pos": "accuracy"}
SHAPES = {
    "pretrain": (12, 768, 3072, 119547),
    "adapt": (12, 768, 3072, 119547),
    "layers": (6, 768, 3072, 119547),
    "ffn": (6, 768, 2048, 119547),
    "hidden": (6, 312, 2048, 119547),
    "vocabulary": (6, 312, 2048, 40005),
}
STEPS = list(SHAPES)


def parameters(layers, hidden, intermediate, vocabulary, positions=512, segments=2):
    """An encoder with a tied masked-language-model head, tensor by tensor."""
    norm = 2 * hidden
    layer = (
        4 * (hidden + 1) * hidden
        + norm
        + (hidden + 1) * intermediate
        + (intermediate + 1) * hidden
        + norm
    )
    return (
        (vocabulary + positions + segments) * hidden
        + norm
        + layers * layer
        + (hidden + 1) * hidden
        + norm
        + vocabulary
    )


def record(
    step,
    task=None,
    seed=1,
    score=None,
    *,
    language="mlt",
    teacher="mbert",
    settings=None,
    tuning=None,
    number="",
    chain=None,
):
    """A record as the study notebooks write it; without a task, that of the model itself."""
    sizes = dict(zip(tables.SIZES, SHAPES[step], strict=True))
    made = {
        each: {"learning_rate": 1e-4, **(settings or {}).get(each, {})}
        for each in STEPS[: STEPS.index(step) + 1]
    }
    count, whole = parameters(*SHAPES[step]), parameters(*SHAPES["pretrain"])
    return {
        "id": f"{language}.{teacher}.{step}.{task}.{seed}{number}",
        "step": "finetune" if task else step,
        "language": language,
        "teacher": teacher,
        "task": task,
        "seed": seed,
        "source": "sample",
        "model": {
            "step": step,
            "parameters": count,
            "teacher_parameters": whole,
            "compression_rate": 1 - count / whole,
            "config": sizes,
        },
        "settings": made
        | ({"finetune": {"reduction_factor": 16, **(tuning or {})}} if task else {}),
        "chain": chain or [f"{language}.{teacher}.{each}.None.1" for each in made],
        **({"scores": {METRICS[task]: score}} if task else {}),
    }


def load(folder, entries):
    """The data frame of these records, by way of files."""
    for number, entry in enumerate(entries):
        (folder / f"{number:03}.json").write_text(json.dumps(entry), encoding="utf-8")
    return records.load(folder)


def only(frame, **wanted):
    """The one row with these values."""
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_means_deviations_and_paired_differences(tmp_path):
    scores = {"adapt": {1: 0.80, 2: 0.84, 3: 0.79}, "hidden": {2: 0.70, 3: 0.74, 4: 0.10}}
    frame = load(
        tmp_path,
        [
            record(step, "tc", seed, score)
            for step, seeds in scores.items()
            for seed, score in seeds.items()
        ],
    )
    cells = tables.cells(frame, METRICS)
    for step, seeds in scores.items():
        cell, values = (
            only(cells, step=step, task="tc", hidden_size=SHAPES[step][1]),
            [100 * value for value in seeds.values()],
        )
        assert (cell["mean"], cell["deviation"]) == pytest.approx((fmean(values), stdev(values)))
        assert cell["runs"] == 3
    gaps = [100 * (scores["hidden"][seed] - scores["adapt"][seed]) for seed in (2, 3)]
    cell = only(cells, step="hidden", task="tc", hidden_size=312)
    assert (cell["difference"], cell["difference_deviation"]) == pytest.approx(
        (fmean(gaps), stdev(gaps))
    )
    assert cell["pairs"] == 2


def test_without_common_seeds_the_difference_is_unpaired(tmp_path):
    frame = load(tmp_path, [record("adapt", "tc", 1, 0.8), record("ffn", "tc", 2, 0.7)])
    cell = only(tables.cells(frame, METRICS), step="ffn", task="tc")
    assert (cell["difference"], cell["pairs"]) == (pytest.approx(-10), 0)
    row = only(tables.main_table(tables.cells(frame, METRICS)), model="ffn 2,048")
    assert row["Δ tc"] == "\N{MINUS SIGN}10.0 (unpaired)"


def test_words_of_the_main_table(tmp_path):
    entries = [record("adapt", "tc", seed, 0.8) for seed in (1, 2)] + [
        record("vocabulary", "tc", 1, 0.75)
    ]
    table = tables.main_table(tables.cells(load(tmp_path, entries), METRICS))
    adapted, trimmed = (
        only(table, model="adapted teacher"),
        only(table, model="vocabulary 40,005, hidden 312"),
    )
    assert (adapted["tc"], adapted["Δ tc"], adapted["pos"]) == (
        "80.0 ± 0.0 (2)",
        "reference",
        "not run",
    )
    assert (trimmed["tc"], trimmed["Δ tc"], trimmed["average"]) == (
        "75.0 (1)",
        "\N{MINUS SIGN}5.0 (1)",
        "not run",
    )
    assert (trimmed["parameters (M)"], trimmed["published (M)"]) == ("22.81", "22.81")
    assert trimmed["compression (%)"] == trimmed["published (%)"] == "87.2"


def test_the_mlm_loss_stands_with_its_model(tmp_path):
    """Also where the model was scored on tasks; not the teacher's, which is over all its languages, nor beside another way of training."""
    entries = [
        record("adapt"),
        record("adapt", "tc", 1, 0.8),
        record("adapt", "tc", 1, 0.7, tuning={"reduction_factor": 2}),
        record("ffn"),
    ]
    entries[0]["scores"], entries[3]["scores"] = (
        {"mlm_loss": 2.345, "mlm_accuracy": 0.5},
        {"mlm_loss": 3.0},
    )
    table = tables.main_table(tables.cells(load(tmp_path, entries), METRICS)).set_index("model")[
        "MLM loss"
    ]
    assert table[["teacher", "adapted teacher", "layers 6", "ffn 2,048"]].tolist() == [
        "not measured",
        "2.35",
        "not run",
        "3.00",
    ]
    assert table["adapted teacher; finetune.reduction_factor 2"] == "not measured"


def test_average_needs_every_task(tmp_path):
    entries = [
        record("adapt", "tc", 1, 0.8),
        record("adapt", "pos", 1, 0.9),
        record("ffn", "tc", 1, 0.7),
        record("ffn", "pos", 1, 0.86),
    ]
    table = tables.main_table(tables.cells(load(tmp_path, entries), METRICS))
    assert only(table, model="adapted teacher")[["average", "Δ average"]].tolist() == [
        "85.0",
        "reference",
    ]
    assert only(table, model="ffn 2,048")[["average", "Δ average"]].tolist() == [
        "78.0",
        "\N{MINUS SIGN}7.0",
    ]


def test_every_step_and_published_size_has_its_row(tmp_path):
    known = tables.main_table(
        tables.cells(load(tmp_path, [record("layers", "tc", 1, 0.8)]), METRICS)
    )
    assert len(known) == 10 and (known["tc"] == "not run").sum() == 9
    assert only(known, model="hidden 564")[
        ["parameters (M)", "published (M)", "Δ tc"]
    ].tolist() == ["not run", "89.69", "not run"]
    assert only(known, model="layers 6")["Δ tc"] == "no adapted teacher"
    other = tables.main_table(
        tables.cells(load(tmp_path, [record("layers", "tc", 1, 0.8, teacher="ours")]), METRICS)
    )
    assert other["model"].tolist() == [
        "teacher",
        "adapted teacher",
        "layers 6",
        "ffn",
        "hidden",
        "vocabulary",
    ]
    assert set(other["published (M)"]) == {"not available"}


def test_other_settings_have_their_own_row(tmp_path):
    usual = [
        record(step, "tc", seed, 0.8) for step in ("adapt", "layers", "ffn") for seed in (1, 2)
    ]
    first_k = record(
        "layers", "tc", 1, 0.5, settings={"layers": {"layer_choice": "first_k"}}, number="b"
    )
    for entry in usual:
        entry["settings"].get("layers", {})["layer_choice"] = "last_k"
    narrow = [
        record(step, "tc", 1, score, tuning={"reduction_factor": 2}, number="c")
        for step, score in (("adapt", 0.9), ("ffn", 0.7))
    ]
    table = tables.main_table(tables.cells(load(tmp_path, [*usual, first_k, *narrow]), METRICS))
    assert only(table, model="layers 6")["tc"] == "80.0 ± 0.0 (2)"
    assert (
        only(table, model="layers 6; layers.layer_choice first_k")["Δ tc"]
        == "\N{MINUS SIGN}30.0 (1)"
    )
    assert (
        only(table, model="ffn 2,048; finetune.reduction_factor 2")["Δ tc"]
        == "\N{MINUS SIGN}20.0 (1)"
    )
    assert only(table, model="adapted teacher; finetune.reduction_factor 2")["Δ tc"] == "reference"


def test_training_from_scratch_is_named_by_its_settings(tmp_path):
    """The student's shape without its teacher has rows of its own, before and after the vocabulary is cut.

    As many runs have the one as the other setting, or more have the other: what is usual, the study's file says.
    """
    usual = {
        "hidden": dict(studies.chain("paper", "mlt", "mbert")[4].settings) | {"hidden_size": 312}
    }
    scratch = {
        "hidden": usual["hidden"] | {"hidden_start": "random", "mlm_weight": 1.0, "steps": 700}
    }
    entries = [
        record(step, task, 1, 0.8, settings=usual) for step in STEPS[1:] for task in (None, "tc")
    ]
    entries += [
        record(step, "tc", seed, 0.6, settings=scratch, number="b")
        for step in STEPS[4:]
        for seed in (1, 2, 3)
    ]
    entries = [entry | {"study": "paper"} for entry in entries]
    table = tables.main_table(tables.cells(load(tmp_path, entries), METRICS))
    how = "; hidden.hidden_start random; hidden.mlm_weight 1; hidden.steps 700"
    for model in ("hidden 312", "vocabulary 40,005, hidden 312"):
        assert only(table, model=model)["tc"] == "80.0 (1)"
        assert only(table, model=model + how)[["tc", "Δ tc"]].tolist() == [
            "60.0 ± 0.0 (3)",
            "\N{MINUS SIGN}20.0 (1)",
        ]


def test_a_setting_that_is_left_out_is_the_usual_one(tmp_path):
    """Adapted on a part of the text: a row each beside the teacher adapted on all of it, whose records do not name the setting."""
    entries = [record(step, task, 1, 0.8) for step in ("adapt", "layers") for task in (None, "tc")]
    for share, score in ((100, 0.5), (333, 0.7)):
        entries += [
            record("adapt", task, 1, score, settings={"adapt": {"sentences": share}}, number=share)
            for task in (None, "tc")
        ]
    table = tables.main_table(tables.cells(load(tmp_path, entries), METRICS))
    assert only(table, model="adapted teacher")[["tc", "Δ tc"]].tolist() == [
        "80.0 (1)",
        "reference",
    ]
    assert (
        only(table, model="adapted teacher; adapt.sentences 100")["Δ tc"]
        == "\N{MINUS SIGN}30.0 (1)"
    )
    assert (
        only(table, model="adapted teacher; adapt.sentences 333")["Δ tc"]
        == "\N{MINUS SIGN}10.0 (1)"
    )
    assert only(table, model="layers 6")["Δ tc"] == "+0.0 (1)"


def test_a_setting_that_is_left_out_is_named_by_what_that_is_the_same_as(tmp_path):
    """Where most read the mean, a run that does not name its pooling reads the first token, and its row says so."""
    entries = [record("adapt")] + [
        record("adapt", "tc", seed, 0.8, tuning={"pooling": "mean"}) for seed in (1, 2)
    ]
    entries += [record("adapt", "tc", 1, 0.5, tuning={"epochs": 3}, number=7)]
    table = tables.main_table(tables.cells(load(tmp_path, entries), METRICS))
    assert any(name.endswith("finetune.pooling first") for name in table["model"]), table[
        "model"
    ].tolist()


def test_baselines_do_not_disturb_the_table_of_models(tmp_path):
    entries = [record(step, task, 1, 0.8) for step in STEPS[1:] for task in (None, "tc")]
    before = tables.main_table(tables.cells(load(tmp_path, entries), METRICS))
    floor = {
        "id": "mlt.baseline.tc.ngrams",
        "step": "baseline",
        "language": "mlt",
        "teacher": None,
        "task": "tc",
        "seed": None,
        "source": "sample",
        "model": {"id": "mlt.baseline.tc.ngrams", "step": "baseline", "parameters": 9},
        "settings": {"baseline": {"kind": "ngrams", "train_limit": 5}},
        "chain": [],
        "scores": {"macro_f1": 0.9},
    }
    after = tables.main_table(tables.cells(load(tmp_path, [*entries, floor]), METRICS))
    pandas.testing.assert_frame_equal(after, before)


def test_another_order_of_steps_has_its_own_row(tmp_path):
    models = [record(step) for step in STEPS]
    plain = record(
        "layers",
        "tc",
        1,
        0.6,
        number="b",
        chain=["mlt.mbert.pretrain.None.1", "mlt.mbert.layers.None.1"],
    )
    table = tables.main_table(
        tables.cells(load(tmp_path, [*models, record("layers", "tc", 1, 0.8), plain]), METRICS)
    )
    assert only(table, model="layers 6")["tc"] == "80.0 (1)"
    assert only(table, model="layers 6; order pretrain > layers")["tc"] == "60.0 (1)"


def test_languages_stay_apart_and_no_records_give_an_empty_table(tmp_path):
    entries = [
        record("adapt", "tc", 1, score, language=language)
        for language, score in (("mlt", 0.6), ("slk", 0.8))
    ]
    table = tables.main_table(tables.cells(load(tmp_path, entries), METRICS))
    assert only(table, language="slk", model="adapted teacher")["tc"] == "80.0 (1)"
    (tmp_path / "none").mkdir()
    assert tables.main_table(tables.cells(records.load(tmp_path / "none"), METRICS)).empty


def test_a_run_without_its_score_is_named(tmp_path):
    entry = record("adapt", "tc", 1, 0.8)
    entry["scores"] = {"accuracy": 0.8}
    with pytest.raises(StudyError, match=r"mlt\.mbert\.adapt\.tc\.1 has no macro_f1"):
        tables.cells(load(tmp_path, [entry]), METRICS)


def test_a_model_worse_than_guessing_is_marked_and_its_scores_are_no_result(tmp_path):
    entries = [
        record("adapt", "tc", score=0.8),
        record("layers", "tc", score=0.1),
        record("ffn", "tc", score=0.7),
    ]
    entries[1]["model"]["worse_than_unigram"], entries[2]["model"]["worse_than_unigram"] = (
        True,
        False,
    )
    found = tables.cells(load(tmp_path, entries), METRICS)
    assert list(found.dropna(subset="mean")["step"]) == ["adapt", "ffn"]
    marked = tables.main_table(found)
    row = marked[marked["model"].str.contains("worse than unigram")].iloc[0]
    assert (
        len(marked[marked["model"].str.contains("worse")]) == 1
        and row["tc"] == row["Δ tc"] == row["average"] == "worse than unigram"
    )
    assert (marked["tc"] == "worse than unigram").sum() == 1 and row["parameters (M)"] not in (
        "not run",
        "worse than unigram",
    )


def test_markdown_reads_back():
    frame = pandas.DataFrame(
        {"model": ["a|b", "longer name"], "x": ["1", "−2.0"], "y": ["line\nbreak", ""]}
    )
    text = tables.to_markdown(frame)
    lines = text.splitlines()
    assert text.endswith("|\n") and len({len(line) for line in lines}) == 1
    cells = [
        [cell.strip().replace("\\|", "|") for cell in line[2:-2].split(" | ")] for line in lines
    ]
    assert (
        cells[0] == ["model", "x", "y"]
        and cells[2] == ["a|b", "1", "line break"]
        and cells[3] == ["longer name", "−2.0", ""]
    )
    assert [mark.endswith(":") for mark in cells[1]] == [False, True, True]
    assert tables.to_markdown(frame[:0]).count("\n") == 2


def test_published_numbers_are_named_and_sourced():
    names = [file.stem for file in sorted(files.PAPER.glob("*.csv"))]
    assert len(names) == 6
    for name in names:
        frame = tables.published(name)
        assert (
            len(frame) and frame["source"].str.len().gt(10).all() and not frame.duplicated().any()
        ), name
    with pytest.raises(StudyError, match="data/paper has adapter_parameters"):
        tables.published("scores")


def test_published_parameters_follow_from_the_sizes():
    frame = tables.published("parameters")
    assert len(frame) == 18
    whole = frame[frame["step"] == "pretrain"].set_index("teacher")["parameters"]
    for row in frame.to_dict("records"):
        rest = (514, 1) if row["teacher"] == "xlm-r" else (512, 2)
        assert row["parameters"] == parameters(*(row[size] for size in tables.SIZES), *rest)
        if not math.isnan(row["change_percent"]):
            assert row["change_percent"] == pytest.approx(
                100 * (row["parameters"] / whole[row["teacher"]] - 1), abs=0.0501
            )


def test_published_adapter_parameters_follow_from_the_sizes():
    for row in tables.published("adapter_parameters").to_dict("records"):
        hidden, bottleneck = row["hidden_size"], row["hidden_size"] // row["reduction_factor"]
        assert row["parameters"] == row["num_hidden_layers"] * (
            (hidden + 1) * bottleneck + (bottleneck + 1) * hidden
        )


def test_published_scores_are_whole():
    topic = tables.published("topic_by_adapter_factor")
    assert topic.groupby(["teacher", "hidden_size"]).size().tolist() == [5, 5, 5, 7] * 2
    assert topic["macro_f1_percent"].between(60, 85).all()
    vocabulary = tables.published("average_by_vocabulary")
    assert (
        vocabulary.groupby("language").size().tolist() == [6, 6, 6]
        and vocabulary["average_f1"].between(0.65, 0.83).all()
    )


def test_published_text_agrees_with_the_facts_about_languages():
    languages = facts.facts("languages")
    for row in tables.published("pretraining_text").to_dict("records"):
        entry = languages[row["language"]]
        ours = (
            entry["pretraining_gb"][row["teacher"]]
            if row["stage"] == "pre-training"
            else entry["glotcc_mb"]
        )
        assert ours == row["amount"]


def test_baselines_stand_apart_and_disturb_nothing(tmp_path):
    plain = [record("adapt", "tc", 1, 0.8), record("ffn", "tc", 1, 0.7)]
    guesses = [
        record("adapt", "tc", 1, score)
        | {
            "step": "baseline",
            "model": None,
            "id": kind,
            "chain": [],
            "settings": {"baseline": {"kind": kind}},
            "scores": {"macro_f1": score},
        }
        for kind, score in (("majority", 0.05), ("ngrams", 0.6))
    ]
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    with_them, without = load(tmp_path / "with", plain + guesses), load(tmp_path / "without", plain)
    pandas.testing.assert_frame_equal(
        tables.cells(with_them, METRICS), tables.cells(without, METRICS), check_dtype=False
    )
    table = tables.baselines(with_them)
    assert table.to_dict("records") == [
        {"language": "mlt", "baseline": "majority", "tc": "5.0"},
        {"language": "mlt", "baseline": "ngrams", "tc": "60.0"},
    ]
    assert tables.baselines(without).empty


def test_a_baseline_of_more_examples_has_its_own_row(tmp_path):
    def floor(number, limit, score):
        return {
            "id": f"mlt.ngrams.{number}",
            "step": "baseline",
            "language": "mlt",
            "task": ("tc", "sa", "tc")[number],
            "chain": [],
            "settings": {"baseline": {"kind": "ngrams", "train_limit": limit}},
            "scores": {"macro_f1": score},
        }

    table = tables.baselines(
        load(tmp_path, [floor(0, 1000, 0.5), floor(1, 1000, 0.6), floor(2, 0, 0.7)])
    )
    assert table.to_dict("records") == [
        {"language": "mlt", "baseline": "ngrams", "tc": "50.0", "sa": "60.0"},
        {"language": "mlt", "baseline": "ngrams; train_limit 0", "tc": "70.0", "sa": "not run"},
    ]
