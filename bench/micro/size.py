"""How many bytes does an op cost on the way, besides the ids that it has to name?

**Question.** What does a client upload for an op: in a push of 500, as msgpack in a zstd frame, and for a
lone op, as msgpack? Two workloads: the map writes of `fitai.bench.micro.merge`, and workouts with loads and
efforts.

**Besides ids.** An op names a workout, mostly an entity, sometimes one more: UUIDs as text, whose bits nobody
can compress. A batch's ids are what a frame of the same ids alone, in their order, comes to. A lone op's are
what they take in it: 36 bytes of text and 2 that say so.

**Figure.** At most 12 bytes an op in a batch of map writes, aim 8; at most 80 for a lone one. The shapes are
the protocol's; free are the order of fields (`fitai.bench.micro.workload`) and the compressor's level. A
batch goes out once, when a network is back, so the phone has the time.

**Control.** What the server decodes from the frame are the ops; the same batch in JSON.

    python -m fitai.bench.micro size
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgpack
import zstandard

from fitai.bench.micro import report, workload
from fitai.bench.micro.report import Figure
from fitai.bench.micro.workload import BATCH, Op
from fitai.sync.wire import WireLimits, decode_push

ASKED_BATCH = 12
ASKED_LONE = 80
LEVEL = 19
_ID_BYTES = 38


def batches(runs: int) -> dict[str, list[Sequence[Op]]]:
    """Per workload the batches of `runs` seeds, from the midst of a log: counters and bases are not small."""
    first = 20_000
    early = [workload.map_writes(run, BATCH).written[0] for run in range(runs)]
    edits: list[Sequence[Op]] = [[{**op, "n": op["n"] + first} for op in its] for its in early]
    logged: list[Sequence[Op]] = [
        list(workload.sessions(run, BATCH, first=first, base=2 * first)) for run in range(runs)
    ]
    return {"map writes": edits, "workouts": logged}


def compressed(value: Any) -> int:
    """Bytes of msgpack in a zstd frame."""
    return len(zstandard.ZstdCompressor(level=LEVEL).compress(msgpack.packb(value)))


def ids(value: Any) -> Iterator[str]:
    """The ids in a value, in order."""
    if isinstance(value, dict):
        for item in value.values():
            yield from ids(item)
    elif isinstance(value, list):
        for item in value:
            yield from ids(item)
    elif isinstance(value, str) and len(value) == 36:
        yield value


def in_batch(ops: Sequence[Op]) -> tuple[float, float]:
    """Bytes of an op in a batch: besides ids, and all of it."""
    body = {"ops": list(ops)}
    frame = zstandard.ZstdCompressor(level=LEVEL).compress(msgpack.packb(body))
    read = decode_push(msgpack.unpackb(zstandard.ZstdDecompressor().decompress(frame)), WireLimits())
    assert [op.raw for op in read.ops] == body["ops"], "the frame holds other ops"
    return (len(frame) - compressed(list(ids(body)))) / len(ops), len(frame) / len(ops)


def lone(op: Op) -> tuple[int, int]:
    """Bytes of a lone op as msgpack: besides ids, and all of it."""
    packed = len(msgpack.packb(op))
    return packed - _ID_BYTES * len(list(ids(op))), packed


def measure(runs: int) -> list[Figure]:
    """Both sizes of both workloads."""
    figures = []
    for name, found in batches(runs).items():
        asked = f"≤ {ASKED_BATCH}" if name == "map writes" else ""
        sizes = [in_batch(ops) for ops in found]
        plain = [len(json.dumps({"ops": ops}, separators=(",", ":"))) / len(ops) for ops in found]
        figures += [
            Figure.of(f"{name}: in a batch besides ids", "B/op", [size for size, _ in sizes], asked),
            Figure.of(f"{name}: in a batch with ids", "B/op", [size for _, size in sizes]),
            Figure.of(f"{name}: in a batch as JSON", "B/op", plain),
        ]
        asked = f"≤ {ASKED_LONE}" if name == "map writes" else ""
        alone = [lone(op) for ops in found for op in ops if op["kind"].startswith("set.")]
        figures += [
            Figure.of(f"{name}: a lone op of a set besides ids", "B", [size for size, _ in alone], asked),
            Figure.of(f"{name}: a lone op of a set with ids", "B", [size for _, size in alone]),
        ]
    return figures


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("size", "Bytes of an op on the way.")
    options = parser.parse_args(arguments)
    question = f"Bytes of an op, msgpack: in a zstd frame (level {LEVEL}) of {BATCH}, and alone."
    facts = report.machine(["msgpack", "zstandard"])
    report.tell("size", question, measure(options.runs), facts, options.into)
