"""Each sweep takes what is old enough, and nothing else."""

from __future__ import annotations

import hashlib

from sqlalchemy import func, select

from fitai.persistence.identity_models import JobRow, OneTimeToken
from fitai.persistence.models import IdempotencyKey, RefreshToken
from fitai.persistence.sweeps import SWEEPS
from fitai.persistence.users import Users

NOW = 1_795_600_000_000


def row(what, user, at, n):
    key = hashlib.sha256(f"{what}{n}".encode()).digest()
    return {
        "refresh_tokens": lambda: RefreshToken(
            hash=key, family=user, user_id=user, device=1, created_at=0, expires_at=at
        ),
        "idempotency_keys": lambda: IdempotencyKey(
            user_id=user, key=f"key-{n}", request="r", answer=None, created_at=at
        ),
        "one_time_tokens": lambda: OneTimeToken(
            hash=key, user_id=user, purpose="verify", created_at=0, expires_at=at
        ),
        "done_jobs": lambda: JobRow(
            id=f"00000000-0000-0000-0000-00000000000{n}",
            kind="k",
            payload={},
            created_at=0,
            due_at=0,
            done_at=at,
        ),
        "dead_jobs": lambda: JobRow(
            id=f"00000000-0000-0000-0000-00000000001{n}",
            kind="k",
            payload={},
            created_at=0,
            due_at=0,
            dead_at=at,
        ),
    }[what]()


async def test_what_is_older_than_it_is_kept_goes_and_the_rest_stays(db):
    from fitai.persistence.devices import Devices

    async with db.write() as session:
        user = (
            await Users(session).create(email="a@example.com", password_hash="-", display_name=None, now=0)
        ).id
        await Devices(session).enrol(user, name="P", platform="ios", install_id=None, now=0, limit=8)
        for each in SWEEPS:
            before = NOW - each.kept_ms
            session.add_all([row(each.what, user, before + late, n) for n, late in enumerate((-2, -1, 0, 1))])
    for each in SWEEPS:
        async with db.write() as session:
            assert await each.run(session, NOW - each.kept_ms) == 2, each.what
    async with db.read() as session:
        for table, left in ((RefreshToken, 2), (IdempotencyKey, 2), (OneTimeToken, 2), (JobRow, 4)):
            assert await session.scalar(select(func.count()).select_from(table)) == left
