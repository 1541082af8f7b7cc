"""What was refused: a person can see it, page by page, and take it away as a table."""

from __future__ import annotations

import csv
import io

import orjson
import pytest

from fitai.http.sync import service
from fitai.http.sync.export import COLUMNS
from tests.http.sync.conftest import RestDevice, new_id


async def refuse(device, count):
    """Start a workout again and again."""
    workout = new_id()
    kinds = ["workout.create", *["workout.start"] * (count + 1)]
    await device.pushed(*(device.op(kind, workout) for kind in kinds))
    return workout


async def table(person):
    headers = {"Authorization": f"Bearer {person.token}", "Accept": "text/csv"}
    async with person.api.client.get("/sync/void", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert "attachment" in response.headers["Content-Disposition"]
        return list(csv.reader(io.StringIO((await response.read()).decode(), newline="")))


async def test_what_was_refused_is_listed_with_the_reason_newest_first(phone):
    workout = await refuse(phone, 2)
    answer = await phone.get("void")
    assert answer.status == 200
    assert [record["seq"] for record in answer.body["records"]] == [4, 3]
    newest = answer.body["records"][0]
    assert (newest["workout"], newest["kind"], newest["verdict"]) == (workout, "workout.start", "void")
    assert (newest["code"], newest["detail"]) == ("illegal_edge", {"from": "active", "trigger": "start"})
    assert (answer.body["ok"], answer.body["head"], answer.body["next"]) == (True, 4, None)


async def test_it_comes_in_pages(phone):
    await refuse(phone, 5)
    first = (await phone.get("void", limit=2)).body
    await refuse(phone, 1)
    second = (await phone.get("void", limit=2, after=first["next"])).body
    third = (await phone.get("void", limit=2, after=second["next"])).body
    assert [record["seq"] for page in (first, second, third) for record in page["records"]] == [7, 6, 5, 4, 3]
    assert third["next"] is None


async def test_ops_of_all_devices_are_in_it_and_of_nobody_else(api, ada, bob, phone):
    watch = RestDevice(await api.login(ada, name="Watch"))
    await refuse(phone, 1)
    await refuse(watch, 1)
    await refuse(RestDevice(bob), 1)
    records = (await phone.get("void")).body["records"]
    assert [record["device"] for record in records] == [watch.person.device, ada.device]


async def test_the_table_holds_every_page(phone, monkeypatch):
    monkeypatch.setattr(service, "EXPORTED", 2)
    workout = await refuse(phone, 5)
    head, *rows = await table(phone.person)
    assert tuple(head) == COLUMNS
    assert [int(row[0]) for row in rows] == [7, 6, 5, 4, 3]
    row = dict(zip(head, rows[0], strict=True))
    assert (row["workout"], row["kind"], row["code"]) == (workout, "workout.start", "illegal_edge")
    assert row["time"].startswith("2026-01-01T00:00:00")
    assert orjson.loads(row["op"])["n"] == 7


async def test_a_table_of_nothing_has_its_head(phone):
    assert await table(phone.person) == [list(COLUMNS)]


async def test_an_op_does_not_become_a_formula(phone):
    workout = new_id()
    await phone.pushed(
        phone.op("workout.create", workout),
        phone.op("set.log", workout, {"exercise_entry": "=cmd|' /C calc'!A0", "type": '=1+1,"x"\r\n=2'}),
        phone.op("set.log", workout, {"type": "+1", "reps": -1}, entity=new_id(), at=-(2**53) + 1),
    )
    head, *rows = await table(phone.person)
    assert len(rows) == 2
    for row in rows:
        assert len(row) == len(head)
        assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in row)
    assert orjson.loads(rows[1][-1])["value"]["type"] == '=1+1,"x"\r\n=2', "and nothing of it is lost"


@pytest.mark.parametrize("after", ["x", "-1", "1" * 17, "٣"])
async def test_a_strange_cursor_is_told(phone, after):
    answer = await phone.get("void", after=after)
    assert (answer.status, answer.code, answer.body["ok"]) == (422, "validation_failed", False)
