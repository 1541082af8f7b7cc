"""What can be asked of a server: each module is one scenario, told in its class's first lines."""

from __future__ import annotations

from fitai.bench.scenarios.base import Scenario
from fitai.bench.scenarios.connect import Connect
from fitai.bench.scenarios.group import Group
from fitai.bench.scenarios.live import Live
from fitai.bench.scenarios.mixed import Mixed, Soak
from fitai.bench.scenarios.reconnect import Reconnect
from fitai.bench.scenarios.rest import Rest
from fitai.bench.scenarios.rooms import Rooms
from fitai.bench.scenarios.sync import Sync

SCENARIOS: dict[str, type[Scenario]] = {
    scenario.name: scenario for scenario in (Connect, Live, Rooms, Group, Reconnect, Sync, Rest, Mixed, Soak)
}
