"""One SQLite file with all that a client has: a `Save` goes into it as one transaction.

    meta        where we stand, by name; tokens and the install id
    records     the log, by seq, each with the context that it has by the log's rules
    outbox      ops whose records are not in the log yet, by counter
    quarantine  own ops that were refused, for a person to see and export
    states      workout states of a snapshot, until the log has come as far

Synchronous; the client calls it in a thread of its own. The file is opened by one process at a time:
two apps on one file would number their ops alike, so that a second one waits for the first (and fails).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from fitai.engine.combine import ALIASING
from fitai.engine.ops import Dot
from fitai.gateways.client.ledger import META, Held
from fitai.gateways.client.messages import Json, Row, Save, Void
from fitai.sync.log import Position

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY, device INTEGER NOT NULL, n INTEGER NOT NULL, workout TEXT NOT NULL,
    base INTEGER NOT NULL, beyond BLOB, te INTEGER NOT NULL, rev INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS records_device ON records (device, seq);
CREATE INDEX IF NOT EXISTS records_workout ON records (workout, seq);
CREATE TABLE IF NOT EXISTS outbox (n INTEGER PRIMARY KEY, workout TEXT NOT NULL, op BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_workout ON outbox (workout);
CREATE TABLE IF NOT EXISTS quarantine (
    device INTEGER NOT NULL, n INTEGER NOT NULL, seq INTEGER, code TEXT NOT NULL, detail BLOB NOT NULL,
    op BLOB NOT NULL, PRIMARY KEY (device, n, code)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS aliasing (workout TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS states (workout TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID
"""

_ROW = "seq, device, n, workout, base, beyond, te, rev, body"


def connect(path: Path | str) -> sqlite3.Connection:
    """Open the file so that what was committed survives a power cut."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class Store:
    """See the module's first lines; also the `Known` of the ledger."""

    def __init__(
        self, path: Path | str, opened: Callable[[Path | str], sqlite3.Connection] = connect
    ) -> None:
        self._db = opened(path)
        try:
            self._transaction((statement, ()) for statement in SCHEMA.split(";"))
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Nothing is lost by not calling it."""
        self._db.close()

    # -- where we stand ------------------------------------------------------------------------------

    def held(self) -> Held:
        """Where we stand, as the last Save left it."""
        kept = self.meta()
        held = Held(**{name: kept[name] for name in META if name in kept})
        held.former = {int(device): n for device, n in held.former.items()}
        held.heard = {int(device): n for device, n in held.heard.items()}
        held.outbox = self.outbox()
        held.positions = self._positions(held.cursor)
        return held

    def meta(self) -> Json:
        """All that is kept by name."""
        return {name: orjson.loads(value) for name, value in self._db.execute("SELECT name, value FROM meta")}

    def remember(self, meta: Json) -> None:
        """Keep something by name."""
        self._transaction(_meta(meta))

    def save(self, save: Save) -> None:
        """One transaction: all of it, or nothing and the error."""
        self._transaction(_statements(save))

    def _transaction(self, statements: Iterable[tuple[str, Sequence[Any]]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in statements:
                self._db.execute(statement, values)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _positions(self, upto: int) -> dict[int, Position]:
        newest = "SELECT MAX(seq) FROM records WHERE seq <= ? GROUP BY device"
        rows = self._rows(f"WHERE seq IN ({newest})", upto)
        return {row.device: Position(row.n + 1, row.base, row.beyond, row.te) for row in rows}

    # -- the log ---------------------------------------------------------------------------------------

    def at(self, seq: int) -> Row | None:
        """The record at a place."""
        return next(self._rows("WHERE seq = ?", seq), None)

    def named(self, dot: Dot) -> Row | None:
        """The record of an op."""
        return next(self._rows("WHERE device = ? AND n = ?", *dot), None)

    def by(self, device: int, after: int) -> list[Row]:
        """A device's records after a seq, in order."""
        return list(self._rows("WHERE device = ? AND seq > ? ORDER BY seq", device, after))

    def of(self, workout: str) -> list[Row]:
        """A workout's records, in order."""
        return list(self._rows("WHERE workout = ? ORDER BY seq", workout))

    def log(self, after: int, limit: int) -> list[Row]:
        """The records after a seq, in order."""
        return list(self._rows("WHERE seq > ? ORDER BY seq LIMIT ?", after, limit))

    def clock(self, upto: int) -> dict[int, int]:
        """{device: n} of the newest op of each device in the log up to a seq."""
        sql = "SELECT device, MAX(n) FROM records WHERE seq <= ? GROUP BY device"
        return dict(self._db.execute(sql, (upto,)).fetchall())

    def _rows(self, where: str, *values: Any) -> Iterator[Row]:
        for row in self._db.execute(f"SELECT {_ROW} FROM records {where}", values):
            seq, device, n, workout, base, beyond, te, rev, body = row
            known = None if beyond is None else {int(d): m for d, m in orjson.loads(beyond).items()}
            yield Row(seq, device, n, workout, base, known, te, rev, orjson.loads(body))

    # -- the rest --------------------------------------------------------------------------------------

    def outbox(self, workout: str | None = None) -> list[Json]:
        """The ops that wait, in order; of one workout or all."""
        where, values = ("", ()) if workout is None else ("WHERE workout = ?", (workout,))
        found = self._db.execute(f"SELECT op FROM outbox {where} ORDER BY n", values)
        return [orjson.loads(op) for (op,) in found]

    def workouts(self) -> list[str]:
        """The ids of all workouts that a record, an op or a snapshot is about, the last changed first."""
        sql = (
            "SELECT workout, MAX(place) AS newest FROM ("
            " SELECT workout, MAX(seq) AS place FROM records GROUP BY workout"
            " UNION ALL SELECT workout, 9007199254740992 + MAX(n) FROM outbox GROUP BY workout"
            " UNION ALL SELECT workout, 0 FROM states) GROUP BY workout ORDER BY newest DESC, workout"
        )
        return [workout for workout, _ in self._db.execute(sql)]

    def aliasing(self) -> list[str]:
        """The workouts of which an op may have said that they are merged into another."""
        return [workout for (workout,) in self._db.execute("SELECT workout FROM aliasing ORDER BY workout")]

    def state(self, workout: str) -> Json | None:
        """A workout's state from the snapshot."""
        found = self._db.execute("SELECT state FROM states WHERE workout = ?", (workout,)).fetchone()
        return None if found is None else orjson.loads(found[0])

    def void(self) -> list[Void]:
        """What was refused, in the order in which it was written."""
        found = self._db.execute(
            "SELECT device, n, seq, code, detail, op FROM quarantine ORDER BY seq IS NULL, seq, n"
        )
        return [
            Void(device, n, seq, code, orjson.loads(detail), orjson.loads(op))
            for device, n, seq, code, detail, op in found
        ]


def _statements(save: Save) -> Iterator[tuple[str, Sequence[Any]]]:
    if save.cut is not None:
        yield "DELETE FROM records WHERE seq > ?", (save.cut,)
    if save.drop_states:
        yield "DELETE FROM states", ()
    for row in save.rows:
        yield f"INSERT OR REPLACE INTO records ({_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _values(row)
    for state in save.states:
        yield "INSERT OR REPLACE INTO states VALUES (?, ?)", (state["id"], orjson.dumps(state))
    for n in save.done:
        yield "DELETE FROM outbox WHERE n = ?", (n,)
    if save.rewritten is not None:
        yield "DELETE FROM outbox", ()
    for op in save.added if save.rewritten is None else save.rewritten:
        yield "INSERT INTO outbox VALUES (?, ?, ?)", (op["n"], op["workout"].lower(), orjson.dumps(op))
    for workout in _aliasing(save):
        yield "INSERT OR IGNORE INTO aliasing VALUES (?)", (workout,)
    for void in save.void:
        why, body = orjson.dumps(void.detail), orjson.dumps(void.op)
        values = (void.device, void.n, void.seq, void.code, why, body)
        yield "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?, ?)", values
    yield from _meta(save.meta)


def _aliasing(save: Save) -> set[str]:
    said = [row.body for row in save.rows] + save.added + (save.rewritten or [])
    return {op["workout"].lower() for op in said if op["kind"] in ALIASING}


def _meta(meta: Json) -> Iterator[tuple[str, Sequence[Any]]]:
    for name, value in meta.items():
        dumped = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
        yield "INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, dumped)


def _values(row: Row) -> Sequence[Any]:
    beyond = None if row.beyond is None else orjson.dumps(row.beyond, option=orjson.OPT_NON_STR_KEYS)
    body = orjson.dumps(row.body)
    return (row.seq, row.device, row.n, row.workout, row.base, beyond, row.te, row.rev, body)
