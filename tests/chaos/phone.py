"""The reference client, as an app has it, among the light devices: one file, one address, and its own mind
about when to come back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from fitai.gateways.client.client import Client
from fitai.gateways.client.core import Patience
from tests.system.conftest import now_ms

Json = dict[str, Any]

PATIENCE = Patience(base_ms=100, cap_ms=2_000)


class Phone:
    """One app; `open` makes it and connects it to `url` under a sign-in that it is given."""

    def __init__(self, client: Client, user: str, id: int, codec: str, counts: Counter[str]) -> None:
        self.client = client
        self.user = user
        self.id = id
        self.counts = counts
        self.name = f"{user[:8]}.{id} (client, {codec})"

    @classmethod
    async def open(
        cls, folder: Path, user: str, id: int, *, url: str, token: str, codec: str, random: Random
    ) -> Phone:
        counts: Counter[str] = Counter()

        def heard(event: str, payload: Json) -> None:
            counts[f"client {event}"] += 1
            if event == "online" and payload["resumed"]:
                counts["resumed"] += 1
            elif event == "pushed" and payload["ok"]:
                verdicts = [result["verdict"] for result in payload["results"]]
                counts["duplicates"] += verdicts.count("duplicate")

        client = await Client.open(
            folder / f"{user}-{id}.db",
            url=url,
            now_ms=now_ms,
            codec=codec,
            random=random.random,
            patience=PATIENCE,
            listener=heard,
        )
        await client.adopt(user, id, token)
        await client.connect()
        return cls(client, user, id, codec, counts)

    @property
    def full(self) -> bool:
        return len(self.client.held.outbox) > 80

    @property
    def acked(self) -> int:
        """How many of its ops it knows to be in the log."""
        held = self.client.held
        return held.next_n - 1 - len(held.outbox)

    async def does(self, kind: str, workout: str, value: Json, entity: str | None) -> None:
        """Write an op; it is in the file when this returns."""
        await self.client.log(kind, workout, value, entity)

    async def close(self) -> None:
        await self.client.close()
