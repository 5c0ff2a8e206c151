"""What every test shares: how hard the property tests look.

`HYPOTHESIS_PROFILE=soak` makes them look for long and shrink what they find, which takes minutes: run it
without pytest's timeout (`--timeout=0`).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

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
