"""A rolling upgrade: the release before this one runs on the database that this one has migrated, alone and
beside it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select, text

from fitai.persistence import schema
from fitai.persistence.append import Appender
from fitai.persistence.database import Database
from fitai.persistence.group_erasure import erase_in_groups
from fitai.persistence.groups import Groups
from fitai.persistence.models import WorkoutRow
from fitai.persistence.projections import Projector
from fitai.persistence.workouts import Workouts
from tests.persistence.conftest import make_person
from tests.persistence.group_people import GroupPeople
from tests.system import release
from tests.system.conftest import Process, asked, now_ms, people
from tests.system.test_versions import Caller, served, told

pytestmark = pytest.mark.timeout(240)

W = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
ENTRY = "0192f3c4-7b1a-7c3e-9d2f-aaaaaaaaaaaa"


@pytest.fixture(scope="session")
def before(tmp_path_factory):
    """What PYTHONPATH names so that Python runs the release before."""
    return release.export(release.find(), tmp_path_factory.mktemp("before"))


def python(*command: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def migrate(url: str, folder: Any, **environment: str) -> str:
    return python(
        "-m",
        "fitai.app.command",
        "migrate",
        FITAI_DATABASE_URL=url,
        FITAI_DATA_DIR=str(folder),
        **environment,
    )


async def revision(url: str) -> str:
    db = Database.open(url)
    try:
        async with db.read() as session:
            found = await session.execute(text("SELECT version_num FROM alembic_version"))
            return str(found.scalar_one())
    finally:
        await db.close()


def a_set(reps: int) -> tuple[str, dict[str, Any], str]:
    return ("set.log", {"exercise_entry": ENTRY, "type": "working", "reps": reps}, str(uuid.uuid4()))


BEGUN: Sequence[tuple[str, dict[str, Any], str | None]] = (
    ("workout.create", {"title": "Legs"}, None),
    ("workout.start", {}, None),
    ("exercise.add", {"exercise": "squat", "position": "a"}, ENTRY),
)


class Writer:
    """A device that writes, and says again what a server has not got."""

    def __init__(self, user: str, device: int) -> None:
        self.user, self.device = user, device
        self.ops: list[dict[str, Any]] = []

    async def writes(self, process: Process, *kinds: tuple[str, dict[str, Any], str | None]) -> None:
        """Write these one after another, each until it is acknowledged."""
        async with Caller(process, self.user, self.device) as wire, asyncio.timeout(60):
            for kind, value, entity in kinds:
                n = len(self.ops) + 1
                op = {"n": n, "base": 0, "kind": kind, "workout": W, "value": value, "at": now_ms()}
                self.ops.append(op if entity is None else op | {"entity": entity})
                answer = await wire.push(self.ops[-1])
                while not answer["ok"]:
                    # It has not heard yet of what the other node took: it learns that when it loses the race.
                    assert answer["code"] == "gap", answer
                    answer = await wire.push(*self.ops[answer["next_n"] - 1 :])
                assert answer["results"][-1]["verdict"] in ("applied", "merged"), answer


async def is_ready(process: Process) -> bool:
    async with aiohttp.ClientSession() as http:
        return (await http.get(f"{process.url}/health/ready")).status == 200


async def test_it_is_the_release_before_that_runs_and_not_this_one(before, sqlite_url, tmp_path):
    shown = json.loads(
        python(
            "-c",
            "import json, fitai, fitai.app, fitai.http, fitai.persistence.schema as s;"
            "print(json.dumps([list(fitai.__path__), list(fitai.http.__path__), s.__file__, s.newest()]))",
            PYTHONPATH=str(before),
        )
    )
    root, http, module, newest = shown
    assert root == [str(before / "fitai")]
    assert http == [str(before / "fitai" / "http")]
    assert module == str(before / "fitai" / "persistence" / "schema.py")
    assert newest <= schema.newest()


async def test_its_migrate_leaves_the_newer_schema_alone(before, database_url, tmp_path):
    migrate(database_url, tmp_path)
    assert await revision(database_url) == schema.newest()
    assert "up to date" in migrate(database_url, tmp_path, PYTHONPATH=str(before))
    assert await revision(database_url) == schema.newest()


async def test_it_serves_from_the_migrated_database_and_this_one_takes_over(
    before, database_url, make_process, tmp_path
):
    migrate(database_url, tmp_path)
    [(ada, [phone, watch])] = await people(database_url, 1, devices=2)
    old = await make_process(database_url, PYTHONPATH=str(before))
    assert await is_ready(old)
    writer = Writer(ada, phone)
    await writer.writes(old, *BEGUN, a_set(5))
    await Writer(ada, watch).writes(old, a_set(8))
    records = await told(old, ada, phone)
    assert len((await served(old, ada, phone))["exercises"][0]["sets"]) == 2
    await old.stop()
    new = await make_process(database_url)
    assert await is_ready(new)
    assert await told(new, ada, watch) == records
    await writer.writes(new, a_set(6), ("workout.complete", {}, None))
    state = await served(new, ada, phone)
    assert (state["status"], len(state["exercises"][0]["sets"])) == ("completed", 3)


async def test_nodes_of_both_releases_serve_one_person_at_once(before, postgres_url, make_process, tmp_path):
    migrate(postgres_url, tmp_path)
    [(ada, [phone, watch])] = await people(postgres_url, 1, devices=2)
    old, new = await make_process(postgres_url, PYTHONPATH=str(before)), await make_process(postgres_url)
    assert await is_ready(old)
    assert await is_ready(new)
    ours, theirs = Writer(ada, phone), Writer(ada, watch)
    await ours.writes(old, *BEGUN)
    for here, there in ((old, new), (new, old)):
        sets = [a_set(reps) for reps in range(20)]
        await asyncio.gather(ours.writes(here, *sets[:10]), theirs.writes(there, *sets[10:]))
    async with asyncio.timeout(60):  # without Redis a node hears of another's ops when it compares heads
        while (
            not len(of_old := await told(old, ada, phone)) == len(of_new := await told(new, ada, watch)) == 43
        ):
            await asyncio.sleep(0.2)
    assert of_old == of_new
    assert [record["seq"] for record in of_old] == list(range(1, 44))
    names = [(record["device"], record["n"]) for record in of_old]
    assert sorted(names) == [(phone, n) for n in range(1, 24)] + [(watch, n) for n in range(1, 21)]
    for node in (old, new):
        assert len((await served(node, ada, phone))["exercises"][0]["sets"]) == 40
        assert await is_ready(node)


async def test_who_signs_in_at_either_release_is_known_to_both(before, postgres_url, make_process, tmp_path):
    migrate(postgres_url, tmp_path)
    old = await make_process(postgres_url, PYTHONPATH=str(before))
    account = {"email": "ada@example.org", "password": "correct horse battery staple"}
    device = {"name": "phone", "platform": "ios", "install_id": "a"}
    status, session = await asked(old, "POST", "/auth/register", **account, device=device)
    assert status == 201, session
    new = await make_process(postgres_url)

    async def known_to_both(session: Any) -> None:
        for node in (old, new):
            assert (await asked(node, "GET", "/auth/devices", session["access_token"]))[0] == 200

    await known_to_both(session)
    for node in (new, old, new):
        body = {"refresh_token": session["refresh_token"]}
        status, session = await asked(node, "POST", "/auth/refresh", **body)
        assert status == 200, session
        await known_to_both(session)
    status, session = await asked(new, "POST", "/auth/login", **account, device=device)
    assert status == 200, session
    await known_to_both(session)


def test_a_clone_without_the_history_is_told_what_it_lacks(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(
        ["git", "clone", "--quiet", "--depth", "1", f"file://{release.ROOT}", clone],
        check=True,
        capture_output=True,
    )
    with pytest.raises(release.NoRelease, match="fetch the whole history"):
        release.find(clone)


def test_the_newest_tag_that_is_not_this_commit_is_taken(tmp_path):
    def git(*command: str) -> str:
        author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(
            ["git", *author, *command], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    commits = []
    for tag in ("v0.9.0", "v0.10.0", "v0.11.0"):
        git("commit", "--quiet", "--allow-empty", "-m", tag)
        git("tag", tag)
        commits.append(git("rev-parse", "HEAD"))
    assert release.find(tmp_path) == commits[1]
    git("commit", "--quiet", "--allow-empty", "-m", "later")
    assert release.find(tmp_path) == commits[2]


async def test_the_release_before_lives_beside_groups_and_breaks_none(
    before, database_url, make_process, tmp_path
):
    """It knows nothing of them: what it writes anew for all streams touches none, and who is in one is left
    to be erased by a node of this release."""
    db = Database.open(database_url)
    appender = Appender(db)
    await appender.start()
    group = GroupPeople(db, appender, [await make_person(db) for _ in range(2)])
    group.book.create()
    group.book.join(2)
    await group.begin()
    settings = {"FITAI_DATABASE_URL": database_url, "FITAI_DATA_DIR": str(tmp_path)}
    older = {"PYTHONPATH": str(before)}
    python("-m", "fitai.app.command", "rebuild", **settings, **older)
    async with db.read() as session:
        made = await session.execute(select(WorkoutRow.workout).where(WorkoutRow.stream == group.stream))
        assert made.scalars().all() == [group.id], "it takes a group for a workout of somebody"

    forget = (
        "import asyncio, sys\n"
        "from fitai.persistence.database import Database\n"
        "from fitai.persistence.erasure import Erasure\n"
        "async def run():\n"
        "    db = Database.open(sys.argv[1])\n"
        "    async with db.write() as session:\n"
        "        await Erasure(session).forget(sys.argv[2])\n"
        "asyncio.run(run())\n"
    )
    command = [sys.executable, "-c", forget, database_url, group.user(2)]
    refused = subprocess.run(command, env=os.environ | older, capture_output=True, text=True)
    assert refused.returncode != 0 and "IntegrityError" in refused.stderr, refused.stderr

    old = await make_process(database_url, PYTHONPATH=str(before))
    assert await is_ready(old)
    await old.stop()  # after it has looked for deadlines of all streams, as each does at its start

    group.book("chat.say", by=2, text="still here")
    await group.append()
    projector = Projector(db)
    assert group.stream not in await projector.streams(0, 100)
    assert await projector.lagging(100) == []
    renewed = None
    while renewed := await projector.renew(lambda workout, records: None, renewed):
        assert renewed.stream != group.stream
    async with db.read() as session:
        at = await Groups(session).row(group.id)
        assert (at.seq, at.head, at.members) == (len(group.book.records),) * 2 + (2,)
        assert await Workouts(session).due(2**60, 100) == []
    await erase_in_groups(db, group.user(2), now_ms())
    await appender.close()
    await db.close()
