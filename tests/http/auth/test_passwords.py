from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher

from fitai.http.auth.passwords import Passwords
from fitai.http.problems import Problem

CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}


class Gate(PasswordHasher):
    """Hashes once the gate is open, and counts how many wait there at once."""

    def __init__(self) -> None:
        super().__init__(**CHEAP)
        self.open = threading.Event()
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.open.wait(10)
        with self._lock:
            self.inside -= 1
        return super().hash(password, salt=salt)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords(PasswordHasher(**CHEAP))
    yield passwords
    passwords.close()


async def test_a_password_is_kept_as_argon2id_and_recognised(passwords):
    encoded = await passwords.hash("correct horse")

    assert encoded.startswith("$argon2id$")
    assert await passwords.verify(encoded, "correct horse")
    assert not await passwords.verify(encoded, "wrong horse")


async def test_nobodys_password_is_never_right(passwords):
    assert not await passwords.verify(None, "")
    assert not await passwords.verify(None, "correct horse")
    assert not await passwords.verify("no hash at all", "correct horse")


async def test_the_same_keys_on_another_keyboard_give_the_same_password(passwords):
    assert await passwords.verify(await passwords.hash("e\u0301te\u0301 2026"), "\u00e9t\u00e9 2026")


@pytest.mark.parametrize(
    "other",
    [
        "correct Horse",
        "correct  horse",
        "correct horse ",
        " correct horse",
        "correct hors",
        "correct horse\0",
    ],
)
async def test_every_character_of_a_password_counts(passwords, other):
    assert not await passwords.verify(await passwords.hash("correct horse"), other)


async def test_hashes_of_other_parameters_are_outdated(passwords):
    current = await passwords.hash("correct horse")

    assert not passwords.outdated(current)
    assert passwords.outdated(PasswordHasher(**{**CHEAP, "time_cost": 2}).hash("correct horse"))
    assert not passwords.outdated("no hash at all")


async def test_a_crowd_waits_in_bounds_and_the_loop_goes_on():
    gate = Gate()
    passwords = Passwords(gate, workers=2, waiting=3)
    crowd = [asyncio.ensure_future(passwords.hash(str(i))) for i in range(5)]
    await asyncio.sleep(0.05)

    with pytest.raises(Problem) as turned_away:
        await passwords.hash("one too many")
    gate.open.set()
    hashes = await asyncio.gather(*crowd)
    passwords.close()

    assert turned_away.value.code == "later"
    assert turned_away.value.headers["Retry-After"]
    assert len(set(hashes)) == 5
    assert gate.most == 2


async def test_a_caller_that_goes_away_gives_its_place_back_when_the_work_is_done():
    gate = Gate()
    passwords = Passwords(gate, workers=1, waiting=0)
    gone = asyncio.ensure_future(passwords.hash("a"))
    await asyncio.sleep(0.05)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)

    with pytest.raises(Problem):
        await passwords.hash("b")
    gate.open.set()
    while gate.inside:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)

    assert await passwords.hash("c")
    passwords.close()
