"""From a letter to a message: the template in the person's language, and the headers around it.

    templates/<locale>/<letter>.txt     the words; its block `subject` is the subject
    templates/<locale>/<letter>.html    the same for eyes
    templates/<locale>/words.jinja      macros: how moments and durations are said in that language
    templates/<locale>/base.*           greeting and farewell
    templates/layout.html               what HTML letters look like, whatever they say

A locale is a BCP 47 tag in lower case. Of `de-AT` the first is taken that has this letter: `de-at`, `de`,
`en`.

What people called themselves or their devices can come into the inboxes of others, so it is shown only when
no reader could take it for a link. HTML escapes everything. Headers are built by `email`'s own policy, which
refuses line breaks; the subject is one line before it comes there.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fitai.gateways.mail.letters import Letter

FOLDER = Path(__file__).parent / "templates"
LAST = "en"  # which has every letter

_LINKLIKE = re.compile(r"//|@|www\.|[^\W_]\.[^\W\d_]{2,}", re.IGNORECASE)
_SHOWN = 60  # characters of what somebody called something
_NO_PLAIN_ADDRESS = re.compile(r'[\s,;:<>()\[\]"\\]')


class Writer:
    """Writes letters from one sender. `public_url` is put before the paths of links."""

    def __init__(self, *, sender: Address, public_url: str) -> None:
        self._sender = sender
        self._url = public_url
        self._locales = frozenset(folder.name for folder in FOLDER.iterdir() if folder.is_dir())
        # Two, since a macro escapes as the environment says in which it was compiled: both use `words.jinja`.
        self._text = _environment(autoescape=False)
        self._html = _environment(autoescape=True)

    def write(self, job: str, to: str, letter: Letter, locale: str | None, now: int) -> EmailMessage:
        """The message that job `job` (an id) sends at `now` (Unix ms). Raises ValueError when `to` is no
        address that a header can hold."""
        language = self._language(letter.template, locale)
        values = letter.model_dump() | {"url": self._url, "locale": language}
        text = self._text.get_template(f"{language}/{letter.template}.txt")
        context = text.new_context(values)
        subject = " ".join("".join(text.blocks["subject"](context)).split())
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = recipient(to)
        message["Subject"] = subject
        message["Date"] = format_datetime(datetime.fromtimestamp(now / 1000, UTC))
        message["Message-ID"] = f"<{job}@{self._sender.domain}>"
        message["Content-Language"] = language
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(_tidied(text.render(values)), cte="quoted-printable")
        html = self._html.get_template(f"{language}/{letter.template}.html").render(values, subject=subject)
        message.add_alternative(html, subtype="html", cte="quoted-printable")
        return message

    def _language(self, letter: str, locale: str | None) -> str:
        for candidate in candidates(locale):
            if candidate in self._locales and (FOLDER / candidate / f"{letter}.txt").exists():
                return candidate
        return LAST


def _environment(*, autoescape: bool) -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"plain": plain, "moment": moment}
    return made


def candidates(locale: str | None) -> list[str]:
    """`de-AT` is tried as de-at, de, en."""
    parts = (locale or "").replace("_", "-").lower().split("-")
    return [*("-".join(parts[:count]) for count in range(len(parts), 0, -1)), LAST]


def recipient(address: str) -> Address:
    """One address and nothing else; raises ValueError."""
    local, _, domain = address.rpartition("@")
    if not (local and domain) or not address.isprintable() or _NO_PLAIN_ADDRESS.search(address):
        raise ValueError("not one plain address")
    if not domain.isascii():
        domain = domain.encode("idna").decode("ascii")
    return Address(username=local, domain=domain)


def sender(text: str) -> Address:
    """Who writes, from `no-reply@example.com` or `FitAI <no-reply@example.com>`; raises ValueError."""
    name, address = parseaddr(text)
    if not text.isprintable() or not address:
        raise ValueError("not one address")
    found = recipient(address)
    return Address(name, found.username, found.domain)


def plain(text: str | None) -> str:
    """What somebody called something, on one line; nothing when a reader might take it for a link."""
    if text is None:
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if _LINKLIKE.search(line):
        return ""
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def moment(at: int, pattern: str) -> str:
    """Unix ms, in UTC, as the language's pattern (that of strftime) has it."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime(pattern)


def _tidied(text: str) -> str:
    """Not more than one empty line in a row: what blocks leave behind."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def body_of(message: EmailMessage, kind: str = "plain") -> str:
    """The text of a message, or its HTML."""
    part: Any = message.get_body((kind,))
    return "" if part is None else str(part.get_content())
