"""Devices of the simulation: the reference client's core and file, and a watch that only a phone hears.

A `Device` is a `Phone` (tests/client/phone.py) whose questions go to the real server. Its file is a real one,
which can be copied, put back, opened twice and deleted.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from fitai.gateways.client import messages as m
from fitai.gateways.client.store import Store
from tests.client.phone import Phone
from tests.simulation.server import Json, Killed, Line, Node, Server

OUT = frozenset({"unauthorized", "device_revoked", "revoked"})


def opened(path: Path | str) -> sqlite3.Connection:
    """As the client opens its file, but in no fear of a power cut, and never waiting for another process."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0.0)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


class Device(Phone):
    """One app on one file.

    node     the node that it talks to, None while there is no way to any
    strays   pushes that a proxy will deliver a second time, late: (token, payload)
    acked    the tags of ops of which it knows that they are in the log
    watch    the watch whose batches it carries, if any
    """

    def __init__(self, server: Server, path: Path, install: str, *, live: bool, random: Any) -> None:
        self.server = server
        self.random = random
        self.node: Node | None = None
        self.line: Line | None = None
        self.strays: list[tuple[str, Json]] = []
        self.watch: Watch | None = None
        self.asked_as: dict[int, type[m.Pushed] | type[m.Pulled]] = {}
        self.acks = 0
        self.acked: set[str] = set()
        self.forks = 0
        super().__init__(server, path, live=live, opened=opened, random=random.random, snapshot_over=40)  # type: ignore[arg-type]
        if "install_id" not in self.store.meta():
            self.store.remember({"install_id": install})
            self.sign_in()

    # -- who it is -------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        return str(self.store.meta()["access_token"])

    def sign_in(self, device: int | None = None) -> int:
        """Sign in with the install id that the file has; a copy has the same."""
        number, token = self.server.sign_in(self.store.meta()["install_id"])
        self.store.remember({"access_token": token})
        self.tell(m.Signed(self.server.user, number))
        return number

    def own_tags(self) -> set[str]:
        """The ops that this file would offer again to a server that lacks them, under whatever name it wrote
        them. What stands in the log under a number that its outbox has too, another copy wrote."""
        held = self.held
        own = [op["tag"] for op in held.outbox]
        if held.author is not None:
            first = held.outbox[0]["n"] if held.outbox else held.next_n
            names = {**held.former, held.author: first - 1}
            rows = [row for device in names for row in self.store.by(device, 0)]
            own += [row.body["tag"] for row in rows if row.n <= names[row.device]]
        return set(own)

    def quarantined(self) -> set[str]:
        return {void.op["tag"] for void in self.store.void() if "tag" in void.op}

    # -- questions ---------------------------------------------------------------------------------------

    def reach(self) -> None:
        """The oldest question reaches the server, unless there is no way; what it says is on its way."""
        if self.node is None or self.node.dead.is_set():
            self.lose()
            return
        command = self.asked.popleft()
        try:
            self._ask(self.node, command)
        except Killed:
            self.lose()
        self.hear()

    def _ask(self, node: Node, command: m.Command) -> None:
        match command:
            case m.Connect(cursor):
                self._connected(node, cursor)
            case m.Push(ops, epoch):
                self._send(node, "push", {"ops": list(ops), "epoch": epoch, "sent_at": self.now()}, m.Pushed)
            case m.Pull(after, limit):
                self._send(node, "pull", {"after": after, "limit": limit}, m.Pulled)
            case m.TakePage(at, after):
                answer = self.server.rest(node, self.token, "snapshot", at=at, after=after, limit=2)
                self.coming.append(m.Paged(answer))
            case m.Fork(fork_at):
                self._fork(node, fork_at)
            case strange:
                raise AssertionError(strange)

    def _connected(self, node: Node, cursor: Json | None) -> None:
        if self.live:
            self._hang_up()
            self.line = self.server.line(node, self.token, cursor)
            return
        answer = self.server.rest(node, self.token, "pull", after=0, limit=1)
        if answer["ok"]:
            told = m.Connected(answer["epoch"], answer["head"], live=False, next_n=answer["next_n"])
            self.coming.append(told)
        else:
            self.coming.append(m.Refused(answer["code"], retry=answer["code"] not in OUT))

    def _send(self, node: Node, what: str, payload: Json, into: type[m.Pushed] | type[m.Pulled]) -> None:
        if self.live and self.line is not None:
            self.acks += 1
            self.asked_as[self.acks] = into
            self.line.ask(what, payload, self.acks)
        else:
            self.coming.append(into(self.server.rest(node, self.token, what, **payload)))

    def _fork(self, node: Node, fork_at: int) -> None:
        install = self.store.meta().get("fork_install_id")
        if install is None:
            install = f"fork {self.random.getrandbits(64):x}"
            self.store.remember({"fork_install_id": install})
        answer = self.server.rest(node, self.token, "fork", fork_at=fork_at, install_id=install)
        if "device" in answer:
            forked = Forked(answer["device"], fork_at, answer["access_token"], install)
            self.coming.append(forked)  # type: ignore[arg-type]
            return
        if answer["code"] == "already_exists":  # kept from a fork at another place
            self.store.remember({"fork_install_id": None})
        self.coming.append(m.Forked(None, fork_at, answer["code"]))

    def hear(self) -> None:
        """Take what the server has sent on the open connection."""
        if self.line is None:
            return
        for event, payload, ack in self.line.taken():
            match event:
                case "ack" if ack in self.asked_as:
                    self.coming.append(self.asked_as.pop(ack)(payload))
                case "ready":
                    self.coming.append(_ready(payload))
                case "ops":
                    self.coming.append(
                        m.Told(payload["epoch"], payload["from"], payload["to"], payload["records"])
                    )
                case "error":
                    self.coming.append(m.Refused(payload["code"], payload["retry"]))
                case "bye":
                    self.coming.append(m.SaidBye(payload["code"], payload["reconnect"], payload["after_ms"]))
        if not self.line.open:
            self.coming.append(m.Lost())
            self.line = None

    def arrive(self) -> None:
        event = self.coming.popleft()
        if isinstance(event, Forked):
            self._forked(event)
            return
        self.tell(event)
        if self.core.stopped is not None:
            assert self.core.stopped in OUT, self.core.stopped
            self.sign_in()  # the server does not know this device any more: its person signs in again
            self.tell(m.Asked())

    def _forked(self, event: Forked) -> None:
        old, mine = self.held.author, {"install_id": event.install, "fork_install_id": None}
        self.store.remember({**mine, "access_token": event.token})
        self.tell(m.Forked(event.device, event.fork_at))
        self.forks += 1
        if self.watch is not None and old is not None:
            self.watch.renamed(old, event.fork_at, self.held.author)

    def tell(self, event: m.Event) -> None:
        before = {op["tag"] for op in self.held.outbox}
        super().tell(event)
        self.acked |= before - {op["tag"] for op in self.held.outbox}

    # -- what befalls it -----------------------------------------------------------------------------------

    def _perform(self, commands: list[m.Command]) -> None:
        for command in commands:
            if isinstance(command, m.Disconnect):
                self._hang_up()
            super()._perform([command])

    def _hang_up(self) -> None:
        if self.line is not None:
            self.line.hang_up()
            self.line = None
        self.asked_as.clear()

    def lose(self) -> None:
        self._hang_up()
        super().lose()

    def die(self) -> None:
        self._hang_up()
        self.wakes.clear()
        super().die()

    def quit(self) -> None:
        """The app ends; the file stays."""
        self._hang_up()
        self.store.close()

    def locked_out(self) -> bool:
        """A second process of the app finds the file in use."""
        try:
            Store(self.path, opened).close()
        except sqlite3.OperationalError:
            return True
        return False

    def copy_to(self, path: Path) -> None:
        """Copy the file as a backup does."""
        with closing(sqlite3.connect(path)) as target:
            self.store._db.backup(target)

    def put_back(self, path: Path) -> None:
        """A backup takes the place of the file."""
        self.quit()
        for old in Path(self.path).parent.glob(f"{Path(self.path).name}*"):
            old.unlink()
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(self.path)) as target:
            source.backup(target)
        self.asked.clear()
        self.coming.clear()
        self.wakes.clear()
        self.start()


@dataclass(frozen=True, slots=True)
class Forked:
    """The device that a fork has made, its token and its installation."""

    device: int
    fork_at: int
    token: str
    install: str


def _ready(ready: Json) -> m.Connected:
    known = ("epoch", "head", "resumed", "next_n", "server_time", "limits")
    return m.Connected(**{name: ready[name] for name in known})


class Watch:
    """A watch without a network: it talks to its phone alone, which pushes what it wrote with its token.

    Each hears from the other what it has: so the watch's ops say by a full clock what it had seen, and the
    phone's next op says that it had seen the watch's. `ops` are all that it ever wrote, and any of them is
    offered again that the server lacks. Nothing of it counts while phone and server are not of one epoch.
    """

    def __init__(self, server: Server, install: str) -> None:
        self.server = server
        self.device, self.token = server.sign_in(install)
        self.ops: list[Json] = []
        self.clock: dict[int, int] = {}
        self.epoch: str | None = None

    def meet(self, phone: Device) -> None:
        """Phone and watch are side by side: the watch learns what the phone has."""
        held = phone.held
        if self.epoch is None:
            self.epoch = held.epoch
        elif held.epoch != self.epoch:
            if held.old_head or not phone.core._complete:
                return
            self._begin_again(phone)
        for device, position in held.positions.items():
            self.clock[device] = max(self.clock.get(device, 0), position.next_n - 1)
        if held.author is not None and held.author == held.device:
            self.clock[held.author] = held.next_n - 1
        self.clock[self.device] = len(self.ops)

    def _begin_again(self, phone: Device) -> None:
        """Another log: what the watch had seen and is not in it was lost, and is named no more."""
        self.epoch = phone.held.epoch
        known = {device: position.next_n - 1 for device, position in phone.held.positions.items()}
        self.clock = {device: min(n, known.get(device, 0)) for device, n in self.clock.items()}
        for op in self.ops:
            op["clock"] = {device: min(n, known.get(int(device), 0)) for device, n in op["clock"].items()}

    def write(self, op: Json) -> Json:
        self.clock[self.device] = len(self.ops)
        written = {"n": len(self.ops) + 1, "clock": _named(self.clock), **op}
        self.ops.append(written)
        return written

    def context(self, phone: Device) -> Json:
        """What the phone has to say of its next op when it has heard what is not in its log yet.
        Its own need not be named, and as a copy it would have to number them anew."""
        known = phone.held.positions.get(self.device)
        if phone.held.epoch != self.epoch or len(self.ops) < (1 if known is None else known.next_n):
            return {}
        return {"clock": _named({**self.clock, self.device: len(self.ops), phone.held.author or 0: 0})}

    def renamed(self, old: int, fork_at: int, new: int | None) -> None:
        """The phone turned out to be a copy: what the watch heard of it from `fork_at` on has other names."""
        assert new is not None
        _rename(self.clock, old, fork_at, new)
        for op in self.ops:
            clock = {int(device): n for device, n in op["clock"].items()}
            _rename(clock, old, fork_at, new)
            op["clock"] = _named(clock)

    def relay(self, phone: Device, node: Node) -> int:
        """The phone pushes, with the watch's token, what the server lacks of the watch's ops, as far as the
        phone's own ops that they had seen are there; returns how many were accepted."""
        held = phone.held
        answer = self.server.rest(node, self.token, "pull", after=0, limit=1)
        if phone.core.ledger.moved or phone.core.ledger.doubt or not answer["ok"]:
            return 0
        if not answer["epoch"] == held.epoch == self.epoch:
            return 0
        unsent = held.outbox[0]["n"] if held.outbox else held.next_n
        waiting = self.ops[answer["next_n"] - 1 :]
        batch = list(takewhile(lambda op: op["clock"].get(str(held.author), 0) < unsent, waiting))
        if not batch:
            return 0
        payload = {"ops": batch, "epoch": self.epoch, "sent_at": phone.now()}
        pushed = self.server.rest(node, self.token, "push", **payload)
        return len(pushed["results"]) if pushed["ok"] else 0


def _named(clock: dict[int, int]) -> dict[str, int]:
    return {str(device): n for device, n in sorted(clock.items()) if n}


def _rename(clock: dict[int, int], old: int, fork_at: int, new: int) -> None:
    beyond = clock.get(old, 0) - fork_at + 1
    if beyond > 0:
        clock[old] = fork_at - 1
        clock[new] = max(beyond, clock.get(new, 0))
