"""Erasing a person: every row that is theirs, and nobody else's.

A log may be long, and SQLite has one writer: workouts and records go some at a time, in transactions of their
own. Every step may be repeated, and one that comes late harms nobody.

    silence           nobody can come in any more, and who is here is out
    erase_in_groups   their groups know them no more (`fitai.persistence.group_erasure`)
    delete_workouts   some of the projections, so that `forget` has little left
    forget            the user with all that hangs on them; the stream becomes nobody's
    delete_log        some records of a stream that is nobody's

The stream's row stays, without anything of the person: SQLite would give its number to the next one who
registers, and with it whatever still lies under that number. Its head is one that nobody ever saw, so nothing
is appended to it any more, and its epoch is another one, by which every node finds out that what it holds is
of the past (`Hosts.look`).
"""

from __future__ import annotations

import uuid

from sqlalchemy import delete, select, update

from fitai.persistence.database import WriteSession
from fitai.persistence.models import (
    Device,
    ExerciseMark,
    RecordRow,
    RefreshToken,
    Snapshot,
    Stream,
    User,
    WorkoutRow,
)
from fitai.persistence.users import new_epoch

RECORDS = 2_000  # in one transaction
WORKOUTS = 100
_NOBODYS = -1  # the head of a stream that was erased

_BLIND = {"synchronize_session": False}


class Erasure:
    """The steps, each within a transaction of the caller; times in Unix ms."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def due(self, user: str, now: int) -> bool:
        """Whether the person wanted to be erased by now, and still does. Holds the user."""
        query = select(User.delete_after).where(User.id == user).with_for_update()
        moment = (await self._session.execute(query)).scalar_one_or_none()
        return moment is not None and moment <= now

    async def silence(self, user: str, now: int) -> None:
        """Revoke every device, so that no token of theirs is good."""
        revoked = update(Device).where(Device.user_id == user).values(revoked_at=now)
        await self._session.execute(revoked, execution_options=_BLIND)
        tokens = update(RefreshToken).where(RefreshToken.user_id == user, RefreshToken.revoked_at.is_(None))
        await self._session.execute(tokens.values(revoked_at=now), execution_options=_BLIND)

    async def delete_workouts(self, user: str) -> bool:
        """Delete some of the workouts; False when none are left."""
        stream = (await self._session.execute(select(Stream.id).where(Stream.owner == user))).scalar()
        some = select(WorkoutRow.workout).where(WorkoutRow.stream == stream).limit(WORKOUTS)
        names = (await self._session.execute(some)).scalars().all()
        if names:
            gone = delete(WorkoutRow).where(WorkoutRow.stream == stream, WorkoutRow.workout.in_(names))
            await self._session.execute(gone, execution_options=_BLIND)
        return len(names) == WORKOUTS

    async def forget(self, user: str) -> int | None:
        """Delete the user, and make their stream nobody's: its id, for `delete_log`; None without one."""
        await self._session.execute(delete(User).where(User.id == user), execution_options=_BLIND)
        left = (
            update(Stream)
            .where(Stream.owner == user)
            .values(owner=str(uuid.uuid4()), epoch=new_epoch(), head=_NOBODYS, projected=_NOBODYS, last_rt=0)
            .returning(Stream.id)
        )
        stream = (await self._session.execute(left, execution_options=_BLIND)).scalar_one_or_none()
        for table in (WorkoutRow, Snapshot):
            await self._session.execute(delete(table).where(table.stream == stream), execution_options=_BLIND)
        return stream

    async def delete_log(self, stream: int) -> bool:
        """Delete some records of a stream that is nobody's; False when none are left."""
        nobodys = select(Stream.id).where(Stream.id == stream, Stream.head == _NOBODYS)
        if (await self._session.execute(nobodys)).first() is None:
            return False
        # What a node wrote for the person at the very moment of `forget` goes here too.
        for table in (ExerciseMark, WorkoutRow, Snapshot):
            await self._session.execute(delete(table).where(table.stream == stream), execution_options=_BLIND)
        some = select(RecordRow.seq).where(RecordRow.stream == stream).order_by(RecordRow.seq)
        seqs = (await self._session.execute(some.limit(1).offset(RECORDS - 1))).scalars().all()
        gone = delete(RecordRow).where(RecordRow.stream == stream)
        if seqs:
            gone = gone.where(RecordRow.seq <= seqs[0])
        await self._session.execute(gone, execution_options=_BLIND)
        return bool(seqs)
