"""Bodies on the wire: JSON or msgpack, plain or compressed, whichever a client says that it speaks.

    request    Content-Encoding (gzip, deflate, zstd)  --inflated-->  Content-Type --decoded-->  plain values
    response   plain values  --encoded-->  Accept  --compressed-->  Accept-Encoding (zstd, gzip)

A compressed body is inflated here and not by the server's parser, because three things must hold that the
parser does not promise: nothing beyond the bound is ever inflated, a body that was cut off is refused
although what is there could be read, and whatever is wrong is answered as a problem like any other.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgpack
import orjson
import zstandard
from aiohttp import web

from fitai.http.problems import Problem

JSON = "application/json"
MSGPACK = "application/msgpack"
MSGPACK_NAMES = frozenset({MSGPACK, "application/x-msgpack", "application/vnd.msgpack"})

INFLATED = "gzip, deflate, zstd"
COMPRESSED_FROM = 512  # bytes: what is shorter gains nothing
WINDOW_BYTES = 8 * 1024 * 1024  # RFC 9659: what a zstd decoder of HTTP contents grants

_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class _Broken(Exception):
    """The compressed body is none, is cut off, or goes on after its end."""


class _Bomb(Exception):
    """More came out than was allowed."""


# -- requests ----------------------------------------------------------------------------------------


def inflated(request: web.Request, raw: bytes, limit: int) -> bytes:
    """The body without its Content-Encoding, at most `limit` bytes; raises Problem too_large (as soon as
    one byte more comes out), bad_request (broken or cut off) or unsupported_media_type."""
    encoding = ",".join(request.headers.getall("Content-Encoding", ())).strip().lower()
    if encoding in ("", "identity"):
        return raw
    try:
        if encoding in _WBITS:
            return _unzipped(raw, _WBITS[encoding], limit)
        if encoding == "zstd":
            return _unzstd(raw, limit)
    except _Bomb:
        raise too_large(limit) from None
    except (_Broken, zlib.error, zstandard.ZstdError):
        raise Problem("bad_request", f"The body is not one whole {encoding} stream.") from None
    raise Problem(
        "unsupported_media_type",
        f"A body can be sent as it is or as one of {INFLATED}.",
        headers={"Accept-Encoding": INFLATED},
    )


def too_large(limit: int) -> Problem:
    """The answer to a body of more than `limit` bytes."""
    return Problem("too_large", f"At most {limit} bytes in one body.", extra={"max": limit})


def _unzipped(raw: bytes, wbits: int, limit: int) -> bytes:
    stream = zlib.decompressobj(wbits)
    out = stream.decompress(raw, limit + 1)
    if len(out) > limit:
        raise _Bomb
    if not stream.eof or stream.unused_data:
        raise _Broken
    return out


def _unzstd(raw: bytes, limit: int) -> bytes:
    """Twice: the reader stops at a bound but does not tell a frame that is cut off, the other way round
    for the decompressor, which by then can not exceed the bound."""
    zstd = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
    if len(zstd.stream_reader(raw).read(limit + 1)) > limit:
        raise _Bomb
    stream = zstd.decompressobj()
    out = stream.decompress(raw)
    if not stream.eof or stream.unused_data:
        raise _Broken
    return out


def is_msgpack(request: web.Request) -> bool:
    """Whether the request's body is msgpack, by its Content-Type."""
    return request.content_type.lower() in MSGPACK_NAMES


def parse_msgpack(raw: bytes) -> Any:
    """The body as plain values; raises Problem bad_request. Values that JSON does not have (bytes, NaN,
    timestamps) come through: whoever reads them refuses them."""
    try:
        return msgpack.unpackb(raw)
    except Exception as error:  # msgpack raises a family of its own besides ValueError
        reason = str(error) or type(error).__name__
        raise Problem("bad_request", f"The body is not msgpack: {reason}.") from None


# -- responses ---------------------------------------------------------------------------------------


def wire_response(request: web.Request, body: Any, status: int, headers: dict[str, str]) -> web.Response:
    """Plain values as the client wants them; without a wish as it sent its own."""
    offers = (MSGPACK, JSON) if is_msgpack(request) else (JSON, MSGPACK)
    kind = preferred(request.headers.getall("Accept", ()), offers) or offers[0]
    encoded: bytes = orjson.dumps(body) if kind == JSON else msgpack.packb(body)
    headers = {**headers, "Vary": "Accept, Accept-Encoding"}
    return web.Response(
        status=status, body=_shortened(request, encoded, headers), content_type=kind, headers=headers
    )


def json_response(
    request: web.Request, encoded: bytes, status: int, headers: dict[str, str], *, plain: bool = False
) -> web.Response:
    """A JSON body as the client wants it, or `plain`: never compressed.

    Its entity tag names the state, not the bytes, and is the same for each coding: a write must be able to
    name it whichever way it was read, and nobody asks for ranges.
    """
    if not plain:
        headers = {**headers, "Vary": "Accept-Encoding"}
        encoded = _shortened(request, encoded, headers)
    return web.Response(status=status, body=encoded, content_type=JSON, headers=headers)


def _shortened(request: web.Request, encoded: bytes, headers: dict[str, str]) -> bytes:
    """Compressed, and said so in `headers`, when the client takes that and it is worth it."""
    if len(encoded) < COMPRESSED_FROM:
        return encoded
    coding = preferred(request.headers.getall("Accept-Encoding", ()), ("zstd", "gzip"), silence=False)
    if coding is None:
        return encoded
    headers["Content-Encoding"] = coding
    return _compressed(encoded, coding)


def _compressed(body: bytes, coding: str) -> bytes:
    if coding == "zstd":
        return zstandard.ZstdCompressor().compress(body)
    return gzip.compress(body, compresslevel=5, mtime=0)


def preferred(header: Iterable[str], offers: Sequence[str], *, silence: bool = True) -> str | None:
    """The offer that an Accept or Accept-Encoding header likes best (RFC 9110, 12.4 and 12.5), the first
    of several that it likes equally; None for none. Without a header the first, unless `silence` means no.
    """
    wishes = _wishes(header)
    if not wishes:
        return offers[0] if silence else None
    liked = {offer: _liking(offer, wishes) for offer in offers}
    best = max(offers, key=lambda offer: liked[offer])
    return best if liked[best] > 0 else None


def accepts(request: web.Request, kind: str) -> bool:
    """Whether the client names this media type itself: a wish for anything is none for this."""
    return kind in {name for name, q in _wishes(request.headers.getall("Accept", ())).items() if q > 0}


def _liking(offer: str, wishes: dict[str, float]) -> float:
    if offer == MSGPACK and offer not in wishes:
        offer = next((name for name in MSGPACK_NAMES if name in wishes), offer)
    for name in (offer, f"{offer.partition('/')[0]}/*", "*/*", "*"):
        if name in wishes:
            return wishes[name]
    return 0.0


def _wishes(header: Iterable[str]) -> dict[str, float]:
    """{name: q} of a header's list; a q that is none counts as 0."""
    wishes = {}
    for part in ",".join(header).split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name:
            q = next((text[2:] for text in parameters if text.startswith("q=")), "1")
            wishes[name] = _quality(q)
    return wishes


def _quality(text: str) -> float:
    try:
        q = float(text)
    except ValueError:
        return 0.0
    return q if 0 <= q <= 1 else 0.0
