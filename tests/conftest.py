"""What every test shares: how hard the property tests look, and that nobody leaves a thread behind.

`HYPOTHESIS_PROFILE=soak` makes them look for long and shrink what they find, which takes minutes: run it
without pytest's timeout (`--timeout=0`).
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, Phase, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile(
    "ci",
    derandomize=True,  # new examples are for the soak, not for somebody else's change
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    print_blob=True,
)
settings.register_profile(
    "soak",
    settings.get_profile("ci"),
    derandomize=False,
    max_examples=20_000,
    phases=[*settings.get_profile("ci").phases, Phase.shrink],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_LEAVE_SECS: Final = 5.0


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """What a test started ends with it: the interpreter's end kills a thread that is in native code badly."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + _LEAVE_SECS
    while (left := _started_since(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, f"shut down what this test started: {left}"


def _started_since(before: set[threading.Thread]) -> list[str]:
    return [
        one.name for one in threading.enumerate() if one not in before and one.name.startswith("otelprof-")
    ]
