"""Token buckets."""

from __future__ import annotations

from fitai.gateways.live.rates import Bucket


def test_a_bucket_gives_its_burst_then_its_rate_and_says_how_long_to_wait() -> None:
    bucket = Bucket(per_s=10, burst=5, now=0)
    assert bucket.take(8, 0) == 5
    assert bucket.take(1, 50) == 0
    wait = bucket.wait_ms(50)
    assert bucket.take(1, 50 + wait) == 1
    assert bucket.take(10, 60_000) == 5


def test_a_clock_that_goes_back_refills_nothing_and_takes_nothing_away() -> None:
    bucket = Bucket(per_s=1, burst=2, now=1_000_000)
    assert bucket.take(2, 1_000_000) == 2
    assert bucket.take(1, 0) == 0
    assert bucket.take(1, 1_001_000) == 1


def test_tokens_of_refused_work_come_back_up_to_the_burst() -> None:
    bucket = Bucket(per_s=0.001, burst=3, now=0)
    assert bucket.take(3, 0) == 3
    bucket.give_back(2)
    assert bucket.take(3, 0) == 2
    bucket.give_back(99)
    assert bucket.take(99, 0) == 3
