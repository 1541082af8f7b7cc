"""Schemathesis, with all of its checks, over the document and a server that runs: with a token and without.

It looks for 5xx, for statuses, types and shapes that are not documented, credentials that are ignored,
methods that are not refused, bad requests that are granted and good ones that are not. What it is told of
this API is in `schemathesis.toml` and `schemathesis_hooks.py`. A failure prints the request; its seed is
fixed, so it comes again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.http.conftest import MakeApi

HERE = Path(__file__).parent
EXAMPLES = 4  # random requests of each sort to each route, besides those that cover the schema
SEED = 20_260_101
# Which end what the others go on with.
ENDING = r"^/auth/(logout|refresh|devices/\{id\})$"


async def st(url: str, *options: str, folder: Path) -> tuple[int, str]:
    """Run the command; its exit code and what it printed."""
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
    }
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("st")),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        f"{url}/openapi.json",
        "--checks=all",
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={EXAMPLES}",
        f"--seed={SEED}",
        "--generation-database=none",
        "--no-color",
        *options,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        told, _ = await asyncio.wait_for(process.communicate(), 110)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, told.decode()


@pytest.mark.parametrize("who", ["ada", "a stranger", "ada, at the ends"])
async def test_schemathesis_finds_nothing(who: str, make_api: MakeApi, tmp_path: Path):
    api = await make_api(body_s=2.0)
    url = f"http://127.0.0.1:{api.client.port}"
    ada = await api.register()
    await ada.workout(title="Legs")
    options = ["--include-path-regex" if "ends" in who else "--exclude-path-regex", ENDING]
    options += ["-H", f"Authorization: Bearer {'nonsense' if who == 'a stranger' else ada.token}"]

    code, told = await st(url, *options, folder=tmp_path)

    assert code == 0, told
