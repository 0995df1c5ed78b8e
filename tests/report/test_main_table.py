"""The main table, on records that are made up so that the answer is known."""

import pandas
import pytest
from made_up import PLAIN, baseline, only, record, scores

from lib.report import main_table

MINUS = "\N{MINUS SIGN}"


def table(*entries):
    """The main table of these records, of the teacher mbert."""
    return main_table.main_table(main_table.cells(scores(*entries)))


def run(step, task=None, seed=1, score=0.5, **more):
    return record(step, task, seed, score, teacher="mbert", **more)


def test_without_common_seeds_the_difference_is_unpaired():
    found = table(run("adapt", "tc", 1, 0.8), run("ffn", "tc", 2, 0.7))
    assert only(found, model="ffn 2,048")["Δ tc"] == f"{MINUS}10.0 (unpaired)"


def test_words_of_the_main_table():
    adapted = [run("adapt", "tc", seed, 0.8) for seed in (1, 2)]
    found = table(*adapted, run("vocabulary", "tc", 1, 0.75))
    row = only(found, model="adapted teacher")
    assert row[["tc", "Δ tc", "pos"]].tolist() == ["80.0 ± 0.0 (2)", "reference", "not run"]
    row = only(found, model="vocabulary 40,005, hidden 312")
    assert row[["tc", "Δ tc", "average"]].tolist() == ["75.0 (1)", f"{MINUS}5.0 (1)", "not run"]
    assert row["parameters (M)"] == row["published (M)"] == "22.81"
    assert row["compression (%)"] == row["published (%)"] == "87.2"


def test_the_mlm_loss_stands_with_its_model():
    """Also where the model was scored on tasks; not the teacher's, which is over all its languages,
    nor beside another way of training.
    """
    narrow = {"finetune.reduction_factor": 2}
    tasks = [run("adapt", "tc", 1, 0.8), run("adapt", "tc", 1, 0.7, changed=narrow)]
    found = table(run("adapt", score=2.345), *tasks, run("ffn", score=3.0))
    losses = found.set_index("model")["MLM loss"]
    models = ["teacher", "adapted teacher", "layers 6", "ffn 2,048"]
    assert losses[models].tolist() == ["not measured", "2.35", "not run", "3.00"]
    assert losses["adapted teacher; finetune.reduction_factor 2"] == "not measured"


def test_an_average_needs_every_task():
    both = {"tc": (0.8, 0.7), "pos": (0.9, 0.86), "sa": (0.5, 0.5), "ner": (0.5, 0.5)}
    entries = [
        run(step, task, 1, score[place])
        for task, score in both.items()
        for place, step in enumerate(("adapt", "ffn"))
    ]
    names = ["average", "Δ average"]
    found = table(*entries)
    assert only(found, model="adapted teacher")[names].tolist() == ["67.5", "reference"]
    assert only(found, model="ffn 2,048")[names].tolist() == ["64.0", f"{MINUS}3.5"]
    found = table(*entries[:-1])
    assert only(found, model="ffn 2,048")[names].tolist() == ["not run", "not run"]


def test_every_step_and_published_size_has_its_row():
    known = table(run("layers", "tc", 1, 0.8))
    assert len(known) == 10 and (known["tc"] == "not run").sum() == 9
    names = ["parameters (M)", "published (M)", "Δ tc"]
    assert only(known, model="hidden 564")[names].tolist() == ["not run", "89.69", "not run"]
    assert only(known, model="layers 6")["Δ tc"] == "no teacher"
    other = table(record("layers", "tc", 1, 0.8, teacher="ours"))
    models = ["teacher", "adapted teacher", "layers 6", "ffn", "hidden", "vocabulary"]
    assert other["model"].tolist() == models
    assert set(other["published (M)"]) == {"not available"}


def plain(step, task=None, score=0.5, **more):
    """A record of a study that trims the vocabulary first and adapts nothing; no model has an MLM
    head.
    """
    more = {"way": PLAIN, "teacher": "ours"} | more
    entry = record(step, task, 1, score, **more)
    return entry if task else entry | {"scores": {"similarity": score}}


def test_a_study_without_adaptation_in_the_order_of_its_chain():
    own = {"vocabulary": 0.9, "layers": 0.8, "ffn": 0.7, "hidden": 0.6}
    entries = [plain(step, score=score + 0.05) for step, score in own.items()]
    entries += [plain(step, "tc", score) for step, score in own.items()]
    found = table(plain("pretrain", "tc", 0.95), *entries)
    names = ["vocabulary 40,005, hidden 768", "layers 6", "ffn 2,048", "hidden 312"]
    assert found["model"].tolist() == ["teacher", *names]
    assert "MLM loss" not in found
    assert found["similarity"].tolist() == ["not measured", "0.95", "0.85", "0.75", "0.65"]
    gaps = ["+5.0 (1)", "reference", f"{MINUS}10.0 (1)", f"{MINUS}20.0 (1)", f"{MINUS}30.0 (1)"]
    assert found["Δ tc"].tolist() == gaps
    assert "adapted teacher" not in main_table.page(
        "toy", main_table.cells(scores(*entries)), main_table.baselines(scores())
    )


def test_a_language_that_is_not_finished_has_the_rows_of_the_studys_chain_too():
    entries = [plain(step, "tc") for step in PLAIN]
    entries += [plain(step, "tc", language="slk") for step in PLAIN[:3]]
    found = table(*entries)
    slovak = found[found["language"] == "slk"]
    names = ["teacher", "vocabulary 40,005, hidden 768", "layers 6", "ffn", "hidden"]
    assert slovak["model"].tolist() == names
    assert slovak["tc"].tolist() == ["50.0 (1)"] * 3 + ["not run"] * 2


def test_models_with_and_without_a_head_have_both_measures():
    adapted = {"teacher": "adapted"}
    entries = [plain(step, score=0.9) for step in PLAIN[1:]]
    changed = plain("layers", score=0.8, changed=adapted)
    changed["scores"] = {"mlm_loss": 3.0, "similarity": 0.8}
    found = table(*entries, changed).set_index("model")
    assert found.loc["layers 6; teacher adapted", "MLM loss"] == "3.00"
    assert found.loc["layers 6", "similarity"] == "0.90"


def test_a_teacher_that_is_adapted_after_a_cut_has_its_own_size():
    way = ("pretrain", "vocabulary", "adapt", *PLAIN[2:])
    adapted = plain("adapt", score=0.9, way=way) | {"changed": {"teacher": "adapted"}}
    found = table(*(plain(step) for step in PLAIN[1:]), adapted).set_index("model")
    own = found.loc["adapted teacher; teacher adapted", "parameters (M)"]
    assert own == f"{adapted['model']['parameters'] / 1e6:.2f}"
    assert own == found.loc["vocabulary 40,005, hidden 768", "parameters (M)"]


def test_other_settings_have_their_own_row():
    entries = [run(step, "tc", s, 0.8) for step in ("adapt", "layers", "ffn") for s in (1, 2)]
    entries.append(run("layers", "tc", 1, 0.5, changed={"layers.layer_choice": "first_k"}))
    narrow = {"finetune.reduction_factor": 2, "finetune.epochs": 3}
    entries += [
        run("adapt", "tc", 1, 0.9, changed=narrow),
        run("ffn", "tc", 1, 0.7, changed=narrow),
    ]
    found, words = table(*entries), "finetune.epochs 3; finetune.reduction_factor 2"
    assert only(found, model="layers 6")["tc"] == "80.0 ± 0.0 (2)"
    first_k = only(found, model="layers 6; layers.layer_choice first_k")
    assert first_k["Δ tc"] == f"{MINUS}30.0 (1)"
    assert only(found, model=f"ffn 2,048; {words}")["Δ tc"] == f"{MINUS}20.0 (1)"
    assert only(found, model=f"adapted teacher; {words}")["Δ tc"] == "reference"


def test_sizes_are_in_the_name_and_the_way_of_a_model_is_a_setting():
    entries = [
        run("hidden", "tc", changed={"hidden.hidden_size": 24}, sizes=(24, 119547)),
        run("layers", "tc", changed={"teacher": "plain"}),
        run("layers", "tc", changed={"order": "vocabulary > layers"}),
        run("adapt", "tc", changed={"adapt.steps": 14300}),
    ]
    models = set(table(*entries)["model"])
    assert models >= {
        "hidden 24",
        "layers 6; teacher plain",
        "adapted teacher; adapt.steps 14,300",
    }
    assert "layers 6; order vocabulary > layers" in models


def test_differences_are_to_the_studys_own_teacher_and_not_to_one_of_another_vocabulary():
    more = {"changed": {"vocabulary.kept_tokens": 80_000}, "sizes": (768, 80_005)}
    found = table(
        run("vocabulary", "tc", score=0.8, way=PLAIN, sizes=(768, 40_005)),
        run("vocabulary", "tc", score=0.9, way=PLAIN, **more),
        run("hidden", "tc", score=0.7, way=PLAIN),
    )
    gaps = found[found["tc"] != "not run"].set_index("tc")["Δ tc"].to_dict()
    assert gaps == {
        "80.0 (1)": "reference",
        "90.0 (1)": "+10.0 (1)",
        "70.0 (1)": f"{MINUS}10.0 (1)",
    }


def test_languages_stay_apart_and_no_records_give_an_empty_table():
    entries = [run("adapt", "tc", 1, s, language=lang) for lang, s in (("mlt", 0.6), ("slk", 0.8))]
    assert only(table(*entries), language="slk", model="adapted teacher")["tc"] == "80.0 (1)"
    nothing = main_table.cells(scores())
    assert main_table.main_table(nothing).empty
    assert "No records yet." in main_table.page("toy", nothing, main_table.baselines(scores()))


def test_a_model_worse_than_guessing_is_marked_and_its_scores_say_nothing():
    entries = [
        run("adapt", "tc", score=0.8),
        run("layers", "tc", score=0.1),
        run("ffn", "tc", score=0.7),
    ]
    entries[1]["model"]["worse_than_unigram"] = True
    entries[2]["model"]["worse_than_unigram"] = False
    cells = main_table.cells(scores(*entries))
    assert list(cells.dropna(subset="mean")["step"]) == ["adapt", "ffn"]
    found = main_table.main_table(cells)
    row = only(found, model=f"layers 6; {main_table.WORSE}")
    assert row["tc"] == row["Δ tc"] == row["average"] == main_table.WORSE
    assert (found["tc"] == main_table.WORSE).sum() == 1 and row["parameters (M)"] == "135.45"


def test_baselines_stand_apart_and_disturb_nothing():
    plain = [run("adapt", "tc", 1, 0.8), run("ffn", "tc", 1, 0.7)]
    more = baseline("ngrams", 0.7, changed={"train_limit": 0})
    guesses = [
        baseline("majority", 0.05),
        baseline("ngrams", 0.6),
        baseline("ngrams", 0.5, "sa"),
        more,
    ]
    both, alone = scores(*plain, *guesses), scores(*plain)
    kept, without = main_table.cells(both), main_table.cells(alone)
    pandas.testing.assert_frame_equal(kept, without, check_dtype=False)
    assert main_table.baselines(both).to_dict("records") == [
        {"language": "mlt", "baseline": "majority", "tc": "5.0", "sa": "not run"},
        {"language": "mlt", "baseline": "ngrams", "tc": "60.0", "sa": "50.0"},
        {"language": "mlt", "baseline": "ngrams; train_limit 0", "tc": "70.0", "sa": "not run"},
    ]
    assert main_table.baselines(alone).empty


def test_a_page_has_the_studys_own_models_first():
    entries = [
        run("adapt", "tc", score=0.8),
        run("layers", "tc", changed={"layers.mlm_weight": 0.0}),
    ]
    both = scores(*entries, baseline("majority", 0.1))
    page = main_table.page("toy", main_table.cells(both), main_table.baselines(both))
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert headings == [
        "# Main table of the study toy",
        "## Maltese, mbert",
        "## Without an encoder",
        "## Variants: Maltese, mbert",
    ]
    with pytest.raises(ValueError):
        page.index("layers.mlm_weight 0", 0, page.index("## Without"))
