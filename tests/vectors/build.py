"""Writes the golden vectors: `python -m tests.vectors.build`. A test holds the files to what this makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from tests.vectors import exercises, log_rules, notes, sets, transitions, workouts
from tests.vectors.tale import Case, vector

FOLDER = Path(__file__).parent
THEMES: Mapping[str, list[Case]] = {
    "sets": sets.CASES,
    "exercises": exercises.CASES,
    "workouts": workouts.CASES,
    "transitions": transitions.CASES,
    "notes": notes.CASES,
    "log_rules": log_rules.CASES,
}


def written(theme: str) -> str:
    """One theme's file: a list of cases, a line for each record and each part of the state."""
    return "[\n" + ",\n".join(_case(vector(case)) for case in THEMES[theme]) + "\n]\n"


def _case(case: dict[str, Any]) -> str:
    return "{\n" + ",\n".join(_field(key, value) for key, value in case.items()) + "\n}"


def _field(key: str, value: Any) -> str:
    if key == "records":
        return f"{_json(key)}: [\n" + ",\n".join(f"  {_json(record)}" for record in value) + "\n]"
    if key == "state":
        return f"{_json(key)}: {{\n" + ",\n".join(f"  {line}" for line in _lines(value)) + "\n}"
    return f"{_json(key)}: {_json(value)}"


def _lines(document: dict[str, Any]) -> Iterator[str]:
    for key, value in document.items():
        yield f"{_json(key)}: {_json(value)}"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


if __name__ == "__main__":
    for name in THEMES:
        (FOLDER / f"{name}.json").write_text(written(name), encoding="utf-8")
