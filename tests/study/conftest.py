"""What the tests of lib.study share."""

from contextlib import contextmanager

import pytest
import toy_study

from lib.study import make, records, steps
from lib.study.resolve import resolve


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
