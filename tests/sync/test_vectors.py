"""The golden vectors: what they promise to clients in other languages holds here, for every case."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from fitai.engine.combine import combined
from fitai.engine.ops import Record
from fitai.engine.workout import Workout, digest, state
from fitai.sync.fold import fold
from fitai.sync.wire import decode_record
from tests.sync.oracle import Oracle, clocks_of
from tests.vectors.build import FOLDER, THEMES, written
from tests.vectors.tale import ROWS

Json = dict[str, Any]
CASES: list[Json] = [
    case for path in sorted(FOLDER.glob("*.json")) for case in orjson.loads(path.read_bytes())
]


def of(records: Sequence[Record], workout: str) -> list[Record]:
    return [record for record in records if record.op.workout == workout]


def folded(case: Json, records: Sequence[Record]) -> Workout:
    return fold(case["workout"], "somebody", of(records, case["workout"])).workout


def each_case(test):
    return pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])(test)


@each_case
def test_the_records_fold_to_the_state_in_any_order_and_however_often_they_come(case: Json) -> None:
    records = [decode_record(wire) for wire in case["records"]]
    shuffled = records * 2
    random.Random(case["name"]).shuffle(shuffled)
    for arranged in (records, records[::-1], shuffled, [*records, *records]):
        document = state(folded(case, arranged))
        assert document == case["state"]
        assert digest(document) == case["digest"]


@each_case
def test_the_digest_can_be_made_with_any_json_library(case: Json) -> None:
    kept = {key: value for key, value in case["state"].items() if key not in ("seq", "rev", "verdict")}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == case["digest"]


@each_case
def test_no_accepted_value_of_a_case_is_lost(case: Json) -> None:
    records = [decode_record(wire) for wire in case["records"]]
    mine = of(records, case["workout"])
    assert Oracle(case["workout"], mine, clocks_of(records)).complaints(case["state"]) == []


@pytest.mark.parametrize(
    "case", [case for case in CASES if "combined" in case], ids=lambda case: case["name"]
)
def test_merged_workouts_are_shown_in_their_target(case: Json) -> None:
    records = [decode_record(wire) for wire in case["records"]]
    sources = [
        fold(name, "somebody", of(records, name)).workout for name in reversed(case["combined"]["sources"])
    ]
    document = state(combined(folded(case, records), sources))
    assert document == case["combined"]["state"]
    assert digest(document) == case["combined"]["digest"]


@pytest.mark.parametrize("theme", THEMES)
def test_the_files_are_what_the_builder_makes(theme: str) -> None:
    assert (FOLDER / f"{theme}.json").read_text(encoding="utf-8") == written(theme), (
        f"{theme}.json is stale, or the fold has changed: python -m tests.vectors.build"
    )


def test_there_is_no_other_file_and_no_name_comes_twice() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(THEMES)
    keys = [(case["name"], case["workout"]) for case in CASES]
    assert len(set(keys)) == len(keys) >= 60


def test_every_row_of_the_policy_is_told_both_ways_round() -> None:
    orders = defaultdict(set)
    for case in CASES:
        orders[case["row"]].add(case["order"])
    assert set(orders) == set(ROWS)
    lacking = {row for row, found in orders.items() if not found >= {"phone first", "phone last"}}
    assert not lacking


def test_who_arrives_first_decides_nothing() -> None:
    digests = defaultdict(set)
    for case in CASES:
        stem, _, way = case["name"].rpartition("; the ")
        if way.endswith("'s arrives first"):
            digests[stem, case["workout"]].add((case["order"], case["digest"]))
    assert len(digests) >= 60
    for told, found in digests.items():
        assert {order for order, _ in found} == {"phone first", "phone last"}, told
        assert len({one for _, one in found}) == 1, told


def test_the_readme_tells_of_every_field_and_every_row() -> None:
    readme = Path(FOLDER / "README.md").read_text(encoding="utf-8")
    fields = {field for case in CASES for field in case}
    assert fields and not [field for field in fields if f"`{field}`" not in readme]
    assert not [row for row in ROWS if row not in readme]
