"""What a transport promises, whatever carries it.

A transport is one connection. It tells what happens by `hear`, in the order in which it happened, from the
event loop's thread: first `Connected` or `Refused` or `Lost`, then what comes. Every `push` and `pull` is
answered by one `Pushed` or `Pulled`, or the connection is `Lost`; after `Lost` or `close` it says nothing.
None of its methods raises for what the network does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from fitai.gateways.client.messages import Event, Json

Hear = Callable[[Event], None]


class Transport(Protocol):
    """One connection; see the module's first lines."""

    async def open(self, token: str, cursor: Json | None) -> None:
        """Connect."""

    async def push(self, ops: Sequence[Json], epoch: str) -> None:
        """Send ops."""

    async def pull(self, after: int, limit: int) -> None:
        """Ask for records."""

    async def renew(self, token: str) -> None:
        """Tell a new access token, where the connection keeps one."""

    async def close(self) -> None:
        """Hang up."""
