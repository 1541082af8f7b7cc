"""How fast do three replicas' ops become one state, beside libraries that do nothing but merge?

**Question.** Three replicas wrote 10,000 keys each while apart, half of the keys shared. How many ops per
second go from the bytes that they upload to a merged state with its conflicts known? Ours with schema, op
rules, limits, verdicts and conflicts on; the peers (`pycrdt`, `loro`) merge the same writes, one transaction
each, without any of that. No storage on either side; `fitai.bench.micro.push` has that.

**Like for like.** A key is the register `reps` of a set; 500 sets in a workout, as many as one may hold. The
sets are logged before, and not timed: an edit of a set that nobody has logged waits for it and shows nothing,
so leaving that out would measure less than a merge. It gives our registers one more value to replace, which
the peers' do not have. Our bytes are msgpack pushes of 500 ops, decoded as they arrive; theirs one blob a
replica. Timed to the point where every value, and every value beside it, can be read from what is in memory;
documents of it (our state, their JSON) are made when somebody asks, and on neither side timed.

**Figure.** Our rate as a part of loro's: at least 0.25, aim 0.5.

**Control.** All merge orders show one state; every shown value was written to its key; exactly the keys to
which different values were written are in conflict; the peers find as many keys.

    python -m fitai.bench.micro merge [--runs 5] [--ops 10000]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from fitai.bench.micro import peers, report, workload
from fitai.bench.micro.peers import Peer
from fitai.bench.micro.report import Figure
from fitai.bench.micro.workload import MapWrites
from fitai.engine.workout import Limits, digest, state
from fitai.sync import log
from fitai.sync.fold import Folded
from fitai.sync.place import Placer
from fitai.sync.wire import WireLimits, decode_push

ASKED = 0.25
NOW = workload.START + 40 * workload.DAY_MS


@dataclass(frozen=True, slots=True)
class Merged:
    """Ops per second, and the bytes of an op on the way."""

    rate: float
    size: float


class Ours:
    """A server's fold without a server: a placer, and the folds of the workouts that the ops touch."""

    def __init__(self, writes: MapWrites) -> None:
        self.folds = {workout: Folded(workout, "owner") for workout in writes.workouts}
        self._placer = Placer(0, 0, {}, self.folds, Limits())
        self._limits = Limits()
        self._wire = WireLimits()
        for body in workload.pushes(writes.prepared):
            self.push(1, body)

    def push(self, device: int, body: bytes) -> None:
        """Take one push, from its bytes."""
        push = decode_push(msgspec.msgpack.decode(body), self._wire)
        last = self._placer
        placer = Placer(last.head, last.last_rt, last.positions, self.folds, self._limits)
        position = placer.position(device)
        fresh = log.admit(push.ops, position, placer.seen).fresh
        placer.place_all(device, fresh, log.contexts(fresh, position), NOW, 0)
        self._placer = placer

    def merge(self, uploads: Sequence[tuple[int, Sequence[bytes]]]) -> list[Any]:
        """Take what the devices upload, one after another; the workouts, settled."""
        for device, bodies in uploads:
            for body in bodies:
                self.push(device, body)
        return [folded.workout for folded in self.folds.values()]

    def documents(self) -> list[dict[str, Any]]:
        """The merged state."""
        return [state(folded.workout) for folded in self.folds.values()]


def ours(ops: int) -> Callable[[int], Merged]:
    """Measures us, and holds the control."""

    def measure(run: int) -> Merged:
        writes = workload.map_writes(run, ops)
        uploads = [(device, workload.pushes(its)) for device, its in enumerate(writes.written, 2)]
        merger = Ours(writes)
        seconds, _ = report.timed(lambda: merger.merge(uploads))
        documents = merger.documents()
        check(writes, documents)
        other = Ours(writes)
        other.merge(uploads[::-1])
        assert digests(other.documents()) == digests(documents), "the order of merging changes the state"
        total = sum(map(len, writes.written))
        return Merged(total / seconds, sum(len(body) for _, its in uploads for body in its) / total)

    return measure


def check(writes: MapWrites, documents: Sequence[dict[str, Any]]) -> None:
    """Raise AssertionError unless each key shows a value that was written to it, and exactly the keys with
    several values say so, with all of them."""
    shown: dict[tuple[str, str], int] = {}
    beside: dict[tuple[str, str], set[int]] = {}
    for document in documents:
        for entry in document["exercises"]:
            shown |= {(document["id"], one["id"]): one["reps"] for one in entry["sets"]}
        for one in document["alternatives"]:
            others = {other["value"] for other in one["others"]}
            beside[document["id"], one["entity"]] = others | {one["shown"]["value"]}
    assert shown.keys() == writes.values.keys(), "a key is missing or too many"
    assert all(value in writes.values[key] for key, value in shown.items()), "a value that nobody wrote"
    several = {key: values for key, values in writes.values.items() if len(values) > 1}
    assert beside == several, "a conflict is missing or too many"


def digests(documents: Sequence[dict[str, Any]]) -> list[str]:
    return [digest(document) for document in documents]


def theirs(peer: Peer, ops: int) -> Callable[[int], Merged]:
    """Measures a peer on the same writes."""

    def measure(run: int) -> Merged:
        writes = workload.map_writes(run, ops)
        keyed = [[(f"{op['entity']}", op["value"]["value"]) for op in its] for its in writes.written]
        blobs = [peer.blob(replica, its) for replica, its in enumerate(keyed, 1)]
        seconds, document = report.timed(lambda: peer.merge(blobs))
        values = peer.values(document)
        assert len(values) == writes.keys, f"{peer.package} has {len(values)} keys"
        assert peer.values(peer.merge(blobs[::-1])) == values, f"{peer.package}: the order changes the state"
        total = sum(map(len, keyed))
        return Merged(total / seconds, sum(map(len, blobs)) / total)

    return measure


def measure(runs: int, ops: int, others: Sequence[Peer]) -> list[Figure]:
    """The figures of all contenders, ours first."""
    contenders = {"ours": ours(ops), **{peer.package: theirs(peer, ops) for peer in others}}
    found = report.interleaved(runs, contenders)
    figures = []
    for name, its in found.items():
        figures.append(Figure.of(f"merge, {name}", "op/s", [one.rate for one in its]))
        figures.append(Figure.of(f"upload, {name}", "B/op", [one.size for one in its]))
    for name, its in found.items():
        if name != "ours":
            ratios = [mine.rate / one.rate for mine, one in zip(found["ours"], its, strict=True)]
            asked = f"≥ {ASKED}" if name == "loro" else ""
            figures.append(Figure.of(f"merge, ours to {name}", "ratio", ratios, asked))
    return figures


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("merge", "Merge rates beside two CRDT libraries.")
    parser.add_argument("--ops", type=int, default=10_000, help="map writes of each of three replicas")
    options = parser.parse_args(arguments)
    found = peers.installed()
    figures = measure(options.runs, options.ops, found)
    question = (
        f"3 replicas × {options.ops} map writes, half of the keys shared, from bytes to a merged state."
    )
    facts = report.machine([*(peer.package for peer in found), "msgspec", "msgpack", "orjson"])
    report.tell("merge", question, figures, facts, options.into)
