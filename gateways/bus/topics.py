"""Names of the topics on the bus, in one place."""

from __future__ import annotations

NODES = "nodes"
"""The nodes say here that they are alive."""


def user_topic(user: str) -> str:
    """All that concerns one user's stream, devices and sessions."""
    return f"user:{user}"
