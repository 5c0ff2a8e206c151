"""Logs of otelprof, and of the libraries that it uses, to stderr: for people or for machines.

A log line is about the service or a component, never about one request or one sample: those are counted.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Final, Literal

import structlog

if TYPE_CHECKING:
    from otelprof.model import ComponentId

Level = Literal["debug", "info", "warn", "error"]

_LEVELS: Final[dict[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_ENRICH: Final[list[structlog.typing.Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure_logging(level: Level, encoding: Literal["console", "json"]) -> None:
    """Send every log of this process to stderr, from now on.

    Args:
        level: the least severe that is written.
        encoding: `console` for people, in colour on a terminal unless NO_COLOR is set; `json` is one object a
            line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_ENRICH,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_render(encoding)],
        )
    )
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_ENRICH,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def set_level(level: Level) -> None:
    """Write what is at least so severe, from now on and from every thread.

    Libraries never write below `info`: what they say when debugged may hold headers, and with them secrets.
    """
    logging.getLogger("otelprof").setLevel(_LEVELS[level])
    logging.root.setLevel(max(_LEVELS[level], logging.INFO))


def is_debugging() -> bool:
    """Whether `debug` is the level now: whoever set it wants to see everything."""
    return logging.getLogger("otelprof").isEnabledFor(logging.DEBUG)


def logger_for(component_id: ComponentId, kind: str) -> structlog.stdlib.BoundLogger:
    """The logger of a component; its lines carry the collector's attributes.

    Args:
        component_id: as in the configuration.
        kind: `receiver`, `processor` or `exporter`; the name of the section does as well.
    """
    attributes = {"otelcol.component.id": str(component_id), "otelcol.component.kind": kind.removesuffix("s")}
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(f"otelprof.{component_id.type}", **attributes)
    return logger


def _render(encoding: Literal["console", "json"]) -> list[structlog.typing.Processor]:
    if encoding == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # A plain traceback: the pretty one shows local variables, and with them what must not be logged.
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]
