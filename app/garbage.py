"""How often Python looks for cycles of garbage: less than by itself. Nearly all objects of this program die
by their count, while each look walks through all that lives: a start's modules, the sessions under load.
"""

from __future__ import annotations

import gc

THRESHOLDS = (20_000, 20, 20)  # of the three generations: objects, and collections of the younger


def rarely_collected() -> None:
    """From now on look rarely. Before imports it saves a seventh of a start."""
    gc.set_threshold(*THRESHOLDS)


def never_again() -> None:
    """Look rarely, and never more in what there is now, which stays for good."""
    gc.collect()
    gc.freeze()
    rarely_collected()
