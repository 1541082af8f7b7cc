"""Questions that wait at the same time are asked as one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from fitai.gateways.together import Together


class Doubler:
    """Doubles numbers, when it is let; zero is too much for it."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.open = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        await self.open.wait()
        if 0 in numbers:
            raise ZeroDivisionError
        return [2 * number for number in numbers]


async def test_what_comes_while_a_question_is_away_goes_together_when_it_is_back() -> None:
    doubler = Doubler()
    together = Together("doubler", doubler)
    first = asyncio.create_task(together(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(together(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    doubler.open.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert doubler.asked == [[1], [2, 3, 4]]


async def test_no_more_go_together_than_may() -> None:
    doubler = Doubler()
    doubler.open.set()
    together = Together("doubler", doubler, most=2)
    assert await asyncio.gather(*(together(number) for number in range(1, 6))) == [2, 4, 6, 8, 10]
    assert max(map(len, doubler.asked)) == 2


async def test_a_failure_is_told_to_those_who_asked_with_it_and_to_nobody_else() -> None:
    doubler = Doubler()
    together = Together("doubler", doubler)
    wrong = [asyncio.create_task(together(number)) for number in (5, 0)]
    await asyncio.sleep(0)
    doubler.open.set()
    outcomes = await asyncio.gather(*wrong, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, ZeroDivisionError]
    assert await together(7) == 14


async def test_one_who_has_gone_costs_the_others_nothing() -> None:
    doubler = Doubler()
    together = Together("doubler", doubler)
    gone, stays = asyncio.create_task(together(1)), asyncio.create_task(together(2))
    await asyncio.sleep(0)
    gone.cancel()
    doubler.open.set()
    assert await stays == 4
    with pytest.raises(asyncio.CancelledError):
        await gone
