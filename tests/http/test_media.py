from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from aiohttp.test_utils import make_mocked_request

from fitai.http import media
from fitai.http.problems import Problem

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def inflated(raw: bytes, encoding: str, limit: int) -> bytes:
    request = make_mocked_request("POST", "/", headers={"Content-Encoding": encoding})
    return media.inflated(request, raw, limit)


def refusal(*arguments: Any) -> str:
    with pytest.raises(Problem) as refused:
        inflated(*arguments)
    return refused.value.code


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_a_body_up_to_the_bound_comes_out_whole(encoding, size):
    body = bytes(index % 251 for index in range(size))
    assert inflated(PACKED[encoding](body), encoding.upper(), 1000) == body


@pytest.mark.parametrize("encoding", PACKED)
def test_one_byte_more_is_too_large(encoding):
    assert refusal(PACKED[encoding](b"x" * 1001), encoding, 1000) == "too_large"


@pytest.mark.parametrize("encoding", PACKED)
def test_a_changed_byte_never_passes_for_something_else(encoding):
    body = b'{"ops": [' + b"1, 2, 3, " * 20 + b"4]}"
    pack = zstandard.ZstdCompressor(write_checksum=True).compress if encoding == "zstd" else PACKED[encoding]
    packed = pack(body)
    refused = []
    for at in range(len(packed)):
        broken = packed[:at] + bytes([packed[at] ^ 0x10]) + packed[at + 1 :]
        try:
            assert inflated(broken, encoding, 1000) == body
        except Problem as problem:
            refused.append(problem.code)
    assert set(refused) <= {"bad_request", "too_large"}
    assert len(refused) > len(packed) // 2


def test_a_zstd_frame_that_wants_a_huge_window_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = compressor.compress(b"x" * 1000) + compressor.flush()
    assert refusal(packed, "zstd", 10_000) == "bad_request"


def test_a_body_without_an_encoding_is_left_alone():
    assert inflated(b"plain", "identity", 1) == b"plain"
    assert inflated(b"plain", "", 1) == b"plain"


@pytest.mark.parametrize(
    ("header", "best"),
    [
        ([], "a/x"),
        (["*/*"], "a/x"),
        (["b/y"], "b/y"),
        (["a/*;q=0.1, b/y"], "b/y"),
        (["a/x;q=0.1", "b/y;q=0.2"], "b/y"),
        (["a/x; q=0"], None),
        (["a/x;q=0, */*;q=0.1"], "b/y"),
        (["A/X;Q=1, b/y;q=0.9"], "a/x"),
        (["b/y;q=nonsense"], None),
        (["b/y;q=7"], None),
        (["b/y;q=nan"], None),
        (["c/z"], None),
        ([",;,"], "a/x"),
    ],
)
def test_the_offer_that_is_liked_best_is_taken(header, best):
    assert media.preferred(header, ("a/x", "b/y")) == best


def test_who_says_nothing_of_compression_gets_none():
    assert media.preferred([], ("zstd", "gzip"), silence=False) is None
