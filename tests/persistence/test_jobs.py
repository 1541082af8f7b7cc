"""The outbox on both engines: what is put, sent, taken, settled, and what two at a time can not both have."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from fitai.persistence.jobs import JOBS, LONGEST_CLAIM_MS, JobList, Jobs, Ticket, state_of

NOW = 1_795_600_000_000
LATER = NOW + 60_000


async def put(db, kind="mail", payload=None, **options):
    async with db.write() as session:
        return await Jobs(session).put(kind, payload or {"to": "ada"}, now=NOW, **options)


async def send(db, now=NOW, until=LATER, window=100):
    async with db.write() as session:
        return await Jobs(session).send(now=now, until=until, window=window)


async def take(db, ticket, until=LATER):
    async with db.write() as session:
        return await Jobs(session).take(ticket, until=until)


async def only(db):
    async with db.read() as session:
        [job] = await JobList(session).find(now=NOW, limit=10)
        return job


async def backlog(db, now=NOW):
    async with db.read() as session:
        return await JobList(session).backlog(now)


class Mishap(Exception):
    pass


async def test_a_job_lives_and_dies_with_its_transaction(db):
    with pytest.raises(Mishap):
        async with db.write() as session:
            await Jobs(session).put("mail", {}, now=NOW)
            raise Mishap
    assert await send(db) == []
    job = await put(db)
    [ticket] = await send(db)
    assert (ticket.job, ticket.kind) == (job, "mail")


async def test_listeners_hear_of_a_commit_that_put_a_job_and_of_no_other(db):
    heard = []
    db.on_commit(JOBS, lambda: heard.append(1))
    with pytest.raises(Mishap):
        async with db.write() as session:
            await Jobs(session).put("mail", {}, now=NOW)
            raise Mishap
    async with db.write() as session:
        await Jobs(session).purge(done_before=0)
    assert heard == []
    async with db.write() as session:
        await Jobs(session).put("mail", {}, now=NOW)
        await Jobs(session).put("mail", {}, now=NOW)
        assert heard == []
    assert heard == [1]


async def test_a_key_is_used_once_for_ever_also_by_two_at_a_time(db):
    made = await asyncio.gather(*(put(db, key="sweep:today") for _ in range(5)))
    assert sum(job is not None for job in made) == 1
    taken = await take(db, (await send(db))[0])
    async with db.write() as session:
        assert await Jobs(session).finish(taken, now=NOW)
    assert await put(db, key="sweep:today") is None


async def test_what_is_due_is_sent_once_the_longest_due_first(db):
    late = await put(db, due=NOW - 5)
    await put(db, due=NOW + 1)
    later = await put(db, due=NOW)
    assert [ticket.job for ticket in await send(db)] == [late, later]
    assert await send(db) == []
    assert len(await send(db, now=NOW + 1)) == 1


async def test_two_relays_send_no_job_twice(db):
    jobs = {await put(db) for _ in range(30)}
    both = await asyncio.gather(*(send(db, window=20) for _ in range(4)), return_exceptions=True)
    tickets = [ticket for some in both for ticket in some]
    assert len({ticket.job for ticket in tickets}) == len(tickets)
    while more := await send(db):
        tickets += more
    assert {ticket.job for ticket in tickets} == jobs
    assert len(tickets) == len(jobs)


async def test_no_more_than_the_window_are_on_their_way(db):
    for _ in range(5):
        await put(db)
    first = await send(db, window=3)
    assert len(first) == 3
    assert await send(db, window=3) == []
    await take(db, first[0])
    assert len(await send(db, window=3)) == 1


async def test_what_was_sent_and_not_taken_is_sent_anew_and_the_old_ticket_is_worth_nothing(db):
    await put(db)
    [old] = await send(db, until=NOW + 10)
    [new] = await send(db, now=NOW + 10, until=LATER)
    assert await take(db, old) is None
    taken = await take(db, new)
    assert (taken.attempts, taken.payload) == (1, {"to": "ada"})
    assert await take(db, new) is None


async def test_a_forged_ticket_takes_nothing(db):
    job = await put(db)
    for token in ("", "sent:0", "run:0"):
        assert await take(db, Ticket(job, "mail", token)) is None
    assert await take(db, Ticket(str(uuid.uuid4()), "mail", "sent:0")) is None


async def test_a_done_job_keeps_no_payload(db):
    await put(db, payload={"link": "secret"})
    taken = await take(db, (await send(db))[0])
    async with db.write() as session:
        assert await Jobs(session).finish(taken, now=NOW + 3)
    job = await only(db)
    assert (job.done_at, job.payload, job.claimed_by, state_of(job, NOW)) == (NOW + 3, {}, None, "done")


@pytest.mark.parametrize("how", ["finish", "fail", "bury", "give_back"])
async def test_whose_claim_has_passed_on_can_settle_nothing(db, how):
    await put(db)
    slow = await take(db, (await send(db))[0], until=NOW + 10)
    quick = await take(db, (await send(db, now=NOW + 10))[0])
    assert quick.attempts == 2
    async with db.write() as session:
        jobs = Jobs(session)
        settle = {
            "finish": lambda: jobs.finish(slow, now=NOW),
            "fail": lambda: jobs.fail(slow, "why", due=NOW),
            "bury": lambda: jobs.bury(slow, "why", now=NOW),
            "give_back": lambda: jobs.give_back(slow),
        }
        assert not await settle[how]()
    job = await only(db)
    assert (job.claimed_by, job.done_at, job.dead_at, job.attempts) == (quick.token, None, None, 2)


async def test_a_failed_job_is_due_again_and_one_given_back_was_not_tried(db):
    await put(db)
    taken = await take(db, (await send(db))[0])
    async with db.write() as session:
        assert await Jobs(session).fail(taken, "x" * 9000, due=NOW + 50)
    job = await only(db)
    assert (job.due_at, job.attempts, len(job.error)) == (NOW + 50, 1, 500)
    assert await send(db, now=NOW + 49) == []
    taken = await take(db, (await send(db, now=NOW + 50))[0])
    async with db.write() as session:
        assert await Jobs(session).give_back(taken)
    assert (await only(db)).attempts == 1
    assert len(await send(db, now=NOW + 50)) == 1


async def test_a_claim_by_a_clock_that_is_far_ahead_is_not_believed(db):
    await put(db)
    [ticket] = await send(db)
    assert await take(db, ticket, until=NOW + LONGEST_CLAIM_MS + 1)
    assert len(await send(db)) == 1
    await put(db)
    [ticket] = await send(db)
    assert await take(db, ticket, until=NOW + LONGEST_CLAIM_MS)
    assert await send(db) == []


async def test_the_backlog_counts_what_waits_and_knows_when_to_look_again(db):
    empty = await backlog(db)
    assert (empty.waiting, empty.oldest, empty.dead, empty.next) == (0, None, 0, None)
    await put(db, due=NOW + 500)
    first = await put(db, due=NOW - 7)
    now = await backlog(db)
    assert (now.waiting, now.oldest, now.next) == (1, NOW - 7, NOW - 7)
    [ticket] = await send(db, until=NOW + 300)
    assert ticket.job == first
    sent = await backlog(db)
    assert (sent.waiting, sent.oldest, sent.next) == (1, NOW - 7, NOW + 300)
    taken = await take(db, ticket, until=NOW + 900)
    running = await backlog(db)
    assert (running.waiting, running.oldest, running.next) == (0, None, NOW + 500)
    async with db.write() as session:
        await Jobs(session).bury(taken, "no", now=NOW)
    assert (await backlog(db)).dead == 1


async def test_dead_jobs_are_revived_all_or_some_and_those_that_wait_by_name(db):
    dead = []
    for kind in ("mail", "mail", "erase"):
        await put(db, kind)
        taken = await take(db, (await send(db))[0])
        async with db.write() as session:
            await Jobs(session).bury(taken, "no", now=NOW)
        dead.append(taken.job)
    waits = await put(db, due=NOW + 9_999)

    async def revive(**which):
        async with db.write() as session:
            return await Jobs(session).revive(now=NOW, **which)

    assert await revive(kind="erase") == 1
    assert await revive(ids=[dead[0], waits]) == 2
    assert {ticket.job for ticket in await send(db)} == {dead[0], dead[2], waits}
    assert await revive(ids=[waits]) == 0  # it is on its way
    assert await revive() == 1
    taken = await take(db, (await send(db))[0])
    assert taken.attempts == 1


async def test_purging_takes_what_is_over_and_nothing_else(db):
    for how in ("finish", "bury", "fail"):
        await put(db, how)
        taken = await take(db, (await send(db))[0])
        async with db.write() as session:
            jobs = Jobs(session)
            if how == "finish":
                await jobs.finish(taken, now=NOW)
            elif how == "bury":
                await jobs.bury(taken, "no", now=NOW)
            else:
                await jobs.fail(taken, "no", due=LATER)
    async with db.write() as session:
        jobs = Jobs(session)
        assert await jobs.purge() == 0
        assert await jobs.purge(done_before=NOW, dead_before=NOW) == 0
        assert await jobs.purge(done_before=NOW + 1) == 1
        assert await jobs.purge(dead_before=NOW + 1) == 1
    assert (await only(db)).kind == "fail"


async def test_jobs_are_found_by_state_and_kind(db):
    waiting = await put(db)
    await put(db, "erase")
    tickets = {ticket.kind: ticket for ticket in await send(db)}
    await take(db, tickets["erase"])

    async def find(**which):
        async with db.read() as session:
            return [job.id for job in await JobList(session).find(now=NOW, limit=10, **which)]

    assert await find(state="waiting") == [waiting] == await find(kind="mail")
    assert await find(state="running") == [tickets["erase"].job]
    assert await find(state="dead") == [] == await find(state="done")
    async with db.read() as session:
        jobs = await JobList(session).find(now=NOW, limit=10)
    assert {job.kind: state_of(job, NOW) for job in jobs} == {"mail": "waiting", "erase": "running"}
    assert {state_of(job, LATER) for job in jobs} == {"waiting"}
