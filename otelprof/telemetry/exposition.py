"""Metrics as Prometheus' classic text format.

`prometheus_client.generate_latest` follows OpenMetrics, where a counter is called `…_total`, and renames it.
The collector's names have no suffix, and dashboards hold us to them; so the lines are written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})
_LABEL_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def text_exposition(metrics: Collector) -> bytes:
    """Every metric with its current values, under exactly its own name."""
    return "".join(line + "\n" for family in metrics.collect() for line in _lines(family)).encode()


def _lines(family: Metric) -> Iterator[str]:
    yield f"# HELP {family.name} {family.documentation.translate(_HELP_ESCAPES)}"
    yield f"# TYPE {family.name} {family.type}"
    for sample in family.samples:
        labels = ",".join(
            f'{name}="{text.translate(_LABEL_ESCAPES)}"' for name, text in sample.labels.items()
        )
        value = floatToGoString(sample.value)  # type: ignore[no-untyped-call] # the library leaves it out
        yield f"{sample.name}{f'{{{labels}}}' if labels else ''} {value}"
