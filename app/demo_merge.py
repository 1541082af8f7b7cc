"""What a merge left to a person, in words: the alternatives and the flags of a state document."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
Named = Callable[[Any], str]
Devices = Mapping[int, str]

_WHY = {
    "later": "the later one is shown",
    "dot": "written in the same moment",
    "there": "the later one's exercise is gone",
}


def alternative_words(alternative: Json, named: Named, devices: Devices) -> tuple[str, str]:
    """What is shown and what is kept beside it, and why. `named` says what an entity is called, `devices`
    what the devices are."""
    of, field = alternative["entity"], alternative["field"].replace("_", " ")
    where = field if of is None else f"{named(of)}: {field}"
    shown = _version(alternative["shown"], devices)
    others = " and ".join(_version(other, devices) for other in alternative["others"])
    return f"{where} {shown}, and beside it {others}", _WHY[alternative["why"]]


def flag_words(flag: Json, named: Named, devices: Devices) -> tuple[str, str]:
    """What happened, and what became of it."""
    words = _FLAGS.get(flag["flag"], _unknown)
    return words(flag, named, devices)


def _version(version: Json, devices: Devices) -> str:
    value = version["value"]
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{shown} from the {devices[version['dot'][0]]}"


def _removed(flag: Json, named: Named, devices: Devices) -> tuple[str, str]:
    gone, kept = _authors(flag["removed"], devices), _authors(flag["kept"], devices)
    what = "the workout" if flag["entity"] is None else named(flag["entity"])
    return f"{what}: removed on the {gone}, edited on the {kept}", "it stays"


def _late(flag: Json, named: Named, devices: Devices) -> tuple[str, str]:
    sets = " and ".join(named(one) for one in flag["sets"])
    who = " and ".join(devices[device] for device in flag["devices"])
    return f"{sets}: logged on the {who}, which did not know of the end", "in the workout"


def _unknown(flag: Json, named: Named, devices: Devices) -> tuple[str, str]:
    return flag["flag"].replace("_", " "), ""


_FLAGS: Mapping[str, Callable[[Json, Named, Devices], tuple[str, str]]] = {
    "removed_and_edited": _removed,
    "late_sets": _late,
}


def _authors(stamps: Sequence[Json], devices: Devices) -> str:
    return " and ".join(sorted({devices[stamp["dot"][0]] for stamp in stamps}))
