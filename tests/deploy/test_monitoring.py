"""deploy/monitoring, held against what a running server exposes: names, labels, and values of labels."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field

import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from fitai.app.settings import settings_table
from fitai.http.app import ROUTES
from fitai.http.problems import CATALOGUE
from tests.app.node import serving, settings_of
from tests.deploy.image import ROOT
from tests.gateways.conftest import new_id

FOLDER = ROOT / "deploy" / "monitoring"
RULES = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
BOARD = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
README = (FOLDER / "README.md").read_text()

# What Prometheus puts there itself, and what our own answer adds with several workers.
GIVEN = {"instance", "job", "worker"}

EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in RULES} | {
    f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]
}

# Values of labels that a healthy server has not had yet, by where they are declared.
DECLARED = {
    "status": {str(kind.status) for kind in CATALOGUE.values()} | {"200"},
    "route": {prefix + route.path for route in ROUTES for prefix in ("", "/v1")}
    | {"/metrics", "/socket.io/"},
    "code": set(CATALOGUE) | {"slow", "overload"},
}


@dataclass
class Exposed:
    """The names of a scrape, with the labels of each and their values."""

    names: dict[str, dict[str, set[str]]] = field(default_factory=dict)

    def take(self, text):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = self.names.setdefault(sample.name, {})
                for name, value in sample.labels.items():
                    labels.setdefault(name, set()).add(value)
        return self


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    """What a server exposes that has done a bit of everything."""

    async def served() -> Exposed:
        async with serving(settings_of(tmp_path_factory.mktemp("node"), metrics_token="a" * 20)) as here:
            session = await here.register()
            await here.call("GET", "/nowhere")
            async with here.wire(session) as wire:
                await wire.push(wire.op("workout.create", new_id()))
                await wire.call("push", {"ops": "none"})
            _, text = await here.call("GET", "/metrics", Authorization=f"Bearer {'a' * 20}")
            _, text = await here.call("GET", "/metrics", Authorization=f"Bearer {'a' * 20}")
        return Exposed().take(text)

    return asyncio.run(served())


def selectors(expression):
    """The vector selectors of an expression, and the labels that it groups by."""
    found: list[promql.VectorSelector] = []
    labels: set[str] = set()

    def visit(node):
        if isinstance(node, promql.VectorSelector):
            found.append(node)
        if isinstance(node, promql.MatrixSelector):
            found.append(node.vector_selector)
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            labels.update(node.modifier.labels)
        return True

    # Grafana's own variable is a duration to Prometheus, as is any other.
    assert promql.walk(promql.parse(expression.replace("$__rate_interval", "5m")), visit)
    return found, labels


def wrong(expression, exposed):
    """What an expression asks for that is not there."""
    found, grouped = selectors(expression)
    assert found
    problems = []
    known = set(GIVEN)
    for selector in found:
        labels = exposed.names.get(selector.name)
        if selector.name == "up":
            continue
        if labels is None:
            problems.append(f"no meter {selector.name}")
            continue
        known |= set(labels)
        for matcher in selector.matchers.matchers:
            if matcher.name not in GIVEN | set(labels):
                problems.append(f"{selector.name} has no label {matcher.name}")
            elif matcher.name not in GIVEN:
                values = labels[matcher.name] | DECLARED.get(matcher.name, set())
                if not _fits(matcher, values):
                    problems.append(f"{selector.name}: no {matcher.name} is {matcher.value!r}")
    return problems + [f"nothing has the label {name}" for name in sorted(grouped - known)]


def _fits(matcher, values):
    """Whether some value is what is asked for, by each alternative of a pattern; for one that is not wanted
    too: to exclude what there can not be is a mistake."""
    if matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual):
        return matcher.value in values
    plain = not re.search(r"[(.*?\[]", matcher.value)
    patterns = matcher.value.split("|") if plain else [matcher.value]
    return all(any(re.fullmatch(pattern, value) for value in values) for pattern in patterns)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_expression_asks_for_what_a_running_server_exposes(name, exposed):
    assert wrong(EXPRESSIONS[name], exposed) == []


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("rate(fitai_opps_total[5m])", "no meter fitai_opps_total"),
        ("sum by (verdikt) (fitai_ops_total)", "nothing has the label verdikt"),
        ('fitai_ops_total{verdikt="void"}', "fitai_ops_total has no label verdikt"),
        ('fitai_ops_total{verdict="avoid"}', "fitai_ops_total: no verdict is 'avoid'"),
        ('fitai_ops_total{verdict=~"void|avoid"}', "fitai_ops_total: no verdict is 'void|avoid'"),
        ('fitai_ops_total{verdict!="avoid"}', "fitai_ops_total: no verdict is 'avoid'"),
        ("histogram_quantile(0.5, rate(fitai_ops_bucket[5m]))", "no meter fitai_ops_bucket"),
    ],
)
def test_what_is_misspelt_would_be_found(expression, problem, exposed):
    assert problem in wrong(expression, exposed)


def test_every_alert_says_how_bad_it_is_and_what_to_look_at():
    headings = set(re.findall(r"^### (\w+)$", README, re.M))
    assert {rule["alert"] for rule in RULES} == headings
    assert len(RULES) == len(headings) >= 15
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["runbook"] == f"README.md#{rule['alert'].lower()}"
        assert len(rule["annotations"]["summary"]) > 10
        text = README.partition(f"### {rule['alert']}\n")[2].partition("\n### ")[0]
        assert len(text) > 60


def test_every_label_that_a_summary_shows_is_left_by_its_expression():
    for rule in RULES:
        _, grouped = selectors(rule["expr"])
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert shown <= grouped | ({"instance"} if rule["expr"].startswith("up") else set()), rule["alert"]


def test_the_dashboard_is_one_that_grafana_takes():
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    variables = {variable["name"] for variable in BOARD["templating"]["list"]}
    assert variables == {"source", "instance"}
    places = set()
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        places.add((place["x"], place["y"]))
    assert len(places) == len(PANELS)


def test_the_runbook_names_settings_and_lines_of_the_log_that_there_are():
    settings = set(re.findall(r"`(FITAI_\w+)`", settings_table()))
    named = set(re.findall(r"`(FITAI_\w+)`", README))
    assert named
    assert named <= settings
    code = "".join(
        path.read_text() for folder in ("gateways", "http", "app") for path in (ROOT / folder).rglob("*.py")
    )
    for line in ("push_failed", "timer_scan_postponed", "refresh_rejected"):
        assert f"`{line}`" in README
        assert f'"{line}"' in code


def test_prometheus_asks_each_node_of_compose_and_grafana_asks_prometheus():
    nodes = [
        name for name in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"] if "node-" in name
    ]
    scrape = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    beside = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    (job,) = scrape["scrape_configs"]
    assert job["job_name"] == "fitai"
    assert job["static_configs"][0]["targets"] == [f"{node}:9464" for node in nodes]
    for node in nodes:
        assert beside[node]["environment"] == {"FITAI_METRICS_BIND": "0.0.0.0:9464"}
    assert scrape["rule_files"] == ["alerts.yml"]
    mounted = {each.split(":")[0] for name in ("prometheus", "grafana") for each in beside[name]["volumes"]}
    for path in mounted - {"prometheus"}:
        assert (ROOT / path).is_file()
    (source,) = yaml.safe_load((FOLDER / "grafana.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert yaml.safe_load((FOLDER / "dashboards.yml").read_text())["providers"][0]["options"][
        "path"
    ] in "".join(beside["grafana"]["volumes"])
