"""The whole demo, as a person runs it."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path


def processes_of(folder: Path) -> list[str]:
    """Command lines that name a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


def test_the_demo_proves_every_count_and_leaves_nothing(command, tmp_path):
    code, out, err = command.run(
        "demo", TMPDIR=str(tmp_path), FITAI_DATABASE_URL="mysql://not/used", COLUMNS="120"
    )
    assert code == 0, out + err
    assert err == ""
    assert "killed with SIGKILL" in out
    assert "answered as duplicate" in out
    assert "shows it completed, with 9 sets" in out
    assert "shows it active, with 9 sets" in out
    assert "bench press, set 3: reps 7 from the watch, and beside it 8 from the phone" in out
    assert "squat, set 1: removed on the watch, edited on the phone" in out
    late = re.search(r"merge  (.*) and (.*): logged on the watch, which did not know of the end", out)
    assert late is not None
    assert set(late.groups()) == {"bench press, set 3", "barbell row, set 3"}
    assert len(set(re.findall(r"(?:phone|watch|server) +digest ([0-9a-f]{64})", out))) == 1
    assert len(re.findall(r"(?:phone|watch|server) +digest ", out)) == 3
    assert "★ squat: heaviest load 102.5 kg" in out
    assert out.rstrip().splitlines()[-1].startswith("Every count is as it must be, after ")
    assert "OFF" not in out
    assert "\x1b" not in out  # not a terminal
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def test_an_interrupted_demo_ends_its_server_and_removes_its_folder(command, tmp_path):
    process = command.start("demo", TMPDIR=str(tmp_path))
    until = time.monotonic() + 40
    while not list(tmp_path.glob("fitai-demo-*/server.json")):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert processes_of(tmp_path)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
    assert "Stopped; the server is ended" in out
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []
