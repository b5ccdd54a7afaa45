import pytest
from tiny_bundle import make_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """A bundle made for the session; tests must not change it."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")
