"""The key that signs access tokens: how one is made and kept, and what makes one weak."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Literal

FILE_NAME = "secret.key"
MIN_LENGTH = 32
_MIN_DIFFERENT = 10  # 32 random hexadecimal digits have fewer in one key of a million
_KNOWN = ("changeme", "change-me", "change_me", "secret", "password", "example", "insecure", "default")

Weakness = Literal["short", "known", "monotonous"]


def weakness(key: str) -> Weakness | None:
    """Why `key` must not sign tokens in production, or None when nothing speaks against it."""
    if len(key.encode()) < MIN_LENGTH:
        return "short"
    if any(word in key.lower() for word in _KNOWN):
        return "known"
    return "monotonous" if len(set(key)) < _MIN_DIFFERENT else None


def generated_key(folder: Path) -> str:
    """The key kept in `folder`, made there on the first call. Raises OSError, UnicodeDecodeError.

    Safe when several processes start at once: all of them get the one key that was there first.
    """
    path = folder / FILE_NAME
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _keep(path, secrets.token_urlsafe(48))
    return path.read_text("utf-8").strip()


def _keep(path: Path, key: str) -> None:
    """Write `key` to `path` readable by its owner alone, whole or not at all, unless there is one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(path).hardlink_to(name)  # unlike a rename, fails when another process was first
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
