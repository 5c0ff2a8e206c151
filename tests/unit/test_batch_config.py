"""The keys of `sending_queue.batch`: the collector's, with its defaults."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from otelprof.config.exporter import BatchConfig, SendingQueueConfig


def batch(queue: dict[str, Any]) -> BatchConfig:
    """What a queue says of its batches."""
    found = SendingQueueConfig.model_validate(queue).batch
    assert found is not None
    return found


@pytest.mark.parametrize("queue", [{}, {"batch": None}, {"sizer": "bytes", "batch": None}])
def test_none_means_none(queue: dict[str, Any]) -> None:
    """Without the key, or with nothing after it, requests are not batched."""
    assert SendingQueueConfig.model_validate(queue).batch is None


def test_defaults() -> None:
    """`batch: {}` waits 200 ms for 8192 samples, without a limit."""
    found = batch({"batch": {}})
    assert (0.2, "items", 8192, 0) == (
        found.flush_timeout,
        found.sizer,
        found.min_size,
        found.max_size,
    )


@pytest.mark.parametrize(
    ("queue", "sizer"),
    [
        ({"batch": {}}, "items"),
        ({"sizer": "bytes", "batch": {}}, "bytes"),
        ({"sizer": "bytes", "batch": {"sizer": "items"}}, "items"),
        ({"batch": {"sizer": "bytes"}}, "bytes"),
    ],
)
def test_the_sizer_is_inherited(queue: dict[str, Any], sizer: str) -> None:
    """A sizer that is written for the queue is that of its batches, unless they have one of their own."""
    assert sizer == batch(queue).sizer


def test_sizes_have_units() -> None:
    """Bytes may be written with a unit."""
    found = batch({"batch": {"sizer": "bytes", "min_size": "4MiB", "max_size": "16MiB"}})
    assert (4 << 20, 16 << 20) == (found.min_size, found.max_size)


@pytest.mark.parametrize(
    ("queue", "message"),
    [
        ({"batch": {"flush_timeout": 0}}, "greater than 0"),
        ({"batch": {"sizer": "requests"}}, "'items' or 'bytes'"),
        ({"batch": {"min_size": -1}}, "is not a size"),
        (
            {"batch": {"min_size": "4MiB"}},
            "'4MiB' has a unit, and the sizer counts items: write sizer: bytes",
        ),
        ({"batch": {"max_size": 100}}, r"max_size \(100\) must not be less than min_size \(8192\)"),
        ({"batch": {"maxsize": 100}}, "maxsize"),
        (
            {"queue_size": "1MiB", "batch": {"sizer": "bytes", "min_size": "2MiB"}},
            r"batch.min_size \(2097152\) must not be more than queue_size \(1048576\)",
        ),
    ],
)
def test_what_cannot_be_is_refused(queue: dict[str, Any], message: str) -> None:
    """What would never be reached, or means nothing, is an error that says what to write."""
    with pytest.raises(ValidationError, match=message):
        SendingQueueConfig.model_validate(queue)
