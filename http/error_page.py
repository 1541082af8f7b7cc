"""The catalogue of errors as a page for people: what each code means, what to do, which routes answer it."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from fitai.http.frame import Route
from fitai.http.live_page import TEMPLATES
from fitai.http.problems import CATALOGUE


def render(routes: Iterable[Route]) -> str:
    """The page; an anchor each code, which the `type` of a problem names."""
    by_status: dict[int, list[str]] = {}
    for code, kind in CATALOGUE.items():
        by_status.setdefault(kind.status, []).append(code)
    answering: dict[str, list[str]] = {code: [] for code in CATALOGUE}
    for route in routes:
        for code in route.errors:
            answering[code].append(f"{route.method} {route.path}")
    return TEMPLATES.get_template("errors.html").render(
        statuses=[
            (f"{status} {HTTPStatus(status).phrase}", [(code, CATALOGUE[code]) for code in codes])
            for status, codes in sorted(by_status.items())
        ],
        routes=answering,
    )
