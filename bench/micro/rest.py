"""What do the layers of REST cost, and what does a crowd that signs in do to everybody else?

**Question.** How many profiles a second does one server show? How many people a second does it let in, when
each costs a password's hash? And how long do those who are in wait for their profile meanwhile?

**Peers.** For profiles a bare aiohttp handler with one SELECT of the account over SQLAlchemy from the same
SQLite file (`bench/compare/peers/profile.py`): it believes who calls, and does nothing else. Ours verifies
the token, asks whether its sign-in still stands, shows a pending address too, tags the answer, and measures
and signs it. For signing in: argon2 with the same parameters, as many at a time, and nothing else.

**Figures.** Our profiles a second as a part of the bare handler's: at least 0.6. Our sign-ins as a part of
argon2's: at least 0.9. The p99 of a profile at half of our rate, from the intended moment, while a crowd
signs in, to the same without the crowd: at most 4, since server, client and hashes share the cores. All in
one run, by turns. The server says nothing of single requests (log level `warning`), as in all load runs.

**Control.** Both show the same account; every answer is a 200.

    python -m fitai.bench.micro rest [--runs 5] [--seconds 3]
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil  # type: ignore[import-untyped]
import uvloop

from fitai.bench.compare import peers
from fitai.bench.compare.contenders import Stores, peer
from fitai.bench.micro import asking, report
from fitai.bench.micro.asking import Heard, at_rate, in_windows, p99, written
from fitai.bench.micro.report import Figure
from fitai.bench.plan import Plan
from fitai.bench.target import started
from fitai.http.auth.passwords import WORKERS, strong
from fitai.persistence.engines import normalise_url

ASKED, BOUND, HARM = 0.6, 0.9, 4.0
PEOPLE = 20
WINDOW = 8  # profiles on the way
CROWD = 8  # sign-ins on the way: some hash, the others wait for their turn
WARM = 0.2  # part of a turn that is not counted
PASSWORD = secrets.token_urlsafe(24)
PROFILE = "/users/profile"


@dataclass(frozen=True, slots=True)
class Sides:
    """Both servers, and the requests of each person to them."""

    ours: str
    bare: str
    profiles: list[bytes]
    bare_profiles: list[bytes]
    logins: list[bytes]


@dataclass(frozen=True, slots=True)
class Turn:
    """What came out of one run: rates a second, p99s in seconds, parts of a core."""

    ours: float
    bare: float
    client: float
    logins: float
    argon2: float
    calm: float
    storm: float
    median: float
    late: float
    others: float


@asynccontextmanager
async def sides(people: int) -> AsyncIterator[Sides]:
    """A server of ours with so many people, and the bare one on the same database."""
    plan = Plan(scenario="rest", users=people, devices=(1,), duration_s=0.0)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'bench.db'}"
        words = [sys.executable, "-m", f"{peers.__name__}.profile", normalise_url(url).render_as_string()]
        async with started(plan, url, None) as ours, peer(plan, Stores(), command=lambda: words) as bare:
            async with asking.lines(ours.url, 1) as [line]:
                made = [await _registered(line, number) for number in range(people)]
            yield Sides(
                ours.url,
                bare.url,
                [profile(token) for _, token, _ in made],
                [profile(id) for id, _, _ in made],
                [login for _, _, login in made],
            )


def profile(bearer: str) -> bytes:
    """The request for a profile."""
    return written("GET", PROFILE, {"Authorization": f"Bearer {bearer}"})


async def _registered(line: asking.Line, number: int) -> tuple[str, str, bytes]:
    """Somebody new: their id, their access token, and how they sign in again on the same device."""
    device = {"name": "bench", "platform": "bench", "install_id": secrets.token_hex(8)}
    person = {"email": f"bench-{number}@bench.example", "password": PASSWORD, "device": device}
    status, body = await asking.one(line, written("POST", "/auth/register", {}, person))
    assert status == 201, body
    session = orjson.loads(body)
    return session["user"]["id"], session["access_token"], written("POST", "/auth/login", {}, person)


async def turn(at: Sides, seconds: float, run: int) -> Turn:
    """One run. What is a ratio is measured side by side."""
    warm, count = seconds * WARM, seconds * (1 - WARM)
    foreign = Foreign()
    ours = await in_windows(at.ours, at.profiles, WINDOW, warm, count)
    before, began = psutil.Process().cpu_times(), time.perf_counter()
    bare = await in_windows(at.bare, at.bare_profiles, WINDOW, warm, count)
    after, took = psutil.Process().cpu_times(), time.perf_counter() - began
    logins = await in_windows(at.ours, at.logins, CROWD, warm, count)
    alone = await asyncio.to_thread(argon2, warm, count)
    rate, rng = ours.rate / 2, random.Random(run)
    calm = await at_rate(at.ours, at.profiles, rate, warm, count, rng)
    storm, crowd = await asyncio.gather(
        at_rate(at.ours, at.profiles, rate, warm, count, rng),
        in_windows(at.ours, at.logins, CROWD, warm, count),
    )
    check(ours, bare, logins, calm, storm, crowd)
    found = Turn(
        ours=ours.rate,
        bare=bare.rate,
        client=(after.user + after.system - before.user - before.system) / took,
        logins=logins.rate,
        argon2=alone,
        calm=p99(calm.spent),
        storm=p99(storm.spent),
        median=statistics.median(storm.spent) / statistics.median(calm.spent),
        late=p99(storm.late),
        others=foreign.share(),
    )
    print(f"run {run + 1}: {found}", flush=True)
    return found


class Foreign:
    """What other programs take of the machine from now on. Where that is much, all waits are theirs too."""

    def __init__(self) -> None:
        self._began = self._taken(), time.perf_counter()

    def share(self) -> float:
        """Part of all cores."""
        taken, began = self._began
        return max(0.0, self._taken() - taken) / (time.perf_counter() - began) / (os.cpu_count() or 1)

    def _taken(self) -> float:
        """Seconds of the processors so far that were not ours."""
        now, me = psutil.cpu_times(), psutil.Process()
        own = [one.cpu_times() for one in (me, *me.children(recursive=True))]
        idle = now.idle + getattr(now, "iowait", 0.0) + getattr(now, "steal", 0.0)
        return float(sum(now[:8]) - idle - sum(one.user + one.system for one in own))


def argon2(warm: float, count: float) -> float:
    """Verifications a second of as many threads as the server has for them, with nothing else to do."""
    hasher = strong()
    encoded = hasher.hash(PASSWORD)
    begin = time.perf_counter() + warm
    end = begin + count

    def verify() -> int:
        done = 0
        while (now := time.perf_counter()) < end:
            hasher.verify(encoded, PASSWORD)
            done += begin <= now
        return done

    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(job.result() for job in [pool.submit(verify) for _ in range(WORKERS)]) / count


def check(*heard: Heard) -> None:
    """Raise AssertionError unless everything was answered as it should be."""
    for one in heard:
        assert set(one.statuses) == {200}, f"answers were {one.statuses}"
        assert one.spent, "nothing was answered in time"


async def same_account(at: Sides) -> None:
    """Raise AssertionError unless both servers show the same account."""
    shown = []
    for url, requests in ((at.ours, at.profiles), (at.bare, at.bare_profiles)):
        async with asking.lines(url, 1) as [line]:
            status, body = await asking.one(line, requests[0])
        assert status == 200, body
        shown.append(orjson.loads(body))
    for field in ("id", "email", "created_at"):
        assert shown[0][field] == shown[1][field], f"the peer shows another {field}"


async def _measured(runs: int, seconds: float, people: int) -> list[Turn]:
    async with sides(people) as at:
        await same_account(at)
        return [await turn(at, seconds, run) for run in range(runs)]


def measure(runs: int, seconds: float, people: int = PEOPLE) -> list[Figure]:
    """The rates, the waits, and the ratios that were asked for."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        turns = runner.run(_measured(runs, seconds, people))

    def figure(name: str, unit: str, value: Callable[[Turn], float], asked: str = "") -> Figure:
        return Figure.of(name, unit, map(value, turns), asked)

    return [
        figure("profiles", "req/s", lambda one: one.ours),
        figure("profiles, bare aiohttp", "req/s", lambda one: one.bare),
        figure("profiles to bare aiohttp", "ratio", lambda one: one.ours / one.bare, f"≥ {ASKED}"),
        figure("client beside bare aiohttp, of a core", "ratio", lambda one: one.client),
        figure("sign-ins", "req/s", lambda one: one.logins),
        figure("argon2 alone", "hash/s", lambda one: one.argon2),
        figure("sign-ins to argon2 alone", "ratio", lambda one: one.logins / one.argon2, f"≥ {BOUND}"),
        figure("p99 of a profile at half of our rate", "ms", lambda one: one.calm * 1000),
        figure("p99 of it while a crowd signs in", "ms", lambda one: one.storm * 1000),
        figure("p99 with a crowd to without", "ratio", lambda one: one.storm / one.calm, f"≤ {HARM:g}"),
        figure("median with a crowd to without", "ratio", lambda one: one.median),
        figure("p99 of the client's lateness meanwhile", "ms", lambda one: one.late * 1000),
        figure("taken by other programs, of the machine", "ratio", lambda one: one.others),
    ]


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("rest", "Profiles beside a bare handler, sign-ins beside argon2.")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    options = parser.parse_args(arguments)
    figures = measure(options.runs, options.seconds)
    question = f"Profiles of {PEOPLE} people, {WINDOW} on the way; a crowd of {CROWD} that signs in; SQLite."
    facts = report.machine(["aiohttp", "uvloop", "sqlalchemy", "aiosqlite", "argon2-cffi"])
    report.tell("rest", question, figures, facts, options.into)
