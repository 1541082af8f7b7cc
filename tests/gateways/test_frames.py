"""Packets on the wire are those of the stock library, however they were written."""

from __future__ import annotations

from typing import Any

from engineio.packet import MESSAGE
from engineio.packet import Packet as Transport
from hypothesis import given
from hypothesis import strategies as st

from fitai.gateways.live.frames import CODECS, JsonPacket, MsgpackPacket, framed

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
acks = st.none() | st.integers(0, 10**18)


@given(st.sampled_from([0, 1, 2, 3, 4]), json_values, acks)
def test_packets_are_written_as_the_library_writes_them(kind: int, data: Any, ack: int | None) -> None:
    for name, stock in (("json", JsonPacket), ("msgpack", MsgpackPacket)):
        ours = CODECS[name].packet(kind, data, ack)
        theirs = stock(kind, data=data, namespace="/live", id=ack).encode()
        assert ours.data == theirs
        for b64 in (False, True):
            assert ours.encode(b64) == Transport(MESSAGE, data=theirs).encode(b64)
        assert framed(ours).endswith(theirs if isinstance(theirs, bytes) else b"4" + theirs.encode())


@given(st.lists(json_values, max_size=3), acks)
def test_events_are_read_as_the_library_reads_them(data: Any, ack: int | None) -> None:
    written = CODECS["json"].packet(2, data, ack).data
    ours, theirs = CODECS["json"].decode(written), JsonPacket(encoded_packet=written)
    assert (ours.packet_type, ours.namespace, ours.data, ours.id) == (2, "/live", data, ack)
    assert (theirs.packet_type, theirs.namespace, theirs.data, theirs.id) == (2, "/live", data, ack)
