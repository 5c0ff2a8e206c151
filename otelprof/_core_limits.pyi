"""What a request may hold: a part of the stub of `otelprof._core`, where all of it is at run time."""

from typing import final

@final
class Limits:
    """What one request may hold. Exceeding one of the last three refuses the Profiles concerned, no others.

    Args:
        max_body_bytes: of the inflated body, 1 to 2 GiB.
        max_profiles: of one request, which is refused whole when it holds more.
        max_table_entries: of one dictionary table, of all Samples, of all Lines and of all nested
            attribute values of the request, each; it is refused whole when it holds more.
        max_stack_depth: Locations of one Stack.
        max_attributes: attributes of one owner (Sample, Location, Mapping, Profile, Resource or scope).
        max_attribute_depth: nesting of one attribute's value, 1 to 64.

    Raises:
        ValueError: a limit is out of its range.
    """

    def __new__(
        cls,
        *,
        max_body_bytes: int = 16_777_216,
        max_profiles: int = 10_000,
        max_table_entries: int = 1_000_000,
        max_stack_depth: int = 4096,
        max_attributes: int = 256,
        max_attribute_depth: int = 16,
    ) -> Limits: ...
    @property
    def max_body_bytes(self) -> int: ...
    @property
    def max_profiles(self) -> int: ...
    @property
    def max_table_entries(self) -> int: ...
    @property
    def max_stack_depth(self) -> int: ...
    @property
    def max_attributes(self) -> int: ...
    @property
    def max_attribute_depth(self) -> int: ...
