"""What the demo shows while it runs: one line for each thing that happens, with what was measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from fitai.app.demo_device import Device
from fitai.app.words import Narrator
from fitai.engine.ops import Dot

Json = dict[str, Any]

_COLOURS = {"phone": "cyan", "watch": "magenta", "server": "yellow", "merge": "green"}
_VERDICTS = {"applied": "green", "merged": "cyan", "deferred": "yellow", "void": "red"}

BURST_S = 0.02

_RECORDS = {
    "load": "heaviest load",
    "e1rm": "estimated 1RM",
    "reps": "most reps",
    "set_volume": "best set volume",
    "duration": "longest time",
    "distance": "longest distance",
    "workout_volume": "best workout volume",
    "assist": "least help",
}


@dataclass(slots=True)
class _Op:
    """An op on its way: when it was written, and after how many ms which device has it."""

    words: str
    author: Device
    written_at: float
    place: str = ""
    verdict: str = ""
    after_ms: dict[str, float] = field(default_factory=dict)


class Screen:
    """The demo's `Watcher`; prints to a terminal or a pipe."""

    def __init__(self, console: Console, now_ms: Callable[[], int]) -> None:
        self.quiet = False
        self.early_rests = 0
        self.rest_delays_ms: list[int] = []
        self.travel_ms: list[float] = []
        self.now_ms = now_ms
        self._console = console
        self._started = time.perf_counter()
        self._narrator = Narrator()
        self._devices: dict[str, Device] = {}
        self._on_the_way: dict[Dot, _Op] = {}
        self._said: dict[str, Json] = {}
        self._beaten: dict[str, list[Json]] = {}

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._started

    def act(self, title: str) -> None:
        """A heading."""
        self._console.print()
        self._print(Text(title, style="bold"))

    def tell(self, who: str, words: str, *notes: str, style: str = "") -> None:
        """Something that somebody did, with what there is to say about it."""
        line = Text.assemble(
            (f"{self.elapsed_s:6.2f} s  ", "dim"),
            (f"{who:<7}", _COLOURS.get(who, "")),
            (f"{words:<58}", style),
        )
        for note in notes:
            line.append(f"  {note}", _VERDICTS.get(note, "dim"))
        line.rstrip()
        self._print(line)

    def named(self, entity: str) -> str:
        """What an exercise entry or a set is called."""
        return self._narrator.named(entity)

    # -- what devices tell -----------------------------------------------------------------------------

    def wrote(self, device: Device, op: Json, since: float) -> None:
        """An op is in the outbox."""
        self._devices[device.name] = device
        words = self._narrator.tell(op)
        assert device.number is not None, "the demo's devices sign in before they write"
        self._on_the_way[Dot(device.number, op["n"])] = _Op(words, device, since)
        if not (device.here or self.quiet):
            self.tell(device.name, words, "kept: no connection", style="italic")

    def has(self, device: Device, record: Json) -> None:
        """A record joined the device's log."""
        self._devices[device.name] = device
        dot = Dot(record["device"], record["n"])
        op = self._on_the_way.get(dot)
        if op is None:
            return
        op.after_ms[device.name] = (time.perf_counter() - op.written_at) * 1000
        if device is op.author:
            op.place, op.verdict = f"seq {record['seq']}", record["verdict"]
        if op.place and self._everybody_has(op):
            del self._on_the_way[dot]
            self._show(op)

    def heard(self, device: Device, insight: Json) -> None:
        """An insight that the device did not have like that: shown when the first one hears it."""
        self._devices[device.name] = device
        if insight["kind"] == "rest_over":
            self._rest_over(device, insight)
        elif insight["kind"] == "record":
            self._record(insight)

    def came(self, device: Device, online: Json) -> None:
        """The device is connected."""
        self._devices[device.name] = device
        if not online["resumed"]:
            self.tell(device.name, f"connected, {device.codec} over WebSocket", f"device {device.number}")
            return
        missed = online["head"] - device.cursor
        waiting = len(device.client.held.outbox)
        words = f"back with its cursor {device.cursor}: {missed} records to catch up, {waiting} ops to send"
        self.tell(device.name, words, "resumed")

    def went(self, device: Device) -> None:
        """The device lost its connection."""
        words = "lost its connection" if device.bye is None else f"was told goodbye: {device.bye}"
        self.tell(device.name, words)

    # -- lines -------------------------------------------------------------------------------------------

    def _everybody_has(self, op: _Op) -> bool:
        return all(name in op.after_ms for name, device in self._devices.items() if device.here)

    def _show(self, op: _Op) -> None:
        others = {name: ms for name, ms in op.after_ms.items() if name != op.author.name}
        self.travel_ms += others.values()
        if not self.quiet:
            seen = [f"on the {name} after {_ms(ms)}" for name, ms in others.items()]
            self.tell(op.author.name, op.words, f"{op.place:<6}", op.verdict, *seen)

    def _rest_over(self, device: Device, insight: Json) -> None:
        """Told at least once to every device: a rest counts once, by its id."""
        late = self.now_ms() - insight["at"]
        self.early_rests += late < 0
        if insight["id"] not in self._said:
            self._said[insight["id"]] = insight
            self.rest_delays_ms.append(late)
            self.tell("server", "the rest is over", f"{late} ms after it was due")

    def _record(self, insight: Json) -> None:
        if self.quiet or insight.get("withdrawn") or self._said.get(insight["id"]) == insight:
            return
        self._said[insight["id"]] = insight
        if not self._beaten:  # what one set beats comes in one burst, and is shown in one line
            asyncio.get_running_loop().call_later(BURST_S, self._show_beaten)
        self._beaten.setdefault(insight["exercise"], []).append(insight)

    def _show_beaten(self) -> None:
        for exercise, beaten in self._beaten.items():
            words = ", ".join(f"{record_name(one)} {amount(one['value'], one['unit'])}" for one in beaten)
            self.tell("server", f"★ {exercise}: {words}", style="bold yellow")
        self._beaten.clear()

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def record_name(insight: Mapping[str, Any]) -> str:
    """What was beaten, in words."""
    return _RECORDS.get(insight["type"], str(insight["type"]))


def amount(value: float, unit: str) -> str:
    """A value as a person reads it, at most three decimals."""
    return f"{value:.3f}".rstrip("0").rstrip(".") + f" {unit}"


def _ms(ms: float) -> str:
    return f"{ms:.0f} ms" if ms >= 1 else f"{ms:.1f} ms"


def median(values: Sequence[float]) -> float:
    """The middle one; 0 of none."""
    return sorted(values)[len(values) // 2] if values else 0.0
