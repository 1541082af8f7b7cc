"""The version of the fold.

A state is a function of the records **and** of the code that folds them. What is kept of states (the
projections, their cached documents) is therefore marked with the version that made it, and what an older
version made is written anew: in the background, and before a host first answers from it. A document of
another version is never handed out.

Raise FOLD_VERSION by one with every change after which the same records may fold to another document, or to
other rows of the projections:

- a new kind, a new schema of a kind (its ops were folded to nothing before);
- another rule of the merge, another field or another value in the document, in totals or in bests;
- a new column of a projection that is filled from the document.

A change that leaves every document byte for byte as it was (speed, names, comments) does not count. During a
rolling upgrade both versions run on one database: the newer one writes anew what the older one wrote, never
the other way round.
"""

from __future__ import annotations

from typing import Final

FOLD_VERSION: Final = 1
