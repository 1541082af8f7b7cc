"""Names of the topics on the bus, in one place."""

from __future__ import annotations

NODES = "nodes"
"""The nodes say here that they are alive."""

BLOCKS = "blocks"
"""Said here: that somebody has another opinion of whom they want to meet."""

BODIES = "bodies"
"""Said here: that what somebody tells of their body is something else now, `user`."""


def user_topic(user: str) -> str:
    """All that concerns one user's stream, devices and sessions."""
    return f"user:{user}"


def group_topic(group: str) -> str:
    """All that concerns one group's stream."""
    return f"group:{group}"
