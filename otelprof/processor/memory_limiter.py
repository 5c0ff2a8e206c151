"""The `memory_limiter` processor: refuse before memory runs out.

The collector's keys and meaning. Clients that are refused are asked to wait and send again; what was
acknowledged is never touched.
"""

from ctypes import CDLL
from pathlib import Path
from threading import Lock
from typing import Final, Self

import psutil
from pydantic import Field, model_validator

from otelprof._core import Profiles
from otelprof.component import ComponentConfig, ComponentSettings, ProcessorFactory
from otelprof.config.units import Duration
from otelprof.errors import OverloadedError
from otelprof.telemetry.admission_metrics import MEMORY_LIMITER_REFUSED

_MIB: Final = 1 << 20
_DEFAULT_SPIKE_SHARE: Final = 0.2
_PERCENT: Final = 100


class MemoryLimiterConfig(ComponentConfig):
    """How much memory the process may have. Requests are refused above the limit less the spike limit.

    Attributes:
        check_interval: how old a measurement may get, in seconds, more than 0.
        limit_mib: of the whole process, in MiB; 0 takes `limit_percentage`.
        spike_limit_mib: how much may come between two measurements, in MiB; 0 is 20 % of the limit.
        limit_percentage: the limit in percent of the machine's memory, or of the container's.
        spike_limit_percentage: `spike_limit_mib` in percent of the same.
    """

    check_interval: Duration = Field(default=1.0, gt=0)
    limit_mib: int = Field(default=0, ge=0)
    spike_limit_mib: int = Field(default=0, ge=0)
    limit_percentage: int = Field(default=0, ge=0, le=_PERCENT)
    spike_limit_percentage: int = Field(default=0, ge=0, le=_PERCENT)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.limit_mib == 0 and self.limit_percentage == 0:
            message = "give limit_mib or limit_percentage: without one nothing is limited"
            raise ValueError(message)
        if 0 < self.limit_mib <= self.spike_limit_mib:
            message = (
                f"spike_limit_mib ({self.spike_limit_mib}) must be less than limit_mib ({self.limit_mib})"
            )
            raise ValueError(message)
        if 0 < self.limit_percentage <= self.spike_limit_percentage:
            message = (
                f"spike_limit_percentage ({self.spike_limit_percentage}) must be less than "
                f"limit_percentage ({self.limit_percentage})"
            )
            raise ValueError(message)
        return self

    @property
    def memory_limit_bytes(self) -> int:
        """Where refusing begins, on this machine."""
        return self.soft_limit_bytes(_total_memory_bytes())

    def soft_limit_bytes(self, total_bytes: int) -> int:
        """Where refusing begins.

        Args:
            total_bytes: memory of the machine or of the container.
        """
        if self.limit_mib:
            limit_bytes, spike_bytes = self.limit_mib * _MIB, self.spike_limit_mib * _MIB
        else:
            limit_bytes = total_bytes * self.limit_percentage // _PERCENT
            spike_bytes = total_bytes * self.spike_limit_percentage // _PERCENT
        return limit_bytes - (spike_bytes or int(limit_bytes * _DEFAULT_SPIKE_SHARE))


class MemoryLimiter:
    """Refuses requests while the process has too much memory."""

    def __init__(self, config: MemoryLimiterConfig, settings: ComponentSettings) -> None:
        self._check_interval_secs = config.check_interval
        self._soft_limit_bytes = config.memory_limit_bytes
        self._id = str(settings.id)
        self._clock = settings.clock
        self._logger = settings.logger
        self._metrics = settings.metrics
        self._lock = Lock()
        self._check_at = 0.0
        self._used_bytes = 0
        self._refusing = False

    def start(self) -> None:
        """Nothing to acquire."""

    def shutdown(self) -> None:
        """Nothing to release."""

    def process(self, profiles: Profiles) -> Profiles:
        """Let a request through.

        Raises:
            OverloadedError: the process is above its soft limit.
        """
        if self._is_above():
            self._metrics.add(MEMORY_LIMITER_REFUSED, 1, processor=self._id)
            message = (
                f"data refused due to high memory usage: {self._used_bytes // _MIB} MiB of "
                f"{self._soft_limit_bytes // _MIB} MiB"
            )
            raise OverloadedError(message, retry_after_secs=self._check_interval_secs)
        return profiles

    def _is_above(self) -> bool:
        """The state, measured again when it is too old."""
        with self._lock:
            now = self._clock.monotonic()
            if now >= self._check_at:
                self._check_at = now + self._check_interval_secs
                self._used_bytes = _resident_bytes()
                if self._used_bytes > self._soft_limit_bytes:
                    _give_back_free_memory()
                    self._used_bytes = _resident_bytes()
                above = self._used_bytes > self._soft_limit_bytes
                if above is not self._refusing:
                    self._refusing = above
                    self._log_change()
            return self._refusing

    def _log_change(self) -> None:
        sizes = {"used_bytes": self._used_bytes, "soft_limit_bytes": self._soft_limit_bytes}
        if self._refusing:
            self._logger.warning("memory usage is above soft limit, refusing data", **sizes)
        else:
            self._logger.info("memory usage is back within limits, taking data", **sizes)


def _give_back_free_memory() -> None:
    """Ask the C library to return what it keeps of freed memory, which counts as used otherwise."""
    trim = getattr(CDLL(None), "malloc_trim", None)  # glibc has it, others do not keep as much
    if trim is not None:
        trim(0)


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def _total_memory_bytes() -> int:
    """Memory of the container where there is a limit (cgroup v2, then v1), else of the machine."""
    total_bytes = int(psutil.virtual_memory().total)
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return min(total_bytes, int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):
            # No such file, or `max`: no limit there.
            continue
    return total_bytes


factory: Final = ProcessorFactory(MemoryLimiterConfig, MemoryLimiter)
