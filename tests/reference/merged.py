"""What a merge must come to: the sum of what the requests mean, and a dictionary with nothing to spare.

`combined_meaning` is the oracle of what a merged request says; `merge_violations` is the law for how it says
it; `removed` counts what had to go.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tests.reference.conformance import all_references, live_references, located_profiles, violations
from tests.reference.meaning import Bag, Meaning, ProfileMeaning, Reader, SampleMeaning, bag, meaning
from tests.reference.normal_form import expected
from tests.reference.tables import TABLES, Tables
from tests.reference.validate import INT64, Bounds, PlainBounds

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

    from tests.reference.meaning import LocationMeaning


class CombinedSample(NamedTuple):
    """All Samples of one identity and one shape.

    Attributes:
        stack: leaf first.
        attributes: of the Samples.
        link: of the Samples.
        total: of the values, when there are no timestamps.
        observations: pairs of a timestamp and its value, or None where a timestamp counts 1.
    """

    stack: tuple[LocationMeaning, ...]
    attributes: Bag
    link: tuple[bytes, bytes] | None
    total: int | None
    observations: Bag


def combined_meaning(requests: Iterable[ExportProfilesServiceRequest], *, with_ids: bool = True) -> Meaning:
    """The bag of the Profiles of all requests, in each of them the Samples of one identity combined.

    A total may be beyond 64 bits, when one Sample cannot hold it.

    Args:
        requests: in normal form; see `normal_form.expected`.
        with_ids: whether `profile_id` is part of the meaning.
    """
    found: Counter[Hashable] = Counter()
    for request in requests:
        for told, count in meaning(request, with_ids=with_ids):
            assert isinstance(told, ProfileMeaning)
            found[told._replace(samples=combined(told.samples))] += count
    return frozenset(found.items())


def combined(samples: Bag) -> Bag:
    """A bag of `SampleMeaning` as one of `CombinedSample`."""
    groups: dict[Hashable, list[SampleMeaning]] = {}
    for sample, count in samples:
        assert isinstance(sample, SampleMeaning)
        shape = (bool(sample.values), bool(sample.timestamps))
        groups.setdefault((sample.stack, sample.attributes, sample.link, shape), []).extend([sample] * count)
    return bag(combined_sample(group) for group in groups.values())


def combined_sample(samples: Sequence[SampleMeaning]) -> CombinedSample:
    """Samples of one identity and one shape as one."""
    first = samples[0]
    pairs: Counter[Hashable] = Counter()
    for sample in samples:
        values = sample.values or (None,) * len(sample.timestamps)
        pairs.update(zip(sample.timestamps, values, strict=False))
    total = None if first.timestamps else sum(value for sample in samples for value in sample.values)
    return CombinedSample(first.stack, first.attributes, first.link, total, frozenset(pairs.items()))


def merge_violations(request: ExportProfilesServiceRequest) -> list[str]:
    """Where the output of a merge is not as it must be, in words; empty when it is.

    Besides the SIG's rules: no duplicate by value and no orphan in any table, no two Resources or scopes of
    equal value, no two Samples of one identity in a Profile, and every table in order of use.
    """
    if not request.resource_profiles:
        return ["an empty request has a dictionary"] if request.ByteSize() else []
    found = violations(request, duplicates=True, orphans=True)
    found += group_violations(request)
    found += identity_violations(request)
    found += order_violations(request)
    return found


def group_violations(request: ExportProfilesServiceRequest) -> Iterator[str]:
    """Resources that should be one, and scopes of one Resource that should be one."""
    reader = Reader(Tables(request.dictionary))
    resources: dict[Hashable, int] = {}
    for number, resource_profiles in enumerate(request.resource_profiles):
        resource = (reader.resource(resource_profiles.resource), resource_profiles.schema_url)
        if resources.setdefault(resource, number) != number:
            yield f"resource_profiles[{number}] means the same as [{resources[resource]}]"
        scopes: dict[Hashable, int] = {}
        for inner, scope_profiles in enumerate(resource_profiles.scope_profiles):
            scope = (reader.scope(scope_profiles.scope), scope_profiles.schema_url)
            if scopes.setdefault(scope, inner) != inner:
                where = f"resource_profiles[{number}].scope_profiles[{inner}]"
                yield f"{where} means the same as [{scopes[scope]}]"


def identity_violations(request: ExportProfilesServiceRequest) -> Iterator[str]:
    """Samples of one identity that should be one; those whose sum no Sample can hold may stay apart."""
    reader = Reader(Tables(request.dictionary))
    for where, profile in located_profiles(request):
        groups: dict[Hashable, list[int]] = {}
        for index, sample in enumerate(profile.samples):
            told = reader.sample(sample)
            groups.setdefault((told.stack, told.attributes, told.link), []).append(index)
        for indices in groups.values():
            total = sum(value for index in indices for value in profile.samples[index].values)
            dated = any(profile.samples[index].timestamps_unix_nano for index in indices)
            if len(indices) > 1 and (dated or total in INT64):
                yield f"{where}: samples {indices} have one identity"


def order_violations(request: ExportProfilesServiceRequest) -> Iterator[str]:
    """Entries that are used more often than the one before them; entry 0 is where it is."""
    uses = Counter(reference for _, reference in all_references(request))
    for table in TABLES:
        for index in range(2, len(getattr(request.dictionary, table))):
            before, here = uses[table, index - 1], uses[table, index]
            if before < here:
                yield f"{table}[{index}] is used {here} times, and the entry before it {before} times"


def table_sizes(request: ExportProfilesServiceRequest) -> dict[str, int]:
    """How many entries each table has, entry 0 left out."""
    return {table: max(len(getattr(request.dictionary, table)) - 1, 0) for table in TABLES}


def reached_sizes(request: ExportProfilesServiceRequest) -> dict[str, int]:
    """How many entries of each table something leads to, entry 0 left out."""
    reached = Counter(table for table, index in live_references(request) if index)
    return {table: reached[table] for table in TABLES}


class Removed(NamedTuple):
    """What a merge had to leave out, by table."""

    orphans: dict[str, int]
    duplicates: dict[str, int]


def removed(
    requests: Iterable[ExportProfilesServiceRequest],
    merged: ExportProfilesServiceRequest,
    limits: Bounds | None = None,
) -> Removed:
    """How many entries of the requests nothing leads to, and how many of the others are there already.

    Args:
        requests: as they were sent; what only refused Profiles lead to is an orphan.
        merged: what a merge made of them.
        limits: that the Profiles were held to.
    """
    sent: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    for request in requests:
        sent.update(table_sizes(request))
        reached.update(reached_sizes(expected(request, limits or PlainBounds())))
    kept = table_sizes(merged)
    return Removed(
        {table: sent[table] - reached[table] for table in TABLES},
        {table: reached[table] - kept[table] for table in TABLES},
    )
