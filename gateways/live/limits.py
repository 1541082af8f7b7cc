"""Every bound of the live gateway, in one place, with its default.

Sizes always hold. Rates (`*_per_*`, `*_burst`) are lifted when `rates` is false, which load tests use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fitai.sync.wire import WireLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLimits:
    """Bounds of the gateway; times in seconds or milliseconds as the name says."""

    wire: WireLimits = field(default_factory=WireLimits)
    rates: bool = True

    exercises_per_workout: int = 100
    sets_per_workout: int = 500
    ops_per_workout: int = 20_000
    text_bytes: int = 8 * 1024

    ops_per_s: float = 50.0
    ops_burst: int = 5_000
    ops_per_day: int = 100_000
    ops_per_user: int = 2_000_000
    events_per_s: float = 100.0
    events_burst: int = 500
    telemetry_per_s: float = 4.0
    telemetry_bytes: int = 1024

    packet_bytes: int = 1024 * 1024
    queue_bytes: int = 1024 * 1024
    inbox_events: int = 1_024
    pushes_in_flight: int = 256
    connections_per_user: int = 64
    connections_per_device: int = 8
    connects_per_min: int = 3_000
    pull_records: int = 500

    auth_s: float = 10.0
    expiring_s: float = 60.0
    expiry_grace_s: float = 25.0
    presence_grace_s: float = 15.0
    heartbeat_s: float = 2.0
    look_s: float = 3.0
    revoked_s: float = 0.5
    bye_s: float = 2.0
    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0

    idle_pause_ms: int = 15 * 60_000
    idle_finish_ms: int = 6 * 3_600_000

    def told(self) -> dict[str, int]:
        """What `ready` tells a client of its bounds."""
        return {
            "op_bytes": self.wire.op_bytes,
            "push_bytes": self.wire.push_bytes,
            "push_ops": self.wire.push_ops,
            "ops_per_s": int(self.ops_per_s),
            "ops_burst": self.ops_burst,
            "pull_records": self.pull_records,
            "exercises_per_workout": self.exercises_per_workout,
            "sets_per_workout": self.sets_per_workout,
            "ops_per_workout": self.ops_per_workout,
            "telemetry_per_s": int(self.telemetry_per_s),
        }
