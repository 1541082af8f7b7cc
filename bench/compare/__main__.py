"""The command: `python -m fitai.bench.compare [--only pairs …] [--runs N] [--into bench/results]`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import structlog

from fitai.app.demo_server import ServerFailed
from fitai.app.failures import Refused
from fitai.bench.compare import table
from fitai.bench.compare.contenders import CONTENDERS, NODE, Missing, Stores, node_facts
from fitai.bench.compare.measures import MEASURES, NEEDS, Size
from fitai.bench.compare.turn import take
from fitai.bench.fleet import FleetFailed
from fitai.bench.generator import raise_file_limit
from fitai.bench.micro import report
from fitai.bench.validity import BUSY

PACKAGES = ("fitai", "aiohttp", "python-socketio", "uvloop", "redis", "picows", "sqlalchemy", "asyncpg")


class Comparison:
    """Takes the turns, and has what came out."""

    def __init__(self, size: Size, runs: int) -> None:
        self.found: dict[str, dict[str, list[float]]] = {}
        self.notes: list[str] = []
        self._size = size
        self._runs = runs
        self._owned = Stores()
        self._missing: dict[str, str] = {}

    async def run(self, names: Sequence[str]) -> None:
        """Do the measures of these names. Raises Refused, ServerFailed or FleetFailed."""
        self.look()
        try:
            for name in names:
                await self._measure(name)
        finally:
            self._owned.close()

    def look(self) -> None:
        """Leave out who can not be run here, and say so; on CI nobody may be left out."""
        for name, contender in CONTENDERS.items():
            try:
                contender.needs()
            except Missing as missing:
                if os.environ.get("CI"):
                    raise
                self._missing[name] = str(missing)
                self.notes.append(f"{name} was left out: {missing}")

    async def _measure(self, name: str) -> None:
        measure = MEASURES[name]
        tasks = measure.tasks(self._size, self.found)
        values: dict[str, list[float]] = self.found.setdefault(name, defaultdict(list))
        doubts: defaultdict[tuple[str, str], int] = defaultdict(int)
        for run in range(self._runs):
            for label, task in tasks.items():
                if task.contender in self._missing:
                    continue
                turn = await take(CONTENDERS[task.contender], task.load, self._owned)
                values[label].append(measure.read(turn))
                print(
                    f"{name} {run + 1}/{self._runs}: {label}: {values[label][-1]:,.1f} {measure.unit}",
                    flush=True,
                )
                for doubt in turn.doubts:
                    doubts[label, doubt.partition(":")[0].rstrip(".")] += 1
                    print(f"    {doubt}", flush=True)
        for (label, doubt), times in doubts.items():
            self.notes.append(f"{name}, {label}, in {times} of {self._runs} runs: {doubt}.")


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    facts = report.machine(PACKAGES)
    try:
        CONTENDERS[NODE].needs()
    except Missing:
        return facts
    return {**facts, **node_facts()}


def main(words: Sequence[str]) -> int:
    """Do it; returns the exit code. What was measured before a failure is told all the same."""
    parser = argparse.ArgumentParser(
        prog="python -m fitai.bench.compare", description="FitAI beside its peers."
    )
    parser.add_argument("--only", nargs="+", choices=MEASURES, help="the measures to do; without it all")
    parser.add_argument("--runs", type=int, default=5, help="how often each contender takes its turn")
    parser.add_argument("--into", type=Path, help="folder for compare.md and compare.json")
    for one in fields(Size):
        parser.add_argument(f"--{one.name}", type=type(one.default), default=one.default)
    asked = vars(parser.parse_args(words))
    size = Size(**{one.name: asked[one.name] for one in fields(Size)})
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    raise_file_limit()  # the servers that are started inherit it
    wanted = asked["only"] or list(MEASURES)
    names = [name for name in MEASURES if name in wanted or any(NEEDS.get(one) == name for one in wanted)]
    facts, taken = machine(), psutil.cpu_percent(0.5) / 100
    comparison, code = Comparison(size, asked["runs"]), 0
    try:
        asyncio.run(comparison.run(names))
    except (Refused, ServerFailed, FleetFailed) as failure:
        print(failure, file=sys.stderr)
        comparison.notes.append(f"It ended before its time: {failure}")
        code = 1
    if taken > BUSY:
        comparison.notes.append(f"Others took {taken:.0%} of the machine before the start.")
    told = table.document(comparison.found, size, asked["runs"], facts, comparison.notes)
    print(f"\n{table.page(told)}")
    if asked["into"] is not None:
        table.keep(told, asked["into"])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
