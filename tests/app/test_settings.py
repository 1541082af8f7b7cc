from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from fitai.app import secret_key
from fitai.app.limits import UNLIMITED, Limits
from fitai.app.settings import Settings, SettingsError, load_settings, settings_table, warnings

STRONG = "0123456789abcdefghijklmnopqrstuv"


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in list(os.environ):
        if name.upper().startswith("FITAI_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield


def refusal(monkeypatch: pytest.MonkeyPatch, **environ: str) -> str:
    """The sentence that stops the start with these variables."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


def test_several_workers_need_redis_and_should_have_postgresql(monkeypatch):
    assert refusal(monkeypatch, FITAI_WORKERS="3").startswith(
        "FITAI_WORKERS must be 1 unless FITAI_REDIS_URL"
    )
    monkeypatch.setenv("FITAI_REDIS_URL", "redis://localhost")
    monkeypatch.setenv("FITAI_SECRET_KEY", STRONG)
    [doubt] = warnings(load_settings())
    assert "SQLite" in doubt
    monkeypatch.setenv("FITAI_DATABASE_URL", "postgresql://localhost/fit")
    assert warnings(load_settings()) == []
    assert "long-polling" in refusal(monkeypatch, FITAI_POLLING="on")
    assert "FITAI_WORKERS" in refusal(monkeypatch, FITAI_POLLING="auto", FITAI_WORKERS="0")


def test_metrics_take_a_long_token_and_a_whole_address(monkeypatch):
    short = refusal(monkeypatch, FITAI_METRICS_TOKEN="short")
    assert short == "FITAI_METRICS_TOKEN is too short: it takes 16 characters or more."
    monkeypatch.setenv("FITAI_METRICS_TOKEN", STRONG)
    for wrong in ("9464", ":9464", "127.0.0.1", "127.0.0.1:65536", "::1:9464", "http://h:1"):
        assert refusal(monkeypatch, FITAI_METRICS_BIND=wrong).startswith(
            "FITAI_METRICS_BIND must be an address"
        )
    for right, address in (("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:0", ("::1", 0))):
        monkeypatch.setenv("FITAI_METRICS_BIND", right)
        assert load_settings().metrics_address == address
    assert STRONG not in repr(load_settings())


def test_a_moderation_hook_is_a_url_whose_requests_are_signed(monkeypatch):
    for wrong in ("moderation.example.com", "ftp://m.example.com", "https://", "http:///x", "http://m/x y"):
        assert refusal(monkeypatch, FITAI_MODERATION_URL=wrong).startswith(
            "FITAI_MODERATION_URL must be a URL like"
        )
    monkeypatch.setenv("FITAI_MODERATION_URL", "https://user:pass@m.example.com/check?v=1")
    unsigned = refusal(monkeypatch)
    assert unsigned.startswith("FITAI_MODERATION_SECRET must be set when FITAI_MODERATION_URL is")
    short = refusal(monkeypatch, FITAI_MODERATION_SECRET="short")
    assert short == "FITAI_MODERATION_SECRET is too short: it takes 16 characters or more."
    monkeypatch.setenv("FITAI_MODERATION_SECRET", STRONG)
    assert load_settings().moderation_url is not None
    assert "m.example.com" not in repr(load_settings()) and STRONG not in repr(load_settings())


def test_a_drain_may_come_without_notice_but_not_before_now(monkeypatch):
    assert load_settings().limits.drain_notice_seconds == 0
    assert "FITAI_LIMIT_DRAIN_NOTICE_SECONDS" in refusal(monkeypatch, FITAI_LIMIT_DRAIN_NOTICE_SECONDS="-1")


def test_nothing_set_gives_one_process_on_sqlite_in_the_data_folder():
    settings = load_settings()
    assert settings.database_url == "sqlite:///data/fitai.db"
    assert (settings.host, settings.port, settings.redis_url) == ("127.0.0.1", 8080, None)
    assert settings.migrate and settings.rates and settings.environment == "development"


def test_the_database_follows_the_data_folder(tmp_path: Path):
    folder = tmp_path / "elsewhere"
    assert load_settings(data_dir=folder).database_url == f"sqlite:///{folder}/fitai.db"


def test_an_option_wins_over_the_environment_which_wins_over_the_file(monkeypatch: pytest.MonkeyPatch):
    Path(".env").write_text("FITAI_PORT=1\nFITAI_HOST=1.1.1.1\nFITAI_LIMIT_WORKOUT_SETS=7\n")
    monkeypatch.setenv("FITAI_PORT", "2")
    settings = load_settings()
    assert (settings.host, settings.port, settings.limits.workout_sets) == ("1.1.1.1", 2, 7)
    assert load_settings(port=3, host=None).port == 3
    assert load_settings(env_file=None).host == "127.0.0.1"


def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FITAI_REDIS_URL", "")
    monkeypatch.setenv("FITAI_PORT", "")
    assert load_settings().redis_url is None
    assert load_settings().port == 8080


def test_every_limit_is_set_by_its_own_variable(monkeypatch: pytest.MonkeyPatch):
    for name in Limits.model_fields:
        with monkeypatch.context() as patch:
            # Doubling one keeps it below no other limit that it must not exceed, save by these two.
            value = getattr(Limits(), name) * 2
            patch.setenv("FITAI_LIMIT_INFLATED_BYTES", str(2**22))
            patch.setenv("FITAI_LIMIT_USER_CONNECTIONS", "1000")
            patch.setenv(f"FITAI_LIMIT_{name.upper()}", str(value))
            assert getattr(load_settings().limits, name) == value


def test_limits_off_lifts_rates_and_keeps_sizes_and_durations(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FITAI_LIMITS", "off")
    monkeypatch.setenv("FITAI_LIMIT_OPS_PER_SECOND", "7")
    limits = load_settings().limits
    assert (limits.ops_per_second, limits.ops_per_day, limits.connects_per_minute) == (UNLIMITED,) * 3
    kept = (
        "op_bytes",
        "push_ops",
        "queue_bytes",
        "workout_sets",
        "workout_ops",
        "user_ops",
        "auth_seconds",
        "drain_seconds",
    )
    assert all(getattr(limits, name) == getattr(Limits(), name) for name in kept)


def test_limits_are_given_as_a_value_too():
    settings = load_settings(limits=Limits(ops_per_second=3), rates=True)
    assert settings.limits == Limits(ops_per_second=3)
    assert load_settings(limits={"auth_seconds": 0.2}).limits.auth_seconds == 0.2


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("FITAI_PORT", "70000", "FITAI_PORT must be less than or equal to 65535, but is '70000'."),
        ("FITAI_PORT", "http", "FITAI_PORT must be a whole number, but is 'http'."),
        ("FITAI_MIGRATE", "perhaps", "FITAI_MIGRATE must be on or off, but is 'perhaps'."),
        ("FITAI_LIMITS", "perhaps", "FITAI_LIMITS must be on or off, but is 'perhaps'."),
        ("FITAI_POLLING", "yes", "FITAI_POLLING must be 'auto', 'on' or 'off', but is 'yes'."),
        (
            "FITAI_LOG_LEVEL",
            "loud",
            "FITAI_LOG_LEVEL must be 'debug', 'info', 'warning' or 'error', but is 'loud'.",
        ),
        ("FITAI_LIMIT_PUSH_OPS", "0", "FITAI_LIMIT_PUSH_OPS must be greater than or equal to 1, but is '0'."),
        ("FITAI_LIMIT_AUTH_SECONDS", "soon", "FITAI_LIMIT_AUTH_SECONDS must be a number, but is 'soon'."),
        (
            "FITAI_LIMIT_AUTH_SECONDS",
            "nan",
            "FITAI_LIMIT_AUTH_SECONDS must be a finite number, but is 'nan'.",
        ),
        ("FITAI_LIMIT_OP_BYTES", "999999", "FITAI_LIMIT_OP_BYTES must not exceed FITAI_LIMIT_PUSH_BYTES."),
        ("FITAI_LIMIT", "off", "FITAI_LIMIT is no setting; FITAI_LIMITS is, and each FITAI_LIMIT_… alone."),
        (
            "FITAI_ALLOWED_ORIGINS",
            "https://a.example, b.example",
            "FITAI_ALLOWED_ORIGINS must be origins like https://app.example.com, separated by commas, or *, "
            "but is 'b.example'.",
        ),
        (
            "FITAI_TRUSTED_PROXIES",
            "10.0.0.0/8, balancer",
            "FITAI_TRUSTED_PROXIES must be addresses or networks like 10.0.0.0/8, separated by commas, "
            "but is 'balancer'.",
        ),
        (
            "FITAI_REFRESH_TOKEN_SECONDS",
            "60",
            "FITAI_REFRESH_TOKEN_SECONDS must not be shorter than FITAI_ACCESS_TOKEN_SECONDS, but is '60'.",
        ),
    ],
)
def test_a_wrong_setting_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
):
    assert refusal(monkeypatch, **{variable: value}) == sentence


@pytest.mark.parametrize("name", ["FITAI_DATABASE_URL", "FITAI_REDIS_URL"])
def test_a_wrong_url_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, name: str):
    sentence = refusal(monkeypatch, **{name: "mysql://anna:hunter2@host/db"})
    assert sentence.startswith(f"{name} must be a URL like ")
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///x.db",
        "sqlite+aiosqlite:////x.db",
        "postgres://h/d",
        "postgresql://u:p@h:5432/d",
        "postgresql+asyncpg:///d?host=/run/postgresql",
    ],
)
def test_a_database_url_may_name_its_driver_or_not(url: str):
    assert load_settings(database_url=url).database_url == url


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis://h,i", "must name one server, or be redis+sentinel://… or redis+cluster://…."),
        ("redis+sentinel://h", "must name the service, like redis+sentinel://host,host/mymaster."),
        (
            "redis://h?sll_ca_certs=x",
            "must not have the option 'sll_ca_certs': its kind of connection has none.",
        ),
    ],
)
def test_a_wrong_redis_url_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, url: str, sentence: str):
    assert refusal(monkeypatch, FITAI_REDIS_URL=url) == f"FITAI_REDIS_URL {sentence}"


def test_several_processes_are_nothing_to_be_warned_of():
    assert warnings(load_settings(redis_url="redis://h", secret_key=STRONG), environ={}) == []


@pytest.mark.parametrize("prefix", ["a b", "{tag}", "x" * 65, "é"])
def test_names_in_redis_begin_with_plain_characters(monkeypatch: pytest.MonkeyPatch, prefix: str):
    assert "must be 1 to 64 letters" in refusal(monkeypatch, FITAI_REDIS_PREFIX=prefix)


def test_passwords_and_keys_stay_out_of_the_repr():
    settings = load_settings(
        database_url="postgresql://u:hunter2@h/d", redis_url="redis://:hunter2@h", secret_key=STRONG
    )
    assert "hunter2" not in repr(settings)
    assert STRONG not in repr(settings)


def test_a_data_folder_that_cannot_be_made_is_told_in_one_sentence():
    Path("data").write_text("a file is in the way")
    with pytest.raises(SettingsError, match="FITAI_DATA_DIR must be a folder that this user may write"):
        load_settings()


def test_the_data_folder_is_made_only_where_something_goes_into_it():
    load_settings(secret_key=STRONG, database_url="postgresql://h/d")
    assert not Path("data").exists()
    load_settings(secret_key=STRONG)
    assert list(Path("data").iterdir()) == []


def test_a_file_that_is_no_text_is_told_in_one_sentence():
    Path(".env").write_bytes(b"FITAI_HOST=\xff\xfe")
    with pytest.raises(SettingsError, match=r"The file \.env must be readable text in UTF-8"):
        load_settings()


def test_an_option_that_does_not_exist_is_a_mistake_of_the_caller():
    with pytest.raises(TypeError, match="no such setting: prot"):
        load_settings(prot=1)


def test_settings_cannot_be_changed():
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        settings.limits.sets = 1  # type: ignore[attr-defined]


def test_the_key_is_made_once_and_readable_by_its_owner_alone():
    first, second = load_settings(), load_settings()
    file = Path("data") / secret_key.FILE_NAME
    assert first.signing_key == second.signing_key
    assert secret_key.weakness(first.signing_key) is None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in Path("data").iterdir()] == [secret_key.FILE_NAME]


def test_processes_that_start_together_agree_on_the_key(tmp_path: Path):
    keys: list[str] = []
    threads = [
        Thread(target=lambda: keys.append(secret_key.generated_key(tmp_path / "new"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("change-me-please-in-production-now", "is a placeholder that anybody can guess"),
        ("abababababababababababababababab", "has too few different characters"),
    ],
)
def test_a_weak_key_is_refused_in_production_and_warned_about_in_development(
    monkeypatch: pytest.MonkeyPatch, key: str, problem: str
):
    assert warnings(load_settings(secret_key=key), environ={}) == [
        f"FITAI_SECRET_KEY {problem}; production will refuse it."
    ]
    sentence = refusal(monkeypatch, FITAI_SECRET_KEY=key, FITAI_ENVIRONMENT="production")
    assert sentence.startswith(f"FITAI_SECRET_KEY {problem}; production needs 32 random characters")
    assert key not in sentence


def test_a_key_too_short_to_sign_with_is_refused_everywhere(monkeypatch: pytest.MonkeyPatch):
    sentence = refusal(monkeypatch, FITAI_SECRET_KEY="hunter2")
    assert sentence == (
        "FITAI_SECRET_KEY is too short: it takes 32 characters or more, or none to have one made."
    )


@pytest.mark.parametrize(
    ("environment", "key", "problem"),
    [
        ("development", "", "is too short"),
        ("production", "ab" * 20, "has too few different characters"),
    ],
)
def test_a_weak_key_that_was_kept_is_refused_too(environment: str, key: str, problem: str):
    Path("data").mkdir()
    (Path("data") / secret_key.FILE_NAME).write_text(key + "\n")
    with pytest.raises(SettingsError, match=f"The key kept in data/secret.key {problem}; delete the file"):
        load_settings(environment=environment)


def test_production_runs_with_a_strong_key_or_the_one_it_made():
    assert load_settings(environment="production", secret_key=STRONG).signing_key == STRONG
    assert secret_key.weakness(load_settings(environment="production").signing_key) is None


def test_misspelt_variables_are_named_wherever_they_are():
    Path(".env").write_text("FITAI_PROT=1\nOTHER=2\nFITAI_HOST=0.0.0.0\n")
    environ = {"FITAI_LIMIT_SETTS": "1", "fitai_port": "1", "FITAI_TEST_DATABASE_URL": "x", "HOME": "/"}
    assert warnings(load_settings(), environ=environ) == [
        "These variables are no settings of FitAI and change nothing: FITAI_LIMIT_SETTS, FITAI_PROT."
    ]


def test_polling_is_on_for_one_process_and_off_with_redis_unless_set():
    redis = "redis://localhost"
    assert load_settings().polling_allowed
    assert not load_settings(redis_url=redis).polling_allowed
    assert load_settings(redis_url=redis, polling="on").polling_allowed
    assert not load_settings(polling="off").polling_allowed


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FITAI_ALLOWED_ORIGINS", "https://a.example, http://localhost:3000 ,")
    assert load_settings().allowed_origins == ("https://a.example", "http://localhost:3000")


def test_trusted_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FITAI_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7, fd00::/8")
    assert [str(network) for network in load_settings().trusted_proxies] == [
        "10.0.0.0/8",
        "192.0.2.7/32",
        "fd00::/8",
    ]


def test_the_table_has_a_described_row_for_every_setting():
    rows = settings_table().splitlines()[2:]
    assert len(rows) == len(Settings.model_fields) - 1 + len(Limits.model_fields)
    assert all(cell.strip() for row in rows for cell in row.strip("|").split("|"))
    assert "| `FITAI_PORT` | `8080` | Port to listen on; 0 takes a free one. |" in rows
    assert len({row.split("|")[1] for row in rows}) == len(rows)
