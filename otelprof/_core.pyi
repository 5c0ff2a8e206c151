"""The Rust core: everything that runs once per sample or per byte.

Every function releases the GIL while it works, and no panic crosses the boundary. A `Profiles` is frozen: it
is shared freely between threads and exporters. Held to the compiled module by `stubtest`.
"""

from collections.abc import Sequence
from typing import Final, final

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from otelprof._core_column_filter import ColumnFilter
from otelprof._core_delta import Deltas, Differences
from otelprof._core_limits import Limits
from otelprof._core_merge import Merger
from otelprof._core_policy import (
    Adjustments,
    Decided,
    LinkCoverage,
    Linked,
    Policy,
    Redacted,
    Redaction,
    RedactionRule,
    Rule,
    Selected,
    ServiceDecided,
)
from otelprof._core_pprof import JoinedPprof, Pprof, PprofLayout, PprofPiece, ProfileOutline
from otelprof._core_stacks import distinct_frames, joint_weights, merge_stacks
from otelprof._core_summary import Rejection, SummaryRow
from otelprof._core_svg import svg_diff, svg_from_folded
from otelprof._core_tables import ArrowRows as _ArrowRows
from otelprof._core_tables import TableRows, Tables, WrittenSymbols
from otelprof._core_traces import Observed, PendingTraces, TraceDecisions, TraceState

__all__ = [
    "LINK_STATES",
    "REJECTION_REASONS",
    "REPAIRS",
    "REVISIONS",
    "Adjustments",
    "ColumnFilter",
    "Decided",
    "Deltas",
    "Differences",
    "JoinedPprof",
    "Limits",
    "LinkCoverage",
    "Linked",
    "Merger",
    "Observed",
    "PendingTraces",
    "Policy",
    "Pprof",
    "PprofLayout",
    "PprofPiece",
    "ProfileOutline",
    "Profiles",
    "Redacted",
    "Redaction",
    "RedactionRule",
    "Rejection",
    "Rule",
    "Selected",
    "ServiceDecided",
    "SummaryRow",
    "TableRows",
    "Tables",
    "TraceDecisions",
    "TraceState",
    "WrittenSymbols",
    "__version__",
    "crc32",
    "distinct_frames",
    "gzip",
    "inflate",
    "joint_weights",
    "length_delimited_fields",
    "merge_stacks",
    "svg_diff",
    "svg_from_folded",
]

__version__: Final[str]

LINK_STATES: Final[tuple[str, ...]]
REJECTION_REASONS: Final[tuple[str, ...]]
REPAIRS: Final[tuple[str, ...]]
REVISIONS: Final[tuple[str, ...]]

@final
class Profiles:
    """A decoded and validated `ExportProfilesServiceRequest`: frozen, cheap to share.

    Every index of what it holds is in range, every string is UTF-8, every id has its length, and every
    Profile has a `profile_id`.
    """

    @staticmethod
    def decode(body: bytes, limits: Limits | None = None, *, detect_revision: bool = True) -> Profiles:
        """Read a request as it came off the wire, of this or an older OTLP revision, told by its bytes.

        Args:
            body: protobuf, plain or compressed with gzip or zstd; which one is seen by its magic number.
            limits: what the request may hold.
            detect_revision: False reads it as the current revision, whatever it looks like: for what
                `to_otlp` wrote, which is nothing else.

        Raises:
            InvalidRequestError: not the wire form of a request; says at which byte and in which field.
            AmbiguousRevisionError: two revisions read it with different meanings; says which.
            UnsupportedEncodingError: compressed with something else, or of OTLP 1.5 or older.
            RequestTooLargeError: the inflated body, a table, or the number of samples is over its limit.
        """

    @staticmethod
    def from_pprof(
        body: bytes, limits: Limits | None = None, *, resource: Sequence[tuple[str, str]] = ()
    ) -> Profiles:
        """Read a pprof: one Profile for each of its sample types, with the same Samples in the same order.

        What pprof has and OTLP has not becomes attributes (`docs/reference/pprof.md`). Ids in labels stay
        attributes, which `link` makes Links of.

        Args:
            body: plain or compressed with gzip or zstd; which one is seen by its magic number.
            limits: what the pprof may hold; exceeding any of them refuses it whole.
            resource: the attributes of the Resource, which pprof has no place for.

        Raises:
            InvalidRequestError: not a pprof, or one that contradicts itself; says where and how.
            UnsupportedEncodingError: compressed with something else.
            RequestTooLargeError: something is over its limit.
        """

    @staticmethod
    def from_folded(
        text: bytes,
        limits: Limits | None = None,
        *,
        sample_type: tuple[str, str] = ("samples", "count"),
        resource: Sequence[tuple[str, str]] = (),
    ) -> Profiles:
        """Read folded stacks, a line `root;...;leaf value` for each: one Profile, one Sample a line.

        Args:
            text: UTF-8, plain or compressed as for `from_pprof`; blank lines are stepped over.
            limits: what the text may hold.
            sample_type: name and unit of the values.
            resource: the attributes of the Resource.

        Raises:
            InvalidRequestError: a line is none; says which and why.
            UnsupportedEncodingError: compressed with something else.
            RequestTooLargeError: something is over its limit.
        """

    @staticmethod
    def from_json(body: bytes, limits: Limits | None = None) -> Profiles:
        """Read a request in OTLP/JSON. What it holds is judged as that of `decode`.

        Names in lowerCamelCase or snake_case, ids in hexadecimal, 64-bit integers as texts or numbers;
        unknown names are ignored, and counted. Twice the same field, another type or a number out of range is
        refused.

        Args:
            body: UTF-8, plain or compressed with gzip or zstd; which one is seen by its magic number.
            limits: what the request may hold; `max_body_bytes` bounds the text, and what it becomes as
                protobuf. The text may nest 127 levels deep.

        Raises:
            InvalidRequestError: not a request in JSON; says at which byte and in which field.
            UnsupportedEncodingError: compressed with something else.
            RequestTooLargeError: the inflated body, a table, or the number of samples is over its limit.
        """

    def to_json(self) -> bytes:
        """The request of `to_otlp` in OTLP/JSON; unknown fields are not in it.

        Raises:
            RequestTooLargeError: it takes more than 2 GiB.
        """

    def to_otlp(self) -> bytes:
        """The request on the wire: only referenced dictionary entries, by the profiling SIG's rules.

        What was not changed is passed on byte for byte, unknown fields included. Deterministic.
        """

    def link(self, names: Sequence[str]) -> Linked:
        """Make real Links of the ids that stand in attributes of these names, and say what is linked.

        A name that contains `trace` is a trace id's: 32 hexadecimal digits or 16 bytes. Others are span ids':
        16 hexadecimal digits, 8 bytes, a decimal number of 64 bits, or an integer. A Sample that has both
        gets the Link, and loses these attributes; one that has a Link already keeps it, and them.

        Args:
            names: of attributes; none only looks.
        """

    def pending_traces(self, policy: Policy) -> PendingTraces:
        """The traces that a policy asks for: of linked Samples that a rule with `trace` is the first for."""

    def select(
        self,
        policy: Policy,
        decisions: TraceDecisions | None = None,
        *,
        adjustments: Adjustments | None = None,
        annotates: bool = True,
    ) -> Selected:
        """Carry out a policy: what goes, what is demoted, which Profiles are refused.

        Demoted Samples lose link and timestamps and stand, those of one {stack, attributes} as one, in a
        sibling Profile of the same type, period and window, with the attribute `otelprof.demoted`: totals
        stay exactly equal. Where a rule drops, what it keeps is scaled by the adjusted count, rounded by
        chance so that the expectation is exact; the chance is seeded from the profile id, so that a retry
        makes the same bytes. Thresholds stand in the attribute `otelprof.sampling.threshold`. A changed
        Profile loses its `original_payload`.

        Args:
            policy: what is done.
            decisions: what the tracing side has decided; without it every trace is unknown.
            adjustments: thresholds that are raised and services that are lifted for now. A Profile of a
                lifted service that was judged by a lifted rule gets the attribute `otelprof.incident`.
            annotates: say on the Samples that stay what is known of their traces: `otelprof.trace.state`
                (`error`; `slow`, by the rule that asks for the least; otherwise `kept`), and
                `otelprof.span.name`, which is hostile text.
        """

    def redact(self, redaction: Redaction) -> Redacted:
        """Carry out redaction, on inline attributes and dictionary references alike.

        The old text is gone from what `to_otlp` writes. Every `original_payload` goes: nobody knows what is
        in it.
        """

    def split(self, max_bytes: int) -> list[Profiles]:
        """Pieces, each with a collected dictionary of its own, that hold every Sample once, in order.

        A Profile that is cut goes on in the next piece under another `profile_id`, made from its own; its
        `original_payload` stays with the first part.

        Args:
            max_bytes: what the wire form of a piece may take, at least 1. A piece is larger only when it
                holds a single Sample, or a Profile without any, that takes more by itself.

        Raises:
            ValueError: `max_bytes` is less than 1.
        """

    def to_pprof(
        self,
        *,
        labels: Sequence[str] | None = None,
        trace_id_label: str | None = "trace_id",
        span_id_label: str | None = "span_id",
        timestamp_label: str | None = None,
        native_names: bool = False,
        combine: bool = False,
    ) -> list[Pprof]:
        """The request as pprofs, in the order of its Profiles (`docs/reference/pprof.md`). Deterministic.

        Profiles of one scope become one pprof when they differ in sample type and values only, as those do
        that `from_pprof` made; others become one each.

        Args:
            labels: keys of the sample attributes that become labels; all of them when None.
            trace_id_label: the label of a Link's trace id, in hexadecimal digits; left out when None.
            span_id_label: the same for its span id.
            timestamp_label: a numeric label; a Sample then becomes as many as it has timestamps. When None,
                a Sample stays one, and timestamps without values count 1 each.
            native_names: give frames without a symbol a function that is called by file and address.
            combine: add up samples of the same stack and labels; a sum stays within 64 bits.
        """

    def to_tables(self, written: WrittenSymbols, *, now_unix_nano: int, tenant: str = "") -> Tables:
        """The request as rows of the tables of a store (`docs/storage.md`). Deterministic.

        Args:
            written: symbols that are in the tables already: they are left out.
            now_unix_nano: the time of Profiles that have none.
            tenant: of all rows.
        """

    @staticmethod
    def from_tables(
        samples: _ArrowRows,
        stacks: _ArrowRows,
        frames: _ArrowRows,
        labels: _ArrowRows | None = None,
        limits: Limits | None = None,
    ) -> Profiles:
        """Rows of the tables of a store as a request: a Profile for each window, type and set of labels.

        Args:
            samples: `service`, `sample_type`, `unit`, `stack_id` and `value`; of the other columns, what is
                wanted.
            stacks: all that `samples` refers to, once or more, and others as well.
            frames: the same of `stacks`.
            labels: of those that are not here, the service is known, and nothing else.
            limits: of the tables; the defaults when None.

        Raises:
            InvalidRequestError: a column is missing or of another type, or what a row refers to is.
            RequestTooLargeError: over a limit.
        """

    def split_for_pprof(self, max_samples: int, max_locations: int) -> list[PprofPiece]:
        """Pieces that each become one pprof, and hold every Sample once, in order.

        Profiles that become one pprof are cut at the same rows, and stay together. A part of a Profile after
        its first has another `profile_id`, made from its own.

        Args:
            max_samples: of each Profile of a piece, at least 1.
            max_locations: of the stacks of all of them, each stack counted for every Sample: most of what a
                pprof takes. A piece has more only when it holds a single Sample of each Profile.

        Raises:
            ValueError: `max_samples` is less than 1.
            OverflowError: a number is negative.
        """

    def to_speedscope(
        self, *, service: str | None = None, sample_type: str | None = None, name: str = "profile"
    ) -> bytes:
        """The stacks in speedscope's file format (JSON): a profile for each service and sample type.

        Stacks whose values add up to nothing or less are left out, since the format has no negative weights.

        Args:
            service: only Profiles of resources with this `service.name`; every one when None.
            sample_type: only Profiles whose sample type has this name; every one when None.
            name: of the file.
        """

    def to_proto(self) -> ExportProfilesServiceRequest:
        """The request as the official classes: slow and convenient, for plugin authors."""

    def fold(self, *, service: str | None = None, sample_type: str | None = None) -> list[tuple[str, int]]:
        """Stacks as `root;...;leaf` with the sum of their values, largest first; ties by stack.

        Args:
            service: only Profiles of resources with this `service.name`; every one when None.
            sample_type: only Profiles whose sample type has this name; every one when None.
        """

    def stack_columns(
        self, *, service: str | None = None, sample_type: str | None = None
    ) -> tuple[list[str], bytes, bytes, bytes]:
        """What `fold` gives as columns, for arithmetic over many stacks; in the order of the dictionary.

        Returns:
            Names of functions, each once; the frames of all stacks, root first, as places in the names (32
            bits, unsigned); where among the frames each stack ends (64 bits, unsigned); what each stack
            stands for (a double). All little-endian.
        """

    def top_functions(
        self, count: int, *, service: str | None = None, sample_type: str | None = None
    ) -> list[tuple[str, int, int]]:
        """Functions as (name, self value, total value), largest self value first; ties by name."""

    def to_svg(
        self,
        *,
        service: str | None = None,
        sample_type: str | None = None,
        title: str = "Flame graph",
        subtitle: str | None = None,
        unit: str = "samples",
        colors: str = "hot",
        width: int | None = None,
        inverted: bool = False,
    ) -> str:
        """The flame graph of what `fold` gives; see `svg_from_folded`."""

    def shifted(self, nanos: int) -> Profiles:
        """The same Profiles, all moved by so many nanoseconds.

        Each gets a `profile_id` made of its own, and loses its `original_payload`, which tells the old time.
        A Profile without a time stays as it is.

        Raises:
            ValueError: a time would leave the 64 bits of unix nanoseconds.
        """

    @property
    def resources(self) -> list[dict[str, str]]:
        """The attributes of each Resource, as text."""
    @property
    def outlines(self) -> list[ProfileOutline]:
        """Every Profile without its samples, in order."""
    @property
    def window(self) -> tuple[int, int] | None:
        """Unix nanoseconds from the first start to the last end; None when no Profile has a time."""
    @property
    def table_bytes(self) -> dict[str, int]:
        """How the bytes of `to_otlp` divide: each table of the dictionary, `samples`, and `other`.

        Keys and lengths of entries are counted with them.
        """
    @property
    def summary(self) -> Sequence[SummaryRow]:
        """One row for each (service, sample type, unit), in order of first appearance."""
    def service_versions(self) -> list[tuple[str, str]]:
        """`service.name` and `service.version` of the Resources with both and a Profile: each pair once."""
    @property
    def rejections(self) -> Sequence[Rejection]:
        """The Profiles that were refused, by reason, in order of first appearance."""
    @property
    def repairs(self) -> dict[str, int]:
        """How often something was set right without changing its meaning, by a word of `REPAIRS`."""
    @property
    def revision(self) -> str:
        """The OTLP revision, a word of `REVISIONS`, that `decode` read it as; the current one after any verb.

        The newest that reads the bytes so: a request that says the same in two counts as the newer.
        """
    @property
    def revision_fields_dropped(self) -> dict[str, int]:
        """How often a field of an older revision that the current one cannot say was left out, by field."""
    @property
    def orphans_removed(self) -> dict[str, int]:
        """How many dictionary entries a merge left out because nothing reached them, by table."""
    @property
    def duplicates_removed(self) -> dict[str, int]:
        """How many dictionary entries a merge left out because they were there already, by table."""
    @property
    def profile_count(self) -> int: ...
    @property
    def sample_count(self) -> int: ...
    @property
    def wire_bytes(self) -> int:
        """Size of what `to_otlp` writes, which is kept from then on: asking first costs nothing."""
    @property
    def body_bytes(self) -> int:
        """Size of the inflated body that this was decoded from."""
    @property
    def memory_bytes(self) -> int:
        """Memory that this handle keeps alive, the body included."""
    @property
    def unknown_fields_dropped(self) -> int:
        """How many unknown fields `to_otlp` leaves out, from messages that had to be written anew."""

def crc32(first: bytes, second: bytes) -> int:
    """The CRC-32 of two pieces, as if they were one: what zlib's is."""

def gzip(body: bytes, level: int = 6) -> bytes:
    """A body compressed, half as long about it as zlib; the same bytes for the same body.

    Raises:
        ValueError: the level is not 1 to 9.
    """

def inflate(body: bytes, max_bytes: int) -> bytes:
    """The content of gzip or zstd, by its magic number; anything else as it is.

    Raises:
        InvalidRequestError: it is damaged, or its end is missing.
        RequestTooLargeError: it holds more than `max_bytes`.
        UnsupportedEncodingError: compressed with something else.
    """

def length_delimited_fields(body: bytes) -> list[int] | None:
    """The numbers of the length-delimited fields of a protobuf message, each once and ascending.

    None when it is no message, or one with groups.
    """
