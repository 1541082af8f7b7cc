"""Nobody learns who is registered: not by answer, not by status, not by what is done, not by time."""

from __future__ import annotations

import statistics
import time
from collections import Counter

import pytest
from argon2 import PasswordHasher
from sqlalchemy import event

from fitai.http.auth.passwords import Passwords

ROUNDS = 60
DEVICE = {"name": "Phone", "platform": "ios"}


class Counted(PasswordHasher):
    """Counts what costs time."""

    def __init__(self) -> None:
        super().__init__(time_cost=2, memory_cost=1024, parallelism=1)
        self.done = Counter[str]()

    def hash(self, password, *, salt=None):
        self.done["hash"] += 1
        return super().hash(password, salt=salt)

    def verify(self, hash, password):
        self.done["verify"] += 1
        return super().verify(hash, password)


@pytest.fixture
def hasher():
    return Counted()


@pytest.fixture
async def api(database_url, make_api, hasher):
    return await make_api(database_url, passwords=Passwords(hasher))


REQUESTS = {
    "login": lambda email: (
        "/auth/login",
        {"email": email, "password": "wrong password", "device": DEVICE},
    ),
    "forgot": lambda email: ("/auth/forgot-password", {"email": email}),
    "resend": lambda email: ("/auth/resend-verification", {"email": email}),
}


@pytest.fixture(params=sorted(REQUESTS))
def request_of(request):
    return REQUESTS[request.param]


def statements(db):
    """A list of the statements that a database gets from now on."""
    heard = []

    def listen(connection, cursor, statement, *_):
        heard.append(statement)

    for engine in db._engines:
        event.listen(engine.sync_engine, "before_cursor_execute", listen)
    return heard


async def test_known_and_unknown_addresses_get_one_answer(api, ada, request_of):
    answers = []
    for email in (ada.email, ada.email.upper(), "nobody@example.org", "no address at all", "a@b"):
        path, body = request_of(email)
        answers.append(await api.call("POST", path, body, X_Request_Id="same"))

    first = answers[0]
    for other in answers:
        assert (other.status, other.body) == (first.status, first.body)
        assert set(other.headers) == set(first.headers)


async def test_the_same_is_done_for_known_and_unknown_addresses(api, ada, hasher, request_of):
    for email in (ada.email, "nobody@example.org"):  # whatever is made only once is made now
        path, body = request_of(email)
        await api.call("POST", path, body)
    heard = statements(api.db)
    done = []
    for email in (ada.email, "nobody@example.org"):
        heard.clear()
        hasher.done.clear()
        path, body = request_of(email)
        await api.call("POST", path, body)
        done.append((list(heard), dict(hasher.done)))

    assert done[0] == done[1]
    assert done[0][0], "the database was asked"


async def test_known_and_unknown_addresses_take_as_long(api, ada, request_of):
    """By turns, so that whatever else the machine does falls on both; the middle of the ratios of pairs."""
    for email in (ada.email, "nobody@example.org") * 3:
        path, body = request_of(email)
        await api.call("POST", path, body)

    ratios = []
    for turn in range(ROUNDS):
        took = {}
        order = ("known", "unknown") if turn % 2 else ("unknown", "known")
        for which in order:
            path, body = request_of(ada.email if which == "known" else f"nobody{turn:06}@example.org")
            started = time.perf_counter()
            await api.call("POST", path, body)
            took[which] = time.perf_counter() - started
        ratios.append(took["known"] / took["unknown"])

    # A hash left out, or a letter written at once, is a factor of two and more.
    assert 0.75 < statistics.median(ratios) < 1.33


async def test_a_right_password_without_the_second_factor_is_the_only_thing_that_tells_of_it(api, ada):
    def body(password):
        return {"email": ada.email, "password": password, "device": DEVICE, "otp": "000000"}

    wrong = await api.call("POST", "/auth/login", body("wrong password"))

    assert wrong.code == "invalid_credentials"
