"""One row for every route: a request that it grants, and how to be refused by each code that is its own.

A new route needs a row here, or three tests fail (the documented errors, the authorisation matrix, and the
check that both have all routes). A row is

    "name_of_the_handler": Row(ask, {code: way, …}, others=…)

    ask       what a person sends who may do this: `async def (world, person) -> Ask`
    ways      for each code in the route's `errors` that the frame does not bring by itself, a request that is
              answered by it. What the frame brings (401, 403, 408…) is tried on every route by `ways.py`; a
              way given here wins.
    others    what somebody else gets who sends the very same request with a token of their own:
              "not_found" (the default for a path with a parameter), "own" (the default without one: they are
              shown or change what is theirs), "all" (it is meant for everybody), or "forbidden" (for admins)
"""

from __future__ import annotations

import uuid
from typing import Any

from fitai.http.health import HEALTH
from tests.http.conftest import Person
from tests.http.contract.row import Row, fixed
from tests.http.contract.rows_of_accounts import ACCOUNTS, second_factor
from tests.http.contract.rows_of_groups import GROUPS
from tests.http.contract.world import Ask, Way, World

PASSWORD = "correct horse"
PHONE = {"name": "Phone", "platform": "ios", "install_id": "the phone"}
DEEP: dict[str, Any] = {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {}}}}}}}}}}
MANY = [{"entry": str(uuid.UUID(int=i)), "exercise": "squat", "position": "V"} for i in range(101)]


def on_workout(
    tail: str, json: Any = None, *, conditional: bool = False, started: bool = False, sets: int = 0
) -> Way:
    """A request on a workout of the person's, on its present revision when `conditional`."""

    async def way(world: World, person: Person) -> Ask:
        state = await world.workout(person, started=started, sets=sets)
        headers = {"If-Match": f'"{state["rev"]}"'} if conditional else {}
        return Ask(f"/workouts/{state['id']}{tail}", json, headers, token=person.token)

    return way


def on_full(tail: str, json: Any = None, *, started: bool = False, sets: int = 0) -> Way:
    """The same on a workout that takes no more ops."""

    async def way(world: World, person: Person) -> Ask:
        state = await world.workout(person, started=started, sets=sets)
        rev = await world.full(person, state)
        return Ask(f"/workouts/{state['id']}{tail}", json, {"If-Match": f'"{rev}"'}, token=person.token)

    return way


def browser_of_another_site(way: Way) -> Way:
    """A page that may not, in browser mode."""

    async def elsewhere(world: World, person: Person) -> Ask:
        ask = await way(world, person)
        return ask.with_headers(X_FitAI_Mode="browser", Origin="https://evil.example")

    return elsewhere


# -- auth ----------------------------------------------------------------------------------------------


async def a_new_person(world: World, person: Person) -> Ask:
    email = f"{uuid.uuid4().hex}@example.org"
    return Ask("/auth/register", {"email": email, "password": PASSWORD, "device": PHONE})


async def a_new_person_with_a_weak_password(world: World, person: Person) -> Ask:
    ask = await a_new_person(world, person)
    return ask.but(json={**ask.json, "password": "password1"})


async def without_the_second_factor(world: World, person: Person) -> Ask:
    await second_factor(person)
    return await back_again(world, person)


async def with_a_wrong_code(world: World, person: Person) -> Ask:
    ask = await without_the_second_factor(world, person)
    return ask.but(json={**ask.json, "otp": "none"})


async def one_who_is_there(world: World, person: Person) -> Ask:
    return Ask("/auth/register", {"email": person.email, "password": PASSWORD, "device": PHONE})


async def back_again(world: World, person: Person) -> Ask:
    body = {"email": person.email, "password": person.password, "device": PHONE}
    return Ask("/auth/login", body)


async def with_a_wrong_password(world: World, person: Person) -> Ask:
    return Ask("/auth/login", {"email": person.email, "password": "wrong", "device": PHONE})


async def a_fresh_token(world: World, person: Person) -> Ask:
    return Ask("/auth/refresh", {"refresh_token": person.refresh_token})


async def a_spent_token(world: World, person: Person) -> Ask:
    await person.api.call("POST", "/auth/refresh", {"refresh_token": person.refresh_token})
    world.clock.advance(seconds=3_600)
    return await a_fresh_token(world, person)


async def own_device(world: World, person: Person) -> Ask:
    return Ask(f"/auth/devices/{person.device}", token=person.token)


async def own_device_renamed(world: World, person: Person) -> Ask:
    return Ask(f"/auth/devices/{person.device}", {"name": "New"}, token=person.token)


async def a_fork_to_another_device(world: World, person: Person) -> Ask:
    await world.api.login(person, install_id="another")
    return Ask("/auth/devices", {"fork_at": 1, "install_id": "another"}, token=person.token)


AUTH = {
    "register": Row(
        a_new_person,
        {
            "email_taken": one_who_is_there,
            "weak_password": a_new_person_with_a_weak_password,
            "origin_refused": browser_of_another_site(a_new_person),
        },
    ),
    "login": Row(
        back_again,
        {
            "invalid_credentials": with_a_wrong_password,
            "second_factor_required": without_the_second_factor,
            "second_factor_invalid": with_a_wrong_code,
            "origin_refused": browser_of_another_site(back_again),
        },
        others="all",
    ),
    "refresh": Row(
        a_fresh_token,
        {
            "invalid_refresh_token": fixed("/auth/refresh", {"refresh_token": "none"}),
            "refresh_token_reused": a_spent_token,
            "origin_refused": browser_of_another_site(a_fresh_token),
        },
        others="all",
    ),
    "logout": Row(
        fixed("/auth/logout", {}),
        {"origin_refused": browser_of_another_site(fixed("/auth/logout", {}))},
    ),
    "list_devices": Row(fixed("/auth/devices")),
    "fork_device": Row(
        fixed("/auth/devices", {"fork_at": 1}),
        {
            "gap": fixed("/auth/devices", {"fork_at": 9}),
            "already_exists": a_fork_to_another_device,
        },
    ),
    # Devices are counted by each person from 1: the same path is somebody else's own device.
    "rename_device": Row(own_device_renamed, others="own"),
    "revoke_device": Row(own_device, others="own"),
    "public_keys": Row(fixed("/.well-known/jwks.json")),
}


# -- workouts ------------------------------------------------------------------------------------------


async def an_open_link(world: World, person: Person) -> Ask:
    state = await world.workout(person)
    link = await person.call("POST", f"/workouts/{state['id']}/share", {"fields": ["title"]})
    token = link.body["url"].rpartition("/")[2]
    return Ask(f"/workouts/shared/{token}")


async def a_link_by_its_id(world: World, person: Person) -> Ask:
    state = await world.workout(person)
    link = await person.call("POST", f"/workouts/{state['id']}/share", {"fields": ["title"]})
    return Ask(f"/workouts/shared/{link.body['id']}", token=person.token)


async def a_workout_twice(world: World, person: Person) -> Ask:
    state = await world.workout(person)
    return Ask("/workouts", {"id": state["id"]}, token=person.token)


async def an_exercise_where_a_slot_is_logged(world: World, person: Person) -> Ask:
    entry = str(uuid.uuid4())
    plan = [{"entry": entry, "exercise": "squat", "position": "V", "sets": [{"slot": 1}]}]
    state = await person.workout(plan=plan)
    path = f"/workouts/{state['id']}/set"
    state = await person.put(f"{path}/0", {"slot": 1, "reps": 5}, state["rev"])
    headers = {"If-Match": f'"{state["rev"]}"'}
    return Ask(f"{path}/1", {"slot": 1, "reps": 5}, headers, token=person.token)


def edge(tail: str, json: Any, *, started: bool) -> Row:
    """A route that moves a workout from one state to the next."""
    return Row(
        on_workout(tail, json, started=started),
        {
            "illegal_edge": on_workout(tail, json, started=not started),
            "limit": on_full(tail, json, started=started),
        },
    )


async def a_paused_one(world: World, person: Person) -> Ask:
    state = await world.workout(person, started=True)
    await person.post(f"/workouts/{state['id']}/pause")
    return Ask(f"/workouts/{state['id']}/resume", {}, token=person.token)


async def a_paused_one_that_is_full(world: World, person: Person) -> Ask:
    ask = await a_paused_one(world, person)
    state = await person.call("GET", ask.path.removesuffix("/resume"))
    await world.full(person, state.body)
    return ask


async def one_that_is_over(world: World, person: Person) -> Ask:
    state = await world.workout(person, started=True)
    await person.post(f"/workouts/{state['id']}/complete", {})
    return Ask(f"/workouts/{state['id']}/abandon", {}, token=person.token)


WORKOUTS = {
    "list_shares": Row(fixed("/workouts/shared")),
    "open_share": Row(an_open_link, others="all"),
    "revoke_share": Row(a_link_by_its_id),
    "share_workout": Row(on_workout("/share", {"fields": ["title"]})),
    "list_workouts": Row(fixed("/workouts")),
    "create_workout": Row(
        fixed("/workouts", {"title": "Legs"}),
        {
            "already_exists": a_workout_twice,
            "bad_value": fixed("/workouts", {"plan": [{**MANY[0], "target": DEEP}]}),
            "limit": fixed("/workouts", {"plan": MANY}),
        },
    ),
    "get_workout": Row(on_workout("")),
    "edit_workout": Row(
        on_workout("", {"title": "Arms"}, conditional=True),
        {"limit": on_full("", {"title": "Arms"})},
    ),
    "remove_workout": Row(on_workout("", conditional=True), {"limit": on_full("")}),
    "start_workout": edge("/start", {}, started=False),
    "pause_workout": edge("/pause", {"reason": "phone"}, started=True),
    "resume_workout": Row(
        a_paused_one, {"illegal_edge": on_workout("/resume", {}), "limit": a_paused_one_that_is_full}
    ),
    "rest": Row(
        on_workout("/rest", {"seconds": 60}, started=True),
        {
            "illegal_edge": on_workout("/rest", {"seconds": 60}),
            "limit": on_full("/rest", {"seconds": 60}, started=True),
        },
    ),
    "complete_workout": edge("/complete", {"rating": 5}, started=True),
    "abandon_workout": Row(
        on_workout("/abandon", {}, started=True),
        {"illegal_edge": one_that_is_over, "limit": on_full("/abandon", {}, started=True)},
    ),
    "write_exercise": Row(
        on_workout("/exercise/0", {"exercise": "squat"}, conditional=True),
        {
            "bad_value": on_workout("/exercise/0", {"exercise": "squat", "target": DEEP}, conditional=True),
            "limit": on_full("/exercise/0", {"exercise": "squat"}),
        },
    ),
    "remove_exercise": Row(
        on_workout("/exercise/0", conditional=True, sets=1), {"limit": on_full("/exercise/0", sets=1)}
    ),
    "write_set": Row(
        on_workout("/set/1", {"reps": 5}, conditional=True, sets=1),
        {
            "already_exists": an_exercise_where_a_slot_is_logged,
            "limit": on_full("/set/1", {"reps": 5}, sets=1),
        },
    ),
    "remove_set": Row(on_workout("/set/0", conditional=True, sets=1), {"limit": on_full("/set/0", sets=1)}),
}


# -- sync and health -----------------------------------------------------------------------------------


def pushed(*ops: dict[str, Any], first: bool = False, **more: Any) -> Way:
    """A push of ops (as `World.op` makes them of these), after a `first` good one."""

    async def way(world: World, person: Person) -> Ask:
        if first:
            answer = await person.call("POST", "/sync/push", {"ops": [world.op()]})
            assert answer.status == 200, answer.body
        body = {"ops": [world.op(**op) for op in ops], **more}
        return Ask("/sync/push", body, token=person.token)

    return way


SYNC = {
    "push_ops": Row(
        pushed({}),
        {
            "bad_request": pushed({"kind": 7}),
            "gap": pushed({"n": 5}),
            "equivocation": pushed({"at": 1}, first=True),
            "base_ahead": pushed({"base": 9}),
            "epoch": pushed({}, epoch="another"),
            "too_many": pushed(*({"n": n} for n in range(1, 502))),
        },
    ),
    "pull_records": Row(
        fixed("/sync/pull"),
        {"bad_request": fixed("/sync/pull?after=99"), "epoch": fixed("/sync/pull?epoch=another")},
    ),
    "snapshot": Row(
        fixed("/sync/snapshot"),
        {"bad_request": fixed("/sync/snapshot?at=99"), "epoch": fixed("/sync/snapshot?epoch=another")},
    ),
    "list_void": Row(fixed("/sync/void")),
}


async def while_draining(world: World, person: Person) -> Ask:
    app: Any = world.api.client.app
    app[HEALTH].draining = True
    return Ask("/health/ready")


HEALTH_ROWS = {
    "health": Row(fixed("/health")),
    "health_live": Row(fixed("/health/live")),
    "health_ready": Row(fixed("/health/ready"), {"unavailable": while_draining}),
}

ROWS: dict[str, Row] = {**AUTH, **ACCOUNTS, **WORKOUTS, **GROUPS, **SYNC, **HEALTH_ROWS}
