"""What the tests of accounts share: the jobs of a server, run as its worker runs them, and the letters that
they put into the outbox."""

from __future__ import annotations

import random
import re
from typing import Any

from sqlalchemy import select

from fitai.gateways.groups import reports
from fitai.gateways.jobs.contract import Kinds
from fitai.gateways.jobs.runner import Runner
from fitai.gateways.mail.letters import Post
from fitai.http.auth import recovery
from fitai.http.users import leaving
from fitai.persistence.identity_models import JobRow, SecurityEvent
from fitai.persistence.jobs import Jobs


class Desk:
    """Runs the jobs of one server, but for the post: letters stay where they can be read."""

    def __init__(self, api):
        self.api = api
        self.seen: dict[str, dict[str, Any]] = {}
        self.kinds = Kinds([*recovery.kinds(api.db), *leaving.kinds(api.db), *reports.kinds(api.db)])

    async def work(self):
        """Run what is due, and what follows from it."""
        runner = Runner(self.api.db, self.kinds, now_ms=self.api.clock, chance=random.Random(1), at_a_time=1)
        now = self.api.clock.now
        while True:
            async with self.api.db.write() as session:
                tickets = await Jobs(session).send(now=now, until=now + 60_000, window=1000)
            mine = [ticket for ticket in tickets if ticket.kind in self.kinds]
            for ticket in mine:
                await runner.run(ticket)
            if not mine:
                return

    async def jobs(self, kind):
        async with self.api.db.read() as session:
            query = select(JobRow).where(JobRow.kind == kind).order_by(JobRow.created_at, JobRow.id)
            return list((await session.execute(query)).scalars())

    async def letters(self, template: str | None = None, to: str | None = None) -> list[dict[str, Any]]:
        """The letters so far, in order."""
        await self.work()
        for job in await self.jobs("mail"):
            if job.id not in self.seen:
                Post.model_validate(job.payload).letter()  # one that can be written
                self.seen[job.id] = job.payload
        return [
            letter
            for letter in self.seen.values()
            if template in (None, letter["template"]) and to in (None, letter["to"])
        ]

    async def token(self, template, to=None):
        """The token of the newest letter's link."""
        letters = await self.letters(template, to)
        assert letters, f"no letter {template}"
        return re.search(r"token=([\w-]+)", letters[-1]["values"]["link"])[1]

    async def events(self, user):
        """The kinds of the person's security events, in order."""
        async with self.api.db.read() as session:
            query = select(SecurityEvent.kind).where(SecurityEvent.user_id == user).order_by(SecurityEvent.id)
            return list((await session.execute(query)).scalars())
