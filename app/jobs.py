"""Which jobs there are, and what each of them needs: the wiring of a worker."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from random import Random

import structlog

from fitai.app.settings import Settings
from fitai.gateways.groups import reports
from fitai.gateways.jobs.brokers import open_broker
from fitai.gateways.jobs.contract import Kinds
from fitai.gateways.jobs.sweeping import SWEEP, sweep_kind
from fitai.gateways.jobs.worker import AT_A_TIME, Worker
from fitai.gateways.mail.contract import Mailer
from fitai.gateways.mail.folder import FolderMailer
from fitai.gateways.mail.job import mail_kind
from fitai.gateways.mail.smtp import SmtpMailer, SmtpUrl
from fitai.gateways.mail.writing import Writer, sender
from fitai.http.auth import recovery
from fitai.http.users import leaving
from fitai.persistence.database import Database
from fitai.persistence.security_log import SecurityLog
from fitai.persistence.sign_ins import EndedSignIns
from fitai.persistence.sweeps import Sweep

_log = structlog.get_logger(__name__)

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SENDER = "FitAI <no-reply@localhost>"


def open_worker(settings: Settings, db: Database, now_ms: Callable[[], int]) -> Worker:
    """A worker that is yet to be started; over Redis where there is one."""
    node = secrets.token_hex(8)
    broker = open_broker(settings.redis_url, prefix=settings.redis_prefix, node=node, at_a_time=AT_A_TIME)
    return Worker(
        db, broker, kinds(settings, db, now_ms), periodic=[SWEEP], now_ms=now_ms, chance=Random(node)
    )


def kinds(settings: Settings, db: Database, now_ms: Callable[[], int]) -> Kinds:
    """All kinds of jobs. A new one is made in the package that it is about, and listed here."""
    writer = Writer(sender=sender(settings.mail_from or SENDER), public_url=settings.link_url)
    return Kinds(
        (
            mail_kind(open_mailer(settings, now_ms), writer),
            sweep_kind(db, _sweeps(settings)),
            *recovery.kinds(db),
            *leaving.kinds(db),
            *reports.kinds(db),
        )
    )


def _sweeps(settings: Settings) -> Iterable[Sweep]:
    """What is forgotten at a time that the settings say."""
    log_ms = int(settings.security_log_days * DAY_MS)
    yield Sweep("security_events", log_ms, lambda session, before: SecurityLog(session).sweep(before))
    # As long as an access token of theirs might live, and longer than nodes' clocks may differ.
    ends_ms = int(settings.access_token_seconds * 1000) + HOUR_MS
    yield Sweep("ended_sign_ins", ends_ms, lambda session, before: EndedSignIns(session).sweep(before))


def open_mailer(settings: Settings, now_ms: Callable[[], int]) -> Mailer:
    """Where letters go: to the mail server, or into a folder."""
    if settings.smtp_url is None:
        _log.info("mail", into=str(settings.mail_folder))
        return FolderMailer(settings.mail_folder, now_ms)
    url = SmtpUrl.parse(settings.smtp_url)
    _log.info("mail", over=f"{url.host}:{url.port}", security=url.security)
    return SmtpMailer(url)
