"""What jobs measure of themselves. The label `kind` is one that the worker knows, or `unknown`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

WAITING = Gauge("fitai_jobs_waiting", "Jobs that are due and that nobody runs yet, in the database.")
OLDEST_SECONDS = Gauge("fitai_jobs_oldest_seconds", "How long the first of these has been due.")
DEAD = Gauge("fitai_jobs_dead", "Jobs in the database that were given up.")
OUTCOMES = Counter(
    "fitai_jobs_total",
    "Attempts at jobs, by kind and outcome: `done`, `failed` (tried again later), `dead` (given up),"
    " `interrupted` (the worker ended, another one begins anew).",
    ["kind", "outcome"],
)
RUN_SECONDS = Histogram(
    "fitai_job_run_seconds", "How long an attempt took, by kind.", ["kind"], buckets=_SECONDS
)
WAIT_SECONDS = Histogram(
    "fitai_job_wait_seconds", "From the moment at which a job was due to its attempt.", buckets=_SECONDS
)
UNSENT = Counter(
    "fitai_jobs_unsent_total", "Jobs that the broker did not take, so that this worker ran them itself."
)
