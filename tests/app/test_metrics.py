"""`/metrics` of a real server: what it says, to whom, and that the documents name the same meters."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fitai.app.metrics import Meters, Siblings, meters_table
from fitai.gateways.bus.redis import Stats
from fitai.gateways.meters import HostCounts, NodeMeters

TOKEN = "a token that is long enough"
ARCHITECTURE = Path(__file__).parents[2] / "ARCHITECTURE.md"


def get(url, token=None):
    headers = {} if token is None else {"Authorization": token}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(text, name, **labels):
    for family in families(text).values():
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    raise AssertionError(f"{name}{labels} is not exposed")


def test_a_server_exposes_the_meters_that_the_documents_name_and_no_others(command):
    _, told = command.serve(FITAI_METRICS_TOKEN=TOKEN)
    status, headers, text = get(f"{told['url']}/metrics", f"Bearer {TOKEN}")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    exposed = set(re.findall(r"^# TYPE (fitai_\w+)", text, re.M))
    part = ARCHITECTURE.read_text().partition("<!-- meters -->")[2].partition("<!-- /meters -->")[0]
    named = set(re.findall(r"^\| `(fitai_\w+)`", part, re.M))
    assert exposed == named
    assert len(named) > 15
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text


def test_without_a_token_or_an_address_there_are_no_metrics(command):
    _, told = command.serve()
    nothing = get(f"{told['url']}/no-such-path", f"Bearer {TOKEN}")
    metrics = get(f"{told['url']}/metrics", f"Bearer {TOKEN}")
    assert nothing[0] == metrics[0] == 404
    assert json.loads(metrics[2])["code"] == json.loads(nothing[2])["code"]


def test_metrics_on_the_main_port_take_the_token(command):
    _, told = command.serve(FITAI_METRICS_TOKEN=TOKEN)
    for wrong in (None, "", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \u00e9"):
        status, headers, text = get(f"{told['url']}/metrics", wrong)
        assert status == 401, wrong
        assert headers["WWW-Authenticate"].startswith("Bearer")
        assert "fitai_" not in text
    assert get(f"{told['url']}/metrics", f"bearer  {TOKEN}")[0] == 200


def test_metrics_on_an_address_of_their_own_take_none_and_are_alone_there(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    _, told = command.serve(FITAI_METRICS_BIND=f"127.0.0.1:{port}")
    status, _, text = get(f"http://127.0.0.1:{port}/metrics")
    assert status == 200
    assert value(text, "fitai_workers") == 1
    assert get(f"http://127.0.0.1:{port}/health")[0] == 404
    assert get(f"{told['url']}/metrics")[0] == 404


def test_a_taken_address_for_metrics_is_told_in_one_sentence(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = command.run(
            "serve", "--port", "0", FITAI_METRICS_BIND=f"127.0.0.1:{port}", FITAI_LOG_LEVEL="error"
        )
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"127.0.0.1 port {port}" in err
    assert "FITAI_METRICS_BIND" in err


def test_the_meters_table_has_each_name_once():
    names = re.findall(r"^\| `(\w+)`", meters_table(), re.M)
    assert len(names) == len(set(names))
    assert names == sorted(names)


async def test_a_worker_that_is_gone_is_left_out_and_counted_out(tmp_path):
    node = NodeMeters(list, lambda: HostCounts(7), Stats())
    text = (await Meters(node, Siblings(1, 3, tmp_path)).report()).decode()
    assert value(text, "fitai_workers") == 1
    assert value(text, "fitai_hosts", worker="1") == 7
    assert {sample.labels["worker"] for sample in families(text)["fitai_hosts"].samples} == {"1"}
