"""Reports of messages, what admins decide of them, and the letters that tell admins."""

from __future__ import annotations

import uuid

import pytest

from fitai.persistence.users import ADMIN, Users
from tests.http.desk import Desk
from tests.http.groups.conftest import opened


async def admin(api, locale=None):
    person = await api.register()
    async with api.db.write() as session:
        await Users(session).set_role(person.id, ADMIN)
        await Users(session).edit(person.id, locale=locale)
    return person


async def said(group, person, text="rude"):
    """The dot of a message."""
    done = await group.do(person, "chat.say", text=text)
    [record] = [record for record in done.records if record.op.kind == "chat.say"]
    return [record.device, record.op.n]


async def reported(person, group, dot, reason="insult"):
    answer = await group.call(person, "POST", "/reports", {"dot": dot, "reason": reason})
    assert answer.status == 201, answer.body
    return answer.body["id"]


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_message_is_reported_looked_at_and_taken_away(make_api, database_url):
    api = await make_api(database_url)
    ada, bob, boss = await api.register(), await api.register(), await admin(api)
    group = await opened(ada)
    await group.join(bob)
    dot = await said(group, bob)
    before = (await group.seen_by(bob))["seq"]

    report = await reported(ada, group, dot)
    assert await reported(ada, group, dot, "again") == report
    assert (await group.seen_by(bob))["seq"] == before, "nobody in the group learns of it"

    listed = (await boss.call("GET", "/moderation/reports")).body["reports"]
    assert listed == [
        {
            "id": report,
            "group": group.id,
            "dot": dot,
            "text": "rude",
            "reason": "insult",
            "held": False,
            "created_at": api.clock(),
            "resolved_at": None,
            "outcome": None,
        }
    ]
    assert ada.id not in str(listed)

    api.clock.advance(seconds=5)
    path = f"/moderation/reports/{report}"
    decided = await boss.call("POST", path, {"outcome": "hidden", "reason": "be kind"})
    assert (decided.status, decided.body["outcome"], decided.body["resolved_at"]) == (
        200,
        "hidden",
        api.clock(),
    )
    assert (await group.seen_by(ada))["hidden"] == [dot]
    assert (await boss.call("GET", "/moderation/reports")).body["reports"] == []
    assert len((await boss.call("GET", "/moderation/reports?open=false")).body["reports"]) == 1

    head = (await group.seen_by(ada))["seq"]
    assert (await boss.call("POST", path, {"outcome": "hidden"})).body == decided.body
    other = await boss.call("POST", path, {"outcome": "dismissed"})
    assert (other.status, other.code) == (409, "illegal_edge")
    assert (other.body["from"], other.body["trigger"]) == ("hidden", "dismissed")
    assert (await group.seen_by(ada))["seq"] == head, "and nothing was written again"


async def test_a_report_that_is_dismissed_changes_nothing_in_the_group(api, group, ada, bob):
    boss = await admin(api)
    await group.join(bob)
    report = await reported(ada, group, await said(group, bob))
    head = (await group.seen_by(ada))["seq"]

    decided = await boss.call("POST", f"/moderation/reports/{report}", {"outcome": "dismissed"})

    assert decided.body["outcome"] == "dismissed"
    assert (await group.seen_by(ada))["seq"] == head


async def test_only_a_message_of_somebody_elses_can_be_reported(group, ada, bob):
    await group.join(bob)
    own = await said(group, ada)
    records = (await ada.call("GET", f"/groups/{group.id}/records")).body["records"]
    joined = next([r["device"], r["n"]] for r in records if r["kind"] == "member.join")

    for dot in (own, joined, [1, 999], [999, 1], [0, 1]):
        answer = await group.call(ada, "POST", "/reports", {"dot": dot, "reason": "x"})
        assert (answer.status, answer.code) == (404, "not_found"), dot
    for dot in ([1], [1, 2, 3], "1", [1, -1], [1.5, 1]):
        answer = await group.call(ada, "POST", "/reports", {"dot": dot, "reason": "x"})
        assert (answer.status, answer.code) == (422, "validation_failed"), dot


async def test_who_is_no_admin_moderates_nothing(api, group, ada, bob):
    await group.join(bob)
    report = await reported(ada, group, await said(group, bob))

    for answer in (
        await ada.call("GET", "/moderation/reports"),
        await ada.call("POST", f"/moderation/reports/{report}", {"outcome": "hidden"}),
        await ada.call("POST", f"/moderation/reports/{uuid.UUID(int=7)}", {"outcome": "hidden"}),
    ):
        assert (answer.status, answer.code) == (403, "forbidden")
    assert (await group.seen_by(ada))["hidden"] == []


async def test_one_who_is_no_admin_any_more_is_out_at_once(api):
    boss = await admin(api)
    assert (await boss.call("GET", "/moderation/reports")).status == 200
    async with api.db.write() as session:
        await Users(session).set_role(boss.id, None)

    assert (await boss.call("GET", "/moderation/reports")).status == 403


async def test_an_admin_decides_what_is_there(api):
    boss = await admin(api)

    answer = await boss.call("POST", f"/moderation/reports/{uuid.UUID(int=7)}", {"outcome": "hidden"})

    assert (answer.status, answer.code) == (404, "not_found")


async def test_admins_are_told_at_once_and_then_once_an_hour(api, group, ada, bob):
    desk = Desk(api)
    boss, other = await admin(api, locale="de"), await admin(api)
    await group.join(bob)

    async def counts(person):
        return [one["values"]["count"] for one in await desk.letters("messages_reported", person.email)]

    assert await counts(boss) == []
    await reported(ada, group, await said(group, bob))
    assert (await counts(boss), await counts(other)) == ([1], [1])
    for _ in range(3):
        await reported(ada, group, await said(group, bob))
    api.clock.advance(seconds=60)
    assert await counts(boss) == [1]
    api.clock.advance(seconds=3_600)
    assert await counts(boss) == [1, 4]
    api.clock.advance(seconds=7_200)
    assert await counts(boss) == [1, 4], "nothing new"
    assert await desk.letters("messages_reported", ada.email) == []
    letter = (await desk.letters("messages_reported", boss.email))[0]
    assert (letter["locale"], letter["values"]["link"]) == ("de", "/docs#/moderation")


async def test_nothing_is_told_of_what_was_decided_meanwhile(api, group, ada, bob):
    desk, boss = Desk(api), await admin(api)
    await group.join(bob)
    report = await reported(ada, group, await said(group, bob))
    assert len(await desk.letters("messages_reported")) == 1
    second = await reported(ada, group, await said(group, bob))
    for id_ in (report, second):
        await boss.call("POST", f"/moderation/reports/{id_}", {"outcome": "dismissed"})
    api.clock.advance(seconds=7_200)

    assert len(await desk.letters("messages_reported")) == 1
