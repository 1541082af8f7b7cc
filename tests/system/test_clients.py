"""Stock clients, as other people install them, against a real server process.

Two devices, each with a client of another make, play one workout; one of them loses its connection in the
middle. Both must know the same records in the same order, by what they were told alone.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest

from tests.system.conftest import Process
from tests.system.stock import Client, connect, node, register

__all__ = ["connect", "node"]  # fixtures

MAKES = [
    ("python", "python-websocket"),
    ("node", "python"),
    ("node-websocket", "python-msgpack"),
    ("node-msgpack", "node"),
]


@pytest.mark.parametrize("makes", MAKES, ids="+".join)
async def test_two_stock_clients_play_a_workout_and_see_one_order(
    makes: tuple[str, str],
    node: None,
    sqlite_url: str,
    make_process: Callable[..., Awaitable[Process]],
    connect: Callable[..., Awaitable[Client]],
) -> None:
    process = await make_process(sqlite_url)
    accounts = await register(process)
    phone, watch = [await connect(m, process.url, a) for m, a in zip(makes, accounts, strict=True)]
    assert (phone.device, watch.device) == tuple(
        ready["device"] for ready in (phone.readies[0], watch.readies[0])
    )
    workout, squat = str(uuid.uuid4()), str(uuid.uuid4())

    async def lift(client: Client, reps: int, kilos: float) -> None:
        value = {
            "exercise_entry": squat,
            "type": "working",
            "reps": reps,
            "load": {"value": kilos, "unit": "kg"},
        }
        result = await client.write("set.log", workout, value, str(uuid.uuid4()))
        assert result["verdict"] in ("applied", "merged"), result

    await phone.write("workout.create", workout, {"title": "Legs"})
    await phone.write("workout.start", workout)
    await phone.write("exercise.add", workout, {"exercise": "squat", "position": "a0"}, squat)
    await watch.until(lambda: watch.contiguous == 3)
    await asyncio.gather(lift(phone, 5, 100), lift(watch, 5, 102.5))
    await watch.write("rest.start", workout, {"seconds": 90})
    await phone.until(lambda: phone.contiguous == 6)

    await phone.drop()
    for kilos in (105, 107.5, 110):
        await lift(watch, 3, kilos)
    await phone.until(lambda: len(phone.readies) == 2)
    assert phone.readies[1]["resumed"] is True
    await phone.until(lambda: phone.contiguous == 9)
    await phone.write("workout.pause", workout)
    await phone.write("workout.resume", workout)
    await watch.until(lambda: watch.contiguous == 11)
    void = await watch.write("workout.resume", workout)
    assert (void["verdict"], void["code"]) == ("void", "illegal_edge")
    await watch.write("workout.complete", workout, {"rating": 5})
    await phone.until(lambda: phone.contiguous == 13)

    assert phone.view == watch.view
    assert sorted(phone.view) == list(range(1, 14))
    pulled = [await client.call("pull", {"after": 0}) for client in (phone, watch)]
    assert pulled[0] == pulled[1]
    assert {r["seq"]: (r["device"], r["n"]) for r in pulled[0]["records"]} == phone.view
    states = [await client.call("workout:get", {"workout": workout}) for client in (phone, watch)]
    assert states[0] == states[1]
    assert states[0]["state"]["status"] == "completed"
    assert [s["reps"] for s in states[0]["state"]["exercises"][0]["sets"]] == [5, 5, 3, 3, 3]
    for client in (phone, watch):
        await client.until(lambda client=client: _sets_told(client) == 5)  # type: ignore[misc]
        assert client.byes == []


def _sets_told(client: Client) -> int:
    totals = [insight["totals"]["sets"] for insight in client.insights if insight["kind"] == "totals"]
    return int(totals[-1]) if totals else 0
