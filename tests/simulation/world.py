"""One seed: five devices and a watch of one person, a server, and everything that can go wrong between them.

All chance comes from one random.Random, all time from the server's clock, so that a seed is one story, told
the same each time. `struck` counts the faults that really struck: an answer was lost after a commit, not just
a wire cut while nothing was said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from fitai.gateways.client import messages as m
from tests.simulation.device import Device, Watch
from tests.simulation.server import YEAR_MS, Json, Server
from tests.simulation.workload import Workload

DEVICES = 5
STEPS = 160
OLD = frozenset({"note.set", "exercise.move", "set.restore"})

# What a step is, by weight: mostly life goes on, now and then something breaks.
STEP = {
    "write": 60,
    "talk": 90,
    "time": 12,
    "watch": 12,
    "partition": 4,
    "clock": 2,
    "app killed": 4,
    "two processes": 1,
    "backup": 3,
    "put back": 2.5,
    "clone": 1.2,
    "reinstall": 0.6,
    "signed out": 0.6,
    "server killed": 3,
    "killed in the append": 3,
    "bus": 2,
    "stray": 3,
    "server backup": 1.6,
    "server restored": 1.4,
    "upgrade": 0.5,
}

# What becomes of one message.
WAY = {"ok": 80, "drop": 3, "lost answer": 4, "double": 4, "late double": 4, "reorder": 5}


class World:
    """See the module's first lines.

    written  {tag: op} of every op that was durably written
    lost     tags that went with the only file that had them: nobody could still send them
    twice    tags that two copies of a file hold unsent: each may send them under a name of its own
    struck   faults by kind
    """

    def __init__(self, seed: int, template: Path, folder: Path, steps: int = STEPS) -> None:
        self.random = Random(seed)
        self.folder = folder
        self.steps = steps
        self.server = Server(template, folder, nodes=self.random.choice([1, 2]))
        self.work = Workload(self.random)
        self.devices: list[Device] = []
        self.written: dict[str, Json] = {}
        self.acked: set[str] = set()
        self.lost: set[str] = set()
        self.twice: set[str] = set()
        self.struck: Counter[str] = Counter()
        self.backups: dict[str, Path] = {}
        self.before: list[str] = []
        self._files = 0
        for _ in range(DEVICES - 1):
            self._install()
        self.watch = Watch(self.server, "watch")
        self.devices[0].watch = self.watch
        if self.random.random() < 0.3:
            self.server.old_kinds = OLD

    def close(self) -> None:
        for device in self.devices:
            device.quit()
        self.server.close()

    def run(self) -> None:
        """The story, without its end."""
        for workout in self.work.workouts:
            self._write(self.devices[0], self.work.plan(workout))
        acts: list[Callable[[], None]] = [getattr(self, "_" + name.replace(" ", "_")) for name in STEP]
        for _ in range(self.steps):
            self.server.now += self.random.choice([50, 100, 400, 20_000])
            self.random.choices(acts, list(STEP.values()))[0]()

    # -- what people do --------------------------------------------------------------------------------

    def _device(self) -> Device:
        return self.random.choice(self.devices)

    def _write(self, device: Device | None = None, op: Json | None = None) -> None:
        device = device or self._device()
        for _ in range(1 if op else self.random.randint(1, 4)):
            self._write_one(device, op or self.work.next(device))

    def _write_one(self, device: Device, op: Json) -> None:
        context = {} if device.watch is None else device.watch.context(device)
        op = self._tagged({**op, **context, "at": device.now()})
        _, commands = device.core.write(op)
        device._perform(commands)

    def _tagged(self, op: Json) -> Json:
        op = {**op, "tag": f"t{len(self.written)}"}
        self.written[op["tag"]] = op
        return op

    def _talk(self) -> None:
        device = self._device()
        if not device.core.wanted or (device.core.online and not device.asked and not device.coming):
            device.tell(m.Asked())
        elif device.wakes and not device.core.online:
            device.tell(m.Woke())
        for _ in range(self.random.randint(1, 8)):
            device.hear()
            if device.coming and (not device.asked or self.random.random() < 0.6):
                self._arrive(device)
            elif device.asked:
                self._reach(device)
            elif device.wakes and self.random.random() < 0.5:
                device.tell(m.Woke())

    def _reach(self, device: Device) -> None:
        """One message of a device to the server, on a way on which anything may happen."""
        if device.node is None or device.node not in self.server.nodes:
            up = device.node is not None or self.random.random() < 0.3
            if not up:
                device.lose()
                return
            device.node = self.random.choice(self.server.nodes)
        command, way = device.asked[0], self.random.choices(list(WAY), list(WAY.values()))[0]
        if way == "drop":
            self.struck["drop"] += 1
            device.lose()
            return
        before = self.server.head
        push = (
            (device.token, {"ops": list(command.ops), "epoch": command.epoch})
            if isinstance(command, m.Push)
            else None
        )
        device.reach()
        if push is not None and way == "double":
            self._again(push, "double")
        elif push is not None and way == "late double":
            device.strays.append(push)
        elif way == "lost answer":
            self.struck["lost ack" if self.server.head > before else "lost answer"] += 1
            device.lose()

    def _arrive(self, device: Device) -> None:
        if len(device.coming) > 1 and self.random.random() < 0.15:
            self.struck["reorder"] += 1
            device.coming[0], device.coming[1] = device.coming[1], device.coming[0]
        elif self.random.random() < 0.08 and isinstance(device.coming[0], m.Told):
            self.struck["double"] += 1
            device.coming.appendleft(device.coming[0])
        device.arrive()
        self.acked |= device.acked

    def _again(self, push: tuple[str, Json], fault: str) -> None:
        """A proxy delivers a push once more; nobody waits for the answer."""
        token, payload = push
        answer = self.server.rest(self.random.choice(self.server.nodes), token, "push", **payload)
        if answer["ok"] and any(result["verdict"] == "duplicate" for result in answer["results"]):
            self.struck[fault] += 1

    def _stray(self) -> None:
        device = self._device()
        if device.strays:
            self._again(device.strays.pop(self.random.randrange(len(device.strays))), "late double")

    def _time(self) -> None:
        hours = self.random.random() < 0.1
        self.server.pass_time(
            self.random.randint(1, 8) * 3_600_000 if hours else self.random.randint(1, 900_000)
        )

    def _watch(self) -> None:
        """Somebody lifts in the basement with a watch; its phone may be near, and may have a network."""
        phone = next(device for device in self.devices if device.watch is self.watch)
        if self.random.random() < 0.6:
            self.watch.meet(phone)
        for _ in range(self.random.randint(0, 3)):
            self.watch.write(self._tagged({**self.work.next(None), "at": self.server.now}))
        if phone.node in self.server.nodes:
            self.struck["watch relayed"] += self.watch.relay(phone, phone.node) > 0

    # -- what befalls devices ----------------------------------------------------------------------------

    def _install(self) -> Device:
        """A new installation."""
        self._files += 1
        device = Device(
            self.server,
            self.folder / f"phone{self._files}.db",
            f"install {self._files}",
            live=self.random.random() < 0.6,
            random=self.random,
        )
        device.node = self.random.choice(self.server.nodes)
        self.devices.append(device)
        return device

    def _partition(self) -> None:
        device = self._device()
        if device.node is not None and device.core.wanted:
            self.struck["partition"] += 1
            device.lose()
        device.node = None if device.node is not None else self.random.choice(self.server.nodes)

    def _clock(self) -> None:
        device = self._device()
        self.struck["clock jump"] += 1
        device.ahead_ms = self.random.choice([-10, 0, 10]) * YEAR_MS + self.random.randint(-600_000, 600_000)

    def _app_killed(self) -> None:
        self.struck["app killed"] += 1
        self._device().die()

    def _two_processes(self) -> None:
        """A second process finds the file in use; the first one dies, and the second takes over."""
        device = self._device()
        assert device.locked_out(), "two processes had one file open"
        self.struck["two processes"] += 1
        device.die()

    def _backup(self) -> None:
        device = self._device()
        self._files += 1
        path = self.folder / f"copy{self._files}.db"
        device.copy_to(path)
        self.backups[str(device.path)] = path

    def _put_back(self) -> None:
        """An older copy of a file takes its place: what was written since and not sent is gone."""
        # A watch has heard of ops by names that a restored phone would give to others: not the first one.
        known = [device for device in self.devices[1:] if str(device.path) in self.backups]
        if known:
            device = self.random.choice(known)
            author = device.held.author
            device.put_back(self.backups[str(device.path)])
            if device.held.author != author:  # as another device it may have sent them already
                self.twice |= {op["tag"] for op in device.held.outbox}
            self.struck["backup restored"] += 1
            self._mourn()

    def _clone(self) -> None:
        """Two copies of a phone go on."""
        if len(self.devices) > DEVICES + 2:
            return
        origin = self._device()
        self._files += 1
        path = self.folder / f"phone{self._files}.db"
        origin.copy_to(path)
        self.twice |= {op["tag"] for op in origin.held.outbox}
        clone = Device(self.server, path, "", live=origin.live, random=self.random)
        clone.ahead_ms, clone.node = origin.ahead_ms, self.random.choice(self.server.nodes)
        self.devices.append(clone)
        self.struck["clone"] += 1

    def _reinstall(self) -> None:
        """The app is deleted with its file, and installed anew."""
        device = self.random.choice(self.devices[1:])  # the first one keeps its watch
        self.devices.remove(device)
        device.quit()
        self.struck["reinstall"] += 1
        self._mourn()
        self._install()

    def _signed_out(self) -> None:
        """A device is revoked; what it holds unsent is to survive until its person signs in again."""
        device = self._device()
        if device.held.device is not None:
            self.server.revoke(device.held.device)
            self.struck["signed out"] += 1

    def _mourn(self) -> None:
        """Whatever no file can offer any more and the log does not have is lost, and nobody's fault."""
        here = set(self.server.tags()) | {op["tag"] for op in self.watch.ops}
        for device in self.devices:
            here |= device.own_tags() | device.quarantined()
        self.lost |= self.written.keys() - here

    # -- what befalls the server ---------------------------------------------------------------------------

    def _server_killed(self) -> None:
        self._kill("server killed")

    def _kill(self, fault: str) -> None:
        node = next((node for node in self.server.nodes if node.dead.is_set()), None)
        node = node or self.random.choice(self.server.nodes)
        self.struck[fault] += 1
        before = self.server.tags()
        self.server.kill(node)
        assert self.server.tags() == before, "a kill changed the log"
        for device in self.devices:
            if device.node is node:
                device.lose()
                device.node = self.random.choice(self.server.nodes)

    def _killed_in_the_append(self) -> None:
        """A node dies over the next push of somebody, before or after the commit."""
        pushing = [
            each
            for each in self.devices
            if each.asked and isinstance(each.asked[0], m.Push) and each.node in self.server.nodes
        ]
        if not pushing:
            return
        device = self.random.choice(pushing)
        assert device.node is not None
        moment = self.random.choice(["before", "after"])
        device.node.appender.dies = moment
        device.reach()
        if device.node.dead.is_set():
            self._kill(f"killed {moment} a commit")
        else:
            device.node.appender.dies = None

    def _bus(self) -> None:
        """The bus swallows what it is told, or hears again."""
        node = self.random.choice(self.server.nodes)
        node.bus.deaf = not node.bus.deaf
        self.struck["bus deaf"] += node.bus.deaf and len(self.server.nodes) > 1

    def _server_backup(self) -> None:
        self.server.back_up()

    def _server_restored(self) -> None:
        """The server comes back as it was when a copy was made, and has forgotten what came since."""
        if not self.server.backed_up:
            return
        before = self.server.head
        self._share()
        self.server.restore(f"epoch {self.random.getrandbits(32):x}")
        self.struck["server restored"] += self.server.head < before
        for device in self.devices:
            device.lose()
            device.node = self.random.choice(self.server.nodes)
        self._mourn()

    def _share(self) -> None:
        """Copies of a file offer the same ops again."""
        held = Counter(tag for device in self.devices for tag in device.own_tags())
        self.twice |= {tag for tag, count in held.items() if count > 1}

    def _upgrade(self) -> None:
        if self.server.old_kinds:
            known = {record.op.kind for record in self.server.log()}
            self.struck["mixed versions"] += bool(known & self.server.old_kinds)
            self.server.old_kinds = frozenset()
            for node in list(self.server.nodes):
                self.server.kill(node)
            for device in self.devices:
                device.lose()
                device.node = self.random.choice(self.server.nodes)

    # -- the end -------------------------------------------------------------------------------------------

    def heal(self, rounds: int = 12) -> None:
        """Everything works again, and everybody meets everybody, until nothing changes."""
        self._upgrade()
        for node in self.server.nodes:
            node.bus.deaf = False
        for device in self.devices:
            while device.strays:
                self._again(device.strays.pop(), "late double")
            device.node = self.random.choice(self.server.nodes)
            device.tell(m.Asked())
        for _ in range(rounds):
            self.server.pass_time(60_000)
            before = [self.server.head, *(device.held.cursor for device in self.devices)]
            for device in self.devices:
                self._settle(device)
            phone = self.devices[0]
            assert phone.node is not None
            self.watch.meet(phone)
            self.watch.relay(phone, phone.node)
            after = [self.server.head, *(device.held.cursor for device in self.devices)]
            waiting = [len(device.held.outbox) for device in self.devices]
            if before == after and len(set(after)) == 1 and not any(waiting):
                return
        raise AssertionError(f"no end of it: head and cursors {after}, waiting {waiting}")

    def _settle(self, device: Device, steps: int = 300) -> None:
        """Be in touch, with nothing in the way, until there is nothing to do or others must go first."""
        device.tell(m.Asked())
        waits = 0
        for _ in range(steps):
            device.hear()
            if device.coming:
                self._arrive_plainly(device)
            elif device.asked:
                device.reach()
            elif device.core.settled:
                return
            elif waits > 6:
                return  # its ops name what only somebody else can send
            else:
                assert device.wakes, f"neither busy, nor settled, nor waiting: {device.core.stopped}"
                waits += 1
                self.server.now += 1_000
                device.tell(m.Woke())
        raise AssertionError(f"never settled: {device.asked}, {device.coming}")

    def _arrive_plainly(self, device: Device) -> None:
        device.arrive()
        self.acked |= device.acked
