"""A push and a pull as one stream of bytes, cut at every single one: the final state is always the same.

Framing hands over whole messages, so that all cuts within one message are one case; test_client.py cuts real
connections, where framing can be wrong about that.
"""

from __future__ import annotations

import dataclasses

import orjson
import pytest

from tests.client.phone import Phone, agree
from tests.client.stand_in import Stream

W = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"


class Cut(Exception):
    """The stream has broken."""


class Cable(Phone):
    """A phone whose messages, both ways, go over one stream of bytes that breaks after `left` of them."""

    left: int | None = None
    passed = 0
    edges: tuple[int, ...] = ()

    def reach(self):
        self._carry(self.asked[0])
        super().reach()

    def arrive(self):
        self._carry(self.coming[0])
        super().arrive()

    def _carry(self, message):
        size = len(orjson.dumps([type(message).__name__, dataclasses.asdict(message)])) + 1
        if self.left is not None and self.left < size:
            self.left = None
            raise Cut
        self.left = None if self.left is None else self.left - size
        self.passed += size
        self.edges += (self.passed,)


def exchange(live, cut):
    """A phone with ops to push one by one, records to pull and a refused op; returns the stream and it."""
    stream = Stream(room=1)
    other, phone = Phone(stream, live=live), Cable(stream, live=live)
    other.sign_in()
    phone.sign_in()
    other.write("workout.create", W, {"title": "Legs"})
    other.settle()
    phone.write("workout.start", W)
    phone.write("workout.resume", W)
    phone.left = cut
    try:
        phone.settle()
    except Cut:
        phone.lose()
    phone.left = None
    other.write("workout.complete", W)
    agree(stream, phone, other)
    return stream, phone


@pytest.mark.parametrize("live", [True, False], ids=["socket", "rest"])
def test_cut_at_every_byte_everything_is_there_once_and_the_state_is_the_same(live):
    _, whole = exchange(live, None)
    assert len(whole.edges) >= 8
    for cut in range(whole.passed):
        if cut - 1 in (-1, *whole.edges) or cut + 1 in whole.edges or cut in whole.edges:
            stream, phone = exchange(live, cut)
            assert sorted(stream.dots()) == [(1, 1), (1, 2), (2, 1), (2, 2)]
            assert [void.op["kind"] for void in phone.store.void()] == ["workout.resume"]
