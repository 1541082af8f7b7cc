"""What the group demo shows: who is ahead, drawn live in a terminal, as lines everywhere else.

What is drawn is what one of the people sees: the view that ticks brought to their device, and the cue that
its own alarm gave.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fitai.app.demo_group_person import Person
from fitai.gateways.client.group_cues import Cue

Json = dict[str, Any]

DRAWN_A_SECOND = 8
BAR = 24
_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")


class Screen:
    """Prints what happens, and while `live` draws what `watched` sees."""

    def __init__(self, console: Console, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.watched: Person | None = None
        self.people: Sequence[Person] = ()
        self._console = console
        self._started = time.perf_counter()

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
            (f"{self.elapsed_s:6.2f} s  ", "dim"), (f"{who:<8}", _colour(who)), (words, style)
        )
        for note in notes:
            line.append(f"  {note}", "dim")
        self._print(line)

    def cue(self, cue: Cue, plan: str) -> None:
        """Another phase is on; without a terminal this is when the board is shown."""
        self.tell("clock", cue_words(cue, plan), style="bold")
        if not self._console.is_terminal and self.watched is not None:
            line = board_line(self.watched)
            if line:
                self.tell("board", line)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Draw while this lasts, where it is a terminal that draws; lines go above the drawing."""
        if not self._console.is_terminal:
            yield
            return
        with Live(
            get_renderable=self._drawing,
            console=self._console,
            refresh_per_second=DRAWN_A_SECOND,
            transient=True,
        ):
            yield

    def _drawing(self) -> Group | Text:
        watched = self.watched
        if watched is None or watched.training is None:
            return Text("")
        cue = watched.group.cue()
        return Group(Text(), Text(remaining(watched, cue), style="bold"), board_table(watched, self.people))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def cue_words(cue: Cue, plan: str = "") -> str:
    """What is on."""
    if cue.phase is None:
        return cue.status
    if plan == "race":
        return "go"
    return f"round {cue.phase.round}, {cue.phase.kind}"


def remaining(person: Person, cue: Cue | None) -> str:
    """What is on and for how long, by this person's device."""
    now = person.group.server_ms()
    if cue is None or now is None:
        return ""
    g = person.group.state
    ends = None if cue.phase is None or cue.phase.until_ms is None else g.clock.wall(cue.phase.until_ms)
    until = g.live_at if cue.status == "countdown" else ends
    left = "" if until is None else f", {max(0.0, (until - now) / 1000):.1f} s left"
    return f"{g.title}: {cue_words(cue)}{left}"


def board_table(person: Person, people: Sequence[Person]) -> Table:
    """The board as this person sees it: by rank, then those without one."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    for column, justify in (("", "right"), ("who", "left"), ("", "left"), ("reps", "right"), ("♥", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    table.add_column("")
    view = person.group.view
    most = max((fields.get("amount") or 0 for fields in view.values()), default=0)
    nodes = {one.group.member: one.node.name for one in people if one.training is not None}
    for no, fields in _ordered(view):
        amount = fields.get("amount") or 0
        rank, hr = fields.get("rank"), fields.get("hr")
        table.add_row(
            "" if rank is None else str(rank),
            name_of(person, no),
            bar(amount, most),
            str(amount or ""),
            "" if hr is None else f"{hr:g}",
            f"{doing(person, no, fields)}  {nodes.get(no, '')}",
        )
    return table


def board_line(person: Person) -> str:
    """The same in one line: who has a rank."""
    ranked = [(no, fields) for no, fields in _ordered(person.group.view) if fields.get("rank") is not None]
    return " · ".join(
        f"{fields['rank']} {name_of(person, no)} {fields.get('amount', 0)}" for no, fields in ranked
    )


def bar(amount: int, most: int, width: int = BAR) -> str:
    """How much, as a bar; the one who has most has all of it."""
    full = round(width * amount / most) if most else 0
    return "█" * full + "·" * (width - full)


def name_of(person: Person, no: int) -> str:
    """What a member is called, by the log that this person has."""
    member = person.group.state.members.get(no)
    return f"member {no}" if member is None else member.name


def doing(person: Person, no: int, fields: Mapping[str, Any]) -> str:
    """What somebody does at the moment."""
    member = person.group.state.members.get(no)
    if fields.get("left"):
        return "left"
    if not fields.get("here"):
        return "away"
    return "looks on" if member is not None and member.role == "spectator" else fields.get("exercise", "here")


def _ordered(view: Mapping[int, Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    return sorted(view.items(), key=lambda one: (one[1].get("rank") or len(view) + 1, one[0]))


def _colour(who: str) -> str:
    return _COLOURS[sum(map(ord, who)) % len(_COLOURS)]
