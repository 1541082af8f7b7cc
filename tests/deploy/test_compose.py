"""compose.yaml and the balancer's configuration, held against what the program reads."""

from __future__ import annotations

import re
from ipaddress import ip_network

import pytest
import yaml

from fitai.app.limits import Limits
from fitai.app.settings import settings_table
from tests.deploy.image import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
NODES = {name: service for name, service in SERVICES.items() if name.startswith("node-")}
BALANCER = (ROOT / "deploy" / "haproxy.cfg").read_text()


def test_the_balancer_knows_every_node():
    servers = re.findall(r"^ +server (\S+) (\S+)$", BALANCER, re.MULTILINE)
    assert servers == [(name, f"{name}:8080") for name in NODES]
    assert len(NODES) == 2


def test_every_variable_of_a_node_is_a_setting():
    known = set(re.findall(r"`(FITAI_\w+)`", settings_table()))
    assert {variable for node in NODES.values() for variable in node["environment"]} <= known


def test_the_balancer_is_believed_and_nobody_else():
    [network] = COMPOSE["networks"]["default"]["ipam"]["config"]
    [node] = {node["environment"]["FITAI_TRUSTED_PROXIES"] for node in NODES.values()}
    assert ip_network(node) == ip_network(network["subnet"])
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["balancer"]
    assert "http-request del-header X-Forwarded-For" in BALANCER
    assert "http-request set-header X-Forwarded-Proto http unless { ssl_fc }" in BALANCER


@pytest.mark.parametrize("variable", ["POSTGRES_PASSWORD", "FITAI_SECRET_KEY"])
def test_a_secret_has_to_be_chosen(variable):
    text = (ROOT / "compose.yaml").read_text()
    uses = re.findall(rf"\$\{{{variable}(:\?)?", text)
    assert uses
    assert all(uses), "a secret without `:?` would be empty"


def test_nodes_start_on_a_schema_that_one_other_container_migrated():
    for node in NODES.values():
        assert node["environment"]["FITAI_MIGRATE"] == "off"
        assert node["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["command"] == ["fitai", "migrate"]


def test_a_node_has_the_time_that_it_needs_to_stop():
    for node in NODES.values():
        assert int(node["stop_grace_period"].removesuffix("s")) > Limits().drain_seconds


def test_sockets_may_be_silent_for_longer_than_a_ping_takes():
    from fitai.gateways.live.limits import LiveLimits

    silence = re.findall(r"timeout (?:client|server|tunnel) (\d+)s", BALANCER)
    limits = LiveLimits()
    assert len(silence) == 3
    assert all(int(seconds) > limits.ping_interval_s + limits.ping_timeout_s for seconds in silence)
