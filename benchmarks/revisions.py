"""How sure the detection of OTLP revisions is: requests of each revision, and what they were read as.

    .venv/bin/python -m benchmarks.revisions                 # --requests N, --of REVISION, --seed S

What the columns are is said in `tests/reference/detection.py`.
"""

from __future__ import annotations

import argparse

from tests.reference.detection import AMBIGUOUS, MISREAD, outcomes
from tests.reference.revisions import CURRENT, OLD


def main() -> None:
    """Print, for each revision, how many of its requests were read as what."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000, help="of each revision")
    parser.add_argument("--seed", type=int, default=1, help="of the requests")
    revisions = (CURRENT, *reversed(OLD))
    parser.add_argument(
        "--of", nargs="+", default=revisions, choices=revisions, help="all of them by default"
    )
    options = parser.parse_args()
    columns = [*revisions, AMBIGUOUS, MISREAD]
    print(f"{options.requests:,} requests of each revision, seed {options.seed}")
    print("sent as".ljust(10), *(column.rjust(10) for column in columns))
    for revision in options.of:
        found = outcomes(revision, options.requests, options.seed)
        print(revision.ljust(10), *(f"{found[column]:,}".rjust(10) for column in columns))


if __name__ == "__main__":
    main()
