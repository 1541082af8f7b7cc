"""A bare aiohttp handler that shows an account: one SELECT by its id over SQLAlchemy, and JSON of the row.

Who calls is whoever `Authorization: Bearer <id>` says: no token is read, no standing asked for, nothing
counted, logged or measured. The database is the one of the only argument, a URL with its driver in it.
"""

from __future__ import annotations

import sys

import orjson
from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from fitai.bench.compare.peers import run
from fitai.persistence.models import User

SHOWN = select(
    User.id,
    User.email,
    User.email_verified_at,
    User.display_name,
    User.locale,
    User.role,
    User.totp_confirmed_at,
    User.created_at,
    User.password_changed_at,
    User.delete_after,
)


def application(engine: AsyncEngine) -> web.Application:
    """The server."""

    async def profile(request: web.Request) -> web.Response:
        id = request.headers["Authorization"].removeprefix("Bearer ")
        async with engine.connect() as connection:
            row = (await connection.execute(SHOWN.where(User.id == id))).mappings().one()
        return web.Response(body=orjson.dumps(dict(row)), content_type="application/json")

    app = web.Application()
    app.router.add_get("/users/profile", profile)
    return app


if __name__ == "__main__":
    run(application(create_async_engine(sys.argv[1])))
