"""The workouts routes. Writes are ops of the caller's API device; see `plans` for what each one means."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from fitai.gateways.identity import Identity
from fitai.gateways.live.jobs import Done, Key, StateAt
from fitai.http.conditional import IfMatch, etag
from fitai.http.frame import Reply, Routes
from fitai.http.workouts import plans
from fitai.http.workouts.plans import Plan
from fitai.http.workouts.schemas import (
    Complete,
    ExercisePath,
    ExerciseWrite,
    ListQuery,
    Nothing,
    Reasoned,
    Rest,
    SetPath,
    SetWrite,
    ShareCreate,
    SharedWorkout,
    ShareLink,
    SharePath,
    Shares,
    Workout,
    WorkoutCreate,
    WorkoutEdit,
    WorkoutPage,
    WorkoutPath,
)
from fitai.http.workouts.service import WorkoutService
from fitai.http.workouts.share import ShareService

WORKOUTS: web.AppKey[WorkoutService] = web.AppKey("fitai_workouts", WorkoutService)
SHARES: web.AppKey[ShareService] = web.AppKey("fitai_shares", ShareService)

routes = Routes("workouts")
sharing = Routes("sharing")


async def _shown(request: web.Request, caller: Identity, state: StateAt, **more: Any) -> Reply:
    """A workout's state, and the group that it is part of."""
    group = await request.app[WORKOUTS].group_of(caller.user, state.document["id"])
    return Reply({**state.document, "group": group}, etag=etag(state.rev, group), **more)


def _replayed(done: Done) -> dict[str, str]:
    return {"Idempotency-Replayed": "true"} if done.replayed else {}


async def _write(request: web.Request, caller: Identity, workout: str, plan: Plan, **given: Any) -> Reply:
    done = await request.app[WORKOUTS].write(caller, workout, plan, **given)
    return await _shown(request, caller, done.state, headers=_replayed(done))


# -- sharing: before `/workouts/{id}`, so that `shared` is never read as an id ------------------------


@sharing.get("/workouts/shared", response=Shares, scope="workouts:read")
async def list_shares(request: web.Request, caller: Identity) -> Shares:
    """List the links that you gave and that are still open."""
    return Shares(shares=await request.app[SHARES].mine(caller.user))


@sharing.get("/workouts/shared/{share}", response=SharedWorkout)
async def open_share(request: web.Request, path: SharePath) -> Reply:
    """Open a shared workout by its token.

    Needs no account. Shows the chosen fields as they are now.
    """
    return Reply(await request.app[SHARES].open(path.share))


@sharing.delete("/workouts/shared/{share}", status=204, scope="workouts:write")
async def revoke_share(request: web.Request, caller: Identity, path: SharePath) -> None:
    """Revoke a link by its id."""
    await request.app[SHARES].revoke(caller.user, path.share)


@sharing.post("/workouts/{id}/share", status=201, response=ShareLink, scope="workouts:write")
async def share_workout(
    request: web.Request, caller: Identity, path: WorkoutPath, body: ShareCreate, key: Key | None
) -> ShareLink:
    """Make a link to chosen fields of a workout."""
    return await request.app[SHARES].create(caller, path.id, body, key)


# -- workouts ----------------------------------------------------------------------------------------


@routes.get("/workouts", response=WorkoutPage, scope="workouts:read")
async def list_workouts(request: web.Request, caller: Identity, query: ListQuery) -> WorkoutPage:
    """List your workouts, newest first."""
    return await request.app[WORKOUTS].page(caller.user, query)


@routes.post(
    "/workouts",
    status=201,
    response=Workout,
    etag=True,
    errors=("already_exists", "bad_value", "limit"),
    scope="workouts:write",
)
async def create_workout(
    request: web.Request, caller: Identity, body: WorkoutCreate, key: Key | None
) -> Reply:
    """Create a workout."""
    done = await request.app[WORKOUTS].create(caller, body, key)
    headers = {"Location": f"/workouts/{done.state.document['id']}", **_replayed(done)}
    return await _shown(request, caller, done.state, headers=headers)


@routes.get("/workouts/{id}", response=Workout, etag=True, scope="workouts:read")
async def get_workout(request: web.Request, caller: Identity, path: WorkoutPath) -> Reply:
    """Read a workout's state."""
    state = await request.app[WORKOUTS].state(caller.user, path.id)
    return await _shown(request, caller, state)


@routes.put("/workouts/{id}", response=Workout, etag=True, errors=("limit",), scope="workouts:write")
async def edit_workout(
    request: web.Request,
    caller: Identity,
    path: WorkoutPath,
    body: WorkoutEdit,
    if_match: IfMatch,
    key: Key | None,
) -> Reply:
    """Change a workout's own fields.

    What is given is written, null clears, the rest stays.
    """
    plan = plans.edit(body)
    return await _write(request, caller, path.id, plan, if_match=if_match, key=key)


@routes.delete("/workouts/{id}", status=204, errors=("limit",), scope="workouts:write")
async def remove_workout(
    request: web.Request, caller: Identity, path: WorkoutPath, if_match: IfMatch, key: Key | None
) -> None:
    """Remove a workout."""
    await request.app[WORKOUTS].write(caller, path.id, plans.remove(), if_match=if_match, key=key)


_EDGE = {
    "response": Workout,
    "etag": True,
    "errors": ("illegal_edge", "limit"),
    "scope": "workouts:write",
}


@routes.post("/workouts/{id}/start", **_EDGE)
async def start_workout(
    request: web.Request, caller: Identity, path: WorkoutPath, body: Nothing, key: Key | None
) -> Reply:
    """Start a planned workout."""
    plan = plans.edge("start", body.given())
    return await _write(request, caller, path.id, plan, key=key)


@routes.post("/workouts/{id}/pause", **_EDGE)
async def pause_workout(
    request: web.Request, caller: Identity, path: WorkoutPath, body: Reasoned, key: Key | None
) -> Reply:
    """Pause an active workout."""
    plan = plans.edge("pause", body.given())
    return await _write(request, caller, path.id, plan, key=key)


@routes.post("/workouts/{id}/resume", **_EDGE)
async def resume_workout(
    request: web.Request, caller: Identity, path: WorkoutPath, body: Nothing, key: Key | None
) -> Reply:
    """Resume a paused workout where it was interrupted."""
    plan = plans.edge("resume", body.given())
    return await _write(request, caller, path.id, plan, key=key)


@routes.post("/workouts/{id}/rest", **_EDGE)
async def rest(
    request: web.Request, caller: Identity, path: WorkoutPath, body: Rest, key: Key | None
) -> Reply:
    """Start, extend or skip a rest."""
    plan = plans.rest(body)
    return await _write(request, caller, path.id, plan, key=key)


@routes.post("/workouts/{id}/complete", **_EDGE)
async def complete_workout(
    request: web.Request, caller: Identity, path: WorkoutPath, body: Complete, key: Key | None
) -> Reply:
    """Complete a workout."""
    plan = plans.edge("complete", body.given())
    return await _write(request, caller, path.id, plan, key=key)


@routes.post("/workouts/{id}/abandon", **_EDGE)
async def abandon_workout(
    request: web.Request, caller: Identity, path: WorkoutPath, body: Reasoned, key: Key | None
) -> Reply:
    """Abandon a workout."""
    plan = plans.edge("abandon", body.given())
    return await _write(request, caller, path.id, plan, key=key)


_WRITE = {"response": Workout, "etag": True, "scope": "workouts:write"}


@routes.put("/workouts/{id}/exercise/{exerciseIndex}", errors=("bad_value", "limit"), **_WRITE)
async def write_exercise(
    request: web.Request,
    caller: Identity,
    path: ExercisePath,
    body: ExerciseWrite,
    if_match: IfMatch,
    key: Key | None,
) -> Reply:
    """Change an exercise of a workout, or add one.

    `exerciseIndex` counts the exercises in their order, from 0; their number adds one at the end.
    """
    plan = plans.write_exercise(path.exerciseIndex, body)
    return await _write(request, caller, path.id, plan, if_match=if_match, key=key)


@routes.delete("/workouts/{id}/exercise/{exerciseIndex}", errors=("limit",), **_WRITE)
async def remove_exercise(
    request: web.Request, caller: Identity, path: ExercisePath, if_match: IfMatch, key: Key | None
) -> Reply:
    """Remove an exercise from a workout."""
    plan = plans.remove_exercise(path.exerciseIndex)
    return await _write(request, caller, path.id, plan, if_match=if_match, key=key)


@routes.put("/workouts/{id}/set/{setIndex}", errors=("already_exists", "limit"), **_WRITE)
async def write_set(
    request: web.Request,
    caller: Identity,
    path: SetPath,
    body: SetWrite,
    if_match: IfMatch,
    key: Key | None,
) -> Reply:
    """Change a set of a workout, or log one.

    `setIndex` counts all sets of the workout from 0, in the order of its exercises; their number logs a new
    one. A set that is done now is logged as on a device: a planned workout starts, a rest ends, a new one
    begins if `rest_s` or the plan says so. Any other change is a correction.
    """
    plan = plans.write_set(path.setIndex, body)
    return await _write(request, caller, path.id, plan, if_match=if_match, key=key)


@routes.delete("/workouts/{id}/set/{setIndex}", errors=("limit",), **_WRITE)
async def remove_set(
    request: web.Request, caller: Identity, path: SetPath, if_match: IfMatch, key: Key | None
) -> Reply:
    """Remove a set from a workout."""
    plan = plans.remove_set(path.setIndex)
    return await _write(request, caller, path.id, plan, if_match=if_match, key=key)
