"""Who is who in a group: the users and devices behind the numbers of its stream, as the database has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fitai.persistence.groups import Entry, MemberAt


class Roster:
    """Of one room; committed rows only.

    users    member -> user (UUID), None for an account that is gone
    members  user -> member
    devices  (user, that user's device) -> device of the stream
    """

    def __init__(self) -> None:
        self.users: dict[int, str | None] = {}
        self.members: dict[str, int] = {}
        self.devices: dict[tuple[str, int], int] = {}

    def read(self, members: Sequence[MemberAt], devices: Mapping[tuple[str, int], int]) -> None:
        """Take over what the database says."""
        self.users.clear()
        self.users.update({row.member: row.user for row in members})
        self.members = {row.user: row.member for row in members if row.user is not None}
        self.devices = dict(devices)

    def add(self, entries: Iterable[Entry]) -> None:
        """These were let in."""
        for entry in entries:
            self.users[entry.member] = entry.user
            self.members[entry.user] = entry.member
            self.devices[entry.user, entry.user_device] = entry.device
