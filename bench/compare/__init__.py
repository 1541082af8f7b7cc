"""FitAI beside what a team would pick instead: `python -m fitai.bench.compare` (`make compare`).

All servers are started here, take their turns on one machine, and are driven by one client with one kind
of payload: sets, in events of the same size, acknowledged to who sent them and told to the others. The peers
only echo. FitAI validates, judges, numbers and stores each set, on disk, before anybody hears of it.

`peers/` has the peers, `voices.py` the client, `load.py` what it does, `measures.py` what is asked,
`table.py` how it is told.
"""
