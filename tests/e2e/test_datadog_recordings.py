"""Every recording, exported to the strict intake: nothing is lost but what the exporter's page says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from otelprof._core import Profiles
from otelprof.exporter.datadog.config import DatadogExporterConfig
from otelprof.exporter.datadog.factory import factory
from otelprof.telemetry.datadog_metrics import DATADOG_LOST_SAMPLES
from otelprof.testing.contract import component_settings
from tests.core.test_pprof import go_sums
from tests.counterparts import GO
from tests.e2e.datadog_intake import DatadogIntake, receive
from tests.e2e.test_datadog_intake import CAPTURES, captured
from tests.recordings import OWN, name, pprofs, recordings
from tests.reference.compare import on_the_wire
from tests.reference.pprof_otlp import pprof_totals
from tests.reference.tables import Tables, profiles_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otelprof.component import ComponentSettings
    from tests.e2e.datadog_intake import Received
    from tests.reference.pprof import Reader

Totals = Counter[tuple[str, str]]
"""Values by column, and by function; by the column alone under an empty name."""

# The table of docs/exporters/datadog.md, for the sample types that the recordings have: columns of the family
# ebpf, the starred ones times the period.
COLUMNS: Final[dict[tuple[str, str, str], tuple[str, ...]]] = {
    ("samples", "count", "cpu"): ("cpu-samples", "cpu-time*"),
    ("cpu", "count", "cpu"): ("cpu-samples", "cpu-time*"),
    ("perf_events", "count", "perf_events"): ("cpu-samples", "cpu-time*"),
    ("ctimer", "ns", "ctimer"): ("cpu-time",),
    ("wall", "count", "wall"): ("wall-samples", "wall-time*"),
    ("object_sampler", "count", "object_sampler"): ("alloc-samples",),
    ("allocations", "count", "allocations"): ("alloc-samples",),
    ("allocations", "bytes", "allocations"): ("alloc-space",),
}
KNOWN: Final = {
    "thread.id": "thread id",
    "thread.name": "thread name",
    "process.context.label.span id": "span id",
    "process.context.label.trace endpoint": "trace endpoint",
}
OF_PROCESSES: Final = {"process_id", "process name"}


class Exported(NamedTuple):
    """What came of a request."""

    uploads: list[Received]
    settings: ComponentSettings

    def lost(self, reason: str, sample_type: str) -> float:
        """Samples that were counted as lost."""
        labels = {"exporter": "contract", "reason": reason, "sample_type": sample_type}
        return self.settings.metrics.value(DATADOG_LOST_SAMPLES, **labels)

    @property
    def readers(self) -> Iterator[Reader]:
        """Every pprof."""
        return (pprof for upload in self.uploads for pprof in upload.pprofs.values())


def export(profiles: Profiles, **keys: Any) -> Exported:
    """Export a request."""
    with DatadogIntake() as intake:
        settings = component_settings()
        config = DatadogExporterConfig.model_validate({"endpoint": intake.url, **keys})
        exporter = factory.create(config, settings)
        exporter.start()
        try:
            exporter.export(profiles)
        finally:
            exporter.shutdown()
        return Exported(list(intake.received), settings)


def wanted(profiles: Profiles) -> tuple[Totals, Counter[str], set[str]]:
    """What should come of a recording, as the page has it: values, lost samples, keys of labels."""
    request = on_the_wire(profiles)
    tables, found, lost, keys = Tables(request.dictionary), Totals(), Counter[str](), set()
    strings = tables.strings
    for _, _, profile in profiles_of(request):
        kind = strings[profile.sample_type.type_strindex], strings[profile.sample_type.unit_strindex]
        columns = COLUMNS.get((*kind, strings[profile.period_type.type_strindex]))
        if columns is None:
            lost[":".join(kind)] += len(profile.samples)
            continue
        for sample in profile.samples:
            value = sum(sample.values) if sample.values else len(sample.timestamps_unix_nano)
            functions = {
                (strings[function.name_strindex], strings[function.filename_strindex])
                for location in tables.stacks[sample.stack_index].location_indices
                for line in tables.locations[location].lines
                for function in [tables.functions[line.function_index]]
            }
            names = ["", *map(str, functions)]
            for column in columns:
                for one in names:
                    found[column.rstrip("*"), one] += value * (profile.period if column[-1] == "*" else 1)
            attributes = (tables.attributes[index].key_strindex for index in sample.attribute_indices)
            keys |= {KNOWN.get(strings[key], strings[key]) for key in attributes}
            keys |= {"span id"} if any(tables.links[sample.link_index].span_id) else set()
    return +found, lost, keys - {""}


def told(readers: Iterator[Reader]) -> Totals:
    """The same, of pprofs."""
    found = Totals()
    for reader in readers:
        for sample in reader.pprof.sample:
            lines = [line for ref in sample.location_id for line in reader.locations[ref].line]
            functions = {reader.function(line.function_id) for line in lines}
            names = ["", *(str((function[0], function[2])) for function in functions)]
            for (column, _), value in zip(reader.types, sample.value, strict=True):
                for one in names:
                    found[column, one] += value
    return +found


def label_keys(reader: Reader) -> set[str]:
    """Keys of the labels of a pprof."""
    return {label.key for sample in reader.pprof.sample for label in reader.labels(sample)}


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_every_recording(path: Path) -> None:
    """Every value is there, by column and function; the rest is counted; labels are those of the page."""
    profiles = Profiles.decode(path.read_bytes())
    values, lost, keys = wanted(profiles)
    exported = export(profiles)

    assert values == told(exported.readers)
    assert dict(lost) == {kind: exported.lost("no_slot", kind) for kind in lost}
    found = {key for reader in exported.readers for key in label_keys(reader)}
    assert found - OF_PROCESSES == keys
    assert all(upload.event["family"] == "ebpf" for upload in exported.uploads)


def test_a_timeline() -> None:
    """With a timeline there is a sample for each timestamp, and the values stay."""
    profiles = Profiles.decode((OWN / "ebpf-linked" / "00000.otlp").read_bytes())
    exported = export(profiles, timeline=True)
    labels = [
        label
        for reader in exported.readers
        for sample in reader.pprof.sample
        for label in reader.labels(sample)
        if label.key == "timestamp_ns"
    ]
    assert wanted(profiles)[0] == told(exported.readers)
    samples = [one for _, _, profile in profiles_of(on_the_wire(profiles)) for one in profile.samples]
    times = [time for sample in samples for time in sample.timestamps_unix_nano]
    assert set(times) == {label.value for label in labels}


def test_symbols_of_native_frames_are_left_to_datadog() -> None:
    """A native frame of an eBPF profiler keeps its address and its file, and gets no name of ours."""
    profiles = Profiles.decode((OWN / "ebpf-linked" / "00000.otlp").read_bytes())
    readers = list(export(profiles).readers)
    native = [
        one for reader in readers for one in reader.locations.values() if not one.line and one.mapping_id
    ]
    assert native
    assert all(one.address for one in native)
    kinds = {reader.function(ref)[1] for reader in readers for ref in reader.functions}
    assert {"cpython", "go", "kernel"} <= kinds


@pytest.mark.timeout(300)  # Go builds the tool when it is first asked for
@pytest.mark.skipif(GO is None, reason="no Go here")
@pytest.mark.parametrize("folder", ["ebpf-linked", "async-profiler", "jfr-converter"])
def test_go_reads_them(folder: str, tmp_path: Path) -> None:
    """Go's own tool reads the pprofs of an upload, with the same totals."""
    path = next(
        path for path in recordings() if path.parent.name == folder and path.stem.endswith(("cpu", "0"))
    )
    readers = list(export(Profiles.decode(path.read_bytes())).readers)
    reader = max(readers, key=lambda one: len(one.pprof.sample))
    sums = [sum(column) for column in zip(*(sample.value for sample in reader.pprof.sample), strict=True)]
    assert sums == go_sums(reader.pprof.SerializeToString(), tmp_path / "made.pb")


LANGUAGE: Final = {"javascript": "nodejs"}
LANGUAGES: Final = {
    # A recorded pprof, the language that it is said to be of, and what it is called there.
    "heap": ("go", "heap.pprof", ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]),
    "goroutine": ("go", "goroutines.pprof", ["goroutine"]),
    "block": ("go", "mutex.pprof", ["contentions", "delay"]),
    "cpu": ("go", "cpu.pprof", ["samples", "cpu"]),
    "node-pyroscope": ("nodejs", "wall.pprof", ["sample", "wall", "cpu"]),
    "pyroscope-00000": ("python", "profile.pprof", ["cpu-time"]),
    "node-ddpprof-heap": ("nodejs", "space.pprof", ["inuse_objects", "inuse_space"]),
    "node-ddpprof-wall": ("nodejs", "wall.pprof", ["sample", "wall"]),
}


@pytest.mark.parametrize(
    "path", [path for path in pprofs() if path.name.partition(".")[0] in LANGUAGES], ids=name
)
def test_languages(path: Path) -> None:
    """What a language's own profiler made is sent as that language's uploader would, with the same totals."""
    language, attachment, types = LANGUAGES[path.name.partition(".")[0]]
    resource = [("service.name", "shop"), ("telemetry.sdk.language", language), ("service.instance.id", "1")]
    profiles = (
        Profiles.from_pprof(path.read_bytes(), resource=resource).link(["trace_id", "span_id"]).profiles
    )
    (upload,) = export(profiles).uploads
    reader = upload.pprofs[attachment]

    assert {"nodejs": "node"}.get(language, language) == upload.event["family"]
    assert ([attachment], types) == (upload.event["attachments"], [kind for kind, _ in reader.types])
    assert [sum_of(profiles, at) for at in range(len(types))] == [
        sum(sample.value[at] for sample in reader.pprof.sample) for at in range(len(types))
    ]
    assert "1" == upload.tag("runtime-id")
    linked = profiles.summary[0].linked_sample_count
    assert (linked > 0) == ("span id" in label_keys(reader))


def sum_of(profiles: Profiles, at: int) -> int:
    """What the samples of a Profile add up to."""
    profile = [profile for _, _, profile in profiles_of(on_the_wire(profiles))][at]
    return sum(sum(sample.values) for sample in profile.samples)


@pytest.mark.parametrize("path", CAPTURES, ids=[path.stem for path in CAPTURES])
def test_what_datadogs_profilers_made_stays(path: Path) -> None:
    """A pprof of a captured upload, read as a request, is uploaded with the same values and labels."""
    sent = captured(path)
    theirs = receive(sent.path, sent.headers, sent.body)
    language = theirs.tag("language") or theirs.tag("runtime") or ""
    resource = [("service.name", "demo"), ("telemetry.sdk.language", LANGUAGE.get(language, language))]
    for attachment, reader in theirs.pprofs.items():
        if attachment == "events.pprof" or not reader.pprof.sample:
            continue
        profiles = Profiles.from_pprof(reader.pprof.SerializeToString(), resource=resource)
        (upload,) = export(profiles).uploads
        (ours,) = upload.pprofs.values()
        assert theirs.event["family"] == upload.event["family"]
        assert reader.types == ours.types
        assert +pprof_totals([reader]) == +pprof_totals([ours])
