"""A class with stock clients, of four makes and on two nodes, while each node and Redis die in the middle of
it: nobody is dropped for good, deadlines hold, and what everybody sees is what the logs say.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import socketio

from fitai.engine.groups.ticks import apply
from fitai.persistence.database import Database
from fitai.persistence.groups import Groups
from fitai.persistence.log import Log
from tests.chaos.stack import Node, Stack
from tests.system.conftest import asked, now_ms
from tests.system.stock import Client, connect, node, register

__all__ = ["connect", "node"]  # fixtures

MAKES = ("python-websocket", "node-websocket", "python-websocket-msgpack", "node-websocket-msgpack")
LIMIT_MS = 20_000
GRACE_MS = 15_000  # after the end, in which a set still counts
ANSWER_S = 4.0
PATIENCE_S = 60.0
SETS = 12  # of each

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def stack(postgres_data) -> AsyncIterator[Stack]:
    async with Stack(postgres_data, nodes=2, FITAI_LIMITS="off") as stack:
        yield stack
        assert [node.errors() for node in stack.nodes] == [[], []]


class Athlete:
    """A stock client of somebody in a group, and what the protocol asks of its user there: a cursor, a view
    to which ticks are applied, a counter, and to come back."""

    def __init__(self, client: Client, group: str) -> None:
        self.client = client
        self.group = group
        self.workout, self.entry = str(uuid.uuid4()), str(uuid.uuid4())
        self.log: dict[int, Any] = {}  # what was told, by seq; None: that it is there and not for us
        self.view: dict[int, Any] = {}
        self.state: dict[str, Any] = {}
        self.member = 0
        self.rejoined = 0
        self._epoch = ""
        self._next_n = 0
        self._ticks: list[dict[str, Any]] | None = None  # that came while a join was under way
        self._joining: asyncio.Task[None] | None = None
        client.listeners.append(self._heard)

    @property
    def place(self) -> int:
        """The end of the contiguous run that is known."""
        place = 0
        while place + 1 in self.log:
            place += 1
        return place

    async def join(self, **how: Any) -> None:
        """Join by code, or come back to where the cursor is; again until it is answered."""
        self._ticks = []
        cursor = {"cursor": {"epoch": self._epoch, "seq": self.place}} if self._epoch else {}
        answer = await self._ask("group:join", {"group": self.group, **cursor, **how})
        assert answer["ok"], answer
        if not self._epoch:
            self.log = dict.fromkeys(range(1, answer["head"] + 1))
        assert not self._epoch or answer["resumed"], answer
        self._epoch, self.member, self._next_n = answer["epoch"], answer["member"], answer["next_n"]
        self.state = answer["state"]
        self.view = {int(no): fields for no, fields in answer["view"].items()}
        ticks, self._ticks = self._ticks, None
        for tick in ticks:
            self._tick(tick)

    async def say(self, kind: str, **value: Any) -> Any:
        """Push one op to the group, again until it is answered: it counts once."""
        n = self._next_n
        self._next_n += 1
        op = {"n": n, "base": self.place, "kind": kind, "value": value, "at": 0}
        while True:
            answer = await self._ask("group:push", {"group": self.group, "ops": [op]})
            if answer["ok"]:
                break
            assert answer["code"] in ("not_joined", "later"), answer
            await asyncio.sleep(0.2)
        (result,) = answer["results"]
        self.log.setdefault(result["seq"], None)
        return result.get("first", result)

    async def write(self, kind: str, value: Any, entity: str | None = None) -> Any:
        """Push one op to one's own log, again until it is answered."""
        client, n = self.client, self.client.next_n
        client.next_n += 1
        op = {"n": n, "base": client.contiguous, "kind": kind, "workout": self.workout, "at": now_ms()}
        op |= {"value": value} | ({} if entity is None else {"entity": entity})
        while not (answer := await self._ask("push", {"ops": [op]}))["ok"]:
            assert answer["code"] == "later", answer
            await asyncio.sleep(0.2)
        (result,) = answer["results"]
        client._learn(result["seq"], (client.device, n))
        return result

    async def begin(self) -> None:
        """Start the workout that is the one of this group."""
        await self.write("workout.create", {})
        await self.write("workout.start", {})
        await self.write("exercise.add", {"exercise": "burpee", "position": "a0"}, self.entry)

    async def lift(self, reps: int) -> str:
        """Log a set; its id."""
        set_ = str(uuid.uuid4())
        await self.write("set.log", {"exercise_entry": self.entry, "type": "working", "reps": reps}, set_)
        return set_

    async def _ask(self, event: str, payload: dict[str, Any]) -> Any:
        """Emit until there is an answer."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with suppress(TimeoutError, socketio.exceptions.SocketIOError):
                async with asyncio.timeout(ANSWER_S):
                    return await self.client.call(event, payload)
            await asyncio.sleep(0.2)
        raise AssertionError(f"no answer to {event}")

    def _heard(self, event: str, payload: Any) -> None:
        if event == "ready" and self._epoch:
            if self._joining is not None:
                self._joining.cancel()
            self._joining = asyncio.get_running_loop().create_task(self._return())
        elif event == "group:ops":
            assert payload["epoch"] == self._epoch or not self._epoch
            for seq in range(payload["from"], payload["to"] + 1):
                self.log.setdefault(seq, None)
            for record in payload["records"]:
                assert self.log[record["seq"]] in (None, record), "a record never changes"
                self.log[record["seq"]] = record
        elif event == "group:tick":
            if self._ticks is None:
                self._tick(payload)
            else:
                self._ticks.append(payload)

    async def _return(self) -> None:
        await self.join()
        self.rejoined += 1

    def _tick(self, tick: dict[str, Any]) -> None:
        self.view = apply(self.view, {int(no): fields for no, fields in tick["members"].items()})


def table_of(view: dict[int, Any]) -> dict[int, tuple[Any, ...]]:
    """What of a view the logs can say: {member: (rank, reps)}."""
    return {no: (fields.get("rank"), fields.get("amount")) for no, fields in view.items()}


async def table_by_the_logs(url: str, group: str) -> tuple[dict[int, tuple[Any, ...]], dict[str, Any]]:
    """The same, worked out of nothing but records: of the group's start, and of everybody's sets."""
    db = Database.open(url)
    try:
        async with db.read() as session:
            log = Log(session)
            stream = await log.stream_of(group)
            assert stream is not None
            records = await log.read(stream.id, 0, 10_000)
            assert [record.seq for record in records] == list(range(1, stream.head + 1))
            (start,) = (r for r in records if r.op.kind == "group.start" and r.verdict == "applied")
            live_at = start.te + start.op.value["in_ms"]
            reps: dict[int, int] = {}
            for member in await Groups(session).members(group):
                assert member.user is not None
                own = await log.stream_of(member.user)
                assert own is not None
                sets: dict[str | None, int] = {}
                for record in await log.read(own.id, 0, 10_000):
                    if record.op.kind == "set.log" and live_at <= record.te <= live_at + LIMIT_MS + GRACE_MS:
                        sets[record.op.entity] = record.op.value["reps"]
                    elif record.op.kind == "set.edit" and record.op.entity in sets:
                        sets[record.op.entity] = record.op.value["value"]
                    elif record.op.kind == "set.remove":
                        sets.pop(record.op.entity, None)
                reps[member.member] = sum(sets.values())
    finally:
        await db.close()
    ranks = {no: 1 + sum(other > mine for other in reps.values()) for no, mine in reps.items()}
    table = {no: (ranks[no] if mine else None, mine) for no, mine in reps.items()}
    return table, {"live_at": live_at, "head": stream.head}


async def test_a_class_outlives_each_node_and_redis(stack, node, connect) -> None:
    here, there = stack.nodes
    accounts = [await register(here) for _ in MAKES]
    tokens = [phone["access_token"] for phone, _ in accounts]
    body = {"title": "Burpees", "format": {"type": "race", "measure": {"of": "reps"}, "limit_ms": LIMIT_MS}}
    status, made = await asked(here, "POST", "/groups", tokens[0], **body)
    assert status == 201, made
    athletes: list[Athlete] = []
    for number, (make, (phone, _)) in enumerate(zip(MAKES, accounts, strict=True)):
        client = await connect(make, stack.nodes[number % 2].url, phone)
        athletes.append(Athlete(client, made["id"]))
    host, *others = athletes
    # The second device of the host, on the other node: one more pair of eyes, and no more of a participant.
    watch = Athlete(await connect("node-websocket-msgpack", there.url, accounts[0][1]), made["id"])
    everybody = [*athletes, watch]
    await host.join()
    await host.say("member.workout", workout=host.workout)
    for other in others:
        answer = await other.client.call("group:join", {"code": made["code"], "workout": other.workout})
        assert answer["ok"], answer
        await other.join()
    await watch.join()
    assert watch.member == host.member
    assert len({each.member for each in athletes}) == len(MAKES)

    assert (await host.say("group.start", in_ms=2_000))["verdict"] == "applied"
    await asyncio.gather(*(each.begin() for each in athletes))
    until = time.monotonic() + PATIENCE_S
    while (await asked(there, "GET", f"/groups/{made['id']}", tokens[0]))[1]["status"] != "live":
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
    (late,) = (await asked(there, "POST", f"/groups/{made['id']}/start", tokens[0]))[:1]
    assert late == 409

    training = asyncio.gather(*(train(each, number) for number, each in enumerate(athletes)))
    await asyncio.sleep(1.0)
    await die_and_return(here)
    stack.redis.restart()
    await asyncio.sleep(1.0)
    await die_and_return(there)
    await training
    await host.say("chat.say", text="well done")

    table, facts = await table_by_the_logs(stack.database_url, made["id"])
    assert sorted(no for no in table if table[no][1]) == sorted(each.member for each in athletes)
    for each in everybody:
        await each.client.until(partial(sees, each, table, facts["head"]))
    for each in everybody:
        assert each.view == host.view
        assert each.rejoined >= 1, "its node died"
        assert [bye["code"] for bye in each.client.byes] == []
        told = {seq: record for seq, record in each.log.items() if record is not None}
        again = {seq: record for seq, record in host.log.items() if record is not None}
        assert all(told[seq] == again[seq] for seq in told.keys() & again.keys())
        await each.join()
        assert each.state["clock"]["from"] == facts["live_at"]
        assert each.state["clock"]["until"] == facts["live_at"] + LIMIT_MS

    over = time.monotonic() + PATIENCE_S
    for process in stack.nodes:
        while (await asked(process, "GET", f"/groups/{made['id']}", tokens[1]))[1]["status"] != "finished":
            assert time.monotonic() < over
            await asyncio.sleep(0.2)
        results: dict[str, Any] = {"at": None}
        while results["at"] is None:
            assert time.monotonic() < over
            await asyncio.sleep(0.2)
            _, results = await asked(process, "GET", f"/groups/{made['id']}/results", tokens[1])
        found = {row["member"]: (row["rank"], row["amount"]) for row in results["rows"]}
        assert found == table
        _, group = await asked(process, "GET", f"/groups/{made['id']}", tokens[1])
        assert group["ended_at"] == facts["live_at"] + LIMIT_MS


def sees(athlete: Athlete, table: dict[int, tuple[Any, ...]], head: int) -> bool:
    """Whether they know the whole log, the table, and that everybody is there."""
    here = all(fields.get("here") for fields in athlete.view.values())
    return here and athlete.place == head and table_of(athlete.view) == table


async def train(athlete: Athlete, number: int) -> None:
    """Log sets as one goes, correct one and take one back."""
    sets = [await athlete.lift(3 + (number + index) % 5) for index in range(SETS // 2)]
    for index in range(SETS // 2):
        await asyncio.sleep(0.8)
        sets.append(await athlete.lift(2 + index % 3))
    await athlete.write("set.edit", {"field": "reps", "value": 20 + number // 2}, sets[0])
    await athlete.write("set.remove", {}, sets[-1])


async def die_and_return(node: Node) -> None:
    """kill -9, and start again on the same port."""
    node.kill()
    await node.start()
