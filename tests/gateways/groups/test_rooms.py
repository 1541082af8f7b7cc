"""A room over real sockets: join, say, hear in order, leave; who may not, and what is told to whom."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateways.groups.conftest import Scene, Seated


@pytest.fixture(autouse=True)
def nothing_is_logged(no_exception_is_logged: None) -> None:
    """None of this is an error."""


async def test_who_has_the_code_joins_and_everybody_hears_of_it(scene: Scene) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    assert (host.ready["member"], guest.ready["member"]) == (1, 2)
    assert guest.ready["next_n"] == 2, "to join took one"
    assert guest.ready["state"]["title"] == "Leg day"
    await host.told(guest.ready["head"])
    assert [record["kind"] for record in host.records()] == ["device.enrol", "member.join"]
    assert "invite" not in host.records()[0]["value"]
    host.in_order()


async def test_what_is_said_is_told_to_all_in_one_order(scene: Scene) -> None:
    host = await scene.create()
    others = [await scene.join(host, await scene.wire(codec=codec)) for codec in ("json", "msgpack", "json")]
    everybody = [host, *others]
    for number, who in enumerate(everybody * 2):
        result = await who.do("chat.say", {"text": f"number {number}"})
        assert result["verdict"] == "applied"
    head = (await scene.log(host.group))[-1].seq
    for who in everybody:
        await who.told(head)
        who.in_order()


async def test_a_push_without_a_seat_is_refused(scene: Scene) -> None:
    host = await scene.create()
    stranger = Seated(await scene.wire(), host.group)
    stranger.ready = {"resumed": False, "head": 0}
    for event, payload in (
        ("group:push", {"ops": [stranger.op("chat.say", {"text": "hi"})]}),
        ("group:pull", {"after": 0}),
        ("group:leave", {}),
        ("group:report", {"dot": [1, 1], "reason": "rude"}),
    ):
        answer = await stranger.wire.call(event, {"group": host.group, **payload})
        assert (answer["ok"], answer["code"]) == (False, "not_joined"), event


async def test_a_stranger_without_a_code_finds_no_such_group(scene: Scene) -> None:
    host = await scene.create()
    stranger = Seated(await scene.wire(), host.group)
    told = await stranger.join()
    other: Any = await Seated(await scene.wire(), "018f0000-0000-7000-8000-000000000001").join()
    assert told == other and told["code"] == "not_found"
    assert len(await scene.log(host.group)) == host.ready["head"]
