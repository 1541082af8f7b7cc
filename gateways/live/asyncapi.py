"""The live protocol as an AsyncAPI 3 document, made from the types that the gateway decodes with."""

from __future__ import annotations

from typing import Any

import msgspec

from fitai.engine.groups.kinds import KINDS as GROUP_KINDS
from fitai.engine.kinds import KINDS
from fitai.gateways.groups import described
from fitai.gateways.live import schemas
from fitai.gateways.live.connection import BYES
from fitai.gateways.live.events import SCOPES
from fitai.gateways.live.frames import NAMESPACE

# event -> (payload sent by the client, acknowledgement or None, what it is for)
FROM_CLIENT: dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct] | None, str]] = {
    "push": (schemas.Push, schemas.PushAck, "Append ops of this device. Acknowledged after the commit."),
    "pull": (schemas.Pull, schemas.PullAck, "Read the log from a position."),
    "workout:get": (schemas.WorkoutGet, schemas.WorkoutGetAck, "Read one workout's folded state."),
    "telemetry": (schemas.Telemetry, None, "A measurement for the other devices; newest wins."),
    "clock": (schemas.Clock, schemas.ClockAck, "Measure the offset to the server's clock."),
    "auth": (schemas.Auth, schemas.AuthAck, "Renew the access token in place."),
    **described.FROM_CLIENT,
}

TO_CLIENT: dict[str, tuple[type[msgspec.Struct], str]] = {
    "ready": (schemas.Ready, "The first event after the CONNECT packet."),
    "ops": (schemas.Ops, "Records in seq order; the pushing connection is not echoed."),
    "insight": (schemas.Insight, "Records, totals, the end of a rest, hints."),
    "telemetry": (schemas.Telemetry, "A measurement of another device, conflated."),
    "presence": (schemas.PresenceList, "Which of the user's devices are here."),
    "auth:expiring": (schemas.AuthExpiring, "Send `auth` with a new token before this moment."),
    **described.TO_CLIENT,
    "bye": (schemas.Bye, "Why the server closes, and whether to come back. Codes: " + ", ".join(BYES) + "."),
}

EXAMPLES: dict[str, Any] = {
    "push": {
        "ops": [
            {
                "n": 3,
                "base": 2,
                "kind": "set.log",
                "workout": "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001",
                "entity": "0198c1f2-9d40-7b16-8a7f-5f0e1e6f4a22",
                "value": {
                    "exercise_entry": "0198c1f2-8c11-7d02-b1f0-0f6f3f2ab9d1",
                    "type": "working",
                    "reps": 5,
                    "load": {"value": 82.5, "unit": "kg"},
                    "rpe": 8,
                    "rest_s": 120,
                },
                "at": 1763770000123,
            }
        ],
        "sent_at": 1763770000150,
    },
    "pull": {"after": 120, "limit": 200},
    "workout:get": {"workout": "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"},
    "telemetry": {"workout": "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001", "hr": 141},
    "clock": {"t0": 1763770000123},
    "auth": {"token": "eyJ…"},
    **described.EXAMPLES,
}

_REF = "#/components/schemas/{name}"


def asyncapi(version: str) -> dict[str, Any]:
    """The document; `version` is the product's."""
    components = _components()
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for event, (payload, ack, summary) in FROM_CLIENT.items():
        messages[f"client.{event}"] = _message(event, payload, summary, EXAMPLES[event])
        needs = f"{summary} A personal token needs `{SCOPES[event]}`, or is told `forbidden`."
        operations[f"receive {event}"] = _operation("receive", f"client.{event}", needs)
        if ack is not None:
            messages[f"ack.{event}"] = _message(
                f"{event} (ack)", ack, "Or a refusal: {ok: false, code, message, …}."
            )
            operations[f"receive {event}"]["reply"] = {
                "channel": {"$ref": "#/channels/live"},
                "messages": [{"$ref": f"#/channels/live/messages/ack.{event}"}],
            }
    for event, (payload, summary) in TO_CLIENT.items():
        messages[f"server.{event}"] = _message(event, payload, summary)
        operations[f"send {event}"] = _operation("send", f"server.{event}", summary)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "FitAI live protocol",
            "version": version,
            "description": (
                "Socket.IO protocol 5 in the namespace `/live`, WebSocket first. CONNECT with "
                "`auth: {token, cursor?}`; JSON by default, `?codec=msgpack` for the msgpack parser. "
                "Times are Unix ms. Op values by kind are the schemas named `value:<kind>`."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {"live": {"address": NAMESPACE, "messages": messages}},
        "operations": operations,
        "components": {"schemas": components},
    }


def _types() -> list[type[msgspec.Struct]]:
    from_client = [t for payload, ack, _ in FROM_CLIENT.values() for t in (payload, ack) if t is not None]
    to_client = [payload for payload, _ in TO_CLIENT.values()]
    return list(
        dict.fromkeys(
            [schemas.ConnectAuth, schemas.ConnectRefused, schemas.Refused, *from_client, *to_client]
        )
    )


def _components() -> dict[str, Any]:
    _, components = msgspec.json.schema_components(_types(), ref_template=_REF)
    values: dict[str, type[msgspec.Struct]] = {name: kind.value_type for name, kind in KINDS.items()}
    for name, type_ in sorted((values | dict(GROUP_KINDS)).items()):
        (value,), parts = msgspec.json.schema_components([type_], ref_template=_REF)
        assert all(components.get(part, shape) == shape for part, shape in parts.items()), name
        components |= parts
        components[f"value:{name}"] = value
    return components


def _message(event: str, payload: type[msgspec.Struct], summary: str, example: Any = None) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": event,
        "summary": summary,
        "payload": {"$ref": _REF.format(name=payload.__name__)},
    }
    if example is not None:
        out["examples"] = [{"payload": example}]
    return out


def _operation(action: str, message: str, summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/live"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/live/messages/{message}"}],
    }
