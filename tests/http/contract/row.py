"""What a row of the contract is made of; see `rows`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.http.conftest import Person
from tests.http.contract.world import Ask, Way, World


@dataclass(frozen=True, slots=True)
class Row:
    """A route's part of the contract (see the module)."""

    ask: Way
    ways: Mapping[str, Way] = field(default_factory=dict)
    others: Literal["not_found", "own", "all", "forbidden"] | None = None


def fixed(path: str, json: Any = None, **headers: str) -> Way:
    """The same request for everybody."""

    async def way(world: World, person: Person) -> Ask:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Ask(path, json, named, token=person.token)

    return way
