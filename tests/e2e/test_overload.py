"""Five times what can be delivered: clients are told when to come back, and nothing acknowledged is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.harness import exporter, one_pipeline, running
from tests.e2e.retrying_load import Load, RetryingLoad, arrived

if TYPE_CHECKING:
    from pathlib import Path

CAPACITY = 40.0


def test_overload(tmp_path: Path) -> None:
    """Who is refused gets RetryInfo; the exporter is kept busy; what was acknowledged arrives, once."""
    with Sink() as sink:
        sink.answer_always(SinkAnswer(delay_secs=2 / CAPACITY))
        queue = {"num_consumers": 2, "queue_size": "1MiB"}
        config = one_pipeline(exporters={"otlp": exporter(sink.endpoint, sending_queue=queue)})
        with running(config, tmp_path) as service:
            flood = Load(secs=2, rate=5 * CAPACITY, samples=500, patience_secs=2)
            load = RetryingLoad(service.endpoint, flood)
            load.start()
            sent = load.join()
        (came,) = arrived([sink])
    assert sent.refused > 0
    assert sent.given_up > 0
    assert {} == sent.failed
    assert sent.acknowledged == came.keys()
    assert len(came) == came.total()
