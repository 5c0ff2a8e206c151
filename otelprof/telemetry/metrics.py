"""What otelprof says about itself: every metric in one table, and the values behind them.

Names beginning with `otelcol_` are the collector's own, with its labels and its meaning, so that a dashboard
made for a collector works here. Those beginning with `otelprof_` answer the question why.
`docs/reference/metrics.md` is the same table for users; a test holds the two together.

Words, as in the collector: *accepted*, the pipeline took it; *refused*, the pipeline behind the receiver said
no; *failed*, the receiver itself could not read it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client.metrics_core import Metric

from otelprof.telemetry.admin_metrics import ADMIN_REQUESTS, INCIDENT_METRICS
from otelprof.telemetry.admission_metrics import ADMISSION_METRICS
from otelprof.telemetry.datadog_metrics import DATADOG_METRICS
from otelprof.telemetry.decision_metrics import DECISION_METRICS
from otelprof.telemetry.log_metrics import LOG_METRICS
from otelprof.telemetry.metric_spec import MetricSpec
from otelprof.telemetry.policy_metrics import (
    BUDGET_METRICS,
    LINK_CONFLICTS,
    LINK_SAMPLES,
    LINK_VALUE,
    LINKAGE_SAMPLES,
    LINKED_SHARE_BELOW_MINIMUM,
    REDACTED_TEXTS,
    SAMPLING_SAMPLES,
)
from otelprof.telemetry.pyroscope_metrics import PYROSCOPE_METRICS
from otelprof.telemetry.service_metrics import SERVICE_METRICS
from otelprof.telemetry.store_metrics import STORE_METRICS
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

# Label values come from the wire, and memory must not: so many series has one metric, and so long is a value.
MAX_SERIES: Final = 1_000
MAX_LABEL_CHARS: Final = 200
OVERFLOW: Final = "otelprof_overflow"

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


_RECEIVED: Final = ("receiver", "transport", "sample_type")
_QUEUE: Final = ("exporter", "data_type")
_SERVER: Final = ("server_address", "server_port")

RECEIVER_ACCEPTED: Final = MetricSpec(
    "otelcol_receiver_accepted_profile_samples",
    "counter",
    "{sample}",
    _RECEIVED,
    "Samples that were taken into the pipeline, by type:unit.",
)
RECEIVER_REFUSED: Final = MetricSpec(
    "otelcol_receiver_refused_profile_samples",
    "counter",
    "{sample}",
    _RECEIVED,
    "Samples that the pipeline behind the receiver did not take; the client was told. A request that was "
    "refused before it was read counts as a request only.",
)
RECEIVER_FAILED: Final = MetricSpec(
    "otelcol_receiver_failed_profile_samples",
    "counter",
    "{sample}",
    ("receiver", "transport"),
    "Samples that the receiver itself could not take.",
    optional_labels=("sample_type",),
)
RECEIVER_REQUESTS: Final = MetricSpec(
    "otelprof_receiver_requests",
    "counter",
    "{request}",
    ("receiver", "outcome"),
    "Requests that were answered, by outcome.",
)
RECEIVER_WIRE_BYTES: Final = MetricSpec(
    "otelprof_receiver_wire_bytes",
    "counter",
    "By",
    ("receiver",),
    "Request bodies as they came, compressed or not.",
)
RECEIVER_BODY_BYTES: Final = MetricSpec(
    "otelprof_receiver_body_bytes",
    "counter",
    "By",
    ("receiver",),
    "Request bodies after they were inflated.",
)
ACCEPTED_PROFILES: Final = MetricSpec(
    "otelprof_accepted_profiles",
    "counter",
    "{profile}",
    ("receiver",),
    "Profiles that were taken into the pipeline.",
)
REJECTED_PROFILES: Final = MetricSpec(
    "otelprof_rejected_profiles",
    "counter",
    "{profile}",
    ("receiver", "reason"),
    "Profiles that were refused one by one, and counted to the client in partial_success, by reason.",
)
REJECTED_SAMPLES: Final = MetricSpec(
    "otelprof_rejected_samples",
    "counter",
    "{sample}",
    ("receiver", "reason"),
    "Samples of the rejected profiles, by reason.",
)
REPAIRS: Final = MetricSpec(
    "otelprof_repairs",
    "counter",
    "{repair}",
    ("receiver", "repair"),
    "How often something in a request was set right without changing its meaning, by what it was.",
)
REQUESTS_BY_REVISION: Final = MetricSpec(
    "otelprof_receiver_requests_by_revision",
    "counter",
    "{request}",
    ("receiver", "revision"),
    "Requests by the OTLP revision that they were read as; `ambiguous` ones were refused.",
)
REVISION_FIELDS_DROPPED: Final = MetricSpec(
    "otelprof_revision_fields_dropped",
    "counter",
    "{field}",
    ("receiver", "field"),
    "Fields of older OTLP revisions that the current one cannot say and that were left out, by field.",
)
LINKED_SAMPLES: Final = MetricSpec(
    "otelprof_linked_samples",
    "counter",
    "{sample}",
    ("service",),
    "Accepted samples with a trace id and a span id.",
)
UNLINKED_SAMPLES: Final = MetricSpec(
    "otelprof_unlinked_samples",
    "counter",
    "{sample}",
    ("service",),
    "Accepted samples without a trace id or without a span id.",
)
PAYLOADS_DROPPED: Final = MetricSpec(
    "otelprof_payloads_dropped",
    "counter",
    "{payload}",
    ("processor",),
    "Original payloads that went because their profile was changed: they would carry what was taken out.",
)
EXPORTER_SENT: Final = MetricSpec(
    "otelcol_exporter_sent_profile_samples",
    "counter",
    "{sample}",
    ("exporter",),
    "Samples that were delivered.",
    optional_labels=_SERVER,
)
EXPORTER_SEND_FAILED: Final = MetricSpec(
    "otelcol_exporter_send_failed_profile_samples",
    "counter",
    "{sample}",
    ("exporter", "error_type", "error_permanent"),
    "Samples that were given up after sending failed.",
    optional_labels=_SERVER,
)
EXPORTER_ENQUEUE_FAILED: Final = MetricSpec(
    "otelcol_exporter_enqueue_failed_profile_samples",
    "counter",
    "{sample}",
    ("exporter",),
    "Samples that found no room in the sending queue.",
)
EXPORTER_QUEUE_SIZE: Final = MetricSpec(
    "otelcol_exporter_queue_size",
    "gauge",
    "By",
    _QUEUE,
    "What waits in the sending queue, or is being sent from it.",
)
EXPORTER_QUEUE_CAPACITY: Final = MetricSpec(
    "otelcol_exporter_queue_capacity",
    "gauge",
    "By",
    _QUEUE,
    "What the sending queue may hold.",
)
EXPORTER_IN_FLIGHT: Final = MetricSpec(
    "otelcol_exporter_in_flight_requests",
    "gauge",
    "{request}",
    _QUEUE,
    "Requests that are being sent now.",
)
EXPORTER_SENT_BYTES: Final = MetricSpec(
    "otelprof_exporter_sent_bytes",
    "counter",
    "By",
    ("exporter",),
    "Delivered request bodies, before compression.",
)
EXPORTER_SENT_REQUESTS: Final = MetricSpec(
    "otelprof_exporter_sent_requests",
    "counter",
    "{request}",
    ("exporter",),
    "Requests that were delivered.",
)
EXPORTER_REJECTED_PROFILES: Final = MetricSpec(
    "otelprof_exporter_rejected_profiles",
    "counter",
    "{profile}",
    ("exporter",),
    "Profiles that the next hop refused one by one in its partial_success; they are lost.",
)
EXPORTER_RETRIES: Final = MetricSpec(
    "otelprof_exporter_retries",
    "counter",
    "{request}",
    ("exporter", "error_type"),
    "Requests that were sent again after an error.",
)
EXPORTER_DROPPED: Final = MetricSpec(
    "otelprof_exporter_dropped_samples",
    "counter",
    "{sample}",
    ("exporter", "reason"),
    "Acknowledged samples that were lost: queue_overflow, retries_exhausted, permanent_error or shutdown.",
)
BATCHES: Final = MetricSpec(
    "otelprof_batches",
    "counter",
    "{batch}",
    ("exporter",),
    "Batches that were merged.",
)
BATCH_REQUESTS: Final = MetricSpec(
    "otelprof_batch_requests",
    "counter",
    "{request}",
    ("exporter",),
    "Requests that were merged into batches.",
)
BATCH_BYTES_IN: Final = MetricSpec(
    "otelprof_batch_bytes_in",
    "counter",
    "By",
    ("exporter",),
    "Bodies of the requests that were merged, as they were received and inflated.",
)
BATCH_BYTES_OUT: Final = MetricSpec(
    "otelprof_batch_bytes_out",
    "counter",
    "By",
    ("exporter",),
    "What came of them, on the wire and before compression.",
)
BATCH_DUPLICATES_REMOVED: Final = MetricSpec(
    "otelprof_batch_duplicates_removed",
    "counter",
    "{entry}",
    ("exporter", "table"),
    "Dictionary entries that a merge left out because they were there already, by table.",
)
BATCH_ORPHANS_REMOVED: Final = MetricSpec(
    "otelprof_batch_orphans_removed",
    "counter",
    "{entry}",
    ("exporter", "table"),
    "Dictionary entries that a merge left out because nothing reached them, by table.",
)
BATCH_OVERSIZED_PIECES: Final = MetricSpec(
    "otelprof_batch_oversized_pieces",
    "counter",
    "{request}",
    ("exporter",),
    "Requests larger than max_size that were sent all the same, because a single sample is.",
)
BATCH_MERGE_FAILED: Final = MetricSpec(
    "otelprof_batch_merge_failed",
    "counter",
    "{request}",
    ("exporter",),
    "Requests that could not be merged, which is a bug, and were sent as they came.",
)
UNKNOWN_FIELDS_DROPPED: Final = MetricSpec(
    "otelprof_unknown_fields_dropped",
    "counter",
    "{field}",
    ("exporter",),
    "Protobuf fields unknown to this version that were left out, because their message had to change.",
)
METRICS: Final[tuple[MetricSpec, ...]] = (
    RECEIVER_ACCEPTED,
    RECEIVER_REFUSED,
    RECEIVER_FAILED,
    RECEIVER_REQUESTS,
    RECEIVER_WIRE_BYTES,
    RECEIVER_BODY_BYTES,
    ACCEPTED_PROFILES,
    REJECTED_PROFILES,
    REJECTED_SAMPLES,
    REPAIRS,
    REQUESTS_BY_REVISION,
    REVISION_FIELDS_DROPPED,
    LINKED_SAMPLES,
    UNLINKED_SAMPLES,
    *ADMISSION_METRICS,
    LINK_SAMPLES,
    LINK_VALUE,
    LINK_CONFLICTS,
    LINKED_SHARE_BELOW_MINIMUM,
    LINKAGE_SAMPLES,
    SAMPLING_SAMPLES,
    *BUDGET_METRICS,
    *INCIDENT_METRICS,
    PAYLOADS_DROPPED,
    REDACTED_TEXTS,
    *DECISION_METRICS,
    *STORE_METRICS,
    *LOG_METRICS,
    EXPORTER_SENT,
    EXPORTER_SEND_FAILED,
    EXPORTER_ENQUEUE_FAILED,
    EXPORTER_QUEUE_SIZE,
    EXPORTER_QUEUE_CAPACITY,
    EXPORTER_IN_FLIGHT,
    EXPORTER_SENT_BYTES,
    EXPORTER_SENT_REQUESTS,
    EXPORTER_REJECTED_PROFILES,
    EXPORTER_RETRIES,
    EXPORTER_DROPPED,
    *PYROSCOPE_METRICS,
    BATCHES,
    BATCH_REQUESTS,
    BATCH_BYTES_IN,
    BATCH_BYTES_OUT,
    BATCH_DUPLICATES_REMOVED,
    BATCH_ORPHANS_REMOVED,
    BATCH_OVERSIZED_PIECES,
    BATCH_MERGE_FAILED,
    *DATADOG_METRICS,
    UNKNOWN_FIELDS_DROPPED,
    ADMIN_REQUESTS,
    *SERVICE_METRICS,
)

_Labels = tuple[tuple[str, str], ...]
_Value = float | Callable[[], float]


class Metrics:
    """The values of one running otelprof; safe to use from any thread. A `prometheus_client` collector.

    A metric keeps at most `MAX_SERIES` series. What comes after goes to one series more, whose labels are
    all `otelprof_overflow`: the sum of a counter stays right. So it does when a label value is cut, at
    `MAX_LABEL_CHARS`; what is not printable in it is escaped.

    Every method raises ValueError when the labels are not those of the metric.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._series: defaultdict[MetricSpec, dict[_Labels, _Value]] = defaultdict(dict)

    def add(self, spec: MetricSpec, amount: float = 1, **labels: str) -> None:
        """Count.

        Raises:
            ValueError: a counter is given a negative amount.
            TypeError: the series is observed.
        """
        if amount < 0 and spec.kind == "counter":
            message = f"{spec.name} is a counter, and cannot grow by {amount}"
            raise ValueError(message)
        # Given in the order of the table, the labels of a series that is there are its key: nothing to check.
        key = tuple(labels.items())
        with self._lock:
            series = self._series[spec]
            if key not in series:
                key = _capped(series, _key(spec, labels))
            before = series.get(key, 0.0)
            if callable(before):
                message = f"{spec.name} {labels} is observed, and cannot be added to"
                raise TypeError(message)
            series[key] = before + amount

    def set(self, spec: MetricSpec, value: float, **labels: str) -> None:
        """Give a gauge its value of now.

        Raises:
            ValueError: the metric is a counter.
        """
        if spec.kind != "gauge":
            message = f"{spec.name} is a {spec.kind}, and cannot be set"
            raise ValueError(message)
        self._put(spec, value, labels)

    def observe(self, spec: MetricSpec, callback: Callable[[], float], **labels: str) -> None:
        """Ask for the value when it is read. The callback runs on the reader's thread, no lock held."""
        self._put(spec, callback, labels)

    def value(self, spec: MetricSpec, **labels: str) -> float:
        """The value of one series; 0 when there is none."""
        key = _key(spec, labels)
        with self._lock:
            value = self._series[spec].get(key, 0.0)
        return _read(spec, value)

    def collect(self) -> Iterator[Metric]:
        """Every metric that has a value, in the order of their first use, as `prometheus_client` wants it."""
        with self._lock:
            snapshot = {spec: list(series.items()) for spec, series in self._series.items() if series}
        for spec, series in snapshot.items():
            family = Metric(spec.name, spec.meaning, spec.kind)
            for labels, value in series:
                family.add_sample(spec.name, dict(labels), _read(spec, value))
            yield family

    def _put(self, spec: MetricSpec, value: _Value, labels: dict[str, str]) -> None:
        key = _key(spec, labels)
        with self._lock:
            series = self._series[spec]
            series[_capped(series, key)] = value


def _key(spec: MetricSpec, labels: dict[str, str]) -> _Labels:
    """The labels in the order of the table.

    Raises:
        ValueError: one is missing, or one is not declared.
    """
    names = (*spec.labels, *spec.optional_labels)
    key = tuple((name, printable(labels[name], MAX_LABEL_CHARS)) for name in names if name in labels)
    if len(key) != len(labels) or not labels.keys() >= set(spec.labels):
        allowed = ", ".join((*spec.labels, *(f"{name}?" for name in spec.optional_labels)))
        message = f"{spec.name} has the labels {{{allowed}}}, not {{{', '.join(labels)}}}"
        raise ValueError(message)
    return key


def _capped(series: dict[_Labels, _Value], key: _Labels) -> _Labels:
    if key in series or len(series) < MAX_SERIES:
        return key
    return tuple((name, OVERFLOW) for name, _ in key)


def _read(spec: MetricSpec, value: _Value) -> float:
    """A stored value, or what its callback says now."""
    if not callable(value):
        return value
    try:
        return value()
    except Exception:  # noqa: BLE001 - a component's callback must not take the other metrics with it
        _log.exception("metric cannot be read", metric=spec.name)
        return math.nan
