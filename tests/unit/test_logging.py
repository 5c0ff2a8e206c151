"""Logs: to stderr, for people or for machines."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from otelprof.model import ComponentId
from otelprof.telemetry.logging import configure_logging, is_debugging, logger_for, set_level

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _undo() -> Iterator[None]:
    level = logging.root.level
    yield
    structlog.reset_defaults()
    logging.basicConfig(level=level, handlers=[], force=True)
    logging.getLogger("otelprof").setLevel(logging.NOTSET)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A component's line is one JSON object with the collector's attributes, on stderr."""
    configure_logging("info", "json")
    logger_for(ComponentId("otlp", "far"), "exporters").warning("sending failed", attempts=3)
    captured = capsys.readouterr()
    line = json.loads(captured.err)

    assert captured.out == ""
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "sending failed",
        "attempts": 3,
        "level": "warning",
        "logger": "otelprof.otlp",
        "otelcol.component.id": "otlp/far",
        "otelcol.component.kind": "exporter",
    }


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    no_color: str,
    coloured: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A terminal gets colour, unless its user asks for none."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    configure_logging("info", "console")
    structlog.get_logger("otelprof").info("ready")

    assert coloured == ("\x1b[" in capsys.readouterr().err)


def test_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    """What a library logs goes the same way, tracebacks included."""
    configure_logging("info", "json")
    try:
        1 / 0  # noqa: B018 - raises
    except ZeroDivisionError:
        logging.getLogger("grpc").exception("call failed")
    line = json.loads(capsys.readouterr().err)

    assert (line["event"], line["logger"], line["level"]) == ("call failed", "grpc", "error")
    assert "ZeroDivisionError" in line["exception"]


def test_level(capsys: pytest.CaptureFixture[str]) -> None:
    """What is less severe than the level is not written."""
    configure_logging("warn", "console")
    logger = logger_for(ComponentId("otlp"), "receiver")
    logger.info("quiet")
    logger.warning("loud")
    written = capsys.readouterr().err

    assert "quiet" not in written
    assert "loud" in written


def test_level_at_run_time(capsys: pytest.CaptureFixture[str]) -> None:
    """A level that is set later holds for loggers that were made before."""
    configure_logging("error", "console")
    logger = logger_for(ComponentId("otlp"), "receiver")
    heard = []
    for level in ("debug", "warn", "info"):
        set_level(level)
        for severity in ("debug", "info", "warning"):
            getattr(logger, severity)(f"{severity} at {level}")
        heard.append((level, is_debugging()))
    written = capsys.readouterr().err

    assert heard == [("debug", True), ("warn", False), ("info", False)]
    assert [line.partition("] ")[2].split("  ")[0].strip() for line in written.splitlines()] == [
        "debug at debug",
        "info at debug",
        "warning at debug",
        "warning at warn",
        "info at info",
        "warning at info",
    ]


def test_libraries_are_not_debugged(capsys: pytest.CaptureFixture[str]) -> None:
    """At debug level a library writes from `info` on: what it says below may hold headers."""
    configure_logging("debug", "json")
    logging.getLogger("hpack.hpack").debug("Decoded (authorization, hunter2)")
    logging.getLogger("hpack.hpack").info("connected")

    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["connected"]


def test_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback on the console does not show the values of local variables."""
    configure_logging("info", "console")
    password = "hunter" + "2"
    try:
        raise ValueError(len(password))  # noqa: TRY301 - the frame must hold the variable
    except ValueError:
        logger_for(ComponentId("otlp"), "receiver").exception("failed")
    written = capsys.readouterr().err

    assert "ValueError: 7" in written
    assert password not in written
