"""What a code opens, for who has an account and for who has none; and what guessing comes to."""

from __future__ import annotations

import re

import pytest

from fitai.gateways.counts import MemoryCounts
from tests.http.conftest import Clock, MakeApi
from tests.http.groups.conftest import TABATA, opened

STRANGE = ("AAAAAAAAAA", "x", "%20", "ü", "0" * 64)
HTML = {"Accept": "text/html,application/xhtml+xml"}


async def test_a_code_shows_what_it_opens_and_joins_nobody(group, ada, bob):
    seen = await bob.call("GET", f"/groups/invites/{group.code.lower()}")

    assert seen.status == 200
    assert seen.body == {
        "group": group.id,
        "title": "Class",
        "format": {**seen.body["format"], **TABATA},
        "status": "lobby",
        "members": 1,
        "capacity": None,
        "host": "Athlete",
    }
    assert ada.email not in str(seen.body)
    assert len((await group.seen_by(ada))["members"]) == 1


async def test_a_link_leads_programs_to_json_and_people_to_a_page(group, ada):
    await ada.call("PATCH", "/users/profile", {"display_name": "<b>Ada</b>"})
    second = await opened(ada, title="Legs & <i>arms</i>")
    told = await ada.api.call("GET", f"/join/{second.code}")
    assert told.status == 200
    assert (told.body["title"], told.body["host"]) == ("Legs & <i>arms</i>", "<b>Ada</b>")
    assert (told.body["code"], told.body["app"]) == (second.code, f"fitai://join/{second.code}")

    async with ada.api.client.get(f"/join/{second.code}", headers=HTML) as response:
        text = await response.text()
        policy = response.headers["Content-Security-Policy"]
        assert (response.status, response.content_type) == (200, "text/html")
    assert "Legs &amp; &lt;i&gt;arms&lt;/i&gt;" in text
    assert "&lt;b&gt;Ada&lt;/b&gt;" in text
    assert f'href="fitai://join/{second.code}"' in text
    assert "<script" not in text
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert response.headers["Cache-Control"] == "no-store"


async def test_a_link_that_opens_nothing_says_so(group, ada):
    await ada.post(f"/groups/{group.id}/invite")
    for code, why in [(group.code, "invite_over"), *((c, "not_found") for c in STRANGE)]:
        assert (await ada.api.call("GET", f"/join/{code}")).code == why
        assert (await ada.call("GET", f"/groups/invites/{code}")).code == why
    for code, status, words in [(group.code, 410, "The invitation is over"), ("x", 404, "Not found")]:
        async with ada.api.client.get(f"/join/{code}", headers=HTML) as response:
            assert (response.status, response.content_type) == (status, "text/html")
            assert words in await response.text()


@pytest.fixture
async def strict(make_api: MakeApi):
    """A server that counts."""
    clock = Clock()
    return await make_api(clock=clock, counts=MemoryCounts(clock))


def wrong(n: int) -> str:
    return f"WRONG{n:05}".replace("O", "0")


async def test_who_guesses_codes_is_told_to_wait_and_the_right_one_does_not_help_then(strict):
    ada, eve = await strict.register(), await strict.register()
    group = await opened(ada)
    answers = [await eve.call("POST", "/groups/join", {"code": wrong(n)}) for n in range(12)]

    assert [answer.status for answer in answers] == [404] * 10 + [429] * 2
    assert answers[-1].code == "later"
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert (await eve.call("POST", "/groups/join", {"code": group.code})).status == 429
    assert (await eve.call("GET", f"/groups/invites/{group.code}")).status == 429
    strict.clock.advance(seconds=2 * 3_600)
    eve = await strict.login(eve)
    assert (await eve.call("POST", "/groups/join", {"code": group.code})).status == 200


async def test_codes_that_open_are_not_counted(strict):
    ada, bob = await strict.register(), await strict.register()
    group = await opened(ada)

    answers = [await bob.call("GET", f"/groups/invites/{group.code}") for _ in range(30)]

    assert {answer.status for answer in answers} == {200}


async def test_who_has_no_account_is_counted_by_address(strict):
    group = await opened(await strict.register())
    statuses = [(await strict.call("GET", f"/join/{wrong(n)}")).status for n in range(40)]

    assert statuses == [404] * 30 + [429] * 10
    async with strict.client.get(f"/join/{group.code}", headers=HTML) as response:
        assert (response.status, response.content_type) == (429, "text/html")
        assert int(response.headers["Retry-After"]) >= 1


async def test_codes_are_not_numbers_in_a_row(ada):
    codes = {(await opened(ada)).code for _ in range(5)}

    assert len(codes) == 5
    assert all(re.fullmatch("[0-9A-HJKMNP-TV-Z]{10}", code) for code in codes)
