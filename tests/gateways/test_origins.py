from __future__ import annotations

import pytest

from fitai.gateways.origins import normal, origins

APP = "https://app.example.com"

# What looks like an allowed origin to a careless eye, or to a careless comparison.
STRANGERS = [
    "null",
    "",
    "*",
    "app.example.com",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com:443",
    "https://app.example.com.",
    "https://app.example.com/",
    "https://APP.example.com",
    "HTTPS://app.example.com",
    "https://app.example.com.evil.com",
    "https://evil-app.example.com",
    "https://evilapp.example.com",
    "https://app.example.comevil.com",
    "https://app.example.com@evil.com",
    "https://evil.com#https://app.example.com",
    "https://sub.app.example.com",
    "https://app-example.com",
    "https://appXexample.com",
    "https://xn--pp-fka.example.com",
    "https://\u0430pp.example.com",  # a Cyrillic letter
    "https://app.example.com, https://evil.com",
    "https://app.example.com https://evil.com",
    " https://app.example.com",
    "file://",
    "chrome-extension://abcdefghijklmnop",
]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_an_origin_is_compared_as_a_whole(stranger):
    rule = origins([APP], "https://fit.example.com")

    assert not rule.shared_with(stranger)
    assert not rule.trusted(stranger)
    assert not rule.admits(stranger, "fit.example.com")


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("https://APP.example.com:443", APP),
        ("HTTPS://app.example.com", APP),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://fit.example.com/below", "https://fit.example.com"),
    ],
)
def test_people_may_spell_an_origin_as_they_like(written, spelled):
    assert normal(written) == spelled
    assert origins([written]).trusted(spelled)


def test_who_sends_no_origin_is_no_page():
    assert origins().admits(None, "fit.example.com")
    assert not origins(["*"]).shared_with(None), "nobody to share with"


def test_our_own_origin_is_the_public_url_and_nothing_that_a_caller_says():
    rule = origins(public_url="https://fit.example.com/below")

    assert rule.admits("https://fit.example.com", "10.0.0.1:8080")
    assert not rule.admits("http://fit.example.com", "fit.example.com")
    assert not rule.admits("https://evil.example.com", "evil.example.com")


def test_without_a_public_url_our_own_origin_is_the_host_that_was_called():
    rule = origins()

    for own in ("http://127.0.0.1:8080", "https://127.0.0.1:8080"):
        assert rule.admits(own, "127.0.0.1:8080")
    assert not rule.admits("http://127.0.0.1:9999", "127.0.0.1:8080")
    assert not rule.admits("null", "")
    assert not rule.admits("http://", "")


def test_all_may_call_and_only_those_who_are_listed_with_cookies():
    rule = origins(["*", APP])

    assert rule.shared_with("https://any.example.com") and rule.admits("null", "x")
    assert not rule.trusted("https://any.example.com")
    assert not rule.trusted("*")
    assert rule.trusted(APP)
