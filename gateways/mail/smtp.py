"""Mail over SMTP, from a URL.

    smtp://user:password@host[:587]      STARTTLS, without which nothing is sent
    smtps://user:password@host[:465]     TLS from the first byte
    smtp://host[:25]?tls=off             in the clear, without a password: a relay on the same machine

`ca=/path` names a file with the authorities that are believed instead of the system's. User and password are
percent-encoded, and may both be left out.

A connection a message: letters are few, and a connection that was idle is one that the server has closed.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from urllib.parse import parse_qsl, unquote, urlsplit

import aiosmtplib
from aiosmtplib import (
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from fitai.gateways.jobs.contract import Permanent, Temporary

WITHIN_S = 20.0  # for one message, from connecting to its acceptance
ANSWER_S = 10.0  # for one answer of the server

_PORTS = {"tls": 465, "starttls": 587, "off": 25}


class BadSmtpUrl(ValueError):
    """The message goes on after the name of the setting: "must …"."""


@dataclass(frozen=True, slots=True)
class SmtpUrl:
    """A URL taken apart; `security` is `tls`, `starttls` or `off`."""

    host: str
    port: int
    security: str
    user: str | None
    password: str | None = field(repr=False)
    ca: str | None

    @classmethod
    def parse(cls, url: str) -> SmtpUrl:
        """Raises BadSmtpUrl."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            host, port, options = None, None, {}
        if not host or parts.scheme not in ("smtp", "smtps") or parts.path not in ("", "/") or parts.fragment:
            raise BadSmtpUrl("must be a URL like smtp://user:password@host:587 or smtps://user:password@host")
        tls, ca = options.pop("tls", None), options.pop("ca", None)
        if options or tls not in (None, "off") or (tls and parts.scheme == "smtps"):
            raise BadSmtpUrl("knows the options tls=off (of smtp://) and ca=/path/of/a/file, and no others")
        security = "tls" if parts.scheme == "smtps" else tls or "starttls"
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        if (user is None) != (password is None):
            raise BadSmtpUrl("must have a user and a password, or neither")
        if security == "off" and password is not None:
            raise BadSmtpUrl("must not send a password in the clear: leave out tls=off, or the password")
        return cls(host, port or _PORTS[security], security, user, password, ca)

    def trust(self) -> ssl.SSLContext | None:
        """Whom to believe; raises BadSmtpUrl when the file of authorities can not be read."""
        if self.security == "off":
            return None
        try:
            return ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise BadSmtpUrl(f"must name a readable file of authorities ({error})") from None


class SmtpMailer:
    """Hands messages to a mail server; raises BadSmtpUrl when it is made of a URL that can not be used."""

    def __init__(self, url: SmtpUrl, *, within_s: float = WITHIN_S, answer_s: float = ANSWER_S) -> None:
        self._url = url
        self._trust = url.trust()
        self._within_s = within_s
        self._answer_s = answer_s

    async def send(self, message: EmailMessage) -> None:
        """Hand one message over; raises Permanent or Temporary."""
        try:
            async with asyncio.timeout(self._within_s):
                await self._send(message)
        except SMTPRecipientsRefused as error:
            raise _judged(error.recipients[0]) from error
        except (SMTPException, OSError, TimeoutError) as error:
            raise _judged(error) from error

    async def _send(self, message: EmailMessage) -> None:
        url = self._url
        client = aiosmtplib.SMTP(
            hostname=url.host,
            port=url.port,
            username=url.user,
            password=url.password,
            timeout=self._answer_s,
            use_tls=url.security == "tls",
            start_tls=url.security == "starttls",
            tls_context=self._trust,
        )
        async with client:
            await client.send_message(message)


# Of these answers the message is the cause. Others are about us: who we are, and what the server can.
_ABOUT_THE_MESSAGE = (SMTPDataError, SMTPRecipientRefused, SMTPSenderRefused)


def _judged(error: Exception) -> Exception:
    if isinstance(error, SMTPNotSupported):
        # An address beyond ASCII at a server that takes none, or no STARTTLS: an operator can change both.
        return Temporary(f"the mail server can not do it: {error.message}")
    if isinstance(error, SMTPResponseException):
        words = f"the mail server says {error.code} {' '.join(error.message.split())}"
        final = 500 <= error.code <= 599 and isinstance(error, _ABOUT_THE_MESSAGE)
        return Permanent(words) if final else Temporary(words)
    if isinstance(error, TimeoutError):
        return Temporary("the mail server did not answer in time")
    return Temporary(f"the mail server can not be reached: {type(error).__name__}: {error}")
