"""What came out, as a document to keep and as tables to read."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fitai.bench.compare.measures import MEASURES, ROWS, Found, Row, Size
from fitai.bench.micro.report import Figure

Json = dict[str, Any]

HOW = (
    "The peers acknowledge and tell the others, and keep nothing; client, machine and payload are the same. "
    "Ratios are taken run by run: their median, the least and the most."
)
HEAD = (
    "| FitAI: validated, state machine, durable, sequenced | against | asked | aim | measured | spread "
    "| reached |\n"
    "|---|---|---|---|---|---|---|"
)


def document(found: Found, size: Size, runs: int, machine: Mapping[str, Any], notes: Sequence[str]) -> Json:
    """Everything that is known of a comparison, as JSON has it."""
    return {
        "asked": {"runs": runs, **asdict(size)},
        "machine": dict(machine),
        "ratios": [_ratio(row, found) for row in ROWS],
        "figures": [
            {
                "measure": name,
                "contender": contender,
                **asdict(Figure.of(contender, MEASURES[name].unit, values)),
            }
            for name, contenders in found.items()
            for contender, values in contenders.items()
        ],
        "notes": list(notes),
    }


def _ratio(row: Row, found: Found) -> Json:
    values = row.values(found)
    told: Json = {
        "ours": row.ours,
        "against": row.against,
        "asked": _bound(row, row.least, "reported"),
        "aim": _bound(row, row.aim, "–"),
    }
    if not values:
        return {**told, "measured": None, "least": None, "most": None, "reached": "not measured"}
    median = statistics.median(values)
    return {
        **told,
        "measured": median,
        "least": min(values),
        "most": max(values),
        "reached": row.reached(median),
    }


def _bound(row: Row, value: float | None, without: str) -> str:
    if value is None:
        return without
    return f"{'≤' if row.less else '≥'} {value:g}{' MiB' if row.minus else ''}"


def ratios(told: Json) -> str:
    """The table of ratios."""
    rows = [HEAD]
    for one in told["ratios"]:
        spread = "–" if one["least"] is None else f"{_short(one['least'])} … {_short(one['most'])}"
        measured = "–" if one["measured"] is None else f"**{_short(one['measured'])}**"
        rows.append(
            f"| {one['ours']} | {one['against']} | {one['asked']} | {one['aim']} | {measured} | {spread} "
            f"| {one['reached']} |"
        )
    return "\n".join(rows)


def figures(told: Json) -> str:
    """The figures behind the ratios, by measure."""
    return "\n\n".join(_figures(told, name) for name in {one["measure"]: None for one in told["figures"]})


def _figures(told: Json, name: str) -> str:
    measure = MEASURES[name]
    rows = [f"| {measure.what} ({measure.unit}) | median | least … most |", "|---|---|---|"]
    for one in told["figures"]:
        if one["measure"] == name:
            spread = f"{_short(one['least'])} … {_short(one['most'])}"
            rows.append(f"| {one['contender']} | {_short(one['median'])} | {spread} |")
    return "\n".join(rows)


def page(told: Json) -> str:
    """All of it, as Markdown."""
    parts = [
        "# FitAI beside its peers",
        HOW,
        ratios(told),
        figures(told),
        "\n".join(_lines(told)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def quoted(told: Json) -> str:
    """What the README has of it."""
    asked, machine = told["asked"], told["machine"]
    return (
        f"{ratios(told)}\n\nMedian of {asked['runs']} runs by turns on {machine['cores']} cores of "
        f"{machine['cpu']} (load {machine['load']} before), client included. "
        "All figures: [bench/results/compare.md](bench/results/compare.md).\n"
    )


def _lines(told: Json) -> Iterator[str]:
    asked = ", ".join(f"{key} {value}" for key, value in told["asked"].items())
    yield f"- asked: {asked}"
    yield f"- machine: {', '.join(f'{key} {value}' for key, value in told['machine'].items())}"
    for note in told["notes"]:
        yield f"- {note}"


def keep(told: Json, into: Path) -> None:
    """Write `compare.json` and `compare.md` into a folder."""
    into.mkdir(parents=True, exist_ok=True)
    (into / "compare.json").write_text(
        json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (into / "compare.md").write_text(page(told), encoding="utf-8")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
