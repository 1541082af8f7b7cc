"""A real mail server on loopback, which answers as it is told to."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.redis_servers import missing

USER, PASSWORD = "fit@ai", "pass:word/@"


class Inbox:
    """What came, and what the server answers to each command (None: what it would)."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.answers: dict[str, str] = {}
        self.slow_s = 0.0
        self.over_tls: list[bool] = []
        self.users: list[bytes] = []
        self.port = 0

    @property
    def messages(self):
        return [
            message_from_bytes(envelope.original_content or b"", policy=default)
            for envelope in self.envelopes
        ]

    async def handle_MAIL(self, server, session: Session, envelope, address, options):
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(self, server, session, envelope, address, options):
        if "RCPT" in self.answers:
            return self.answers["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session: Session, envelope):
        await asyncio.sleep(self.slow_s)
        if "DATA" in self.answers:
            return self.answers["DATA"]
        self.over_tls.append(session.ssl is not None or server.transport.get_extra_info("cipher") is not None)
        self.envelopes.append(envelope)
        return "250 taken"

    def authenticate(self, server, session, envelope, mechanism, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.users.append(data.login)
        good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False, message=None if good else "535 5.7.8 no")


@asynccontextmanager
async def mail_server(
    certificate: Path | None = None, *, tls: str = "off", auth: bool = False, utf8: bool = False
) -> AsyncIterator[Inbox]:
    """`tls` is off, starttls or tls, with the certificate of a folder (see `make_certificate`)."""
    inbox, loop = Inbox(), asyncio.get_running_loop()
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def protocol() -> SMTP:
        return SMTP(
            inbox,
            loop=loop,
            hostname="mail.test",
            enable_SMTPUTF8=utf8,
            tls_context=context if tls == "starttls" else None,
            require_starttls=tls == "starttls",
            auth_required=auth,
            auth_require_tls=tls == "starttls",
            authenticator=inbox.authenticate if auth else None,
        )

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if tls == "tls" else None)
    inbox.port = server.sockets[0].getsockname()[1]
    try:
        yield inbox
    finally:
        server.close()
        await asyncio.sleep(0.05)  # connections that clients have closed end by themselves


def make_certificate(folder: Path, names: str = "IP:127.0.0.1") -> Path:
    """A folder with a key, and a certificate that signs itself."""
    if shutil.which("openssl") is None:
        missing("openssl is not on the PATH")
    folder.mkdir(exist_ok=True)
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
        f" -addext subjectAltName={names} -keyout {folder}/key.pem -out {folder}/cert.pem"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return folder
