from __future__ import annotations

import math

from fitai.http.auth import otp


def test_recovery_codes_are_so_random_that_a_plain_hash_hides_them():
    codes = [otp.compacted(code) for _ in range(100) for code in otp.new_recovery_codes()]
    letters = set("".join(codes))

    assert len(set(codes)) == 100 * otp.RECOVERY_CODES
    assert {len(code) for code in codes} == {24}
    # 24,000 letters: each of the alphabet is among them, at each place.
    assert all({code[place] for code in codes} == letters for place in range(24))
    assert 24 * math.log2(len(letters)) >= 112


def test_a_secret_for_an_app_has_160_bits():
    secrets = {otp.new_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert {len(secret) * 5 for secret in secrets} == {160}
