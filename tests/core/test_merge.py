"""What profilers really send is merged without losing anything, ten requests of one folder at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otelprof._core import Merger, Profiles
from tests.recordings import name, parsed, recordings
from tests.reference.compare import on_the_wire, rejected, rows
from tests.reference.fold import fold
from tests.reference.meaning import difference
from tests.reference.merged import combined_meaning, merge_violations, removed, table_sizes
from tests.reference.normal_form import expected
from tests.reference.summary import summary
from tests.reference.validate import PlainBounds

if TYPE_CHECKING:
    from pathlib import Path

BATCH = 10


def batches() -> list[list[Path]]:
    """The recordings of each folder, ten at a time."""
    folders: dict[str, list[Path]] = {}
    for path in recordings():
        folders.setdefault(path.parent.name, []).append(path)
    return [
        paths[start : start + BATCH] for paths in folders.values() for start in range(0, len(paths), BATCH)
    ]


def batch_name(paths: list[Path]) -> str:
    """A short name of a batch, for the id of a test."""
    return f"{name(paths[0])}+{len(paths) - 1}"


def decoded(paths: list[Path]) -> list[Profiles]:
    """What the core reads of recordings."""
    return [Profiles.decode(path.read_bytes()) for path in paths]


def by_reference(paths: list[Path]) -> bool:
    """Whether the Resource attributes of these recordings stand in the string table."""
    return any("key_strindex" in path.name for path in paths)


@pytest.mark.parametrize("paths", batches(), ids=batch_name)
def test_meaning(paths: list[Path]) -> None:
    """A merge means what its recordings mean together, well formed, and counts what it left out."""
    handles = decoded(paths)
    merged = Merger().merge(handles)
    out = on_the_wire(merged)
    sent = [parsed(path) for path in paths]
    wanted = [expected(request, PlainBounds()) for request in sent]
    left_out = removed(sent, out)

    assert [] == merge_violations(out)
    assert ([], []) == difference(combined_meaning(map(on_the_wire, handles)), combined_meaning([out]))
    assert ([], []) == difference(
        combined_meaning(wanted, with_ids=False), combined_meaning([out], with_ids=False)
    )
    assert left_out.orphans == merged.orphans_removed
    assert left_out.duplicates == merged.duplicates_removed


@pytest.mark.parametrize("paths", batches(), ids=batch_name)
def test_same_bytes(paths: list[Path]) -> None:
    """A merge again, a merge of what was read back, and the n-th merge of a Merger give the same bytes."""
    handles = decoded(paths)
    once = Merger().merge(handles)
    body = once.to_otlp()
    read = Profiles.decode(body)
    warm = Merger()
    for paths_before in batches()[:4]:
        warm.merge(decoded(paths_before))

    assert body == Merger().merge([once]).to_otlp()
    assert body == Merger().merge([read]).to_otlp()
    assert body == read.to_otlp()
    assert {} == read.repairs | rejected(read)
    assert [body] * 3 == [warm.merge(handles).to_otlp() for _ in range(3)]


@pytest.mark.parametrize("paths", batches(), ids=batch_name)
def test_order(paths: list[Path]) -> None:
    """Recordings in another order, or one after the other, come to the same tables and the same meaning."""
    handles = decoded(paths)
    one_by_one = Merger().merge([])
    for handle in handles:
        one_by_one = Merger().merge([one_by_one, handle])
    first, second, third = map(
        on_the_wire, (Merger().merge(handles), Merger().merge(handles[::-1]), one_by_one)
    )
    told = combined_meaning([first])

    assert ([], []) == difference(told, combined_meaning([second]))
    assert ([], []) == difference(told, combined_meaning([third]))
    assert table_sizes(first) == table_sizes(second)
    assert table_sizes(first) == table_sizes(third)


@pytest.mark.parametrize("paths", batches(), ids=batch_name)
def test_views(paths: list[Path]) -> None:
    """Every view of a merge shows what it hands on."""
    merged = Merger().merge(decoded(paths))
    want = on_the_wire(merged)

    assert summary(want) == rows(merged)
    assert fold(want) == merged.fold()
    assert want == merged.to_proto()


@pytest.mark.parametrize("paths", [paths for paths in batches() if not by_reference(paths)], ids=batch_name)
def test_smaller(paths: list[Path]) -> None:
    """A merge is never larger than what it was made of, each request collected by itself.

    But for Resource attributes by reference: a merge writes them inline, since few readers resolve them.
    """
    handles = decoded(paths)

    assert len(Merger().merge(handles).to_otlp()) <= sum(len(handle.to_otlp()) for handle in handles)
