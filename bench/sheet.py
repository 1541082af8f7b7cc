"""A run as a Markdown table and a short JSON, to be kept beside the code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fitai.bench import growth, screen

Json = Mapping[str, Any]

LONG = frozenset({"curve", "histogram", "timeline"})  # of an operation: what is plotted, not read
POINTS = ("p50", "p90", "p99", "p99.9", "max")


def keep(told: Json, into: Path) -> None:
    """Write `<scenario>.md` and `<scenario>.json` into a folder."""
    into.mkdir(parents=True, exist_ok=True)
    name = told["scenario"]
    (into / f"{name}.json").write_text(json.dumps(brief(told), indent=1, ensure_ascii=False) + "\n", "utf-8")
    (into / f"{name}.md").write_text(markdown(told), encoding="utf-8")


def brief(told: Json) -> dict[str, Any]:
    """The document without what only plots need."""
    operations = {
        name: {key: value for key, value in one.items() if key not in LONG}
        for name, one in told["operations"].items()
    }
    return {key: value for key, value in told.items() if key != "timeline"} | {"operations": operations}


def markdown(told: Json) -> str:
    """The verdict, the growth if there is any, the latencies, and what was asked where."""
    parts = [f"# {told['scenario']}", told["question"], *_growth(told.get("growth"))]
    parts += [_latencies(told["operations"]), "\n".join(_lines(told))]
    return "\n\n".join(parts) + "\n"


def _growth(grown: Json | None) -> Iterator[str]:
    if grown is None:
        return
    yield table(growth.COLUMNS, growth.cells(grown))
    yield growth.NOTE
    yield table(
        ("goal", "asked", "measured", "met"),
        [
            [one["what"], one["asked"], f"**{one['found']}**", "yes" if one["met"] else "no"]
            for one in grown["goals"]
        ],
    )


def _latencies(operations: Json) -> str:
    return table(
        ("operation", "count", *(f"{point} ms" for point in POINTS)),
        [
            [name, f"{one['ms']['count']:,}", *(screen.number(one["ms"][point]) for point in POINTS)]
            for name, one in operations.items()
        ],
    )


def _lines(told: Json) -> Iterator[str]:
    yield f"- {'valid' if told['valid'] else 'NOT VALID'}: {screen.control(told)}"
    for sentence in (*told["reasons"], *told["notes"]):
        yield f"- {sentence}"
    client = told["client"]
    cpu = ", ".join(f"{one:.0%}" for one in client["cpu"])
    yield f"- client: {cpu} of a core, loop lag {client['loop_lag_p99_ms']:.1f} ms (p99)"
    yield f"- {screen.asked(told)}"
    yield f"- {screen.where(told)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all but the first column are figures."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
