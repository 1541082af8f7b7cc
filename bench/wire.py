"""Socket.IO over Engine.IO frames, written by hand: what a client sends, and what a frame that came says.

A stock client costs as much time as the server that it talks to, so the generator has one of its own. Pure:
bytes in, packets out. `json` makes text frames, `msgpack` binary ones (socket.io-msgpack-parser); the frames
of Engine.IO itself (open, ping, pong) are text in both.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import msgpack
import orjson

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR = range(5)
OPEN, CLOSE, PING, PONG = (b"0", b"1", b"2", b"3")
NAMESPACE = "/live"


class Packet(NamedTuple):
    """A Socket.IO packet. `data` of an event is [name, payload], of an ack [answer]."""

    kind: int
    data: Any
    ack: int | None


class Codec(Protocol):
    """One way to write packets. `binary` says which kind of WebSocket frame they travel in, `query` what the
    handshake's address must carry."""

    binary: bool
    query: str

    def write(self, kind: int, data: Any, ack: int | None = None) -> bytes:
        """The frame of a packet."""

    def read(self, frame: bytes) -> Packet:
        """The packet in a frame; raises ValueError when it is none."""


class Json:
    """The default parser of every stock client."""

    binary = False
    query = ""

    def __init__(self, namespace: str = NAMESPACE) -> None:
        self._place = b"" if namespace == "/" else namespace.encode() + b","

    def write(self, kind: int, data: Any, ack: int | None = None) -> bytes:
        number = b"" if ack is None else b"%d" % ack
        body = b"" if data is None else orjson.dumps(data)
        return b"4%d" % kind + self._place + number + body

    def read(self, frame: bytes) -> Packet:
        if frame[:1] != b"4" or not frame[1:2].isdigit():
            raise ValueError(f"no Socket.IO packet: {frame[:40]!r}")
        at = 2
        if frame.startswith(self._place, at):
            at += len(self._place)
        start = at
        while frame[at : at + 1].isdigit():
            at += 1
        ack = int(frame[start:at]) if at > start else None
        body = frame[at:]
        return Packet(frame[1] - 48, orjson.loads(body) if body else None, ack)


class Msgpack:
    """The msgpack parser: the whole packet is one map."""

    binary = True
    query = "&codec=msgpack"

    def __init__(self, namespace: str = NAMESPACE) -> None:
        self._namespace = namespace

    def write(self, kind: int, data: Any, ack: int | None = None) -> bytes:
        packet = {"type": kind, "data": data, "nsp": self._namespace}
        if ack is not None:
            packet["id"] = ack
        return bytes(msgpack.packb(packet))

    def read(self, frame: bytes) -> Packet:
        try:
            packet = msgpack.unpackb(frame)
            return Packet(packet["type"], packet.get("data"), packet.get("id"))
        except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
            raise ValueError(f"no Socket.IO packet: {error}") from None


CODECS: dict[str, Codec] = {"json": Json(), "msgpack": Msgpack()}
