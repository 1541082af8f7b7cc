"""The generator's packets against the server's own codecs, and those of its library."""

from __future__ import annotations

import pytest

from fitai.bench import wire
from fitai.gateways.live import frames

EVENT = ["push", {"ops": [{"n": 1, "note": "é\n\"', 60.5"}]}]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_the_server_reads_what_the_generator_writes(codec):
    ours = wire.CODECS[codec].write(wire.EVENT, EVENT, 12)
    read = frames.CODECS[codec].decode(ours[1:].decode() if codec == "json" else ours)
    assert (read.packet_type, read.namespace, read.data, read.id) == (wire.EVENT, "/live", EVENT, 12)
    connect = wire.CODECS[codec].write(wire.CONNECT, {"token": "t"})
    read = frames.CODECS[codec].decode(connect[1:].decode() if codec == "json" else connect)
    assert (read.packet_type, read.data, read.id) == (wire.CONNECT, {"token": "t"}, None)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize(
    ("kind", "data", "ack"),
    [(wire.EVENT, EVENT, None), (wire.ACK, [{"ok": True}], 7), (wire.CONNECT, {"sid": "x"}, None)],
)
def test_the_generator_reads_what_the_server_writes(codec, kind, data, ack):
    frame = frames.CODECS[codec].packet(kind, data, ack).encode()
    assert wire.CODECS[codec].read(frame if isinstance(frame, bytes) else frame.encode()) == (kind, data, ack)


def test_the_default_namespace_has_no_name_on_the_wire():
    codec = wire.Json("/")
    assert codec.write(wire.EVENT, ["set", 1], 3) == b'423["set",1]'
    assert codec.read(b'433[{"ok":true}]') == (wire.ACK, [{"ok": True}], 3)
    assert codec.read(b"40") == (wire.CONNECT, None, None)


@pytest.mark.parametrize("frame", [b"", b"2", b"hello", b"4x", b"42/live,["])
def test_what_is_no_packet_is_refused(frame):
    with pytest.raises(ValueError):
        wire.CODECS["json"].read(frame)
    with pytest.raises(ValueError):
        wire.CODECS["msgpack"].read(frame)
