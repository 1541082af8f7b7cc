from __future__ import annotations

import errno

import pytest
import typer

from fitai.app.failures import EXIT, Refused, explained, not_listening, shown_url, told
from fitai.app.settings import SettingsError
from fitai.persistence.database import BadUrl, Database, Unavailable
from fitai.persistence.schema import WrongSchema


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (SettingsError("FITAI_PORT must be a whole number."), "FITAI_PORT must be a whole number."),
        (Refused("There is no workout\nx."), "There is no workout x."),
        (BadUrl("the database URL is unreadable"), "FITAI_DATABASE_URL: the database URL is unreadable."),
        (
            Unavailable("the database is away: gone."),
            "FITAI_DATABASE_URL: the database cannot be reached (the database is away: gone).",
        ),
        (
            WrongSchema("the database is at schema none, this version needs 0001"),
            "The database is at schema none, this version needs 0001; `fitai migrate` brings it up.",
        ),
    ],
)
def test_what_is_no_bug_is_one_sentence(error, sentence):
    assert explained(error) == sentence


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("x"), OSError(5, "disk")])
def test_a_bug_keeps_its_traceback(error):
    assert explained(error) is None
    with pytest.raises(type(error)), told():
        raise error


def test_a_failure_ends_the_command_with_its_sentence_and_code_2(capsys):
    with pytest.raises(typer.Exit) as ended, told():
        raise Refused("There is no such thing.")
    assert ended.value.exit_code == EXIT == 2
    assert capsys.readouterr().err == "fitai: There is no such thing.\n"


async def test_the_innermost_cause_is_what_a_person_reads():
    db = Database.open("postgresql://u:secret@127.0.0.1:1/x")
    with pytest.raises(Unavailable) as away:
        await db.migrate()
    await db.close()
    sentence = explained(away.value)
    assert sentence is not None
    assert sentence.startswith("FITAI_DATABASE_URL: the database cannot be reached (")
    assert "127.0.0.1" in sentence
    assert "secret" not in sentence
    assert "Errno" not in sentence


async def test_a_role_that_postgresql_does_not_know_is_told_in_a_sentence(postgres_url):
    db = Database.open(postgres_url.replace("//postgres@", "//stranger@"))
    with pytest.raises(Exception) as refused:
        await db.migrate()
    await db.close()
    sentence = explained(refused.value)
    assert sentence is not None
    assert "stranger" in sentence


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EADDRINUSE, "already"), (errno.EACCES, "may not"), (errno.EADDRNOTAVAIL, "FITAI_HOST")],
)
def test_why_an_address_cannot_be_listened_on(number, words):
    sentence = str(not_listening("FITAI_HOST", "10.0.0.9", 80, OSError(number, "no")))
    assert words in sentence
    assert "10.0.0.9 port 80" in sentence


def test_a_shown_url_has_no_password():
    assert shown_url("postgresql://ada:secret@host/fit") == "postgresql://ada:***@host/fit"
    assert shown_url("no url") == "(unreadable)"
