"""No route asks the database once per row: what it costs does not grow with what somebody has.

Every GET route has a row in `READS`: how to ask it, and how many statements it may take. A person with little
and one with much must cost the same, on a server that has just started and on one that has answered before. A
new route without a row fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import Engine, event

from fitai.gateways import occasion
from fitai.http.app import ROUTES
from fitai.persistence.group_results import GroupResults, Result
from fitai.persistence.one_time import OneTimeTokens, Purpose
from fitai.persistence.users import ADMIN, Users
from tests.http.conftest import LIMITS, Person
from tests.http.groups.conftest import Class, opened
from tests.http.sync.conftest import RestDevice, new_id

LITTLE, MUCH = 2, 45
STILL = replace(LIMITS, look_s=600.0)  # nothing asks by itself


@dataclass(frozen=True)
class Read:
    """A request, and the most statements that answering it takes when it has been answered before.

    `{workout}`, `{secret}`, `{proof}`, `{leaving}`, `{group}`, `{code}` in the path are the person's.
    `public` ones take no token, of those that have one the `page` is asked for.
    """

    path: str
    warm: int
    public: bool = False
    page: bool = False


READS = {
    "/auth/devices": Read("/auth/devices", 2),
    "/auth/tokens": Read("/auth/tokens", 2),
    "/auth/verify-email": Read("/auth/verify-email?token={proof}", 4, public=True, page=True),
    "/auth/reset-password": Read("/auth/reset-password?token={proof}", 0, public=True, page=True),
    "/users/profile": Read("/users/profile", 3),
    "/users/profile/keep": Read("/users/profile/keep?token={leaving}", 4, public=True, page=True),
    "/users/second-factor": Read("/users/second-factor", 3),
    "/users/security-log": Read("/users/security-log?limit=50", 2),
    "/.well-known/jwks.json": Read("/.well-known/jwks.json", 0, public=True),
    "/workouts/shared": Read("/workouts/shared", 2),
    "/workouts/shared/{share}": Read("/workouts/shared/{secret}", 2, public=True),
    "/workouts": Read("/workouts?limit=50", 4),
    "/workouts/{id}": Read("/workouts/{workout}", 3),
    "/groups": Read("/groups?limit=50", 2),
    "/groups/{id}": Read("/groups/{group}", 1),
    "/groups/{id}/records": Read("/groups/{group}/records?limit=500", 2),
    "/groups/{id}/results": Read("/groups/{group}/results", 3),
    "/groups/invites/{code}": Read("/groups/invites/{code}", 4),
    "/join/{code}": Read("/join/{code}", 2, public=True, page=True),
    "/blocks": Read("/blocks", 2),
    "/moderation/reports": Read("/moderation/reports?limit=50", 3),
    "/sync/pull": Read("/sync/pull?after=0&limit=500", 3),
    "/sync/snapshot": Read("/sync/snapshot?limit=50", 4),
    "/sync/void": Read("/sync/void?limit=50", 4),
    "/health": Read("/health", 2, public=True),
    "/health/live": Read("/health/live", 0, public=True),
    "/health/ready": Read("/health/ready", 5, public=True),
}


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that run meanwhile on somebody's behalf; what a node looks after by itself is not."""
    statements: list[str] = []

    def count(_connection, _cursor, statement, *_):
        if occasion.NOW.get() is not None:
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", count)


async def live(person: Person, size: int) -> dict[str, str]:
    """Workouts with sets, links to them, refused ops and devices, `size` of each, as far as one may."""
    phone = RestDevice(person)
    secret = workout = ""
    for number in range(size):
        workout, entry = new_id(), new_id()
        value = {"exercise_entry": entry, "type": "working", "reps": 5, "load": {"value": 60, "unit": "kg"}}
        await phone.pushed(
            phone.op("workout.create", workout, {"title": f"number {number}"}),
            phone.op("workout.start", workout),
            phone.op("exercise.add", workout, {"exercise": "squat", "position": "a"}, entity=entry),
            *(phone.op("set.log", workout, value, entity=new_id()) for _ in range(3)),
            phone.op("workout.resume", workout),  # it is not paused: refused
            phone.op("workout.complete", workout),
        )
        answer = await person.call("POST", f"/workouts/{workout}/share", {"fields": ["title"]})
        assert answer.status == 201, answer.body
        secret = answer.body["token"]
    for _ in range(min(size, 20)):
        await person.api.login(person)
    group = await train_together(person, size, workout)
    host = await person.api.hosts.open(person.id)
    await host.flush()
    proof, leaving = [await mailed(person, what) for what in (Purpose.VERIFY_EMAIL, Purpose.KEEP_ACCOUNT)]
    names = {"workout": workout, "secret": secret, "proof": proof, "leaving": leaving}
    return {**names, "group": group.id, "code": group.code}


async def train_together(person: Person, size: int, workout: str) -> Class:
    """Groups, and in the last of them `size` members with a line each in its table and a message that is
    reported, and whom the person does not want to meet."""
    group = await opened(person)
    for _ in range(size - 1):
        group = await opened(person)
    await group.call(person, "PATCH", "/you", {"workout": workout})
    for member in range(2, size + 2):
        other = await person.api.register()
        await group.join(other)
        said = await group.do(other, "chat.say", text="rude")
        dot = [[record.device, record.op.n] for record in said.records][-1]
        await group.call(person, "POST", "/reports", {"dot": dot, "reason": "insult"})
        assert (await person.call("POST", "/blocks", {"group": group.id, "member": member})).status == 201
    now = person.api.clock()
    async with person.api.db.write() as session:
        await Users(session).set_role(person.id, ADMIN)
        lines = [Result(no, no, 9, None, 1, 9, 0, 0, 0, 0) for no in range(1, size + 2)]
        await GroupResults(session).write(group.id, lines, now)
    return group


async def mailed(person: Person, purpose: Purpose) -> str:
    """The token of a link."""
    async with person.api.db.write() as session:
        tokens, now = OneTimeTokens(session), person.api.clock()
        return await tokens.issue(person.id, purpose, person.email, now=now, life_ms=60_000)


def test_every_get_route_has_a_row():
    assert READS.keys() == {route.path for route in ROUTES if route.method == "GET"}


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_what_an_answer_costs_does_not_grow_with_what_a_person_has(make_api, database_url):
    before = await make_api(database_url)
    sizes = (1, LITTLE, MUCH)  # the first meets what a server does at its start, and is not looked at
    people = [await before.register() for _ in sizes]
    theirs = [await live(person, size) for person, size in zip(people, sizes, strict=True)]
    wrong = []
    for route, read in READS.items():
        api = await make_api(database_url, limits=STILL)  # nothing is known to it
        taken = []
        for person, names in zip(people, theirs, strict=True):
            costs = []
            for _ in range(3):
                token = None if read.public else person.token
                headers = {"Accept": "text/html"} if read.page else {}
                with counted() as statements:
                    answer = await api.call("GET", read.path.format(**names), token=token, **headers)
                assert answer.status == 200, (route, answer.body)
                costs.append(len(statements))
            taken.append(costs)
        _, little, much = taken
        grows = much[0] > little[0] or min(much[1:]) > min(little[1:])
        if grows or min(much[1:]) > read.warm:
            wrong.append((route, little, much))
    assert not wrong
