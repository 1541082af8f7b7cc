"""Listening sockets, bound before anything else is opened: a taken port is told at once, and several
processes can share what one has bound.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from fitai.app.failures import not_listening
from fitai.app.settings import Settings

BACKLOG = 1024  # connections that may wait to be accepted: all clients of a node that ended come at once


@dataclass(frozen=True, slots=True)
class Listeners:
    """What a server listens on: for its clients, and for who measures it."""

    main: list[socket.socket]
    metrics: list[socket.socket]

    @property
    def port(self) -> int:
        """The main port, also when it was left open which one."""
        return int(self.main[0].getsockname()[1])

    def close(self) -> None:
        """Let go of the addresses, as far as this process is concerned."""
        for each in (*self.main, *self.metrics):
            each.close()


@contextmanager
def bound(settings: Settings) -> Iterator[Listeners]:
    """Bind the addresses of the settings, without listening yet; raises Refused."""
    with ExitStack() as stack:
        main = _bound("FITAI_HOST", settings.host, settings.port)
        listeners = Listeners(main, [])
        stack.callback(listeners.close)
        listeners.metrics.extend(_bound_for_metrics(settings))
        yield listeners


@contextmanager
def bound_for_metrics(settings: Settings) -> Iterator[list[socket.socket]]:
    """Bind the address for who measures, if there is one; raises Refused."""
    sockets = _bound_for_metrics(settings)
    try:
        yield sockets
    finally:
        for each in sockets:
            each.close()


def _bound_for_metrics(settings: Settings) -> list[socket.socket]:
    where = settings.metrics_address
    return [] if where is None else _bound("FITAI_METRICS_BIND", *where)


def _bound(setting: str, host: str, port: int) -> list[socket.socket]:
    """A socket for each address that `host` stands for, all on one port."""
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            made = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(made)
            if os.name == "posix":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setblocking(False)
            chosen = port or (sockets[0].getsockname()[1] if len(sockets) > 1 else 0)
            made.bind((address[0], chosen, *address[2:]))
    except OSError as error:
        for each in sockets:
            each.close()
        raise not_listening(setting, host, port, error) from error
    return sockets
