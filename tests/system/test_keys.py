"""Keys of access tokens on two real nodes of one database, and the command that rotates them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.system.conftest import Process, asked

pytestmark = pytest.mark.timeout(180)


def fitai(process: Process, folder: Path, *command: str) -> str:
    """What `fitai …` prints in the environment of a server."""
    done = subprocess.run(
        [sys.executable, "-m", "fitai.app.command", *command],
        cwd=folder,
        env=process.variables(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def published(node: Process) -> set[str]:
    _, body = await asked(node, "GET", "/.well-known/jwks.json")
    return {key["kid"] for key in body["keys"]}


async def test_a_rotation_reaches_every_node_and_costs_devices_a_refresh_at_most(
    database_url, make_process, tmp_path
):
    here, there = await make_process(database_url), await make_process(database_url)
    account = {"email": "ada@example.org", "password": "correct horse battery staple"}
    device = {"name": "phone", "platform": "ios"}
    status, session = await asked(here, "POST", "/auth/register", **account, device=device)
    assert status == 201, session

    async def answers(token: str) -> list[Any]:
        both = [await asked(node, "GET", "/auth/devices", token) for node in (here, there)]
        return [status if status == 200 else body["code"] for status, body in both]

    async def refreshed() -> str:
        nonlocal session
        body = {"refresh_token": session["refresh_token"]}
        status, session = await asked(there, "POST", "/auth/refresh", **body)
        assert status == 200, session
        return str(session["access_token"])

    old = str(session["access_token"])
    first = jwt.get_unverified_header(old)["kid"]
    assert await answers(old) == [200, 200]
    assert await published(here) == await published(there) == {first}

    assert "is published, and signs in 10 minutes" in fitai(here, tmp_path, "keys", "rotate")
    assert await answers(old) == [200, 200]

    new = fitai(here, tmp_path, "keys", "rotate", "--now").split()[0]
    async with asyncio.timeout(60):
        while jwt.get_unverified_header(token := await refreshed())["kid"] != new:
            await asyncio.sleep(0.5)  # every node reads the ring anew within seconds
    assert await answers(token) == [200, 200], "a key that is not known is looked for at once"
    assert await answers(old) == ["token_expired", "token_expired"]
    assert await published(here) == await published(there) == {new}

    lines = [line.split() for line in fitai(here, tmp_path, "keys", "list").splitlines()]
    assert sorted(line[2] for line in lines) == ["retired", "retired", "signs"]
    assert [line[:2] for line in lines if line[2] == "signs"] == [[new, "EdDSA"]]
