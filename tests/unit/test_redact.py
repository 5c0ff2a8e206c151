"""The `redact` processor: its configuration, and what it counts."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from otelprof._core import Profiles
from otelprof.component import ComponentSettings, Kind
from otelprof.config.explain import explain
from otelprof.model import ComponentId
from otelprof.processor.redact import Redact, RedactConfig
from otelprof.telemetry.metrics import PAYLOADS_DROPPED, Metrics
from otelprof.telemetry.policy_metrics import REDACTED_TEXTS
from otelprof.testing.clock import SimulatedClock
from tests.recordings import OWN

LINKED = OWN / "ebpf-linked" / "00005.otlp"
KEY = "0123456789abcdef"


def redacted(**config: Any) -> tuple[Profiles, Metrics]:
    """A recording after redaction, and what was counted."""
    metrics = Metrics()
    logger = structlog.get_logger("test")
    settings = ComponentSettings(ComponentId("redact"), Kind.PROCESSOR, logger, metrics, SimulatedClock())
    processor = Redact(RedactConfig.model_validate(config), settings)
    processor.start()
    try:
        return processor.process(Profiles.decode(LINKED.read_bytes())), metrics
    finally:
        processor.shutdown()


def problems(config: dict[str, Any]) -> list[str]:
    """Everything that is wrong with a configuration."""
    with pytest.raises(ValidationError) as caught:
        RedactConfig.model_validate(config)
    return [str(one) for one in explain(caught.value, RedactConfig, config, "redact")]


def test_a_secret_is_gone() -> None:
    """What a rule masks stands nowhere in what goes on; the rest is there."""
    sent = Profiles.decode(LINKED.read_bytes())
    profiles, metrics = redacted(symbols={"pattern": "findMatch", "mask": "***"})
    assert b"findMatch" in sent.to_otlp()
    assert b"findMatch" not in profiles.to_otlp()
    assert sent.sample_count == profiles.sample_count
    assert metrics.value(REDACTED_TEXTS, processor="redact", rule="symbols") > 0


def test_a_treatment_alone_is_a_rule() -> None:
    """`file_paths: drop` is one rule without a pattern, for every path."""
    profiles, _ = redacted(file_paths="drop")
    mappings = profiles.to_proto().dictionary
    assert {"***"} == {mappings.string_table[one.filename_strindex] for one in mappings.mapping_table[1:]}


def test_keep_protects_from_later_rules() -> None:
    """The first rule that matches decides, so that `keep` and then `*` is a list of what may stay."""
    keys = {"process.pid": "keep", "*": "drop"}
    profiles, _ = redacted(attributes=keys)
    resources = profiles.to_proto().resource_profiles
    assert {"process.pid"} == {pair.key for one in resources for pair in one.resource.attributes}


def test_hashes_are_equal_for_equal_texts() -> None:
    """Two requests hash a text alike, so that what belongs together stays together."""
    first, _ = redacted(symbols="hash", hash_key=KEY)
    second, _ = redacted(symbols="hash", hash_key=KEY)
    assert first.to_otlp() == second.to_otlp()


def test_nothing_to_do_changes_nothing() -> None:
    """Without a rule the request goes on as it is, and nothing is counted."""
    profiles, metrics = redacted()
    assert Profiles.decode(LINKED.read_bytes()).to_otlp() == profiles.to_otlp()
    assert 0 == metrics.value(PAYLOADS_DROPPED, processor="redact")


def test_problems_are_told_with_their_place() -> None:
    """A pattern that cannot be read, an unknown treatment and a misspelt key are told at once."""
    told = problems({"symbols": [{"pattern": "("}], "file_paths": "hide", "atributes": {}})
    assert 3 == len(told)
    assert any("redact.symbols" in one and "unclosed group" in one for one in told)
    assert any("redact.file_paths" in one for one in told)
    assert any("did you mean 'attributes'" in one for one in told)


def test_a_hash_needs_a_key() -> None:
    """Hashes without a key could be guessed, so a key is required, and its length."""
    assert ["hash_key is needed" in one for one in problems({"command_lines": "hash"})] == [True]
    assert 1 == len(problems({"command_lines": "hash", "hash_key": "short"}))


def test_the_key_is_never_shown() -> None:
    """Neither a message nor the configuration's own form holds the key."""
    config = RedactConfig.model_validate({"command_lines": "hash", "hash_key": KEY})
    assert KEY not in repr(config)
    assert all("short-secret" not in one for one in problems({"hash_key": "short-secret"}))
