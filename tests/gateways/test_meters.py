"""What happened is counted, where it happened."""

from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY

from fitai.gateways.bus.memory import MemoryBus, MemoryHub
from fitai.gateways.bus.redis import Stats
from fitai.gateways.meters import NodeMeters
from fitai.gateways.pulse import Pulse
from tests.gateways.conftest import new_id


class Since:
    """How much a meter has grown since this was made: `since("fitai_ops_total", verdict="applied")`."""

    def __init__(self):
        self._then = self._all()

    def __call__(self, name, **labels):
        key = (name, tuple(sorted(labels.items())))
        return self._all().get(key, 0) - self._then.get(key, 0)

    def _all(self):
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
        }


async def test_ops_are_counted_by_verdict_and_refused_pushes_by_code(server, connect):
    user = await server.user()
    wire = await connect(server, user, await server.enrol(user))
    workout = new_id()
    since = Since()
    ops = [wire.op("workout.create", workout), wire.op("workout.start", workout)]
    await wire.push(*ops)
    await wire.push(*ops)  # again
    await wire.push(wire.op("workout.start", workout))  # it has begun
    await wire.push(wire.op("workout.complete", workout) | {"n": 99})
    await wire.call("push", {"ops": "none"})
    assert since("fitai_ops_total", verdict="applied") == 2
    assert since("fitai_ops_total", verdict="duplicate") == 2
    assert since("fitai_ops_total", verdict="void") == 1
    assert since("fitai_pushes_refused_total", code="gap") == 1
    assert since("fitai_pushes_refused_total", code="bad_request") == 1
    assert since("fitai_append_wait_seconds_count") >= 2


async def test_connections_are_counted_by_how_they_resumed_and_byes_by_code(server, connect):
    user = await server.user()
    device = await server.enrol(user)
    since = Since()
    first = await connect(server, user, device)
    epoch = first.events("ready")[0]["epoch"]
    await connect(server, user, device, cursor={"epoch": epoch, "seq": 0})
    await connect(server, user, device, cursor={"epoch": "another", "seq": 7})
    node = NodeMeters(lambda: server.live.queues, server.hosts.counts, Stats())
    values = {sample.name: sample.value for family in node.collect() for sample in family.samples}
    assert (values["fitai_connections"], values["fitai_hosts"]) == (3, 1)
    assert values["fitai_queue_bytes"] >= values["fitai_queue_max_bytes"] >= 0
    server.live.connections[0].bye("slow")
    for outcome in ("first", "resumed", "anew"):
        assert since("fitai_resumes_total", outcome=outcome) == 1
    assert since("fitai_byes_total", code="slow") == 1


async def test_another_nodes_records_are_a_healed_gap_and_its_hints_have_an_age(make_server, connect):
    hub = MemoryHub()
    one, other = [await make_server(hub=hub, alone=False) for _ in range(2)]
    user = await one.user()
    here = await connect(one, user, await one.enrol(user))
    there = await connect(other, user, await one.enrol(user, "watch"))
    since = Since()
    await here.push(here.op("workout.create", new_id()))
    await there.told(1)
    assert since("fitai_bus_hint_age_seconds_count") >= 1
    one.bus.publish = lambda *_: None  # every hint is lost from now on
    await here.push(here.op("workout.create", new_id()))
    await other.hosts.look()
    await there.told(2)
    families = NodeMeters(list, other.hosts.counts, Stats()).collect()
    values = {sample.name: sample.value for family in families for sample in family.samples}
    assert values["fitai_gaps_healed_total"] == 1


async def test_a_pulse_feels_the_loop_and_the_bus():
    bus = MemoryBus()
    await bus.start()
    since = Since()
    pulse = Pulse(bus)
    pulse.start()
    deadline = asyncio.get_running_loop().time() + 10
    while not (since("fitai_loop_lag_seconds_count") and since("fitai_bus_probe_seconds_count")):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    await pulse.close()
    await bus.close()


async def test_a_timer_that_fires_tells_how_late_it_is(make_server, connect):
    server = await make_server()
    user = await server.user()
    wire = await connect(server, user, await server.enrol(user))
    workout = new_id()
    since = Since()
    await wire.push(
        wire.op("workout.create", workout),
        wire.op("workout.start", workout),
        wire.op("rest.start", workout, {"seconds": 1}),
    )
    await wire.event("insight", lambda insight: insight["kind"] == "rest_over")
    assert since("fitai_timers_late_seconds_count") >= 1
