"""`fitai worker` and the jobs of `fitai serve`, as processes."""

from __future__ import annotations

import asyncio
import signal
import socket
import time

import pytest

from fitai.app.runtime import now_ms
from fitai.gateways.mail.folder import letters
from fitai.gateways.mail.letters import letter
from fitai.persistence.database import Database
from fitai.persistence.jobs import JobList, Jobs
from tests.app.conftest import PATIENCE_S
from tests.app.test_metrics import get, value
from tests.gateways.mail.kit import LETTERS


def until(true, what):
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def put(url, **options):
    async def work():
        db = Database.open(url)
        async with db.write() as session:
            await Jobs(session).put("mail", letter("ada@example.com", LETTERS[0]), now=now_ms(), **options)
        await db.close()

    asyncio.run(work())


def states(url):
    async def work():
        db = Database.open(url)
        async with db.read() as session:
            jobs = await JobList(session).find(now=now_ms(), limit=100)
        await db.close()
        return [(job.kind, job.done_at is not None) for job in jobs]

    return sorted(asyncio.run(work()))


def test_a_worker_does_what_is_due_tells_its_meters_and_ends_when_it_is_asked_to(command, sqlite_url):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    put(sqlite_url)
    file = command.folder / "worker.json"
    process = command.start(
        "worker",
        "--announce",
        str(file),
        FITAI_DATABASE_URL=sqlite_url,
        FITAI_METRICS_BIND=f"127.0.0.1:{port}",
    )
    until(file.exists, "the worker did not start")
    until(lambda: letters(command.folder / "data" / "mail"), "no letter came")
    until(lambda: states(sqlite_url) == [("mail", True), ("sweep", True)], "not all was done")
    text = get(f"http://127.0.0.1:{port}/metrics")[2]
    assert value(text, "fitai_job_attempts_total", kind="mail", outcome="done") == 1
    assert value(text, "fitai_job_run_seconds_count", kind="mail") == 1
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "runs jobs" in out


def test_a_server_runs_jobs_as_well_and_its_letters_can_be_read(command, sqlite_url):
    process, _ = command.serve(FITAI_DATABASE_URL=sqlite_url, FITAI_PUBLIC_URL="https://fit.example.com")
    put(sqlite_url)
    until(lambda: letters(command.folder / "data" / "mail"), "no letter came")
    code, shown, _ = command.run("mail", "show")
    assert code == 0
    assert "https://fit.example.com/verify?token=x&y=1" in shown
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("name", ["FITAI_METRICS_BIND"])
def test_a_worker_that_can_not_start_says_why_in_one_sentence(command, sqlite_url, name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = command.run(
            "worker", **{"FITAI_DATABASE_URL": sqlite_url, name: address, "FITAI_LOG_LEVEL": "error"}
        )
    assert (code, err.count("\n")) == (2, 1)
    assert name in err
