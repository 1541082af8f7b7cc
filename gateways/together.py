"""Questions that wait at the same time are asked as one.

Each question to a database costs a way there and back, and a connection of few. While one is on its way,
those that come meanwhile gather, and go together when it is back: nobody waits longer than for two ways, and
a storm of questions costs little more than one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from fitai.gateways.tasks import spawn

Question = TypeVar("Question")
Answer = TypeVar("Answer")

MOST = 256  # questions that are asked as one


class Together(Generic[Question, Answer]):
    """Asks by `ask`, which gives an answer for each of many questions, in their order. What it raises, each
    of those that asked with it gets."""

    def __init__(
        self, name: str, ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]], most: int = MOST
    ) -> None:
        self._name = name
        self._ask = ask
        self._most = most
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._asking = False

    async def __call__(self, question: Question) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if not self._asking:
            self._asking = True
            spawn(self._name, self._work())
        return await answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._go(batch)
        finally:
            self._asking = False

    async def _go(self, batch: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._ask([question for question, _ in batch])
        except Exception as error:
            for _, waiting in batch:
                if not waiting.done():
                    waiting.set_exception(error)
            return
        for (_, waiting), answer in zip(batch, answers, strict=True):
            if not waiting.done():
                waiting.set_result(answer)
