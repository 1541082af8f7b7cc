"""The version of the fold, and what it must not stay the same for."""

from __future__ import annotations

from fitai.engine.kinds import KINDS
from fitai.sync.version import FOLD_VERSION

SCHEMAS = {
    "workout": "create start pause resume complete abandon edit remove restore merge unmerge",
    "exercise": "add edit move remove restore",
    "set": "log edit remove restore",
    "rest": "start extend skip",
    "note": "set",
    "conflict": "choose",
}
"""The kinds of version 1, all of them in their first schema."""


def test_no_kind_and_no_schema_is_learnt_without_a_new_version_of_the_fold() -> None:
    """Ops of it were folded to nothing before. Whoever changes one side of this changes the other."""
    learnt = {name: kind.schema for name, kind in KINDS.items()}
    first = {f"{of}.{what}": 1 for of, names in SCHEMAS.items() for what in names.split()}
    assert (FOLD_VERSION, learnt) == (1, first)
