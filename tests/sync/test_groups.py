from __future__ import annotations

from fitai.engine.groups.document import document
from fitai.engine.groups.fold import fold
from fitai.engine.groups.group import Group
from fitai.engine.ops import Op, Verdict
from fitai.sync import log
from fitai.sync.groups import GroupPlacer
from fitai.sync.log import Position

GROUP = "018f0000-0000-7000-8000-0000000000aa"


def _op(n: int, kind: str, base: int = 0, at: int = 0, **value) -> Op:
    raw = {"n": n, "base": base, "kind": kind, "value": value, "at": at}
    return Op(
        n=n, base=base, clock=None, kind=kind, workout=GROUP, entity=None, value=value, at=at, v=1, raw=raw
    )


def _push(placer: GroupPlacer, device: int, *ops: Op, now: int, held=(), dropped=None):
    contexts = log.contexts(ops, placer.position(device))
    return placer.place_all(device, ops, contexts, now, held, dropped or {})


def _begun() -> GroupPlacer:
    placer = GroupPlacer(Group(GROUP), 0, {})
    _push(placer, 0, _op(1, "device.enrol", device=1, member=1, name="a"), now=1_000)
    _push(placer, 1, _op(1, "group.create", base=1, title="t", format={"type": "open"}), now=1_000)
    return placer


def test_ops_take_their_places_and_happen_when_they_are_received():
    placer = _begun()
    # A clock that is years off, and a receipt that is before the last one's on another node.
    records = _push(placer, 1, _op(2, "group.start", base=2, at=9**15, in_ms=5_000), now=900)
    assert [(r.seq, r.rev, r.device, r.te, r.rt, r.verdict) for r in records] == [
        (3, 3, 1, 1_000, 1_000, "applied")
    ]
    assert (placer.head, placer.seen, placer.last_rt) == (3, 0, 1_000)
    assert placer.position(1) == Position(3, 2, None, 1_000)


def test_the_records_fold_to_what_the_placer_left():
    g = Group(GROUP)
    placer = GroupPlacer(g, 0, {})
    _push(placer, 0, _op(1, "device.enrol", device=1, member=1, name="a"), now=1_000)
    _push(
        placer,
        1,
        _op(1, "group.create", title="t", format={"type": "open", "limit_ms": 60_000}),
        _op(2, "group.start"),
        _op(3, "chat.say", text="hello"),
        _op(4, "chat.say", text=""),
        now=2_000,
        held={3},
    )
    assert [r.verdict.value for r in placer.records] == ["applied", "applied", "applied", "deferred", "void"]
    assert document(fold(GROUP, placer.records)) == document(g)
    assert g.held == {placer.records[3].dot}


def test_what_is_void_is_not_held():
    placer = _begun()
    (record,) = _push(placer, 1, _op(2, "chat.say", text=""), now=2_000, held={2})
    assert record.verdict is Verdict.VOID


def test_what_moderation_drops_is_void_and_says_why():
    placer = _begun()
    ops = (_op(2, "chat.say", text="buy"), _op(3, "group.start"), _op(4, "chat.say", text=""))
    records = _push(placer, 1, *ops, now=2_000, dropped={2: "spam", 3: "spam", 4: "spam"})
    assert [(r.code, r.detail) for r in records[:2]] == [("moderated", {"reason": "spam"}), (None, None)]
    assert records[2].code == "bad_value"  # void already, and told why


def test_a_context_includes_that_of_the_op_before():
    placer = _begun()
    _push(placer, 1, _op(2, "chat.say", base=2, text="one"), now=2_000)
    (record,) = _push(placer, 1, _op(3, "chat.say", base=0, text="two"), now=2_000)
    assert record.base == 2
