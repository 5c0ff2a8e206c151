"""What pprofs look like, and are handed out as: a part of the stub of `otelprof._core`."""

from collections.abc import Sequence
from typing import final

from otelprof._core import Profiles

@final
class PprofPiece:
    """Profiles that become one pprof, and what is to be known of them before they do."""

    def to_pprof(
        self,
        *,
        labels: Sequence[str],
        max_depth: int,
        sample_types: Sequence[tuple[str, str, int]],
        period_type: tuple[str, str],
        period: int,
        time_unix_nano: int,
    ) -> Pprof:
        """The pprof, under other names. Frames without a symbol get a function, equal samples are added up.

        The labels `trace_id` and `span_id` are a Link's, as in `Profiles.to_pprof`.

        Args:
            labels: keys of the sample attributes that become labels.
            max_depth: Locations of a stack that are written, at least 2; of a deeper one the middle goes.
            sample_types: name and unit of each, and what its values are multiplied by; a product that 64 bits
                do not hold becomes the nearest that they do.
            period_type: name and unit; none when both are empty.
            period: in that unit.
            time_unix_nano: the start of the window.

        Raises:
            ValueError: there are more or fewer sample types than it has, or `max_depth` is less than 2.
            OverflowError: a number is out of its range.
        """

    def apart(self) -> list[PprofPiece]:
        """The same as pieces of one sample type each."""
    @property
    def profiles(self) -> Profiles:
        """The same as a request."""
    @property
    def resource(self) -> dict[str, str]:
        """The attributes of the Resource, as text."""
    @property
    def sample_types(self) -> tuple[tuple[str, str], ...]:
        """Name and unit of each; a type may have several Profiles, of Samples of different shapes."""
    @property
    def period_type(self) -> tuple[str, str]:
        """Name and unit; both empty when there is none."""
    @property
    def period(self) -> int: ...
    @property
    def time_unix_nano(self) -> int:
        """The start of the window; 0 when unknown."""
    @property
    def duration_nano(self) -> int: ...
    @property
    def sample_count(self) -> int:
        """Samples of all its Profiles."""

@final
class Pprof:
    """One pprof that was made of a request, and what its sender must know without reading it."""

    @property
    def resource(self) -> dict[str, str]:
        """The attributes of the Resource, as text."""
    @property
    def scope(self) -> str:
        """The name of the instrumentation scope; may be empty."""
    @property
    def sample_types(self) -> tuple[tuple[str, str], ...]:
        """Name and unit of each, in the order of the samples' values."""
    @property
    def period_type(self) -> tuple[str, str]:
        """Name and unit; both empty when there is none."""
    @property
    def period(self) -> int: ...
    @property
    def time_unix_nano(self) -> int:
        """The start of the window; 0 when unknown."""
    @property
    def duration_nano(self) -> int: ...
    @property
    def sample_count(self) -> int:
        """Samples in `body`."""
    @property
    def negative_sample_count(self) -> int:
        """Of these, those with a value below 0."""
    @property
    def cut_sample_count(self) -> int:
        """Of these, those whose stack was cut."""
    @property
    def body(self) -> bytes:
        """The pprof, not compressed."""

@final
class PprofLayout:
    """What a backend's pprofs look like: its sample types, its labels, its limits.

    No label's key stands twice in a sample: a Link's span id goes before attributes, the last of those before
    others.

    Args:
        sample_types: name and unit of each column; a pprof has those that some member fills, in this order.
        default_sample_type: which of them to look at first.
        labels: (attribute, label, form) for attributes of Samples. Forms: `text`; `number`, an integer or a
            text that is one; `id`, an id of 8 bytes that the attribute has as 16 hexadecimal digits, as a
            number whose bits are those of the unsigned one; `id_text`, the same as decimal text;
            `decimal_id` and `decimal_id_text`, where the attribute has it as a decimal number. An id of zero
            is none, and so is an empty text; what has not the form is left out, and counted.
        other_labels: other attributes that become texts under their own names; all of them when None.
        span_id_label: the label of a Link's span id; left out when None.
        span_id_form: `id` or `id_text`.
        timestamp_label: as for `Profiles.to_pprof`.
        native_names: likewise.
        frame_types: give functions the attribute `profile.frame.type` of their Location as system name.
        max_locations: of one stack, 2 or more. A deeper one has one less of its leaf's side, and
            `<N frames omitted>` as its root.

    Raises:
        ValueError: a form is none, or `max_locations` is less than 2.
    """

    def __new__(
        cls,
        sample_types: Sequence[tuple[str, str]],
        *,
        default_sample_type: str = "",
        labels: Sequence[tuple[str, str, str]] = (),
        other_labels: Sequence[str] | None = None,
        span_id_label: str | None = None,
        span_id_form: str = "id",
        timestamp_label: str | None = None,
        native_names: bool = False,
        frame_types: bool = False,
        max_locations: int = 4096,
    ) -> PprofLayout: ...
    def join(
        self,
        profiles: Profiles,
        members: Sequence[tuple[int, Sequence[tuple[int, bool]], Sequence[tuple[str, str]]]],
        *,
        period_type: tuple[str, str],
        period: int,
        skip: int = 0,
        max_observations: int | None = None,
        max_bytes: int = 8_388_608,
    ) -> JoinedPprof:
        """Several Profiles as one pprof, over all their windows: equal samples are added up. Deterministic.

        Args:
            profiles: a request.
            members: of each its place in `Profiles.outlines`; the columns that its values go to, and whether
                each counts `period` times there; labels of all of its samples, which go behind all others.
            period_type: name and unit.
            period: in that unit.
            skip: how many observations were told before: what `observation_count` said, added up.
            max_observations: how many may be told; no end when None.
            max_bytes: what samples may take, without what they refer to; a single one may take more.

        Raises:
            ValueError: there is no such Profile or column.
        """

@final
class JoinedPprof:
    """A pprof of several Profiles, or as much of them as fitted."""

    @property
    def body(self) -> bytes:
        """The pprof, not compressed."""
    @property
    def sample_count(self) -> int:
        """Samples in `body`."""
    @property
    def observation_count(self) -> int:
        """Samples of the request, or timestamps of them, that these were made of."""
    @property
    def is_complete(self) -> bool:
        """Whether no observation is left."""
    @property
    def sample_types(self) -> tuple[tuple[str, str], ...]:
        """Name and unit of each column that is in it."""
    @property
    def label_keys(self) -> tuple[str, ...]:
        """Keys of the labels that are in it, sorted."""
    @property
    def cut_stacks(self) -> int:
        """Samples whose stack was deeper than `max_locations`."""
    @property
    def unreadable_labels(self) -> int:
        """Labels that were left out because their values have not the form that the layout asks for."""
    @property
    def clipped_values(self) -> int:
        """Values that no int64 holds; the largest or smallest stands for them."""

@final
class ProfileOutline:
    """What a Profile says of itself, without its samples."""

    @property
    def resource(self) -> int:
        """The place of its Resource in `Profiles.resources`."""
    @property
    def scope(self) -> str:
        """The name of the instrumentation scope; may be empty."""
    @property
    def sample_type(self) -> tuple[str, str]:
        """Name and unit."""
    @property
    def period_type(self) -> tuple[str, str]:
        """Name and unit; both empty when there is none."""
    @property
    def period(self) -> int: ...
    @property
    def time_unix_nano(self) -> int:
        """The start of the window; 0 when unknown."""
    @property
    def duration_nano(self) -> int: ...
    @property
    def sample_count(self) -> int: ...
