"""What the storage measures about itself; `/metrics` shows it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

POOL_WAIT = Histogram(
    "fitai_database_pool_wait_seconds",
    "How long a checkout waited for a connection, a new one being opened included.",
    buckets=_SECONDS,
)
POOL_OUT = Gauge("fitai_database_pool_out", "Database connections that are in use.")
POOL_SIZE = Gauge("fitai_database_pool_size", "Database connections that may be in use at once.")
POOL_WAITING = Gauge("fitai_database_pool_waiting", "Checkouts that wait for a connection now.")
POOL_TIMEOUTS = Counter(
    "fitai_database_pool_timeouts_total", "Checkouts that got no connection in time: the pool is too small."
)

SLOW_STATEMENTS = Counter(
    "fitai_database_slow_statements_total", "Statements that took longer than FITAI_DATABASE_SLOW_MS."
)
RETRIES = Counter(
    "fitai_database_retries_total",
    "Transactions that were made again since another one was in the way (a deadlock, a busy database).",
)

APPEND_WAIT = Histogram(
    "fitai_append_wait_seconds",
    "From an append's arrival to its answer, whatever the answer.",
    buckets=_SECONDS,
)
APPEND_TIME = Histogram(
    "fitai_append_transaction_seconds",
    "One transaction of the appender, its commit included.",
    buckets=_SECONDS,
)
APPEND_STREAMS = Histogram("fitai_append_batch_streams", "Streams in one transaction.", buckets=_COUNTS)
APPEND_ROWS = Histogram("fitai_append_batch_rows", "Records in one transaction.", buckets=_COUNTS)
APPEND_FATES = Counter(
    "fitai_append_fates_total",
    "What became of a stream in a transaction: `won`, `moved` (another node was first), `busy` (another"
    " transaction holds it, tried again), `locked` (it waits for a row of another transaction, tried again)"
    " or `bad` (a row was refused).",
    ["fate"],
)

# A series is there from the start, so that its first count is seen as one.
for _fate in ("won", "moved", "busy", "locked", "bad"):
    APPEND_FATES.labels(_fate)
