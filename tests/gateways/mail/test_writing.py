"""Letters in words and in headers: every one in every language, and what cannot be smuggled into them."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser

import pytest

from fitai.gateways.mail.letters import LETTERS as MODELS
from fitai.gateways.mail.letters import EmailChanged, NewSignIn, ResetPassword, VerifyEmail
from fitai.gateways.mail.writing import FOLDER, body_of, candidates, plain, recipient, sender
from tests.gateways.mail.kit import LETTERS, NOW, URL, written

LOCALES = sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir())


def arrived(message):
    """As whoever receives it reads it."""
    return message_from_bytes(message.as_bytes(), policy=default)


class Page(HTMLParser):
    """Which elements there are, and where links lead."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.links, self.words = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data):
        self.words += data


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("letter", LETTERS, ids=lambda letter: letter.template)
def test_each_letter_can_be_read_in_each_language(letter, locale):
    message = arrived(written(letter, locale=locale))
    assert message["Content-Language"] == locale
    assert 5 < len(message["Subject"]) < 80
    text, page = body_of(message), Page(body_of(message, "html"))
    link = getattr(letter, "link", None)
    if link is None:
        assert page.links == []
    else:
        assert URL + link in text
        assert page.links == [URL + link]
    for field in ("device", "address", "new_email"):
        if getattr(letter, field, None):
            assert getattr(letter, field) in text
            assert getattr(letter, field) in page.words
    for whole in (text, page.words):
        assert "{" not in whole and "None" not in whole
    assert "script" not in page.elements and "img" not in page.elements


def test_english_has_every_letter_and_no_language_has_one_that_is_none():
    for locale in LOCALES:
        texts = {path.stem for path in (FOLDER / locale).glob("*.txt")} - {"base"}
        pages = {path.stem for path in (FOLDER / locale).glob("*.html")} - {"base"}
        assert texts == pages <= set(MODELS)
    assert {path.stem for path in (FOLDER / "en").glob("*.txt")} == {*MODELS, "base"}


def test_the_nearest_language_is_taken_and_english_at_last():
    for asked, got in {
        "de-AT": "de",
        "de": "de",
        "DE_at": "de",
        "de-Latn-CH-1996": "de",
        "en-GB": "en",
        "fr-CA": "en",
        "": "en",
        "../../etc": "en",
        "de/../en": "en",
        None: "en",
    }.items():
        assert written(locale=asked)["Content-Language"] == got, asked
    assert candidates("de-AT") == ["de-at", "de", "en"]
    german, english = (body_of(written(locale=locale)) for locale in ("de-AT", None))
    assert german.startswith("Hallo Ada,") and english.startswith("Hello Ada,")


def test_the_headers_are_those_of_a_program_that_repeats_itself():
    once, twice = arrived(written(job="0192f3c4")), arrived(written(job="0192f3c4"))
    assert once["Message-ID"] == twice["Message-ID"] == "<0192f3c4@fit.example.com>"
    assert once["Auto-Submitted"] == "auto-generated"
    assert once["From"] == "FitAI <no-reply@fit.example.com>"
    assert once["To"] == "ada@example.com"
    assert once["Date"].datetime.timestamp() * 1000 == NOW
    assert len(once.get_all("To")) == 1
    assert [part.get_content_type() for part in once.iter_parts()] == ["text/plain", "text/html"]


def test_durations_and_moments_are_said_as_the_language_says_them():
    for minutes, english, german in [
        (1, "one minute", "eine Minute"),
        (30, "30 minutes", "30 Minuten"),
        (60, "one hour", "eine Stunde"),
        (90, "90 minutes", "90 Minuten"),
        (120, "2 hours", "2 Stunden"),
        (1440, "24 hours", "24 Stunden"),
        (4320, "3 days", "3 Tage"),
    ]:
        letter = VerifyEmail(link="/x", minutes=minutes)
        assert f"works for {english}." in body_of(written(letter))
        assert f"gilt {german}." in body_of(written(letter, locale="de"))
    changed = EmailChanged(at=NOW, new_email="b@example.com")
    assert "On 2026-11-25 at 09:46 UTC" in body_of(written(changed))
    assert "Am 25.11.2026 um 09:46 Uhr (UTC)" in body_of(written(changed, locale="de"))


INJECTIONS = [
    "x\r\nBcc: eve@example.com",
    "x\nBcc: eve@example.com",
    "x\rBcc: eve@example.com",
    "x\x00y",
    "x\u2028Bcc: eve",
    "x\u0085Bcc: eve",
]


@pytest.mark.parametrize("bad", INJECTIONS)
def test_no_header_can_be_smuggled_in_by_a_name_or_a_device(bad):
    for letter in (
        VerifyEmail(link="/x", minutes=5, name=bad),
        NewSignIn(at=NOW, device=bad, link="/x", address=bad),
        EmailChanged(at=NOW, new_email=bad),
        ResetPassword(link="/x", minutes=5, address=bad),
    ):
        raw = written(letter).as_bytes()
        message = message_from_bytes(raw, policy=default)
        assert message["Bcc"] is None
        assert message.get_all("To") == ["ada@example.com"]
        assert not re.search(rb"(?m)^Bcc", raw.partition(b"\r\n\r\n")[0])


@pytest.mark.parametrize(
    "bad",
    [
        *(f"ada@example.com{bad}" for bad in INJECTIONS),
        "a@example.com, b@example.com",
        "a@example.com;b@example.com",
        "Ada <ada@example.com>",
        "<ada@example.com>",
        '"a b"@example.com',
        "a(comment)@example.com",
        "ada",
        "@example.com",
        "ada@",
        "ada@example..com",
        "",
    ],
)
def test_it_goes_to_one_plain_address_or_nowhere(bad):
    with pytest.raises(ValueError):
        written(to=bad)


def test_addresses_beyond_ascii_keep_their_meaning():
    assert str(recipient("ada@exämple.com")) == "ada@xn--exmple-cua.com"
    assert arrived(written(to="ada@exämple.com"))["To"] == "ada@xn--exmple-cua.com"
    assert recipient("jörg@example.com").addr_spec == "jörg@example.com"
    assert recipient("o'hara+fit@example.com").addr_spec == "o'hara+fit@example.com"


@pytest.mark.parametrize(
    "bad", ["visit evil.example", "http://evil.example/x", "www.evil", "a@evil.example", "//evil", "evil.com"]
)
def test_a_name_that_reads_like_a_link_is_not_shown(bad):
    message = written(VerifyEmail(link="/x", minutes=5, name=bad))
    for kind in ("plain", "html"):
        assert "evil" not in body_of(message, kind)
    assert body_of(message).startswith("Hello,")


def test_names_are_shown_on_one_line_and_not_for_ever():
    assert plain("  Ada\tLovelace\n") == "Ada Lovelace"
    assert plain("J. R. R. Tolkien") == "J. R. R. Tolkien"
    assert plain("Pixel 9.1") == "Pixel 9.1"
    assert plain("x" * 500) == "x" * 59 + "…"
    assert plain(None) == ""


def test_html_escapes_what_people_called_things():
    bad = "<img src=x onerror=alert(1)>"
    for letter in (
        NewSignIn(at=NOW, device=bad, link="/x?a=1&b=2", name=bad),
        EmailChanged(at=NOW, new_email=bad, link="/x"),
    ):
        page = Page(body_of(written(letter), "html"))
        assert "img" not in page.elements
        assert bad in page.words
    assert Page(body_of(written(LETTERS[0]), "html")).links == [f"{URL}/verify?token=x&y=1"]


def test_text_escapes_nothing():
    letter = NewSignIn(at=NOW, device="Ada & Bob's <phone>", link="/x?a=1&b=2")
    text = body_of(written(letter))
    assert "Ada & Bob's <phone>" in text
    assert f"{URL}/x?a=1&b=2" in text


@pytest.mark.parametrize(
    "bad", ["", "FitAI", "FitAI <>", "a@b, c@d", "FitAI <a@b>\nBcc: x", "Fit\rAI <a@b.c>"]
)
def test_a_sender_is_one_address_with_or_without_a_name(bad):
    with pytest.raises(ValueError):
        sender(bad)
    assert str(sender("FitAI <no-reply@fit.example.com>")) == "FitAI <no-reply@fit.example.com>"
    assert str(sender("no-reply@fit.example.com")) == "no-reply@fit.example.com"
