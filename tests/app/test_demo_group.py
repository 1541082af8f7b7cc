"""The whole group demo, as a person runs it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time

import asyncpg
import pytest

from tests.app.test_demo import processes_of

LONGEST_S = 240  # a machine that does much else


def played(command, *arguments, **environ):
    """Exit code, stdout, stderr."""
    process = command.start(*arguments, **environ)
    out, err = process.communicate(timeout=LONGEST_S)
    return process.returncode, out, err


async def test_three_nodes_on_postgres_one_killed_and_everybody_has_the_same(
    command, tmp_path, redis_url, postgres
):
    url = await postgres.make(migrated=False)
    variables = {"TMPDIR": str(tmp_path), "FITAI_REDIS_URL": redis_url, "COLUMNS": "140"}
    try:
        code, out, err = await asyncio.to_thread(
            played, command, "demo", "--group", "12", "--postgres", url, **variables
        )
        connection = await asyncpg.connect(url)
        left = await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'fitai_demo_%'")
        await connection.close()
    finally:
        await postgres.drop(url)
    assert left == 0
    assert code == 0, out + err
    assert err == ""
    assert "12 people on 3 nodes" in out
    assert "on one PostgreSQL database" in out
    assert re.search(r"node 2 +killed with SIGKILL, 4 people on it", out)
    assert "4 people are back in the room" in out
    assert_story(out)
    assert out.count("3 of 3") == 2  # nodes that give the table of the class, and of the race
    assert_gone(out, tmp_path)


def test_one_node_is_killed_and_started_again_and_everybody_has_the_same(command, tmp_path):
    code, out, err = played(command, "demo", "--group", "7", TMPDIR=str(tmp_path), COLUMNS="140")
    assert code == 0, out + err
    assert err == ""
    assert "7 people on 1 node\n" in out
    assert re.search(r"node 1 +killed with SIGKILL, 6 people on it", out)
    assert_story(out)
    assert out.count("1 of 1") == 2
    assert_gone(out, tmp_path)


def assert_story(out: str) -> None:
    """What is told, and that the numbers in it are those of the tables."""
    late = re.search(r"Dara +is back: (\d+) reps from the basement are on the board  (\d+) to (\d+)", out)
    assert late is not None
    assert int(late[1]) == int(late[3]) - int(late[2]) > 0
    assert re.search(r"Ben +edited a set: (\d+)0 to \1 reps  Ada's board now: \d+", out)
    assert re.search(r"Cleo +removed a set that was tapped twice: \d+ to 0 reps  Ada's board now: \d+", out)
    assert re.search(r"Emil +joined late", out)
    assert re.search(r"Fay +left, with \d+ reps", out)
    assert re.search(r"“Did your screens freeze, too\?”  applied", out)
    dara = re.search(r"│ +\d+ +│ Dara +│ (\d+) +│", out)
    assert dara is not None
    assert dara[1] == late[3]


def assert_gone(out: str, tmp_path) -> None:
    assert out.rstrip().splitlines()[-1].startswith("Every count is as it must be, after ")
    assert "OFF" not in out
    assert "\x1b" not in out  # not a terminal
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def test_an_interrupted_one_ends_its_servers_and_removes_its_folder(command, tmp_path):
    process = command.start("demo", "--group", "7", TMPDIR=str(tmp_path))
    until = time.monotonic() + 60
    while not list(tmp_path.glob("fitai-demo-*/node-1/server.json")):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert processes_of(tmp_path)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    assert "Stopped; the servers are ended" in out
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("people", ["6", "49", "some"])
def test_too_few_or_too_many_are_refused(command, people):
    code, _, err = command.run("demo", "--group", people)
    assert code == 2
    assert "--group" in err
