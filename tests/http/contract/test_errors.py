"""Every route grants what it should, and every code that the documents name for it is produced."""

from __future__ import annotations

import pytest

from fitai.http.app import ROUTES
from fitai.http.frame import Route
from fitai.http.problems import CATALOGUE, CONTENT_TYPE
from tests.http.conftest import MakeApi
from tests.http.contract.rows import ROWS
from tests.http.contract.ways import GENERAL
from tests.http.contract.world import Told, World, open_world

BY_THE_FRAMEWORK = {"method_not_allowed", "internal"}  # of no route: see test_frame


async def produced(world: World, route: Route, code: str) -> Told:
    row = ROWS[route.name]
    if code in row.ways:
        return await world.send(route, await row.ways[code](world, await world.person()))
    return await GENERAL[code](world, route, row)


def test_every_route_has_a_row_and_every_code_a_way():
    assert ROWS.keys() == {route.name for route in ROUTES}, "add the route to tests/http/contract/rows.py"
    missing = [
        f"{route.name}: {code}"
        for route in ROUTES
        for code in route.errors
        if code not in ROWS[route.name].ways and code not in GENERAL
    ]
    assert not missing, "say in its row how each is met"
    never = [f"{name}: {code}" for name, row in ROWS.items() for code in {*row.ways} - {*_errors(name)}]
    assert not never, "the route does not document them"


def test_every_code_of_the_catalogue_is_of_some_route():
    assert {code for route in ROUTES for code in route.errors} == CATALOGUE.keys() - BY_THE_FRAMEWORK


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_a_route_grants_what_it_should_and_refuses_by_each_documented_code(
    route: Route, make_api: MakeApi
):
    world = await open_world(make_api)

    granted = await world.send(route, await ROWS[route.name].ask(world, await world.person()))
    assert granted.status == route.status, granted.body
    told = {code: await produced(world, route, code) for code in route.errors}

    assert {code: answer.code for code, answer in told.items()} == {code: code for code in route.errors}
    for code, answer in told.items():
        assert answer.status == CATALOGUE[code].status
        assert answer.body["type"].endswith(f"/docs/errors#{code}")
        assert answer.headers["Content-Type"].startswith(CONTENT_TYPE)
        if answer.status in (429, 503) and "checks" not in answer.body:
            assert int(answer.headers["Retry-After"]) >= 1


def _errors(name: str) -> tuple[str, ...]:
    return next(route.errors for route in ROUTES if route.name == name)
