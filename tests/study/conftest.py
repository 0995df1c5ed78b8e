"""What the tests of lib.study share."""

import shutil
from contextlib import contextmanager

import own_study
import pytest
import toy_study

from lib.study import make, records, steps
from lib.study.plan import resolve


@pytest.fixture(scope="session")
def common_params(tmp_path_factory):
    """One folder for all tests, so that its facts are parsed once."""
    return tmp_path_factory.mktemp("params")


@pytest.fixture
def toy(common_params, data, monkeypatch):
    """Only the study `toy`, and an empty place for everything that it makes. Returns that place."""
    for variable in ("STUDY_SOURCE", "STUDY_DATA_ROOT", "STUDY_MODELS_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    toy_study.facts_in(common_params, monkeypatch)
    monkeypatch.setattr(records, "environment", lambda: {"commit": "none"})
    return data


@pytest.fixture
def executed(monkeypatch):
    """The runs whose notebooks would have been executed, in order; each leaves a record."""
    runs = []

    @contextmanager
    def warm_kernel():
        def execute(notebook, copy, parameters):
            step = next(entry for entry in steps.REGISTRY if entry.notebook == notebook.stem)
            run = resolve(step.name, parameters)
            assert copy == run.record.with_suffix(".ipynb")
            runs.append(run)
            toy_study.finish(run)

        yield execute

    monkeypatch.setattr(make, "warm_kernel", warm_kernel)
    return runs


@pytest.fixture
def own(toy, saved, tmp_path):
    """A folder with a teacher, text and labels of one's own, for the study `toy`."""
    place = tmp_path / "own"
    written = {"corpora/mlt.txt": own_study.TEXT} | {
        f"tasks/{name}": text
        for part in ("train", "dev", "test")
        for name, text in (
            (f"topic/mlt/{part}.tsv", own_study.TABLE),
            (f"pos/mlt/{part}.conllu", own_study.TREE),
        )
    }
    for name, text in written.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    shutil.copytree(saved / "bert", place / "my-encoder")
    toy_study.write_study(own_study.STUDY | {"data_root": str(place), "models_root": str(place)})
    return place
