"""`python -m tests.mutation [words of a rule]`: each rule of the merge switched off in turn."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.rules import RULES, Rule

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("tests/sync", "tests/engine")
SLOW = ("test_causality.py", "test_fold_properties.py", "test_workout.py")  # run last
NOT_COPIED = shutil.ignore_patterns(".*", "node_modules", "data", "build", "dist", "*.egg-info")


def main(words: list[str]) -> int:
    """Run the rules whose names hold the words; the number of those that no test missed."""
    chosen = [rule for rule in RULES if " ".join(words) in rule.name]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        lost = 0
        for rule, missed in zip(chosen, pool.map(miss, chosen), strict=True):
            print(f"{'missed by ' + missed if missed else 'NOBODY NOTICED':60.60}  {rule.name}", flush=True)
            lost += not missed
    print(f"{len(chosen) - lost} of {len(chosen)} rules are held by a test")
    return 1 if lost or not chosen else 0


def tests() -> list[str]:
    """The files of the tests of the merge, in the order in which they are run."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).glob("test_*.py")]
    files.sort(key=lambda path: (path.name in SLOW, path.name))
    return [str(path.relative_to(ROOT)) for path in files]


def miss(rule: Rule) -> str | None:
    """The first test that fails without the rule."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        path = copy / rule.file
        path.write_text(path.read_text().replace(rule.text, rule.without))
        links = Path(folder, "links")
        links.mkdir()
        (links / "fitai").symlink_to(copy)
        (links / "tests").symlink_to(copy / "tests")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests()]
        ran = subprocess.run(
            command,
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(links), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    failed = [line for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if ran.returncode and not failed:
        raise RuntimeError(f"the tests did not run: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return failed[0].split(" - ")[0] if failed else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
