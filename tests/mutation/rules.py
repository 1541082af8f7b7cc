"""The rules of the merge, each with the change that switches it off.

A rule that nothing tests can be lost without a sound. `python -m tests.mutation` takes the rules one after
the other, changes a copy of the code, and runs the tests of the merge on it: one must fail for each.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """A rule in words, where it stands, and the same text without it."""

    name: str
    file: str
    text: str
    without: str


RULES = [
    # What a device had seen.
    Rule(
        "an op had seen what lies up to its base",
        "engine/ops.py",
        "if earlier.seq <= later.base:",
        "if earlier.seq < later.base:",
    ),
    Rule(
        "a device has seen its own earlier ops",
        "engine/ops.py",
        "return earlier.n < later.n",
        "return False",
    ),
    Rule(
        "a clock's entries beyond the base count as seen",
        "engine/ops.py",
        "return later.beyond is not None and earlier.n <= later.beyond.get(earlier.device, 0)",
        "return False",
    ),
    # Registers.
    Rule(
        "a write leaves beside it what it had not seen",
        "sync/registers.py",
        "        if not saw(stamp, held):\n",
        "        if False:\n",
    ),
    Rule(
        "a write replaces what it had seen",
        "sync/registers.py",
        "        if not saw(stamp, held):\n",
        "        if held.device != stamp.device:\n",
    ),
    Rule(
        "a write leaves beside it all that it had not seen",
        "sync/registers.py",
        "        if saw(new.stamp, one.stamp):\n",
        "        if True:\n",
    ),
    Rule(
        "a write replaces all that it had seen",
        "sync/registers.py",
        "        if saw(new.stamp, one.stamp):\n",
        "        if one.stamp.device == new.stamp.device:\n",
    ),
    Rule(
        "the greater rank is shown",
        "sync/registers.py",
        "            if outranks(stamp, held):\n",
        "            if True:\n",
    ),
    Rule(
        "the greatest rank is shown",
        "sync/registers.py",
        "        if outranks(one.stamp, shown.stamp):\n",
        "        if True:\n",
    ),
    Rule(
        "effective time comes before the device's number",
        "engine/ops.py",
        "    if a.te != b.te:\n",
        "    if False:\n",
    ),
    Rule(
        "a value that was replaced can still be chosen",
        "sync/registers.py",
        "known = [*writes(cell, field), *replaced(cell, field)]",
        "known = writes(cell, field)",
    ),
    Rule(
        "load and its unit are one register",
        "sync/handlers.py",
        "    return value.document() if type(value) is Load else value",
        '    return value.document()["value"] if type(value) is Load else value',
    ),
    Rule(
        "a set of a planned slot has its id from workout and slot",
        "engine/kinds.py",
        "return str(uuid.uuid5(uuid.UUID(workout), str(slot)))",
        'return str(uuid.uuid5(uuid.UUID(workout), f"set {slot}"))',
    ),
    Rule(
        "who reopens a workout takes back its typed end",
        "sync/handlers.py",
        'folded.write(w, "ended_at", None, stamp)',
        "pass",
    ),
    # Existence.
    Rule(
        "a removal cancels only what it had seen",
        "sync/existence.py",
        "cell.live = {one.device: one for one in touches(cell) if not saw(stamp, one)} or None",
        "cell.live = None",
    ),
    Rule(
        "a removal cancels what it had seen",
        "sync/existence.py",
        "cell.live = {one.device: one for one in touches(cell) if not saw(stamp, one)} or None",
        "pass",
    ),
    Rule(
        "a later touch brings a thing back",
        "sync/existence.py",
        "    if isinstance(live, dict):\n        live[",
        "    if cell.removed:\n        return\n    if isinstance(live, dict):\n        live[",
    ),
    Rule(
        "who acts knowing of a removal settles it",
        "sync/existence.py",
        "cell.removes = tuple(remove for remove in cell.removes if not saw(stamp, remove))",
        "pass",
    ),
    Rule(
        "an exercise stays while a set is in it that its removal had not seen",
        "sync/existence.py",
        "and not entry.live and next(holding(w, entry), None) is None",
        "and not entry.live",
    ),
    Rule(
        "a removal of an exercise takes along the sets that it had seen",
        "sync/existence.py",
        "if not any(saw(gone, one) for gone in entry.removes):",
        "if True:",
    ),
    Rule(
        "a set in several exercises is shown in one that is there",
        "sync/existence.py",
        "if entry is not None and entry.known and not entry.removed:",
        "if entry is not None:",
    ),
    Rule(
        "moving an exercise does not hold it against a removal",
        "sync/handlers.py",
        '        folded.write(entry, "superset", value.superset, stamp)\n\n\ndef _remove_exercise',
        '        folded.write(entry, "superset", value.superset, stamp)\n'
        "    folded.touch_entry(entry, stamp)\n\n\ndef _remove_exercise",
    ),
    Rule(
        "a note holds what it is about",
        "sync/handlers.py",
        "None if value.parent is None else Dot(*value.parent))\n    folded.touch(op.entity, stamp)",
        "None if value.parent is None else Dot(*value.parent))",
    ),
    Rule(
        "what was said of a thing before it was made counts for it",
        "sync/fold.py",
        "for stamp in self._strays.pop(cell.id, ()):",
        "for stamp in ():",
    ),
    Rule(
        "an op in a workout holds it against a removal",
        "sync/fold.py",
        "if op.kind not in _NO_TOUCH:",
        'if op.kind == "workout.create":',
    ),
    # Transitions.
    Rule(
        "completed before abandoned",
        "sync/timeline.py",
        '    if "complete" in triggers:\n        return "completed"\n    if "abandon" in triggers:',
        '    if "complete" in triggers and "abandon" not in triggers:\n        return "completed"\n'
        '    if "abandon" in triggers:',
    ),
    Rule(
        "a set logged beside the abandoning completes",
        "sync/timeline.py",
        'return "completed" if any(_beside(log, ends) for log in logs.values()) else "abandoned"',
        'return "abandoned"',
    ),
    Rule(
        "ended before active",
        "sync/timeline.py",
        '    if "complete" in triggers:\n        return "completed"\n',
        '    if "complete" in triggers and not triggers & GOING_ON:\n        return "completed"\n',
    ),
    Rule(
        "active before paused",
        "sync/timeline.py",
        "if triggers & GOING_ON:",
        'if triggers & GOING_ON and "pause" not in triggers:',
    ),
    Rule(
        "a set that had seen the end reopens",
        "sync/timeline.py",
        "return [*(one for one in frontier if not saw(event.stamp, one.stamp)), event]",
        "return [*(one for one in frontier if one.trigger in ENDS), event]",
    ),
    Rule(
        "a workout ends with its last late set",
        "sync/timeline.py",
        "w.ended_at = max(one.key[0] for one in (*ends, *late))",
        "w.ended_at = max(one.key[0] for one in ends)",
    ),
    Rule(
        "of two completions the later one is the end",
        "sync/timeline.py",
        "w.ended_at = max(one.key[0] for one in (*ends, *late))",
        "w.ended_at = min(one.key[0] for one in (*ends, *late))",
    ),
    Rule(
        "an edge is judged in its own context",
        "sync/timeline.py",
        "        if self._saw_all(stamp):\n",
        "        if True:\n",
    ),
    Rule(
        "the server's own ops yield",
        "sync/timeline.py",
        "                    self.events.remove(event)\n                    self.dirty = True\n",
        "                    pass\n",
    ),
    Rule(
        "an op had not seen the server yield to what it had not seen",
        "sync/timeline.py",
        "had_yielded = any(saw(stamp, one) for one in event.beside.values())",
        "had_yielded = bool(event.beside)",
    ),
    Rule(
        "the timeline extends causality",
        "sync/timeline.py",
        "        if seen is None or seen.key[0] < stamp.te:\n",
        "        if True:\n",
    ),
    Rule(
        "an event that belongs further up goes there",
        "sync/timeline.py",
        "            insort(events, event, key=_key)\n            self.dirty = True\n",
        "            events.append(event)\n            self._step(w, event)\n",
    ),
    Rule(
        "an edge that built on an unknown op is judged when that is known",
        "sync/handlers.py",
        "stands = edge in TABLE[line.state_seen(w, stamp)]",
        "stands = True",
    ),
    # Notes.
    Rule(
        "notes with a common origin are merged",
        "sync/notes.py",
        "if origin is None or origin.text is None or len(texts) < len(versions):",
        "if True:",
    ),
    Rule(
        "what two changed in different ways is not guessed",
        "sync/notes.py",
        "    return ours if theirs == begun else None\n",
        "    return ours\n",
    ),
    Rule(
        "versions are merged only over what all had seen",
        "sync/notes.py",
        "if all(saw(each.stamp, one.stamp) for each in self._standing)]",
        "if True]",
    ),
    # Choices and what is told.
    Rule(
        "only what its author had seen can be chosen",
        "sync/fold.py",
        "return named is not None and saw(stamp, named.stamp)\n\n",
        "return named is not None\n\n",
    ),
    Rule(
        "what builds on an unknown op is not called wrong",
        "sync/fold.py",
        "if wrong and any(saw(stamp, one) for one in self._unknown):",
        "if wrong and not self._unknown and False:",
    ),
    Rule(
        "the order of exercises is no conflict",
        "sync/conflicts.py",
        'UNDISPUTED: Final = frozenset({"position"})',
        "UNDISPUTED: Final[frozenset[str]] = frozenset()",
    ),
    Rule(
        "equal values are no conflict",
        "sync/conflicts.py",
        "if same(one.value, other.value):",
        "if False:",
    ),
    Rule(
        "late sets are told",
        "sync/conflicts.py",
        'yield {"flag": "late_sets", "sets": sets, "devices": devices}',
        "yield from ()",
    ),
    Rule(
        "a removal against an edit is told",
        "sync/conflicts.py",
        "        if against:\n",
        "        if False:\n",
    ),
    Rule(
        "concurrent edges are told",
        "sync/conflicts.py",
        'yield {"flag": "concurrent_transitions", "status": STATUS[w.state], "edges": edges}',
        "yield from ()",
    ),
    # Merged workouts.
    Rule(
        "of workouts merged in a circle the smallest id holds the others",
        "engine/combine.py",
        "return min(path[path.index(into) :])",
        "return into",
    ),
    Rule(
        "a merged workout stands for itself while the other is not there",
        "engine/combine.py",
        "return w.merged_into == into.id and into.known and not into.removed",
        "return w.merged_into == into.id",
    ),
    # The op log.
    Rule(
        "a context never goes back",
        "sync/log.py",
        "max(named.base, position.base)",
        "named.base",
    ),
    Rule(
        "a counter ahead is a gap",
        "sync/log.py",
        "    if first > position.next_n:\n",
        "    if False:\n",
    ),
    Rule(
        "a base beyond the head is refused",
        "sync/log.py",
        "if op.base is not None and op.base > head:",
        "if False:",
    ),
    Rule(
        "the same counter with other content is an equivocation",
        "sync/log.py",
        "    if op_hash(op.raw) != hash_of(stored):\n",
        "    if False:\n",
    ),
    Rule(
        "effective time is not after receipt",
        "sync/log.py",
        "if te > received:",
        "if False:",
    ),
    Rule(
        "effective time is not before the device's previous op",
        "sync/log.py",
        "if corrected > te:",
        "if True:",
    ),
    Rule(
        "a record that comes twice counts once",
        "sync/fold.py",
        "        if record.seq <= self.w.seq:\n            return\n",
        "",
    ),
]
