"""The documents say what the code does: generated parts are current, commands and examples run.

`python tests/test_docs.py` writes the generated parts anew (`make docs`).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from fitai.app.metrics import meters_table
from fitai.app.settings import settings_table
from fitai.bench.compare.table import quoted
from fitai.bench.micro import report
from fitai.engine.groups import machine as group_machine
from fitai.engine.groups import roles as group_roles
from fitai.engine.machine import diagram

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"

RESULTS = ROOT / "bench" / "results"

GENERATED = {
    README: {
        "settings": lambda: f"\n{settings_table()}\n",
        "compare": lambda: f"\n{quoted(measured('compare'))}\n",
        "rest": lambda: f"\n{report.quoted(measured('rest'))}\n",
    },
    ARCHITECTURE: {
        "machine": lambda: f"\n```mermaid\n{diagram().strip()}\n```\n\n",
        "group-machine": lambda: f"\n```mermaid\n{group_machine.diagram().strip()}\n```\n\n",
        "group-roles": lambda: f"\n{group_roles.table()}\n\n",
        "meters": lambda: f"\n{meters_table()}\n",
    },
}


def measured(name: str) -> Any:
    """What a measurement left in `bench/results`."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def written(path: Path) -> str:
    """The document with its generated parts as they should be."""
    text = path.read_text(encoding="utf-8")
    for name, make in GENERATED[path].items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        assert found, f"{path.name} has no part {name}"
        text = before + begin + make() + end + after
    return text


def test_the_generated_parts_of_the_documents_are_current() -> None:
    for path in GENERATED:
        assert path.read_text(encoding="utf-8") == written(path), f"{path.name} is stale: make docs"


def test_every_make_target_that_a_document_names_exists() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^  make (\w+)", listed, re.M))
    for path in (README, ARCHITECTURE, ROOT / "CONTRIBUTING.md"):
        named = set(re.findall(r"(?:^|`)make (\w+)", path.read_text(encoding="utf-8"), re.M))
        assert named <= targets, f"{path.name} names {named - targets}"


def test_every_command_in_the_readme_has_its_help() -> None:
    named = set(
        re.findall(
            r"^\| `fitai ((?:user |jobs |mail |keys )?[\w-]+)", README.read_text(encoding="utf-8"), re.M
        )
    )
    assert {"serve", "migrate", "demo", "replay", "rebuild", "user create"} <= named
    for command in named:
        fitai = [Path(sys.executable).with_name("fitai"), *command.split(), "--help"]
        subprocess.run(fitai, capture_output=True, check=True)


def test_every_link_between_documents_leads_somewhere() -> None:
    for path in ROOT.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{path.name} links {target}"


if __name__ == "__main__":
    for document in GENERATED:
        document.write_text(written(document), encoding="utf-8")
