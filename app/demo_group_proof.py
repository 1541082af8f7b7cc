"""The end of the group demo: the final tables, and counts that prove that all have the same. All is measured.

Three sources are held against each other: what each person's device shows, what each node says over REST, and
what this process works out of the logs alone, as the database has them after all servers have stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from fitai.app.demo_group_person import Person, Switch, Training
from fitai.app.demo_group_story import Played, Stage
from fitai.app.demo_report import Count, empty_table
from fitai.engine.groups.board import Row, board
from fitai.engine.groups.document import document
from fitai.engine.groups.fold import fold as fold_group
from fitai.engine.groups.group import Group
from fitai.engine.groups.measure import Progress, on_board, progress
from fitai.engine.ops import VOID, Record
from fitai.persistence.database import Database
from fitai.persistence.log import Log
from fitai.sync.fold import fold

Json = dict[str, Any]
Line = tuple[int | None, int, int | None, int]
"""rank, amount, time_ms, reps of a member."""

PAGE = 500
TOGETHER_MS = 50
_MOVED_BY_TIME = frozenset({"seq", "status", "ended_at", "at", "you", "code", "link"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was collected when all was over.

    groups  {group: its log}, users {user: theirs}
    rest    {group: {node: (document, results)}}
    views   {group: {name: the table that this person's device shows}}
    lost    connections that broke while people trained, and those that were resumed at a cursor
    codes   the servers' exit codes
    """

    groups: Mapping[str, Sequence[Record]]
    users: Mapping[str, Sequence[Record]]
    rest: Mapping[str, Mapping[str, tuple[Json, Json]]]
    views: Mapping[str, Mapping[str, Mapping[int, Line]]]
    lost: tuple[int, int]
    codes: Sequence[int]


async def read_logs(url: str, owners: Iterable[str]) -> dict[str, list[Record]]:
    """The logs of streams, by their owners."""
    db = Database.open(url, pool_size=1)
    try:
        async with db.read() as session:
            log = Log(session)
            return {owner: await _whole(log, owner) for owner in owners}
    finally:
        await db.close()


async def _whole(log: Log, owner: str) -> list[Record]:
    row = await log.stream_of(owner)
    records: list[Record] = []
    while row is not None and (page := await log.read(row.id, len(records), PAGE)):
        records += page
    return records


# -- tables ------------------------------------------------------------------------------------------------


def told(fields: Mapping[str, Any]) -> Line:
    """A line as a tick or REST tells it: what is nothing may be null, or not there at all."""
    amount, reps = fields.get("amount") or 0, fields.get("reps") or 0
    return fields.get("rank"), amount, fields.get("time_ms"), reps


def seen(training: Training) -> dict[int, Line]:
    """The table that somebody's device shows: of whom have anything on the board."""
    lines = {no: told(fields) for no, fields in training.group.view.items()}
    return {no: line for no, line in lines.items() if line != (None, 0, None, 0)}


def rows(results: Json) -> dict[int, Line]:
    """The table that a node gives."""
    lines = {row["member"]: told(row) for row in results["rows"]}
    return {no: line for no, line in lines.items() if line != (None, 0, None, 0)}


def worked_out(stage: Stage, played: Played, evidence: Evidence) -> dict[int, Line]:
    """The table that the logs alone give."""
    g = fold_group(played.id, evidence.groups[played.id])
    done = {no: _progress(g, no, log) for no, log in _by_member(stage, played, evidence).items()}
    ranks = board({no: one.measure for no, one in done.items() if one.measure and on_board(g, g.members[no])})
    lines = {no: _line(row, done[no]) for no, row in ranks.items()}
    return {no: line for no, line in lines.items() if line != (None, 0, None, 0)}


def _by_member(stage: Stage, played: Played, evidence: Evidence) -> dict[int, tuple[str, Sequence[Record]]]:
    """{member: (user, log)}."""
    found = {}
    for person, training in _in(stage, played):
        assert training.group.member is not None
        assert person.client.user is not None
        found[training.group.member] = (person.client.user, evidence.users[person.client.user])
    return found


def _progress(g: Group, no: int, log: tuple[str, Sequence[Record]]) -> Progress:
    member, (user, records) = g.members[no], log
    if member.workout is None:
        return progress(g, member, None)
    mine = (record for record in records if record.op.workout == member.workout)
    return progress(g, member, fold(member.workout, user, mine).workout)


def _line(row: Row, done: Progress) -> Line:
    return row.rank, row.measure.amount or 0, row.measure.time_ms, done.reps


def _in(stage: Stage, played: Played) -> list[tuple[Person, Training]]:
    """Who was in a group."""
    return [
        (person, training)
        for person in stage.people
        for training in person.trainings
        if training.group.id == played.id
    ]


# -- counts ------------------------------------------------------------------------------------------------


def proof(stage: Stage, evidence: Evidence) -> list[Count]:
    """All counts, in the order in which they are shown."""
    counts = [*_own_logs(stage, evidence), *_group_logs(stage, evidence)]
    for played in stage.played:
        counts += _one_table(stage, played, evidence)
    return [*counts, *_time(stage), *_story(stage, evidence)]


def _own_logs(stage: Stage, evidence: Evidence) -> list[Count]:
    written = sum(person.written for person in stage.people)
    acked = sum(len(person.acknowledged) for person in stage.people)
    logs = [record for log in evidence.users.values() for record in log]
    theirs = [record for record in logs if record.device != 0]
    void = [record for record in logs if record.verdict is VOID]
    once = all(_each_once(log) for log in evidence.users.values())
    counted = f"{written}, {acked}, {len(theirs)}"
    return [
        Count("ops of workouts: written, acked, stored", counted, 0 < written == acked == len(theirs)),
        Count(
            "each once, in order, none void", f"{len(logs)} in {len(evidence.users)} logs", once and not void
        ),
    ]


def _group_logs(stage: Stage, evidence: Evidence) -> list[Count]:
    said = [one for person in stage.people for training in person.trainings for one in _said(training)]
    stored = Counter(
        (group, record.device, record.op.n, record.seq, record.verdict.value)
        for group, log in evidence.groups.items()
        for record in log
    )
    there = sum(stored[one] == 1 for one in said)
    chat = [r for log in evidence.groups.values() for r in log if r.op.kind == "chat.say"]
    once = all(_each_once(log) for log in evidence.groups.values())
    total = sum(map(len, evidence.groups.values()))
    return [
        Count("ops of groups: acked, stored once", f"{len(said)}, {there}", 0 < len(said) == there),
        Count("each once, in order", f"{total} in {len(evidence.groups)} logs", once),
        Count("messages sent, stored", f"{stage.messages}, {len(chat)}", 0 < stage.messages == len(chat)),
    ]


def _said(training: Training) -> list[tuple[str, int, int, int, str]]:
    """The places of the ops that a device was told of."""
    held = training.group.core.held
    if held.group is None or held.device is None:
        return []
    return [(held.group, held.device, one["n"], one["seq"], str(one["verdict"])) for one in training.said]


def _each_once(log: Sequence[Record]) -> bool:
    dots = {record.dot for record in log}
    return [record.seq for record in log] == list(range(1, len(log) + 1)) and len(dots) == len(log)


def _one_table(stage: Stage, played: Played, evidence: Evidence) -> list[Count]:
    due = worked_out(stage, played, evidence)
    views, rest = evidence.views[played.id], evidence.rest[played.id]
    same = [name for name, view in views.items() if view == due]
    nodes = [name for name, (_, results) in rest.items() if rows(results) == due]
    state = _settled(document(fold_group(played.id, evidence.groups[played.id])))
    folds = [training.group.document for _, training in _in(stage, played) if training.group.stopped is None]
    alike = [one for one in folds if one is not None and _settled(one) == state]
    told_by = [name for name, (told_, _) in rest.items() if _settled(told_) == state]
    title = played.title
    return [
        Count(f"{title}: on the board, by the logs", f"{len(due)}", len(due) >= len(stage.trains)),
        Count(
            f"{title}: devices that show it",
            f"{len(same)} of {len(views)}",
            len(same) == len(views) > 0,
        ),
        Count(
            f"{title}: nodes that give it",
            f"{len(nodes)} of {len(stage.nodes.all)}",
            len(nodes) == len(stage.nodes.all),
        ),
        Count(
            f"{title}: one state on devices, nodes",
            f"{len(alike)}, {len(told_by)}",
            len(alike) == len(folds) > 0 and len(told_by) == len(stage.nodes.all),
        ),
    ]


def _settled(told_: Json) -> Json:
    """Without what moves by time alone, and what is each reader's own."""
    return {key: value for key, value in told_.items() if key not in _MOVED_BY_TIME}


def _time(stage: Stage) -> list[Count]:
    together: dict[tuple[str, int], list[Switch]] = {}
    for person in stage.people:
        for switch in person.switches:
            together.setdefault((switch.group, switch.due), []).append(switch)
    shared = [switches for switches in together.values() if len(switches) > 1]
    apart = max((_spread(one.clock for one in switches) for switches in shared), default=0.0)
    seen_ = max((_spread(one.at for one in switches) for switches in shared), default=0.0)
    wrong = max(abs(person.clock.off) for person in stage.people) / 1000
    off = max((abs(one.clock) for switches in shared for one in switches), default=0.0)
    return [
        Count("switches that devices made alone", f"{len(shared)}", len(shared) >= 7),
        Count(
            f"clocks {wrong:.0f} s wrong, corrected",
            f"{off:.0f} ms off, {apart:.0f} ms apart at most",
            apart <= TOGETHER_MS,
        ),
        Count("switches, as seen in one process", f"{seen_:.0f} ms apart at most", bool(shared)),
    ]


def _spread(values: Iterable[float]) -> float:
    known = list(values)
    return max(known) - min(known)


def _story(stage: Stage, evidence: Evidence) -> list[Count]:
    lost, resumed = evidence.lost
    clean = all(code == 0 for code in evidence.codes)
    changed = ", ".join(f"{before} to {after}" for before, after in stage.corrected)
    ticks = sum(training.group.core.ticks for person in stage.people for training in person.trainings)
    fine = len(stage.corrected) == 2 and all(before > after for before, after in stage.corrected)
    return [
        Count("sets corrected by edit, removal", changed, fine),
        Count("reps that came late from offline", f"{stage.offline}", stage.offline > 0),
        Count(
            "killed, connections lost, resumed",
            f"{stage.kills}, {lost}, {resumed}",
            0 < lost == resumed,
        ),
        Count("ticks heard, cheers sent", f"{ticks}, {stage.cheered}", ticks > 0 and stage.cheered > 0),
        Count("servers stopped cleanly", f"{len(evidence.codes)}", clean),
    ]


def final(stage: Stage, played: Played, evidence: Evidence) -> Table:
    """The final table, by the logs."""
    shown = empty_table(played.title, "", "who", "reps", "after", "")
    g = fold_group(played.id, evidence.groups[played.id])
    lines = worked_out(stage, played, evidence)
    for no, (rank, amount, time_ms, _) in sorted(lines.items(), key=lambda one: (one[1][0] or 10**6, one[0])):
        after = "" if time_ms is None else f"{time_ms / 1000:.2f} s"
        gone = g.members[no].gone or ""
        shown.add_row(str(rank or ""), g.members[no].name, str(amount), after, gone)
    return shown
