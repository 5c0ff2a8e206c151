"""What every exporter can be told: queue, retry and timeout, with the collector's keys (`exporterhelper`)."""

from typing import Final, Literal, Self

from pydantic import ByteSize, Field, ValidationInfo, field_validator, model_validator

from otelprof.component import ComponentConfig
from otelprof.config.section import Section
from otelprof.config.units import Duration, Size
from otelprof.model import ComponentId

_MIB: Final = 1 << 20


class BatchConfig(Section):
    """When requests that wait are merged into one, and how large that one may be: the collector's keys.

    Attributes:
        flush_timeout: seconds after which a request that waits is sent in any case, more than 0.
        sizer: what the sizes count: samples (`items`), or bytes on the wire (`bytes`).
        min_size: a batch of this size is sent at once.
        max_size: no larger request is sent; 0 sets no limit.
    """

    flush_timeout: Duration = Field(default=0.2, gt=0)
    sizer: Literal["items", "bytes"] = "items"
    min_size: Size = ByteSize(8192)
    max_size: Size = ByteSize(0)

    @field_validator("min_size", "max_size", mode="before")
    @classmethod
    def _items_have_no_unit(cls, value: object, info: ValidationInfo) -> object:
        if info.data.get("sizer") == "items" and isinstance(value, str) and not value.isdecimal():
            message = f"{value!r} has a unit, and the sizer counts items: write sizer: bytes, or a number"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 0 < self.max_size < self.min_size:
            message = f"max_size ({self.max_size:d}) must not be less than min_size ({self.min_size:d})"
            raise ValueError(message)
        return self


class SendingQueueConfig(Section):
    """What waits between the answer to the client and the exporter.

    Attributes:
        enabled: without a queue, the client waits until the exporter is done.
        num_consumers: how many requests are sent at once, 1 to 1000.
        queue_size: bytes that may wait.
        sizer: what `queue_size` counts; only bytes, because requests differ a thousandfold in size.
        on_overflow: a full queue makes the client wait and send again (`refuse`), or loses its oldest
            request, counted (`drop_oldest`).
        batch: how requests are merged before they are sent; None sends each as it came.
        storage: the id of a `file_storage` extension that keeps the queue; None keeps it in memory.
    """

    enabled: bool = True
    num_consumers: int = Field(default=10, ge=1, le=1000)
    queue_size: Size = Field(default=ByteSize(256 * _MIB), gt=0)
    sizer: Literal["bytes"] = "bytes"
    on_overflow: Literal["refuse", "drop_oldest"] = "refuse"
    batch: BatchConfig | None = None
    storage: ComponentId | None = None

    @field_validator("storage", mode="before")
    @classmethod
    def _read_id(cls, value: object) -> object:
        return ComponentId.parse(value) if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _batch_counts_as_the_queue(cls, value: object) -> object:
        """As in the collector: a sizer that is written for the queue is that of its batches, too."""
        if not isinstance(value, dict) or value.get("sizer") != "bytes":
            return value
        batch = value.get("batch")
        return {**value, "batch": {"sizer": "bytes", **batch}} if isinstance(batch, dict) else value

    @field_validator("sizer", mode="before")
    @classmethod
    def _only_bytes(cls, value: object) -> object:
        if value in {"requests", "items"}:
            message = f"{value!r} is not offered: the queue is bounded by bytes; write queue_size as 256MiB"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        batch = self.batch
        if batch is not None and batch.sizer == "bytes" and batch.min_size > self.queue_size:
            message = (
                f"batch.min_size ({batch.min_size:d}) must not be more than queue_size ({self.queue_size:d})"
            )
            raise ValueError(message)
        return self


class RetryConfig(Section):
    """When a request that failed with a retryable error is sent again.

    The wait starts at `initial_interval` and grows by `multiplier` up to `max_interval`, each time spread by
    `randomization_factor`; what the far side asks for (RetryInfo, Retry-After) is the least.

    Attributes:
        enabled: without retry, a request that failed is dropped, counted.
        initial_interval: seconds before the first retry.
        randomization_factor: 0 to 1; a wait of w becomes one in [w - w*f, w + w*f].
        multiplier: 1 or more.
        max_interval: seconds; the wait never grows over it.
        max_elapsed_time: seconds after which a request is given up, counted; 0 never.
    """

    enabled: bool = True
    initial_interval: Duration = Field(default=5.0, gt=0)
    randomization_factor: float = Field(default=0.5, ge=0, le=1)
    multiplier: float = Field(default=1.5, ge=1, allow_inf_nan=False)
    max_interval: Duration = Field(default=30.0, gt=0)
    max_elapsed_time: Duration = 300.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 0 < self.max_elapsed_time < max(self.initial_interval, self.max_interval):
            message = (
                f"max_elapsed_time ({self.max_elapsed_time:g} s) must not be less than initial_interval "
                f"({self.initial_interval:g} s) or max_interval ({self.max_interval:g} s); 0 never gives up"
            )
            raise ValueError(message)
        return self


class ExporterConfig(ComponentConfig):
    """Base of every exporter's configuration.

    Attributes:
        sending_queue: what waits for the exporter.
        retry_on_failure: what happens after a retryable error.
        timeout: seconds that one attempt may take, more than 0.
    """

    sending_queue: SendingQueueConfig = SendingQueueConfig()
    retry_on_failure: RetryConfig = RetryConfig()
    timeout: Duration = Field(default=5.0, gt=0)
