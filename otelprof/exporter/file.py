"""The `file` exporter: OTLP requests as length-delimited records, to be replayed and looked at.

Keys and bytes are those of the Collector's `file` exporter with `format: proto` (see `recording/framing.py`).
"""

from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final, Literal

from pydantic import Field, field_validator

from otelprof._core import Profiles
from otelprof.component import ComponentSettings, ExporterFactory
from otelprof.config.exporter import ExporterConfig
from otelprof.config.section import Section
from otelprof.config.units import Duration
from otelprof.errors import ConfigError, ConfigProblem, RequestTooLargeError, UnavailableError
from otelprof.recording.framing import framed
from otelprof.recording.writer import RecordingWriter, Rotation, WriterError
from otelprof.telemetry.metrics import EXPORTER_SENT_BYTES, UNKNOWN_FIELDS_DROPPED
from otelprof.telemetry.throttle import Throttle

_MIB: Final = 1 << 20
_SECS_PER_DAY: Final = 86_400
_ZSTD_LEVEL: Final = 3  # zstd's own default


class RotationConfig(Section):
    """When a new file is begun, and how many old ones stay.

    Attributes:
        max_megabytes: MiB that a file does not grow over, unless by a single request.
        interval: seconds after which the next request begins a new file; 0 never.
        max_days: days after which an old file is removed, by the time in its name; 0 never.
        max_backups: how many old files stay; 0 all.
        localtime: times in names are local; UTC otherwise.
    """

    max_megabytes: int = Field(default=100, ge=1)
    interval: Duration = 0.0
    max_days: int = Field(default=0, ge=0)
    max_backups: int = Field(default=100, ge=0)
    localtime: bool = False

    @property
    def limits(self) -> Rotation:
        """The same, as a writer wants it."""
        return Rotation(
            max_bytes=self.max_megabytes * _MIB,
            max_age_secs=self.interval,
            keep_secs=self.max_days * _SECS_PER_DAY,
            keep_files=self.max_backups,
            localtime=self.localtime,
        )


class FileExporterConfig(ExporterConfig):
    """Where to write, and how.

    Attributes:
        path: the file; its folder must be there.
        format: only `proto`.
        compression: each record by itself, so that a torn file loses its last one only; None none.
        append: go on with a recording that is there; without it, one is moved aside when `rotation` is on,
            and nothing is written over otherwise.
        flush_interval: seconds after which what was written is on the disk; 0 before a request is done.
        rotation: when a new file is begun; None never.
        permissions: of a new file: its owner alone, or its group may read it as well.
    """

    path: Path
    format: Literal["proto"] = "proto"
    compression: Literal["zstd"] | None = None
    append: bool = False
    flush_interval: Duration = 1.0
    rotation: RotationConfig | None = None
    permissions: Literal["0600", "0640"] = "0600"

    @field_validator("format", mode="before")
    @classmethod
    def _only_proto(cls, value: object) -> object:
        if value == "json":
            message = "'json' is not offered: write proto, which is what replay and inspect read"
            raise ValueError(message)
        return value

    @field_validator("compression", mode="before")
    @classmethod
    def _none_is_no_compression(cls, value: object) -> object:
        return None if value in {"", "none"} else value


class FileExporter:
    """Appends each request as one record."""

    def __init__(self, config: FileExporterConfig, settings: ComponentSettings) -> None:
        self._config = config
        self._id = str(settings.id)
        self._clock = settings.clock
        self._metrics = settings.metrics
        self._logger = settings.logger
        self._throttle = Throttle(settings.clock)
        self._lock = Lock()
        self._writer: RecordingWriter | None = None
        self._written = Event()
        self._stop = Event()
        self._flusher: Thread | None = None

    def start(self) -> None:
        """Open the file.

        Raises:
            ConfigError: it cannot be opened, or holds what is not to be written over.
        """
        config = self._config
        rotation = config.rotation
        writer = RecordingWriter(
            config.path,
            self._clock,
            mode=int(config.permissions, 8),
            append=config.append,
            rotation=None if rotation is None else rotation.limits,
        )
        try:
            torn_bytes = writer.open()
        except (OSError, WriterError) as error:
            raise ConfigError(
                [ConfigProblem(f"exporters.{self._id}.path", _said(config.path, error))]
            ) from error
        if torn_bytes:
            self._logger.warning(
                "the recording was torn and is moved aside; all but its last record can be read",
                path=str(config.path),
                bytes=torn_bytes,
            )
        self._writer = writer
        if config.flush_interval:
            self._stop.clear()
            self._flusher = Thread(target=self._flush, name=f"otelprof-{self._id}-flush", daemon=True)
            self._flusher.start()

    def export(self, profiles: Profiles) -> None:
        """Write a request; when this returns, it survives the end of this process.

        Raises:
            UnavailableError: it cannot be written now, as on a full disk; nothing of it is in the file.
            RequestTooLargeError: no record may be so long.
        """
        body = profiles.to_otlp()
        record = self._record(body)
        with self._lock:
            if self._writer is None:
                message = f"the exporter of {self._config.path} does not run"
                raise UnavailableError(message)
            try:
                self._writer.write(record)
                if not self._config.flush_interval:
                    self._writer.flush()
            except (OSError, WriterError) as error:
                raise UnavailableError(_said(self._config.path, error)) from error
        self._written.set()
        self._metrics.add(EXPORTER_SENT_BYTES, len(body), exporter=self._id)
        if profiles.unknown_fields_dropped:
            self._metrics.add(UNKNOWN_FIELDS_DROPPED, profiles.unknown_fields_dropped, exporter=self._id)

    def shutdown(self) -> None:
        """Put everything on the disk, and close the file."""
        with self._lock:
            writer, self._writer = self._writer, None
        self._stop.set()
        self._written.set()
        flusher, self._flusher = self._flusher, None
        if flusher is not None:
            flusher.join()
        if writer is not None:
            try:
                writer.close()
            except OSError as error:
                self._warn(error)

    def _record(self, body: bytes) -> bytes:
        if self._config.compression is not None:
            import zstandard  # noqa: PLC0415 - only where it is asked for

            body = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body)
        try:
            return framed(body)
        except ValueError as error:
            raise RequestTooLargeError(str(error)) from error

    def _flush(self) -> None:
        """Put what was written on the disk once an interval; sleeps while nothing is written."""
        while self._written.wait() and not self._stop.wait(self._config.flush_interval):
            self._written.clear()
            with self._lock:
                try:
                    if self._writer is not None:
                        self._writer.flush()
                except OSError as error:
                    self._warn(error)

    def _warn(self, error: OSError) -> None:
        held_back = self._throttle.passed("flush")
        if held_back is not None:
            what = _said(self._config.path, error)
            self._logger.warning("the recording may not be on the disk", what=what, suppressed=held_back)


def _said(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{path} cannot be written: {error.strerror or error}"
    return str(error)


factory: Final = ExporterFactory(FileExporterConfig, FileExporter)
