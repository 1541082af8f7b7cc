"""`fitai jobs` and `fitai mail`, as they are typed."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fitai.app.command import app
from fitai.app.runtime import now_ms
from fitai.gateways.mail.folder import FolderMailer
from fitai.gateways.mail.letters import NewSignIn
from fitai.persistence.database import Database
from fitai.persistence.jobs import Jobs
from tests.gateways.mail.kit import LETTERS, NOW, written


@pytest.fixture(autouse=True)
def _a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sqlite_url: str) -> None:
    for name in list(os.environ):
        if name.upper().startswith("FITAI_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FITAI_DATABASE_URL", sqlite_url)
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output


def put(url, kind, how=None):
    """A job, dead or done if asked for."""

    async def work():
        db = Database.open(url)
        async with db.write() as session:
            jobs = Jobs(session)
            job = await jobs.put(kind, {"link": "/secret"}, now=now_ms())
            if how is not None:
                [ticket] = await jobs.send(now=now_ms(), until=now_ms() + 1, window=100)
                taken = await jobs.take(ticket, until=now_ms() + 1)
                assert taken is not None
                await (
                    jobs.bury(taken, "550 no\x1b[2J such mailbox", now=now_ms())
                    if how == "dead"
                    else jobs.finish(taken, now=now_ms())
                )
        await db.close()
        return job

    return asyncio.run(work())


def test_jobs_are_listed_with_their_state_and_reason_and_without_what_they_carry(sqlite_url):
    assert run("jobs", "list")[1].endswith("0 due, 0 dead.\n")
    done, dead, waits = (
        put(sqlite_url, "mail", "done"),
        put(sqlite_url, "mail", "dead"),
        put(sqlite_url, "erase"),
    )
    code, shown = run("jobs", "list")
    assert code == 0
    lines = {line.split()[0]: line for line in shown.splitlines() if line.split()[0] in (done, dead, waits)}
    assert len(lines) == 3
    assert "dead" in lines[dead] and "550 no [2J such mailbox" in lines[dead]
    assert "done" in lines[done] and "waiting" in lines[waits]
    assert "\x1b" not in shown and "secret" not in shown
    assert shown.endswith("1 due, 1 dead.\n")
    only = run("jobs", "list", "--state", "dead", "--kind", "mail")[1]
    assert dead in only and done not in only and waits not in only


def test_dead_jobs_are_retried_by_name_or_all(sqlite_url):
    first, second = put(sqlite_url, "mail", "dead"), put(sqlite_url, "mail", "dead")
    assert run("jobs", "retry", first) == (0, "1 job to be done again.\n")
    assert run("jobs", "retry", "--dead", "--kind", "erase") == (0, "0 jobs to be done again.\n")
    assert run("jobs", "retry", "--dead") == (0, "1 job to be done again.\n")
    assert second in run("jobs", "list", "--state", "waiting")[1]
    assert run("jobs", "retry", str(uuid.uuid4())) == (0, "0 jobs to be done again.\n")


@pytest.mark.parametrize("arguments", [[], ["x"], ["--dead", str(uuid.uuid4())]])
def test_what_to_retry_has_to_be_said_plainly(arguments):
    code, shown = run("jobs", "retry", *arguments)
    assert code == 2
    assert shown.startswith("fitai: ") and shown.count("\n") == 1


def test_purging_takes_done_ones_or_dead_ones_of_an_age(sqlite_url):
    put(sqlite_url, "mail", "done"), put(sqlite_url, "mail", "dead"), put(sqlite_url, "mail")
    assert run("jobs", "purge", "--days", "1") == (0, "0 jobs forgotten.\n")
    assert run("jobs", "purge") == (0, "1 job forgotten.\n")
    assert run("jobs", "purge", "--dead") == (0, "1 job forgotten.\n")
    assert run("jobs", "list")[1].endswith("1 due, 0 dead.\n")


def test_letters_are_listed_and_shown_newest_first():
    code, shown = run("mail", "show")
    assert (code, shown) == (2, "fitai: There are 0 letters in data/mail.\n")
    clock = iter(range(NOW, NOW + 10))
    mailer = FolderMailer(Path("data/mail"), lambda: next(clock))
    asyncio.run(mailer.send(written(LETTERS[0], job="a")))
    asyncio.run(
        mailer.send(written(NewSignIn(at=NOW, device="x\x1b[2Jy", link="/d"), to="bob@example.com", job="b"))
    )
    code, shown = run("mail", "list")
    lines = shown.splitlines()
    assert code == 0 and len(lines) == 3
    assert "bob@example.com" in lines[1] and "ada@example.com" in lines[2]
    newest, older = run("mail", "show")[1], run("mail", "show", "2")[1]
    assert "To: bob@example.com" in newest and "\x1b" not in newest
    assert "https://fit.example.com/verify?token=x&y=1" in older
    assert "<a href" in run("mail", "show", "2", "--html")[1]
    assert run("mail", "show", "3")[0] == 2


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("FITAI_SMTP_URL", "mail.example.com", "FITAI_SMTP_URL must be a URL like smtp://"),
        (
            "FITAI_SMTP_URL",
            "smtp://u:hunter2@h?tls=off",
            "FITAI_SMTP_URL must not send a password in the clear",
        ),
        ("FITAI_SMTP_URL", "smtp://u:hunter2@h", "FITAI_MAIL_FROM must be set"),
        ("FITAI_MAIL_FROM", "nobody", "FITAI_MAIL_FROM must be one address"),
    ],
)
def test_a_wrong_setting_of_mail_is_told_in_one_sentence(monkeypatch, name, value, sentence):
    monkeypatch.setenv(name, value)
    code, shown = run("mail", "list")
    assert code == 2 and sentence in shown and shown.count("\n") == 1
    assert "hunter2" not in shown
