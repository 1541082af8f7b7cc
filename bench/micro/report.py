"""Running contenders by turns, and telling what came out: a table to read, JSON to compare."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a table: the median of what was measured, the least and the most, and what was asked of
    it, in words (empty for a figure that only stands beside)."""

    name: str
    unit: str
    median: float
    least: float
    most: float
    asked: str = ""

    @classmethod
    def of(cls, name: str, unit: str, values: Iterable[float], asked: str = "") -> Figure:
        """The figure of several runs."""
        found = sorted(values)
        return cls(name, unit, statistics.median(found), found[0], found[-1], asked)


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """The options that all measurements have."""
    made = argparse.ArgumentParser(prog=f"python -m fitai.bench.micro {name}", description=description)
    made.add_argument("--runs", type=int, default=5, help="how often each contender takes its turn")
    made.add_argument("--into", type=Path, help="folder for the table and its JSON, kept to compare with")
    return made


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds that `work` took, without the garbage collector, and what it returned."""
    gc.collect()
    gc.disable()
    try:
        began = time.perf_counter()
        result = work()
        return time.perf_counter() - began, result
    finally:
        gc.enable()


def interleaved(runs: int, contenders: Mapping[str, Callable[[int], T]]) -> dict[str, list[T]]:
    """What each contender measured, by run. All take their turn in every run, so that a machine that
    slows down slows all of them; `run` (0, 1, …) is the seed of the run's workload."""
    found: dict[str, list[T]] = {name: [] for name in contenders}
    for run in range(runs):
        for name, measure in contenders.items():
            found[name].append(measure(run))
    return found


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """What the figures depend on besides the code. A package that is not there is left out."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        **{name: found for name in packages if (found := _version(name)) is not None},
    }


def tell(
    name: str, question: str, figures: Sequence[Figure], facts: Mapping[str, Any], into: Path | None
) -> None:
    """Print the table; with `into` also write `<name>.md` and `<name>.json` there."""
    rows = [f"| {'figure':44} | {'unit':8} | {'median':>12} | {'least … most':>23} | asked |"]
    rows.append(f"|{'-' * 46}|{'-' * 10}|{'-' * 14}|{'-' * 25}|-------|")
    for one in figures:
        spread = f"{_short(one.least)} … {_short(one.most)}"
        rows.append(
            f"| {one.name:44} | {one.unit:8} | {_short(one.median):>12} | {spread:>23} | {one.asked} |"
        )
    told = ", ".join(f"{key} {value}" for key, value in facts.items())
    table = f"# {name}\n\n{question}\n\n" + "\n".join(rows) + f"\n\n{told}\n"
    print(table)
    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
        (into / f"{name}.md").write_text(table)
        (into / f"{name}.json").write_text(json.dumps(_told(name, question, figures, facts), indent=1) + "\n")


def quoted(told: Mapping[str, Any]) -> str:
    """What a document has of the JSON of a table: the figures of which something was asked."""
    rows = ["| figure | asked | median | least … most |", "|---|---|---|---|"]
    for name, one in told["figures"].items():
        if one["asked"]:
            spread = f"{_short(one['least'])} … {_short(one['most'])}"
            rows.append(f"| {name} | {one['asked']} | **{_short(one['median'])}** | {spread} |")
    machine, name = told["machine"], told["name"]
    return "\n".join(rows) + (
        f"\n\nBy turns on {machine['cores']} cores of {machine['cpu']} (load {machine['load']} after), "
        f"client included. All figures: [bench/results/{name}.md](bench/results/{name}.md).\n"
    )


def _told(name: str, question: str, figures: Sequence[Figure], facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "question": question,
        "figures": {one.name: _document(one) for one in figures},
        "machine": dict(facts),
    }


def _document(figure: Figure) -> dict[str, Any]:
    return {
        "unit": figure.unit,
        "median": figure.median,
        "least": figure.least,
        "most": figure.most,
        "asked": figure.asked,
    }


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
