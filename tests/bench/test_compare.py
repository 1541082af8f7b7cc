"""The comparison: every peer speaks the protocol, ratios are what they say, and a small run makes a table."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager

import pytest
import socketio
from aiohttp import web

from fitai.bench.compare import contenders, table
from fitai.bench.compare.__main__ import Comparison, main
from fitai.bench.compare.contenders import CONTENDERS, Missing, Rooms, Stores
from fitai.bench.compare.load import Echo
from fitai.bench.compare.measures import MEASURES, ROWS, STALLED, Row, Size
from fitai.bench.compare.peers.bare import Bare
from fitai.bench.compare.turn import Load, take
from fitai.bench.compare.voices import Ours, Peer
from fitai.bench.crew import Crew
from fitai.bench.plan import Plan
from tests.redis_servers import missing

PEERS = [name for name, one in CONTENDERS.items() if one.voice is Peer]


def plan(scenario, **changed):
    return Plan(**{"scenario": scenario, "users": 2, "devices": (3,), "duration_s": 1.0, **changed})


@pytest.fixture
def owned():
    made = Stores()
    yield made
    made.close()


def runnable(name):
    """The contender, where this machine can run it."""
    try:
        CONTENDERS[name].needs()
    except Missing as why:
        missing(str(why))
    return CONTENDERS[name]


@pytest.mark.parametrize("name", PEERS)
async def test_a_stock_client_is_answered_by_a_peer_and_the_others_in_the_room_are_told(name, owned):
    async with runnable(name).start(plan("pairs"), owned) as target:
        clients = [socketio.AsyncClient(reconnection=False) for _ in range(3)]
        heard: list[list] = [[] for _ in clients]
        for client, room, its in zip(clients, ("one", "one", "two"), heard, strict=True):
            client.on("set", its.append)
            await client.connect(target.url, transports=["websocket"], auth={"room": room})
        for n in range(3):
            assert await clients[0].call("set", {"ops": [n]}, timeout=20) == {"ok": True}
        async with asyncio.timeout(20):
            while len(heard[1]) < 3:
                await asyncio.sleep(0.01)
        assert heard == [[], [{"ops": [0]}, {"ops": [1]}, {"ops": [2]}], []]
        for client in clients:
            await client.disconnect()


@asynccontextmanager
async def bare(kind):
    app = web.Application()
    app.router.add_get("/socket.io/", kind().serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


async def echoed(kind):
    """What the load counts, and what it finds wrong, against a bare server of a kind."""
    asked = plan("pairs", window=2)
    async with bare(kind) as url:
        crew = Crew(asked, url, await Rooms().make(asked.users, asked.devices[0]), 0, asked.users)
        load = Echo(Peer, crew)
        try:
            await load.prepare()
            crew.start = crew.clock()
            await load.run()
            await load.finish()
        finally:
            await crew.close()
            await asyncio.sleep(0.05)
    return crew.totals


class Forgetful(Bare):
    """Tells nobody of the fifth event."""

    events = 0

    async def _set(self, socket, room, text):
        self.events += 1
        await super()._set(socket, {socket} if self.events == 5 else room, text)


class Repeating(Bare):
    """Says the fifth event twice."""

    events = 0

    async def _set(self, socket, room, text):
        self.events += 1
        if self.events == 5:
            for other in room - {socket}:
                await other.send_str("42" + text[text.index("[") :])
        await super()._set(socket, room, text)


async def test_each_ack_promises_a_delivery_to_each_of_the_others():
    totals = await echoed(Bare)
    assert not totals.failures
    assert totals.counts["acked"] > 0
    assert totals.counts["delivered"] == pytest.approx(2 * totals.counts["acked"], abs=20)


@pytest.mark.parametrize(("kind", "wrong"), [(Forgetful, {"lost": 2}), (Repeating, {"doubled": 2})])
async def test_a_peer_that_loses_or_doubles_does_not_go_unnoticed(kind, wrong, monkeypatch):
    monkeypatch.setattr("fitai.bench.compare.load.DRAIN_S", 0.5)
    assert (await echoed(kind)).failures == wrong


async def test_a_rate_is_kept_and_its_acks_are_timed(owned):
    load = Load(plan("ack", rate=100.0))
    turn = await take(CONTENDERS[contenders.PSIO], load, owned)
    assert turn.p99_ms > 0
    assert 0 < turn.acked < 200


async def test_a_client_that_stalls_misses_something_and_the_server_holds_little_for_it(owned):
    crowd = MEASURES["stalled"].tasks(Size(events=15_000), {})[STALLED]  # more than kernels keep
    turn = await take(CONTENDERS[crowd.contender], crowd.load, owned)
    assert turn.doubts == []


async def test_a_server_that_holds_everything_for_who_stalls_is_found_out(owned):
    crowd = MEASURES["stalled"].tasks(Size(events=600), {})[STALLED]
    turn = await take(CONTENDERS[contenders.PSIO], crowd.load, owned)
    assert turn.doubts == ["1 clients that were to stall and were told everything."]


def test_what_is_asked_is_measured_of_those_who_are_asked():
    found = {"pairs": {contenders.SQLITE: [10.0, 30.0, 20.0]}}
    for row in ROWS:
        tasks = MEASURES[row.measure].tasks(Size(), found)
        assert {row.mine, row.its} <= tasks.keys(), row
        assert {task.contender for task in tasks.values()} <= CONTENDERS.keys()
    ack = MEASURES["ack"].tasks(Size(), found)
    assert {task.load.plan.rate for task in ack.values()} == {10.0}
    assert {CONTENDERS[task.contender].voice for task in ack.values()} == {Ours, Peer}
    stalled = MEASURES["stalled"].tasks(Size(), found)
    assert [label for label, task in stalled.items() if task.load.stalled] == [STALLED]


def test_a_ratio_is_taken_run_by_run():
    row = Row("a", "b", "pairs", "mine", "its", 2.0, 4.0)
    found = {"pairs": {"mine": [10.0, 30.0, 9.0], "its": [5.0, 6.0, 3.0]}}
    assert row.values(found) == [2.0, 5.0, 3.0]
    assert Row("a", "b", "pairs", "mine", "its", 1.0, minus=True).values(found) == [5.0, 24.0, 6.0]
    assert row.values({"pairs": {"mine": [10.0]}}) == []
    assert row.values({}) == []


@pytest.mark.parametrize(
    ("less", "value", "word"),
    [
        (False, 1.9, "no"),
        (False, 2.0, "yes"),
        (False, 3.9, "yes"),
        (False, 4.0, "aim"),
        (True, 4.1, "no"),
        (True, 4.0, "yes"),
        (True, 2.0, "aim"),
    ],
)
def test_a_ratio_reaches_what_was_asked_or_not(less, value, word):
    least, aim = (4.0, 2.0) if less else (2.0, 4.0)
    assert Row("a", "b", "pairs", "mine", "its", least, aim, less=less).reached(value) == word


def test_what_is_only_told_is_not_reached():
    assert Row("a", "b", "pairs", "mine", "its", None).reached(0.1) == "–"


def test_the_table_has_a_line_for_all_that_was_asked(tmp_path):
    found = {"pairs": {contenders.SQLITE: [900.0, 1200.0, 1000.0], contenders.PSIO: [500.0, 500.0, 500.0]}}
    facts = {"cpu": "abacus", "cores": 2, "load": 0.5}
    told = table.document(found, Size(), 3, facts, ["It was a rainy day."])
    table.keep(told, tmp_path)
    assert json.loads((tmp_path / "compare.json").read_text()) == told
    page = (tmp_path / "compare.md").read_text()
    assert (
        "| acked sets/s, pairs, SQLite | python-socketio as shipped (not durable) "
        "| ≥ 1 | ≥ 2 | **2** | 1.8 … 2.4 | aim |"
    ) in page
    assert page.count("not measured |") == len(ROWS) - 1
    assert "| FitAI, SQLite | 1,000 | 900 … 1,200 |" in page
    assert "≤ 2 MiB" in page
    assert "- It was a rainy day." in page
    assert "abacus" in table.quoted(told)


def test_without_node_a_comparison_says_so_and_on_ci_it_fails(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.delenv("CI", raising=False)
    elsewhere = Comparison(Size(), 1)
    elsewhere.look()
    assert [note.partition(" was left out: Node.js 18")[0] for note in elsewhere.notes] == [
        contenders.NODE,
        contenders.NODE_REDIS,
    ]
    monkeypatch.setenv("CI", "true")
    with pytest.raises(Missing, match=r"Node\.js 18 or newer"):
        Comparison(Size(), 1).look()


@pytest.mark.timeout(240)
def test_a_small_run_of_everybody_makes_a_table(tmp_path, capsys):
    small = "--runs 1 --seconds 1 --pairs 3 --connections 20"
    asked = ["--only", "pairs", "idle", *small.split(), "--into", str(tmp_path)]
    assert main(asked) == 0
    told = json.loads((tmp_path / "compare.json").read_text())
    here = [name for name in CONTENDERS if not any(note.startswith(name) for note in told["notes"])]
    pairs = {one["contender"]: one["median"] for one in told["figures"] if one["measure"] == "pairs"}
    assert set(here) <= pairs.keys() <= CONTENDERS.keys()
    assert all(value > 0 for value in pairs.values()), pairs
    wrong = [note for note in told["notes"] if " runs: " in note and "The client was the limit" not in note]
    assert not wrong
    assert {"cpu", "cores", "load", "python-socketio"} <= told["machine"].keys()
    assert (tmp_path / "compare.md").read_text() in capsys.readouterr().out
