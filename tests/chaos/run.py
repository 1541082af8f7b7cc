"""Runs seeds, one after another. `python -m tests.chaos.run --seeds 10 --from 1` is `make chaos`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.chaos.faults import KINDS
from tests.chaos.stack import template
from tests.chaos.world import Outcome, Scale, World


async def run(seeds: Sequence[int], at_once: int) -> list[Outcome]:
    outcomes: list[Outcome] = []
    door = asyncio.Semaphore(at_once)
    async with template() as data:

        async def one(seed: int) -> None:
            async with door:
                outcome = await World(seed, data, Scale()).run()
            outcomes.append(outcome)
            told(outcome)

        async with asyncio.TaskGroup() as group:
            for seed in seeds:
                group.create_task(one(seed))
    return outcomes


def told(outcome: Outcome) -> None:
    """A line for each seed, and the whole story of one that went wrong."""
    struck = ", ".join(kind if n == 1 else f"{kind} {n}" for kind, n in sorted(outcome.struck.items()) if n)
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in outcome.times.items())
    print(f"seed {outcome.seed}: {outcome.counts['acked']} acked; {struck}; {times}", flush=True)
    if outcome.wrong:
        print(f"  {len(outcome.wrong)} WRONG\n  " + "\n  ".join(outcome.story), flush=True)


def report(outcomes: Sequence[Outcome], seconds: float) -> bool:
    """The table at the end; returns whether all is well."""
    struck = sum((outcome.struck for outcome in outcomes), Counter[str]())
    effects = sum((outcome.effects for outcome in outcomes), Counter[str]())
    counts = sum((outcome.counts for outcome in outcomes), Counter[str]())
    bad = sorted(outcome.seed for outcome in outcomes if outcome.wrong)
    never = [kind for kind in KINDS if not struck[kind]] if len(outcomes) > 1 else []
    rows: list[tuple[str, int]] = [("seeds", len(outcomes))]
    for kind in KINDS:
        rows.append((kind, struck[kind]))
        rows += [
            (f"  {name.partition(': ')[2]}", n) for name, n in effects.items() if name.startswith(f"{kind}:")
        ]
    rows += sorted(counts.items())
    rows.append(("violations", sum(len(outcome.wrong) for outcome in outcomes)))
    for name, number in rows:
        print(f"{name:<40}{number:>12,}")
    for name in ("ready", "sent", "current", "paused", "all"):
        found = sorted(outcome.times[name] for outcome in outcomes if name in outcome.times)
        if found:
            print(f"{name + ', s: median and most':<40}{found[len(found) // 2]:>12.1f}{found[-1]:>8.1f}")
    print(f"{seconds:.0f} s")
    if never:
        print(f"never struck: {', '.join(never)}")
    if bad:
        print(f"failing seeds: {', '.join(map(str, bad))}")
        print(f"one again: make chaos SEEDS=1 FROM={bad[0]}")
    return not bad and not never


def main() -> int:
    parser = argparse.ArgumentParser(description="Nodes, devices and every fault, with real processes.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--from", type=int, default=1, dest="first")
    parser.add_argument("--at-once", type=int, default=1)
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has it ignored, in the background
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    outcomes = asyncio.run(run(seeds, options.at_once))
    return 0 if report(outcomes, time.monotonic() - began) else 1


if __name__ == "__main__":
    sys.exit(main())
