"""What a host and the hosts of the same user on other nodes tell each other, besides what was committed.

    presence   {n, devices}         who is connected there
    who        –                    tell who is connected there
    telemetry  {device, payload}
    revoked    {device, sign_in?}   a device, or a sign-in of it, is out (said by fitai.http.auth)
    named      {device, name}       a device has another name            (said by fitai.http.auth)

How it is told and heard, and what becomes of records in hints, is `hints`'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fitai.gateways.bus.contract import Message
from fitai.gateways.bus.topics import user_topic
from fitai.gateways.live.hints import Hints

if TYPE_CHECKING:
    from fitai.gateways.live.host import Host
    from fitai.gateways.live.hosts import Hosts


class Neighbours(Hints):
    """The other hosts of one user, seen from this one."""

    def __init__(self, host: Host, hosts: Hosts) -> None:
        self._host = host
        super().__init__(host, hosts, user_topic(host.user))

    def contended(self) -> bool:
        return self._host.presence.elsewhere

    def devices(self) -> int:
        return len(self._host.connections)

    def _listening(self) -> None:
        super()._listening()
        if not self._hosts.alone and self._host.connections:
            self._host.presence.ask()

    def _heard(self, message: Message) -> None:
        kind = message["kind"]
        if kind == "revoked":
            self.revoked(message["device"], message.get("sign_in"))
        elif kind == "named":
            self._host.presence.named(message["device"], message["name"])
        else:
            super()._heard(message)

    def of_worker(self, kind: str, message: Message) -> None:
        host = self._host
        if kind == "telemetry":
            host.spread_telemetry(message["device"], message["payload"], None)
        elif kind == "presence":
            host.presence.heard(message["node"], message["n"], message["devices"])
        elif kind == "who":
            host.presence.asked()

    def revoked(self, device: int, sign_in: str | None = None) -> None:
        """A device may no longer be here, or only who has this sign-in of it (or a token that names none)."""
        for connection in list(self._host.connections):
            who = connection.identity
            if who.device == device and (sign_in is None or who.sign_in in (sign_in, None)):
                connection.bye("revoked")
