"""The conversation with the server, as a pure state machine: events in, commands out, no await.

One question is under way at a time. When it is answered, or whenever something happens, `_next` decides
what to ask now:

1. a first sync of a long history: pages of a snapshot, so that there is something to see;
2. a hole in the log, or all of it that a connection will not send by itself: pull;
3. ops numbered under another name (we are in doubt, or signed in as another device), once the whole log
   has been seen: fork, or number them anew;
4. ops that wait: push. A second one goes when the first is answered.

What went wrong is tried again after a random part of a growing time (full jitter), so that a thousand
phones that lost one server do not come back as one. A `Save` always comes before the commands that rely on
it. After an error the caller throws a core away, makes a new one from the store, and connects again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import orjson

from fitai.gateways.client import messages as m
from fitai.gateways.client.ledger import Held, Known, Ledger
from fitai.gateways.client.messages import Command, Event, Json

TRIES = 3  # attempts before a strange answer is believed

_AGAIN = frozenset({"gap", "base_ahead"})
_TOO_MUCH = frozenset({"bad_request", "too_large", "too_many"})
_TOKEN = frozenset({"token_expired"})
_OUT = frozenset({"unauthorized", "forbidden", "device_revoked", "revoked", "signed_out"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, ms: a random part of `base_ms` doubled with every failure, up to `cap_ms`."""

    base_ms: int = 250
    cap_ms: int = 30_000

    def after(self, failures: int, random: float) -> int:
        """The wait after so many failures; `random` in 0..1."""
        return int(random * min(self.cap_ms, self.base_ms * 2 ** min(failures, 32)))


class Line(Enum):
    """How the connection is: none, being made, made; or a token is being renewed for it."""

    OFF = "off"
    CONNECTING = "connecting"
    RENEWING = "renewing"
    ON = "on"


@dataclass(slots=True)
class Bounds:
    """What one request may hold; `ready.limits` has the server's."""

    push_ops: int = 500
    push_bytes: int = 200_000
    pull_records: int = 500


class Core:
    """See the module's first lines. `handle` is the way in; the rest can be looked at.

    stopped  why it does not try any more (`revoked`, `protocol`, `unauthorized`, …), else None
    wanted   whether somebody wants a connection
    head     the head of the server's log when it was last told
    """

    def __init__(
        self,
        held: Held,
        known: Known,
        *,
        now_ms: Callable[[], int],
        random: Callable[[], float],
        patience: Patience | None = None,
        snapshot_over: int = 2_000,
    ) -> None:
        self.held = held
        self.ledger = Ledger(held, known)
        self.stopped: str | None = None
        self.head = held.cursor
        self._now_ms = now_ms
        self._random = random
        self._patience = patience or Patience()
        self._snapshot_over = snapshot_over
        self._bounds = Bounds()
        self._batch = self._bounds.push_ops
        self._line = Line.OFF
        self.wanted = False
        self._live = False
        self._goal = 0
        self._recheck = False
        self._question: Command | None = None
        self._waiting = False
        self._failures = 0
        self._bye: m.SaidBye | None = None
        self._out: list[Command] = []

    @property
    def online(self) -> bool:
        """Whether there is a connection."""
        return self._line is Line.ON

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do: everything is sent, and everything that there was is here."""
        idle = self.online and self._question is None and not self._waiting
        return idle and self._complete and not self.held.outbox

    @property
    def _complete(self) -> bool:
        """Whether we have seen all that the server had when it was last asked."""
        return self.held.cursor >= max(self._goal, self.head) and not self._recheck

    def handle(self, event: Event) -> list[Command]:
        """What is to be done now, in this order."""
        handler: Callable[[Event], None] = getattr(self, f"_on_{type(event).__name__.lower()}")
        handler(event)
        self._go_on()
        save = self.ledger.take_save()
        out, self._out = self._out, []
        return [save, *out] if save else out

    def write(self, op: Json) -> tuple[Json, list[Command]]:
        """Put an op into the outbox; returns it as it stands there, and what is to be done."""
        written = self.ledger.write(op)
        self._go_on()
        out, self._out = self._out, []
        return written, [self.ledger.take_save(), *out]

    def resume(self) -> None:
        """Take up what another core, which failed, was to do: connect when it is time."""
        self.wanted = self._waiting = True

    # -- what to do next -------------------------------------------------------------------------------

    def _go_on(self) -> None:
        if self.online and not self._waiting and self._question is None:
            self._next()
        if self.settled:
            self._failures = 0

    def _next(self) -> None:
        held = self.held
        if held.page is not None and not held.page["done"]:
            self._ask(m.TakePage(held.page["at"], held.page["after"]))
        elif held.cursor < self._goal or self._recheck:
            self._ask(m.Pull(held.cursor, self._bounds.pull_records))
        elif self.ledger.doubt or self.ledger.moved or held.old_head:
            if self._complete:
                self._put_right()
        elif held.outbox:
            self._ask(m.Push(self._portion(), str(held.epoch)))

    def _put_right(self) -> None:
        """The whole log has been seen: now it is known which of our ops are not in it."""
        self.ledger.whole()
        if self.ledger.doubt and self.held.outbox and not self.ledger.moved:
            self._ask(m.Fork(self.held.outbox[0]["n"]))
            return
        if self.ledger.doubt or self.ledger.moved:
            self.ledger.renumber()
        self._next()

    def _ask(self, question: Command) -> None:
        self._question = question
        self._out.append(question)

    def _portion(self) -> list[Json]:
        """As many waiting ops as one push may hold, at least one."""
        portion: list[Json] = []
        size = 0
        for op in self.ledger.outgoing(self._batch):
            size += len(orjson.dumps(op))
            if portion and size > self._bounds.push_bytes:
                break
            portion.append(op)
        return portion

    # -- the connection ----------------------------------------------------------------------------------

    def _on_asked(self, _: m.Asked) -> None:
        self.wanted, self.stopped = True, None
        if self.online:
            self._recheck = not self._live
        elif self._line is Line.OFF and self.held.device is not None:
            self._connect()

    def _on_left(self, _: m.Left) -> None:
        self.wanted = False
        self._hang_up()

    def _on_signed(self, event: m.Signed) -> None:
        self.ledger.signed(event.user, event.device)
        self.stopped = None
        if self.wanted:
            self._hang_up()
            self._connect()

    def _connect(self) -> None:
        self._waiting = False
        self._line = Line.CONNECTING
        held = self.held
        cursor = None if held.epoch is None else {"epoch": held.epoch, "seq": held.cursor}
        self._out.append(m.Connect(cursor))

    def _hang_up(self) -> None:
        self._gone()
        self._out.append(m.Disconnect())

    def _gone(self) -> None:
        self._line = Line.OFF
        self._waiting = False
        self._question = None

    def _stop(self, why: str) -> None:
        self.stopped, self.wanted = why, False
        self._hang_up()

    def _wait(self, least_ms: int = 0) -> None:
        """Do nothing for a while, at least `least_ms`."""
        self._waiting = True
        self._out.append(m.Wake(least_ms + self._patience.after(self._failures, self._random())))
        self._failures += 1

    def _on_woke(self, _: m.Woke) -> None:
        self._waiting = False
        if self._line is Line.OFF and self.wanted:
            self._connect()

    def _on_lost(self, _: m.Lost) -> None:
        self._gone()
        bye, self._bye = self._bye, None
        if self.wanted and bye is not None and bye.code == "expired":
            self._renew()
        elif self.wanted:
            self._wait(0 if bye is None else bye.after_ms)

    def _on_saidbye(self, event: m.SaidBye) -> None:
        self._bye = event
        if not event.reconnect:
            self._stop(event.code)

    def _on_refused(self, event: m.Refused) -> None:
        self._gone()
        if event.code in _TOKEN:
            self._renew()
        elif event.retry:
            self._wait()
        else:
            self._stop(event.code)

    def _on_expiring(self, _: m.Expiring) -> None:
        self._out.append(m.Renew(in_place=True))

    def _renew(self) -> None:
        self._line = Line.RENEWING
        self._out.append(m.Renew())

    def _on_renewed(self, event: m.Renewed) -> None:
        if event.over:
            self._stop("signed_out")
        if self._line is not Line.RENEWING:
            return
        self._line = Line.OFF
        if event.ok and self._failures < TRIES:
            self._failures += 1  # a server that never likes our tokens is not asked without end
            self._connect()
        elif self.wanted:
            self._wait()

    def _on_connected(self, event: m.Connected) -> None:
        self._line, self._live, self.head = Line.ON, event.live, event.head
        self._question, self._waiting, self._recheck = None, False, False
        self._take_limits(event.limits)
        if event.server_time is not None:
            self.held.offset_ms = event.server_time - self._now_ms()
        if self.held.epoch is None:
            self.held.epoch = event.epoch
        if event.epoch == self.held.epoch and self._is_behind(event):
            self._distrust()
        elif event.epoch != self.held.epoch:
            self.ledger.begin_again(event.epoch)
        elif event.next_n is not None:
            self._count(event.next_n)
        self._goal = self.held.cursor if event.resumed and not self.held.old_head else event.head
        fresh = self.held.cursor == 0 and not self.held.old_head and self.held.page is None
        if fresh and event.head > self._snapshot_over:
            self.held.page = {"at": None, "after": None, "done": False}

    def _is_behind(self, event: m.Connected) -> bool:
        """Whether the server lacks what it had once, by its own word."""
        if event.head < self.held.cursor:
            return True
        return event.next_n is not None and self._behind(event.next_n)

    def _distrust(self) -> None:
        """The server has less than it acknowledged. A node that lags has it soon; a log that was restored
        without a new epoch never has."""
        if self._failures < TRIES:
            self._hang_up()
            self._wait()
        else:
            self._start_over(str(self.held.epoch))
            self._wait()

    def _behind(self, next_n: int) -> bool:
        """Whether the server lacks ops that it acknowledged."""
        first = self.held.outbox[0]["n"] if self.held.outbox else self.held.next_n
        return not self.ledger.moved and not self.held.old_head and next_n < first

    def _count(self, next_n: int) -> None:
        """Somebody wrote under our name: harmless as long as we have nothing of our own to number."""
        if self.ledger.moved or next_n <= self.held.next_n:
            return
        if self.held.outbox:
            self._suspect()
        else:
            self.held.next_n = next_n

    def _suspect(self) -> None:
        self.ledger.doubt = self._recheck = True

    def _take_limits(self, limits: Mapping[str, int]) -> None:
        bounds = self._bounds
        for name in ("push_ops", "push_bytes", "pull_records"):
            setattr(bounds, name, limits.get(name, getattr(bounds, name)))
        self._batch = min(self._batch, bounds.push_ops)

    # -- what comes --------------------------------------------------------------------------------------

    def _on_told(self, event: m.Told) -> None:
        if event.epoch != self.held.epoch:
            self._start_over(event.epoch)
            return
        before = self.held.cursor
        if not self._take(event.records):
            self._goal = max(self._goal, event.to)
        self._progressed(before)

    def _on_pulled(self, event: m.Pulled) -> None:
        self._question = None
        answer = event.answer
        if not answer.get("ok"):
            self._pull_refused(answer)
        elif answer["epoch"] != self.held.epoch:
            self._start_over(answer["epoch"])
        else:
            self._page_of_log(answer)

    def _page_of_log(self, answer: Json) -> None:
        before = self.held.cursor
        self._take(answer["records"])
        if not self._live:
            self._follow_head(answer["head"])
        if not answer["more"]:
            self._recheck = False
        self._progressed(before)
        if before == self.held.cursor < self._goal:
            self._wait()  # what we lack is not there yet: another node may be ahead of this one

    def _follow_head(self, head: int) -> None:
        self.head = max(self.head, head)
        self._goal = max(self._goal, self.head)

    def _pull_refused(self, answer: Json) -> None:
        if "head" in answer and answer["head"] < self.held.cursor:
            self._distrust()
        else:
            self._refused_request(answer)

    def _on_paged(self, event: m.Paged) -> None:
        if not isinstance(self._question, m.TakePage):
            return  # asked on a connection that is gone; it will be asked again
        self._question = None
        answer = event.answer
        if answer.get("ok") and answer["epoch"] == self.held.epoch:
            self.ledger.page(answer)
        elif answer.get("code") in ("not_found", "bad_request", "method_not_allowed"):
            self.held.page = {"at": 0, "after": None, "done": True}  # it can be done without
        elif answer.get("ok"):
            self._start_over(answer["epoch"])
        else:
            self._refused_request(answer)

    def _take(self, records: Iterable[Json]) -> bool:
        """Take records up to the first hole; returns whether there was none."""
        return all(self.ledger.take(record) for record in records)

    def _progressed(self, before: int) -> None:
        if self.held.cursor > before:
            self._failures = 0

    # -- answers to pushes -------------------------------------------------------------------------------

    def _on_pushed(self, event: m.Pushed) -> None:
        question, self._question = self._question, None
        answer = event.answer
        sent = question.ops if isinstance(question, m.Push) else ()
        if answer.get("ok"):
            self._accepted(answer)
        elif answer.get("code") == "equivocation":
            self._suspect()
        elif answer.get("code") == "epoch" and "epoch" in answer:
            self._start_over(answer["epoch"])
        elif answer.get("code") in _AGAIN:
            self._distrust()
        elif answer.get("code") in _TOO_MUCH:
            self._too_much(len(sent), answer)
        else:
            self._refused_request(answer)

    def _accepted(self, answer: Json) -> None:
        self._failures = 0
        self._batch = min(self._bounds.push_ops, max(1, self._batch) * 2)
        last = max((self.ledger.acknowledge(result) for result in answer["results"]), default=0)
        self._goal = max(self._goal, last)
        if not self._live:
            self._follow_head(answer["head"])

    def _too_much(self, count: int, answer: Json) -> None:
        """Find the op that the server can not read: smaller pushes until it stands alone."""
        if count > 1:
            self._batch = count // 2
        elif self.held.outbox:
            self.ledger.refuse(answer["code"], str(answer.get("message", "")))
            self._batch = self._bounds.push_ops

    def _refused_request(self, answer: Json) -> None:
        """A request that may succeed later, or with another token."""
        code = answer.get("code", "unavailable")
        if code in _TOKEN:
            self._gone()
            self._renew()
        elif code in _OUT:
            self._stop(code)
        else:
            self._wait(int(answer.get("retry_after_ms", 0)))

    def _on_forked(self, event: m.Forked) -> None:
        if isinstance(self._question, m.Fork):
            self._question = None
        if event.device is None:
            self._refused_request({"code": event.code})
            return
        self.ledger.forked(event.device, event.fork_at)
        self._hang_up()
        if self.wanted:
            self._connect()

    def _start_over(self, epoch: str) -> None:
        """The server's log is not the one that we know: how far it goes, the pulls will tell."""
        self.ledger.begin_again(epoch)
        self.head = self._goal = 0
        self._recheck = True
