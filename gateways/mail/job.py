"""Jobs of the kind `mail`: one letter to one address."""

from __future__ import annotations

from pydantic import ValidationError

from fitai.gateways.jobs.contract import Attempt, Kind, Permanent
from fitai.gateways.jobs.outcome import said
from fitai.gateways.mail.contract import Mailer
from fitai.gateways.mail.letters import LETTERS, Post
from fitai.gateways.mail.writing import Writer

MAIL = "mail"


def mail_kind(mailer: Mailer, writer: Writer) -> Kind[Post]:
    """What sends letters. One that was sent twice, since its worker died in between, has one Message-ID."""

    async def send(attempt: Attempt, post: Post) -> None:
        if post.template not in LETTERS:
            raise Permanent(f"bad payload: there is no letter {post.template}")
        try:
            letter = post.letter()
            message = writer.write(attempt.job, post.to, letter, post.locale, attempt.now)
        except ValidationError as error:
            raise Permanent(f"bad payload: values: {said(error)}") from None
        except ValueError as error:
            raise Permanent(f"bad payload: to: {error}") from None
        await mailer.send(message)

    return Kind(MAIL, Post, send, within_s=30.0)
