"""The file: one transaction each, and what is left when the process dies in the middle of one."""

from __future__ import annotations

import sqlite3
import uuid
from typing import Any, ClassVar

import pytest

from fitai.engine.ops import Dot
from fitai.gateways.client import messages as m
from fitai.gateways.client.ledger import Held
from fitai.gateways.client.messages import Row, Save, Void
from fitai.gateways.client.store import Store, connect
from tests.client.phone import Phone, agree
from tests.client.stand_in import Stream

W = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"


class Killed(Exception):
    """The process is gone."""


class Mortal(sqlite3.Connection):
    """Dies at a statement: before it is done, or right after. A dead one does nothing more."""

    alive: ClassVar[list[Mortal]] = []
    left = -1  # moments until death; there are two at each statement

    def execute(self, sql, *values):
        self._moment()
        done = super().execute(sql, *values)
        self._moment()
        return done

    def _moment(self):
        if Mortal.left == 0:
            raise Killed
        Mortal.left -= 1


def open_mortal(path):
    connection = sqlite3.connect(path, isolation_level=None, factory=Mortal, check_same_thread=False)
    Mortal.alive.append(connection)
    sqlite3.Connection.execute(connection, "PRAGMA synchronous = OFF")  # processes die here, machines do not
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


def row(seq, device=1, workout=W, beyond=None):
    body = {"n": seq, "seq": seq, "device": device, "verdict": "applied"}
    body |= {"workout": workout, "kind": "rest.skip"}
    return Row(seq, device, seq, workout, 0, beyond, 1000 + seq, seq, body)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "client.db")
    yield store
    store.close()


def test_an_empty_file_stands_at_the_beginning(store):
    assert store.held() == Held()
    assert store.workouts() == []


def test_everything_of_a_save_is_there_afterwards(store):
    void = Void(1, 7, None, "bad_request", {"message": "no"}, {"n": 7})
    save = Save(
        meta={"cursor": 2, "epoch": "e", "former": {1: 4}, "device": 3, "author": 1},
        rows=[row(1), row(2, 2, beyond={1: 1})],
        added=[{"n": 3, "workout": W, "kind": "rest.skip"}, {"n": 4, "workout": W, "kind": "rest.skip"}],
        void=[void],
    )
    store.save(save)
    store.save(Save(done=[3]))
    held = store.held()
    assert (held.cursor, held.epoch, held.device, held.author) == (2, "e", 3, 1)
    assert held.former == {1: 4}
    assert [op["n"] for op in held.outbox] == [4]
    assert {device: (p.next_n, p.beyond) for device, p in held.positions.items()} == {
        1: (2, None),
        2: (3, {1: 1}),
    }
    assert (store.at(2), store.by(1, 0), store.named(Dot(2, 2))) == (
        row(2, 2, beyond={1: 1}),
        [row(1)],
        row(2, 2, beyond={1: 1}),
    )
    assert store.void() == [void]


def test_a_cut_forgets_what_lay_beyond_and_comes_before_the_new_rows(store):
    store.save(Save(rows=[row(1), row(2), row(3)], meta={"cursor": 3}))
    store.save(Save(cut=1, rows=[row(2, 2)], meta={"cursor": 2}))
    assert [(r.seq, r.device) for r in store.log(0, 9)] == [(1, 1), (2, 2)]


def test_workouts_come_with_the_last_changed_first(store):
    states = [{"id": "old", "title": "Legs"}]
    store.save(
        Save(
            rows=[row(1, workout="a"), row(2, workout="b")],
            added=[{"n": 1, "workout": "c", "kind": "rest.skip"}],
            states=states,
        )
    )
    assert store.workouts() == ["c", "b", "a", "old"]
    assert store.state("old") == states[0]
    store.save(Save(drop_states=True))
    assert store.workouts() == ["c", "b", "a"]


def test_a_save_that_fails_leaves_nothing_behind(store):
    store.save(Save(added=[{"n": 1, "workout": W, "kind": "rest.skip"}]))
    with pytest.raises(sqlite3.IntegrityError):
        store.save(
            Save(rows=[row(1)], added=[{"n": 1, "workout": W, "kind": "rest.skip"}], meta={"cursor": 1})
        )
    assert (store.at(1), store.held().cursor, len(store.outbox())) == (None, 0, 1)


def test_a_second_process_is_kept_out(store):
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Store("ignored", lambda _: _impatient(store))


def _impatient(store):
    (path,) = [file for _, name, file in store._db.execute("PRAGMA database_list") if name == "main"]
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    other.execute("BEGIN")
    try:
        other.execute("SELECT * FROM meta")
    except sqlite3.OperationalError:
        other.close()
        raise
    return other


class Life:
    """A phone that is killed at a given moment of a story, and started again to finish it."""

    def __init__(self, path, live):
        self.path = path
        self.live = live
        self.stream = Stream()
        self.other = Phone(self.stream, live=live)
        self.other.sign_in()
        self.entities = [str(uuid.uuid4()) for _ in range(3)]
        self.deaths = 0
        self.phone: Any = None
        self.device = self.stream.enrol()

    def live_on(self):
        """The story, as far as it is not done yet."""
        phone = self.phone = Phone(self.stream, self.path, live=self.live, opened=open_mortal)
        if phone.held.device is None:
            phone.sign_in(self.device)
        for number, entity in enumerate(self.entities):
            if not self.written(phone, entity):
                value = {"exercise_entry": W, "type": "working", "reps": number + 1}
                phone.write("set.log", W, value, entity)
            if number == 1:
                phone.settle()
        if not any(void.op["kind"] == "workout.resume" for void in phone.store.void()):
            phone.write("workout.resume", W)
        phone.settle()

    def written(self, phone, entity):
        ops = [*phone.store.outbox(), *(r.body for r in phone.store.log(0, 99))]
        return any(op.get("entity") == entity for op in ops)

    def run(self, moments):
        Mortal.left = moments
        while True:
            try:
                self.live_on()
                Mortal.left = -1
                return
            except Killed:
                Mortal.left = -1
                self.deaths += 1
                while Mortal.alive:
                    Mortal.alive.pop().close()  # without a COMMIT or ROLLBACK, as the kernel does


@pytest.mark.parametrize("live", [True, False], ids=["socket", "rest"])
def test_killed_at_any_write_the_client_ends_up_the_same(tmp_path, live):
    moment, killed = 0, True
    while killed:
        life = Life(tmp_path / f"{moment}.db", live)
        life.other.write("workout.create", W)
        life.other.write("workout.edit", W, {"field": "title", "value": "Legs"})
        life.other.settle()
        life.run(moment)
        agree(life.stream, life.phone, life.other)
        logged = [r.op.raw["entity"] for r in life.stream.records if r.op.kind == "set.log"]
        assert logged == life.entities
        killed = life.deaths == 1
        life.phone.store.close()
        moment += 1
    assert moment > 100, "few statements were tried"


def test_the_settings_survive_a_power_cut(tmp_path):
    connection = connect(tmp_path / "client.db")
    asked = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
    }
    connection.close()
    assert asked == {"journal_mode": "wal", "synchronous": 2}


def test_a_killed_fork_is_asked_for_again(tmp_path):
    """The fork was granted and the phone died before it knew."""
    stream = Stream()
    phone = Phone(stream, tmp_path / "phone.db")
    phone.sign_in()
    phone.write("workout.create", W)
    phone.settle()
    copy = Phone(stream)
    phone.store._db.backup(copy.store._db)
    copy.core = copy._core()
    phone.write("workout.start", W)
    phone.settle()
    copy.write("note.set", W, {"text": "from the copy"})
    copy.tell(m.Asked())
    while not any(isinstance(event, m.Forked) for event in copy.coming):
        copy.reach() if copy.asked else copy.arrive()
    copy.core, copy.coming = copy._core(), copy.coming.__class__()
    agree(stream, copy, phone)
    assert [r.op.kind for r in stream.records] == ["workout.create", "workout.start", "note.set"]
