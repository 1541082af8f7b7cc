"""Who is who in a group: the users and devices behind the numbers of its stream, as the database has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fitai.engine.groups.measure import UNKNOWN, Body
from fitai.persistence.groups import Entry, MemberAt


class Roster:
    """Of one room; committed rows only.

    users    member -> user (UUID), None for an account that is gone
    members  user -> member
    devices  (user, that user's device) -> device of the stream
    bodies   member -> what they tell of their body
    """

    def __init__(self) -> None:
        self.users: dict[int, str | None] = {}
        self.members: dict[str, int] = {}
        self.devices: dict[tuple[str, int], int] = {}
        self.bodies: dict[int, Body] = {}

    def read(self, members: Sequence[MemberAt], devices: Mapping[tuple[str, int], int]) -> None:
        """Take over what the database says."""
        self.users.clear()
        self.users.update({row.member: row.user for row in members})
        self.members = {row.user: row.member for row in members if row.user is not None}
        self.devices = dict(devices)
        self.bodies = {no: body for no, body in self.bodies.items() if self.users.get(no) is not None}

    def weigh(self, bodies: Mapping[str, Body]) -> list[int]:
        """Take over what these users tell of their bodies; returns the members for whom that is news."""
        news = []
        for user, body in bodies.items():
            no = self.members.get(user)
            if no is not None and self.bodies.get(no, UNKNOWN) != body:
                self.bodies[no] = body
                news.append(no)
        return news

    def add(self, entries: Iterable[Entry]) -> None:
        """These were let in."""
        for entry in entries:
            self.users[entry.member] = entry.user
            self.members[entry.user] = entry.member
            self.devices[entry.user, entry.user_device] = entry.device
