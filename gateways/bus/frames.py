"""What goes over a shared transport: messages in msgpack, bound to the installation's secret and a channel.

    frame = mac (16) | version (1) | sender (8) | msgpack array of messages
    mac   = HMAC-SHA256(key, channel | 0 | all after the mac), its first 16 bytes

Whoever may write to Redis can so neither forge a message, nor move one to another user's channel. It can
repeat one, which listeners must bear anyway.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

import msgpack

from fitai.gateways.bus.contract import Message

SENDER_BYTES = 8
_MAC_BYTES = 16
_VERSION = b"\x01"
_BODY = _MAC_BYTES + len(_VERSION) + SENDER_BYTES


class Forged(Exception):
    """The frame was not made with our secret, or not for this channel."""


class Unreadable(Exception):
    """The frame is ours, but of a version that we do not know."""


def pack(message: Message) -> bytes:
    """A message as bytes. Raises what msgpack raises for a value that it has no form for."""
    packed: bytes = msgpack.packb(message)
    return packed


def unpack(packed: bytes) -> Any:
    """The other way round."""
    return msgpack.unpackb(packed)


class Seal:
    """Makes and opens the frames of one node. `sender` names it, SENDER_BYTES long."""

    def __init__(self, secret: bytes, sender: bytes) -> None:
        self._key = hmac.digest(secret, b"fitai bus 1", "sha256")
        self._head = _VERSION + sender

    def close(self, channel: bytes, packed: Sequence[bytes]) -> bytes:
        """One frame for messages that `pack` made."""
        body = b"".join((self._head, msgpack.Packer().pack_array_header(len(packed)), *packed))
        return self._mac(channel, body) + body

    def own(self, frame: bytes) -> bool:
        """Whether it claims to come from this node."""
        return frame[_MAC_BYTES:_BODY] == self._head

    def open(self, channel: bytes, frame: bytes) -> list[Message]:
        """The messages in a frame; raises Forged, Unreadable."""
        mac, body = frame[:_MAC_BYTES], frame[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(channel, body)):
            raise Forged
        if not body.startswith(_VERSION):
            raise Unreadable
        messages: list[Message] = unpack(frame[_BODY:])
        return messages

    def _mac(self, channel: bytes, body: bytes) -> bytes:
        return hmac.digest(self._key, channel + b"\0" + body, "sha256")[:_MAC_BYTES]
