"""Registers: how much of what was replaced a cell remembers."""

from __future__ import annotations

from fitai.engine.entities import SetRow
from fitai.engine.ops import Dot, Stamp
from fitai.sync import registers
from fitai.sync.registers import KEPT


def test_of_every_field_the_last_replaced_writes_can_be_chosen_and_no_more_is_kept_for_long() -> None:
    row = SetRow("0198c1f2-8c11-7d02-b1f0-0f6f3f2ab9d1")
    written = {"rpe": range(1, 41), "reps": range(41, 5_000)}
    for field, places in written.items():
        for n in places:
            assert not registers.write(row, field, n % 10, Stamp(n, 1, n, n, n - 1))
            assert row.past is None or len(row.past) < 256
    for field, places in written.items():
        dots = [Dot(1, n) for n in places]
        assert [one.stamp.dot for one in registers.replaced(row, field)] == dots[-KEPT - 1 : -1]
        assert registers.find(row, field, dots[-KEPT - 1]) is not None
        assert registers.find(row, field, dots[-KEPT - 2]) is None
        assert registers.find(row, field, dots[-1]) is not None
