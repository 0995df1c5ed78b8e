"""The benchmark at toy size: each case runs, and its peer gives the same results."""

import json
import sys

import numpy
import papermill
import pytest
import torch
import toys
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import __main__ as benchmark
from benchmarks import cases, exported, growth, inputs, peer, recipes, report
from lib import facts, files
from lib.data import tasks
from lib.model import device

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr(inputs, "text", lambda: tuple(toys.sentences()) * 10)
    monkeypatch.setattr(cases, "REPEATS", 1)


@pytest.mark.parametrize("family", benchmark.FAMILIES)
def test_both_procedures_give_the_same(family):
    assert cases.equality(family, "toy")["greatest_relative_difference"] < 1e-4
    found = cases.trimming(family, "toy")
    assert (
        found["count"]["equal"]
        and found["documents"]["equal"]
        and found["tokens"][1] < found["tokens"][0]
    )
    assert cases.perplexity_both(family, "toy")["relative_difference"] < 1e-5
    assert cases.importance_both(family, "toy")["relative_difference"] < 1e-4


def test_the_distillations_read_the_same_text_and_count_only_real_tokens():
    paper, ours = (
        function("bert", "toy", "sentences") for function in (cases.distil_paper, cases.distil_ours)
    )
    assert 0 <= ours["padding"] < paper["padding"] < 1 and ours["real_tokens"] == pytest.approx(
        paper["real_tokens"], rel=0.5
    )
    assert (
        cases.distil_ours("bert", "toy", "full")["real_tokens"] == 8 * inputs.SIZES["toy"]["length"]
    )


def test_the_growth_and_the_models_of_all_steps():
    points = growth.growth("toy")["points"]
    assert len(points) == 16 and all(each["ideal_seconds"] > 0 for each in points)
    own = inputs.tokenizer("bert", "toy")
    sizes = [
        model.num_parameters()
        for _, model in inputs.steps(inputs.teacher("bert", "toy", own), own, "toy")
    ]
    assert len(sizes) == 5 and sizes == sorted(sizes, reverse=True)
    torch.set_num_threads(1)
    assert cases.inference("bert", "toy", 4, 1)["parameters"] == sizes[4]


def test_exported_models_answer_in_processes_of_their_own(monkeypatch):
    monkeypatch.setattr(exported, "STARTS", 1)
    forms = exported.exported("toy", 1)["forms"]
    assert len(forms) == 8
    for each in forms.values():
        assert each["start_ms"] > each["load_ms"] > 0 and set(each["milliseconds"]) == {
            "1 x 16",
            "2 x 16",
        }
    for number in ("1 x 16", "2 x 16"):
        monkeypatch.setattr(report, "_SHOWN", number)
        found = {"cpu": {"results": {"exported 1": {"threads": 1, "forms": forms}}}}
        lines = report.exported(found).splitlines()
        assert len(lines) == 10 and lines[2].endswith("| 1.0 |")
    for name in ("teacher", "student"):
        torch_, exact, small = (forms[f"{name} {form}"] for form in ("torch", "float32", "int8"))
        assert small["bytes"] < exact["bytes"] and exact["peak_mb"] < torch_["peak_mb"]


def test_a_vocabulary_of_xlm_r_has_its_size():
    assert len(inputs.tokenizer("xlm-roberta", "full")) == 250_002


def test_a_case_that_fails_says_why():
    assert (
        "KeyError"
        in benchmark._run("equality", {"family": "xlm-roberta", "size": "none"}, 1)["failed"]
    )


def test_a_killed_benchmark_goes_on_and_replaces_the_record_at_the_end(data, tmp_path, monkeypatch):
    began = []

    def run(function, arguments, threads):
        began.append(function)
        if began == ["one", "two"]:
            raise KeyboardInterrupt
        return {"seconds": 1}

    monkeypatch.setattr(files, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    monkeypatch.setattr(benchmark, "_run", run)
    monkeypatch.setattr(benchmark, "plan", lambda *_: {"a": ("one", {}), "b": ("two", {})})
    published = tmp_path / "benchmark" / "cpu.json"
    with pytest.raises(KeyboardInterrupt):
        benchmark.main()
    assert not published.exists()
    benchmark.main()
    assert began == ["one", "two", "two"]
    assert json.loads(published.read_text())["results"].keys() == {"a", "b"}
    benchmark.main()
    assert began[3:] == ["one", "two"]
    monkeypatch.setattr(sys, "argv", ["benchmarks", "b"])
    benchmark.main()
    record = json.loads(published.read_text())
    assert began[5:] == ["two"]
    assert record["results"].keys() == record["commits"].keys() == {"a", "b"}
    monkeypatch.setattr(sys, "argv", ["benchmarks", "zzz"])
    with pytest.raises(SystemExit, match="no case has zzz in its name"):
        benchmark.main()
    published.write_text(json.dumps(record | {"device": "another"}))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "b"])
    with pytest.raises(SystemExit, match="made with another device; run `make bench`"):
        benchmark.main()
    assert began[6:] == []


def test_every_case_of_the_plan_exists():
    for function, given in benchmark.plan("toy", 2).values():
        rooms = {"growth": growth, "exported": exported, "recipe": recipes}
        code = getattr(rooms.get(function, cases), function).__code__
        assert set(given) <= set(code.co_varnames)
    assert set(recipes.RECIPES) == set(facts.facts("recipes"))


def test_the_table_of_recipes_says_when_the_end_of_the_paper_is_reached():
    def points(*given):
        stages = ("ffn, cut", "hidden, cut", "hidden, trained", "hidden, best")
        return [
            {"stage": stage, "seconds": seconds, "scores": {"mean": mean, "similarity": mean / 2}}
            for stage, (seconds, mean) in zip(stages, given, strict=True)
        ]

    students = {
        "paper": points((10, 0.5), (11, 0.3), (30, 0.6), (40, 0.7)),
        "ours": points((5, 0.5), (8, 0.6), (10, 0.71), (20, 0.75)),
        "worse": points((5, 0.9), (6, 0.2), (10, 0.3), (20, 0.4)),
    }
    results = {
        f"recipe {name}": {
            "teacher": {"mean": 0.8, "similarity": 1.0},
            "students": {"12": {"points": given}},
        }
        for name, given in students.items()
    }
    lines = report.recipes({"cpu": {"results": results}}).splitlines()[2:]
    assert [line.split(" | ")[3:] for line in lines] == [
        ["40", "30.0", "70.0", "1.00", ".15", ".35", "1.00 |"],
        ["20", "60.0", "75.0", "0.25", ".30", ".38", "0.25 |"],
        ["20", "20.0", "40.0", "not reached", ".10", ".20", "not reached |"],
        ["", "", "80.0", "", "", "1.00", " |"],
    ]
    assert [len(axes.lines) for axes in report.race({"results": results}).axes] == [4, 4]
    assert report.race(None) is None


def test_the_peer_counts_by_hand():
    own = toys.tokenizer("bert")
    assert sum(peer.count(own, ["paka paka"], "count").values()) == 2 * sum(
        peer.count(own, ["paka paka"], "documents").values()
    )


def test_files_are_what_the_notebook_makes(tmp_path):
    papermill.execute_notebook(
        files.ROOT / "notebooks" / "paper" / "benchmark.ipynb",
        None,
        {"figures_folder": str(tmp_path)},
        kernel_name="python3",
        cwd=str(files.ROOT),
        progress_bar=False,
    )
    table = (tmp_path / "benchmark.md").read_text(encoding="utf-8")
    assert table == (files.FIGURES / "benchmark.md").read_text(encoding="utf-8"), (
        "figures/benchmark.md is out of date: run benchmark.ipynb"
    )


def test_records_are_of_the_full_size():
    for file in (files.RESULTS / "benchmark").glob("*.json"):
        assert json.loads(file.read_text(encoding="utf-8"))["size"] == "full"


def toy_tasks():
    """Topic: does the text have a certain word; parts of speech: the first letter of a word."""
    texts = toys.sentences(60)
    labels = ["cat" if "qattus" in text else "other" for text in texts]
    tags = [["a" if word[0] < "m" else "b" for word in text.split()] for text in texts]
    words = [tuple(text.split()) for text in texts]
    parts = (("train", slice(0, 40)), ("dev", slice(40, 60)))
    made = []
    for name, kind, metric, rows in (
        ("tc", "sequence", "macro_f1", list(zip(texts, labels, strict=True))),
        ("pos", "token", "accuracy", list(zip(words, tags, strict=True))),
    ):
        known = ("cat", "other") if kind == "sequence" else ("a", "b")
        splits = {part: rows[which] for part, which in parts}
        made.append(tasks.Task(name, "mlt", kind, metric, known, splits, {}))
    return made


CUTS = {
    "layers": toys.DISTIL
    | {"num_hidden_layers": 2, "layer_choice": "search", "distillation_target": "hidden"},
    "ffn": {"intermediate_size": 10},
    "hidden": toys.DISTIL
    | {"hidden_start": "fitted", "distillation_target": "hidden", "taught_by": "teacher"},
}


def test_a_race_notes_points_in_order_and_starts_each_width_where_the_cut_before_ended():
    text = {"train": toys.sentences(40), "dev": toys.sentences(8)}
    found = recipes.race(
        toys.model("bert"), toys.tokenizer("bert"), text, toy_tasks(), CUTS, (12, 8)
    )
    assert {*found["teacher"]} == {"tc", "pos", "mean", "similarity"}
    assert found["teacher"]["similarity"] == 1
    wide, narrow = (found["students"][width] for width in ("12", "8"))
    assert wide["parameters"] > narrow["parameters"]
    shared = [point for point in wide["points"] if not point["stage"].startswith("hidden")]
    assert narrow["points"][: len(shared)] == shared and shared[-1]["stage"] == "ffn, cut"
    for student in (wide, narrow):
        seconds = [point["seconds"] for point in student["points"]]
        assert seconds == sorted(seconds) and seconds[0] > 0
        stages = [point["stage"] for point in student["points"]]
        assert stages[-1] == "hidden, best" and stages.count("hidden, trained") >= 2
    assert narrow["points"][len(shared)]["seconds"] < wide["points"][-1]["seconds"]


def test_the_quality_of_a_race_is_that_of_a_linear_classifier_on_frozen_vectors():
    """Against a pipeline of scikit-learn on vectors that are read text by text, without padding."""
    model, tokenizer = toys.model("bert").eval(), toys.tokenizer("bert")
    found = recipes.quality(model, tokenizer, toy_tasks())
    for task in toy_tasks():
        vectors, labels, texts = [], [], []
        for text, gold in task.splits["train"] + task.splits["dev"]:
            batch = tokenizer(
                [text if task.kind == "sequence" else list(text)],
                is_split_into_words=task.kind == "token",
                return_tensors="pt",
            )
            with torch.no_grad():
                states = model.base_model(**batch).last_hidden_state[0].numpy()
            words = batch.word_ids(0)
            sequence = task.kind == "sequence"
            vectors += (
                [states.mean(0)]
                if sequence
                else [states[words.index(word)] for word in range(len(gold))]
            )
            labels += [gold] if sequence else gold
            texts += [str(text)] * (1 if sequence else len(gold))
        predicted, vectors, gold = (
            numpy.empty_like(labels),
            numpy.array(vectors),
            numpy.array(labels),
        )
        for learn, judge in GroupKFold(5).split(vectors, gold, texts):
            learner = RidgeClassifier(alpha=len(gold) / 10)
            classifier = make_pipeline(StandardScaler(), learner).fit(vectors[learn], gold[learn])
            predicted[judge] = classifier.predict(vectors[judge])
        macro = task.kind == "sequence"
        score = f1_score(gold, predicted, average="macro") if macro else (predicted == gold).mean()
        assert found[task.name] == pytest.approx(score, abs=0.03)
    assert found["mean"] == pytest.approx((found["tc"] + found["pos"]) / 2, abs=1e-4)


def test_judging_is_no_work(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(recipes, "_clock", lambda: lambda: now[0])

    def slow(*_):
        now[0] += 100
        return {"mean": 0.5}

    watch = recipes.Watch(slow)
    now[0] += 3
    watch.note("first", None)
    now[0] += 4
    watch.note("second", None)
    assert [point["seconds"] for point in watch.points] == [3, 7]
