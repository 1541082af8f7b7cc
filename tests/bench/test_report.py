"""What a run is told as: a document, a page, a comparison. From measurements that are made up."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as tree
from html.parser import HTMLParser

import pytest
from rich.console import Console

from fitai.bench import against, growth, page, plot, screen, sheet
from fitai.bench.document import document, slope
from fitai.bench.fleet import Measured
from fitai.bench.generator import LAG, Tick
from fitai.bench.growth import Stretch
from fitai.bench.histogram import Recorder
from fitai.bench.pace import LATE
from fitai.bench.plan import Plan

PLAN = Plan(scenario="live", users=10, devices=(2,), duration_s=2.0, rate=50.0, generators=2)
TARGET = {
    "started": True,
    "version": "0.1.0",
    "database": "SQLite",
    "redis": "none",
    "workers": 1,
    "limits": "lifted",
}
BEGAN = 1_000.0


def measured(times: float = 1.0, **failures: int) -> Measured:
    """Two generators over eight intervals; latencies of 1 to 10 ms, `times` as long."""
    found = Measured(began=BEGAN)
    for interval in range(8):
        for generator in (0, 1):
            recorder = Recorder()
            for n in range(1, 11):
                recorder.record("set", n / 1000 * times)
                recorder.record("delivery", n / 500 * times)
            recorder.record(LAG, 0.001)
            recorder.record(LATE, 0.001)
            counts = {"applied": (interval + 1) * 10, "checked": (interval + 1) * 10}
            found.tick(Tick(generator, interval, 0.25, recorder.take(), counts, failures), 2)
    found.settle()
    return found


def told(times: float = 1.0, points=None, **failures):
    if points is None:
        points = [
            {"t": BEGAN - 1 + n / 4, "system_cpu": 1.0, "cpu": 0.5, "rss": 100e6 + n * 1e6} for n in range(12)
        ]
    return document(
        PLAN,
        TARGET,
        measured(times, **failures),
        points,
        load_before=0.1,
        interrupted=False,
        notes=["A note."],
    )


def test_a_document_tells_what_was_asked_what_came_out_and_that_it_is_valid():
    made = told()
    assert json.loads(json.dumps(made)) == made
    assert (made["valid"], made["reasons"], made["notes"]) == (True, [], ["A note."])
    assert made["asked"] == {**PLAN.document(), "pace": "rate"}
    assert made["operations"].keys() == {"set", "delivery"}
    one = made["operations"]["set"]
    assert one["ms"]["count"] == 160
    assert one["per_s"] == 80.0
    assert abs(one["ms"]["p50"] - 5) < 0.01
    assert [point["t"] for point in one["timeline"]] == [0.25 * n for n in range(8)]
    assert {point["per_s"] for point in one["timeline"]} == {80.0}
    assert made["counts"] == {"applied": 160, "checked": 160}
    assert made["client"] == {
        "generators": 2,
        "cpu": [0.25, 0.25],
        "loop_lag_p99_ms": 1.0,
        "sent_late_p99_ms": 1.0,
    }
    assert made["server"]["cpu"] == 0.5
    assert made["server"]["rss_before"] == 103e6


def test_failures_make_it_invalid_with_the_reason_at_the_top():
    made = told(lost=1)
    assert not made["valid"]
    assert "never told" in made["reasons"][0]
    console = Console(record=True, width=120)
    screen.show(made, console)
    lines = console.export_text().splitlines()
    assert "live: NOT VALID" in lines[0]
    assert "2 records" in lines[1]  # one of each generator


def test_the_client_is_judged_by_the_busiest_part_of_the_run():
    found = Measured(began=BEGAN)
    for interval in range(12):
        recorder = Recorder()
        recorder.record("set", 0.001)
        busy = 0.95 if 8 <= interval < 10 else 0.1
        found.tick(Tick(0, interval, busy, recorder.take(), {}, {}), 1)
    found.settle()
    counts = dict.fromkeys(("sent", "fields", "ticks", "tick_bytes", "bytes"), 1)

    def client():
        made = document(PLAN, TARGET, found, [], load_before=0.0, interrupted=False, notes=[])
        return made["client"]["cpu"], made["valid"]

    assert client() == ([0.1], True)  # what came after the duration was the drain
    found.stretches = [
        Stretch(10, BEGAN, BEGAN + 1, 0.1, counts),
        Stretch(50, BEGAN + 2, BEGAN + 2.5, 0.1, counts),
    ]
    assert client() == ([0.95], False)


def test_what_was_said_to_a_failure_is_told_and_not_counted():
    found = measured()
    found.count(0, {"applied": 3, "not connected – the door is shut": 1}, {"not connected": 1})
    made = document(PLAN, TARGET, found, [], load_before=0.0, interrupted=False, notes=[])
    assert made["said"] == ["not connected – the door is shut"]
    assert made["counts"] == {"applied": 83, "checked": 80}
    assert "the door is shut" in page.html(made)


def test_connections_are_told_with_the_memory_of_each():
    asked = Plan(scenario="connect", users=50, devices=(1,), duration_s=2.0)
    found = measured()
    found.count(0, {"connected": 50}, {})
    points = [{"t": BEGAN - 1, "system_cpu": 0.1, "cpu": 0.0, "rss": 50e6}]
    points.append({"t": BEGAN + 2, "system_cpu": 0.1, "cpu": 0.0, "rss": 51e6})
    made = document(asked, TARGET, found, points, load_before=0.0, interrupted=False, notes=[])
    assert made["server"]["bytes_per_connection"] == 20_000
    found.count(0, {"connected": 49}, {"not connected": 1})
    made = document(asked, TARGET, found, points, load_before=0.0, interrupted=False, notes=[])
    assert "bytes_per_connection" not in made["server"]


def test_growth_is_the_slope_of_a_line():
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == pytest.approx(2.0)
    assert slope([(0.0, 1.0)]) == 0.0


class Shape(HTMLParser):
    """Whether each tag is closed by its own, and what is loaded from elsewhere."""

    EMPTY = frozenset({"meta", "line", "circle", "polyline", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.EMPTY:
            self.open.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        if tag in self.EMPTY:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_is_whole_needs_nothing_else_and_says_first_whether_it_is_valid():
    html = page.html(told(), told(2.0))
    shape = Shape()
    shape.feed(html)
    assert (shape.wrong, shape.open, shape.loaded) == ([], [], [])
    assert "://" not in html
    assert html.index("<b>Valid.</b>") < html.index("<table>") < html.index("<svg")
    for title in ("Latency: set", "Percentiles", "Throughput", "Server CPU", "Server memory"):
        assert f"<h2>{title}</h2>" in html
    assert "Loop lag and batch sizes: the server has no /metrics" in html
    assert "Beside the run of" in html


def test_loop_lag_and_batches_are_plotted_when_the_server_told_them():
    points = [
        {"t": BEGAN + n / 4, "system_cpu": 1.0, "loop_lag_p99_ms": 2.5, "batch_rows": 3.0} for n in range(8)
    ]
    html = page.html(told(points=points))
    assert "<h2>Event loop lag of the server</h2>" in html
    assert "<h2>Batches of the log</h2>" in html
    assert "<h2>Server CPU</h2>" not in html
    assert "CPU and memory of the server: it is not on this machine" in html


def grown():
    """A run with groups of 10 and 500."""
    found = measured()
    for people, began in ((10, BEGAN), (500, BEGAN + 1)):
        counts = {"sent": people, "fields": people**2, "tick_bytes": 20 * people**2, "ticks": people * 4}
        found.stretches.append(Stretch(people, began, began + 1, 0.5, {**counts, "bytes": 21 * people**2}))
        recorder = Recorder()
        for what in ("heart", "set", "oldest"):
            recorder.record(growth.operation(what, people), 0.2 if people == 10 else 0.6)
        found.tick(Tick(0, 8, 0.25, recorder.take(), {"checked": 5, "views checked": 510}, {}), 2)
    found.settle()
    points = [{"t": BEGAN - 1 + n / 4, "system_cpu": 1.0, "cpu": 0.5, "rss": 1e8} for n in range(16)]
    asked = Plan(scenario="group", users=500, devices=(1,), sizes=(10, 500), duration_s=2.0)
    return document(asked, TARGET, found, points, load_before=0.0, interrupted=False, notes=[])


def test_growth_is_told_on_the_page_on_the_screen_and_as_a_sheet(tmp_path):
    made = grown()
    assert json.loads(json.dumps(made)) == made
    assert [row["participants"] for row in made["growth"]["rows"]] == [10, 500]
    html = page.html(made)
    shape = Shape()
    shape.feed(html)
    assert (shape.wrong, shape.open) == ([], [])
    for said in ("<h2>Growth</h2>", "<h2>Ticks by participants</h2>", "as a power of what changed", "missed"):
        assert said in html
    console = Console(record=True, width=240)
    screen.show(made, console)
    said = console.export_text()
    assert "devices in groups of 10, 500" in said
    assert "MISSED: tick to 500, set: 600 ms, asked p99 under 500 ms" in said
    assert "met: server, 500 participants: 50%" in said
    assert "510 participants' views, 0 wrong" in said
    sheet.keep(made, tmp_path)
    written = (tmp_path / "group.md").read_text()
    assert "| tick to 500, set | p99 under 500 ms | **600 ms** | no |" in written
    assert len({line.count("|") for line in written.splitlines() if line.startswith("| participants")}) == 1
    short = json.loads((tmp_path / "group.json").read_text())
    assert short["growth"] == made["growth"]
    assert "timeline" not in short
    assert short["operations"]["set"].keys() == {"per_s", "ms"}


def test_a_sheet_is_made_of_any_run(tmp_path):
    sheet.keep(told(lost=1), tmp_path)
    written = (tmp_path / "live.md").read_text()
    assert "NOT VALID: control: 160 records told to devices, 2 wrong" in written
    assert "participants" not in written


def test_an_invalid_page_says_why_and_escapes_what_it_says():
    html = page.html(told(**{"refused: <b>": 1}))
    assert "<b>Not valid.</b>" in html
    assert "refused: &lt;b&gt;" in html


def test_a_plot_is_xml_with_its_lines_within_its_frame():
    points = [(0.0, 0.5), (1.0, 250.0), (2.0, 90.0)]
    series = [plot.Series("<set>", points, 0), plot.Series("one", [(1.0, 3.0)], 1)]
    drawn = plot.svg("a & b", series, plot.linear([0.0, 2.0]), plot.logarithmic([0.5, 250.0, 3.0]))
    root = tree.fromstring(drawn)
    [line] = root.findall("polyline")
    places = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
    assert all(0 <= x <= plot.WIDTH and 0 <= y <= plot.HEIGHT for x, y in places)
    assert places[1][1] < places[2][1] < places[0][1]  # up is more
    assert json.loads(line.attrib["data-values"])[1][:2] == [1.0, 250.0]
    assert line.attrib["data-name"] == "<set>"
    assert len(root.findall("circle")) == 1


def test_axes_have_round_numbers():
    assert [label for _, label in plot.linear([0, 97], " MiB", least=0.0).ticks] == [
        "0 MiB", "20 MiB", "40 MiB", "60 MiB", "80 MiB", "100 MiB",
    ]  # fmt: skip
    assert [value for value, _ in plot.logarithmic([0.02, 40]).ticks] == [0.01, 0.1, 1, 10, 100]
    labels = [label for _, label in plot.percentiles([50.0, 99.95]).ticks]
    assert labels == ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]
    assert plot.percentiles([99.0]).place(0.0) == 0.0
    assert plot.linear([]).ticks
    assert plot.logarithmic([]).ticks


def test_a_comparison_tells_ratios_with_their_spread_and_what_is_unlike():
    now, then = told(2.0), told()
    found = {one.what: one for one in against.ratios(now, then)}
    slower = found["set, p50"]
    assert slower.ratio == pytest.approx(2.0, rel=0.01)
    assert slower.least == pytest.approx(2.0, rel=0.01)
    assert found["set, per s"].ratio == 1.0
    assert found["server CPU, cores"].ratio == 1.0
    assert against.differences(now, then) == []
    other = copy.deepcopy(then)
    other["asked"]["users"] = 20
    other["machine"]["cores"] = 64
    other["valid"] = False
    sentences = " ".join(against.differences(now, other))
    assert "users 20 → 10" in sentences
    assert "cores 64 →" in sentences
    assert "not valid" in sentences


def test_a_spread_is_not_told_of_runs_that_are_too_short():
    now, then = told(), told()
    now["operations"]["set"]["timeline"] = now["operations"]["set"]["timeline"][:3]
    [one] = [one for one in against.ratios(now, then) if one.what == "set, p99"]
    assert (one.least, against.spread_of(one)) == (None, "–")
