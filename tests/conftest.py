"""What all tests share."""

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Hypothesis draws its cases from a fixed seed, so every run sees the same ones.
settings.register_profile(
    "fixed",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fixed")

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "data" / "sample"))  # generate.py, the maker of the embedded corpus


@pytest.fixture(scope="session")
def shared() -> Path:
    """The neighbour folder with real data and a real teacher; tests that need it are skipped where
    it is absent.
    """
    folder = ROOT.parent / "shared"
    if not (folder / "data" / "MANIFEST.json").exists():
        pytest.skip("the folder ../shared with real data is not there")
    return folder


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """An empty place for everything a study makes."""
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Path:
    """A folder with a model of each family, read only."""
    import toys

    from lib.model import encoder  # here: torch takes seconds to import

    place = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_DATA", str(place / "data"))
        for family in toys.FAMILIES:
            encoder.save(toys.model(family), toys.tokenizer(family), place / family, "")
    return place


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Import the tests without collecting garbage, and leave what they imported out of it.

    The collector would visit all objects of the libraries again and again, which takes as long as
    the imports themselves; later each training of the Trainer would visit them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# toys of one layout with another toy: roberta and camembert are laid out as xlm-roberta is
ALIKE = ("roberta", "camembert", "electra generator", "modernbert biases")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Slow tests come first, to end evenly; tests that read ../shared are marked, and those of
    further families of one layout are slow.
    """
    for item in items:
        if "shared" in item.fixturenames:
            item.add_marker("shared")
        if hasattr(item, "callspec") and item.callspec.params.get("family") in ALIKE:
            item.add_marker("slow")
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
