"""A client without a loop: core and store, and a network that a test works by hand.

What the core asks waits in `asked` until the test lets it `reach` the server; the answer waits in `coming`
until the test lets it `arrive`. Between, everything can be lost, and the phone can die and start again.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from fitai.engine.ops import Stamp, saw
from fitai.engine.workout import digest
from fitai.gateways.client import messages as m
from fitai.gateways.client import view
from fitai.gateways.client.core import Core, Patience
from fitai.gateways.client.messages import Row
from fitai.gateways.client.store import Store
from fitai.sync.fold import Folded
from tests.client.stand_in import Stream

Json = dict[str, Any]


class Phone:
    """One device at a `Stream`; `live` speaks as the socket does, otherwise as REST does."""

    def __init__(self, stream: Stream, path: Path | str = ":memory:", *, live: bool = True, **options: Any):
        self.stream = stream
        self.path = path
        self.live = live
        self.options = options
        self.ahead_ms = 0  # this phone's clock, against the server's
        self.opened = options.pop("opened", None)
        self.asked: deque[m.Command] = deque()
        self.coming: deque[m.Event] = deque()
        self.wakes: list[int] = []
        self.told = 0  # what this connection was told of, by seq
        self.start()

    def start(self) -> None:
        self.store = Store(self.path, self.opened) if self.opened else Store(self.path)
        self.core = self._core()

    def _core(self) -> Core:
        patience = Patience(base_ms=100, cap_ms=10_000)
        options = {"patience": patience, "random": lambda: 1.0, **self.options}
        return Core(self.store.held(), self.store, now_ms=self.now, **options)

    def now(self) -> int:
        return self.stream.now + self.ahead_ms

    @property
    def held(self) -> Any:
        return self.core.held

    def sign_in(self, device: int | None = None) -> int:
        device = self.stream.enrol() if device is None else device
        self.tell(m.Signed(self.stream.user, device))
        return device

    # -- steps -----------------------------------------------------------------------------------------

    def write(self, kind: str, workout: str, value: Any = None, entity: str | None = None) -> Json:
        op = {"kind": kind, "workout": workout, "value": value or {}, "at": self.now()}
        if entity is not None:
            op["entity"] = entity
        written, commands = self.core.write(op)
        self._perform(commands)
        return written

    def tell(self, event: m.Event) -> None:
        self._perform(self.core.handle(event))

    def _perform(self, commands: list[m.Command]) -> None:
        for command in commands:
            match command:
                case m.Save():
                    self.store.save(command)
                case m.Wake(after_ms):
                    self.wakes.append(after_ms)
                case m.Disconnect():
                    self.asked.clear()
                    self.coming.clear()
                case _:
                    self.asked.append(command)

    def reach(self) -> None:
        """The oldest question arrives at the server, and its answer is on the way."""
        match self.asked.popleft():
            case m.Connect(cursor):
                self._connect(cursor)
            case m.Push(ops, epoch):
                self._follow()
                payload = {"ops": list(ops), "epoch": epoch, "sent_at": self.now()}
                before = self.stream.head
                answer = self.stream.push(self.held.author, payload)
                if self.stream.head > before:
                    self.told = self.stream.head
                self.coming.append(m.Pushed(answer))
            case m.Pull(after, limit):
                self.coming.append(m.Pulled(self.stream.pull(after, limit)))
            case m.TakePage(at, after):
                self.coming.append(m.Paged(self.stream.snapshot(at, after)))
            case m.Fork(fork_at):
                child = self.stream.fork(self.held.author, fork_at)
                self.coming.append(m.Forked(child, fork_at))
            case strange:
                raise AssertionError(strange)

    def _connect(self, cursor: Json | None) -> None:
        ready = self.stream.ready(self.held.device, cursor)
        if not self.live:
            self.coming.append(m.Connected(ready["epoch"], ready["head"], live=False, next_n=ready["next_n"]))
            return
        self.coming.append(m.Connected(**ready))
        self.told = cursor["seq"] if ready["resumed"] and cursor else ready["head"]

    def _follow(self) -> None:
        """What others wrote leaves for this connection before anything else does."""
        if self.live and self.told < self.stream.head:
            page = self.stream.pull(self.told, 10_000)
            first, self.told = self.told + 1, self.stream.head
            self.coming.append(m.Told(page["epoch"], first, self.told, page["records"]))

    def arrive(self) -> None:
        """The oldest thing on the way to the phone arrives."""
        self.tell(self.coming.popleft())

    def lose(self) -> None:
        """The connection breaks; everything on the way is lost."""
        self.asked.clear()
        self.coming.clear()
        self.tell(m.Lost())

    def die(self) -> None:
        """The app is killed and started again."""
        self.asked.clear()
        self.coming.clear()
        self.store.close()
        self.start()

    def settle(self, steps: int = 400) -> None:
        """Be in touch, with nothing in the way, until there is nothing left to do."""
        self.tell(m.Asked())
        for _ in range(steps):
            if self.core.online:
                self._follow()
            if self.coming:
                self.arrive()
            elif self.asked:
                self.reach()
            elif self.core.settled or self.core.stopped:
                return
            else:
                assert self.wakes, "neither busy, nor settled, nor waiting"
                self.tell(m.Woke())
        raise AssertionError(f"not settled: {self.asked}, {self.coming}, {self.held}")

    # -- what a test looks at ----------------------------------------------------------------------------

    def state(self, workout: str) -> Json | None:
        return view.document(workout, self.store.aliasing(), self._fold)

    def _fold(self, workout: str) -> Folded:
        rows, waiting = self.store.of(workout), self.store.outbox(workout)
        return view.folded(workout, self.held, rows, waiting, self.now)

    def digests(self) -> dict[str, str]:
        return {name: digest(self.state(name) or {}) for name in sorted(self.store.workouts())}


def agree(stream: Stream, *phones: Phone) -> None:
    """All are settled twice over, and show what the server has."""
    for _ in range(2):
        for phone in phones:
            phone.settle()
    for phone in phones:
        assert phone.digests() == stream.digests()
        assert phone.held.outbox == phone.store.outbox() == []
        assert phone.held.cursor == stream.head
        assert [seen(stream, row) for row in phone.store.log(0, 10_000)] == [
            seen(stream, record) for record in stream.records
        ]


def seen(stream: Stream, record: Any) -> list[int]:
    """The seqs of the records that the author of a record had seen, whichever way its context is written."""
    n = record.n if isinstance(record, Row) else record.op.n
    author = Stamp(record.seq, record.device, n, record.te, record.base, record.beyond)
    return [r.seq for r in stream.records[: record.seq - 1] if saw(author, r.stamp)]
