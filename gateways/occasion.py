"""On whose behalf something is done right now: what log lines and error reports tell besides.

A request, a connection with an event, a host with a batch and a job make themselves the occasion of what
follows in their context, tasks and callbacks that they start included. They are asked only when something is
said, so that on the way of an op it costs one variable to be set. What they tell are ids and counts: never
what somebody sent, and no name of a person.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from fitai.gateways.identity import Identity


class Occasion(Protocol):
    """What is going on."""

    def told(self) -> dict[str, Any]:
        """Who and what, as fields of a log line."""


NOW: ContextVar[Occasion | None] = ContextVar("fitai_occasion", default=None)


@dataclass(slots=True)
class Request:
    """A request over HTTP; who it comes from, and how many ops it carries, is known later if at all."""

    id: str
    method: str
    route: str
    caller: Identity | None = None
    ops: int | None = None

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = {"request_id": self.id, "method": self.method, "route": self.route}
        if self.caller is not None:
            told |= {"user": self.caller.user, "device": self.caller.device}
        return told if self.ops is None else {**told, "ops": self.ops}


@dataclass(frozen=True, slots=True)
class Job:
    """An attempt at a job of the outbox."""

    id: str
    kind: str
    attempt: int

    def told(self) -> dict[str, Any]:
        return {"job": self.id, "kind": self.kind, "attempt": self.attempt}


def told() -> dict[str, Any]:
    """What there is to tell; empty when nobody asked for what is being done."""
    now = NOW.get()
    return {} if now is None else now.told()


def called_by(caller: Identity) -> None:
    """The request that is served comes from this caller."""
    now = NOW.get()
    if isinstance(now, Request):
        now.caller = caller


def carries(ops: int) -> None:
    """The request that is served carries so many ops."""
    now = NOW.get()
    if isinstance(now, Request):
        now.ops = ops
