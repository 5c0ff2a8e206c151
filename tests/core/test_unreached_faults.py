"""Bad entries of a dictionary that no Profile reaches: whole tables can be gone over all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otelprof._core import Profiles, Redaction, RedactionRule, WrittenSymbols
from tests.e2e.harness import request

if TYPE_CHECKING:
    from collections.abc import Callable

REDACTION = Redaction([RedactionRule(role, "drop") for role in ("attribute", "file_path", "symbol")])
VERBS: dict[str, Callable[[Profiles], object]] = {
    "fold": lambda profiles: profiles.fold(),
    "link": lambda profiles: profiles.link(["trace_id", "span_id"]).profiles.to_otlp(),
    "redact": lambda profiles: profiles.redact(REDACTION).profiles.to_otlp(),
    "to_speedscope": lambda profiles: profiles.to_speedscope(),
    "to_tables": lambda profiles: profiles.to_tables(WrittenSymbols(max_symbols=1), now_unix_nano=1),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
@pytest.mark.parametrize("index", [-(2**31), -1, 50, 2**31 - 1])
def test_unreached_faults(verb: Callable[[Profiles], object], index: int) -> None:
    """A request with an orphan of each kind that refers to nothing means what it means without them."""
    clean = request()
    message = request()
    tables = message.dictionary
    tables.mapping_table.add(filename_strindex=index, attribute_indices=[index])
    tables.location_table.add(mapping_index=index, attribute_indices=[index]).lines.add(function_index=index)
    tables.function_table.add(name_strindex=index, system_name_strindex=index, filename_strindex=index)
    tables.attribute_table.add(key_strindex=index, unit_strindex=index).value.string_value_strindex = index
    tables.stack_table.add(location_indices=[index])
    profiles = Profiles.decode(message.SerializeToString())
    verb(profiles)
    assert Profiles.decode(clean.SerializeToString()).fold() == profiles.fold()
    assert [] == list(profiles.rejections)
