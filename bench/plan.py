"""What a run was asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Pace = Literal["profile", "rate", "window"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run, as every generator gets it.

    users, devices   people, and devices of each. `rooms` takes several numbers of devices, one after another
    sizes            participants of groups, one after another, for `group`
    duration_s       from the common start to the last intended send
    rate             open loop: works per second over all users, at times that are fixed before
    window           closed loop: works that each user keeps on the way
                     (neither: the times at which people do things, from the scenario's table)
    codec            json or msgpack
    seed             of all that is drawn by chance: the same seed is the same load
    """

    scenario: str
    users: int
    devices: Sequence[int]
    duration_s: float
    sizes: Sequence[int] = ()
    rate: float | None = None
    window: int | None = None
    codec: str = "json"
    generators: int = 1
    seed: int = 1

    @property
    def pace(self) -> Pace:
        """Who decides when something is sent."""
        return "rate" if self.rate is not None else "window" if self.window is not None else "profile"

    @property
    def interval_s(self) -> float:
        """How long one point of a timeline is: about sixty of them, none shorter than a quarter second."""
        return min(60.0, max(0.25, round(self.duration_s / 60 * 4) / 4))

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        told = {**asdict(self), "devices": list(self.devices), "sizes": list(self.sizes), "pace": self.pace}
        return {key: value for key, value in told.items() if key != "sizes" or value}


@dataclass(frozen=True, slots=True)
class Pass:
    """A device's way in: its number in the user's stream and its tokens. The server's own load run has no
    refresh tokens: its access tokens outlive the run."""

    device: int
    token: str
    refresh: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the run and the devices that are theirs."""

    number: int
    user: str
    passes: tuple[Pass, ...]


def shares(people: Sequence[Person], generators: int) -> list[list[Person]]:
    """The people of each generator: nobody is in two, and no generator is empty."""
    count = min(generators, len(people))
    return [list(people[start::count]) for start in range(count)]
