"""The events of groups as /asyncapi.json shows them: see `fitai.gateways.live.asyncapi`."""

from __future__ import annotations

from typing import Any

import msgspec

from fitai.gateways.groups import schemas

# event -> (payload sent by the client, acknowledgement or None, what it is for)
FROM_CLIENT: dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct] | None, str]] = {
    "group:join": (
        schemas.GroupJoin,
        schemas.GroupJoinAck,
        "Enter a group's room; who is no member joins, for which a personal token needs `groups:write`.",
    ),
    "group:push": (
        schemas.GroupPush,
        schemas.GroupPushAck,
        "Append ops of this device to a group's log. Acknowledged after the commit.",
    ),
    "group:pull": (schemas.GroupPull, schemas.GroupPullAck, "Read a group's log from a position."),
    "group:leave": (schemas.GroupLeave, schemas.GroupLeaveAck, "Leave a group, or only its room."),
    "group:cheer": (schemas.GroupCheer, None, "Cheer a member of a group, or all: counted, told by a tick."),
    "group:report": (schemas.GroupReport, schemas.GroupReportAck, "Report a message of a group."),
}

TO_CLIENT: dict[str, tuple[type[msgspec.Struct], str]] = {
    "group:ops": (schemas.GroupOps, "Records of a group in seq order, in whose room this connection is."),
    "group:tick": (
        schemas.GroupTick,
        "What changed of a group's members, at most four times a second; combined for who reads slowly.",
    ),
}

_GROUP = "0198c1f2-5a0e-7d11-8b3c-1f6a7c2d9e55"

EXAMPLES: dict[str, Any] = {
    "group:join": {"code": "7K3M9-QX2TB", "share": "progress"},
    "group:push": {
        "group": _GROUP,
        "ops": [
            {"n": 4, "base": 17, "kind": "chat.say", "value": {"text": "Last one!"}, "at": 1763770000123}
        ],
    },
    "group:pull": {"group": _GROUP, "after": 120, "limit": 200},
    "group:leave": {"group": _GROUP},
    "group:cheer": {"group": _GROUP, "to": 3, "kind": "fire"},
    "group:report": {"group": _GROUP, "dot": [7, 12], "reason": "insults"},
}
