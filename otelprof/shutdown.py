"""Shutting components down, none of which may hold up the end of the others, or of the process."""

from __future__ import annotations

import time
from threading import Thread
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.component import Component

_logger: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


def shut_down(components: Sequence[Component], timeout_secs: float) -> None:
    """Shut components down at once. One that fails, or does not end in time, keeps nobody from going on."""
    threads = [
        Thread(target=_shut_down, args=(one,), name=f"otelprof-shutdown-{type(one).__name__}", daemon=True)
        for one in components
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout_secs
    for component, thread in zip(components, threads, strict=True):
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            _logger.warning("shutdown does not end, and is left behind", component=type(component).__name__)


def _shut_down(component: Component) -> None:
    try:
        component.shutdown()
    except Exception:
        _logger.exception("shutdown failed", component=type(component).__name__)
