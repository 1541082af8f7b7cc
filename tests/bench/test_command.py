"""`fitai bench` as a person runs it."""

from __future__ import annotations

import json
import shlex
import signal
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from typer.testing import CliRunner

from fitai.app.command import app
from fitai.bench.command import Asked, plan_of
from fitai.bench.scenarios import SCENARIOS
from fitai.bench.target import is_loopback, may_be_loaded
from tests.app.conftest import command as command
from tests.app.test_demo import processes_of

ROOT = Path(__file__).parents[2]


def refused(*arguments):
    done = CliRunner().invoke(app, ["bench", *arguments])
    assert done.exit_code == 2, done.output
    return done.output


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080", True),
        ("http://[::1]:8080", True),
        ("http://127.8.9.1", True),
        ("sqlite:///data/fitai.db", True),
        ("postgresql://postgres@/db?host=/run", True),
        ("http://0.0.0.0:8080", False),
        ("http://10.0.0.7", False),
        ("https://fit.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://127.0.0.1@fit.example.com", False),
    ],
)
def test_what_is_this_machine(url, here):
    assert is_loopback(url) is here


@pytest.mark.parametrize(
    "arguments",
    [
        ("--url", "https://fit.example.com"),
        ("--database", "postgresql://user:secret@db.example.com/fitai"),
        ("--redis", "redis://:secret@redis.example.com"),
    ],
)
def test_what_is_not_this_machine_is_loaded_only_with_yes(arguments):
    said = refused("live", *arguments)
    assert "--yes" in said
    assert "example.com is not this machine" in said
    assert "secret" not in said


def test_with_yes_it_is_asked_for(tmp_path):
    said = refused("live", "--url", "http://fit.invalid", "--yes")
    assert "No FitAI answers at http://fit.invalid/health" in said


def test_what_can_not_be_asked_is_refused_with_a_sentence(tmp_path):
    assert "There is no scenario 'sprint'; there are connect, live" in refused("sprint")
    assert "give one of them" in refused("live", "--rate", "5", "--window", "2")
    assert "--url for one that is there" in refused(
        "live", "--url", "http://127.0.0.1:1", "--redis", "redis://127.0.0.1"
    )
    assert "--size is for `group`" in refused("live", "--size", "5")
    assert "leave --users out" in refused("group", "--size", "5", "--users", "5")
    assert "one generator" in refused("group", "--generators", "2")
    assert "needs 2 devices" in refused("live", "--devices", "1")
    assert "one number of devices" in refused("live", "--devices", "2", "--devices", "3")
    assert "No FitAI answers" in refused("live", "--url", "http://127.0.0.1:9")
    (tmp_path / "other.json").write_text('{"format": 99}')
    assert "no result" in refused("live", "--against", str(tmp_path / "other.json"))
    assert "no result" in refused("live", "--against", str(tmp_path / "absent.json"))


def test_a_plan_is_what_was_said_and_else_the_scenario_s():
    for name, scenario in SCENARIOS.items():
        plan = plan_of(Asked(scenario=name))
        assert (plan.users, plan.devices) == (scenario.users, scenario.devices)
        assert plan.window == scenario.window
        assert plan_of(Asked(scenario=name, rate=5.0)).pace == "rate"
        assert plan_of(Asked(scenario=name, url="http://127.0.0.1:1")).users == scenario.foreign
    assert plan_of(Asked(scenario="live")).pace == "profile"
    assert plan_of(Asked(scenario="live", generators=3)).generators == 3
    assert plan_of(Asked(scenario="rooms", devices=(50,), window=8)).window == 8


def test_a_group_has_one_generator_and_as_many_people_as_its_largest_size():
    plan = plan_of(Asked(scenario="group", sizes=(50, 10, 50)))
    assert (plan.sizes, plan.users, plan.generators) == ((10, 50), 50, 1)
    assert plan_of(Asked(scenario="group")).sizes == (10, 50, 500)
    assert plan_of(Asked(scenario="group", users=7)).sizes == (7,)
    there = plan_of(Asked(scenario="group", url="http://127.0.0.1:1"))
    assert (there.sizes, there.users) == ((5,), 5)
    assert plan_of(Asked(scenario="live", users=7)).sizes == ()
    assert "sizes" not in plan_of(Asked(scenario="live")).document()
    assert plan.document()["sizes"] == [10, 50]


def test_a_whole_run_is_told_in_all_its_ways_and_leaves_nothing(command, tmp_path):
    (tmp_path / "tmp").mkdir()
    words = ("bench", "live", "--users", "6", "--rate", "30", "--duration", "2", "--generators", "2")
    code, out, err = command.run(*words, "--json", "one.json", TMPDIR=str(tmp_path / "tmp"))
    told = json.loads((tmp_path / "one.json").read_text())
    # On a machine that others use too the client may have been the limit; then it says so.
    assert code == (0 if told["valid"] else 1), out + err
    assert told["failures"] == {}, out
    assert told["client"]["generators"] == len(told["client"]["cpu"]) == 2
    assert told["operations"]["set"]["ms"]["count"] > 20
    assert told["counts"]["checked"] == told["counts"]["applied"] + told["counts"].get("merged", 0)
    assert told["server"]["rss_after"] > 20e6
    assert told["machine"]["cores"]
    assert "live: valid" in out or "live: NOT VALID" in out
    assert list((tmp_path / "tmp").iterdir()) == []
    assert processes_of(tmp_path / "tmp") == []

    more = ("--against", "one.json", "--html", "two.html")
    code, out, err = command.run(*words, *more, TMPDIR=str(tmp_path / "tmp"))
    assert code in (0, 1), out + err
    assert "beside the run of" in out
    assert "<svg" in (tmp_path / "two.html").read_text()


def test_a_server_that_is_there_gets_few_users_and_the_run_says_that_they_stay(command, tmp_path):
    process, announced = command.serve(FITAI_LOG_LEVEL="warning")
    words = (
        "bench",
        "reconnect",
        "--url",
        announced["url"],
        "--users",
        "2",
        "--rate",
        "10",
        "--duration",
        "2",
    )
    code, out, err = command.run(*words, "--json", "one.json")
    told = json.loads((tmp_path / "one.json").read_text())
    assert code == (0 if told["valid"] else 1), out + err
    assert told["failures"] == {}, out
    assert told["operations"]["resume"]["ms"]["count"] == 2
    assert "2 accounts bench-" in " ".join(out.split())
    assert any("can not delete accounts" in note for note in told["notes"])
    assert told["server"]["started"] is False
    assert told["server"]["rss_after"] > 20e6  # found by its port
    assert process.poll() is None


def words_of(pid):
    """The command lines of a process's descendants."""
    return " ".join(
        word for child in psutil.Process(pid).children(recursive=True) for word in child.cmdline()
    )


def test_an_interrupt_ends_all_of_it_and_tells_what_there_is(command, tmp_path):
    (tmp_path / "tmp").mkdir()
    words = ("bench", "live", "--users", "4", "--rate", "20", "--duration", "60", "--json", "one.json")
    process = command.start(*words, TMPDIR=str(tmp_path / "tmp"))
    until = time.monotonic() + 30
    while "spawn_main" not in words_of(process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(2)  # to be in the midst of it; while it gets ready, it ends as well
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (1, 130), out + err
    if process.returncode == 1:
        told = json.loads((tmp_path / "one.json").read_text())
        assert "It was interrupted." in told["reasons"]
    assert processes_of(tmp_path / "tmp") == []
    assert list((tmp_path / "tmp").iterdir()) == []


def shown():
    """The commands of the README's part on load."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    part = text.partition("<!-- bench -->")[2].partition("<!-- /bench -->")[0]
    return [line for line in part.splitlines() if line.startswith("fitai ")]


@pytest.mark.parametrize("line", shown())
def test_every_command_that_the_readme_shows_is_understood(line, monkeypatch, tmp_path):
    asked = []

    def bench(options, console):
        asked.append(plan_of(options))
        may_be_loaded([url for url in (options.url, options.database, options.redis) if url], options.yes)
        return 0

    monkeypatch.setattr("fitai.bench.command.bench", bench)
    done = CliRunner().invoke(app, shlex.split(line)[1:])
    assert done.exit_code == 0, done.output
    [plan] = asked
    assert plan.scenario in line


def test_the_readme_names_every_scenario():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(shown()) >= 5
    for name in SCENARIOS:
        assert f"`{name}`" in text.partition("## Load")[2].partition("## Settings")[0]
