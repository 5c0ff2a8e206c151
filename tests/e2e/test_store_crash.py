"""A store whose writer was killed is whole, once, and can be maintained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.store_crash import crash

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_killed(tmp_path: Path, seed: int) -> None:
    """Killed in a flush, in a compaction, in a fold: nothing is lost, nothing is there twice.

    `benchmarks/store_crash.py --runs 200` looks further.
    """
    crash(tmp_path, seed)
