from __future__ import annotations

import pytest

from fitai.persistence.sealed import Seal, Unsealable

SECRET = "a secret for tests, which is long enough"


def test_what_is_sealed_can_be_opened_in_its_place():
    sealed = Seal(SECRET, "totp").seal(b"JBSWY3DP", "ada")
    assert Seal(SECRET, "totp").open(sealed, "ada") == b"JBSWY3DP"
    assert b"JBSWY3DP" not in sealed


def test_equal_secrets_look_different():
    seal = Seal(SECRET, "totp")
    assert seal.seal(b"x", "ada") != seal.seal(b"x", "ada")


@pytest.mark.parametrize(
    ("key", "purpose", "place"),
    [(SECRET + "r", "totp", "ada"), (SECRET, "signing-key", "ada"), (SECRET, "totp", "bob")],
)
def test_another_key_purpose_or_place_opens_nothing(key, purpose, place):
    sealed = Seal(SECRET, "totp").seal(b"x", "ada")
    with pytest.raises(Unsealable):
        Seal(key, purpose).open(sealed, place)


def test_a_changed_bit_anywhere_is_noticed():
    seal = Seal(SECRET, "totp")
    sealed = seal.seal(b"secret", "ada")
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 1
        with pytest.raises(Unsealable):
            seal.open(bytes(changed), "ada")


@pytest.mark.parametrize("damaged", [b"", b"\x01", b"\x01" + b"x" * 12, b"\x02" + b"x" * 40])
def test_what_was_never_sealed_is_refused(damaged):
    with pytest.raises(Unsealable):
        Seal(SECRET, "totp").open(damaged, "ada")
