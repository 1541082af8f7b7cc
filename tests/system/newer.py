"""`fitai` as a later release will be: it knows one kind more, and a second schema of one that we know.

Run as a program it is that release's command; `learn` makes the running process that release.

    workout.rate        {stars: 0..5}, shown as the workout's rating
    note.set, schema 2  {lines: [text…], parent?} instead of {text, parent?}
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta, Struct

from fitai.engine.kinds import KINDS, Kind
from fitai.engine.ops import Op, Stamp
from fitai.sync import version
from fitai.sync.fold import Folded
from fitai.sync.handlers import HANDLERS


class Rate(Struct, frozen=True):
    """workout.rate."""

    stars: Annotated[int, Meta(ge=0, le=5)]


class Note(Struct, frozen=True):
    """note.set, schema 2; whoever asks for its `text` gets the lines as one."""

    lines: list[str]
    parent: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def into_lines(value: dict[str, Any]) -> dict[str, Any]:
    """From schema 1 of note.set to schema 2."""
    rest = {key: item for key, item in value.items() if key != "text"}
    return {**rest, "lines": value["text"].split("\n")}


def rate(folded: Folded, op: Op, stamp: Stamp, value: Rate) -> None:
    """Fold workout.rate."""
    folded.write(folded.w, "rating", value.stars, stamp)


def learn(
    put: Callable[[Any, str, Any], None] = operator.setitem,
    change: Callable[[Any, str, Any], None] = setattr,
) -> None:
    """Make this process the later release."""
    put(KINDS, "workout.rate", Kind("workout.rate", Rate))
    put(KINDS, "note.set", Kind("note.set", Note, "optional", upcasts=(into_lines,)))
    put(HANDLERS, "workout.rate", rate)
    change(version, "FOLD_VERSION", version.FOLD_VERSION + 1)


if __name__ == "__main__":
    from fitai.app.command import main

    learn()
    main()
