from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from fitai.app import logs
from fitai.app.settings import Settings


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _as_before():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def configured(stream, **settings):
    logs.configure(Settings(_env_file=None, **settings), stream)
    return structlog.get_logger("fitai.test")


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_elsewhere_than_on_a_terminal_a_line_is_json_with_its_context():
    out = io.StringIO()
    log = configured(out)
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        log.info("served", path="/x", device=(1, 2), odd=object)
    (line,) = lines(out)
    assert (line["event"], line["level"], line["logger"]) == ("served", "info", "fitai.test")
    assert (line["path"], line["request_id"]) == ("/x", "r1")
    assert line["timestamp"].endswith("Z")


def raise_and_log(log):
    try:
        try:
            raise ConnectionError("nobody listens")
        except ConnectionError as error:
            raise ValueError("82.5 kg") from error
    except ValueError:
        log.exception("failed")


def test_an_exception_is_one_json_line_with_its_traceback():
    out = io.StringIO()
    raise_and_log(configured(out))
    (line,) = lines(out)
    told = line["exception"].splitlines()
    assert told[-1] == "ValueError: [withheld]"  # it may quote what somebody logged
    assert "ConnectionError: nobody listens" in told  # it can not
    assert told.count("Traceback (most recent call last):") == 2
    assert any("in raise_and_log" in each for each in told)


def test_level_debug_shows_what_exceptions_say():
    out = io.StringIO()
    raise_and_log(configured(out, log_level="debug"))
    assert lines(out)[0]["exception"].endswith("ValueError: 82.5 kg")


def test_the_standard_librarys_loggers_are_written_alike():
    out = io.StringIO()
    configured(out)
    logging.getLogger("somebody").warning("half %s", "full")
    (line,) = lines(out)
    assert (line["event"], line["level"], line["logger"]) == ("half full", "warning", "somebody")


@pytest.mark.parametrize("name", ["fitai.live", "fitai.live.engine", "alembic.runtime", "aiohttp.access"])
def test_libraries_that_tell_every_step_are_heard_only_when_something_is_wrong(name):
    out = io.StringIO()
    configured(out)
    logging.getLogger(name).info("a packet")
    logging.getLogger(name).warning("trouble")
    assert [line["event"] for line in lines(out)] == ["trouble"]


def test_a_terminal_gets_lines_for_people_unless_json_is_asked_for():
    out = Terminal()
    configured(out).info("served")
    assert "served" in out.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(out.getvalue())
    out = Terminal()
    configured(out, log_format="json").info("served")
    assert lines(out)[0]["event"] == "served"


def test_the_level_holds():
    out = io.StringIO()
    log = configured(out, log_level="error")
    log.warning("not this")
    log.error("this")
    assert [line["event"] for line in lines(out)] == ["this"]
