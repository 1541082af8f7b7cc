"""Two CRDT libraries from the package index, given the same writes: each replica's map as the bytes that it
would upload, and all of them merged into one new document. `make bench` installs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

Writes = Sequence[tuple[str, int]]


class Peer(Protocol):
    """A library that merges maps. `package` is its name on the package index."""

    package: str

    def blob(self, replica: int, writes: Writes) -> bytes:
        """What a replica (1, 2, …) uploads after these writes, each in a transaction of its own."""

    def merge(self, blobs: Iterable[bytes]) -> Any:
        """All of them in one new document."""

    def values(self, document: Any) -> dict[str, int]:
        """What the document shows."""


class Yrs:
    """pycrdt, the Python face of yrs (Yjs in Rust)."""

    package = "pycrdt"

    def blob(self, replica: int, writes: Writes) -> bytes:
        pycrdt: Any = import_module("pycrdt")

        document: Any = pycrdt.Doc(client_id=replica)
        document["m"] = numbers = pycrdt.Map()
        for key, value in writes:
            numbers[key] = value
        return bytes(document.get_update())

    def merge(self, blobs: Iterable[bytes]) -> Any:
        pycrdt: Any = import_module("pycrdt")

        document: Any = pycrdt.Doc(client_id=99)
        for blob in blobs:
            document.apply_update(blob)
        return document

    def values(self, document: Any) -> dict[str, int]:
        pycrdt: Any = import_module("pycrdt")

        found = document.get("m", type=pycrdt.Map).to_py()
        return {key: int(value) for key, value in found.items()}


class Loro:
    """loro, the Python face of the Rust library of that name."""

    package = "loro"

    def blob(self, replica: int, writes: Writes) -> bytes:
        loro: Any = import_module("loro")

        document = loro.LoroDoc()
        document.peer_id = replica
        numbers = document.get_map("m")
        for key, value in writes:
            numbers.insert(key, value)
            document.commit()
        return bytes(document.export(loro.ExportMode.Updates(loro.VersionVector())))

    def merge(self, blobs: Iterable[bytes]) -> Any:
        loro: Any = import_module("loro")

        document = loro.LoroDoc()
        for blob in blobs:
            document.import_(blob)
        return document

    def values(self, document: Any) -> dict[str, int]:
        return {key: int(value) for key, value in document.get_map("m").get_deep_value().items()}


def installed() -> list[Peer]:
    """The peers that are there."""
    peers: tuple[Peer, ...] = (Yrs(), Loro())
    return [peer for peer in peers if find_spec(peer.package) is not None]
