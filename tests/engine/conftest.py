from __future__ import annotations

from tests.playbook import book, id_of, new_book

__all__ = ["book", "id_of", "new_book"]
