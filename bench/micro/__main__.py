"""All of them, or those that are named: `python -m fitai.bench.micro [NAME …] [options]`.

The options of one are told by it: `python -m fitai.bench.micro merge --help`.
"""

from __future__ import annotations

import sys

from fitai.bench.micro import (
    append,
    bus,
    encode,
    fanout,
    fold,
    growth,
    merge,
    projections,
    push,
    rest,
    size,
    transport,
)

ALL = {
    "fold": fold.main,
    "append": append.main,
    "encode": encode.main,
    "fanout": fanout.main,
    "merge": merge.main,
    "push": push.main,
    "rest": rest.main,
    "size": size.main,
    "growth": growth.main,
    "bus": bus.main,
    "projections": projections.main,
    "transport": transport.main,
}


def main(words: list[str]) -> None:
    """Run the measurements of these names, without any all of them; the other words are their options."""
    options = [word for word in words if word not in ALL]
    for name in [word for word in words if word in ALL] or ALL:
        ALL[name](options)


if __name__ == "__main__":
    main(sys.argv[1:])
