"""What the tests of lib.train share."""

import gc

import pytest


@pytest.fixture(scope="session", autouse=True)
def frozen():
    """Each training of the Trainer collects garbage; the imported libraries are left out of it."""
    gc.freeze()
    yield
    gc.unfreeze()
