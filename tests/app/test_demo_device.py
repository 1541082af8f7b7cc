"""The demo's device against a server that is played: each test drives one connection, event by event."""

from __future__ import annotations

import asyncio

import pytest

from fitai.app.demo_device import Device, NothingCame

WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
NOW = 1_780_000_000_000


class Silent:
    def wrote(self, device, op): ...
    def has(self, device, record): ...
    def heard(self, device, insight): ...
    def came(self, device, ready): ...
    def went(self, device): ...


class PlayedClient:
    """Where the stock client would be: keeps what was emitted, and the callback for the answer."""

    def __init__(self):
        self.pushed = []
        self.answer = None

    async def emit(self, event, payload, namespace, callback):
        self.pushed.append([op["n"] for op in payload["ops"]])
        self.answer = callback


def ready(seq=0, **more):
    return {"device": 1, "epoch": "e", "head": seq, "resumed": False, **more}


def foreign(seq, n=None, rev=None, device=2):
    n = seq if n is None else n
    return {
        "n": n,
        "base": 0,
        "kind": "workout.start",
        "workout": WORKOUT,
        "value": {},
        "at": NOW,
        "seq": seq,
    } | {
        "rev": seq if rev is None else rev,
        "device": device,
        "te": NOW,
        "verdict": "applied",
    }


def ops(*records):
    return {"epoch": "e", "from": records[0]["seq"], "to": records[-1]["seq"], "records": list(records)}


def ack(*results, **more):
    return {"ok": True, "head": 0, "results": list(results), **more}


def result(n, seq, verdict="applied", **more):
    return {"n": n, "seq": seq, "rev": seq, "te": NOW, "verdict": verdict, **more}


@pytest.fixture
async def device():
    made = Device("phone", 1, "token", "json", lambda: NOW, Silent())
    made._sio = PlayedClient()
    made._pump = asyncio.get_running_loop().create_task(made._push_all())
    yield made
    made._pump.cancel()
    await asyncio.gather(made._pump, return_exceptions=True)


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_own_and_foreign_records_make_one_run_and_base_is_its_end(device):
    device._on_ready(ready())
    device._on_ops(ops(foreign(1), foreign(2)))
    first = device.write(WORKOUT, "rest.skip", {})
    assert (first["n"], first["base"], first["at"]) == (1, 2, NOW)
    await turn()
    device._sio.answer(ack(result(1, 3, "merged")))
    assert device.write(WORKOUT, "rest.skip", {})["base"] == 3
    own = device.log[2]
    assert (own["seq"], own["rev"], own["device"], own["te"], own["verdict"]) == (3, 3, 1, NOW, "merged")
    assert (device.cursor, device.holes, device.acknowledged) == (3, 0, 1)


async def test_what_is_written_away_is_pushed_in_order_when_it_comes_back(device):
    for _ in range(3):
        device.write(WORKOUT, "rest.skip", {})
    await turn()
    assert device._sio.pushed == []
    device._on_ready(ready())
    await turn()
    assert device._sio.pushed == [[1, 2, 3]]


async def test_an_op_whose_answer_was_lost_is_pushed_again_and_known_once(device):
    device._on_ready(ready())
    device.write(WORKOUT, "rest.skip", {})
    await turn()
    device._on_disconnect("transport close")
    await turn()
    device._on_ready(ready(1, resumed=True))
    await turn()
    assert device._sio.pushed == [[1], [1]]
    device._on_ops(ops({**foreign(1), "device": 1}))
    device._sio.answer(ack(result(1, 1, "duplicate", first={"rev": 1, "te": NOW, "verdict": "applied"})))
    assert (device.cursor, device.duplicates, device.acknowledged, device.outbox) == (1, 1, 1, [])
    assert (device.connects, device.resumes, device.holes) == (2, 1, 0)


async def test_a_new_connection_ends_the_wait_for_an_answer_on_the_old_one(device):
    device._on_ready(ready())
    device.write(WORKOUT, "rest.skip", {})
    await turn()
    device._on_ready(ready(resumed=True))
    await turn()
    assert device._sio.pushed == [[1], [1]]


async def test_a_record_out_of_order_is_counted_as_a_hole_and_not_taken(device):
    device._on_ready(ready())
    device._on_ops(ops(foreign(2)))
    assert (device.cursor, device.holes) == (0, 1)


async def test_what_is_left_in_the_pipe_of_a_lost_connection_is_not_taken(device):
    device._on_ready(ready())
    device._on_disconnect("transport close")
    device._on_ops(ops(foreign(2)))
    assert (device.cursor, device.holes) == (0, 0)


async def test_a_refusal_is_remembered_and_the_ops_are_offered_again(device):
    device._on_ready(ready())
    device.write(WORKOUT, "rest.skip", {})
    await turn()
    device._sio.answer({"ok": False, "code": "later", "message": "busy", "retry_after_ms": 1})
    await asyncio.sleep(0.02)
    assert device._sio.pushed == [[1], [1]]
    assert [answer["code"] for answer in device.refusals] == ["later"]


async def test_of_insights_the_last_word_counts(device):
    insight = {"id": "i", "kind": "record", "workout": WORKOUT, "value": 100}
    device._on_insight(insight)
    device._on_insight({**insight, "value": 105})
    assert device.records_told(WORKOUT) == {"i": {**insight, "value": 105}}
    device._on_insight({"id": "i", "kind": "record", "workout": WORKOUT, "withdrawn": True})
    assert device.records_told(WORKOUT) == {}


async def test_waiting_ends_when_it_holds_or_when_patience_does(device):
    waiting = asyncio.get_running_loop().create_task(device.until(lambda: device.here, "it is here"))
    await turn()
    device._on_ready(ready())
    await waiting
    with pytest.raises(NothingCame, match=r"The phone waited 0.01 s until pigs fly\."):
        await device.until(lambda: False, "pigs fly", 0.01)
