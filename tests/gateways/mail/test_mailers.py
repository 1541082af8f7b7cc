"""What both mailers promise, and what becomes of each answer of a mail server."""

from __future__ import annotations

import asyncio
from functools import partial
from urllib.parse import quote

import pytest

from fitai.gateways.jobs.contract import Permanent, Temporary
from fitai.gateways.mail.folder import FolderMailer, letters
from fitai.gateways.mail.smtp import BadSmtpUrl, SmtpMailer, SmtpUrl
from fitai.gateways.mail.writing import body_of
from tests.gateways.mail.kit import LETTERS, NOW, written
from tests.gateways.mail.smtp_server import PASSWORD, USER, mail_server, make_certificate

CREDENTIALS = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"


def mailer(port, *, scheme="smtp", user="", options="?tls=off", **patience):
    return SmtpMailer(SmtpUrl.parse(f"{scheme}://{user}127.0.0.1:{port}{options}"), **patience)


# -- both ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["folder", "smtp"])
async def ends(request, tmp_path):
    """A mailer, and a function that says which messages have arrived."""
    if request.param == "folder":
        yield (
            FolderMailer(tmp_path / "mail", lambda: NOW),
            lambda: [kept.read() for kept in letters(tmp_path / "mail")],
        )
    else:
        async with mail_server() as inbox:
            yield mailer(inbox.port), lambda: inbox.messages


async def test_a_message_arrives_as_it_was_written(ends):
    mailer, arrived = ends
    message = written(LETTERS[1], locale="de")
    await mailer.send(message)
    [there] = arrived()
    for name in ("From", "To", "Subject", "Message-ID", "Auto-Submitted", "Content-Language", "Date"):
        assert there[name] == message[name]
    assert [body_of(there, kind).splitlines() for kind in ("plain", "html")] == [
        body_of(message, kind).splitlines() for kind in ("plain", "html")
    ]


async def test_several_may_send_at_a_time(ends):
    mailer, arrived = ends
    await asyncio.gather(*(mailer.send(written(job=f"job-{n}")) for n in range(6)))
    assert {message["Message-ID"] for message in arrived()} == {
        f"<job-{n}@fit.example.com>" for n in range(6)
    }


async def test_a_retry_is_recognised_by_its_message_id(ends):
    mailer, arrived = ends
    await mailer.send(written(job="same"))
    await mailer.send(written(job="same"))
    assert {message["Message-ID"] for message in arrived()} == {"<same@fit.example.com>"}


# -- the folder ----------------------------------------------------------------------------------------


async def test_letters_in_the_folder_belong_to_this_user_alone_and_are_whole(tmp_path):
    folder = tmp_path / "deep" / "mail"
    await FolderMailer(folder, lambda: NOW).send(written())
    [file] = folder.iterdir()
    assert file.name == f"{NOW}-job-1.eml"
    assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_the_folder_keeps_the_newest_and_one_of_each(tmp_path):
    clock = iter(range(NOW, NOW + 100))
    mailer = FolderMailer(tmp_path, lambda: next(clock), kept=3)
    for job in ("a", "b", "c", "b", "d", "e"):
        await mailer.send(written(job=job))
    assert [kept.file.stem.partition("-")[2] for kept in letters(tmp_path)] == ["e", "d", "b"]
    (tmp_path / "notes.txt").write_text("not a letter")
    assert len(letters(tmp_path)) == 3
    assert letters(tmp_path / "nothing") == []


async def test_a_disk_that_takes_no_letter_is_temporary_and_leaves_no_half(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Temporary, match="No space left"):
        await FolderMailer(tmp_path, lambda: NOW).send(written())
    assert list(tmp_path.iterdir()) == []


async def test_a_message_id_can_not_lead_out_of_the_folder(tmp_path):
    message = written(job="x")
    del message["Message-ID"]
    message["Message-ID"] = "<../../evil@x>"
    await FolderMailer(tmp_path / "mail", lambda: NOW).send(message)
    assert [path.name for path in tmp_path.rglob("*.eml")] == [f"{NOW}-evil.eml"]
    assert [path.name for path in tmp_path.iterdir()] == ["mail"]


# -- SMTP ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.mark.parametrize(("scheme", "tls"), [("smtp", "starttls"), ("smtps", "tls")])
async def test_over_tls_with_a_password_and_a_checked_certificate(certificate, scheme, tls):
    async with mail_server(certificate, tls=tls, auth=True) as inbox:
        options = f"?ca={certificate}/cert.pem"
        await mailer(inbox.port, scheme=scheme, user=CREDENTIALS, options=options).send(written())
        assert (inbox.over_tls, inbox.users) == ([True], [USER.encode()])
        assert inbox.envelopes[0].rcpt_tos == ["ada@example.com"]
        assert inbox.envelopes[0].mail_from == "no-reply@fit.example.com"
        with pytest.raises(Temporary, match="certificate"):
            await mailer(inbox.port, scheme=scheme, user=CREDENTIALS, options="").send(written())
        assert len(inbox.users) == 1, "the password went to a server that nobody knows"


async def test_a_certificate_for_another_name_is_none(tmp_path):
    certificate = make_certificate(tmp_path / "other", "DNS:mail.example.com")
    async with mail_server(certificate, tls="tls") as inbox:
        with pytest.raises(Temporary, match="certificate"):
            await mailer(inbox.port, scheme="smtps", options=f"?ca={certificate}/cert.pem").send(written())
        assert inbox.envelopes == []


async def test_nothing_is_sent_in_the_clear_unless_that_was_said():
    async with mail_server() as inbox:
        with pytest.raises(Temporary):
            await mailer(inbox.port, options="").send(written())
        assert inbox.envelopes == []
        await mailer(inbox.port).send(written())
        assert inbox.over_tls == [False]


async def test_a_wrong_password_is_an_operators_to_put_right_and_is_not_told(certificate):
    async with mail_server(certificate, tls="tls", auth=True) as inbox:
        wrong = mailer(inbox.port, scheme="smtps", user="fit:hunter2@", options=f"?ca={certificate}/cert.pem")
        with pytest.raises(Temporary, match="535") as refused:
            await wrong.send(written())
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
async def test_a_refusal_for_good_is_permanent_and_one_for_now_is_not(command):
    async with mail_server() as inbox:
        inbox.answers[command] = "550 5.1.1 no such\tmailbox"
        with pytest.raises(Permanent, match=r"550 5\.1\.1 no such mailbox"):
            await mailer(inbox.port).send(written())
        inbox.answers[command] = "451 4.7.1 greylisted"
        with pytest.raises(Temporary, match=r"451 4\.7\.1 greylisted"):
            await mailer(inbox.port).send(written())
        inbox.answers.clear()
        await mailer(inbox.port).send(written())
        assert len(inbox.messages) == 1


async def test_a_slow_server_is_not_waited_for_for_ever():
    async with mail_server() as inbox:
        inbox.slow_s = 0.5
        with pytest.raises(Temporary, match="in time"):
            await mailer(inbox.port, within_s=0.1).send(written())
        with pytest.raises(Temporary, match="in time"):
            await mailer(inbox.port, answer_s=0.1).send(written())
        await asyncio.sleep(0.6)


async def test_a_server_that_is_not_there_hangs_up_or_talks_nonsense_is_temporary():
    async with mail_server() as inbox:
        port = inbox.port
    with pytest.raises(Temporary, match="can not be reached"):
        await mailer(port).send(written())

    async def answer(line, reader, writer):
        writer.write(line)
        await asyncio.sleep(0)
        writer.close()

    for line in (b"", b"554 go away\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"220 hello\r\n"):
        server = await asyncio.start_server(partial(answer, line), "127.0.0.1", 0)
        async with server:
            with pytest.raises(Temporary):
                await mailer(server.sockets[0].getsockname()[1]).send(written())


async def test_an_address_beyond_ascii_goes_to_a_server_that_knows_such():
    async with mail_server(utf8=True) as inbox:
        await mailer(inbox.port).send(written(to="jörg@example.com"))
        assert inbox.envelopes[0].rcpt_tos == ["jörg@example.com"]
    async with mail_server() as inbox:
        with pytest.raises(Temporary):
            await mailer(inbox.port).send(written(to="jörg@example.com"))


def test_a_url_says_how():
    assert SmtpUrl.parse("smtp://mail.example.com").port == 587
    assert SmtpUrl.parse("smtps://mail.example.com").port == 465
    assert SmtpUrl.parse("smtp://localhost?tls=off").port == 25
    assert SmtpUrl.parse("smtp://[::1]:2525?tls=off").host == "::1"
    url = SmtpUrl.parse("smtps://a%40b:p%2Fw@mail.example.com:10465/?ca=/etc/ca.pem")
    assert (url.user, url.password, url.port, url.ca, url.security) == (
        "a@b",
        "p/w",
        10465,
        "/etc/ca.pem",
        "tls",
    )
    assert "p/w" not in repr(url)


@pytest.mark.parametrize(
    "bad",
    [
        "mail.example.com",
        "http://mail.example.com",
        "smtp://",
        "smtp://host:port",
        "smtp://host/path",
        "smtp://host?tls=maybe",
        "smtps://host?tls=off",
        "smtp://host?timeout=3",
        "smtp://user@host",
        "smtp://:password@host",
        "smtp://user:password@host?tls=off",
    ],
)
def test_a_url_that_says_something_else_is_refused_without_its_password(bad):
    with pytest.raises(BadSmtpUrl, match=r"^(must|knows)") as refused:
        SmtpUrl.parse(bad)
    assert "password@host" not in str(refused.value).replace("user:password@host", "")


def test_authorities_that_are_not_there_are_told_at_the_start():
    with pytest.raises(BadSmtpUrl, match="authorities"):
        SmtpMailer(SmtpUrl.parse("smtps://host?ca=/no/such/file"))
