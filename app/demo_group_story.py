"""What the people of the group demo do, and what goes wrong meanwhile: an interval class, then a race."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from fitai.app.demo_group_nodes import Node, Nodes
from fitai.app.demo_group_person import Person
from fitai.app.demo_group_screen import Screen
from fitai.engine.groups.machine import FINISHED, LIVE
from fitai.gateways.client.group_cues import Cue
from fitai.gateways.tasks import spawn

Json = dict[str, Any]

STATIONS: Final = ("squat", "push-up", "row")
CLASS: Final[Json] = {
    "type": "tabata",
    "work_ms": 2_200,
    "rest_ms": 1_000,
    "rounds": 3,
    "stations": [{"exercise": exercise} for exercise in STATIONS],
}
GOAL: Final = 50
RACE: Final[Json] = {"type": "race", "measure": {"of": "reps"}, "goal": GOAL, "limit_ms": 15_000}
PODIUM: Final = 3
IN_MS: Final = 2_000
TELEMETRY_S: Final = 0.5
LATE_S: Final = 30.0  # results are written when the grace after the end is over
CHEERS: Final = ("fire", "clap", "heart")


@dataclass(slots=True)
class Played:
    """A group that was played: its id, its title, the code that opens it."""

    id: str
    title: str
    code: str


@dataclass(slots=True)
class Stage:
    """Everybody who plays, and what the story has brought about.

    offline    reps that were logged without a network; corrected: (before, after) of sets that were edited or
               removed when a board had them; cheered, messages: how many
    """

    nodes: Nodes
    people: Sequence[Person]
    screen: Screen
    played: list[Played] = field(default_factory=list)
    kills: int = 0
    cuts: int = 0
    offline: int = 0
    corrected: list[tuple[int, int]] = field(default_factory=list)
    cheered: int = 0
    messages: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def host(self) -> Person:
        """Who made the groups, and whose view is drawn."""
        return self.people[0]

    def named(self, place: int) -> Person:
        """Somebody by their place."""
        return self.people[place]

    @property
    def trains(self) -> list[Person]:
        """All but those who look on."""
        return [person for person in self.people if person.role == "participant"]

    def of(self, node: Node) -> list[Person]:
        """Whose link leads to a node."""
        return [person for person in self.people if person.node is node]

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the story; `finish` waits for it, and raises what went wrong in it."""
        self._tasks.add(spawn("demo.group", work))

    async def finish(self) -> None:
        """Wait for all that was begun."""
        tasks, self._tasks = self._tasks, set()
        await asyncio.gather(*tasks)

    def cancel(self) -> None:
        """Nothing of it goes on."""
        for task in self._tasks:
            task.cancel()


async def play(stage: Stage) -> None:
    """Both acts."""
    try:
        with stage.screen.live():
            await interval_class(stage)
            await race(stage)
    finally:
        stage.cancel()


# -- the class ---------------------------------------------------------------------------------------------


async def interval_class(stage: Stage) -> None:
    """Three rounds, in which a network, a node and two typists fail, one comes late and one goes early."""
    screen, host = stage.screen, stage.host
    screen.act("An interval class")
    late, offline, leaver = stage.named(4), stage.named(3), stage.named(5)
    await gather(stage, "Lunch Tabata", CLASS, [one for one in stage.people if one is not late])
    for happens in (
        _mistyped(stage, stage.named(1)),
        _doubled(stage, stage.named(2)),
        _without_network(stage, offline),
        _comes_late(stage, late),
        _node_dies(stage),
        _leaves(stage, leaver),
    ):
        stage.start(happens)
    await _begin(stage)
    await host.until(lambda: _is_over(host), "the class was over")
    await stage.finish()
    await agreed(stage)
    screen.tell("board", "after the late sync and both corrections, the same for everybody")


async def _mistyped(stage: Stage, person: Person) -> None:
    """A set with a digit too many; put right in the rest."""
    await _phase(person, "work", 1)
    right = person.pace
    set_ = await person.set_done(STATIONS[0], right * 10)
    await _phase(person, "rest", 1)
    await _board_shows(stage, person)
    await person.log("set.edit", {"field": "reps", "value": right}, set_)
    person.now.sets[set_] = right
    await _corrected(stage, person, right * 10, right, "edited a set")


async def _doubled(stage: Stage, person: Person) -> None:
    """A set tapped twice; the second one is taken away."""
    await _phase(person, "work", 2)
    set_ = await person.set_done(STATIONS[1], person.pace)
    await _phase(person, "rest", 2)
    await _board_shows(stage, person)
    await person.log("set.remove", {}, set_)
    await _corrected(stage, person, person.now.sets.pop(set_), 0, "removed a set that was tapped twice")


async def _corrected(stage: Stage, person: Person, before: int, after: int, words: str) -> None:
    """The board had what was wrong, and has what is right."""
    await _board_shows(stage, person)
    stage.corrected.append((before, after))
    board = f"{stage.host.name}'s board now: {person.now.reps}"
    stage.screen.tell(person.name, f"{words}: {before} to {after} reps", board)


async def _board_shows(stage: Stage, person: Person) -> None:
    host, now = stage.host, person.now
    await host.until(lambda: _amount(host, now.group.member) == now.reps, f"{person.name}'s reps were there")


async def _without_network(stage: Stage, person: Person) -> None:
    """Somebody in a basement: the phone goes on by its clock, and logs; the others hear of it afterwards."""
    await _phase(person, "work", 1)
    stage.cuts += 1
    await person.cut()
    before = person.now.reps
    stage.screen.tell(person.name, "is in a basement: no network, the phone goes on by its own clock")
    await person.until(lambda: _is_over(person), "the class was over, by the phone's own clock")
    stage.offline = person.now.reps - before
    seen = _amount(stage.host, person.group.member)
    await person.mend()
    await _board_shows(stage, person)
    words = f"is back: {stage.offline} reps from the basement are on the board"
    stage.screen.tell(person.name, words, f"{seen} to {person.now.reps}")


async def _comes_late(stage: Stage, person: Person) -> None:
    """Joins when the first round is over, by the code."""
    await _phase(stage.host, "rest", 1)
    await enter(stage, [person])
    stage.screen.tell(person.name, f"joined late, in the middle of {stage.played[-1].title}")


async def _leaves(stage: Stage, person: Person) -> None:
    """Has to go after two rounds."""
    await _phase(person, "rest", 2)
    person.now.over = True
    await person.until(lambda: person.client.settled, "all was sent")
    await person.group.leave()
    stage.screen.tell(person.name, f"left, with {person.now.reps} reps")


async def _node_dies(stage: Stage) -> None:
    """kill -9 in the middle of the second round. Where there are others, people go there, as a load balancer
    sends them; else they wait until it is there again."""
    await _phase(stage.host, "work", 2)
    node = stage.nodes.all[1 % len(stage.nodes.all)]
    theirs = stage.of(node)
    there = {person: person.lost for person in theirs if person.group.joined}
    stage.kills += 1
    await stage.nodes.kill(node)
    words = f"killed with SIGKILL, {len(there)} people on it"
    stage.screen.tell(node.name, words, style="bold red")
    stage.start(_say(stage, theirs[-1], "Did your screens freeze, too?"))  # it is on its way to nobody
    others = stage.nodes.instead_of(node)
    for place, person in enumerate(theirs):
        if others:
            await person.move(others[place % len(others)])
    begun = stage.screen.elapsed_s
    await stage.nodes.revive(node)
    took = stage.screen.elapsed_s - begun
    stage.screen.tell(node.name, f"started again in {took:.2f} s", style="bold green")
    if not others:
        for person in theirs:
            await person.move(node)
    for person, lost in there.items():
        await person.until(partial(_is_back, person, lost), "they were back in the room")
    stage.screen.tell("clock", f"{len(there)} people are back in the room")


# -- the race ----------------------------------------------------------------------------------------------


async def race(stage: Stage) -> None:
    """First to so many reps; over when the podium is full."""
    screen, host = stage.screen, stage.host
    screen.act(f"A race: first to {GOAL} reps")
    await gather(stage, f"First to {GOAL}", RACE, stage.people)
    await _begin(stage)
    await host.until(lambda: _podium(host) >= min(PODIUM, len(stage.trains)), "the podium was full", LATE_S)
    result = await host.group.write("group.finish", {"reason": "the podium is full"})
    screen.tell(host.name, "ends the race: the podium is full", result["verdict"])
    await host.until(lambda: _is_over(host), "the race was over")
    await stage.finish()
    await agreed(stage)
    screen.tell("board", "the same for everybody")


# -- what both have ----------------------------------------------------------------------------------------


async def gather(stage: Stage, title: str, format_: Json, people: Iterable[Person]) -> None:
    """The host makes a group over REST; these come by its code and make their workouts."""
    made = await stage.host.rest("POST", "/groups", {"title": title, "format": format_})
    stage.played.append(Played(made["id"], title, made["code"]))
    stage.screen.tell(stage.host.name, f"made the group over REST: {title}", f"code {made['code']}")
    people = list(people)
    await enter(stage, people)
    await stage.host.until(lambda: _inside(stage.host) == len(people), "all were in the room")
    stage.screen.tell("clock", f"{len(people)} people are in the room")
    await _say(stage, stage.host, "Welcome! Water is by the door.")


async def enter(stage: Stage, people: Iterable[Person]) -> None:
    """People join, each on their node, and begin a workout of their own."""
    played = stage.played[-1]
    people = list(people)
    for person in people:
        hear = partial(_hear, stage)
        if person is stage.host:
            person.enter(hear, group=played.id)
            await person.group.write("member.workout", {"workout": person.now.workout})
            await person.group.write("member.share", {"share": person.share})
        else:
            person.enter(hear, code=played.code)
    for person in people:
        await person.until(lambda person=person: person.group.joined, "they were in the room")  # type: ignore[misc]
        if person.role == "participant":
            await person.begin(played.title, STATIONS)


async def _begin(stage: Stage) -> None:
    host = stage.host
    result = await host.group.write("group.start", {"in_ms": IN_MS})
    stage.screen.tell(host.name, f"starts: all begin in {IN_MS / 1000:g} s", result["verdict"])
    stage.start(_telemetry(stage))
    await host.until(lambda: _status(host) == LIVE, "the countdown was over")


async def _say(stage: Stage, person: Person, text: str) -> None:
    result = await person.group.write("chat.say", {"text": text})
    stage.messages += 1
    stage.screen.tell(person.name, f"“{text}”", result["verdict"])


def _hear(stage: Stage, person: Person, event: str, payload: Json) -> None:
    """What happens on somebody's phone, as far as it makes them do something."""
    if event == "cue":
        cue = payload["cue"]
        if person is stage.host:
            stage.screen.cue(cue, person.group.state.format.__class__.__name__.lower())
        if cue.status == LIVE and cue.runs and cue.phase is not None and cue.phase.kind == "work":
            stage.start(_train(stage, person, cue))


async def _train(stage: Stage, person: Person, cue: Cue) -> None:
    """What they do in a phase: sets; who looks on, cheers."""
    if person.role != "participant":
        await _cheer(stage, person)
    elif cue.phase is not None and cue.phase.station is not None:
        await _round(person, cue.phase.station)
    else:
        await _sprint(person)


async def _round(person: Person, station: int) -> None:
    """Two sets in the time that there is."""
    work_s = CLASS["work_ms"] / 1000
    for _ in range(2):
        await asyncio.sleep(work_s * person.chance.uniform(0.25, 0.42))
        if not person.now.over:
            await person.set_done(STATIONS[station], person.pace + person.chance.randint(-2, 3))


async def _sprint(person: Person) -> None:
    """Sets, one after the other, until the goal is reached or the race is over."""
    while person.now.reps < GOAL and _status(person) == LIVE:
        reps = person.pace + person.chance.randint(-2, 2)
        await asyncio.sleep(reps * person.chance.uniform(0.07, 0.11))
        if _status(person) == LIVE:
            await person.set_done("squat", reps)


async def _cheer(stage: Stage, person: Person) -> None:
    """Cheers for who is ahead, as this person sees it."""
    cue = person.group.cue()
    while person.group.cue() == cue:
        await asyncio.sleep(person.chance.uniform(0.3, 0.8))
        ahead = [no for no, fields in person.group.view.items() if fields.get("rank") == 1]
        if ahead and person.group.joined:
            person.group.cheer(person.chance.choice(CHEERS), person.chance.choice(ahead))
            stage.cheered += 1


async def _telemetry(stage: Stage) -> None:
    """Hearts beat, as long as the group is live."""
    host = stage.host
    while not _is_over(host):
        await asyncio.sleep(TELEMETRY_S)
        cue = host.group.cue()
        effort = cue is not None and cue.phase is not None and cue.phase.kind == "work"
        for person in stage.trains:
            if person.training is not None and person.group.joined:
                person.beat(effort=effort)


async def agreed(stage: Stage) -> None:
    """All end their workouts. Wait until everything is sent, everybody has the whole log, and all boards show
    what people say they did."""
    for person in stage.trains:
        await person.log("workout.complete", {})
    inside = [person for person in stage.people if person.group.stopped is None]
    for person in inside:
        await person.until(partial(_settled, person), "all was sent and all was here")
    head = max(person.group.core.held.cursor for person in inside)
    amounts = {person.group.member: person.now.reps for person in stage.trains}
    for person in inside:
        await person.until(partial(_has, person, head, amounts), "the board was right")


def _settled(person: Person) -> bool:
    return person.client.settled and person.group.settled


def _has(person: Person, head: int, amounts: dict[int | None, int]) -> bool:
    shown = {no: _amount(person, no) for no in amounts}
    return person.group.core.held.cursor >= head and shown == amounts


def _amount(person: Person, no: int | None) -> int:
    """What a person's board shows of a member."""
    fields = person.group.view.get(no or 0, {})
    return fields.get("amount") or 0


def _inside(person: Person) -> int:
    """How many are in the room, as this person sees it."""
    return sum(fields.get("here", False) for fields in person.group.view.values())


def _podium(person: Person) -> int:
    return sum(fields.get("time_ms") is not None for fields in person.group.view.values())


def _status(person: Person) -> str:
    cue = person.group.cue()
    return "" if cue is None else cue.status


def _is_over(person: Person) -> bool:
    return _status(person) == FINISHED


def _is_back(person: Person, lost: int) -> bool:
    """Whether they have noticed, and are in the room again; or have left it since."""
    return person.lost > lost and (person.group.joined or person.group.stopped is not None)


async def _phase(person: Person, kind: str, number: int) -> None:
    """Wait until a phase is on, by this person's own clock."""

    def is_on() -> bool:
        cue = person.training.group.cue() if person.training is not None else None
        phase = None if cue is None else cue.phase
        return phase is not None and (phase.kind, phase.round) == (kind, number)

    await person.until(is_on, f"it was {kind} {number}", LATE_S)
