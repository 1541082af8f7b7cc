from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def test_a_new_workout_is_planned_and_has_an_etag_and_a_location(ada):
    answer = await ada.call("POST", "/workouts", {"title": "Push day", "tz": "Europe/Zurich", "note": "easy"})

    assert answer.status == 201
    assert answer.body["title"] == "Push day"
    assert answer.body["status"] == "planned"
    assert answer.body["note"] == "easy"
    assert answer.headers["ETag"] == f'"{answer.body["rev"]}"'
    assert answer.headers["Location"] == f"/workouts/{answer.body['id']}"
    assert uuid.UUID(answer.body["id"]).version == 7


async def test_a_workout_can_be_read_back_and_is_not_sent_again_while_it_is_the_same(ada):
    workout = await ada.workout(title="Legs")

    read = await ada.call("GET", f"/workouts/{workout['id'].upper()}")
    again = await ada.call("GET", f"/workouts/{workout['id']}", If_None_Match=read.headers["ETag"])

    assert read.body == workout
    assert (again.status, again.body) == (304, "")


async def test_an_id_of_the_clients_own_is_kept_and_cannot_be_used_twice(ada):
    mine = str(uuid.uuid4())

    first = await ada.call("POST", "/workouts", {"id": mine})
    second = await ada.call("POST", "/workouts", {"id": mine.upper()})

    assert first.body["id"] == mine
    assert (second.status, second.code) == (409, "already_exists")


async def test_a_whole_workout_over_rest(ada, api):
    workout = await ada.workout()
    path = f"/workouts/{workout['id']}"
    state = await ada.post(f"{path}/start")
    assert (state["status"], state["phase"]) == ("active", "working")

    state = await ada.put(f"{path}/exercise/0", {"exercise": "squat", "note": "low bar"}, state["rev"])
    api.clock.advance(seconds=60)
    logged = {"reps": 5, "load": {"value": 100, "unit": "kg"}, "rest_s": 120}
    state = await ada.put(f"{path}/set/0", logged, state["rev"])
    assert state["phase"] == "resting"
    assert state["rest"]["seconds"] == 120
    assert state["exercises"][0]["note"] == "low bar"
    assert state["exercises"][0]["sets"][0]["load"] == {"value": 100, "unit": "kg"}

    state = await ada.post(f"{path}/pause", {"reason": "phone"})
    assert state["status"] == "paused"
    state = await ada.post(f"{path}/resume")
    assert (state["status"], state["phase"]) == ("active", "resting")
    state = await ada.post(f"{path}/rest", {"action": "extend", "seconds": 30})
    assert state["rest"]["seconds"] == 150
    state = await ada.post(f"{path}/rest", {"action": "skip"})
    assert (state["phase"], state["rest"]) == ("working", None)
    state = await ada.post(f"{path}/rest", {"seconds": 90})
    assert state["rest"]["seconds"] == 90
    state = await ada.post(f"{path}/complete", {"rating": 8, "note": "good"})
    assert (state["status"], state["rating"], state["note"]) == ("completed", 8, "good")
    assert state["totals"]["volume_ug"] == 5 * 100 * 10**9


async def test_a_planned_slot_logged_over_rest_is_the_planned_set(ada):
    entry = str(uuid.uuid4())
    plan = [{"entry": entry, "exercise": "row", "position": "V", "sets": [{"slot": 1}, {"slot": 2}]}]
    workout = await ada.workout(plan=plan)
    planned = workout["exercises"][0]["plan"][1]["set"]

    state = await ada.put(
        f"/workouts/{workout['id']}/set/0", {"slot": 2, "reps": 8, "note": "hard"}, workout["rev"]
    )

    assert state["status"] == "active"
    logged = state["exercises"][0]["sets"][0]
    assert (logged["id"], logged["note"]) == (planned, "hard")
    twice = await ada.call(
        "PUT", f"/workouts/{workout['id']}/set/1", {"slot": 2, "reps": 9}, If_Match=f'"{state["rev"]}"'
    )
    assert twice.code == "already_exists"


async def test_exercises_are_added_at_the_end_and_changed_in_place(ada):
    workout = await ada.workout()
    path = f"/workouts/{workout['id']}"
    state = await ada.put(f"{path}/exercise/0", {"exercise": "squat"}, workout["rev"])
    state = await ada.put(f"{path}/exercise/1", {"exercise": "bench"}, state["rev"])
    state = await ada.put(f"{path}/exercise/2", {"exercise": "row", "superset": 1}, state["rev"])
    assert [entry["exercise"] for entry in state["exercises"]] == ["squat", "bench", "row"]

    state = await ada.put(f"{path}/exercise/1", {"superset": 1, "target": {"rest_s": 60}}, state["rev"])
    assert [entry["superset"] for entry in state["exercises"]] == [None, 1, 1]
    assert state["exercises"][1]["target"] == {"rest_s": 60}

    state = await ada.put(f"{path}/exercise/2", {"position": "0", "superset": None}, state["rev"])
    assert [entry["exercise"] for entry in state["exercises"]] == ["row", "squat", "bench"]
    assert state["exercises"][0]["superset"] is None

    gone = await ada.call("DELETE", f"{path}/exercise/1", If_Match=f'"{state["rev"]}"')
    assert [entry["exercise"] for entry in gone.body["exercises"]] == ["row", "bench"]


async def test_sets_are_counted_through_the_exercises_in_their_order(ada):
    workout = await ada.workout()
    path = f"/workouts/{workout['id']}"
    state = await ada.put(f"{path}/exercise/0", {"exercise": "squat"}, workout["rev"])
    state = await ada.put(f"{path}/exercise/1", {"exercise": "bench"}, state["rev"])
    squat = state["exercises"][0]["id"]
    state = await ada.put(f"{path}/set/0", {"reps": 8}, state["rev"])  # the last exercise: bench
    state = await ada.put(f"{path}/set/1", {"reps": 5, "exercise_entry": squat}, state["rev"])

    state = await ada.put(f"{path}/set/0", {"reps": 6}, state["rev"])
    assert [row["reps"] for entry in state["exercises"] for row in entry["sets"]] == [6, 8]

    gone = await ada.call("DELETE", f"{path}/set/1", If_Match=f'"{state["rev"]}"')
    assert [len(entry["sets"]) for entry in gone.body["exercises"]] == [1, 0]


async def test_only_the_given_fields_of_a_set_are_written_and_null_clears(ada):
    workout = await ada.workout()
    path = f"/workouts/{workout['id']}"
    state = await ada.put(f"{path}/exercise/0", {"exercise": "squat"}, workout["rev"])
    state = await ada.put(f"{path}/set/0", {"reps": 5, "rpe": 8.5, "type": "warmup"}, state["rev"])

    state = await ada.put(f"{path}/set/0", {"rpe": None, "reps": 6.0}, state["rev"])

    row = state["exercises"][0]["sets"][0]
    assert (row["reps"], row["rpe"], row["type"]) == (6, None, "warmup")


async def test_a_correction_does_not_reopen_a_workout_but_a_set_that_is_done_now_does(ada):
    workout = await ada.workout()
    path = f"/workouts/{workout['id']}"
    state = await ada.put(f"{path}/exercise/0", {"exercise": "squat"}, workout["rev"])
    state = await ada.put(f"{path}/set/0", {"reps": 5, "done": False}, state["rev"])
    state = await ada.post(f"{path}/complete")

    state = await ada.put(f"{path}/set/0", {"reps": 4}, state["rev"])
    assert state["status"] == "completed"
    state = await ada.put(f"{path}/set/0", {"done": True}, state["rev"])
    assert state["status"] == "active"


async def test_a_workouts_own_fields_are_written_together(ada, api):
    workout = await ada.workout(title="a")
    edit = {
        "title": None,
        "tz": "UTC",
        "units": "lb",
        "template": "5x5",
        "started_at": 1000,
        "ended_at": 2000,
        "note": "n",
    }

    state = await ada.put(f"/workouts/{workout['id']}", edit, workout["rev"])

    assert {name: state[name] for name in edit} == edit
    emptied = await ada.put(f"/workouts/{workout['id']}", {"note": None}, state["rev"])
    assert not emptied["note"]
    unchanged = await ada.put(f"/workouts/{workout['id']}", {}, emptied["rev"])
    assert unchanged == emptied


async def test_a_workout_cannot_end_before_it_started(ada):
    workout = await ada.workout()
    state = await ada.put(f"/workouts/{workout['id']}", {"started_at": 5000}, workout["rev"])

    answer = await ada.call(
        "PUT", f"/workouts/{workout['id']}", {"ended_at": 4000}, If_Match=f'"{state["rev"]}"'
    )

    assert answer.code == "validation_failed"
    assert answer.body["errors"][0]["field"] == "ended_at"


@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [
        ("PUT", "", {"title": "x"}),
        ("DELETE", "", None),
        ("PUT", "/exercise/0", {"exercise": "x"}),
        ("DELETE", "/exercise/0", None),
        ("PUT", "/set/0", {"reps": 1}),
        ("DELETE", "/set/0", None),
    ],
)
async def test_writes_that_could_undo_anothers_need_the_present_revision(ada, method, tail, body):
    workout = await ada.workout()
    path = f"/workouts/{workout['id']}"
    state = await ada.put(f"{path}/exercise/0", {"exercise": "squat"}, workout["rev"])
    state = await ada.put(f"{path}/set/0", {"reps": 5}, state["rev"])

    without = await ada.call(method, path + tail, body)
    stale = await ada.call(method, path + tail, body, If_Match=f'"{workout["rev"]}"')
    foreign = await ada.call(method, path + tail, body, If_Match='W/"3", "abc"')
    now = await ada.call("GET", path)

    assert (without.status, without.code) == (428, "precondition_required")
    for answer in (stale, foreign):
        assert (answer.status, answer.code) == (412, "precondition_failed")
        assert answer.body["current"] == state
        assert answer.headers["ETag"] == f'"{state["rev"]}"'
    assert now.body == state


async def test_any_revision_or_one_of_several_may_be_named(ada):
    workout = await ada.workout()
    path = f"/workouts/{workout['id']}"

    any_at_all = await ada.call("PUT", path, {"title": "a"}, If_Match="*")
    several = await ada.call("PUT", path, {"title": "b"}, If_Match=f'"1", {any_at_all.headers["ETag"]}')

    assert (any_at_all.status, several.status) == (200, 200)
    assert several.body["title"] == "b"


async def test_of_two_writers_on_one_revision_one_wins(ada):
    workout = await ada.workout()
    path, tag = f"/workouts/{workout['id']}", f'"{workout["rev"]}"'

    answers = await asyncio.gather(
        *(ada.call("PUT", path, {"title": str(i)}, If_Match=tag) for i in range(5))
    )

    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412, 412]


@pytest.mark.parametrize(
    ("before", "trigger", "status"),
    [
        ([], "pause", "planned"),
        ([], "complete", "planned"),
        (["start"], "start", "active"),
        (["start"], "resume", "active"),
        (["start", "pause"], "pause", "paused"),
        (["start", "complete"], "abandon", "completed"),
        (["abandon"], "start", "abandoned"),
    ],
)
async def test_an_illegal_edge_is_told_and_writes_nothing(ada, before, trigger, status):
    workout = await ada.workout()
    path = f"/workouts/{workout['id']}"
    for each in before:
        await ada.post(f"{path}/{each}")
    state = (await ada.call("GET", path)).body

    answer = await ada.call("POST", f"{path}/{trigger}")

    assert (answer.status, answer.code) == (409, "illegal_edge")
    assert (answer.body["from"], answer.body["trigger"]) == (status, trigger)
    assert (await ada.call("GET", path)).body == state


async def test_a_rest_outside_an_active_workout_is_an_illegal_edge(ada):
    path = f"/workouts/{(await ada.workout())['id']}"

    start = await ada.call("POST", f"{path}/rest", {"seconds": 60})
    await ada.post(f"{path}/start")
    skip = await ada.call("POST", f"{path}/rest", {"action": "skip"})

    assert (start.body["from"], start.body["trigger"]) == ("planned", "rest")
    assert (skip.body["from"], skip.body["trigger"]) == ("active", "rest_skip")


ROUTES_OF_ONE: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("PUT", "", {"title": "x"}),
    ("DELETE", "", None),
    *(("POST", f"/{edge}", None) for edge in ("start", "pause", "resume", "complete", "abandon")),
    ("POST", "/rest", {"seconds": 5}),
    ("PUT", "/exercise/0", {"exercise": "x"}),
    ("DELETE", "/exercise/0", None),
    ("PUT", "/set/0", {"reps": 1}),
    ("DELETE", "/set/0", None),
    ("POST", "/share", {"fields": ["title"]}),
]


@pytest.mark.parametrize(("method", "tail", "body"), ROUTES_OF_ONE)
async def test_anothers_workout_answers_exactly_like_an_unknown_one(ada, bob, method, tail, body):
    workout = await ada.workout(title="private")
    headers = {"If_Match": f'"{workout["rev"]}"', "X_Request_Id": "same"}

    theirs = await bob.call(method, f"/workouts/{workout['id']}{tail}", body, **headers)
    unknown = await bob.call(method, f"/workouts/{UNKNOWN}{tail}", body, **headers)
    nonsense = await bob.call(method, f"/workouts/nonsense{tail}", body, **headers)

    assert theirs.status == 404
    assert theirs.body == unknown.body == nonsense.body
    assert (await ada.call("GET", f"/workouts/{workout['id']}")).body == workout


async def test_a_removed_workout_is_gone_but_its_removal_can_be_retried(ada):
    workout = await ada.workout()
    path, tag = f"/workouts/{workout['id']}", f'"{workout["rev"]}"'

    removed = await ada.call("DELETE", path, If_Match=tag, Idempotency_Key="gone")
    again = await ada.call("DELETE", path, If_Match=tag, Idempotency_Key="gone")
    without_key = await ada.call("DELETE", path, If_Match=tag)

    assert (removed.status, again.status, without_key.status) == (204, 204, 404)
    assert (await ada.call("GET", path)).status == 404
    assert (await ada.call("POST", f"{path}/start")).status == 404
    assert (await ada.call("GET", "/workouts")).body["workouts"] == []


async def test_a_retry_with_the_same_key_is_done_once(ada):
    first = await ada.call("POST", "/workouts", {"title": "once"}, Idempotency_Key="k1")
    again = await ada.call("POST", "/v1/workouts", {"title": "once"}, Idempotency_Key="k1")

    assert again.status == 201
    assert again.body == first.body
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert len((await ada.call("GET", "/workouts")).body["workouts"]) == 1


async def test_retries_at_the_same_moment_are_done_once(ada):
    answers = await asyncio.gather(
        *(ada.call("POST", "/workouts", {"title": "once"}, Idempotency_Key="k1") for _ in range(6))
    )

    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["id"] for answer in answers}) == 1
    assert {answer.body["rev"] for answer in answers} == {1}


async def test_a_retried_write_does_not_run_into_its_own_revision(ada):
    workout = await ada.workout()
    path, tag = f"/workouts/{workout['id']}", f'"{workout["rev"]}"'

    first = await ada.call("PUT", path, {"title": "new"}, If_Match=tag, Idempotency_Key="k")
    again = await ada.call("PUT", path, {"title": "new"}, If_Match=tag, Idempotency_Key="k")

    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body


async def test_a_key_belongs_to_one_request_and_to_one_user(ada, bob):
    await ada.call("POST", "/workouts", {"title": "one"}, Idempotency_Key="k1")

    other = await ada.call("POST", "/workouts", {"title": "two"}, Idempotency_Key="k1")
    bobs = await bob.call("POST", "/workouts", {"title": "two"}, Idempotency_Key="k1")

    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert bobs.status == 201


async def test_workouts_are_listed_newest_first_in_pages(ada, api):
    ids = []
    for i in range(5):
        api.clock.advance(seconds=60)
        ids.append((await ada.workout(title=str(i)))["id"])

    first = await ada.call("GET", "/workouts?limit=3")
    second = await ada.call("GET", f"/workouts?limit=3&cursor={first.body['next_cursor']}")

    assert [row["id"] for row in first.body["workouts"]] == [ids[4], ids[3], ids[2]]
    assert [row["id"] for row in second.body["workouts"]] == [ids[1], ids[0]]
    assert "next_cursor" not in second.body or second.body["next_cursor"] is None


async def test_the_list_can_be_narrowed_by_state_time_and_exercise(ada, api):
    old = await ada.workout(title="old")
    api.clock.advance(seconds=300)
    new = await ada.workout(title="new")
    state = await ada.put(f"/workouts/{new['id']}/exercise/0", {"exercise": "squat"}, new["rev"])
    await ada.put(f"/workouts/{new['id']}/set/0", {"reps": 5}, state["rev"])

    async def found(query: str) -> list[str]:
        return [row["title"] for row in (await ada.call("GET", f"/workouts?{query}")).body["workouts"]]

    assert await found("status=active") == ["new"]
    assert await found("status=planned") == ["old"]
    assert await found("exercise=squat") == ["new"]
    assert await found("exercise=bench") == []
    assert await found(f"from={old['created_at'] + 1}") == ["new"]
    assert await found(f"to={old['created_at'] + 1}") == ["old"]


async def test_a_list_shows_only_ones_own(ada, bob):
    await ada.workout()

    assert (await bob.call("GET", "/workouts")).body["workouts"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("status=sleeping", "status"),
        ("cursor=nonsense", "cursor"),
        ("cursor=%F0%9F%92%AA", "cursor"),
        ("sort=up", "sort"),
        ("limit=1&limit=2", "limit"),
    ],
)
async def test_a_query_that_is_not_understood_is_told(ada, query, field):
    answer = await ada.call("GET", f"/workouts?{query}")

    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [(error["in"], error["field"]) for error in answer.body["errors"]] == [("query", field)]


@pytest.mark.parametrize(
    ("tail", "body", "field"),
    [
        ("/set/0", {"reps": -1}, "reps"),
        ("/set/0", {"reps": "5"}, "reps"),
        ("/set/0", {"reps": 5.5}, "reps"),
        ("/set/0", {"rpe": 8.1234}, "rpe"),
        ("/set/0", {"type": "heroic"}, "type"),
        ("/set/0", {"load": {"value": 5}}, "load.unit"),
        ("/set/0", {"reps": 5, "exercise_entry": UNKNOWN}, "exercise_entry"),
        ("/set/0", {"reps": 5, "slot": 9}, "exercise_entry"),
        ("/exercise/1", {"superset": 2}, "exercise"),
        ("/exercise/1", {"exercise": "x", "position": "ü"}, "position"),
    ],
)
async def test_a_field_that_is_not_valid_is_named(ada, tail, body, field):
    workout = await ada.workout()
    path = f"/workouts/{workout['id']}"
    state = await ada.put(f"{path}/exercise/0", {"exercise": "squat"}, workout["rev"])

    answer = await ada.call("PUT", path + tail, body, If_Match=f'"{state["rev"]}"')

    assert (answer.status, answer.code) == (422, "validation_failed")
    assert field in [error["field"].removesuffix(".int") for error in answer.body["errors"]]
    assert (await ada.call("GET", path)).body == state


async def test_what_the_engine_refuses_is_told_before_anything_is_written(ada):
    workout = await ada.workout()
    path = f"/workouts/{workout['id']}"
    state = await ada.put(f"{path}/exercise/0", {"exercise": "squat"}, workout["rev"])
    deep: dict[str, Any] = {}
    for _ in range(8):
        deep = {"deeper": deep}

    answer = await ada.call(
        "PUT", f"{path}/exercise/0", {"exercise": "bench", "target": deep}, If_Match=f'"{state["rev"]}"'
    )

    assert (answer.status, answer.code) == (422, "bad_value")
    assert (await ada.call("GET", path)).body == state


async def test_places_beyond_the_next_one_do_not_exist(ada):
    workout = await ada.workout()
    path, tag = f"/workouts/{workout['id']}", f'"{workout["rev"]}"'

    assert (await ada.call("PUT", f"{path}/exercise/1", {"exercise": "x"}, If_Match=tag)).status == 404
    assert (await ada.call("DELETE", f"{path}/exercise/0", If_Match=tag)).status == 404
    assert (await ada.call("PUT", f"{path}/set/1", {"reps": 1}, If_Match=tag)).status == 404
    assert (await ada.call("DELETE", f"{path}/set/x", If_Match=tag)).status == 404


async def test_a_broken_limit_of_the_log_is_told(ada, api):
    workout = await ada.workout()
    path, rev = f"/workouts/{workout['id']}", workout["rev"]
    plan = [{"entry": str(uuid.uuid4()), "exercise": f"e{i}", "position": "V"} for i in range(101)]

    answer = await ada.call("POST", "/workouts", {"plan": plan})

    assert (answer.status, answer.code) == (422, "limit")
    assert answer.body["max"] == 100
    assert (await ada.call("GET", path)).body["rev"] == rev


async def test_fields_of_a_newer_client_are_kept_in_the_op(ada, api):
    workout = await ada.workout(mood="great")

    host = await api.hosts.open(ada.id)
    records = await host.read(0, 10)

    assert records[0]["value"] == {"mood": "great"}
    assert records[0]["workout"] == workout["id"]


async def test_writes_are_ops_of_one_api_device_per_enrolled_device(ada, api):
    watch = await api.login(ada, name="Watch", platform="watchos")
    workout = await ada.workout()
    await ada.post(f"/workouts/{workout['id']}/start")
    await watch.post(f"/workouts/{workout['id']}/pause")

    records = await (await api.hosts.open(ada.id)).read(0, 10)

    mine, again, theirs = (record["device"] for record in records)
    assert mine == again != theirs
    assert not {mine, theirs} & {0, ada.device, watch.device}
    assert [record["n"] for record in records] == [1, 2, 1]
    assert [record["base"] for record in records] == [0, 1, 2]
