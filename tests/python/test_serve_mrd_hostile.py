"""The MRD server among hostile peers: `soak_mrd.py` by the hundred, where that is by hand."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("ismrmrd", reason="needs the extra mrd")

from mrd_peer import served
from soak_mrd import run


def test_two_thousand_hostile_messages_harm_no_honest_peer(tiny_bundle, caplog):
    with caplog.at_level(logging.WARNING), served(tiny_bundle) as server:
        totals = run(server.port, messages=2000, peers=4, series=2)
    assert totals["hostile"] > 1000, "most were sent before the server hung up"
    assert totals["answered"] == totals["series"] == 16
    assert server.hold.taken == 0
    failed = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not failed, [record.getMessage() for record in failed]
