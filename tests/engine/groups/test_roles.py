"""Who may do what, written down here once more by hand and asked of the judge."""

from __future__ import annotations

from typing import Any

import pytest

from fitai.engine.groups.kinds import KINDS
from fitai.engine.groups.roles import ALLOWED, may
from tests.group_book import GROUP, GroupBook

ROLES = ("host", "coach", "participant", "spectator", "stranger", "server")

# y: may; - : forbidden. In the order of ROLES.
TABLE = """
group.create      - - - - y -
group.edit        y y - - - -
group.invite      y y - - - -
group.start       y y - - - -
group.hold        y y - - - -
group.pause       y y - - - -
group.resume      y y - - - -
group.next        y y - - - -
group.finish      y y - - - y
group.cancel      y - - - - y
group.host        - - - - - y
member.join       - - - - y -
member.leave      y y y y - -
member.role       y y y y - -
member.kick       y y - - - -
member.ban        y y - - - -
member.unban      y y - - - -
member.hand_over  y - - - - -
member.share      y y y - - -
member.workout    y y y - - -
member.erase      - - - - - y
chat.say          y y y y - -
chat.hide         y y y y - y
chat.release      - - - - - y
device.enrol      - - - - - y
"""
EXPECTED = {line.split()[0]: line.split()[1:] for line in TABLE.strip().splitlines()}

# A value with which the op stands, where its author may do it at all; the state that it needs.
FORMAT = {"type": "led", "steps": [{"title": "one"}, {"title": "two"}]}
VALUES: dict[str, dict[str, Any]] = {
    "group.create": {"title": "again", "format": {"type": "open"}},
    "group.edit": {"field": "title", "value": "other"},
    "group.next": {"to": 1},
    "group.host": {"member": 3, "was": 1, "reason": "lost"},
    "member.kick": {"member": 6},
    "member.ban": {"member": 6},
    "member.unban": {"member": 7},
    "member.hand_over": {"member": 3},
    "member.share": {"share": "everything"},
    "member.workout": {"workout": GROUP},
    "member.erase": {"member": 6},
    "chat.say": {"text": "hello"},
    "chat.release": {"dot": [6, 2], "text": "held"},
    "device.enrol": {"device": 9, "member": 9, "name": "new"},
}
DEVICE = {"host": 1, "coach": 2, "participant": 3, "spectator": 4, "stranger": 5, "server": 0}
STATE = {"group.hold": "countdown", "group.pause": "live", "group.next": "live", "group.finish": "live"}


def _group(kind: str) -> GroupBook:
    book = GroupBook().create(format=FORMAT).crew()
    book.join(6)
    book("chat.say", by=6, held=True, text="held")
    book.join(7)
    assert book("member.ban", member=7).verdict == "applied"
    state = "paused" if kind == "group.resume" else STATE.get(kind, "lobby")
    if state != "lobby":
        book("group.start", 10, in_ms=5000)
        book.now = 12_000 if state == "countdown" else 20_000
    if state == "paused":
        book("group.pause", 21)
    assert book.status == state
    return book


def _value(kind: str, role: str) -> dict:
    if kind == "member.role":  # of oneself: everybody but the host may look on
        return (
            {"member": 6, "role": "participant"}
            if role == "host"
            else {"member": DEVICE[role] or 3, "role": "spectator"}
        )
    if kind == "chat.hide":  # their own; the server, any
        return {"dot": [DEVICE[role] or 6, 1]}
    return VALUES.get(kind, {})


def test_the_table_is_whole():
    assert EXPECTED.keys() == ALLOWED.keys() == KINDS.keys()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", EXPECTED)
def test_who_may_do_what(kind, role):
    expected = EXPECTED[kind][ROLES.index(role)] == "y"
    assert may(role, kind) is expected
    judged = _group(kind)(kind, by=DEVICE[role], **_value(kind, role))
    if not expected:
        assert (judged.code, judged.detail) == ("forbidden", {"role": role, "kind": kind})
    elif kind == "group.create":  # a stranger may, where no group is yet
        assert judged.detail == {"from": "lobby", "trigger": "create"}
    else:
        assert judged.verdict == "applied", judged


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_device_that_nobody_let_in_may_nothing(kind):
    judged = _group(kind)(kind, by=77, **_value(kind, "participant"))
    assert judged.code == "forbidden"


# Acts on others. Columns: what the target is.
TARGETS = ("host", "coach", "participant", "spectator")
ON_OTHERS = {
    ("host", "member.kick"): "-yyy",
    ("coach", "member.kick"): "--yy",
    ("participant", "member.kick"): "----",
    ("host", "member.ban"): "-yyy",
    ("coach", "member.ban"): "--yy",
    ("spectator", "member.ban"): "----",
    ("host", "member.hand_over"): "-yy-",
    ("coach", "member.hand_over"): "----",
    ("host", "chat.hide"): "yyyy",
    ("coach", "chat.hide"): "--yy",
    ("participant", "chat.hide"): "----",
    ("server", "chat.hide"): "yyyy",
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("role", "kind"), ON_OTHERS)
def test_to_whom_it_may_be_done(role, kind, target):
    book = GroupBook().create().crew()
    # A second coach and a second of each below, so that nobody acts on themselves.
    for member in (12, 13):
        book.join(member)
    book.join(14, "spectator")
    book("member.role", member=12, role="coach")
    device = {"host": 1, "coach": 12, "participant": 13, "spectator": 14}[target]
    value = {"dot": [device, 1]} if kind == "chat.hide" else {"member": device}
    judged = book(kind, by=DEVICE[role], **value)
    expected = ON_OTHERS[role, kind][TARGETS.index(target)] == "y"
    assert (judged.verdict == "applied") is expected
    assert expected or judged.code == "forbidden"


# Roles that are given: author, target, given → may.
GIVEN = [
    *[
        ("host", target, given, True)
        for target in TARGETS[1:]
        for given in ("coach", "participant", "spectator")
    ],
    *[("host", "self", given, False) for given in ("coach", "participant", "spectator")],
    *[("coach", target, "coach", False) for target in TARGETS],
    *[
        ("coach", target, given, False)
        for target in ("host", "coach")
        for given in ("participant", "spectator")
    ],
    *[("coach", target, given, True) for target in TARGETS[2:] for given in ("participant", "spectator")],
    ("coach", "self", "coach", False),
    ("coach", "self", "participant", True),
    ("coach", "self", "spectator", True),
    ("participant", "self", "coach", False),
    ("participant", "self", "spectator", True),
    ("spectator", "self", "coach", False),
    ("spectator", "self", "participant", True),
    *[(role, target, "spectator", False) for role in ("participant", "spectator") for target in TARGETS],
]


@pytest.mark.parametrize(("role", "target", "given", "expected"), GIVEN)
def test_which_roles_may_be_given(role, target, given, expected):
    book = GroupBook().create().crew()
    for member in (12, 13):
        book.join(member)
    book.join(14, "spectator")
    book("member.role", member=12, role="coach")
    own = DEVICE[role]
    member = {"host": 1, "coach": 12, "participant": 13, "spectator": 14, "self": own}[target]
    judged = book("member.role", by=own, member=member, role=given)
    assert (judged.verdict == "applied") is expected
    assert book.g.members[member].role == given if expected else judged.code == "forbidden"


def test_nobody_is_made_host_as_a_role():
    book = GroupBook().create().crew()
    assert book("member.role", member=2, role="host").code == "bad_value"
