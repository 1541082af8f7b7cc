"""Every setting of FitAI, in one typed and frozen class.

A setting comes from, the first that has it: an argument of `load_settings` (a command line option), an
environment variable `FITAI_…`, the file `.env`, its default. An empty variable counts as absent.

    FITAI_PORT=8081                     a setting               settings.port
    FITAI_LIMIT_OPS_PER_SECOND=200      a limit                 settings.limits.ops_per_second
    FITAI_LIMITS=off                    lifts all rates, keeps all sizes

A wrong value stops the start with one sentence that names the variable (`SettingsError`). What is only
doubtful, a misspelt variable or a weak key on a developer's machine, is told by `warnings`.
The settings table of the README is `settings_table()`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fitai.app.limits import LIMIT_PREFIX, Limits, Seconds, is_rate
from fitai.app.secret_key import FILE_NAME, Weakness, generated_key, weakness

PREFIX = "FITAI_"
METRICS_TOKEN = SIGNING_SECRET = 16  # characters at least
TEST_PREFIX = "FITAI_TEST_"  # read by the test suite, not by the program


class SettingsError(Exception):
    """A setting is wrong. The message is one sentence: the variable, what is wrong, what would be right."""


def _wrong(text: str) -> NoReturn:
    """Refuse a value; `text` continues the sentence that the variable's name begins."""
    raise PydanticCustomError("wrong", "{text}", {"text": text})


def _database(url: str) -> str:
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme.partition("+")[0] not in {"sqlite", "postgresql", "postgres"}:
        _wrong("must be a URL like sqlite:///data/fitai.db or postgresql://user:password@host/name")
    return url


def _redis(url: str) -> str:
    from fitai.gateways.bus.redis_url import BadRedisUrl, RedisUrl  # slow to import, and seldom needed

    try:
        RedisUrl.parse(url)
    except BadRedisUrl as error:
        _wrong(str(error))
    return url


def _smtp(url: str) -> str:
    from fitai.gateways.mail.smtp import BadSmtpUrl, SmtpUrl  # seldom needed

    try:
        SmtpUrl.parse(url).trust()
    except BadSmtpUrl as error:
        _wrong(str(error))
    return url


def _sender(text: str) -> str:
    from fitai.gateways.mail.writing import sender  # seldom needed

    try:
        sender(text)
    except ValueError:
        _wrong("must be one address, with a name before it or without: FitAI <no-reply@fit.example.com>")
    return text


def _prefix(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", name):
        _wrong("must be 1 to 64 letters, digits or any of _ . : -")
    return name


_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/@]+):(?P<port>\d{1,5})")


def _address(value: str) -> str:
    found = _ADDRESS.fullmatch(value)
    if found is None or int(found["port"]) > 65_535:
        _wrong("must be an address and a port like 127.0.0.1:9464 or [::1]:9464")
    return value


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _origin(value: str) -> str:
    from fitai.gateways.origins import ALL, normal  # slow to import, and seldom needed

    try:
        if value == ALL or re.fullmatch(r"https?://[^\s/?#@*]+", value):
            return value if value == ALL else normal(value)
    except ValueError:
        pass
    _wrong("must be origins like https://app.example.com, separated by commas, or *")


def _network(value: object) -> object:
    try:
        return ip_network(str(value))
    except ValueError:
        _wrong("must be addresses or networks like 10.0.0.0/8, separated by commas")


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]


def _public(url: str) -> str:
    if url and not re.fullmatch(r"https?://[^\s?#@]+", url):
        _wrong("must be a URL like https://fit.example.com")
    return url.rstrip("/")


def _dsn(dsn: SecretStr) -> SecretStr:
    if not re.fullmatch(r"https?://[^\s/?#@:]+(?::[^\s/?#@]*)?@[^\s?#@]+/\d+", dsn.get_secret_value()):
        _wrong("must be a DSN like https://key@sentry.example.com/1")
    return dsn


def _hook(url: SecretStr) -> SecretStr:
    if not re.fullmatch(r"https?://[^\s?#/]+[^\s#]*", url.get_secret_value()):
        _wrong("must be a URL like https://moderation.example.com/messages")
    return url


def _collector(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s?#]+", url):
        _wrong("must be a URL like http://127.0.0.1:4318")
    return url


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


Choice = BeforeValidator(_lower)


def _database_in(data: dict[str, Any]) -> str:
    return f"sqlite:///{Path(data['data_dir']) / 'fitai.db'}"


class Settings(BaseSettings):
    """All settings. Build it with `load_settings`, which also finds or makes the secret key.

    Values that may hold a password (`database_url`, `redis_url`, `secret_key`) stay out of its repr.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="ignore",
        frozen=True,
        validate_default=True,
    )

    environment: Annotated[Literal["development", "production"], Choice] = Field(
        "development", description="`development` or `production`; production refuses a weak secret key."
    )
    data_dir: Path = Field(
        Path("data"), description="Folder for the SQLite file and the generated key; made when absent."
    )
    database_url: Annotated[str, AfterValidator(_database)] = Field(
        default_factory=_database_in,
        description="SQLite or PostgreSQL, with or without a driver; `?host=/socket/dir` works too.",
        repr=False,
        json_schema_extra={"shown_default": "`fitai.db` in the data folder"},
    )
    database_pool: int = Field(
        5, ge=1, le=500, description="Connections to the database that one process keeps."
    )
    database_statement_seconds: float = Field(
        10, ge=1, le=3600, description="The longest that PostgreSQL may work on one statement."
    )
    database_slow_ms: float = Field(
        500, ge=0, description="A statement that takes longer is logged, without its values; 0 logs none."
    )
    database_slow_plans: bool = Field(
        False, description="`on` asks for the plan of each statement that is logged as slow."
    )
    redis_url: Annotated[str, AfterValidator(_redis)] | None = Field(
        None,
        description="Redis that connects several processes (`redis://`, `rediss://`, `unix://`, "
        "`redis+sentinel://h,h/service`, `redis+cluster://h,h`); without it there is one process.",
        repr=False,
    )
    smtp_url: Annotated[str, AfterValidator(_smtp)] | None = Field(
        None,
        description="Mail server, as `smtp://user:password@host:587` (STARTTLS), `smtps://…` (TLS) or"
        " `smtp://localhost:25?tls=off`; `?ca=/file` names other authorities. Without it letters land in"
        " `mail` in the data folder, and `fitai mail` shows them.",
        repr=False,
    )
    mail_from: Annotated[str, AfterValidator(_sender)] | None = Field(
        None,
        description="Who letters are from: `FitAI <no-reply@fit.example.com>`. A mail server wants to know.",
        json_schema_extra={"shown_default": "`FitAI <no-reply@localhost>`"},
    )
    redis_prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        "fitai", description="What names in Redis begin with; another one for each installation that uses it."
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Encrypts the keys that sign access tokens, and other secrets in the database; at least "
        "32 random characters, the same for all processes.",
        repr=False,
        json_schema_extra={"shown_default": "made on the first run, kept in the data folder"},
    )
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that share the port, for machines with several cores; needs Redis.",
    )
    public_url: Annotated[str, AfterValidator(_public)] = Field(
        "",
        description="What links to this server begin with, such as https://fit.example.com.",
        json_schema_extra={"shown_default": "none: links are paths"},
    )
    migrate: bool = Field(True, description="`off` forbids to migrate the database at the start.")
    polling: Annotated[Literal["auto", "on", "off"], Choice] = Field(
        "auto",
        description="Long-polling: `auto` is on for one process, off with Redis (it needs sticky sessions).",
    )
    allowed_origins: Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode] = Field(
        (),
        description="Other origins whose pages may call this server, separated by commas; `*` for all.",
        json_schema_extra={"shown_default": "none"},
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (),
        description="Load balancers, as addresses or networks, whose `X-Forwarded-For` is believed.",
        json_schema_extra={"shown_default": "none"},
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="Opens `/metrics` on the main port to who sends it as a bearer token.",
        repr=False,
    )
    metrics_bind: Annotated[str, AfterValidator(_address)] | None = Field(
        None,
        description="Address such as 127.0.0.1:9464 that serves `/metrics` to everybody who reaches it.",
    )
    http_seconds: Seconds = Field(
        30, description="The longest that a REST request may be worked on before it is answered 503."
    )
    access_token_seconds: Seconds = Field(15 * 60, description="Life of an access token.")
    signing_key_days: float = Field(
        30, ge=1, le=3650, description="How long a key signs access tokens before another one takes over."
    )
    refresh_token_seconds: Seconds = Field(
        30 * 86_400, description="Life of a refresh token, from its last use."
    )
    account_grace_days: float = Field(
        14, ge=0, le=365, description="How long an account that its person deletes can be restored."
    )
    security_log_days: float = Field(
        365, ge=1, le=3650, description="How long a person's security log goes back."
    )
    group_host_grace_seconds: Seconds = Field(
        30, description="How long the host of a group may be gone before somebody else hosts."
    )
    moderation_url: Annotated[SecretStr, AfterValidator(_hook)] | None = Field(
        None,
        description="Webhook that is asked about each message in a group before others hear it.",
        repr=False,
    )
    moderation_secret: SecretStr | None = Field(
        None,
        description="Signs the requests to that webhook; 16 characters or more, needed with it.",
        repr=False,
        validate_default=True,
    )
    sentry_dsn: Annotated[SecretStr, AfterValidator(_dsn)] | None = Field(
        None,
        description="Where errors are reported to, in Sentry's protocol; without it they are only logged.",
        repr=False,
    )
    otlp_url: Annotated[str, AfterValidator(_collector)] | None = Field(
        None,
        description="Collector that traces are sent to, such as http://127.0.0.1:4318 (OTLP over HTTP).",
        repr=False,
    )
    trace_share: float = Field(
        1.0, ge=0, le=1, allow_inf_nan=False, description="The part of all traces that is sent there."
    )
    disk_low_mb: int = Field(
        512, ge=0, description="Free MiB on the data folder's disk, below which `/health` is degraded."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Choice] = Field(
        "info", description="`debug`, `info`, `warning` or `error`."
    )
    log_format: Annotated[Literal["auto", "console", "json"], Choice] = Field(
        "auto", description="`console`, `json`, or `auto`: console on a terminal, else JSON."
    )
    rates: bool = Field(
        True,
        validation_alias="FITAI_LIMITS",
        description="`off` lifts all rates and keeps all sizes, for load tests.",
    )
    limits: Limits = Field(default_factory=Limits, validation_alias="FITAI_LIMIT", description="")

    @field_validator("allowed_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _listed(value)

    @field_validator("secret_key")
    @classmethod
    def _long_and_in_production_strong(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        why = None if key is None else weakness(key.get_secret_value())
        if why == "short":
            _wrong(f"{_WEAK[why]}: it takes 32 characters or more, or none to have one made")
        if why is not None and info.data.get("environment") == "production":
            _wrong(f"{_WEAK[why]}; production needs 32 random characters, or none to have one made")
        return key

    @field_validator("mail_from")
    @classmethod
    def _a_mail_server_wants_a_sender(cls, sender: str | None, info: ValidationInfo) -> str | None:
        if sender is None and info.data.get("smtp_url") is not None:
            _wrong("must be set when FITAI_SMTP_URL is: an address that its server may send from")
        return sender

    @field_validator("workers")
    @classmethod
    def _workers_need_redis(cls, workers: int, info: ValidationInfo) -> int:
        if workers > 1 and info.data.get("redis_url") is None:
            _wrong("must be 1 unless FITAI_REDIS_URL names the Redis that connects the processes")
        return workers

    @field_validator("polling")
    @classmethod
    def _polling_needs_one_process(cls, polling: str, info: ValidationInfo) -> str:
        if polling == "on" and info.data.get("workers", 1) > 1:
            _wrong(
                "must be auto or off when FITAI_WORKERS share a port: long-polling has to meet one process"
            )
        return polling

    @field_validator("metrics_token")
    @classmethod
    def _metrics_token_is_long(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token.get_secret_value()) < METRICS_TOKEN:
            _wrong(f"is too short: it takes {METRICS_TOKEN} characters or more")
        return token

    @field_validator("moderation_secret")
    @classmethod
    def _a_hook_wants_signed_requests(
        cls, secret: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        if secret is None and info.data.get("moderation_url") is not None:
            _wrong("must be set when FITAI_MODERATION_URL is: what the requests to it are signed with")
        if secret is not None and len(secret.get_secret_value()) < SIGNING_SECRET:
            _wrong(f"is too short: it takes {SIGNING_SECRET} characters or more")
        return secret

    @field_validator("refresh_token_seconds")
    @classmethod
    def _refresh_outlives_access(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds < info.data.get("access_token_seconds", 0):
            _wrong("must not be shorter than FITAI_ACCESS_TOKEN_SECONDS")
        return seconds

    @field_validator("limits")
    @classmethod
    def _lift_rates(cls, limits: Limits, info: ValidationInfo) -> Limits:
        return limits if info.data.get("rates", True) else limits.lifted()

    @property
    def signing_key(self) -> str:
        """The secret key as text. Only a `Settings` that `load_settings` made is sure to have one."""
        if self.secret_key is None:
            raise SettingsError("FITAI_SECRET_KEY is not set and none was made.")
        return self.secret_key.get_secret_value()

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """(host, port) of `metrics_bind`."""
        found = None if self.metrics_bind is None else _ADDRESS.fullmatch(self.metrics_bind)
        return None if found is None else (found["host"].strip("[]"), int(found["port"]))

    @property
    def link_url(self) -> str:
        """What links in letters begin with."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def mail_folder(self) -> Path:
        """Where letters land without a mail server."""
        return self.data_dir / "mail"

    @property
    def polling_allowed(self) -> bool:
        """Whether this process answers long-polling clients."""
        return self.polling == "on" or (self.polling == "auto" and self.redis_url is None)


# Without these `limits` would itself be read from FITAI_LIMITS, the switch.
_ALIASES = {
    name: str(field.validation_alias)
    for name, field in Settings.model_fields.items()
    if field.validation_alias is not None
}

_WEAK: Mapping[Weakness, str] = {
    "short": "is too short",
    "known": "is a placeholder that anybody can guess",
    "monotonous": "has too few different characters",
}


def load_settings(*, env_file: Path | str | None = ".env", **overrides: Any) -> Settings:
    """The settings of this process.

    overrides   values by field name that win over the environment; None counts as not given, so that the
                options of a command can be passed as they are
    env_file    where to read `.env`; None reads none

    Makes the data folder where it is needed and, on the first run without FITAI_SECRET_KEY, a key in it.
    Raises SettingsError.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    unknown = given.keys() - Settings.model_fields.keys()
    if unknown:
        raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
    settings = _read(env_file, given)
    try:
        if settings.database_url.startswith("sqlite"):
            settings.data_dir.mkdir(parents=True, exist_ok=True)
        return settings if settings.secret_key is not None else _with_kept_key(settings)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"FITAI_DATA_DIR must be a folder that this user may write, but {settings.data_dir} is not "
            f"({getattr(error, 'strerror', None) or error})."
        ) from error


def _with_kept_key(settings: Settings) -> Settings:
    key = generated_key(settings.data_dir)
    why = weakness(key)
    if why == "short" or (why is not None and settings.environment == "production"):
        raise SettingsError(
            f"The key kept in {settings.data_dir / FILE_NAME} {_WEAK[why]}; delete the file to have one made."
        )
    return settings.model_copy(update={"secret_key": SecretStr(key)})


def _read(env_file: Path | str | None, given: dict[str, Any]) -> Settings:
    arguments = {_ALIASES.get(name, name): value for name, value in given.items()}
    try:
        if LIMIT_PREFIX[:-1] in _given_names(env_file, os.environ):
            raise SettingsError("FITAI_LIMIT is no setting; FITAI_LIMITS is, and each FITAI_LIMIT_… alone.")
        return Settings(_env_file=env_file, **arguments)
    except ValidationError as error:
        raise SettingsError(_sentence(error.errors()[0])) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The file {env_file} must be readable text in UTF-8 ({error}).") from error


def _sentence(error: ErrorDetails) -> str:
    """One sentence for a person from pydantic's description of what is wrong."""
    location = [str(part) for part in error["loc"]]
    context = error.get("ctx", {})
    if "limit" in context:
        location = ["limits", context["limit"]]
    variable = _variable(location)
    problem = context["text"] if "text" in context else _expectation(error)
    shown = "" if variable in _SECRETS or "limit" in context else f", but is {error['input']!r}"
    return f"{variable} {problem}{shown}."


def _expectation(error: ErrorDetails) -> str:
    if error["type"].startswith("bool"):
        return "must be on or off"
    if error["type"].startswith(("int", "float")):
        return "must be a number" if error["type"].startswith("float") else "must be a whole number"
    return error["msg"].replace("Input should be", "must be", 1)


def _variable(location: list[str]) -> str:
    """The environment variable behind pydantic's location of an error (field names or aliases)."""
    if location[0] in {"limits", "FITAI_LIMIT"}:
        return LIMIT_PREFIX + location[1].upper() if len(location) > 1 else LIMIT_PREFIX[:-1]
    if location[0] in {"rates", "FITAI_LIMITS"}:
        return "FITAI_LIMITS"
    return PREFIX + location[0].upper()


_SECRETS = {_variable([name]) for name, field in Settings.model_fields.items() if not field.repr}


def warnings(
    settings: Settings, *, env_file: Path | str | None = ".env", environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Sentences for the log about what is not wrong but doubtful."""
    sentences = []
    unknown = sorted(_given_names(env_file, environ) - {row[0] for row in _rows()})
    if unknown:
        sentences.append(
            f"These variables are no settings of FitAI and change nothing: {', '.join(unknown)}."
        )
    if settings.workers > 1 and settings.database_url.startswith("sqlite"):
        sentences.append(
            "FITAI_WORKERS share one SQLite file, where one writes at a time: they are meant for PostgreSQL."
        )
    if settings.smtp_url is not None and not settings.public_url:
        sentences.append(
            f"Letters link to {settings.link_url}, where nobody else finds this server: set FITAI_PUBLIC_URL."
        )
    why = weakness(settings.signing_key)
    if why is not None:
        sentences.append(f"FITAI_SECRET_KEY {_WEAK[why]}; production will refuse it.")
    return sentences


def _given_names(env_file: Path | str | None, environ: Mapping[str, str]) -> set[str]:
    names = {*environ, *(dotenv_values(env_file) if env_file else ())}
    upper = {name.upper() for name in names}
    return {name for name in upper if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX)}


def settings_table() -> str:
    """All settings as a Markdown table: variable, default, meaning."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    lines += [f"| `{variable}` | {default} | {meaning} |" for variable, default, meaning in _rows()]
    return "\n".join(lines) + "\n"


def _rows() -> Iterator[tuple[str, str, str]]:
    for name, field in Settings.model_fields.items():
        if name != "limits":
            yield _variable([name]), _shown_default(field), field.description or ""
    for name, field in Limits.model_fields.items():
        meaning = (
            f"{field.description} Lifted by `FITAI_LIMITS=off`." if is_rate(field) else field.description
        )
        yield _variable(["limits", name]), _shown_default(field), meaning or ""


def _shown_default(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "shown_default" in extra:
        return str(extra["shown_default"])
    if field.default is None:
        return "none"
    if isinstance(field.default, bool):
        return "`on`" if field.default else "`off`"
    return f"`{field.default}`"
