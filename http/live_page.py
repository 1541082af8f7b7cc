"""The AsyncAPI document as one page for people: events, payloads, examples. No script, nothing from outside.

Works on any AsyncAPI 3 document: operations name messages of channels, messages name their payload's JSON
Schema, references (`#/…`) are followed. All text comes out escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

Document = Mapping[str, Any]

_WAYS = {"send": "server → client", "receive": "client → server"}
_DEEPEST = 8  # levels of a payload that are told, and that live.css indents; the document itself has all


class Field(NamedTuple):
    """One row of a payload's table; `depth` indents it."""

    name: str
    depth: int
    type: str
    required: bool
    description: str


class Event(NamedTuple):
    """One message as the page shows it; `ways` are "client → server" and the like."""

    name: str
    anchor: str
    ways: list[str]
    summary: str
    description: str
    fields: list[Field]
    examples: list[str]
    reply: str | None


def render(asyncapi: Document, *, document: str, style: str) -> str:
    """The page; `document` is where the AsyncAPI document itself is served, `style` where live.css is."""
    info = asyncapi.get("info", {})
    return TEMPLATES.get_template("live.html").render(
        title=info.get("title", "Live"),
        version=info.get("version", ""),
        description=info.get("description", ""),
        document=document,
        style=style,
        servers=list(_servers(asyncapi)),
        channels=list(_channels(asyncapi)),
        events=list(events(asyncapi)),
        schemas=list(_schemas(asyncapi)),
    )


def events(asyncapi: Document) -> Iterator[Event]:
    """Every message of every channel, in the order of the document."""
    ways = _ways(asyncapi)
    for channel in asyncapi.get("channels", {}).values():
        for key, reference in resolved(asyncapi, channel).get("messages", {}).items():
            message = resolved(asyncapi, reference)
            payload = resolved(asyncapi, message.get("payload", {}))
            name = message.get("name", key)
            found, reply = ways.get(key, ([], None))
            yield Event(
                name=name,
                anchor=f"event-{key}",
                ways=found,
                summary=message.get("summary") or message.get("title") or "",
                description=message.get("description") or payload.get("description") or "",
                fields=list(_fields(asyncapi, payload)),
                examples=[
                    _pretty(example.get("payload", example)) for example in message.get("examples", [])
                ],
                reply=reply,
            )


def resolved(asyncapi: Document, node: Any) -> dict[str, Any]:
    """The node that a chain of references ends at; an empty one if it leads nowhere."""
    seen: set[str] = set()
    while isinstance(node, Mapping) and isinstance(reference := node.get("$ref"), str):
        if reference in seen or not reference.startswith("#/"):
            return {}
        seen.add(reference)
        node = _at(asyncapi, reference)
    return dict(node) if isinstance(node, Mapping) else {}


def _at(asyncapi: Document, reference: str) -> Any:
    node: Any = asyncapi
    for part in reference.removeprefix("#/").split("/"):
        # RFC 6901: ~1 is a slash, ~0 a tilde.
        part = part.replace("~1", "/").replace("~0", "~")
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _ways(asyncapi: Document) -> dict[str, tuple[list[str], str | None]]:
    """Per message's key in its channel: which ways it goes, and the name of what answers it."""
    found: dict[str, tuple[list[str], str | None]] = {}

    def add(reference: Any, way: str, reply: str | None) -> None:
        ways, known = found.get(_key(reference), ([], None))
        found[_key(reference)] = ([*ways, way] if way not in ways else ways, known or reply)

    for operation in asyncapi.get("operations", {}).values():
        answers = resolved(asyncapi, operation.get("reply", {})).get("messages", [])
        reply = ", ".join(_name(asyncapi, answer) for answer in answers) or None
        for reference in operation.get("messages", []):
            add(reference, _WAYS.get(operation.get("action", ""), ""), reply)
        for reference in answers:
            add(reference, "answer", None)
    return found


def _key(reference: Any) -> str:
    return str(reference.get("$ref", "")).rpartition("/")[2] if isinstance(reference, Mapping) else ""


def _name(asyncapi: Document, reference: Any) -> str:
    name: str = resolved(asyncapi, reference).get("name", _key(reference))
    return name


def _servers(asyncapi: Document) -> Iterator[dict[str, str]]:
    for name, server in asyncapi.get("servers", {}).items():
        server = resolved(asyncapi, server)
        address = f"{server.get('protocol', '')}://{server.get('host', '')}{server.get('pathname', '')}"
        yield {"name": name, "address": address, "description": server.get("description", "")}


def _channels(asyncapi: Document) -> Iterator[dict[str, str]]:
    for name, channel in asyncapi.get("channels", {}).items():
        channel = resolved(asyncapi, channel)
        address = channel.get("address") or name
        yield {"address": address, "description": channel.get("description") or channel.get("summary") or ""}


def _schemas(asyncapi: Document) -> Iterator[dict[str, Any]]:
    for name, schema in asyncapi.get("components", {}).get("schemas", {}).items():
        yield {
            "name": name,
            "anchor": f"schema-{name}",
            "description": resolved(asyncapi, schema).get("description", ""),
            "fields": list(_fields(asyncapi, resolved(asyncapi, schema), deep=False)),
            "values": [_pretty(value) for value in resolved(asyncapi, schema).get("enum", [])],
        }


def _fields(
    asyncapi: Document, schema: Document, *, deep: bool = True, depth: int = 0, inside: tuple[str, ...] = ()
) -> Iterator[Field]:
    """The fields of an object schema, those of objects inside it under them; a schema is not told again
    inside itself."""
    required = set(schema.get("required", ()))
    for name, reference in schema.get("properties", {}).items():
        own = resolved(asyncapi, reference)
        told = reference.get("description") or own.get("description", "")
        yield Field(name, depth, type_of(asyncapi, reference), name in required, told)
        for key, part in _objects(asyncapi, reference) if deep and depth < _DEEPEST else ():
            if key not in inside:
                yield from _fields(asyncapi, part, depth=depth + 1, inside=(*inside, key))


def _objects(asyncapi: Document, reference: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """The object schemas behind a field: itself, its items, its alternatives; each with a name."""
    schema = resolved(asyncapi, reference)
    if schema.get("properties"):
        yield str(reference.get("$ref") or schema.get("title") or id(reference)), schema
    if isinstance(items := schema.get("items"), Mapping):
        yield from _objects(asyncapi, items)
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _objects(asyncapi, option)


def type_of(asyncapi: Document, reference: Document) -> str:
    """A schema's type in a few words: `integer`, `Load or null`, `list of Op`, `"kg" or "lb"`."""
    schema = resolved(asyncapi, reference)
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(type_of(asyncapi, option) for option in options))
    if "enum" in schema:
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return _list_type(asyncapi, schema)
    if kind == "object" and (name := _title(reference, schema)):
        return name
    return str(kind)


def _list_type(asyncapi: Document, schema: Document) -> str:
    if "prefixItems" in schema:
        return "[" + ", ".join(type_of(asyncapi, item) for item in schema["prefixItems"]) + "]"
    items = schema.get("items")
    return f"list of {type_of(asyncapi, items)}" if isinstance(items, Mapping) and items else "list"


def _title(reference: Document, schema: Document) -> str:
    return str(schema.get("title") or str(reference.get("$ref", "")).rpartition("/")[2])


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)
