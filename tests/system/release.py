"""The release before this one, made to run: what a rolling upgrade meets."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = Path(__file__).with_name("previous-release")  # names a commit, for as long as there is no tag


class NoRelease(Exception):
    """There is no earlier release to be had; the message says why."""


def find(root: Path = ROOT) -> str:
    """The commit of the newest release before the code in `root`: by tag, else as the file names it. Raises
    NoRelease."""
    tags = _git(root, "tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname").split()
    head = _git(root, "rev-parse", "HEAD")
    commits = [_git(root, "rev-parse", f"{tag}^{{commit}}") for tag in tags]
    earlier = [commit for commit in commits if commit != head]
    return earlier[0] if earlier else _named(root)


def _named(root: Path) -> str:
    commit = NAMED.read_text().strip()
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except subprocess.CalledProcessError:
        raise NoRelease(
            f"The release before this one is commit {commit} (tests/system/previous-release), which this"
            " clone does not hold: fetch the whole history (git fetch --unshallow --tags)."
        ) from None


def export(commit: str, into: Path, root: Path = ROOT) -> Path:
    """Lay the release into a folder, as a package that is imported before any that is installed; returns
    what PYTHONPATH has to name."""
    package = into / "fitai"
    packed = subprocess.run(["git", "archive", commit], cwd=root, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(package, filter="data")
    # A package, not a namespace: so the editable install has no part in it.
    (package / "__init__.py").touch()
    return into


def _git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
