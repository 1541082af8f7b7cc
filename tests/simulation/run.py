"""Runs seeds. `python -m tests.simulation.run --seeds 1000 --from 1` is `make simulate`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from fitai.persistence.database import Database
from tests.simulation.checks import check
from tests.simulation.world import STEPS, World


@dataclass
class Outcome:
    """What became of a seed. `log` is its story in short, the same each time; `defect` what was wrong."""

    seed: int
    struck: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    written: int = 0
    lost: int = 0
    log: list[str] = field(default_factory=list)
    defect: str | None = None


def template(folder: Path) -> Path:
    """A migrated database to copy."""
    path = folder / "template.db"

    async def make() -> None:
        db = Database.open(f"sqlite:///{path}")
        await db.migrate()
        await db.close()

    asyncio.run(make())
    return path


def simulate(seed: int, database: Path, steps: int = STEPS) -> Outcome:
    """One seed, from its first op to its checks."""
    outcome = Outcome(seed)
    with tempfile.TemporaryDirectory() as folder:
        world = World(seed, database, Path(folder), steps)
        try:
            world.run()
            world.heal()
            check(world)
        except Exception:
            outcome.defect = traceback.format_exc()
        finally:
            records = world.server.log()
            world.close()
    outcome.struck, outcome.written, outcome.lost = world.struck, len(world.written), len(world.lost)
    outcome.struck["forked"] = sum(device.forks for device in world.devices)
    outcome.kinds = Counter(op["kind"] for op in world.written.values())
    outcome.log = [f"{r.device}.{r.op.n} {r.base} {r.verdict} {r.op.raw.get('tag')} {r.te}" for r in records]
    return outcome


def _one(arguments: tuple[int, str]) -> Outcome:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seed, database = arguments
    return simulate(seed, Path(database))


def main() -> int:
    parser = argparse.ArgumentParser(description="Devices, a server and every fault, seed by seed.")
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--from", type=int, default=1, dest="first")
    options = parser.parse_args()
    started = time.monotonic()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(os.cpu_count()) as pool:
        database = str(template(Path(folder)))
        seeds = range(options.first, options.first + options.seeds)
        for outcome in pool.map(_one, ((seed, database) for seed in seeds), chunksize=2):
            outcomes.append(outcome)
            if outcome.defect is not None:
                print(f"seed {outcome.seed}:\n{outcome.defect}", flush=True)
    report(outcomes, time.monotonic() - started)
    return int(any(outcome.defect is not None for outcome in outcomes))


def report(outcomes: list[Outcome], seconds: float) -> None:
    """The table at the end."""
    struck = sum((outcome.struck for outcome in outcomes), Counter[str]())
    bad = [outcome.seed for outcome in outcomes if outcome.defect is not None]
    rows = [
        ("seeds", len(outcomes)),
        ("ops written", sum(outcome.written for outcome in outcomes)),
        ("records in the logs", sum(len(outcome.log) for outcome in outcomes)),
        ("lost with the only file that had them", sum(outcome.lost for outcome in outcomes)),
        *((f"  {fault}", count) for fault, count in sorted(struck.items())),
        ("defects", len(bad)),
    ]
    for name, number in rows:
        print(f"{name:<40}{number:>10,}")
    print(f"{seconds:.0f} s")
    if bad:
        print(f"failing seeds: {', '.join(map(str, bad))}")
        print(f"one again: make simulate SEEDS=1 FROM={bad[0]}")


if __name__ == "__main__":
    sys.exit(main())
