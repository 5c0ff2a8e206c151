"""Pyroscope's OTLP/gRPC intake, for where nothing else is let through: its own ways are obeyed first.

A series goes the way of a pprof, which leaves of a sample one value, its link and the labels that are
wanted, names every frame, and is bounded. Then it is a request again, of one Profile, since the server gives
up all of a request for one that it cannot convert. It makes `__name__` of the period type, and CPU time of
nothing but counts of samples: so CPU time is told as samples of one nanosecond each, and other period types
have the name that `__name__` should have.

Source: `pkg/ingester/otlp/convert.go` of grafana/pyroscope.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import grpc

from otelprof._core import Limits, Profiles
from otelprof.config.tls import ClientTLS
from otelprof.errors import OverloadedError, RequestTooLargeError, UnavailableError
from otelprof.exporter.grpc_client import GrpcClient, GrpcSettings
from otelprof.exporter.pyroscope.labels import NAME, SERVICE_NAME
from otelprof.exporter.pyroscope.names import naming
from otelprof.exporter.pyroscope.push import UnansweredError, request_headers
from otelprof.otlp_headers import VERSION, VERSION_HEADER

if TYPE_CHECKING:
    from otelprof._core import PprofPiece
    from otelprof.exporter.pyroscope.config import PyroscopeExporterConfig
    from otelprof.exporter.pyroscope.names import Naming
    from otelprof.exporter.pyroscope.series import Series

# The server adds `__delta__` and `__otel__`, and we add `__name__`, to what a series may have.
MAX_LABELS: Final = 28

_CPU: Final = "process_cpu"
_CPU_TIME: Final = ("cpu", "nanoseconds")
_OFF_CPU: Final = "off_cpu"
_LIMITS: Final = Limits(max_body_bytes=64 << 20, max_stack_depth=4096)


class OtlpClient:
    """Sends each series as one `Export`; safe to use from any thread.

    Args:
        config: where to, and as whom.
        tls_path: where `tls` stands in the configuration.

    Raises:
        ConfigError: a TLS file cannot be used.
    """

    def __init__(self, config: PyroscopeExporterConfig, tls_path: str) -> None:
        url = urlsplit(config.endpoint)
        is_secure = url.scheme == "https"
        port = url.port or (443 if is_secure else 80)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        self._client = GrpcClient(
            GrpcSettings(
                target=f"{host}:{port}",
                endpoint=config.endpoint,
                tls=config.tls if is_secure else ClientTLS(insecure=True),
                tls_path=tls_path,
                metadata=((VERSION_HEADER, VERSION), *request_headers(config).items()),
                timeout_secs=config.timeout,
                compression=config.compression,
            )
        )

    def push(self, series: Series) -> None:
        """Send one series of one sample type.

        Raises:
            RetryableError: the server has nothing of it, and it may be sent again.
            PermanentError: the server refuses it, or us.
            UnansweredError: the server may have it.
        """
        try:
            self._client.export(as_otlp(series).to_otlp())
        except RequestTooLargeError as error:
            # Its word for a rate that is too high; it sends no RetryInfo.
            raise OverloadedError(str(error)) from error
        except UnavailableError as error:
            failed = error.__cause__
            if isinstance(failed, grpc.RpcError) and failed.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise UnansweredError(str(error)) from error
            raise

    def close(self) -> None:
        """Close the connection; a push that is under way fails."""
        self._client.close()


def sent_types(piece: PprofPiece) -> list[PprofPiece]:
    """The parts of a piece with one sample type each. Counts of samples go where their time stands beside."""
    named = naming(piece.sample_types, piece.period_type, piece.period)
    kinds = [(kind, unit) for kind, unit, _ in named.sample_types]
    is_timed = any(unit == "nanoseconds" for _, unit in kinds)
    parts = zip(kinds, piece.apart(), strict=True)
    return [part for kind, part in parts if not (is_timed and kind == ("samples", "count"))]


def renamed(named: Naming) -> Naming:
    """The names that make the server give a series of one sample type the name that it should have."""
    ((kind, unit, factor),) = named.sample_types
    if named.name == _OFF_CPU:
        return named
    if named.name == _CPU and (kind, unit) == _CPU_TIME:
        types, period_type = (("samples", "count", factor),), _CPU_TIME
    else:
        types, period_type = ((kind, unit, factor),), (named.name, named.period_type[1] or unit)
    return replace(named, sample_types=types, period_type=period_type, period=1)


def as_otlp(series: Series) -> Profiles:
    """A series as a request of one Profile."""
    service = {SERVICE_NAME: "service.name"}
    resource = [(service.get(name, name), value) for name, value in series.labels if name != NAME]
    made = Profiles.from_pprof(series.pprof.body, _LIMITS, resource=resource)
    return made.link(("trace_id", "span_id")).profiles
