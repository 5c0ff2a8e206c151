"""What becomes of requests of a queue on disk that no attempt can deliver."""

from pydantic import ByteSize, Field

from otelprof.config.section import Section
from otelprof.config.units import Duration, Size


class DeadLetterConfig(Section):
    """Which requests are kept aside, and how much of them.

    Attributes:
        max_crashes: a request is kept aside when otelprof ended so often in the middle of it, without a
            shutdown; 0 never.
        max_size: bytes on the disk; the oldest go, counted. 0 keeps none: they are dropped.
        max_age: seconds after which they go, counted; 0 keeps them until there is no room.
    """

    max_crashes: int = Field(default=3, ge=0, le=1000)
    max_size: Size = ByteSize(256 << 20)
    max_age: Duration = 0.0
