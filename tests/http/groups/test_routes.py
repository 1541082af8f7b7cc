"""Groups over REST: made, joined, driven and left; who may, and what the others are told."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tests.http.conftest import MakeApi, Person
from tests.http.groups.conftest import LED, TABATA, VOLUME_RACE, opened

UNKNOWN = str(uuid.UUID(int=7))


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_group_lives_over_rest_alone(make_api: MakeApi, database_url: str):
    api = await make_api(database_url, public_url="https://fit.example.com")
    ada, bob = await api.register(), await api.register()
    made = await ada.call("POST", "/groups", {"title": "Class", "format": LED, "capacity": 12})
    group = made.body
    path = f"/groups/{group['id']}"
    assert (made.status, made.headers["Location"]) == (201, path)
    assert (group["status"], group["title"], group["capacity"]) == ("lobby", "Class", 12)
    assert group["link"] == f"https://fit.example.com/join/{group['code']}"
    assert group["you"] == {"member": 1, "role": "host", "share": "progress", "workout": None}

    workout = str(uuid.uuid4())
    joined = await bob.post(
        "/groups/join", {"code": group["code"], "share": "everything", "workout": workout}
    )
    assert joined["you"] == {"member": 2, "role": "participant", "share": "everything", "workout": workout}
    assert [(member["no"], member["role"]) for member in joined["members"]] == [
        (1, "host"),
        (2, "participant"),
    ]

    began = await ada.post(f"{path}/start", {"in_ms": 5_000})
    assert (began["status"], began["live_at"]) == ("countdown", api.clock() + 5_000)
    assert (await ada.post(f"{path}/hold", {"reason": "late"}))["status"] == "lobby"
    await ada.post(f"{path}/start", {"in_ms": 5_000})
    api.clock.advance(seconds=5)
    assert (await bob.call("GET", path)).body["status"] == "live"
    stepped = await ada.post(f"{path}/next", {"to": 1})
    assert [phase["station"] for phase in stepped["phases"]] == [0, 1]
    assert (await ada.post(f"{path}/pause"))["status"] == "paused"
    assert (await ada.post(f"{path}/resume", {"in_ms": 1_000}))["status"] == "live"
    anew = await ada.post(f"{path}/invite")
    assert anew["invite"] == 2 and anew["code"] != group["code"]
    left = await bob.post(f"{path}/leave")
    assert [member["gone"] for member in left["members"]] == [None, "left"]
    assert (await bob.post(f"{path}/join"))["you"]["role"] == "participant", "without a code"
    over = await ada.post(f"{path}/finish", {"reason": "well done"})
    assert (over["status"], over["ended_at"], over["reason"]) == ("finished", api.clock(), "well done")
    assert "code" not in over, "nobody can join any more"

    listed = (await bob.call("GET", "/groups")).body["groups"]
    assert [(one["id"], one["status"], one["you"]["workout"]) for one in listed] == [
        (group["id"], "finished", workout)
    ]


async def test_a_group_can_be_cancelled(group, ada):
    assert (await ada.post(f"/groups/{group.id}/cancel", {"reason": "rain"}))["status"] == "cancelled"


async def test_an_untyped_format_and_a_wrong_one_are_told_by_field(ada):
    for format_, field in [
        ({"type": "yoga"}, "format"),
        ({}, "format"),
        ({"type": "emom"}, "format.emom.rounds"),
        ({"type": "race", "measure": {"of": "reps"}, "limit_ms": 1}, "format.race.limit_ms"),
    ]:
        answer = await ada.call("POST", "/groups", {"title": "Class", "format": format_})
        assert (answer.status, answer.code) == (422, "validation_failed"), answer.body
        assert [error["field"] for error in answer.body["errors"]] == [field]


async def test_what_the_documents_can_not_say_of_a_format_is_a_bad_value(ada):
    tasks = [{"exercise": "squat", "reps": 5}, {"exercise": "squat", "reps": 6}]
    body = {"title": "Class", "format": {"type": "amrap", "tasks": tasks, "limit_ms": 60_000}}

    answer = await ada.call("POST", "/groups", body)

    assert (answer.status, answer.code) == (422, "bad_value")
    assert "twice" in answer.body["reason"]
    assert (await ada.call("GET", "/groups")).body["groups"] == []


async def test_more_people_than_the_installation_takes_are_a_limit(ada):
    answer = await ada.call("POST", "/groups", {"title": "Class", "format": TABATA, "capacity": 5_000})

    assert (answer.status, answer.code, answer.body["max"]) == (422, "limit", 1_000)
    assert (await ada.call("GET", "/groups")).body["groups"] == []


# -- who sees what -------------------------------------------------------------------------------------


async def test_to_a_stranger_a_group_does_not_exist(group, ada, bob):
    answers = [
        await bob.call(method, f"/groups/{id_}{tail}", body)
        for id_ in (group.id, UNKNOWN)
        for method, tail, body in [
            ("GET", "", None),
            ("GET", "/records", None),
            ("GET", "/results", None),
            ("POST", "/join", {}),
            ("POST", "/start", {}),
            ("POST", "/cancel", {}),
            ("PATCH", "/you", {"share": "presence"}),
            ("POST", "/reports", {"dot": [1, 1], "reason": "rude"}),
        ]
    ]

    assert {(answer.status, answer.code) for answer in answers} == {(404, "not_found")}
    told = [{k: v for k, v in answer.body.items() if k != "request_id"} for answer in answers]
    assert told[: len(told) // 2] == told[len(told) // 2 :], (
        "nor is one that exists told from one that does not"
    )
    assert (await group.seen_by(ada))["seq"] == 2, "and nothing was written"


@pytest.mark.parametrize("act", ["start", "cancel", "invite", "finish"])
async def test_a_participant_may_not_drive(group, bob, act):
    await group.join(bob)

    answer = await bob.call("POST", f"/groups/{group.id}/{act}", {})

    assert (answer.status, answer.code) == (403, "forbidden")
    assert (answer.body["role"], answer.body["kind"]) == ("participant", f"group.{act}")
    assert "WWW-Authenticate" not in answer.headers, "no other token would help"


async def test_the_crew_alone_sees_the_code(group, ada, bob):
    await group.join(bob)
    assert "code" not in await group.seen_by(bob)

    await group.do(ada, "member.role", member=2, role="coach")

    assert (await group.seen_by(bob))["code"] == group.code


async def test_who_left_still_sees_it_and_who_was_thrown_out_does_not(api, group, ada, bob):
    eve = await api.register()
    await group.join(bob)
    await group.join(eve)
    await bob.post(f"/groups/{group.id}/leave")
    await group.do(ada, "member.kick", member=3)

    assert (await group.seen_by(bob))["you"]["role"] == "stranger"
    assert (await eve.call("GET", f"/groups/{group.id}")).status == 404
    assert (await eve.call("GET", "/groups")).body["groups"] == []


async def test_illegal_edges_are_told_with_where_the_group_is(group, ada):
    for act, from_ in [("pause", "lobby"), ("resume", "lobby"), ("hold", "lobby"), ("finish", "lobby")]:
        answer = await ada.call("POST", f"/groups/{group.id}/{act}", {})
        assert (answer.status, answer.code) == (409, "illegal_edge")
        assert (answer.body["from"], answer.body["trigger"]) == (from_, act)


# -- joining -------------------------------------------------------------------------------------------


async def test_a_code_is_taken_however_it_is_typed(group, bob):
    typed = f" {group.code[:5].lower()}-{group.code[5:].lower()}".strip()

    assert (await bob.post("/groups/join", {"code": typed}))["id"] == group.id


async def test_who_is_in_it_stays_what_they_are(group, ada, bob):
    before = await group.join(bob, share="everything")

    again = await group.join(bob, **{"as": "spectator"}, share="presence")

    assert (again["you"], again["seq"]) == (before["you"], before["seq"])


async def test_a_spectator_looks_on(group, bob):
    assert (await group.join(bob, **{"as": "spectator"}))["you"]["role"] == "spectator"


async def test_a_code_of_another_group_opens_this_one_to_nobody(group, ada, bob):
    other = await opened(ada)

    answer = await bob.call("POST", f"/groups/{group.id}/join", {"code": other.code})

    assert (answer.status, answer.code) == (404, "not_found")
    assert (await bob.call("GET", "/groups")).body["groups"] == []


async def test_an_old_code_opens_nothing(group, ada, bob):
    await ada.post(f"/groups/{group.id}/invite")

    for path in ("/groups/join", f"/groups/{group.id}/join"):
        answer = await bob.call("POST", path, {"code": group.code})
        assert (answer.status, answer.code) == (410, "invite_over")
    assert (await bob.call("GET", "/groups")).body["groups"] == []


async def test_who_was_kicked_needs_a_newer_code_and_who_was_banned_has_none(group, ada, bob):
    await group.join(bob)
    await group.do(ada, "member.kick", member=2)
    assert (await bob.call("POST", f"/groups/{group.id}/join")).code == "invite_over"
    assert (await bob.call("POST", "/groups/join", {"code": group.code})).code == "invite_over"
    newer = (await ada.post(f"/groups/{group.id}/invite"))["code"]
    assert (await bob.post("/groups/join", {"code": newer}))["you"]["role"] == "participant"
    await group.do(ada, "member.ban", member=2)
    assert (await bob.call("POST", "/groups/join", {"code": newer})).code == "banned"
    assert (await bob.call("GET", f"/groups/{group.id}")).code == "not_found"


async def test_a_group_that_is_closed_or_full_or_over_takes_nobody(api, ada, bob):
    closed, full, over = await opened(ada, open=False), await opened(ada, capacity=1), await opened(ada)
    await ada.post(f"/groups/{over.id}/cancel")

    for group, status, code in [(closed, 403, "closed"), (full, 409, "full"), (over, 409, "illegal_edge")]:
        answer = await bob.call("POST", "/groups/join", {"code": group.code})
        assert (answer.status, answer.code) == (status, code), answer.body
        assert "WWW-Authenticate" not in answer.headers


async def test_a_workout_of_somebody_elses_is_a_number_of_ones_own(group, ada, bob):
    """An id is one of its person's stream, so what is named is theirs, there or not yet."""
    workout = (await ada.workout(title="Legs"))["id"]

    joined = await group.join(bob, workout=workout)

    assert joined["you"]["workout"] == workout
    assert (await ada.call("GET", f"/workouts/{workout}")).body["group"] is None
    assert (await bob.call("GET", f"/workouts/{workout}")).status == 404


async def test_ones_share_and_workout_are_changed_and_told(group, ada):
    workout = str(uuid.uuid4())
    path = f"/groups/{group.id}/you"

    changed = (await ada.call("PATCH", path, {"share": "everything", "workout": workout})).body
    assert changed["you"] == {"member": 1, "role": "host", "share": "everything", "workout": workout}
    again = (await ada.call("PATCH", path, {"share": "everything", "workout": workout})).body
    assert again["seq"] == changed["seq"], "the same again writes nothing"
    assert (await ada.call("PATCH", path, {})).body["seq"] == changed["seq"]
    assert (await ada.call("PATCH", path, {"workout": None})).body["you"]["workout"] is None


# -- keys, codes and lists -----------------------------------------------------------------------------


async def test_a_retry_with_its_key_is_done_once(group, ada, bob):
    body = {"title": "Once", "format": TABATA}
    first, again = [await ada.call("POST", "/groups", body, Idempotency_Key="make") for _ in range(2)]
    assert first.body["id"] == again.body["id"]
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert len((await ada.call("GET", "/groups")).body["groups"]) == 2

    path = f"/groups/{group.id}/start"
    first, again = [await ada.call("POST", path, {"in_ms": 9_000}, Idempotency_Key="go") for _ in range(2)]
    assert (first.status, again.status, again.body["seq"]) == (200, 200, first.body["seq"])
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await ada.call("POST", path, {"in_ms": 8_000}, Idempotency_Key="go")
    assert (other.status, other.code) == (422, "idempotency_key_reused")

    code = {"code": group.code}
    first, again = [await bob.call("POST", "/groups/join", code, Idempotency_Key="in") for _ in range(2)]
    assert (first.status, again.status, again.body["seq"]) == (200, 200, first.body["seq"])


async def test_two_who_start_at_once_start_once(group, ada):
    path = f"/groups/{group.id}/start"

    answers = await asyncio.gather(*(ada.call("POST", path, {}) for _ in range(5)))

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]


async def test_lists_come_in_pages_newest_first_and_by_state(ada, bob):
    groups = []
    for n in range(5):
        groups.append(await opened(ada, title=f"number {n}"))
        ada.api.clock.advance(seconds=1)
    await groups[1].live()
    await ada.post(f"/groups/{groups[3].id}/cancel")

    async def listed(query: str, person: Person = ada):
        answer = await person.call("GET", f"/groups?{query}")
        assert answer.status == 200, answer.body
        return [one["title"] for one in answer.body["groups"]], answer.body["next_cursor"]

    first, cursor = await listed("limit=2")
    second, cursor = await listed(f"limit=2&cursor={cursor}")
    third, last = await listed(f"limit=2&cursor={cursor}")
    assert (first, second, third, last) == (
        ["number 4", "number 3"],
        ["number 2", "number 1"],
        ["number 0"],
        None,
    )
    assert (await listed("status=live"))[0] == ["number 1"], "which the clock began"
    assert (await listed("status=cancelled"))[0] == ["number 3"]
    assert (await listed("", bob))[0] == []
    assert (await ada.call("GET", "/groups?cursor=nonsense")).code == "validation_failed"


async def test_records_are_told_as_on_a_socket(group, ada, bob):
    await group.join(bob)
    refused = await bob.call("POST", f"/groups/{group.id}/start", {})
    assert refused.code == "forbidden"

    page = (await bob.call("GET", f"/groups/{group.id}/records?limit=3")).body
    rest = (await bob.call("GET", f"/groups/{group.id}/records?after=3")).body

    assert (page["ok"], page["group"], page["more"], rest["more"]) == (True, group.id, True, False)
    kinds = [record["kind"] for record in page["records"] + rest["records"]]
    assert kinds[:4] == ["device.enrol", "group.create", "device.enrol", "member.join"]
    assert "invite" not in str([record["value"] for record in page["records"]])
    assert not any("workout" in record for record in page["records"])
    beyond = await bob.call("GET", f"/groups/{group.id}/records?after=99")
    assert (beyond.status, beyond.code) == (400, "bad_request")


# -- results and the link to workouts ------------------------------------------------------------------


async def test_a_workout_names_its_group_once_it_is_part_of_one(ada):
    before = await ada.workout(title="Legs")
    path = f"/workouts/{before['id']}"
    assert before["group"] is None
    tag = (await ada.call("GET", path)).headers["ETag"]
    group = await opened(ada, format=VOLUME_RACE)
    await ada.call("PATCH", f"/groups/{group.id}/you", {"workout": before["id"]})

    seen = await ada.call("GET", path, If_None_Match=tag)
    assert (seen.status, seen.body["group"]) == (200, group.id), "the tag of before is not its own any more"
    assert (await ada.call("GET", path, If_None_Match=seen.headers["ETag"])).status == 304
    assert (await ada.call("GET", "/workouts")).body["workouts"][0]["group"] == group.id
    edited = await ada.call("PUT", path, {"title": "Arms"}, If_Match=seen.headers["ETag"])
    assert (edited.status, edited.body["group"]) == (200, group.id)
    late = await ada.call("PUT", path, {"title": "Back"}, If_Match=seen.headers["ETag"])
    assert late.code == "precondition_failed"


async def test_there_is_no_table_before_the_end(group, ada):
    answer = await ada.call("GET", f"/groups/{group.id}/results")

    assert answer.status == 200
    assert (answer.body["at"], answer.body["rows"], answer.body["unit"]) == (None, [], "reps")
