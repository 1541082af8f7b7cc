"""Mail: what is handed to a mailer, and what it promises.

- `send` returns when somebody else has taken the message over: a mail server, or a folder.
- It raises `Permanent` when this message will never be taken (no such mailbox, refused content), and
  `Temporary` for everything that may be otherwise later, refused credentials among it: these are an
  operator's to put right, and no letter should be lost until then.
- The same message may be sent more often than once. Its Message-ID stays the same, by which it is recognised.
- What an exception says holds no password.
"""

from __future__ import annotations

from email.message import EmailMessage
from typing import Protocol


class Mailer(Protocol):
    """Takes messages; see the module's promises. May be used by several tasks at a time."""

    async def send(self, message: EmailMessage) -> None:
        """Hand one message over; raises Permanent or Temporary."""
