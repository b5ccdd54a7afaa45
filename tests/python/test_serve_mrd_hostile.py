"""The MRD server among hostile peers: `soak_mrd.py` by the hundred, where that is by hand."""

from __future__ import annotations

import logging
import tracemalloc

import pytest

pytest.importorskip("ismrmrd", reason="needs the extra mrd")

from mrd_peer import HEADER, exchange, head, served, slices_of
from soak_mrd import run

from moediff_rt.errors import InputError
from moediff_rt.serve.mrd.contrast import Protocol, read_protocol
from moediff_rt.serve.mrd.images import MOST_MARKS, MrdImage, parse_meta

MARKS = MOST_MARKS - 10
DENSE = {
    "elements": b"<a/>" * MARKS,
    "nested": b"<a>" * (MARKS // 2) + b"</a>" * (MARKS // 2),
    "names": b"".join(b"<a%x/>" % number for number in range(MARKS)),
    "attributes": b"<a " + b" ".join(b'a%x=""' % number for number in range(MARKS)) + b"/>",
    "values": b"<meta><name>a</name><value/></meta>" * (MARKS // 5),
    "lines": b"x\n" * (1 << 20),
    "wide letters": b"x" * (1 << 20) + "\U0001f600".encode(),
}


def attribute_string(content: bytes) -> bytes:
    return b"<ismrmrdMeta>" + content + b"</ismrmrdMeta>"


@pytest.mark.parametrize("what", DENSE)
def test_what_an_attribute_string_takes_is_held(what):
    attributes = attribute_string(DENSE[what])
    image = MrdImage(None, attributes, b"")
    tracemalloc.start()
    image.meta  # noqa: B018
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(attributes) + most <= image.held_bytes


@pytest.mark.parametrize("content", [b"<a/>" * (1 << 20), b"<a>" * 600_000 + b"</a>" * 600_000])
def test_xml_of_more_elements_than_any_scanner_writes_is_not_parsed(content):
    attributes = attribute_string(content)
    tracemalloc.start()
    with pytest.raises(InputError, match=f"at most {MOST_MARKS} tags"):
        parse_meta(attributes)
    assert read_protocol(attributes.decode()) == Protocol()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * len(attributes)


def test_an_image_with_such_an_attribute_string_comes_back_as_it_was(tiny_bundle):
    (image, *_rest) = slices_of(head((12, 14, 10)), meta={"Notes": "=" * MOST_MARKS})
    with served(tiny_bundle) as server:
        (found,), texts = exchange(server.port, [image], header=HEADER)
        assert bytes(found.getHead()) == bytes(image.getHead())
        assert found.attribute_string == image.attribute_string
        assert "expected XML of at most" in texts[0]
        assert server.hold.taken == 0


def test_two_thousand_hostile_messages_harm_no_honest_peer(tiny_bundle, caplog):
    with caplog.at_level(logging.WARNING), served(tiny_bundle) as server:
        totals = run(server.port, messages=2000, peers=4, series=2)
    assert totals["hostile"] > 1000, "most were sent before the server hung up"
    assert totals["answered"] == totals["series"] == 16
    assert server.hold.taken == 0
    failed = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not failed, [record.getMessage() for record in failed]
