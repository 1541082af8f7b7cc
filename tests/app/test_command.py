from __future__ import annotations

import os
import sqlite3
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fitai.app.command import app

WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"


@pytest.fixture(autouse=True)
def _a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith("FITAI_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(*arguments, input=None):
    return CliRunner().invoke(app, list(arguments), input=input)


def test_the_version():
    done = run("--version")
    assert (done.exit_code, done.stdout) == (0, f"fitai {version('fitai')}\n")


def test_without_a_word_it_says_what_can_be_done():
    shown = run().output
    for word in ("serve", "migrate", "demo", "replay", "rebuild", "user"):
        assert word in shown


def test_migrate_makes_the_schema_and_does_nothing_the_second_time():
    for _ in range(2):
        done = run("migrate")
        assert (done.exit_code, done.stdout) == (0, "The schema of sqlite:///data/fitai.db is up to date.\n")
    with sqlite3.connect("data/fitai.db") as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    db.close()
    assert {"users", "devices", "streams", "records", "snapshots"} <= tables


def test_migrate_works_where_serving_may_not_migrate(monkeypatch):
    monkeypatch.setenv("FITAI_MIGRATE", "off")
    assert run("user", "create", "ada@example.com", "--password", "correct horse").exit_code == 2
    assert run("migrate").exit_code == 0
    assert run("user", "create", "ada@example.com", "--password", "correct horse").exit_code == 0


def test_a_user_is_made_with_a_password_from_the_option_or_from_stdin():
    made = run("user", "create", "ada@example.com", "--name", "Ada", "--password", "correct horse")
    assert made.exit_code == 0
    assert made.stdout.startswith("Made ada@example.com (user ")
    assert run("user", "create", "bob@example.com", input="correct horse\n").exit_code == 0
    again = run("user", "create", "Ada@example.com", input="correct horse\n")
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    nothing = run("user", "create", "eve@example.com", input="")
    assert (nothing.exit_code, nothing.stderr) == (
        2,
        "fitai: Give a password with --password, or on stdin.\n",
    )


def test_the_first_admin_is_made_on_the_command_line_and_others_too():
    made = run("user", "create", "ada@example.com", "--admin", "--password", "correct horse")
    assert made.stdout.endswith(", admin).\n")
    run("user", "create", "bob@example.com", "--password", "correct horse")

    def roles():
        lines = run("user", "list").stdout.splitlines()
        return {line.split()[0]: "admin" in line.split() for line in lines}

    assert roles() == {"ada@example.com": True, "bob@example.com": False}
    assert run("user", "admin", "BOB@example.com").stdout == "BOB@example.com is an admin.\n"
    assert run("user", "admin", "ada@example.com", "--off").exit_code == 0
    assert roles() == {"ada@example.com": False, "bob@example.com": True}
    unknown = run("user", "admin", "eve@example.com")
    assert (unknown.exit_code, unknown.stderr) == (
        2,
        "fitai: There is no account with the address eve@example.com.\n",
    )


def test_a_password_that_is_guessed_too_easily_is_refused_in_a_sentence():
    refused = run("user", "create", "ada@example.com", "--password", "password123")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "can be guessed too easily" in refused.stderr


def test_rebuild_says_what_it_did():
    run("user", "create", "ada@example.com", "--password", "correct horse")
    done = run("rebuild")
    assert done.exit_code == 0
    assert done.stdout.startswith("Rebuilt 0 workouts of 1 users in ")


@pytest.mark.parametrize("command", [["rebuild"], ["replay", WORKOUT]])
def test_what_reads_the_log_wants_a_migrated_database(command):
    done = run(*command)
    assert done.exit_code == 2
    assert "`fitai migrate` brings it up" in done.stderr


def test_replay_of_nothing_is_one_sentence():
    run("migrate")
    done = run("replay", WORKOUT)
    assert (done.exit_code, done.stderr) == (2, f"fitai: There is no workout {WORKOUT}.\n")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("FITAI_LOG_LEVEL", "loud", "FITAI_LOG_LEVEL must be"),
        ("FITAI_DATABASE_URL", "mysql://host/x", "FITAI_DATABASE_URL must be"),
        ("FITAI_DATABASE_URL", "sqlite:///:memory:", "SQLite needs a file"),
    ],
)
def test_a_wrong_setting_stops_every_command_with_one_sentence(monkeypatch, name, value, sentence):
    monkeypatch.setenv(name, value)
    for command in (["serve"], ["migrate"], ["rebuild"], ["user", "create", "a@example.com"]):
        done = run(*command, input="correct horse\n")
        assert done.exit_code == 2, command
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1


def test_keys_are_rotated_and_listed():
    assert run("migrate").exit_code == 0
    assert run("keys", "list").stdout == ""
    first = run("keys", "rotate")
    assert first.exit_code == 0, first.output
    assert " is published, and signs in 0 minutes" in first.stdout, "nobody had to be told before"
    second = run("keys", "rotate")
    assert " is published, and signs in 10 minutes" in second.stdout
    kids = [done.stdout.split()[0] for done in (first, second)]
    lines = [line.split() for line in run("keys", "list").stdout.splitlines()]
    assert [line[:3] for line in lines] == [[kids[0], "EdDSA", "signs"], [kids[1], "EdDSA", "published"]]
    third = run("keys", "rotate", "--now").stdout.split()[0]
    lines = [line.split() for line in run("keys", "list").stdout.splitlines()]
    assert {line[0]: line[2] for line in lines} == {
        kids[0]: "retired",
        kids[1]: "retired",
        third: "signs",
    }


def test_keys_of_another_secret_key_are_shown_as_such(monkeypatch):
    monkeypatch.setenv("FITAI_SECRET_KEY", "8Yj2-first-installation-key-0000")
    assert run("migrate").exit_code == 0
    assert run("keys", "rotate").exit_code == 0
    monkeypatch.setenv("FITAI_SECRET_KEY", "9Zk3-other-installation-key-1111")
    assert "of another secret key" in run("keys", "list").stdout
