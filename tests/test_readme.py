"""The clients that the README shows are run as they stand, against a server started as it says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHOWN_URL = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, on a free port, with the demo account."""
    folder = tmp_path_factory.mktemp("readme")
    announced = folder / "server.json"
    fitai = Path(sys.executable).with_name("fitai")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("FITAI_")}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [fitai, "serve", "--port", "0", "--announce", announced],
            cwd=folder,
            env=environ,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while not announced.exists():
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.05)
        yield json.loads(announced.read_text())["url"]
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0


def example(language: str, url: str) -> str:
    """The README's client in this language, pointed at our server."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(rf"```{language}\n(.*?)```", text, re.S)
    assert SHOWN_URL in code
    assert code.count("\n") <= 35
    return code.replace(SHOWN_URL, url)


def test_the_python_client_logs_a_set(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example("python", url)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(\d+ applied(, |\n)){3}", done.stdout)


def test_the_javascript_client_logs_a_set(url: str) -> None:
    done = subprocess.run(
        ["node", "--input-type=module"],
        input=example("js", url),
        cwd=ROOT / "tests" / "js",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(\d+ applied(, |\n)){3}", done.stdout)
