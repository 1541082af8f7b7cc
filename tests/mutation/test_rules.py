from __future__ import annotations

import pytest

from tests.mutation.__main__ import ROOT
from tests.mutation.rules import RULES, Rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_stands_once_where_it_can_be_switched_off(rule: Rule) -> None:
    assert (ROOT / rule.file).read_text().count(rule.text) == 1
    assert rule.without != rule.text


def test_no_rule_is_named_twice() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
