"""The rooms of one node, and all that they share: the node's hosts, codes, moderation, counts, bounds."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from fitai.engine.groups.group import Group
from fitai.engine.groups.measure import Body
from fitai.engine.judgement import Judgement
from fitai.engine.ops import VOID
from fitai.gateways.bus.contract import Message, Unsubscribe
from fitai.gateways.bus.topics import BLOCKS, BODIES
from fitai.gateways.counts import Counts
from fitai.gateways.groups.codes import Codes
from fitai.gateways.groups.draft import Draft, Person, refuse, unknown
from fitai.gateways.groups.limits import GroupBounds, Tries
from fitai.gateways.groups.moderation import Moderation, Unmoderated
from fitai.gateways.groups.room import Room
from fitai.gateways.groups.roster import Roster
from fitai.gateways.groups.schemas import GroupJoin
from fitai.gateways.identity import Identity
from fitai.gateways.live.hosts import Hosts
from fitai.gateways.live.jobs import Key, KeyReuse
from fitai.gateways.tasks import spawn
from fitai.gateways.together import Together
from fitai.persistence.blocks import Blocks
from fitai.persistence.database import Unavailable, WriteSession
from fitai.persistence.devices import Devices
from fitai.persistence.groups import Groups
from fitai.persistence.idempotency import Idempotency
from fitai.persistence.users import Users
from fitai.sync.wire import Refusal, uuid_of

_log = structlog.get_logger(__name__)

IDLE_MS: Final = 60_000  # a room with nothing to do is kept this long
SCAN_S: Final = 5.0  # how often groups are searched for deadlines that nobody here knows of
SCAN_LIMIT: Final = 200
LEASE_MS: Final = 15_000  # how long a node that is no more keeps the others from scanning
OVERDUE_MS: Final = 3_000  # what was not met so long after it was due, nobody holds
NAMELESS: Final = "Athlete"


class UnknownGroup(Exception):
    """There is no such group."""


class _Caller(NamedTuple):
    """A user, and a device of theirs, or the API device that stands for it."""

    user: str
    device: int
    api: bool


class Rooms:
    """Opens and forgets rooms; see fitai.gateways.groups.room."""

    def __init__(
        self, hosts: Hosts, codes: Codes, moderation: Moderation, counts: Counts | None, bounds: GroupBounds
    ) -> None:
        self.hosts = hosts
        self.codes = codes
        self.moderation = moderation
        self.moderated = not isinstance(moderation, Unmoderated)
        self.bounds = bounds
        self.tries = Tries(counts, bounds, hosts.now_ms)
        self._persons = Together("groups.persons", self._read_persons)
        self._rooms: dict[str, Room] = {}
        self._ended: list[Room] = []  # forgotten, and maybe still at work
        self._opening: dict[str, asyncio.Future[Room | UnknownGroup | Unavailable]] = {}
        self._blocks_stale = False  # somebody has another opinion of whom they want to meet,
        self._bodies_stale: set[str | None] = (
            set()
        )  # or tells something else of their body; None: anybody may
        self._looking: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._unsubscribes: list[Unsubscribe] = []

    async def start(self) -> None:
        """Begin to watch deadlines, and to forget idle rooms."""
        self.hosts.beside = self
        for topic, hear in ((BLOCKS, self._on_block), (BODIES, self._on_body)):
            self._unsubscribes.append(self.hosts.bus.subscribe(topic, hear))
        self._watcher = spawn("groups.watch", self._watch())

    async def close(self) -> None:
        """Forget all rooms, when what is under way has come to its end."""
        self._closing.set()
        for unsubscribe in self._unsubscribes:
            unsubscribe()
        if self._watcher is not None:
            await self._watcher
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        if self._looking is not None:
            await asyncio.wait([self._looking])
        for room in [*self._rooms.values(), *self._ended]:
            await room.quiet()
        for room in self._rooms.values():
            room.close()
            await room.stage.quiet()
        self._rooms.clear()
        self.hosts.beside = None
        await self.moderation.close()

    # -- rooms -------------------------------------------------------------------------------------

    async def open(self, group: str) -> Room:
        """The room of a group, by its id (a UUID, lower case); raises UnknownGroup, Unavailable."""
        room = self._rooms.get(group)
        if room is not None:
            room.used_at = self.hosts.now_ms()
            return room
        opening = self._opening.get(group)
        if opening is None:
            opening = self._opening[group] = spawn("groups.open", self._open(group))
        opened = await asyncio.shield(opening)
        if not isinstance(opened, Room):
            raise opened
        return opened

    def loaded(self, group: str) -> Room | None:
        """The group's room if this node has one."""
        return self._rooms.get(group)

    async def _open(self, group: str) -> Room | UnknownGroup | Unavailable:
        """The room, or why there is none: that is for whoever asked to tell, and no failure of this task."""
        try:
            async with self.hosts.db.read() as session:
                row = await Groups(session).row(group)
            if row is None:
                raise UnknownGroup(group)
            room = Room(self, group, row.stream, row.epoch)
            try:
                await room.open()
            except BaseException:
                room.close()
                raise
            self._rooms[group] = room
            return room
        except (UnknownGroup, Unavailable) as error:
            return error
        finally:
            del self._opening[group]

    def forget(self, room: Room) -> None:
        """End a room whose log is another one now."""
        if self._rooms.get(room.id) is room:
            _log.warning("room_forgotten", group=room.id, stream=room.stream, epoch=room.epoch)
            del self._rooms[room.id]
            room.end()
            self._ended = [*(ended for ended in self._ended if not ended.idle), room]

    # -- people ------------------------------------------------------------------------------------

    async def create(self, identity: Identity, value: Mapping[str, Any], *, key: Key | None = None) -> Room:
        """Make a group, which the caller hosts, by the op `group.create` of their device. Raises Refusal for
        what can not stand, KeyReuse; the same request with its key again gives the group that it made."""
        person = await self.person(identity)
        made = await self.hosts.db.transact(lambda session: self._made(session, person.user, key))
        if made is None:
            await self.tries.join(person.user)
            now = self.hosts.now_ms()
            draft = Draft(Group(str(uuid.uuid4())), 0, {}, self.bounds.rules, Roster(), now)
            draft.found(person, value)

            async def begin(session: WriteSession) -> str:
                before = await self._made(session, person.user, key)
                if before is not None:
                    return before
                await draft.begin(session, uuid.uuid4().hex, self.codes)
                if key is not None:
                    used = Idempotency.companion(person.user, key.key, key.request, now, draft.group.id)
                    await session.execute(insert(used.table).values(**used.row))
                return draft.group.id

            try:
                made = await self.hosts.db.transact(begin)
            except IntegrityError:  # the same request at the same moment, and it was faster
                made = await self.hosts.db.transact(lambda session: self._made(session, person.user, key))
                if made is None:
                    raise
        return await self.open(made)

    async def _made(self, session: WriteSession, user: str, key: Key | None) -> str | None:
        """The group that the same request made before."""
        used = None if key is None else await Idempotency(session).find(user, key.key)
        if used is None or key is None:
            return None
        if used.request != key.request:
            raise KeyReuse(key.key)
        return str(used.answer)

    async def enter(self, ask: GroupJoin, identity: Identity, address: str) -> Room:
        """The room that somebody asks to enter, by its id or by a code; raises Refusal."""
        if (ask.group is None) == (ask.code is None):
            raise Refusal("bad_request", "join by `group` or by `code`")
        if ask.code is not None:
            group, _ = await self._look_up(ask.code, identity.user, address)
        else:
            group = uuid_of(ask.group or "", "group")
        try:
            return await self.open(group)
        except UnknownGroup:
            raise unknown() from None

    async def find(self, code: str, identity: Identity | None, address: str) -> str:
        """The id of the group that a code opens. Raises Refusal: not_found, invite_over for one that did, or
        later when the caller or their address tried too many that were none."""
        group, serial = await self._look_up(code, None if identity is None else identity.user, address)
        async with self.hosts.db.read() as session:
            row = await Groups(session).row(group)
        if row is None or row.invite != serial:
            refuse(Judgement(VOID, "invite_over"))
        return group

    async def _look_up(self, code: str, user: str | None, address: str) -> tuple[str, int]:
        await self.tries.code(user, address)
        hashed = self.codes.hash_of(code)
        found = None
        if hashed is not None:
            async with self.hosts.db.read() as session:
                found = await Groups(session).by_code(hashed)
        if found is None:
            raise unknown()
        await self.tries.opened(user, address)
        return found

    async def person(self, identity: Identity, *, api: bool = False) -> Person:
        """Who a caller is to a group; with `api` it is the API device of theirs that speaks. Asked together
        with what others ask. Raises Refusal not_found for an account that is gone."""
        device = identity.device
        if api:
            device = await self.hosts.db.transact(
                lambda session: Devices(session).api_device(
                    identity.user, identity.device, self.hosts.now_ms()
                )
            )
        person = await self._persons(_Caller(identity.user, device, api))
        if person is None:
            raise unknown()
        return person

    async def _read_persons(self, asked: Sequence[_Caller]) -> list[Person | None]:
        found: dict[str, tuple[str, frozenset[str], Body]] = {}
        async with self.hosts.db.read() as session:
            users, blocks = Users(session), Blocks(session)
            for user in {caller.user for caller in asked}:
                row = await users.get(user)
                if row is not None:
                    avoids = frozenset(await blocks.around(user))
                    body = Body(row.body_weight_ug, row.sex)
                    found[user] = row.display_name or NAMELESS, avoids, body
        return [
            Person(caller.user, caller.device, *its) if (its := found.get(caller.user)) is not None else None
            for caller in asked
        ]

    def blocked(self) -> None:
        """Somebody has another opinion of whom they want to meet: all nodes look at once."""
        self.hosts.bus.publish(BLOCKS, {"node": self.hosts.node})

    def _on_block(self, _: Message) -> None:
        self._blocks_stale = True
        self._look_anew()

    def weighed(self, user: str) -> None:
        """A user tells something else of their body than before: all nodes look at once."""
        self.hosts.bus.publish(BODIES, {"node": self.hosts.node, "user": user})

    def _on_body(self, message: Message) -> None:
        self._bodies_stale.add(message.get("user"))
        self._look_anew()

    def _look_anew(self) -> None:
        """Have the rooms read again what is stale: one after the other, and once for all that came since."""
        if self._looking is None and not self._closing.is_set():
            self._looking = spawn("groups.look", self._look())

    async def _look(self) -> None:
        try:
            while (self._blocks_stale or self._bodies_stale) and not self._closing.is_set():
                blocks, self._blocks_stale = self._blocks_stale, False
                users, self._bodies_stale = self._bodies_stale, set()
                for room in list(self._rooms.values()):
                    if blocks:
                        await room.meet_anew()
                    if any(user is None or room.member_of(user) is not None for user in users):
                        await room.weigh_anew()
        except Unavailable:
            _log.warning("people_not_read")
        finally:
            self._looking = None

    # -- the node ----------------------------------------------------------------------------------

    def workers(self) -> Iterable[Room]:
        """Rooms, as what is looked at beside the hosts."""
        return list(self._rooms.values())

    def lost(self, node: str) -> None:
        """Another node is no more."""
        for room in self._rooms.values():
            room.stage.lost(node)

    def anew(self) -> None:
        """This node may have missed anything that another one told."""
        for room in self._rooms.values():
            room.stage.anew()
        self._on_block({})
        self._on_body({})

    async def _watch(self) -> None:
        while not self._closing.is_set():
            try:
                await self.scan()
            except Unavailable:
                _log.warning("group_scan_postponed")
            except Exception:
                _log.exception("group_scan_failed")
            self._forget_idle()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), SCAN_S)

    async def scan(self) -> None:
        """Open a room for every deadline that nobody has met: on one of several nodes, and for what has been
        due for a while."""
        hosts, now = self.hosts, self.hosts.now_ms()
        if not hosts.alone and not await hosts.lease("groups", LEASE_MS):
            return
        until = now if hosts.alone else now - OVERDUE_MS
        async with hosts.db.read() as session:
            due = await Groups(session).due(until, SCAN_LIMIT)
        for group, _ in due:
            if self._closing.is_set():
                return
            with suppress(UnknownGroup):
                (await self.open(group)).tick()

    def _forget_idle(self) -> None:
        limit = self.hosts.now_ms() - IDLE_MS
        for group, room in list(self._rooms.items()):
            if room.idle and room.used_at < limit:
                room.close()
                del self._rooms[group]
