import signal

import pytest
from tiny_bundle import make_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """A bundle made for the session; tests must not change it."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(autouse=True, scope="session")
def signals_as_in_a_terminal():
    """A background job starts with these ignored; the commands under test must see them."""
    kept = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
