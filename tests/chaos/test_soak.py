"""The soak, tiny: that it runs, and that it would see what it is for."""

from __future__ import annotations

import pytest

from tests.chaos import soak
from tests.chaos.soak import Samples


def test_growth_is_seen_and_noise_is_not():
    at = [float(second) for second in range(0, 300, 5)]
    noise = [(second * 7919) % 13 / 10 for second in range(len(at))]
    flat = Samples(at, [100 + bump for bump in noise], {"files": [50 + bump for bump in noise]})
    assert abs(flat.slope) < 0.2
    assert flat.growing == []
    leaking = Samples(at, [100 + t / 60 * 2 for t in at], {"files": [50 + t / 10 for t in at]})
    assert leaking.slope == pytest.approx(2)
    assert leaking.growing == ["files: 55, later 75"]
    assert leaking.since(200).at[0] == 200


async def test_people_come_train_and_go_and_every_op_is_there(monkeypatch):
    monkeypatch.setattr(soak, "PEOPLE", 4)
    monkeypatch.setattr(soak, "STAY_S", 2.0)
    monkeypatch.setattr(soak, "SAMPLE_S", 0.3)
    figures, wrong = await soak.soak(0.1, probe_s=2.0)
    assert [each for each in wrong if not each.startswith("node")] == []
    found = {figure.name: figure for figure in figures}
    assert 0 < found["soak"].median < found["capacity"].median
    for node in ("node 0", "node 1"):
        assert found[f"{node}: memory"].median > 20
        assert found[f"{node}: connections"].most >= 1
        assert found[f"{node}: tasks"].least > 1
