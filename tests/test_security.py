"""SECURITY.md says what is so: each item of the standard is there once, each test that it names exists."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from fitai.app.settings import load_settings
from fitai.http.app import ROUTES
from fitai.http.auth import passwords, recovery, second_factor, strength
from fitai.http.limits import sign_ins

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
DOCUMENT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

# OWASP ASVS 5.0.0: the sections, and the level of each of their items in turn.
LEVELS = """
V1.1 22  V1.2 1111122223  V1.3 112222222223  V1.4 222  V1.5 123
V2.1 122  V2.2 112  V2.3 12223  V2.4 23
V3.1 3  V3.2 113  V3.3 12223  V3.4 11222233  V3.5 11122333  V3.6 3  V3.7 22333
V4.1 12233  V4.2 23333  V4.3 22  V4.4 1222
V5.1 2  V5.2 112333  V5.3 113  V5.4 222
V6.1 122  V6.2 111111112222  V6.3 11223333  V6.4 112233  V6.5 22222333  V6.6 2223  V6.7 33  V6.8 2222
V7.1 222  V7.2 1111  V7.3 22  V7.4 11222  V7.5 223  V7.6 22
V8.1 1233  V8.2 1123  V8.3 133  V8.4 23
V9.1 111  V9.2 1222
V10.1 22  V10.2 223  V10.3 22223  V10.4 1111122222233333  V10.5 22222  V10.6 22  V10.7 222
V11.1 2233  V11.2 22233  V11.3 11233  V11.4 1222  V11.5 23  V11.6 23  V11.7 33
V12.1 12233  V12.2 11  V12.3 22223
V13.1 2333  V13.2 222223  V13.3 2233  V13.4 1222233
V14.1 22  V14.2 12223333  V14.3 122
V15.1 12233  V15.2 12233  V15.3 1222222  V15.4 3333
V16.1 2  V16.2 22222  V16.3 2222  V16.4 222  V16.5 2223
V17.1 23  V17.2 22223333  V17.3 22
"""

VERDICTS = {"shown", "by design", "not yet", "out of scope"}

# What a key or token of some service, or of ours, looks like.
SECRETS = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/]{32}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{36}"
    r"|\bgithub_pat_\w{40}"
    r"|\bglpat-[\w-]{20}"
    r"|\bxox[abeoprs]-[\w-]{20}"
    r"|\bsk-[\w-]{32}"
    r"|\bsk_live_\w{20}"
    r"|\bAIza[\w-]{35}"
    r"|\bey[\w-]{16,}\.ey[\w-]{16,}\.[\w-]{32,}"
    r"|\bFITAI_SECRET_KEY=[\w+/-]{32,}"
)


class Row(NamedTuple):
    """One row of a table of the standard."""

    items: list[str]
    verdict: str
    told: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        """(file, function) of each test that it names."""
        return re.findall(r"`([\w/.]+\.py)::(\w+)`", self.told)


def levels() -> dict[str, int]:
    """Each item of the standard with its level."""
    return {
        f"{section}.{number}": int(level)
        for section, told in re.findall(r"(V[\d.]+) (\d+)", LEVELS)
        for number, level in enumerate(told, 1)
    }


def rows() -> list[Row]:
    found = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in DOCUMENT.splitlines()
        if re.match(r"\| V\d", line)
    ]
    assert all(len(cells) == 4 for cells in found)
    return [Row(list(named(cells[0])), cells[2], cells[3]) for cells in found]


def named(cell: str) -> Iterator[str]:
    """The items of a first cell; `V1.2.*` names all of a section."""
    for name in cell.split():
        if name.endswith(".*"):
            yield from (item for item in levels() if item.startswith(name[:-1]))
        else:
            yield name


@cache
def defined_in(file: str) -> frozenset[str]:
    """The tests that a file below `tests/` defines."""
    path = TESTS / file
    if not path.is_file():
        return frozenset()
    defined = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(
        node.name
        for node in defined
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_the_standard_is_whole():
    counted = Counter(levels().values())

    assert counted == {1: 70, 2: 183, 3: 92}, "as its preface says"


def test_every_item_of_level_1_and_2_is_in_the_table_once():
    told = Counter(item for row in rows() for item in row.items)
    asked = {item for item, level in levels().items() if level <= 2}

    assert asked - set(told) == set()
    assert set(told) - set(levels()) == set()
    assert [item for item, count in told.items() if count > 1] == []


def test_every_test_that_is_named_exists():
    named_tests = [test for row in rows() for test in row.tests]
    missing = [f"{file}::{test}" for file, test in named_tests if test not in defined_in(file)]

    assert len(named_tests) > 100
    assert missing == []


def test_a_test_that_does_not_exist_would_be_found():
    assert "test_the_standard_is_whole" in defined_in("test_security.py")
    assert "test_there_is_no_such_thing" not in defined_in("test_security.py")
    assert defined_in("test_nowhere.py") == frozenset()


def test_a_row_says_what_its_verdict_promises():
    for row in rows():
        assert row.verdict in VERDICTS, row
        assert bool(row.tests) or row.verdict != "shown", row
        assert row.verdict != "shown" or re.sub(r"`[\w/.]+::\w+`", "", row.told).strip() == "", row
        assert len(row.told) >= 8, row


def section(title: str) -> str:
    [text] = re.findall(rf"^## {title}\n(.*?)^## ", DOCUMENT, re.S | re.M)
    return str(text)


def test_the_ways_in_are_those_that_there_are():
    told = {
        way: limit
        for ways, limit in re.findall(r"^\| (`[A-Z]+ /.*?) \|.*\| `(\w+)` \|$", section("Ways in"), re.M)
        for way in re.findall(r"`([^`]+)`", ways)
    }
    without_token = {
        route
        for route in ROUTES
        if route.path.startswith(("/auth/", "/users/")) and "caller" not in route.takes
    }
    give_one = {
        route
        for route in ROUTES
        if route.response and {"token", "access_token"} & route.response.model_fields.keys()
    }
    ways = {f"{route.method} {route.path}": route.limit for route in without_token | give_one}

    assert ways.pop("GET /auth/reset-password") is None, "a page that asks for the new password"
    assert told == ways
    assert {route.limit for route in without_token} == {"auth", "mail", None}


def test_the_rules_of_passwords_and_codes_are_those_that_hold():
    text = " ".join(section("Ways in").split())
    (few, span_ms), (most, day_ms) = second_factor.BOUNDS

    assert f"Passwords have {passwords.SHORTEST} to {passwords.LONGEST} characters" in text
    assert f"The words {' and '.join(f'`{word}`' for word in strength.OURS)}, and the person's" in text
    assert f"a mailed link, once, for {recovery.RESET_MINUTES} minutes" in text
    assert f"a mailed link, for {recovery.VERIFY_MINUTES // 1440} days" in text
    assert f"After {sign_ins.PAIR.free} tries at one account from one address pauses" in text
    assert f"double up to {sign_ins.PAIR.longest_s // 60} minutes" in text
    assert (sign_ins.ACCOUNT.longest_s, day_ms) == (60, second_factor.DAY_MS)
    assert f"After {few} wrong ones in {span_ms // 60_000} minutes, or {most} in a day" in text


def test_no_secret_is_committed():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    files = [ROOT / name for name in listed.decode().split("\0") if name]
    found = [
        f"{file.relative_to(ROOT)}: {match[0][:24]}…"
        for file in files
        if file.is_file()
        for match in SECRETS.finditer(file.read_text(encoding="utf-8", errors="replace"))
    ]

    assert len(files) > 300
    assert found == []
    assert [
        file.name for file in files if file.name == ".env" or file.suffix in {".pem", ".key", ".p12"}
    ] == []


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PRIVATE KEY-----\n" + "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49" + "AwEH",
        "-----BEGIN RSA PRIVATE KEY-----\n" + "M" * 64,
        "AKIA" + "A1B2" * 4,
        "ghp_" + "a1B2" * 9,
        "FITAI_SECRET_KEY=" + "0f" * 32,
        ".".join(["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0", "s" * 43]),
    ],
)
def test_a_secret_would_be_found(secret):
    assert SECRETS.search(f"token = '{secret}'")


def test_the_settings_that_the_readme_shows_for_the_internet_are_settings(monkeypatch, tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"## On the internet.*?```\n(.*?)```", text, re.S)
    for name, value in re.findall(r"^(FITAI_\w+)=(\S+)", shown, re.M):
        monkeypatch.setenv(name, value)
    settings = load_settings(data_dir=tmp_path, env_file=None)

    assert settings.public_url == "https://fit.example.com"
    assert settings.allowed_origins == ("https://app.example.com",)
    assert [str(each) for each in settings.trusted_proxies] == ["10.0.0.0/8"]
