"""The level of the logs of a running otelprof, changed from outside."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.e2e.harness import Client, Process, one_pipeline, request

if TYPE_CHECKING:
    from pathlib import Path

MORE = "log level is debug; SIGUSR2 goes back"
BACK = "log level is as configured again"


def test_signals_change_the_level(tmp_path: Path) -> None:
    """SIGUSR1 shows more, SIGUSR2 what was configured, as often as one likes; the service goes on."""
    config = one_pipeline(exporters={"debug": {}})
    with Process(config, tmp_path) as process:
        for number, event in ((signal.SIGUSR1, MORE), (signal.SIGUSR2, BACK)) * 2:
            seen = process.events.count(event)
            process.signal(number)
            while process.events.count(event) == seen:
                process.wait_for(event)
        with Client(process.endpoint) as client:
            answer = client.export(request().SerializeToString())
        process.signal(signal.SIGTERM)
        code = process.exit_code()
    changes = [event for event in process.events if event in {MORE, BACK}]
    assert ([MORE, BACK] * 2, "OK", 0) == (changes, answer.code.name, code)
