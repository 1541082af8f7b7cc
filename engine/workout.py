"""The workout, as everything above the engine uses it: cells, a judge, a document, a digest.

    w: Workout                      # what `fitai.sync.fold` makes of the records
    verdict = judge(w, op)          # against the state before the op
    document = state(w)             # JSON-able, what clients and projections see
    digest(document)                # hex; equal on every device that folded the same records

The parts are in rooms of their own: entities.py (what a workout is made of), judgement.py,
state_document.py, and machine.py for what follows what.
"""

from __future__ import annotations

from fitai.engine.entities import Workout
from fitai.engine.judgement import Judgement, Limits, judge
from fitai.engine.state_document import digest, state

__all__ = ["Judgement", "Limits", "Workout", "digest", "judge", "state"]
