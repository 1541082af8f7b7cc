"""What a node that serves says of what it does: every line, of real flows, with secrets and health data
planted in each place where a person's device puts them, and with failures where these are at hand."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid

import pytest
import socketio
import structlog
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from fitai.app.redaction import GONE, WITHHELD
from fitai.persistence.database import Unavailable
from fitai.persistence.models import User
from fitai.sync.place import Placer
from tests.app.node import lines, serving, settings_of, told
from tests.gateways.conftest import new_id

PASSWORD = "Xk7-planted-password"
NOTE = "planted knee hurts badly"
LOAD = 817.261
HEART_RATE = 173_911
COOKIE = "planted-cookie-value"
OTP = "620417"
OPERATORS = "planted operators token"
DSN_KEY = "planteddsnkey"


def only(out, event):
    return [line for line in lines(out) if line["event"] == event]


async def everything(here):
    """Sign-ins, good and bad; pushes over REST and the socket; telemetry, a note; all that is refused.
    Returns what must not be found."""
    session = await here.register(PASSWORD)
    access, refresh = session["access_token"], session["refresh_token"]
    planted = [PASSWORD, NOTE, str(LOAD), str(HEART_RATE), COOKIE, OTP, OPERATORS, DSN_KEY, access, refresh]
    planted += [session["user"]["email"], here.node.settings.signing_key]
    me = {"Authorization": f"Bearer {access}", "Cookie": f"s={COOKIE}"}
    wrong = {
        "email": session["user"]["email"],
        "password": PASSWORD + "!",
        "otp": OTP,
        "device": {"name": "x"},
    }
    await here.call("POST", "/auth/login", wrong)
    await here.call("POST", "/auth/refresh", {"refresh_token": refresh + "x"})
    await here.call("POST", f"/workouts?token={access}", {"title": NOTE}, **me)
    await here.call("POST", "/workouts", {"title": 5, "note": NOTE}, **me)
    await here.call("GET", f"/workouts/shared/{access}", **me)
    await here.call("GET", f"/nowhere/{PASSWORD}", **me)
    await here.call("GET", "/metrics", Authorization=f"Bearer {OPERATORS}")
    await here.call("GET", "/auth/devices", Authorization=f"Bearer {access}x")
    async with here.wire(session) as wire:
        workout, entry = new_id(), new_id()
        await wire.push(
            wire.op("workout.create", workout, {"title": NOTE}), wire.op("workout.start", workout)
        )
        await wire.push(
            wire.op("exercise.add", workout, {"exercise": "squat", "position": "a"}, entry),
            wire.op("note.set", workout, {"text": NOTE}),
            wire.op(
                "set.log",
                workout,
                {
                    "exercise_entry": entry,
                    "type": "working",
                    "load": {"value": LOAD, "unit": "kg"},
                    "reps": 5,
                },
                new_id(),
            ),
        )
        await wire.call("telemetry", {"workout": workout, "hr": HEART_RATE})
        await wire.call("auth", {"token": access + "x"})
        await wire.call("push", {"ops": [NOTE, LOAD, access]})
        await wire.call(f"no such {NOTE}", {"hr": HEART_RATE})
        op = wire.op("note.set", workout, {"text": NOTE}) | {"clock": {"1": LOAD}}
        await wire.call("push", {"ops": [op]})
        wire.next_n -= 1
        op = {
            "n": wire.next_n + 3,
            "base": 0,
            "kind": "note.set",
            "workout": workout,
            "value": {"text": NOTE},
        }
        await here.call("POST", "/sync/push", {"ops": [{**op, "at": 1}]}, **me)
    return planted


def failing(*arguments):
    """Stands in for the placing of ops: a failure that quotes all that it was given."""
    placed = repr(arguments[2])
    try:
        raise KeyError(placed)
    except KeyError as error:
        raise ValueError(f"cannot place {placed} with password={PASSWORD}") from error


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_no_line_of_real_flows_and_real_failures_tells_what_was_planted(tmp_path, monkeypatch, level):
    settings = settings_of(
        tmp_path,
        log_level=level,
        metrics_token=OPERATORS,
        sentry_dsn=f"http://{DSN_KEY}@127.0.0.1:9/1",
        trace_share=0,
    )
    with told(settings) as out:
        async with serving(settings) as here:
            planted = await everything(here)
            session = await here.register(PASSWORD)
            monkeypatch.setattr(Placer, "place_all", failing)
            async with here.wire(session) as wire:
                answer = await wire.push(wire.op("workout.create", new_id(), {"title": f"title={NOTE}"}))
            assert answer["code"] == "unavailable"
            me = {"Authorization": f"Bearer {session['access_token']}"}
            assert (await here.call("POST", "/workouts", {"title": NOTE}, **me))[0] == 500
    text = out.getvalue()
    if level == "debug":  # where exceptions keep their messages, what has no shape may be in them
        planted = [secret for secret in planted if secret not in (NOTE, str(LOAD), str(HEART_RATE))]
    assert [secret for secret in planted if secret in text] == []
    failures = [line for line in lines(out) if "exception" in line]
    assert {line["event"] for line in failures} == {"push_failed", "request_failed"}
    for line in failures:
        assert "in failing" in line["exception"]
        assert f"KeyError: {WITHHELD}" in line["exception"] or level == "debug"
        assert line["user"] == session["user"]["id"]
    if level == "debug":
        assert f"password={GONE}" in text


async def test_a_request_is_one_line_with_route_status_time_and_bytes(tmp_path):
    settings = settings_of(tmp_path)
    with told(settings) as out:
        async with serving(settings) as here:
            session = await here.register()
            me = {"Authorization": f"Bearer {session['access_token']}"}
            body = {"title": "Legs"}
            _, workout = await here.call("POST", "/v1/workouts", body, X_Request_Id="mine-1", **me)
            await here.call("GET", f"/workouts/{workout['id']}", **me)
            op = {"n": 1, "base": 0, "kind": "workout.create", "workout": new_id(), "value": {}, "at": 1}
            await here.call("POST", "/sync/push", {"ops": [op, {**op, "n": 2}]}, **me)
            await here.call("GET", "/nowhere/at/all")
            await here.call("GET", "/health")
            async with here.http.get(
                here.url + "/sync/void", headers={**me, "Accept": "text/csv"}
            ) as response:
                assert await response.read()
    registered, created, read, pushed, lost, exported = only(out, "request")  # and none of /health
    assert (registered["route"], registered["status"], "user" in registered) == ("/auth/register", 201, False)
    assert created["request_id"] == "mine-1"
    assert (created["method"], created["route"], created["status"]) == ("POST", "/v1/workouts", 201)
    assert (created["user"], created["device"]) == (session["user"]["id"], session["device"]["id"])
    assert created["received"] == len('{"title": "Legs"}')
    assert created["sent"] > 100
    assert 0 < created["ms"] < 60_000
    assert (read["route"], read["received"]) == ("/workouts/{id}", 0)
    assert (pushed["route"], pushed["ops"]) == ("/sync/push", 2)
    assert (lost["route"], lost["status"], lost["blame"]) == ("(unknown)", 404, "client")
    assert (exported["sent"], exported["status"]) == (None, 200)  # it is still to be made
    assert len({line["request_id"] for line in only(out, "request")}) == 6


async def test_sign_ins_and_refusals_are_told_each_by_a_line(tmp_path):
    settings = settings_of(tmp_path)
    with told(settings) as out:
        async with serving(settings) as here:
            session = await here.register(PASSWORD)
            me = {"Authorization": f"Bearer {session['access_token']}"}
            body = {
                "email": session["user"]["email"],
                "password": PASSWORD,
                "device": {"name": "x", "platform": "ios"},
            }
            await here.call("POST", "/auth/login", body)
            for _ in range(7):
                await here.call("POST", "/auth/login", {**body, "password": PASSWORD + "!"})
            made = {"name": "x", "scopes": ["workouts:read"], "password": PASSWORD}
            _, integration = await here.call("POST", "/auth/tokens", made, **me)
            its = {"Authorization": f"Bearer {integration['token']}"}
            await here.call("POST", "/auth/refresh", {"refresh_token": session["refresh_token"]})
            await here.call("POST", "/auth/refresh", {"refresh_token": session["refresh_token"]})
            await here.call("GET", "/auth/devices", **me)
            await here.call("GET", "/auth/devices", **its)
            await here.call("POST", "/workouts", {"title": 5}, **its)
    refused = [
        (line["route"], line["status"], "user" in line) for line in only(out, "request") if "blame" in line
    ]
    assert refused == [
        *[("/auth/login", 401, False)] * 6,
        ("/auth/login", 429, False),
        ("/auth/refresh", 401, False),
        ("/auth/devices", 401, False),
        ("/auth/devices", 403, True),
        ("/workouts", 403, True),
    ]
    granted = [line["route"] for line in only(out, "request") if line["status"] < 300]
    assert granted == ["/auth/register", "/auth/login", "/auth/tokens", "/auth/refresh"]
    assert [line["by"] for line in only(out, "sign_in_slowed")] == ["pair"]
    assert [line["reason"] for line in only(out, "refresh_rejected")] == ["reused"]


async def test_refusals_on_sockets_are_told_each_by_a_line(tmp_path):
    settings = settings_of(tmp_path)
    with told(settings) as out:
        async with serving(settings) as here:
            session = await here.register(PASSWORD)
            made = {"name": "x", "scopes": ["sync:read"], "password": PASSWORD}
            me = {"Authorization": f"Bearer {session['access_token']}"}
            _, integration = await here.call("POST", "/auth/tokens", made, **me)
            its = {**session, "access_token": integration["token"]}
            async with here.wire(its) as wire:
                answer = await wire.push(wire.op("workout.create", new_id()))
                assert answer["code"] == "forbidden"
            client = socketio.AsyncClient(reconnection=False)
            with pytest.raises(socketio.exceptions.ConnectionError):
                await client.connect(
                    f"http://127.0.0.1:{here.port}", namespaces=["/live"], auth={"token": PASSWORD}
                )
            await client.shutdown()
    assert [line["code"] for line in only(out, "socket_refused")] == ["unauthorized"]
    [line] = only(out, "event_refused")
    assert (line["live_event"], line["code"], line["user"]) == ("push", "forbidden", session["user"]["id"])


async def test_who_came_before_on_a_kept_connection_is_not_who_comes_now(tmp_path):
    settings = settings_of(tmp_path)
    with told(settings) as out:
        async with serving(settings) as here:
            session = await here.register()
            me = {"Authorization": f"Bearer {session['access_token']}"}
            await here.call("GET", "/auth/devices", **me)
            await here.call("GET", "/nowhere")
    assert ["user" in line for line in only(out, "request")] == [False, True, False]


async def test_what_goes_wrong_in_an_event_or_a_batch_tells_whose_it_was(tmp_path, monkeypatch):
    settings = settings_of(tmp_path)
    with told(settings) as out:
        async with serving(settings) as here:
            one, other = await here.register(), await here.register()
            async with here.wire(one) as wire, here.wire(other) as others:
                for each in (wire, others):
                    await each.push(each.op("workout.create", new_id()))
                host = here.node.live.connections[0].host
                monkeypatch.setattr(type(host), "page", lambda *_: 1 / 0)
                await wire.call("pull", {"after": 0})
                await others.call("pull", {"after": 0})
                monkeypatch.setattr(Placer, "place_all", failing)
                await others.push(others.op("note.set", new_id(), {"text": NOTE}))
    first, second = only(out, "event_failed")
    for line, session in ((first, one), (second, other)):
        assert (line["user"], line["device"]) == (session["user"]["id"], session["device"]["id"])
        assert (line["live_event"], line["level"]) == ("pull", "error")
        assert "ZeroDivisionError: division by zero" in line["exception"]
        assert line["connection"]
    (batch,) = only(out, "push_failed")
    assert (batch["user"], batch["devices"], batch["jobs"]) == (other["user"]["id"], [1], 1)


async def test_what_a_database_that_is_away_looks_like_is_a_warning_without_a_traceback(
    tmp_path, monkeypatch
):
    settings = settings_of(tmp_path)
    with told(settings) as out:
        async with serving(settings) as here:

            def away(*_):
                raise Unavailable("the database is away")

            monkeypatch.setattr(here.node.db, "read", away)
            body = {
                "email": "a@example.org",
                "password": PASSWORD,
                "device": {"name": "x", "platform": "ios"},
            }
            assert (await here.call("POST", "/auth/login", body))[0] == 503
    (line,) = only(out, "request")
    assert (line["level"], line["blame"], "exception" in line) == ("warning", "away", False)


FORGED = 'a\r\n{"event": "forged", "level": "info"}\u2028\x1b[31m'


async def test_no_sender_can_write_a_line(tmp_path):
    settings = settings_of(tmp_path, log_level="debug")
    with told(settings) as out:
        async with serving(settings) as here:
            session = await here.register()
            me = {"Authorization": f"Bearer {session['access_token']}"}
            for path in ("/%0d%0aforged", "/workouts/%0a%7b%22event%22", "/workouts?x=%0aforged"):
                await here.call("GET", path, **me)
            await here.call("GET", "/health", X_Request_Id="forged id", User_Agent="forged\tagent")
            reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
            writer.write(b"GET /forged\x00\x1b[31m HTTP/1.1\r\nHost: x\r\nforged: \x1b\r\n\r\n")
            await reader.read()
            writer.close()
            async with here.wire(session) as wire:
                await wire.call(FORGED, {"x": FORGED})
                await wire.push({**wire.op("note.set", new_id()), "kind": FORGED})
            structlog.get_logger("test").warning("told", **{FORGED: FORGED}, path=FORGED)
    text = out.getvalue()
    assert "told" in {line["event"] for line in lines(out)}
    assert "forged" not in {line["event"] for line in lines(out)}
    assert not set(text) & {"\r", "\u2028", "\x1b", "\x00"}
    assert text.isascii()


def test_no_sender_can_write_a_line_on_a_terminal(tmp_path):
    settings = settings_of(tmp_path, log_format="console")
    with told(settings) as out:
        log = structlog.get_logger("test")
        log.warning(FORGED, a=FORGED)
        try:
            raise OSError(FORGED)
        except OSError:
            log.exception("failed")
    assert not [line for line in out.getvalue().split("\n") if line.startswith('{"event"')]
    assert not set(out.getvalue()) & {"\r", "\u2028", "\x1b"}


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_a_row_that_the_database_refuses_is_not_quoted(db, tmp_path, level):
    email = f"{uuid.uuid4().hex}@example.org"
    with told(settings_of(tmp_path, log_level=level)) as out:
        for _ in range(2):
            row = {
                "email": email,
                "email_key": email,
                "password_hash": NOTE,
                "display_name": NOTE,
                "created_at": 1,
            }
            try:
                async with db.write() as session:
                    await session.execute(insert(User).values(id=str(uuid.uuid4()), **row))
            except IntegrityError:
                structlog.get_logger("test").exception("refused")
    (line,) = only(out, "refused")
    assert "IntegrityError" in line["exception"]
    assert email not in out.getvalue()
    assert NOTE not in out.getvalue()


def test_what_no_setting_asks_for_is_not_even_imported():
    code = (
        "import sys, fitai.app.serve, fitai.app.workers;"
        # Redis' client looks whether OpenTelemetry's meters are there, by itself; it leaves it at that.
        "these = ('sentry_sdk', 'opentelemetry.sdk.trace', 'opentelemetry.exporter', 'google');"
        "print([name for name in sys.modules if name.startswith(these)])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
