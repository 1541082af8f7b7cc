"""What stops several workers from starting, each told in one sentence."""

from __future__ import annotations

import signal

import pytest


def test_several_workers_without_redis_are_refused(command):
    code, out, err = command.run("serve", "--port", "0", "--workers", "2")
    assert (code, out) == (2, "")
    assert err == (
        "fitai: FITAI_WORKERS must be 1 unless FITAI_REDIS_URL names the Redis that connects the processes,"
        " but is 2.\n"
    )


def test_a_database_that_is_away_stops_workers_before_they_are_started(command, redis_url):
    code, out, err = command.run(
        "serve",
        "--port",
        "0",
        "--workers",
        "2",
        FITAI_REDIS_URL=redis_url,
        FITAI_DATABASE_URL="postgresql://ada:secret@127.0.0.1:1/fit",
    )
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("fitai: FITAI_DATABASE_URL: the database cannot be reached")


def test_workers_say_once_that_they_are_ready_and_end_with_0(command, redis_url):
    process, told = command.serve("--workers", "2", FITAI_REDIS_URL=redis_url)
    assert told["pid"] == process.pid
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert out.count("is ready") == 1
    assert out.count("password") == 1


@pytest.mark.parametrize("name", ["FITAI_WORKERS"])
def test_workers_can_be_set_in_the_environment(command, redis_url, name):
    process, _ = command.serve(FITAI_REDIS_URL=redis_url, **{name: "2"})
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert '"workers": 2' in err
