"""The state document of a group and its digest: what devices, REST and projections see of the fold."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
import orjson

from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.measure import measured

_NOT_STATE: Final = frozenset({"seq"})


def document(g: Group) -> dict[str, Any]:
    """The group as its records make it, JSON-able; times in Unix ms of the server.

    {id, seq, created, status, title, format, capacity, chat, open, invite, host, live_at, ended_at, reason,
    clock, phases, unit, members, messages, hidden}. `status` holds at the time of the last record; from then
    on time moves it: the countdown is over at `live_at`, the format at `clock.until`. `clock` is null or the
    last run {from, elapsed, until}, which may lie ahead: at the moment t, `elapsed + t - from` ms of the
    format have passed, not less than `elapsed` and not more than at `until`. `phases` are [{kind, round,
    station, from_ms, until_ms}] in elapsed ms. `members` are all who ever were, by number: {no, name, role,
    gone, joined_at, gone_at, share}. `unit` says in what the amounts of the board are.
    """
    run = g.clock.runs[-1] if g.clock.runs else None
    return {
        "id": g.id,
        "seq": g.seq,
        "created": g.created,
        "status": g.status,
        "title": g.title,
        "format": _said(msgspec.to_builtins(g.format)),
        "capacity": g.capacity,
        "chat": g.chat,
        "open": g.open,
        "invite": g.invite,
        "host": g.host,
        "live_at": g.live_at,
        "ended_at": g.ended_at,
        "reason": g.reason,
        "clock": None if run is None else {"from": run.from_, "elapsed": run.elapsed, "until": run.until},
        "phases": [phase._asdict() for phase in g.phases],
        "unit": measured(g.format),
        "members": [_member(g.members[no]) for no in sorted(g.members)],
        "messages": g.messages,
        "hidden": [[*dot] for dot in sorted(g.hidden)],
    }


def digest(told: dict[str, Any]) -> str:
    """64 hex digits over the canonical JSON of a document, without its place in the log."""
    kept = {key: value for key, value in told.items() if key not in _NOT_STATE}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _member(member: Member) -> dict[str, Any]:
    # Which workout it is concerns its owner alone, and what an invitation must have, nobody.
    return {
        "no": member.no,
        "name": member.name,
        "role": member.role,
        "gone": member.gone,
        "joined_at": member.joined_at,
        "gone_at": member.gone_at,
        "share": member.share,
    }


def _said(value: Any) -> Any:
    """Without the fields that nobody gave; defaults are said."""
    if isinstance(value, dict):
        return {key: _said(item) for key, item in value.items() if item is not None}
    return [_said(item) for item in value] if isinstance(value, list) else value
