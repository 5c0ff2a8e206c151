"""The slow twins of `Profiles.window` and `Profiles.shifted`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.reference.blake3 import blake3
from tests.reference.tables import profiles_of

if TYPE_CHECKING:
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Profile

RANGE: Final = 1 << 64
"""Of a time in unix nanoseconds."""

_SHIFTED: Final = b"\x03"
_ID_BYTES: Final = 16


def window(request: ExportProfilesServiceRequest) -> tuple[int, int] | None:
    """From the first start to the last end; None when no Profile has a time."""
    timed = [profile for _, _, profile in profiles_of(request) if has_time(profile)]
    if not timed:
        return None
    ends = (profile.time_unix_nano + profile.duration_nano for profile in timed)
    return min(profile.time_unix_nano for profile in timed), min(max(ends), RANGE - 1)


def shift(request: ExportProfilesServiceRequest, nanos: int) -> None:
    """Move every Profile that has a time, in place.

    Raises:
        ValueError: a time would leave its range; what was moved before stays moved.
    """
    whole = window(request)
    if whole is not None and not (0 <= whole[0] + nanos and whole[1] + nanos < RANGE):
        message = f"{whole} cannot be moved by {nanos}"
        raise ValueError(message)
    for _, _, profile in profiles_of(request):
        if nanos and has_time(profile):
            profile.time_unix_nano += nanos
            for sample in profile.samples:
                sample.timestamps_unix_nano[:] = [time + nanos for time in sample.timestamps_unix_nano]
            number = (nanos % RANGE).to_bytes(8, "little")
            profile.profile_id = blake3(profile.profile_id + _SHIFTED + number)[:_ID_BYTES]
            if profile.original_payload:
                profile.original_payload, profile.original_payload_format = b"", ""


def has_time(profile: Profile) -> bool:
    """Whether a Profile says when it was: 0 is "not set", unless a Sample has a timestamp."""
    return bool(profile.time_unix_nano) or any(sample.timestamps_unix_nano for sample in profile.samples)
