from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fitai.http.workouts.positions import after


def test_the_first_position_leaves_room_on_both_sides():
    assert "0" < after(None) < "z"


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40))
def test_a_position_after_another_sorts_after_it_bytewise(last):
    following = after(last)

    assert following.encode() > last.encode()
    assert following.isascii()
    assert following.isprintable()


def test_a_hundred_exercises_need_few_characters():
    position = None
    seen = []
    for _ in range(100):
        position = after(position)
        seen.append(position)

    assert seen == sorted(seen)
    assert len(position or "") <= 4
