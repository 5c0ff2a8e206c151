"""Maintains the store of an `object_storage` exporter while it runs, in a thread of its own."""

from __future__ import annotations

from threading import Condition, Thread
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from otelprof.errors import EmptyStoreError, OtelprofError
from otelprof.store.maintenance import Maintenance, MaintenanceConfig
from otelprof.store.store import Store
from otelprof.telemetry.store_metrics import STORE_MAINTENANCE_STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelprof.component import ComponentSettings
    from otelprof.store.maintenance import Step
    from otelprof.store.retention import RetentionConfig

# What a step that is under way is given to end in: an object store may not answer.
_JOIN_SECS: Final = 1.0


def is_folder(url: str) -> bool:
    """Whether a store is a folder of this machine."""
    return urlsplit(url).scheme in {"", "file"}


class StoreMaintenance:
    """Does what is due in a store, once in an interval.

    Args:
        url: of the store.
        options: of the object store.
        config: when.
        retention: how long rows stay, and how fine.
        settings: those of the exporter.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, str],
        config: MaintenanceConfig,
        retention: RetentionConfig,
        settings: ComponentSettings,
    ) -> None:
        self._is_enabled = is_folder(url) if config.enabled is None else config.enabled
        self._config = config
        self._settings = settings
        # One of its own: what it knows of the tables is for one thread.
        self._store = Store(url, options)
        self._maintenance = Maintenance(
            self._store,
            retention,
            settings.clock,
            delete_after_secs=config.delete_after,
        )
        self._changed = Condition()
        self._is_stopped = False
        self._next_vacuum = 0.0
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin, unless it is not enabled."""
        if not self._is_enabled:
            return
        self._next_vacuum = self._settings.clock.monotonic()
        self._thread = Thread(
            target=self._work, name=f"otelprof-{self._settings.id}-maintenance", daemon=True
        )
        self._thread.start()

    def shutdown(self) -> None:
        """Stop within a step, which then leaves nothing but files that no version needs.

        A step that does not end is left behind, with a warning.
        """
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._store.close()
        if self._thread is not None:
            self._thread.join(_JOIN_SECS)
            if self._thread.is_alive():
                self._settings.logger.warning("maintenance of the store does not end, and is left behind")
            self._thread = None

    def _work(self) -> None:
        # Those that start together need not be in each other's way.
        wait_secs = self._config.interval * self._settings.clock.random()
        while not self._waited(wait_secs):
            self._round()
            wait_secs = self._config.interval

    def _waited(self, secs: float) -> bool:
        """Wait; True when it is to stop."""
        clock = self._settings.clock
        deadline = clock.monotonic() + secs
        with self._changed:
            while not self._is_stopped and (left := deadline - clock.monotonic()) > 0:
                clock.wait(self._changed, left)
            return self._is_stopped

    def _round(self) -> None:
        now = self._settings.clock.monotonic()
        is_vacuum_due = now >= self._next_vacuum
        try:
            for step in self._maintenance.run(vacuum=is_vacuum_due):
                if self._is_stopped and step.error is not None:
                    return
                self._tell(step)
        except EmptyStoreError:
            return
        except OtelprofError as error:
            self._settings.logger.warning("the store cannot be maintained now", error=str(error))
        except Exception:
            self._settings.logger.exception("the store cannot be maintained: this is a bug")
        else:
            if is_vacuum_due:
                self._next_vacuum = now + self._config.delete_after

    def _tell(self, step: Step) -> None:
        outcome = "done" if step.error is None else "failed"
        self._settings.metrics.add(
            STORE_MAINTENANCE_STEPS,
            exporter=str(self._settings.id),
            table=step.table.value,
            action=step.action.value,
            outcome=outcome,
        )
        of = {"action": step.action.value, "table": step.table.value, "day": str(step.day or "")}
        if step.error is not None:
            self._settings.logger.warning("a step of maintenance failed", error=str(step.error), **of)
        elif step.after is not None and step.before.files:
            self._settings.logger.info(
                "the store was maintained",
                **of,
                files_before=step.before.files,
                files_after=step.after.files,
                rows_after=step.after.rows,
                bytes_before=step.before.size_bytes,
                bytes_after=step.after.size_bytes,
            )
