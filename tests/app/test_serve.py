from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
import urllib.error
import urllib.request

import aiohttp
import pytest

from fitai.app.accounts import DEMO_EMAIL, DEMO_PASSWORD
from fitai.app.serve import greeting, url_of, write_announcement

DEVICE = {"name": "phone", "platform": "ios", "install_id": "0123456789"}


def post(url, body):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.loads(response.read())


def sign_in(url):
    return post(f"{url}/auth/login", {"email": DEMO_EMAIL, "password": DEMO_PASSWORD, "device": DEVICE})


def stopped(process, number):
    """Exit code, stdout, stderr and the seconds until the end."""
    started = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err, time.monotonic() - started


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("fe80::1", "http://[fe80::1]:80"),
        ("fit.example", "http://fit.example:80"),
    ],
)
def test_the_url_is_one_that_a_browser_here_can_open(host, url):
    assert url_of(host, 80) == url


def test_the_greeting_without_an_account_has_none():
    assert not any("password" in line for line in greeting("http://x", None))


def test_an_announcement_is_whole_and_leaves_no_draft(tmp_path):
    file = tmp_path / "here.json"
    file.write_text("old")
    write_announcement(file, "http://127.0.0.1:5", "127.0.0.1", 5)
    assert json.loads(file.read_text())["url"] == "http://127.0.0.1:5"
    assert list(tmp_path.iterdir()) == [file]


async def test_sigterm_says_goodbye_on_sockets_and_ends_cleanly_within_5_seconds(command):
    process, told = command.serve()
    token = sign_in(told["url"])["access_token"]
    url = f"{told['url']}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket_:
        await socket_.receive_str()  # the handshake of the transport
        await socket_.send_str("40/live," + json.dumps({"token": token}))
        while not (await socket_.receive_str()).startswith('42/live,["ready"'):
            pass
        ending = asyncio.get_running_loop().run_in_executor(None, stopped, process, signal.SIGTERM)
        last = [frame.data async for frame in socket_]
        code, out, err, seconds = await ending
    assert code == 0, err
    assert seconds < 5
    byes = [json.loads(frame.removeprefix("42/live,"))[1] for frame in last if '"bye"' in frame]
    assert [(bye["code"], bye["reconnect"]) for bye in byes] == [("draining", True)]
    assert out.splitlines()[0].endswith(f"is ready: {told['url']}")
    assert f"{DEMO_EMAIL}  password {DEMO_PASSWORD}" in out
    assert [json.loads(line)["event"] for line in err.splitlines()][-1] == "stopped"


def test_ctrl_c_ends_it_cleanly_though_a_request_hangs(command):
    process, told = command.serve()
    with socket.create_connection((told["host"], told["port"])) as hanging:
        hanging.sendall(b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        time.sleep(0.2)
        code, _, err, seconds = stopped(process, signal.SIGINT)
    assert code == 0, err
    assert seconds < 5


def test_a_second_ctrl_c_does_not_wait(command):
    process, told = command.serve()
    with socket.create_connection((told["host"], told["port"])) as hanging:
        hanging.sendall(b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        code, _, _, seconds = stopped(process, signal.SIGINT)
    assert code == 130
    assert seconds < 0.8


def test_what_is_still_not_done_after_the_drain_is_left(command):
    process, _ = command.serve(FITAI_LIMIT_DRAIN_SECONDS="0.001")
    code, _, err, seconds = stopped(process, signal.SIGTERM)
    assert seconds < 3
    assert code in (0, 1)  # a very fast end is a clean one
    assert code == 0 or "what was acknowledged is stored" in err


def test_two_starts_keep_key_data_and_demo_account(command):
    process, told = command.serve()
    first = sign_in(told["url"])
    assert stopped(process, signal.SIGTERM)[0] == 0
    process, told = command.serve()
    request = urllib.request.Request(
        f"{told['url']}/auth/devices", headers={"Authorization": f"Bearer {first['access_token']}"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 200
    assert sign_in(told["url"])["device"]["id"] == first["device"]["id"]


def test_production_prints_and_makes_no_demo_account(command):
    process, told = command.serve(FITAI_ENVIRONMENT="production")
    with pytest.raises(urllib.error.HTTPError) as refused:
        sign_in(told["url"])
    refused.value.close()
    assert refused.value.code == 401
    code, out, _, _ = stopped(process, signal.SIGTERM)
    assert code == 0
    assert "password" not in out


def test_a_taken_port_stops_the_start_with_one_sentence(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = command.run("serve", "--port", str(port), FITAI_LOG_LEVEL="error")
    assert code == 2
    assert out == ""
    assert err.startswith(f"fitai: Something else listens on 127.0.0.1 port {port} already")
    assert err.count("\n") == 1


def test_a_database_that_is_away_stops_the_start_with_one_sentence(command):
    url = "postgresql://ada:secret@127.0.0.1:1/fit"
    code, out, err = command.run("serve", FITAI_DATABASE_URL=url)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("fitai: FITAI_DATABASE_URL: the database cannot be reached")
    assert "secret" not in err


def test_a_node_says_which_bus_it_uses_and_listens_on_it(command, redis_server):
    redis_server.ask("CONFIG SET", "requirepass", "hunter2")
    url = f"redis://:hunter2@127.0.0.1:{redis_server.port}/0"
    process, told = command.serve(FITAI_REDIS_URL=url, FITAI_REDIS_PREFIX="gym")
    sign_in(told["url"])
    assert redis_server.ask("PUBSUB CHANNELS", "gym:*", password="hunter2")
    code, _, err, _ = stopped(process, signal.SIGTERM)
    said = [json.loads(line) for line in err.splitlines()]
    assert [line["over"] for line in said if line["event"] == "bus"] == [
        f"redis://127.0.0.1:{redis_server.port}"
    ]
    assert (code, "hunter2" in err) == (0, False)


def test_a_redis_that_is_down_does_not_stop_the_start(command, redis_server):
    redis_server.stop()
    process, told = command.serve(FITAI_REDIS_URL=redis_server.url)
    assert sign_in(told["url"])["access_token"]
    code, _, err, _ = stopped(process, signal.SIGTERM)
    assert "bus_away" in err
    assert code == 0
