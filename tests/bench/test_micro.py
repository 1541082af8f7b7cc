"""The measurements, tiny: that they run, and that what they hold of their own results holds. No times."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from fitai.bench.micro import (
    __main__,
    append,
    asking,
    bus,
    encode,
    fanout,
    fold,
    growth,
    merge,
    peers,
    projections,
    push,
    rest,
    size,
    transport,
    workload,
)
from fitai.gateways.live.frames import CODECS
from fitai.gateways.live.outbox import Outbox


def by_name(figures):
    return {figure.name: figure for figure in figures}


def test_half_of_the_keys_of_three_replicas_are_everybody_s():
    writes = workload.map_writes(1, 40)
    assert [len(its) for its in writes.written] == [40, 40, 40]
    wrote = [{op["entity"] for op in its} for its in writes.written]
    assert len(set.union(*wrote)) == writes.keys == 20 + 3 * 20
    assert len(set.intersection(*wrote)) == 20
    assert [op["n"] for op in writes.written[0]] == list(range(1, 41))


def test_a_merge_shows_written_values_and_exactly_the_conflicts_that_there_are_in_any_order():
    writes = workload.map_writes(7, 60)
    uploads = [(device, workload.pushes(its, 25)) for device, its in enumerate(writes.written, 2)]
    merged, turned = merge.Ours(writes), merge.Ours(writes)
    merged.merge(uploads)
    turned.merge(uploads[::-1])
    merge.check(writes, merged.documents())
    assert merge.digests(turned.documents()) == merge.digests(merged.documents())
    assert any(document["alternatives"] for document in merged.documents())


def test_the_check_of_a_merge_sees_a_lost_value_and_a_lost_conflict():
    writes = workload.map_writes(7, 20)
    merged = merge.Ours(writes)
    merged.merge([(device, workload.pushes(its)) for device, its in enumerate(writes.written, 2)])
    documents = merged.documents()
    silent = [{**document, "alternatives": document["alternatives"][1:]} for document in documents]
    with pytest.raises(AssertionError, match="conflict"):
        merge.check(writes, silent)
    lost = [{**document, "exercises": []} for document in documents]
    with pytest.raises(AssertionError, match="key"):
        merge.check(writes, lost)


def test_every_peer_that_is_installed_takes_part_in_every_run():
    found = by_name(merge.measure(2, 12, peers.installed()))
    assert found["merge, ours"].least > 0
    assert {name for name in found if name.startswith("merge, ours to")} == {
        f"merge, ours to {peer.package}" for peer in peers.installed()
    }


def test_pushed_rows_are_what_the_peer_inserts():
    found = by_name(push.measure(1, 60))
    assert found["push to bare insert"].median > 0
    with pytest.raises(AssertionError, match="hole"):
        push.check([{"seq": 2, "n": 1, "verdict": "applied"}], 1)


def test_sizes_are_of_frames_that_the_server_can_read():
    found = by_name(size.measure(1))
    alone = found["map writes: a lone op of a set besides ids"]
    assert alone.most <= size.ASKED_LONE
    batch = found["map writes: in a batch besides ids"]
    assert 0 < batch.most <= size.ASKED_BATCH
    assert list(size.ids({"a": ["x" * 36, {"b": "y" * 36}], "c": 3})) == ["x" * 36, "y" * 36]


def test_logs_of_any_size_take_live_ops_and_batches():
    found = by_name(growth.measure([40, 600], 1, 1))
    assert {"first op: most to least", "live op: most to least", "batch: most to least"} <= found.keys()
    assert found["live op: 600 ops"].least > 0


def test_records_fold_to_one_state_in_any_order_and_the_check_sees_another(monkeypatch):
    assert by_name(fold.measure(1, 60))["fold to reading"].least > 0
    records, bodies = fold.placed(60, 3)
    assert len(bodies) == 60
    assert len(fold.folded(records)) == 3
    monkeypatch.setattr(fold, "folded", lambda its: [record.seq for record in its])
    with pytest.raises(AssertionError, match="order"):
        fold.check(records, 1)


def test_appends_that_wait_together_are_all_there():
    found = by_name(append.measure(1, 12, (1, 4)))
    assert found["append, 4 to 1 waiting"].least > 0


async def test_the_check_of_appends_sees_a_record_that_is_not_there(db):
    records, _ = fold.placed(3, 1)
    with pytest.raises(AssertionError, match="another log"):
        await append.check(db, 99, records)


@pytest.mark.parametrize("engine", projections.ENGINES)
def test_projections_and_histories_are_those_of_the_driver(engine):
    found = by_name(projections.measure(1, 3, 2, [engine]))
    assert found[f"history of five exercises, {engine}"].least > 0
    assert found[f"project, all of it, {engine}: loop"].least > 0


def test_encoded_events_are_read_by_a_reader_that_is_not_ours():
    found = by_name(encode.measure(1, 20))
    assert {"event to payload, json", "event to payload, msgpack"} <= found.keys()
    [first, second] = encode.payloads(2, 1)
    with pytest.raises(AssertionError, match="something else"):
        encode.check([first], [encode.encoded(second, "json")], "json")


def test_every_connection_gets_every_event_once():
    found = by_name(fanout.measure(1, 40, (2, 4)))
    assert {"ours to deques, 2", "ours to deques, 4"} <= found.keys()
    queue, frames = Outbox(1_000_000), fanout._frames(3, 1)
    for frame in frames[:2]:
        queue.push(frame.packet(CODECS["json"]))
    with pytest.raises(AssertionError, match="bytes"):
        fanout.check(queue, frames)


async def test_every_message_goes_its_way_through_the_transport_once_and_in_order():
    found = by_name(await asyncio.to_thread(transport.measure, 1, 400))
    assert all(figure.least > 0 for figure in found.values())
    ears = transport.Ears()
    ears.heard = [[0, 1], [1, 0]]
    with pytest.raises(AssertionError, match="out of order"):
        await ears.everything(2)


def test_hints_arrive_once_and_in_order_by_every_way():
    found = by_name(bus.measure(1, 450))
    assert all(found[name].least > 0 for name in bus.CONTENDERS)
    heard = bus.Heard(2)
    for topic, message in bus.messages(201)[::-200]:
        heard.take(topic, message)
    with pytest.raises(AssertionError, match="lost, doubled or came out of order"):
        bus.check(heard, 201)


def test_a_measurement_is_told_as_a_table_and_as_json(tmp_path, capsys):
    __main__.main(["size", "--runs", "1", "--into", str(tmp_path)])
    document = json.loads((tmp_path / "size.json").read_text())
    assert document["machine"]["python"]
    figures = document["figures"]
    assert figures["map writes: a lone op of a set besides ids"]["unit"] == "B"
    table = (tmp_path / "size.md").read_text()
    assert table.strip() == capsys.readouterr().out.strip()
    assert all(f"| {name}" in table for name in figures)


@pytest.mark.timeout(120)
def test_profiles_and_sign_ins_are_answered_beside_their_peers():
    found = by_name(rest.measure(1, 2.5, 2))
    for name in ("profiles to bare aiohttp", "sign-ins to argon2 alone", "p99 with a crowd to without"):
        assert found[name].least > 0


def test_the_check_of_requests_sees_an_answer_that_is_no_200():
    rest.check(asking.Heard(1.0, {200: 3}, [0.1]))
    with pytest.raises(AssertionError, match="503"):
        rest.check(asking.Heard(1.0, {200: 3, 503: 1}, [0.1]))
    with pytest.raises(AssertionError, match="nothing"):
        rest.check(asking.Heard(1.0, {200: 3}, []))


@asynccontextmanager
async def answering(handler):
    app = web.Application()
    app.router.add_route("*", "/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


async def test_requests_in_windows_come_as_written_and_as_many_at_a_time():
    now, most, seen = 0, 0, set()

    async def handler(request):
        nonlocal now, most
        now += 1
        most = max(most, now)
        seen.add((await request.json())["who"])
        await asyncio.sleep(0.01)
        now -= 1
        return web.Response(text="x" * 100_000)  # more than one read

    requests = [asking.written("POST", "/", {}, {"who": who}) for who in "abc"]
    async with answering(handler) as url:
        heard = await asking.in_windows(url, requests, 4, 0.1, 0.3)
    assert set(heard.statuses) == {200}
    assert 0 < len(heard.spent) < heard.statuses[200]
    assert min(heard.spent) >= 0.01
    assert (most, seen) == (4, set("abc"))


async def test_a_server_that_stalls_is_charged_for_all_that_was_due_meanwhile():
    stalled = False

    async def handler(_):
        nonlocal stalled
        if not stalled:
            stalled = True
            time.sleep(0.3)  # the loop stands still, as a bad server's does
        return web.Response(text="x")

    async with answering(handler) as url:
        request = asking.written("GET", "/", {})
        heard = await asking.at_rate(url, [request], 200.0, 0.0, 0.5, random.Random(1))
    assert sum(one > 0.1 for one in heard.spent) >= 20


async def test_a_server_that_hangs_up_is_no_answer(monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE_S", 0.1)

    async def handler(request):
        request.transport.abort()
        return web.Response()

    async with answering(handler) as url:
        with pytest.raises(asking.Failed):
            await asking.in_windows(url, [asking.written("GET", "/", {})], 1, 0.0, 0.1)
