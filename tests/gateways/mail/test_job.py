"""From a commit to an inbox: the job `mail` in a whole worker, on both engines."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest

from fitai.gateways.jobs.brokers import MemoryBroker
from fitai.gateways.jobs.contract import Kinds
from fitai.gateways.jobs.worker import Worker
from fitai.gateways.mail.job import MAIL, mail_kind
from fitai.gateways.mail.letters import ResetPassword, letter
from fitai.gateways.mail.writing import body_of
from fitai.persistence.jobs import Jobs
from tests.gateways.jobs.kit import rows, until
from tests.gateways.jobs.test_worker import now_ms
from tests.gateways.mail.kit import URL, writer
from tests.gateways.mail.smtp_server import mail_server
from tests.gateways.mail.test_mailers import mailer

LETTER = ResetPassword(link="/reset?token=secret", minutes=30)


@asynccontextmanager
async def posted(db, port):
    kinds = Kinds([mail_kind(mailer(port), writer())])
    worker = Worker(db, MemoryBroker(), kinds, now_ms=now_ms, chance=Random(1))
    await worker.start()
    try:
        yield worker
    finally:
        await worker.close(5)


async def put(db, payload):
    async with db.write() as session:
        return await Jobs(session).put(MAIL, payload, now=now_ms())


async def settled(db, job):
    async with asyncio.timeout(15):
        while True:
            row = (await rows(db))[job]
            if row.done_at or row.dead_at or row.error:
                return row
            await asyncio.sleep(0.02)


async def test_a_letter_that_a_commit_caused_arrives_and_is_forgotten(db):
    async with mail_server() as inbox, posted(db, inbox.port):
        job = await put(db, letter("ada@example.com", LETTER, "de-AT"))
        await until(lambda: bool(inbox.messages))
        [message] = inbox.messages
        assert message["Message-ID"] == f"<{job}@fit.example.com>"
        assert message["Content-Language"] == "de"
        assert f"{URL}/reset?token=secret" in body_of(message)
        assert (await settled(db, job)).payload == {}


async def test_a_mailbox_that_is_none_is_dead_with_the_servers_reason(db):
    async with mail_server() as inbox, posted(db, inbox.port):
        inbox.answers["RCPT"] = "550 5.1.1 no such mailbox"
        row = await settled(db, await put(db, letter("ada@example.com", LETTER)))
        assert row.dead_at is not None
        assert row.error == "the mail server says 550 5.1.1 no such mailbox"


async def test_a_server_that_is_busy_gets_it_later_under_the_same_name(db):
    async with mail_server() as inbox, posted(db, inbox.port):
        inbox.answers["DATA"] = "451 4.3.0 busy"
        job = await put(db, letter("ada@example.com", LETTER))
        row = await settled(db, job)
        assert (row.dead_at, row.attempts, row.due_at > now_ms()) == (None, 1, True)
        inbox.answers.clear()
        async with db.write() as session:
            assert await Jobs(session).revive(now=now_ms(), ids=[job]) == 1
        await until(lambda: bool(inbox.messages))
        assert inbox.messages[0]["Message-ID"] == f"<{job}@fit.example.com>"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({}, "bad payload: to: "),
        ({"to": "a@example.com", "template": "love", "values": {}}, "bad payload: there is no letter love"),
        (
            {"to": "a@example.com", "template": "reset_password", "values": {"link": "//secret.example"}},
            "bad payload: values: link: ",
        ),
        (
            {
                "to": "a@example.com\r\nBcc: b@example.com",
                "template": "verify_email",
                "values": {"link": "/x", "minutes": 1},
            },
            "bad payload: to: not one plain address",
        ),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_letter_that_can_not_be_written_is_dead_and_told_without_its_values(db, payload, reason):
    async with mail_server() as inbox, posted(db, inbox.port):
        row = await settled(db, await put(db, payload))
        assert row.dead_at is not None
        assert row.error.startswith(reason)
        assert "secret" not in row.error
        assert inbox.messages == []
