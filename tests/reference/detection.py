"""How sure the detection of revisions is: requests of one revision, and what they were read as.

Requests are made as senders write them, from a seed, and written by the classes of their revision. A request
is misread when its reading means anything else than its sender meant, by the slow twin of the translation;
one that says the same in two revisions counts under the newer.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

from otelprof._core import Profiles
from otelprof.errors import AmbiguousRevisionError
from tests.reference.meaning import meaning
from tests.reference.revisions import as_current, as_old, sayable
from tests.reference.senders import Sender

REQUESTS_OF_A_SENDER: Final = 10
AMBIGUOUS: Final = "ambiguous"
MISREAD: Final = "misread"


def outcome(body: bytes, revision: str) -> str:
    """What a request of a revision was read as, or that it was refused as ambiguous, or misread."""
    try:
        profiles = Profiles.decode(body)
    except AmbiguousRevisionError:
        return AMBIGUOUS
    # A sender's own requests need no repair, so what it means is what it says.
    truth = meaning(as_current(body, revision), with_ids=False)
    is_right = truth == meaning(profiles.to_proto(), with_ids=False) and not profiles.rejections
    return profiles.revision if is_right else MISREAD


def outcomes(revision: str, count: int, seed: int) -> Counter[str]:
    """What became of so many requests of a revision."""
    found: Counter[str] = Counter()
    for number in range(count):
        random = Random(f"{seed}/{number // REQUESTS_OF_A_SENDER}")  # noqa: S311 - to be had again
        sender = Sender(random)
        random.seed(f"{seed}/{number}/request")
        found[outcome(as_old(sayable(sender.request(), revision), revision), revision)] += 1
    return found
