"""The ring of signing keys: on two nodes of one database, by a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import Any

import jwt
import pytest
from sqlalchemy import event, text, update

from fitai.gateways.identity import NotAuthenticated
from fitai.http.auth import keys
from fitai.http.auth.keeper import AGE_MS, LOOK_GAP_MS, KeyKeeper
from fitai.http.auth.tokens import AccessTokens
from fitai.persistence.database import Database
from fitai.persistence.devices import Devices
from fitai.persistence.identity_models import SigningKey
from fitai.persistence.signing_keys import SigningKeys
from fitai.persistence.tokens import Tokens
from fitai.persistence.users import Users
from tests.http.conftest import START, Clock
from tests.keys import ring_of, ring_of_release_before

SECRET = "a secret for tests, which is long enough"
LIFE_MS = 15 * 60_000


class Node:
    """One process: its own connections to the database, its own ring."""

    def __init__(self, url: str, clock: Clock, secret: str = SECRET) -> None:
        self.db = Database.open(url)
        self.keeper = KeyKeeper(self.db, secret, clock, life_ms=LIFE_MS)
        self.tokens = AccessTokens(self.keeper, clock, life_ms=LIFE_MS)
        self.asked = 0
        event.listen(self.db.engine.sync_engine, "before_cursor_execute", self._count)

    def _count(self, *_: Any) -> None:
        self.asked += 1

    def issue(self) -> str:
        return self.tokens.issue("ada", 1)

    def signs(self) -> str:
        return str(jwt.get_unverified_header(self.issue()).get("kid"))

    async def honours(self, token: str) -> bool:
        return await self.refusal(token) is None

    async def refusal(self, token: str) -> str | None:
        try:
            await self.tokens.read(token)
        except NotAuthenticated as refused:
            return refused.code
        return None


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def nodes(database_url, clock):
    """Makes nodes on one database, SQLite and PostgreSQL."""
    made = []

    def make(secret: str = SECRET) -> Node:
        made.append(Node(database_url, clock, secret))
        return made[-1]

    yield make
    for node in made:
        await node.db.close()


async def signed_in(db: Database, now: int) -> None:
    """Somebody has signed in under the release before."""
    async with db.write() as session:
        user = await Users(session).create(
            email="ada@example.org", password_hash="x", display_name=None, now=now
        )
        enrolment = await Devices(session).enrol(
            user.id, name="phone", platform="ios", install_id=None, now=now, limit=5
        )
        await Tokens(session).issue(user.id, enrolment.device.id, now=now, ttl=86_400_000)


async def test_nodes_that_start_at_once_have_one_key_and_honour_each_other(nodes):
    here, there = nodes(), nodes()
    await asyncio.gather(here.keeper.tend(), there.keeper.tend())
    await here.keeper.tend()
    assert here.signs() == there.signs()
    assert len(here.keeper.ring.keys) == 1
    assert await here.honours(there.issue())
    assert await there.honours(here.issue())


async def test_a_key_is_published_before_it_signs_and_honoured_after_on_every_node(nodes, clock):
    here, there = nodes(), nodes()
    for node in (here, there):
        await node.keeper.tend()
    old, first = here.signs(), here.issue()

    new = (await here.keeper.rotate(at_once=False)).kid
    await there.keeper.tend()
    for node in (here, there):
        assert node.signs() == old, "the new one is only published yet"
        assert [key["kid"] for key in node.keeper.ring.published(clock())] == [old, new]

    clock.advance(seconds=keys.LEAD_MS / 1000 - 1)
    assert LIFE_MS > keys.LEAD_MS
    last = there.issue()
    clock.advance(seconds=1)
    assert here.signs() == there.signs() == new
    assert await here.honours(last)
    assert await here.honours(first)

    clock.advance(seconds=LIFE_MS / 1000 - 2)
    assert await here.honours(last), "a token lives as long as it was said to"
    clock.advance(seconds=keys.SKEW_MS / 1000 + 2)
    for node in (here, there):
        assert [key["kid"] for key in node.keeper.ring.published(clock())] == [new]
    assert await there.refusal(last) == "token_expired"


async def test_a_key_that_has_had_its_time_is_followed_by_one_that_one_node_makes(nodes, clock):
    here, there = nodes(), nodes()
    for node in (here, there):
        await node.keeper.tend()
    old = here.signs()
    clock.advance(seconds=AGE_MS / 1000 - 1)
    await here.keeper.tend()
    assert len(here.keeper.ring.keys) == 1
    clock.advance(seconds=1)
    await asyncio.gather(*(node.keeper.tend() for node in (here, there)))
    await here.keeper.tend()
    assert len(here.keeper.ring.keys) == len(there.keeper.ring.keys) == 2
    assert here.signs() == old
    clock.advance(seconds=keys.LEAD_MS / 1000)
    assert here.signs() == there.signs() != old


async def test_a_stolen_key_is_replaced_at_once_and_its_tokens_have_to_be_refreshed(nodes, clock):
    here, there = nodes(), nodes()
    for node in (here, there):
        await node.keeper.tend()
    stolen = here.issue()
    assert await there.honours(stolen)
    await here.keeper.rotate(at_once=True)
    assert await here.refusal(stolen) == "token_expired", "which a device answers with a refresh"
    fresh = here.issue()
    assert await there.honours(fresh), "a key that is not known is looked for at once"
    assert await there.refusal(stolen) == "token_expired", "also where it was verified before"


async def test_rotation_goes_on_by_itself_after_a_published_key_was_overtaken(nodes, clock):
    node = nodes()
    await node.keeper.tend()
    await node.keeper.rotate(at_once=False)
    await node.keeper.rotate(at_once=True)
    made = len(node.keeper.ring.keys)
    current = node.signs()
    clock.advance(seconds=AGE_MS / 1000)
    await node.keeper.tend()
    assert len([key for key in node.keeper.ring.keys if key.row.created_at == clock()]) == 1
    assert made == 3
    clock.advance(seconds=keys.LEAD_MS / 1000)
    assert node.signs() != current


async def test_a_node_whose_clock_is_behind_uses_the_key_that_is_there(nodes, clock, database_url):
    here = nodes()
    await here.keeper.tend()
    late = Clock()
    late.advance(seconds=-keys.SKEW_MS / 1000)
    there = Node(database_url, late)
    try:
        await there.keeper.tend()
        assert there.signs() == here.signs()
        await here.keeper.rotate(at_once=True)
        stolen = there.issue()
        await there.keeper.tend()
        assert there.signs() == here.signs()
        assert await there.refusal(stolen) == "token_expired"
    finally:
        await there.db.close()


async def test_a_flood_of_invented_keys_costs_one_look_a_second(nodes, clock):
    node = nodes()
    await node.keeper.tend()
    strangers = [AccessTokens(ring_of("x" * 40), clock).issue("ada", 1) for _ in range(50)]
    before = node.asked
    answers = await asyncio.gather(*(node.refusal(token) for token in strangers))
    assert set(answers) == {"unauthorized"}
    one_look = node.asked - before
    assert 0 < one_look <= 3
    assert {await node.refusal(token) for token in strangers} == {"unauthorized"}
    assert node.asked - before == one_look
    clock.advance(seconds=LOOK_GAP_MS / 1000)
    await node.refusal(strangers[0])
    assert node.asked - before == 2 * one_look


async def test_a_token_of_a_key_that_nobody_knows_any_more_is_told_that_it_has_expired(nodes, clock):
    node = nodes()
    await node.keeper.tend()
    token = node.issue()
    clock.advance(days=40)
    await node.keeper.rotate(at_once=False)
    clock.advance(days=40)
    await node.keeper.rotate(at_once=False)
    assert node.keeper.get(jwt.get_unverified_header(token)["kid"]) is None
    assert await node.refusal(token) == "token_expired"


# -- what is at rest -------------------------------------------------------------------------------


async def test_private_keys_are_not_readable_in_the_database(nodes):
    node = nodes()
    await node.keeper.tend()
    private = node.keeper.signer(START).private.private_bytes_raw()
    async with node.db.read() as session:
        rows = (await session.execute(text("SELECT * FROM signing_keys"))).all()
    assert private not in b"".join(bytes(value) for value in rows[0] if isinstance(value, bytes))


async def test_with_another_secret_key_a_node_makes_a_key_of_its_own_and_leaves_the_others_alone(nodes):
    here, there = nodes(), nodes("another secret, which is long enough")
    for node in (here, there, here, there):
        await node.keeper.tend()
    assert here.signs() != there.signs()
    assert await here.refusal(there.issue()) == "token_expired", "so that after a change devices refresh"
    assert [key["kid"] for key in there.keeper.ring.published(START)] == [there.signs()]
    assert len(here.keeper.ring.keys) <= len(there.keeper.ring.keys) == 2, "and they do not fight"


async def test_a_key_that_was_slipped_into_the_database_is_neither_honoured_nor_published(nodes, clock):
    node, forger = nodes(), ring_of("the forger's own secret, long enough")
    await node.keeper.tend()
    async with node.db.write() as session:
        await SigningKeys(session).add(forger.keys[0].row)
    await node.keeper.tend()
    assert not await node.honours(AccessTokens(forger, clock).issue("ada", 1))
    assert forger.keys[0].kid not in {key["kid"] for key in node.keeper.ring.published(START)}


async def test_a_public_key_that_was_changed_in_the_database_is_not_published(nodes):
    node = nodes()
    await node.keeper.tend()
    good = node.keeper.ring.published(START)
    async with node.db.write() as session:
        await session.execute(update(SigningKey).values(public={**good[0], "x": "A" * 43}))
    await node.keeper.tend()
    assert node.keeper.ring.published(START) == good


# -- the release before ----------------------------------------------------------------------------


async def test_as_long_as_nodes_of_the_release_before_may_run_tokens_are_as_they_know_them(nodes, clock):
    node = nodes()
    await signed_in(node.db, clock())
    before = AccessTokens(ring_of_release_before(SECRET), clock, life_ms=LIFE_MS)
    await node.keeper.tend()

    ours, theirs = node.issue(), before.issue("ada", 1)
    assert jwt.get_unverified_header(ours) == {"alg": "HS256", "typ": "JWT"}
    assert (await before.read(ours)).user == "ada"
    assert await node.honours(theirs)
    assert len(node.keeper.ring.published(clock())) == 1, "what will sign is published already"

    clock.advance(seconds=keys.FIRST_LEAD_MS / 1000)
    assert jwt.get_unverified_header(node.issue())["alg"] == "EdDSA"
    late = before.issue("ada", 1)
    assert await node.honours(late)
    clock.advance(seconds=(LIFE_MS + keys.SKEW_MS) / 1000)
    assert await node.refusal(before.issue("ada", 1)) == "token_expired", "a device refreshes it"


async def test_the_transition_can_be_ended_by_hand(nodes, clock):
    node = nodes()
    await signed_in(node.db, clock())
    await node.keeper.tend()
    of_before = node.issue()
    await node.keeper.rotate(at_once=True)
    assert jwt.get_unverified_header(node.issue())["alg"] == "EdDSA"
    assert await node.refusal(of_before) == "token_expired"


async def test_where_nobody_has_signed_in_there_is_no_transition(nodes, clock):
    node = nodes()
    await node.keeper.tend()
    assert jwt.get_unverified_header(node.issue())["alg"] == "EdDSA"
    theirs = AccessTokens(ring_of_release_before(SECRET), clock).issue("ada", 1)
    assert await node.refusal(theirs) == "unauthorized"


# -- publishing ------------------------------------------------------------------------------------


async def test_a_stranger_can_verify_our_tokens_with_what_is_published(api, ada):
    answer = await api.call("GET", "/.well-known/jwks.json")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    published = jwt.PyJWKSet.from_dict(answer.body)
    key = published[jwt.get_unverified_header(ada.token)["kid"]]
    claims = jwt.decode(
        ada.token, key.key, ["EdDSA"], audience="fitai", issuer="fitai", options={"verify_exp": False}
    )
    assert (claims["sub"], claims["dev"]) == (ada.id, ada.device)
    assert not any("d" in key for key in answer.body["keys"]), "no private half"
