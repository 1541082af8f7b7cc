"""How easily a password is guessed, by zxcvbn: it knows the common ones, names, dates, keys side by side, and
what people do to disguise them.

There are no rules of composition (NIST SP 800-63B, 3.1.1.2): they make passwords no harder to guess. What is
weighed is the password as it is compared, in NFKC. Of a long one only the beginning is weighed, since the
cost of weighing grows faster than the length, and what follows only makes it harder to guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from zxcvbn import zxcvbn

WEIGHED = 72  # code points
ENOUGH = 3  # of 4, and at least 10^8 guesses: our hash is slow and logins are counted

_WORD = re.compile(r"\w{3,}")
OURS = ("fitai", "workout")  # told in SECURITY.md


@dataclass(frozen=True, slots=True)
class Weakness:
    """Why a password is too easily guessed and what would help, in English."""

    warning: str
    suggestions: list[str]


def weakness(password: str, about: Iterable[str | None] = ()) -> Weakness | None:
    """Why `password` (normalised) is too weak, None when it is not. `about` is what others know of the person
    (the address, the name): it and its words are as guessable as the most common password."""
    told = [text[:WEIGHED] for text in about if text]
    words = [word for text in told for word in _WORD.findall(text)]
    words += ["".join(_WORD.findall(text)) for text in told]
    result = zxcvbn(password[:WEIGHED], user_inputs=[*OURS, *told, *words], max_length=WEIGHED)
    if result["score"] >= ENOUGH:
        return None
    feedback = result["feedback"]
    return Weakness(
        feedback["warning"] or "This password can be guessed too easily.",
        list(feedback["suggestions"]) or ["Add another word or two. Uncommon words are better."],
    )
