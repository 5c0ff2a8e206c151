"""Rules that ask for traces: how they are written, what they say, and what they need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import ValidationError

from otelprof.config.explain import explain
from otelprof.config.resolve import load_config
from otelprof.config.rules import slower_than_nanos
from otelprof.errors import ConfigError
from otelprof.processor.linkage import LinkageConfig
from otelprof.processor.sampling.config import SamplingConfig

if TYPE_CHECKING:
    from pathlib import Path

    from otelprof.component import ComponentConfig

KEPT = {"match": {"trace": "kept"}, "action": "keep"}
WAIT = (
    "linked samples wait up to 5 s for the tracing side to decide; "
    "until it says that it kept a trace, the trace is unknown"
)
WINDOW = (
    "p: decision_wait is 10 s, trace_window 5 s: decisions would be forgotten while samples wait for "
    "them; make trace_window as long"
)


def problems(data: dict[str, Any], model: type[ComponentConfig] = SamplingConfig) -> list[str]:
    """Everything that is wrong with a configuration."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return [str(one) for one in explain(caught.value, model, data, "p")]


def test_in_words() -> None:
    """The wait is told first, then each rule, then what becomes of the rest."""
    rules = [
        {"match": {"trace": ["error", "slow(>500ms)"]}, "action": "keep"},
        {"match": {"service.name": "cart", "trace": "kept"}, "sampling_probability": 0.5},
        {"match": {"trace": "unknown"}, "action": "demote"},
    ]
    assert (
        WAIT,
        "trace error or slow(>500ms): all samples stay",
        "cart, trace kept: 50 % of traces stay and count 2 times, the rest is dropped",
        "trace unknown: all samples are demoted",
        "everything else stays",
    ) == SamplingConfig.model_validate({"rules": rules, "decision_wait": "5s"}).in_words()


@pytest.mark.parametrize(
    ("state", "nanos"),
    [("slow(>500ms)", 500_000_000), ("slow(> 1m30s)", 90_000_000_000), ("kept", None)],
)
def test_slow_has_a_bound(state: str, nanos: int | None) -> None:
    """What is slow is said with a duration and its unit."""
    assert nanos == slower_than_nanos(state)


@pytest.mark.parametrize(
    ("match", "problem"),
    [
        (
            {"trace": "slow"},
            ".trace: 'slow' is no state of a trace: write kept, error, unknown or slow(>500ms)",
        ),
        ({"trace": "slow(>fast)"}, ".trace: 'fast' is not a duration: write 300ms"),
        ({"trace": ["kept", 7]}, ".trace: 7 is no state of a trace"),
        ({"trace": []}, ".trace: an empty list matches nothing"),
        (
            {"trace": "kept", "linked": False},
            ": trace is for linked samples, and linked: false for the others",
        ),
        ({"traces": "kept"}, ".traces: 'traces' is no resource attribute that is known, and nearly a key"),
    ],
)
def test_wrong_matches(match: dict[str, Any], problem: str) -> None:
    """What is wrong with a match is said with its place and what is allowed."""
    (found,) = problems({"rules": [{"match": match, "action": "keep"}]})
    assert f"p.rules[0].match{problem}" in found


def test_what_needs_a_rule_with_trace() -> None:
    """Keys of the wait mean nothing without such a rule, and a decision outlives the wait for it."""
    assert [
        "p: decision_wait, trace_max_bytes means nothing without a rule whose match has trace: remove it"
    ] == problems({"rules": [{"action": "keep"}], "decision_wait": "5s", "trace_max_bytes": "2MiB"})
    assert [WINDOW] == problems({"rules": [KEPT], "trace_window": "5s"})


def test_linkage_has_no_traces() -> None:
    """A rule of linkage is for unlinked samples, which have no trace."""
    (found,) = problems({"rules": [{"match": {"trace": "kept"}, "unlinked": "drop"}]}, LinkageConfig)
    assert found.startswith("p.rules[0].match: trace means nothing here")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"exporters": {"debug": {"sending_queue": {"enabled": False}}}},
            "sampling has rules with trace, for which requests wait in a queue; debug has none",
        ),
        (
            {"processors": {"sampling": {"rules": [KEPT]}, "sampling/two": {"rules": [KEPT]}}},
            "sampling and sampling/two both have rules with trace: put all of them into one",
        ),
    ],
)
def test_what_a_pipeline_needs(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    """A pipeline that waits for traces has queues to wait in, and one place where it is decided."""
    parts = {
        "receivers": {"otlp": {"protocols": {"grpc": {}}}},
        "processors": {"sampling": {"rules": [KEPT]}},
        "exporters": {"debug": {}},
        **change,
    }
    pipeline = {name: list(parts[name]) for name in ("receivers", "processors", "exporters")}
    path = tmp_path / "config.yaml"
    document = {**parts, "service": {"pipelines": {"profiles": pipeline}}}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert [f"service.pipelines.profiles.processors: {problem}"] == [
        str(one) for one in caught.value.problems
    ]
