"""The `object_storage` exporter: profiles as open tables on any object store, or in a folder."""

from __future__ import annotations

from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Final

from pydantic import Field, SecretStr, field_validator, model_validator

from otelprof.component import ExporterFactory
from otelprof.config.exporter import ExporterConfig
from otelprof.config.units import Duration  # noqa: TC001 - pydantic reads it at run time
from otelprof.errors import ConfigError, ConfigProblem, UnavailableError
from otelprof.exporter.store_maintenance import StoreMaintenance
from otelprof.store.maintenance import MaintenanceConfig
from otelprof.store.policy import append_policy
from otelprof.store.retention import RetentionConfig
from otelprof.store.store import Store, check_url
from otelprof.store.writer import StoreWriter
from otelprof.telemetry.metrics import EXPORTER_SENT_BYTES
from otelprof.telemetry.store_metrics import STORE_ROWS_WRITTEN

if TYPE_CHECKING:
    from otelprof._core import Profiles
    from otelprof.component import ComponentSettings

_FLUSH_SECS: Final = 60.0
_FLUSH_BYTES: Final = 64 << 20


class ObjectStorageConfig(ExporterConfig):
    """Where the tables are, and what they are told.

    Attributes:
        url: a folder, `file://`, `s3://bucket/prefix`, `gs://`, `az://`; no credentials in it.
        storage_options: of the object store, as delta-rs names them; credentials come from the usual
            environment variables when they are not here.
        tenant: in the column of that name, in every row.
        flush_interval: seconds that profiles wait for others, to be added in one commit.
        max_symbols: symbols of which the writer remembers that they are written, about 40 bytes each.
        sending_queue: a flush is one of its batches; without `batch`, one that `flush_interval` makes.
        timeout: seconds that one request to the object store may take, its retries included.
        maintenance: whether and when the store is kept small.
        retention: how long rows stay, and how fine.
    """

    url: str
    storage_options: dict[str, SecretStr] = Field(default_factory=dict)
    tenant: str = Field(default="", max_length=256)
    flush_interval: Duration = Field(default=_FLUSH_SECS, gt=0)
    max_symbols: int = Field(default=2_000_000, ge=1_000, le=100_000_000)
    timeout: Duration = Field(default=30.0, gt=0)
    maintenance: MaintenanceConfig = MaintenanceConfig()
    retention: RetentionConfig = RetentionConfig()

    @model_validator(mode="before")
    @classmethod
    def _a_flush_is_a_batch(cls, value: object) -> object:
        """One flush at a time, of all that came since the last one: few commits, not in each other's way."""
        if not isinstance(value, dict):
            return value
        queue = value.get("sending_queue")
        flush = {"flush_timeout": value.get("flush_interval", _FLUSH_SECS), "sizer": "bytes"}
        flush |= {"min_size": _FLUSH_BYTES, "max_size": _FLUSH_BYTES}
        default = {"num_consumers": 1, "batch": flush}
        if queue is None:
            return {**value, "sending_queue": default}
        return {**value, "sending_queue": {**default, **queue}} if isinstance(queue, dict) else value

    @field_validator("url")
    @classmethod
    def _has_no_credentials(cls, url: str) -> str:
        return check_url(url)

    def store_options(self) -> dict[str, str]:
        """What delta-rs is told, secrets among it."""
        # Without these it tries for three minutes, and a shutdown waits for it.
        limit = f"{max(1, round(self.timeout * 1000))}ms"
        bounds = {"timeout": limit, "retry_timeout": limit}
        return bounds | {key: value.get_secret_value() for key, value in self.storage_options.items()}


class ObjectStorageExporter:
    """Adds each request to the tables of a store."""

    def __init__(self, config: ObjectStorageConfig, settings: ComponentSettings) -> None:
        self._config = config
        self._id = str(settings.id)
        self._metrics = settings.metrics
        self._journal, self._journal_place = settings.journal, 0
        self._store = Store(config.url, config.store_options())
        self._writer = StoreWriter(
            self._store, settings.clock, tenant=config.tenant, max_symbols=config.max_symbols
        )
        self._maintenance = StoreMaintenance(
            config.url, config.store_options(), config.maintenance, config.retention, settings
        )
        self._lock = Lock()
        self._is_running = False

    def start(self) -> None:
        """Take requests; the tables are made with the first one.

        Raises:
            ConfigError: what reads and writes tables is not installed.
        """
        if find_spec("deltalake") is None:
            path = f"exporters.{self._id}"
            message = "tables need the package deltalake: pip install 'otelprof[storage]'"
            raise ConfigError([ConfigProblem(path, message)])
        self._is_running = True
        self._maintenance.start()

    def export(self, profiles: Profiles) -> None:
        """Add a request to the tables; when this returns, readers see it.

        Raises:
            StoreError: the tables there are not ours, or of a later schema.
            UnavailableError: the store cannot be reached; the same request may be written again.
        """
        with self._lock:
            if not self._is_running:
                message = f"the exporter of {self._config.url} does not run"
                raise UnavailableError(message)
            # First, since nothing may fail once the samples are there: they would be written again.
            self._write_policy()
            flushed = self._writer.write(profiles)
        self._metrics.add(EXPORTER_SENT_BYTES, profiles.wire_bytes, exporter=self._id)
        for table, rows in flushed.rows.items():
            self._metrics.add(STORE_ROWS_WRITTEN, rows, exporter=self._id, table=table.value)

    def _write_policy(self) -> None:
        events, place = self._journal.since(self._journal_place)
        if events:
            append_policy(self._store, self._config.tenant, events)
            self._journal_place = place

    def shutdown(self) -> None:
        """Take no more requests; when it has returned, none is being written."""
        with self._lock:
            self._is_running = False
        self._maintenance.shutdown()


factory: Final = ExporterFactory(ObjectStorageConfig, ObjectStorageExporter)
