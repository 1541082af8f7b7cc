from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from fitai.gateways.mail.letters import LETTERS, Post, ResetPassword, VerifyEmail, letter


@pytest.mark.parametrize("link", ["/reset?token=x-_.~&a=1", "/", "/#/reset/x", "/a/b%20c"])
def test_a_link_is_a_path_of_this_server(link):
    assert VerifyEmail(link=link, minutes=1).link == link


@pytest.mark.parametrize(
    "link",
    [
        "",
        "x",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/a b",
        "/a\n",
        "/a\r\nBcc: x",
        "/ü",
    ],
)
def test_a_link_is_nothing_else(link):
    with pytest.raises(ValidationError):
        VerifyEmail(link=link, minutes=1)


def test_a_payload_is_json_and_comes_back_as_the_same_letter():
    what = ResetPassword(link="/reset?token=x", minutes=30, name="Ada")
    payload = letter("ada@example.com", what, "de-AT")
    post = Post.model_validate(json.loads(json.dumps(payload)))
    assert (post.to, post.locale, post.letter()) == ("ada@example.com", "de-AT", what)
    assert set(payload) == {"to", "template", "locale", "values"}


def test_a_misspelt_value_is_found_where_the_letter_is_put():
    with pytest.raises(ValidationError):
        ResetPassword(link="/x", minutes=30, nmae="Ada")  # type: ignore[call-arg]


def test_each_letter_has_a_name_of_its_own():
    assert {name: model.template for name, model in LETTERS.items()} == {name: name for name in LETTERS}
    assert {
        "verify_email",
        "reset_password",
        "password_changed",
        "email_changed",
        "new_sign_in",
        "account_deletion",
        "totp_changed",
        "messages_reported",
    } <= set(LETTERS)
