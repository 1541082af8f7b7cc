"""What does an event cost on its way out, beside its bare encoding?

**Question.** A record goes to the devices of its user: how many `ops` events a second does the gateway encode
for a codec, as a packet that a transport can take?

**Figure.** Our rate as a part of the encoder's alone on the same payload (`orjson`, `msgpack`). First
measured: 0.86 for JSON (0.72 … 0.99), 0.81 for msgpack (0.46 … 1.4), on two busy cores in November 2026.
Later that month, when only the transport after it had changed, on quiet ones: 0.80 (0.75 … 1.5) and 0.49
(0.45 … 0.58).

**Control.** The generator's own reader, which knows nothing of ours, reads the payload from the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import orjson

from fitai.bench import wire
from fitai.bench.micro import report
from fitai.bench.micro.fold import placed
from fitai.bench.micro.report import Figure
from fitai.gateways.live.frames import CODECS, OpsFrame

ALONE: dict[str, Callable[[Any], Any]] = {"json": orjson.dumps, "msgpack": msgpack.packb}

Payload = tuple[int, list[dict[str, Any]]]


def payloads(events: int, run: int) -> list[Payload]:
    """So many records, each to be an event of its own."""
    records, _ = placed(events, run)
    return [(record.seq, [record.wire()]) for record in records]


def encoded(payload: Payload, codec: str) -> str | bytes:
    """The frame of an `ops` event as it goes to the transport."""
    seq, records = payload
    packet = OpsFrame("e", seq, seq, records).packet(CODECS[codec])
    frame: str | bytes = packet.encode()
    return frame


def ours(codec: str, events: int) -> Callable[[int], float]:
    def measure(run: int) -> float:
        its = payloads(events, run)
        seconds, frames = report.timed(lambda: [encoded(payload, codec) for payload in its])
        check(its, frames, codec)
        return events / seconds

    return measure


def alone(codec: str, events: int) -> Callable[[int], float]:
    def measure(run: int) -> float:
        its = [
            {"epoch": "e", "from": seq, "to": seq, "records": records}
            for seq, records in payloads(events, run)
        ]
        encode = ALONE[codec]
        seconds, _ = report.timed(lambda: [encode(payload) for payload in its])
        return events / seconds

    return measure


def check(its: Sequence[Payload], frames: Sequence[str | bytes], codec: str) -> None:
    """Raise AssertionError unless each frame says its payload."""
    for (seq, records), frame in zip(its, frames, strict=True):
        packet = wire.CODECS[codec].read(frame if isinstance(frame, bytes) else frame.encode())
        said = {"epoch": "e", "from": seq, "to": seq, "records": records}
        assert (packet.kind, packet.data) == (wire.EVENT, ["ops", said]), "the frame says something else"


def measure(runs: int, events: int) -> list[Figure]:
    """Both codecs, and each as a part of its encoder."""
    contenders = {f"ours {codec}": ours(codec, events) for codec in ALONE}
    contenders |= {f"alone {codec}": alone(codec, events) for codec in ALONE}
    found = report.interleaved(runs, contenders)
    figures = []
    for codec in ALONE:
        mine, its = found[f"ours {codec}"], found[f"alone {codec}"]
        figures += [
            Figure.of(f"ops event, {codec}", "event/s", mine),
            Figure.of(f"its payload alone, {codec}", "event/s", its),
            Figure.of(f"event to payload, {codec}", "ratio", [a / b for a, b in zip(mine, its, strict=True)]),
        ]
    return figures


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("encode", "Events to frames, beside bare encoders.")
    parser.add_argument("--events", type=int, default=10_000)
    options = parser.parse_args(arguments)
    question = f"{options.events} `ops` events of one record, as frames."
    figures = measure(options.runs, options.events)
    facts = report.machine(["orjson", "msgpack", "python-socketio", "python-engineio"])
    report.tell("encode", question, figures, facts, options.into)
