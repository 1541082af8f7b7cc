"""What is taken out of texts and fields: by name, by shape, by value; and what must be left."""

from __future__ import annotations

import base64
import uuid
from random import Random

import jwt
import pytest

from fitai.app.redaction import GONE, LONGEST, WITHHELD, Redactor, secrets_of
from fitai.app.settings import Settings

PLAIN = Redactor()


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "new_password",
        "passwd",
        "access_token",
        "refresh-token",
        "token",
        "Authorization",
        "Cookie",
        "set-cookie",
        "otp",
        "totp_secret",
        "sentry_dsn",
        "api_key",
        "weight",
        "load",
        "reps",
        "body_weight",
        "body_weight_ug",
        "weight_ug",
        "sex",
        "hr",
        "heart_rate",
        "note",
        "notes",
        "value",
        "email",
        "body",
    ],
)
def test_a_field_that_says_too_much_says_nothing(name):
    assert PLAIN.fields({name: "x1", "in": {"deeper": [{name: 82.5}]}}) == {
        name: GONE,
        "in": {"deeper": [{name: GONE}]},
    }


def test_what_an_operator_needs_is_left():
    fields = {
        "event": "append waits for the database",
        "user": str(uuid.uuid4()),
        "request_id": uuid.uuid4().hex,
        "trace": uuid.uuid4().hex,
        "route": "/workouts/shared/{share}",
        "path": "/home/some_folder/test_a_long_name_of_a_function_that_somebody_wrote.py",
        "ms": 1.5,
        "ops": 3,
        "device": 2,
        "code": "token_expired",
        "error": "ConnectionRefusedError: [Errno 111] Connect call failed ('10.0.0.1', 5432)",
        "redis": "redis://cache:6379/0",
        "ok": True,
        "none": None,
    }
    assert PLAIN.fields(fields) == fields


def test_many_ops_are_a_number_or_nothing():
    assert PLAIN.fields({"ops": 7, "records": [{"n": 1}]}) == {"ops": 7, "records": GONE}


DICE = Random(7)
SECRET = base64.urlsafe_b64encode(DICE.randbytes(32)).decode().rstrip("=")  # as secrets.token_urlsafe(32)
HASH = DICE.randbytes(32).hex()
TOKEN = jwt.encode({"sub": "ada"}, "k" * 32, algorithm="HS256")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"GET /x?token={TOKEN}", TOKEN),
        (f"what came was {TOKEN}", TOKEN),
        ("it was fitai_pat_abcdefghijklmnop", "abcdefghijklmnop"),
        ("Authorization: Bearer abcdefgh12", "abcdefgh12"),
        ("sent 'Basic YWRhOmxvdmVsYWNl'", "YWRhOmxvdmVsYWNl"),
        ("{'password': 'it is \\'quoted\\' here', 'n': 1}", "quoted"),
        ('{"refresh_token":"short"}', "short"),
        ("password=hunter2&x=1", "hunter2"),
        ("otp: 123456", "123456"),
        ("new_password = hunter2", "hunter2"),
        ("Cookie: a=b; session=c", "a=b"),
        (f"nothing around it {SECRET} at all", SECRET),
        (f"hash {HASH}!", HASH),
        ("postgresql://fitai:s3cr3t@db/fitai is away", "s3cr3t"),
        ("https://0123abc@sentry.example.com/1", "0123abc"),
        ("no account of ada.lovelace+gym@example.co.uk here", "lovelace"),
        ("{'load': {'value': 82.5, 'unit': 'kg'}, 'reps': 8}", "82.5"),
        ("Op(kind='set.log', value={'reps': 817}, at=1)", "817"),
        ("hr=173, cadence=90", "173"),
        ("note: 'knee hurts'", "knee"),
        ("error\nDETAIL:  Key (email)=(ada@x.org) already exists.", "ada"),
        ("DETAIL:  Failing row contains (1, knee hurts, 82.5).", "knee"),
    ],
)
def test_a_shape_of_a_secret_is_taken_out_of_any_text(text, secret):
    told = PLAIN.text(text)
    assert "[" in told
    assert secret not in told


def test_the_settings_own_secrets_are_found_by_value():
    settings = Settings(
        _env_file=None,
        secret_key="words that are no shape of any secret",
        metrics_token="operators say friend",
        database_url="postgresql://fitai:p%40ss word@db/fitai",
        redis_url="redis://:rather plain@cache/0",
        sentry_dsn="http://plainkey@127.0.0.1:9/1",
        otlp_url="http://name:collected@127.0.0.1:4318",
        moderation_url="http://fitai:in+between@127.0.0.1:9/messages",
        moderation_secret="it signs what is asked",
    )
    known = secrets_of(settings)
    redactor = Redactor.of(settings)
    for secret in (
        "words that are no shape of any secret",
        "operators say friend",
        "p%40ss word",
        "p@ss word",
        "rather plain",
        "plainkey",
        "collected",
        "in+between",
        "it signs what is asked",
    ):
        assert secret in known
        assert secret not in redactor.text(f"it was {secret}.")


def test_what_could_begin_a_line_or_move_a_cursor_is_written_out():
    told = PLAIN.text("a\r\nb\x1b[2Jc\u2028d\x85e\u202ef\udc80\x00")
    assert told == "a\\x0d\\x0ab\\x1b[2Jc\\u2028d\\x85e\\u202ef\\udc80\\x00"
    assert PLAIN.fields({"a\nb": ["c\nd"]}) == {"a\\x0ab": ["c\\x0ad"]}


def test_a_text_without_end_has_one_and_takes_no_time():
    for endless in ("x" * 10_000_000, "a-" * 5_000_000, "password=" * 1_000_000, "aA1" * 4_000_000):
        assert len(PLAIN.text(endless)) <= LONGEST * 2


def test_what_can_not_be_told_is_named():
    class Mute:
        def __str__(self):
            raise RuntimeError

    deep: list = []
    for _ in range(50):
        deep = [deep]
    told = PLAIN.fields({"mute": Mute(), "deep": deep, "kind": Mute})
    assert told["mute"] == "<Mute>"
    assert GONE in str(told["deep"])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("82.5"), WITHHELD),
        (KeyError("knee hurts"), WITHHELD),
        (RuntimeError("82.5"), WITHHELD),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (
            AttributeError("'NoneType' object has no attribute 'rev'"),
            "'NoneType' object has no attribute 'rev'",
        ),
        (TimeoutError("password=hunter2"), f"password={GONE}"),
    ],
)
def test_an_exception_keeps_what_can_quote_nobody(error, said):
    assert PLAIN.message(error) == said
    assert PLAIN.fields({"why": error})["why"] == f"{type(error).__name__}: {said}"
    assert WITHHELD not in Redactor(debug=True).message(error)


def test_a_traceback_tells_causes_contexts_groups_and_loops():
    load = "82.5"

    def fail():
        try:
            try:
                raise ValueError("first\nforged")
            except ValueError:
                raise KeyError("second")  # noqa: B904 - in the context of the first
        except KeyError as error:
            raise ExceptionGroup(load, [OSError("no\nroom"), ValueError("3")]) from error

    try:
        fail()
    except ExceptionGroup as error:
        error.exceptions[0].__cause__ = error  # round and round
        told = PLAIN.traceback((type(error), error, error.__traceback__))
    last = told.splitlines()
    for line in (
        f"ValueError: {WITHHELD}",
        "During the handling of the above exception:",
        f"KeyError: {WITHHELD}",
        "The above exception was the direct cause of this one:",
        f"ExceptionGroup: {WITHHELD}",
        "  | OSError: no\\x0aroom",
    ):
        assert line in last
    assert load not in told
