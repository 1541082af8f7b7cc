"""Finding the ack id in a msgpack packet that can not be decoded, so that it can be refused by an answer.

A frame may be sound msgpack and yet be more than a decoder takes: nested too deeply, text that is no UTF-8,
keys that are no text. JSON packets have their id in front; in a msgpack packet it may lie behind the very
value that is in the way. So the packet is walked value by value, without building any and without recursion.
"""

from __future__ import annotations

import msgpack

SCANNED = 64 * 1024  # bytes: a walk takes its time, and who sends more than that in vain gets no answer

_ID = b"\xa2id"
_FLAT = 0  # what follows the first byte of a value: bytes that are no values
_SIZED = 1  # a length, and so many bytes
_ITEMS = 2  # a count, and so many values

# By the first byte, from 0xc0 on: what follows, how many bytes its length or count has (or, for _FLAT, how
# many bytes follow), and what is added to the length (an extension's type) or multiplied (a map's pairs).
_SORTS: dict[int, tuple[int, int, int]] = {
    0xC0: (_FLAT, 0, 0),
    0xC2: (_FLAT, 0, 0),
    0xC3: (_FLAT, 0, 0),
    **{0xC4 + i: (_SIZED, 1 << i, 0) for i in range(3)},  # bytes
    **{0xC7 + i: (_SIZED, 1 << i, 1) for i in range(3)},  # extensions
    0xCA: (_FLAT, 4, 0),
    0xCB: (_FLAT, 8, 0),
    **{0xCC + i: (_FLAT, 1 << i, 0) for i in range(4)},  # unsigned integers
    **{0xD0 + i: (_FLAT, 1 << i, 0) for i in range(4)},  # integers
    **{0xD4 + i: (_FLAT, 1 + (1 << i), 0) for i in range(5)},  # extensions of a fixed length
    **{0xD9 + i: (_SIZED, 1 << i, 0) for i in range(3)},  # text
    **{0xDC + i: (_ITEMS, 2 << i, 1) for i in range(2)},  # arrays
    **{0xDE + i: (_ITEMS, 2 << i, 2) for i in range(2)},  # maps
}


def ack_of(frame: bytes) -> int | None:
    """The `id` of a packet in the live namespace, whatever its other values are; None when there is none,
    or the frame is not one whole packet or longer than `SCANNED`."""
    if len(frame) > SCANNED:
        return None
    try:
        found = _members(frame)
    except (IndexError, KeyError, ValueError):
        return None
    id, namespace = (found.get(name) for name in (_ID, b"\xa3nsp"))
    if id is None or namespace != b"\xa5/live" or not (id[0] < 0x80 or 0xCC <= id[0] <= 0xCF):
        return None
    return int(msgpack.unpackb(id))


def _members(frame: bytes) -> dict[bytes, bytes]:
    """{encoded key: encoded value} of the map that a frame is; raises IndexError, KeyError or ValueError."""
    count, at = _following(frame, 0)
    if not (frame[0] & 0xF0 == 0x80 or frame[0] in (0xDE, 0xDF)):
        raise ValueError("no map")
    members = {}
    for _ in range(count // 2):
        value = _end(frame, at)
        end = _end(frame, value)
        members[frame[at:value]] = frame[value:end]
        at = end
    if at != len(frame):
        raise ValueError("not one whole packet")
    return members


def _end(frame: bytes, at: int) -> int:
    """Where the value ends that begins at `at`."""
    left = 1
    while left:
        inner, at = _following(frame, at)
        left += inner - 1
    return at


def _following(frame: bytes, at: int) -> tuple[int, int]:
    """(how many values follow inside the one at `at`, where its own bytes end)."""
    first = frame[at]
    at += 1
    if first < 0x80 or first >= 0xE0:
        return 0, at
    if first < 0xA0:
        return (first & 0x0F) * (2 if first < 0x90 else 1), at
    if first < 0xC0:
        return 0, at + (first & 0x1F)
    sort, size, factor = _SORTS[first]
    if sort == _FLAT:
        return 0, at + size
    if at + size > len(frame):
        raise IndexError(at)
    number = int.from_bytes(frame[at : at + size])
    if sort == _SIZED:
        return 0, at + size + number + factor
    return number * factor, at + size
