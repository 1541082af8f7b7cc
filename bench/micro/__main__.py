"""All of them, or those that are named: `python -m fitai.bench.micro [merge] [push] [size] [growth]`.

The options of one are told by its own module: `python -m fitai.bench.micro merge --help`.
"""

from __future__ import annotations

import sys

from fitai.bench.micro import growth, merge, push, size

ALL = {"merge": merge.main, "push": push.main, "size": size.main, "growth": growth.main}


def main(names: list[str]) -> None:
    """Run the measurements of these names, without any all of them; the rest are options of the one named."""
    options = [name for name in names if name not in ALL]
    for name in [name for name in names if name in ALL] or ALL:
        ALL[name](options)


if __name__ == "__main__":
    main(sys.argv[1:])
