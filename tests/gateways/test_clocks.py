"""A full vector clock over a real log says what the whole tail of the log would say."""

from __future__ import annotations

import random

import pytest

from fitai.engine.ops import Stamp, saw
from tests.gateways.conftest import new_id


def seen_by(records, author, clock, start):
    """The seqs that were seen, record by record: up to the base before, own ones, and by the clock."""
    return {
        r.seq for r in records if r.seq <= start or r.device == author or r.op.n <= clock.get(r.device, 0)
    }


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("seed", range(5))
async def test_a_clock_is_placed_by_a_few_records_as_by_all_of_them(server, connect, seed):
    rng = random.Random(seed)
    user = await server.user()
    wires = [await connect(server, user, await server.enrol(user)) for _ in range(4)]
    workout = new_id()
    for _ in range(30):
        wire = rng.choice(wires)
        base = rng.randint(0, wire.position()) if rng.random() < 0.3 else 0
        await wire.push(
            *(wire.op("note.set", workout, {"text": "x"}, base=base) for _ in range(rng.randint(1, 3)))
        )
    host = await server.hosts.open(user)
    records = await server.hosts.log.read(host.stream, 0, 1_000)
    for _ in range(60):
        wire = rng.choice(wires)
        counts = {
            other.device: host.position(other.device).next_n - 1 for other in wires if other is not wire
        }
        clock = {d: rng.choice([0, n, rng.randint(0, n)]) for d, n in counts.items() if rng.random() < 0.9}
        named = await host.name_context(wire.device, clock)
        expected = seen_by(records, wire.device, clock, host.position(wire.device).base)
        later = Stamp(host.head + 1, wire.device, 2**31, 0, named.base, {**(named.beyond or {})})
        assert {r.seq for r in records if saw(later, r.stamp)} == expected
        assert all(n > 0 for n in (named.beyond or {}).values())
        unseen = [r.seq for r in records if r.seq not in expected]
        assert named.base == (unseen[0] - 1 if unseen else host.head), "the longest prefix"
