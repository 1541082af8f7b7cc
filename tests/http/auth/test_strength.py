from __future__ import annotations

import pytest
from zxcvbn import zxcvbn
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from fitai.http.auth.passwords import LONGEST, SHORTEST
from fitai.http.auth.strength import ENOUGH, weakness

COMMON = [password for password in FREQUENCY_LISTS["passwords"] if SHORTEST <= len(password) <= LONGEST]


def test_each_of_the_3000_most_common_passwords_is_refused():
    assert len(COMMON[:3000]) == 3000
    assert [password for password in COMMON[:3000] if weakness(password) is None] == []


@pytest.mark.parametrize("password", ["fitai2026", "f1tai!2026", "fitai.app", "fitaiworkout", "fitaifitness"])
def test_words_of_this_product_add_nothing(password):
    assert zxcvbn(password)["score"] >= ENOUGH, "elsewhere it would do"
    assert weakness(password) is not None


@pytest.mark.parametrize(
    "about", ["lovelace-kowalska@example.org", "Lovelace Kowalska", "LOVELACE  kowalska"]
)
def test_what_others_know_of_the_person_adds_nothing(about):
    for password in ("lovelacekowalska", "Kowalska2026"):
        assert weakness(password) is None, "of somebody else it would do"
        assert weakness(password, [None, about]) is not None
