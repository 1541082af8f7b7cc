"""The questions of all hosts about what their people did before."""

from __future__ import annotations

from collections.abc import Sequence

from fitai.gateways.together import Together
from fitai.persistence.database import Database, Unavailable
from fitai.persistence.histories import WAYS, Answer, Asked, Question, answers


class Histories:
    """Asks for histories. Questions that wait at the same time are answered in one session, as far as a page
    of each way goes; one that takes more goes on alone and keeps nobody waiting."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._together = Together("live.histories", self._begin, most=WAYS)

    async def before(self, stream: int, asked: Sequence[Asked]) -> Answer:
        """The history of each of these workouts of a stream. Raises Unavailable."""
        # Several workouts are mostly more than a page apart.
        answer = await self._together((stream, asked)) if len(asked) == 1 else None
        if answer is None:
            async with self._db.read() as session:
                [answer] = await answers(session, [(stream, asked)])
        assert answer is not None, "it was gone to its end"
        return answer

    async def _begin(self, questions: Sequence[Question]) -> Sequence[Answer | None]:
        try:
            async with self._db.read() as session:
                return await answers(session, questions, pages=1)
        except Unavailable:
            raise
        except Exception:
            return [None] * len(questions)  # the one that can not be asked is to fail alone
