"""Groups over REST: people who make, join and drive them; what sockets alone can do is done in the room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from fitai.gateways.identity import Identity
from tests.http.conftest import Answer, Api, Person

TABATA = {"type": "tabata", "stations": [{"exercise": "squat"}, {"exercise": "push_up"}]}
LED = {"type": "led", "steps": [{"title": "Warm up"}, {"exercise": "squat"}, {"exercise": "row"}]}
VOLUME_RACE = {"type": "race", "measure": {"of": "volume"}, "limit_ms": 600_000}


def identity(person: Person) -> Identity:
    return Identity(person.id, person.device, 2**53)


@dataclass
class Class:
    """A group, and its host."""

    api: Api
    host: Person
    id: str
    code: str

    async def call(self, person: Person, method: str, tail: str, json: Any = None, **headers: str) -> Answer:
        return await person.call(method, f"/groups/{self.id}{tail}", json, **headers)

    async def seen_by(self, person: Person) -> dict[str, Any]:
        answer = await self.call(person, "GET", "")
        assert answer.status == 200, answer.body
        return dict(answer.body)

    async def join(self, person: Person, **body: Any) -> dict[str, Any]:
        answer = await person.call("POST", "/groups/join", {"code": self.code, **body})
        assert answer.status == 200, answer.body
        return dict(answer.body)

    async def do(self, person: Person, kind: str, **value: Any) -> Any:
        """What has no route: an op in the room."""
        room = await self.api.rooms.open(self.id)
        return await room.act(identity(person), kind, value)

    async def live(self) -> None:
        """It has begun."""
        answer = await self.call(self.host, "POST", "/start", {"in_ms": 1_000})
        assert answer.status == 200, answer.body
        self.api.clock.advance(seconds=1)


async def opened(host: Person, **body: Any) -> Class:
    """A new group of this host's."""
    answer = await host.call("POST", "/groups", {"title": "Class", "format": TABATA, **body})
    assert answer.status == 201, answer.body
    return Class(host.api, host, answer.body["id"], answer.body["code"])


@pytest.fixture
async def group(ada: Person) -> Class:
    """A group that ada hosts."""
    return await opened(ada)
