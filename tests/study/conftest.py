"""What the tests of lib.study share."""

import pytest
import toy_study

from lib.study import records


@pytest.fixture(scope="session")
def common_params(tmp_path_factory):
    """One folder for all tests, so that its facts are parsed once."""
    return tmp_path_factory.mktemp("params")


@pytest.fixture
def toy(common_params, data, monkeypatch):
    """Only the study `toy`, and an empty place for everything that it makes. Returns that place."""
    for variable in ("STUDY_DATA_ROOT", "STUDY_MODELS_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    toy_study.facts_in(common_params, monkeypatch)
    monkeypatch.setattr(records, "environment", lambda: {"commit": "none"})
    return data
