"""The benchmark at toy size: each case runs, and its peer gives the same results."""

import json
import sys

import papermill
import pytest
import torch
import toys

from benchmarks import __main__ as benchmark
from benchmarks import cases, exported, growth, inputs, peer, report
from lib import files
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
        room = {"growth": growth, "exported": exported}.get(function, cases)
        code = getattr(room, function).__code__
        assert set(given) <= set(code.co_varnames)


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
