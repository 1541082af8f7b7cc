"""Socket.IO packets on the wire: one event encoded once per codec, however many connections get it.

Two codecs share a server: `json` (text frames, the default parser of every stock client) and `msgpack`
(binary frames, socket.io-msgpack-parser). A connection names its codec in the query of its handshake and
keeps it.
"""

from __future__ import annotations

import base64
from typing import Any, Protocol

import msgpack
import orjson
from engineio.packet import MESSAGE
from engineio.packet import Packet as Transport
from socketio import packet as sio

from fitai.gateways.live.msgpack_scan import ack_of

NAMESPACE = "/live"


class Unreadable(Exception):
    """A packet that is no Socket.IO. `ack` is the id to answer on, when that much could be read."""

    def __init__(self, message: str, ack: int | None = None) -> None:
        super().__init__(message)
        self.ack = ack


class Message:
    """An Engine.IO message on its way out: encoded once, and framed once for all WebSockets.

    To Engine.IO's long-polling it is a packet like its own. `body` are the bytes of the Socket.IO packet;
    `binary` says in which kind of frame they travel.
    """

    __slots__ = ("_framed", "binary", "body")

    packet_type = MESSAGE

    def __init__(self, body: bytes, binary: bool) -> None:
        self.body = body
        self.binary = binary
        self._framed: bytes | None = None

    @property
    def data(self) -> str | bytes:
        """The Socket.IO packet."""
        return self.body if self.binary else self.body.decode()

    def encode(self, b64: bool = False) -> str | bytes:
        """The packet as Engine.IO writes it; `b64` in a place where there is only text."""
        if not self.binary:
            return f"{MESSAGE}{self.body.decode()}"
        return f"b{base64.b64encode(self.body).decode()}" if b64 else self.body

    def framed(self) -> bytes:
        """The packet in a WebSocket frame."""
        if self._framed is None:
            self._framed = _framed(self.body) if self.binary else _framed(b"4" + self.body, text=True)
        return self._framed


def framed(packet: Transport | Message) -> bytes:
    """The packet in a WebSocket frame."""
    if isinstance(packet, Message):
        return packet.framed()
    return _framed(packet.encode().encode(), text=True)  # the library's own: open, ping, close


def _framed(payload: bytes, text: bool = False) -> bytes:
    """One whole, unmasked frame (RFC 6455, 5.2)."""
    first, size = 0x81 if text else 0x82, len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return bytes((first, 126, size >> 8, size & 0xFF)) + payload
    return bytes((first, 127)) + size.to_bytes(8) + payload


class _Orjson:
    """The two functions of a json module that the packet class calls."""

    @staticmethod
    def loads(text: str) -> Any:
        return orjson.loads(text)

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return orjson.dumps(value).decode()


class JsonPacket(sio.Packet):  # type: ignore[misc]  # the library ships no types
    """The default parser, on orjson (which refuses NaN, lone surrogates and bottomless nesting)."""

    json = _Orjson
    uses_binary_events = False


def _undefined(code: int, data: bytes) -> msgpack.ExtType | None:
    """JavaScript's `undefined`, as its packers write it, is null; any other extension stays what it is, for
    whoever reads it to refuse: read as null it would be stored as what nobody said."""
    return None if (code, data) == (0, b"\x00") else msgpack.ExtType(code, data)


class MsgpackPacket(sio.Packet):  # type: ignore[misc]
    """socket.io-msgpack-parser: the whole packet as one map."""

    uses_binary_events = False

    def encode(self) -> bytes:
        return bytes(msgpack.packb(self._to_dict()))

    def decode(self, encoded_packet: bytes) -> None:
        decoded = msgpack.unpackb(encoded_packet, ext_hook=_undefined)
        self.packet_type = decoded["type"]
        self.data = decoded.get("data")
        self.id = decoded.get("id")
        self.namespace = decoded["nsp"]


class Codec(Protocol):
    """Encodes and decodes Socket.IO packets for one kind of connection."""

    name: str

    def packet(self, kind: int, data: Any, ack: int | None = None) -> Message:
        """The packet in the live namespace, ready for any number of connections."""

    def decode(self, frame: str | bytes) -> sio.Packet:
        """The packet in a frame; raises Unreadable."""


class JsonCodec:
    """Text frames."""

    name = "json"

    def packet(self, kind: int, data: Any, ack: int | None = None) -> Message:
        head = b"%d/live," % kind if ack is None else b"%d/live,%d" % (kind, ack)
        return Message(head if data is None else head + orjson.dumps(data), binary=False)

    def decode(self, frame: str | bytes) -> sio.Packet:
        if not isinstance(frame, str):
            raise Unreadable("binary frame on a JSON connection")
        return _plain_event(frame) or self._decode(frame)

    def _decode(self, frame: str) -> sio.Packet:
        packet = JsonPacket()
        packet.id = None
        try:
            attachments = packet.decode(frame)
        except (ValueError, TypeError, IndexError, RecursionError) as error:
            raise Unreadable(str(error), packet.id if packet.namespace == NAMESPACE else None) from None
        if attachments:
            raise Unreadable("binary attachments are not part of this protocol")
        return packet


_EVENT = f"{sio.EVENT}{NAMESPACE},"
_ACK_DIGITS = 15


def _plain_event(frame: str) -> sio.Packet | None:
    """What nearly all frames are, an event in the live namespace, in a third of the library's time; None for
    any other, and for one that can not be read: the library says why."""
    if not frame.startswith(_EVENT):
        return None
    start = len(_EVENT)
    at = frame.find("[", start, start + _ACK_DIGITS + 1)
    ack = frame[start:at]
    if at < 0 or (ack and not (ack.isdecimal() and ack.isascii())):
        return None
    try:
        data = orjson.loads(frame[at:])
    except ValueError:
        return None
    return JsonPacket(sio.EVENT, data, NAMESPACE, int(ack) if ack else None)


class MsgpackCodec:
    """Binary frames."""

    name = "msgpack"

    def packet(self, kind: int, data: Any, ack: int | None = None) -> Message:
        packet = {"type": kind, "data": data, "nsp": NAMESPACE}
        if ack is not None:
            packet["id"] = ack
        return Message(msgpack.packb(packet), binary=True)

    def decode(self, frame: str | bytes) -> sio.Packet:
        if not isinstance(frame, bytes):
            raise Unreadable("text frame on a msgpack connection")
        packet = MsgpackPacket()
        try:
            packet.decode(frame)
        except Exception as error:  # msgpack raises a family of its own besides ValueError and KeyError
            raise Unreadable(f"{type(error).__name__}: {error}", ack_of(frame)) from None
        if type(packet.packet_type) is not int or not isinstance(packet.id, int | None):
            raise Unreadable("no Socket.IO packet")
        return packet


CODECS: dict[str, Codec] = {"json": JsonCodec(), "msgpack": MsgpackCodec()}


class Frame:
    """One event for many connections: encoded at most once per codec."""

    __slots__ = ("_encoded", "event", "payload")

    def __init__(self, event: str, payload: Any) -> None:
        self.event = event
        self.payload = payload
        self._encoded: dict[str, Message] = {}

    def packet(self, codec: Codec) -> Message:
        """The encoded event."""
        encoded = self._encoded.get(codec.name)
        if encoded is None:
            encoded = self._encoded[codec.name] = codec.packet(sio.EVENT, [self.event, self.payload])
        return encoded


class OpsFrame(Frame):
    """The `ops` event for a run of records, with the positions that a connection needs to place it."""

    __slots__ = ("first", "last")

    def __init__(self, epoch: str, first: int, last: int, records: list[dict[str, Any]]) -> None:
        super().__init__("ops", {"epoch": epoch, "from": first, "to": last, "records": records})
        self.first = first
        self.last = last
