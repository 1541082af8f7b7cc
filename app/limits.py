"""The limits that protect a server from its clients, and clients from each other.

Three sorts: sizes, which hold always; rates and counts of connections, which a load test may lift; and
durations. Each is set by `FITAI_LIMIT_…` (see `fitai.app.settings`).
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

LIMIT_PREFIX = "FITAI_LIMIT_"

UNLIMITED = 2**53 - 1
"""What a lifted rate is set to: the largest integer that every JSON reader keeps exactly."""

Count = Annotated[int, Field(ge=1, le=UNLIMITED)]
Bytes = Annotated[int, Field(ge=256, le=2**31)]
Pause = Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86_400, allow_inf_nan=False)]


def _rate(default: int, description: str) -> Any:
    """A limit per time or per connection: `FITAI_LIMITS=off` lifts it."""
    return Field(default, description=description, json_schema_extra={"lifted_by_switch": True})


class Limits(BaseModel):
    """What one op, workout, connection, device, user or address may take at most.

    Sizes hold always. Rates, and connections counted, are lifted by `FITAI_LIMITS=off`, which is for load
    tests. Durations are seconds and may have a fraction.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    op_bytes: Bytes = Field(16 * 1024, description="Bytes of one op.")
    op_depth: Count = Field(12, description="Levels of nesting in a push. A full plan takes nine.")
    push_ops: Count = Field(500, description="Ops in one push.")
    push_bytes: Bytes = Field(256 * 1024, description="Bytes of one push, or of one request body.")
    text_bytes: Bytes = Field(8 * 1024, description="Bytes of one text, such as a note.")
    workout_exercises: Count = Field(100, description="Exercises in one workout.")
    workout_sets: Count = Field(500, description="Sets in one workout.")
    workout_ops: Count = Field(20_000, description="Ops in one workout, refused ones counted.")
    user_devices: Count = Field(32, description="Devices of one user; the longest unused is retired.")
    user_ops: Count = Field(2_000_000, description="Ops in one user's log.")
    group_members: Annotated[int, Field(ge=2, le=100_000)] = Field(
        1_000, description="Members of one group at once."
    )
    queue_bytes: Bytes = Field(
        1024 * 1024,
        description="Bytes that may wait to be sent on one connection before it is closed as slow.",
    )
    pull_page: Count = Field(500, description="Records in one page of a pull, and of a catch-up.")

    ops_per_second: Count = _rate(50, "Ops of one device per second, in the long run.")
    ops_burst: Count = _rate(5_000, "Ops that one device may send at once after a silence.")
    ops_per_day: Count = _rate(100_000, "Ops of one user per day.")
    events_per_second: Count = _rate(100, "Socket events of one connection per second, in the long run.")
    events_burst: Count = _rate(500, "Socket events that one connection may send at once after a silence.")
    requests_per_minute: Count = _rate(
        1_200, "REST requests of one account per minute, where no other rate of REST is meant."
    )
    auth_per_minute: Count = _rate(20, "Requests of one account per minute to sign in and the like.")
    mail_per_hour: Count = _rate(10, "Requests of one account per hour that send a mail.")
    heavy_per_minute: Count = _rate(20, "Requests of one account per minute that cost the server much.")
    connects_per_minute: Count = _rate(3_000, "New connections from one address per minute.")
    group_ops_per_second: Count = _rate(10, "Ops of one device in a group per second, in the long run.")
    group_ops_burst: Count = _rate(50, "Ops that one device may send at once in a group after a silence.")
    group_messages_per_minute: Count = _rate(30, "Messages of one member in a group per minute.")
    group_messages_burst: Count = _rate(5, "Messages that one member may send at once after a silence.")
    group_joins_per_minute: Count = _rate(20, "Groups that one account may join or make per minute.")
    group_codes_per_hour: Count = _rate(
        10, "Codes that open nothing which one account may try per hour; one address, three times as many."
    )
    user_connections: Count = _rate(64, "Open connections of one user.")
    device_connections: Count = _rate(8, "Open connections of one device.")

    address_people: Count = Field(
        10, description="Accounts' worth of REST requests that may come from one address (of IPv6: a /64)."
    )
    telemetry_per_second: Count = Field(
        4, description="Telemetry events per second to one receiver; the newest value wins."
    )
    keep_alive_seconds: Seconds = Field(
        75,
        description="How long an HTTP connection without a request is kept; longer than balancers do.",
    )
    auth_seconds: Seconds = Field(10, description="Time that a new connection has to authenticate.")
    expiry_warning_seconds: Seconds = Field(
        60, description="How long before its token expires a connection is warned."
    )
    expiry_grace_seconds: Seconds = Field(
        25, description="How long a connection lives on after its token has expired."
    )
    presence_grace_seconds: Seconds = Field(
        15, description="How long a device that lost its connection is still shown as present."
    )
    idle_pause_seconds: Seconds = Field(
        15 * 60, description="Silence after which an active workout is paused by the server."
    )
    idle_finish_seconds: Seconds = Field(
        6 * 3600, description="Silence after which an open workout is completed or abandoned by the server."
    )
    drain_notice_seconds: Pause = Field(
        0,
        description="Time that a stopping server serves on while `/health/ready` is red, so that load"
        " balancers turn away first; let it be two of their checks.",
    )
    drain_seconds: Seconds = Field(5, description="Time that a stopping server takes to say goodbye.")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for small, large in _ORDERED_LIMITS:
            if getattr(self, small) > getattr(self, large):
                raise PydanticCustomError(
                    "order",
                    "{text}",
                    {"limit": small, "text": f"must not exceed {LIMIT_PREFIX}{large.upper()}"},
                )
        return self

    def lifted(self) -> Limits:
        """The same sizes and durations without any rate."""
        rates = {name: UNLIMITED for name, field in Limits.model_fields.items() if is_rate(field)}
        return self.model_copy(update=rates)


_ORDERED_LIMITS = (
    ("text_bytes", "op_bytes"),
    ("op_bytes", "push_bytes"),
    ("ops_per_second", "ops_burst"),
    ("events_per_second", "events_burst"),
    ("group_ops_per_second", "group_ops_burst"),
    ("device_connections", "user_connections"),
    ("idle_pause_seconds", "idle_finish_seconds"),
)


def is_rate(field: FieldInfo) -> bool:
    """Whether the limit described by `field` is lifted by `FITAI_LIMITS=off`."""
    return isinstance(field.json_schema_extra, dict) and "lifted_by_switch" in field.json_schema_extra
